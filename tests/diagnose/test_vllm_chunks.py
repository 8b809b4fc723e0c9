"""While vLLM writes one chunk of questions, the clips of the next are read: what is in a chunk, order, errors, and the end."""

import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnose.asking import settings
from stopped import stop

from videothinker.curated import Curated
from videothinker.diagnose import vllm_answerer, vllm_chunks
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.prompt_length import Still
from videothinker.diagnose.vllm_answerer import Served, VllmAnswerer, open_served
from videothinker.diagnose.vllm_child import Child
from videothinker.diagnose.vllm_chunks import Asked, Chunk, chunks, next_size, one_ahead
from videothinker.diagnose.vllm_worker import Job, Written
from videothinker.errors import VtError

PATIENCE_S = 30.0
"""Until what never comes has failed a test."""


def names(chunk: Chunk) -> list[str]:
    return [one.question_id if isinstance(one, RawReply) else one.job["id"] for one in chunk]


def about(name: str, n: int, n_bytes: int = 0) -> Chunk:
    """So many questions about one clip, whose frames take so many bytes; one is `name` and its number."""
    frames = np.zeros(n_bytes, np.uint8)
    return [Asked(None, Still(), {"id": f"{name}{i}", "frames": frames}, None) for i in range(n)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n", "most", "expected"),
    [
        (10, 256, [10]),
        (63, 256, [63]),  # one less than two of 32
        (64, 256, [32, 32]),
        (128, 256, [32, 96]),
        (250, 256, [32, 218]),  # 128 and 90 would be two calls more than the first
        (700, 256, [32, 128, 256, 142, 142]),  # and not 256 and 28
        (20, 8, [8, 6, 6]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_sizes_by_hand(n: int, most: int, expected: list[int]) -> None:
    found = [0]
    while sum(found) < n:
        found.append(next_size(found[-1], n - sum(found), most))
    assert found[1:] == expected
    assert [len(chunk) for chunk in chunks([about("a", 1)] * n, n, most)] == expected


def test_a_chunk_ends_within_a_clip_and_counts_what_is_lost() -> None:
    lost: Chunk = [RawReply(question_id="lost", reply=None)]
    found = [about("a", 3), lost, about("b", 4), about("c", 1)]
    assert [names(chunk) for chunk in chunks(found, 9, 3)] == [["a0", "a1", "a2"], ["lost", "b0", "b1"], ["b2", "b3", "c0"]]


def test_a_chunk_ends_where_its_frames_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_chunks, "_FRAME_BYTES", 100)
    found = [about("a", 2, 60), about("b", 2, 39), about("c", 1, 1), about("d", 2, 500), about("e", 1, 99)]
    expected = [["a0", "a1", "b0", "b1", "c0"], ["d0", "d1"], ["e0"]]
    assert [names(chunk) for chunk in chunks(found, 8, 256)] == expected


_before: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _note_threads() -> None:
    """Other tests of the process may have left threads of these names, as of a trainer that is not let go of yet."""
    _before.clear()
    _before.update(threading.enumerate())


def threads() -> list[str]:
    """Threads that gather chunks or read clips, and began in this test."""
    return [one.name for one in threading.enumerate() if one not in _before and one.name.startswith(("vllm-chunks", "clips"))]


def comes(true: Callable[[], bool]) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.01)
    return False


def test_the_next_chunk_is_gathered_while_one_is_in_use_and_no_further_one() -> None:
    taken: list[str] = []

    def found() -> Iterator[Chunk]:
        for name in "abcd":
            taken.append(name)
            yield about(name, 1)

    with_one = one_ahead(found(), 4, 1)  # type: ignore[arg-type]
    for i, chunk in enumerate(with_one):
        assert names(chunk) == [f"{'abcd'[i]}0"]
        assert comes(lambda i=i: len(taken) == min(i + 2, 4))  # type: ignore[misc]
        time.sleep(0.05)
        assert len(taken) == min(i + 2, 4)
    assert threads() == []


def test_the_frames_of_a_chunk_are_let_go_when_the_next_is_in_use() -> None:
    used: list[weakref.ref[Any]] = []
    for chunk in one_ahead((about(name, 1) for name in "abcd"), 4, 1):
        assert [held() for held in used] == [None] * len(used)
        used.append(weakref.ref(chunk[0].job["frames"]))  # type: ignore[union-attr]
    assert len(used) == 4


def test_what_is_closed_reads_no_further_than_its_next_clip() -> None:
    taken: list[int] = []

    def found() -> Iterator[Chunk]:
        yield about("first", 32)
        for number in range(64):  # the second chunk, which takes longer than it takes to close this
            taken.append(number)
            time.sleep(0.1)
            yield about(str(number), 1)

    ahead = one_ahead(found(), 10_000, 256)  # type: ignore[arg-type]
    assert len(next(ahead)) == 32
    ahead.close()
    assert len(taken) < 64
    assert threads() == []


class Writer:
    """Writes as another writer does, and looks at what it is given first."""

    def __init__(self, writer: Any, look: Callable[[int, Sequence[Job]], None]) -> None:
        self._writer, self._look = writer, look
        self.n_calls = 0

    def describe(self) -> dict[str, Any]:
        return self._writer.describe()  # type: ignore[no-any-return]

    def reply(self, jobs: Sequence[Job]) -> list[Written]:
        self.n_calls += 1
        self._look(self.n_calls, jobs)
        return self._writer.reply(jobs)  # type: ignore[no-any-return]


def answerer(
    ref: Path, curated: Curated, look: Callable[[int, Sequence[Job]], None] = lambda *_: None, **changes: Any
) -> VllmAnswerer:
    chosen = settings(engine="vllm", **changes)
    served: Served = open_served(str(ref), chosen)
    return VllmAnswerer(served._replace(writer=Writer(served.writer, look)), curated=curated, settings=chosen)


@pytest.fixture
def clips_taken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The clips that were read so far, in order."""
    taken: list[Any] = []
    really = vllm_answerer.showings

    def noted(clip: Any, *rest: Any) -> Any:
        taken.append(clip)
        return really(clip, *rest)

    monkeypatch.setattr(vllm_answerer, "showings", noted)
    return taken


def test_clips_of_the_next_chunk_are_read_while_vllm_writes(
    original: Path, colours: Curated, stand_in: Any, clips_taken: list[Any]
) -> None:
    """The folder has three clips with two questions each, and each call waits for the clip of the next one."""

    def look(n_calls: int, jobs: Sequence[Job]) -> None:
        assert len(jobs) == 2
        assert comes(lambda: len(clips_taken) >= min(n_calls + 1, 3))

    asked = answerer(original, colours, look, batch_size=2)
    found = list(asked.answer(colours.questions("dev")))
    assert [reply.question_id for reply in found] == [question.question_id for question in colours.questions("dev")]
    assert sum(each["n_clips"] for each in asked.describe()["fed"]) == 3
    assert asked.describe()["prompt_length"] == {"compared": 6, "differ": 0}


@pytest.mark.parametrize(("batch_size", "n_calls"), [(1, 6), (2, 3), (4, 2), (None, 1)])
def test_replies_and_their_order_do_not_depend_on_chunks(
    original: Path, colours: Curated, stand_in: Any, batch_size: int | None, n_calls: int
) -> None:
    asked = answerer(original, colours, batch_size=batch_size)
    found = list(asked.answer(colours.questions("dev")))
    whole = {reply.question_id: reply for reply in answerer(original, colours).answer(colours.questions("dev"))}
    assert found == [whole[question.question_id] for question in colours.questions("dev")]
    assert asked.served.writer.n_calls == n_calls  # type: ignore[attr-defined]
    assert [each["n_clips"] for each in asked.describe()["fed"]] == [3], "a clip in two chunks counts once"


@pytest.mark.parametrize(("batch_size", "order"), [(2, [0, 1, 2, 3, 4, 5]), (4, [2, 0, 1, 3, 4, 5]), (8, [2, 3, 0, 1, 4, 5])])
def test_what_cannot_be_read_comes_before_the_replies_of_its_chunk(
    original: Path, colours: Curated, stand_in: Any, batch_size: int, order: list[int]
) -> None:
    questions = colours.questions("dev")
    colours.clip(questions[2]).path.write_bytes(b"no film")  # type: ignore[union-attr]
    found = list(answerer(original, colours, batch_size=batch_size).answer(questions))
    assert [reply.question_id for reply in found] == [questions[i].question_id for i in order]
    assert [reply.question_id for reply in found if reply.reply is None] == [one.question_id for one in questions[2:4]]


def test_what_goes_wrong_with_clips_is_raised_where_replies_are_taken(
    original: Path, colours: Curated, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise VtError("the disk is full")

    monkeypatch.setattr(vllm_answerer, "showings", full)
    with pytest.raises(VtError, match="the disk is full"):
        list(answerer(original, colours).answer(colours.questions("dev")))
    assert comes(lambda: threads() == [])


def test_a_vllm_that_ends_ends_the_reading_too(original: Path, colours: Curated, stand_in: Any) -> None:
    def look(n_calls: int, _: Sequence[Job]) -> None:
        if n_calls == 2:
            raise VtError("vLLM ended while it wrote replies")

    replies = answerer(original, colours, look, batch_size=2).answer(colours.questions("dev"))
    assert [next(replies).question_id for _ in range(2)] == [one.question_id for one in colours.questions("dev")[:2]]
    with pytest.raises(VtError, match="ended while it wrote"):
        next(replies)
    assert comes(lambda: threads() == [])


def test_who_takes_no_more_replies_leaves_no_thread_and_a_vllm_that_can_be_asked_again(
    original: Path, colours: Curated, child_python: Path, clips_taken: list[Any]
) -> None:
    asked = answerer(original, colours, batch_size=2)
    replies = asked.answer(colours.questions("dev"))
    first = next(replies)
    replies.close()  # type: ignore[attr-defined]
    assert "vllm-chunks" not in " ".join(threads())
    assert comes(lambda: threads() == [])
    assert len(clips_taken) <= 2, "nothing is read any more"
    assert next(iter(asked.answer(colours.questions("dev")))) == first
    assert len(list(asked.answer(colours.questions("dev")))) == 6


UNCHECKED = """
from videothinker import cli
from videothinker.diagnose import vllm_check
vllm_check.ours = lambda *_, **__: None
cli.main()
"""
"""`vt` that does not hold vLLM's replies against our own engine's, which the stand-in's are not like."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_diagnosis_leaves_no_process_and_no_frames(
    original: Path, colours: Curated, child_python: Path, tmp_path: Path, number: signal.Signals
) -> None:
    script, writes, scratch = tmp_path / "unchecked.py", tmp_path / "writes", tmp_path / "scratch"
    script.write_text(UNCHECKED)
    scratch.mkdir()
    path = os.pathsep.join([str(Path(vllm_chunks.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = ["diagnose", "--data", colours.folder, "--model", original, "--engine", "vllm", "--batch-size", "2"]
    stop(
        [*command, "--dtype", "float32", "--out", tmp_path / "runs"],
        number,
        when=writes.exists,
        program=(sys.executable, str(script)),
        environment={"STAND_IN_NEVER_ENDS": str(writes), "TMPDIR": str(scratch), "PYTHONPATH": path},
    )
    assert comes(lambda: list(scratch.glob("videothinker-vllm-*")) == [])


def test_a_child_hears_no_signal_that_its_folder_would_outlive(original: Path, child_python: Path) -> None:
    """A terminal's Ctrl-C comes to it too, and it ends when its standard input does."""
    options = {"model": str(original), "revision": None, "trust_remote_code": False, "dtype": "float32"}
    child = Child("x", str(child_python), options | {"eos": [2], "placeholders": [5, 6]})
    for number in (signal.SIGINT, signal.SIGTERM):
        child._process.send_signal(number)
    assert child.reply([]) == []
    child.close()
