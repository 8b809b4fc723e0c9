"""Progress: a rate over finished batches, phases by name, and plain lines where there is no terminal."""

import io
import time
from pathlib import Path

import pytest
from clip_corpus import film
from records_factory import choice, write_records
from release_factory import entry, question, write_release
from rich.console import Console
from vt_command import curate_release, vt

from videothinker.cli import console
from videothinker.progress import Pace, once_begun


def test_the_rate_is_that_of_finished_batches() -> None:
    """24 answers at 100 s, 24 at 120 s, 12 at 130 s: 36 in the 30 s after the first batch, which only starts the clock."""
    pace = Pace()
    for moment, n in ((100.0, 24), (120.0, 24), (130.0, 12)):
        for i in range(n):
            pace.add(1, moment + i / 1000)
        if moment == 100:
            assert pace.rate(110) is None
            assert pace.seconds_left(36, 110) is None
    assert pace.rate(130.1) == pytest.approx(24 / 20)  # the third batch may still be coming in
    assert pace.rate(131) == pytest.approx(36 / 30)
    assert pace.seconds_left(60, 131) == pytest.approx(60 / 1.2 - 1)
    assert pace.seconds_left(60, 999) == 0


def test_what_an_earlier_run_did_is_not_counted() -> None:
    pace = Pace()
    pace.add(900, 10)  # the first step of a resumed run tells all that were before it
    pace.add(1, 14)
    pace.add(1, 18)
    assert pace.rate(19) == pytest.approx(1 / 4)


def test_the_average_moves_over_a_minute_but_never_under_eight_batches() -> None:
    quick, slow = Pace(), Pace()
    for i in range(300):
        quick.add(1, float(i))
    for i in range(1, 101):
        quick.add(5, 299.0 + i)  # five times as fast, for longer than is averaged
    assert quick.rate(400) == pytest.approx(5)
    slow.add(7, 0)
    for i in range(1, 12):
        slow.add(1 if i < 3 else 2, 100.0 * i)
    assert slow.rate(1101) == pytest.approx(2 / 100)


def test_items_one_by_one_have_the_rate_they_come_at() -> None:
    pace = Pace()
    for i in range(1000):
        pace.add(1, i / 64)
    assert pace.rate(1000 / 64) == pytest.approx(64)


def test_a_count_tells_a_rate_only_where_there_is_one() -> None:
    pace = Pace()
    assert console.told(0, 40, "questions", pace, 0) == "0 of 40 questions"
    assert console.told(0, None, "questions", pace, 0) == ""
    pace.add(10, 0)
    assert console.told(10, 40, "questions", pace, 5) == "10 of 40 questions"
    pace.add(10, 10)
    assert console.told(20, 40, "questions", pace, 12) == "20 of 40 questions, 1.0 questions/s, 18 s left"
    pace.add(5, 30)
    assert console.told(25, 40, "questions", pace, 31) == "25 of 40 questions, 2.0 s each, 29 s left"
    pace.add(15, 60)
    assert console.told(40, 40, "questions", pace, 61) == "40 of 40 questions, 2.0 s each"


@pytest.mark.parametrize(
    ("seconds", "said"), [(42.4, "42 s"), (185, "3 min 05 s"), (7_620, "2 h 07 min"), (59.6, "1 min 00 s")]
)
def test_durations(seconds: float, said: str) -> None:
    assert console.duration(seconds) == said


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    file = io.StringIO()
    monkeypatch.setattr(console, "notes", Console(file=file, highlight=False))
    return file


def test_phases_are_plain_lines_without_a_terminal(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "duration", lambda _: "a while")
    with once_begun(console.progress_bar, "loading [base]", "asking [base]", 3, "questions") as advance:
        advance(2)
        advance(1)
    assert lines.getvalue().splitlines() == [
        "loading [base]",
        "asking [base]: 0 of 3 questions",
        "asking [base]: 3 of 3 questions; took a while",
    ]
    assert not any(character < " " and character != "\n" for character in lines.getvalue())


def test_lines_come_also_while_nothing_is_finished(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.01)
    with console.progress_bar("loading", None, "checkpoints"):
        for _ in range(1000):
            if lines.getvalue().count("\n") >= 3:
                break
            time.sleep(0.01)
    assert lines.getvalue().splitlines()[1] == "loading (0 s)"


def test_only_the_first_process_of_a_launch_shows_progress(lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with console.progress_bar("asking", 3, "questions") as advance:
        advance(3)
    assert lines.getvalue() == ""


def test_a_part_that_fails_has_no_last_line(lines: io.StringIO) -> None:
    with pytest.raises(ValueError, match="ours"), console.progress_bar("asking", 3, "questions"):
        raise ValueError("ours")
    assert lines.getvalue() == "asking: 0 of 3 questions\n"


def test_curating_names_reading_labelling_drawing_and_writing(lines: io.StringIO, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release", [entry(index, question(0), question(1)) for index in range(2)])
    assert curate_release(release, tmp_path / "out") == 0
    begun = [line for line in lines.getvalue().splitlines() if "took" not in line and line.split(" ")[0].endswith("ing")]
    assert begun[:2] == ["reading annotations: 0 of 2 files", "labelling questions: 0 of 4 questions"]
    assert [line.split(":")[0] for line in begun[2:]] == ["drawing the report", "writing the folder"]
    assert "labelling questions: 4 of 4 questions" in lines.getvalue()


def test_curating_parts_counts_the_clips_whose_length_is_read(lines: io.StringIO, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "clips").mkdir(exist_ok=True)
        film(tmp_path / "clips" / f"{name}.mp4", n=25)
    parts = [choice(1, "a", start=0, end=0.5), choice(2, "a", start=0.5, end=1), choice(3, "b", start=0, end=1)]
    for name, rows in (("parts", parts), ("whole", [choice(1, "a"), choice(2, "b")])):
        source = write_records(tmp_path / f"{name}.json", rows)
        assert vt("curate", "records", "--from", source, "--videos", tmp_path, "--out", tmp_path / name) == 0
    told = [line for line in lines.getvalue().splitlines() if line.startswith("reading lengths")]
    assert [line.split(" clips")[0] for line in told] == [
        "reading lengths: 0 of 2",  # two questions are about parts of one clip
        "reading lengths: 2 of 2",
    ]


@pytest.mark.parametrize(("option", "doing"), [("--no-videos", "simulating"), ("--videos", "simulating and filming")])
def test_a_world_says_whether_it_is_filmed(lines: io.StringIO, tmp_path: Path, option: str, doing: str) -> None:
    assert vt("world", "make", tmp_path / "w", "--scenes", "1", "--seed", "1", "--size", "32x32", "--workers", "1", option) == 0
    assert lines.getvalue().splitlines()[0] == f"{doing}: 0 of 1 scenes"
