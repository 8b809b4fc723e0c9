"""The whole tour on a generated world: scenes, labels, a study's checkpoints asked side by side, one page.

    *_, look = demo.tour(Path("demo"))
    look.runs[0].metrics.inferential.per_question

`tour` is a generator, since whoever shows it wants to say what comes before it is done: it gives a `Step` and the `Command`
that one would type, then what that command came to.
"""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from videothinker import shipped, store
from videothinker.curate.check import Checked, check_folder
from videothinker.curate.datasets.clevrer.build import ClevrerCuration
from videothinker.curate.datasets.clevrer.settings import Settings as CurationSettings
from videothinker.curated import open_curated
from videothinker.diagnose.runs import Run
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError, install_hint
from videothinker.pool import n_cores
from videothinker.progress import Bars, no_bars
from videothinker.recipes import diagnosis
from videothinker.recipes.curation import curate_clevrer
from videothinker.records import Rule
from videothinker.reports.demo import StudyFindings, demo_page, read_study
from videothinker.world.make import World, WorldSettings, make_world

SEED = 2026
"""Of the demo's world: no study or pretraining draws its scenes from it. Fixed, so that two people who talk about the demo see
the same pages."""

SCENES = 300
"""Of the world. Half of them are asked about nothing, as in the real release, so that some 180 questions come of the others."""

PRESET = "clevrer"
"""Of the demo's questions: they are asked as the real release asks. The study whose checkpoints answer them was made with
`clevrer74`, whose questions differ, so its numbers stand beside the demo's in a figure of their own and in no row."""

DEV_SHARE = 0.8
"""Share of the scenes that are asked about; the others are there for the blind prior, and for training."""

MAX_NEW_TOKENS = 96
"""The study's own limit; its models' longest thoughts have some seventy tokens."""

BATCH_SIZE = 128
"""A model of 6 million parameters answers that many at once a fifth faster than 32, on two cores."""

ORDER = ("base", "grpo", "bias", "cdpo")
"""As in the study's figure; other checkpoints come after, by name."""

_SOLVERS = ("observer", "gold", "prior", "random")


class Step(NamedTuple):
    """What comes next, in words."""

    title: str


class Command(NamedTuple):
    """What one would type for what comes next."""

    line: str


class Missing(NamedTuple):
    """Why a part of the tour is left out."""

    why: str


class Trained(NamedTuple):
    """A few steps of a training are done."""

    stage: str
    steps: int
    already: bool
    """An earlier tour had taken them."""
    folder: Path


class Look(NamedTuple):
    """The end of the tour: its page is written."""

    page: Path
    curated: Path
    runs_folder: Path
    runs: list[Run]
    """The checkpoints that were asked."""
    study: StudyFindings | None
    """What the whole study found, where its checkpoints were asked."""


TourEvent = Step | Command | Missing | World | ClevrerCuration | Checked | Trained | diagnosis.Report | Look


def tour(
    folder: Path,
    *,
    scenes: int = SCENES,
    models: Path | None = None,
    train: bool = False,
    bars: Bars = no_bars,
) -> Iterator[TourEvent]:
    """Make, or go on with, the tour in `folder`, event by event.

    scenes: of the world, 20 or more. models: other checkpoints than those that come with the package: base/, and NAME.delta as
    `vt checkpoint pack` writes them. train: also take the base a few steps through all three trainings.

    Raises:
        VtError: `models` has no base, or a part of `folder` holds something else.
    """
    if models is not None and not (models / "base").is_dir():
        raise VtError(f"{models}: has no folder base; expected base/ and NAME.delta files, as vt checkpoint pack writes them")
    curated, runs = folder / "curated", folder / "runs"
    yield from _world(folder / "world", scenes, bars)
    yield from _curation(folder / "world", curated, bars)
    checkpoints: dict[str, Path] = {}
    yield from _unpacked(models, folder / "models", checkpoints)
    if train and checkpoints:
        yield from _few_steps(checkpoints, curated, folder, bars)
    report: diagnosis.Report | None = None
    for event in _asked(checkpoints, curated, runs, bars):
        report = event if isinstance(event, diagnosis.Report) else report
        yield event
    assert report is not None  # asking ends with it
    yield _look(folder, curated, runs, report, list(checkpoints), models)


def _world(out: Path, scenes: int, bars: Bars) -> Iterator[TourEvent]:
    yield Step("A world in CLEVRER's format, in which the truth about every counterfactual is known")
    yield Command(f"vt world make {out} --scenes {scenes} --seed {SEED} --preset {PRESET}")
    with bars("making scenes", scenes, "scenes") as progress:
        workers = min(n_cores(), scenes)
        world = make_world(out, WorldSettings(n_scenes=scenes, seed=SEED, preset=PRESET), workers=workers, progress=progress)
    yield world


def _curation(world: Path, out: Path, bars: Bars) -> Iterator[TourEvent]:
    yield Step("Which questions can be answered from what was seen, and which need the counterfactual?")
    annotations, questions, videos = world / "annotation_train", world / "train.json", world / "video_train"
    yield Command(
        f"vt curate clevrer --annotations {annotations} --questions {questions} --videos {videos} "
        f"--rule oracle --dev-share {DEV_SHARE:g} --out {out}"
    )
    settings = CurationSettings(rule=Rule.ORACLE, dev_share=DEV_SHARE)
    yield curate_clevrer(annotations, questions, out, settings, videos=videos, bars=bars)
    yield Command(f"vt curate check {out}")
    yield check_folder(out)


def _unpacked(models: Path | None, out: Path, into: dict[str, Path]) -> Iterator[TourEvent]:
    """Put the checkpoints that can be asked here `into` a dictionary by name, deltas unpacked."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        yield Missing(f"without the packages for checkpoints only solvers are asked: {install_hint('models')}")
        return
    models = models or shipped.MODELS
    base = models / "base"
    if not base.is_dir():
        why = (
            f"the study's checkpoints are not in {models}, so only solvers are asked: install from a whole checkout or a wheel"
        )
        yield Missing(why)
        return
    from videothinker.models.delta import unpack

    yield Step("The checkpoints of a study: each is kept as what training has changed in the base")
    into["base"] = base
    for file in sorted(models.glob("*.delta"), key=_place):
        yield Command(f"vt checkpoint unpack {shown(file)} --base {shown(base)} --out {out / file.stem}")
        unpack(base, file, out / file.stem)
        into[file.stem] = out / file.stem


def _place(file: Path) -> tuple[int, str]:
    return (ORDER.index(file.stem) if file.stem in ORDER else len(ORDER), file.stem)


def _few_steps(checkpoints: dict[str, Path], curated: Path, folder: Path, bars: Bars) -> Iterator[TourEvent]:
    """A few steps of each training from the base; what they make is added to `checkpoints`."""
    from videothinker.recipes.training import train
    from videothinker.train.stage_files import load_stage
    from videothinker.train.stages import Stage

    yield Step("A few steps of each training: enough to see it run, far too few to change what the model does")
    start, bias_folder = checkpoints["base"], folder / "bias-few-steps"
    for stage in (Stage.BIAS, Stage.CDPO, Stage.GRPO):
        out = folder / f"{stage.value}-few-steps"
        bias = str(bias_folder) if stage is Stage.CDPO else None
        extra = f" --bias-model {bias} --force" if bias else ""  # forced: six steps make no shortcut model
        yield Command(
            f"vt train {stage.value} --config {stage.value}-tiny --data {curated} --model {shown(start)}{extra} --out {out}"
        )
        made = train(
            load_stage(stage, shipped.shipped_config(f"{stage.value}-tiny")),
            open_curated(curated),
            start=str(start),
            out=out,
            bias=bias,
            bars=bars,
        )
        checkpoints[out.name] = out
        yield Trained(stage.value, made.result.steps, made.already, out)


def _asked(checkpoints: dict[str, Path], curated: Path, runs: Path, bars: Bars) -> Iterator[TourEvent]:
    refs = {name: shown(path) for name, path in checkpoints.items()} or {name: f"solver:{name}" for name in _SOLVERS}
    yield Step("What do they answer? Beside them the observer, who sees everything and thinks nothing")
    asked = " ".join(f"--model {name}={ref}" if checkpoints else f"--model {ref}" for name, ref in refs.items())
    options = f"--max-new-tokens {MAX_NEW_TOKENS} --batch-size {BATCH_SIZE}"
    yield Command(f"vt diagnose {asked} --data {curated} {options} --out {runs}")
    data = open_curated(curated)
    settings = DiagnosisSettings(split=data.default_split(), max_new_tokens=MAX_NEW_TOKENS, batch_size=BATCH_SIZE)
    yield diagnosis.diagnose(refs, data, settings, runs, bars=bars)


def _look(folder: Path, curated: Path, runs: Path, report: diagnosis.Report, names: list[str], models: Path | None) -> Look:
    """Write the page of the demo: the checkpoints of this tour, beside the study that they are from."""
    asked = [run for run in report.runs if run.name in (names or _SOLVERS)]
    study = read_study(shipped.STUDY) if models is None and "base" in names else None
    source = _OTHERS if "base" not in names else _GIVEN if models else _STUDIED
    links = {
        "The bias, explained on examples": "curated/report.html",
        "The diagnosis, question by question": "runs/report.html",
    }
    if study:
        links["The study: claims, ablations, every run"] = Path(
            os.path.relpath(shipped.STUDY / "report.html", folder)
        ).as_posix()
    page = folder / "report.html"
    store.write_bytes(page, demo_page([*report.references, *asked], study, source=source, links=links))
    return Look(page, curated, runs, asked, study)


_STUDIED = (
    "The checkpoints are those of one seed of the study: tiny Qwen2.5-VLs that know nothing but generated worlds. Here they "
    "are asked as the real CLEVRER asks (preset clevrer), which is harder than what the study asked (preset clevrer74)."
)
_GIVEN = "The checkpoints are those of the folder that --models named."
_OTHERS = "Without the study's checkpoints this shows the machinery alone."


def shown(path: Path) -> str:
    """A path as one would type it here: from this folder, or from the root where that is shorter."""
    return min(os.path.relpath(path), str(path.absolute()), key=len)
