"""A curated folder of three clips and a tiny checkpoint that has been taught to answer its questions by looking at them.

A square of one colour crosses each clip; two questions a scene ask for its colour, so a right answer takes the right frames.
"""

import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: test processes that fight for cores take ten times as long

import av
import numpy as np
import pytest
from curated_factory import a_question, write_curated
from filelock import FileLock
from sketches import sketch

from videothinker import answers
from videothinker.cli.console import LOG, notes, out
from videothinker.cli.logs import LEVEL, LIBRARIES
from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.curated import Curated
from videothinker.records import Category
from videothinker.reports import drawing

LONGEST = (
    *("train/test_parallel.py", "test_benchmarks.py", "test_resume.py", "train/test_run.py", "pretrain/test_step.py"),
    *("pretrain/test_run.py", "train/test_cdpo.py", "test_demo.py", "study/test_cli.py", "diagnose/test_vllm_chunks.py"),
    *("diagnose/test_several_sets.py", "study/test_auto.py", "diagnose/test_checkpoint_runs.py", "study/test_whole.py"),
    *("reports/test_study_page.py", "test_interrupt.py", "models/test_vision_blocks.py"),
)
"""The files that take longest. They go first: a long one that begins last leaves all processes but its own idle."""


def pytest_configure(config: pytest.Config) -> None:
    """Let pytest-xdist hand files out as they come; by itself it would begin with those that have the most tests."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


def pytest_collection_finish() -> None:
    """What torch, transformers and the tests hold stays until the end, and every training looks through it for garbage, twice,
    for about half a second each time: let it be passed over."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _as_much_said_as_before() -> Iterator[None]:
    """What `vt --quiet`, `--log-level` and `--json` set holds until a process ends, and tests share one."""
    before = {name: os.environ.get(name) for name in (LEVEL, *LIBRARIES)}
    yield
    LOG.setLevel(logging.WARNING)
    notes.quiet = out.stderr = False
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


RENDERED = (
    *("test_figures.py", "test_study_tokens.py", "test_study_trade.py", "test_study_page.py", "test_outside_text.py"),
    *("test_browser.py", "test_benchmarks_page.py", "test_demo_page.py", "test_training_page.py", "test_unlabelled_page.py"),
)
"""Tests that look at figures, or at pages in a browser."""


@pytest.fixture(scope="module", autouse=True)
def _sketched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Figures are rendered where tests look at them: elsewhere a report would spend nine tenths of its time on five files of
    each. A command in a process of its own renders them too."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.name not in RENDERED:
            patch.setattr(drawing, "_save", sketch)
        yield


COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
"""The options, in order."""


def draw_square(path: Path, colour: tuple[int, int, int], *, n: int = 32) -> None:
    """A film of `n` frames at 25 a second, 84 x 56."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 84, 56, "yuv420p"
        for i in range(n):
            frame = np.full((56, 84, 3), 120, np.uint8)
            frame[5:50, 3 * i // 2 : 3 * i // 2 + 35] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def colour_question(scene: int, qid: int, colour: str, *, negated: bool) -> Labelled:
    right = "".join(letter for letter, name in zip("ABC", COLOURS, strict=True) if (name == colour) != negated)
    category = Category.OBSERVATIONAL if negated else Category.INFERENTIAL
    return a_question(
        f"{scene}:{qid}",
        text="Which colours does the square not have?" if negated else "Which colour is the square?",
        options=tuple(COLOURS),
        gold=right,
        observer="A",
        negated=negated,
        any_option=category,
        correct_option=category,
        oracle=category,
        video=f"{colour}.mp4",
    )


def write_colours(folder: Path) -> Curated:
    """A curated folder with the split "dev" only, its clips in `videos`."""
    (folder / "videos").mkdir(parents=True)
    questions = []
    for scene, (name, colour) in enumerate(COLOURS.items()):
        draw_square(folder / "videos" / f"{name}.mp4", colour)
        questions += [colour_question(scene, qid, name, negated=bool(qid)) for qid in (0, 1)]
    return write_curated(folder, {"dev": questions}, videos_root="videos", scenes=())


@pytest.fixture
def colours(tmp_path: Path) -> Curated:
    """A folder of one's own, to damage at will."""
    return write_colours(tmp_path / "colours")


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The taught checkpoint; once for all test processes, about 15 s."""
    from videothinker.models import tiny
    from videothinker.pretrain.teach import Example, teach

    shared = tmp_path_factory.getbasetemp()
    if "popen-gw" in shared.name:  # a pytest-xdist worker's own folder
        shared = shared.parent
    with FileLock(shared / "taught.lock"):
        checkpoint = shared / "taught"
        if not (checkpoint / "done").exists():
            curated = write_colours(shared / "colours-for-teaching")
            examples = []
            for question in curated.questions("dev"):
                clip = curated.clip(question)
                assert clip is not None
                prompt = answers.render(question, answers.Style.COT)
                examples.append(Example(clip, prompt, "<think>I look.</think>" + answers.solution(question)))
            teach(tiny.build(checkpoint), examples, n_steps=100, batch_size=6)
            (checkpoint / "done").touch()
    return checkpoint
