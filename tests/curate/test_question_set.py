"""Any set of questions, from its file to a report: `vt curate records`, `check`, `diagnose` and `report`, without labels."""

import json
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from clip_corpus import film
from PIL import Image
from records_factory import FOUR, ROWS, choice, write_records
from vt_command import one_error, vt

from videothinker import store
from videothinker.curated import open_curated
from videothinker.demux import ClipError
from videothinker.footage import Footage
from videothinker.frames import probe
from videothinker.records import Metrics, Summary, Unresolved
from videothinker.records.video_r1 import VideoR1Row


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten rows about six clips, of which nine can be used."""
    return write_records(tmp_path / "set.json")


def curate(source: Path, out: Path, *arguments: str | Path) -> int:
    return vt("curate", "records", "--from", source, "--out", out, *arguments)


def raw_manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def data_files(folder: Path) -> dict[str, bytes]:
    """The content of every file but the pages, which say when they were made; of the manifest without its provenance."""
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.stem not in ("report", "tables")}
    kept = {key: value for key, value in raw_manifest(folder).items() if key != "provenance"}
    return found | {"manifest.json": json.dumps(kept).encode()}


def test_questions_rows_and_manifest_of_a_file(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert curate(source, out) == 0
    printed = capsys.readouterr()
    assert "10 questions = 9 usable + 1 unresolved, about 6 clips" in printed.out
    assert "forms          choice 7, yes-no 2" in printed.out
    assert "splits         test 9" in printed.out
    assert "1 of 10 questions cannot be used; the first is question 10: set.json: problem_type 'free-form'" in printed.err
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.json",
        "questions.parquet",
        "report.html",
        "report.md",
        "tables",
        "test.json",
        "unresolved.jsonl",
    ]

    table = pl.read_parquet(out / "questions.parquet")
    assert table.columns == [
        "question_id", "group", "form", "text", "options", "n_options", "gold", "split", "in_train_set", "video",
        "start", "end", "fps", "source", "data_source",
    ]  # fmt: skip
    assert table.row(0, named=True) == {
        "question_id": "1", "group": "clips/a.mp4", "form": "choice", "text": "What falls first in clip a?",
        "options": ["the cup", "the ball"], "n_options": 2, "gold": "A", "split": "test", "in_train_set": True,
        "video": "clips/a.mp4", "start": None, "end": None, "fps": None, "source": "set", "data_source": "Kitchen",
    }  # fmt: skip
    assert table.select("form", "options", "n_options", "gold").row(8) == ("yes-no", ["yes", "no"], 2, "B")
    assert table["question_id"].to_list() == [str(number) for number in range(1, 10)]

    [bad] = store.read_jsonl(out / "unresolved.jsonl", Unresolved)
    assert (bad.question_id, bad.file) == ("10", "set.json")
    assert "problem_type 'free-form' with 0 options needs a form of answer not asked here" in bad.reason

    rows = store.read_json(out / "test.json", list[VideoR1Row])
    assert [row.problem_id for row in rows] == list(range(1, 10))
    assert rows[0].options == ("A. the cup", "B. the ball")
    assert [row.solution for row in rows[6:]] == ["<answer>B</answer>", "<answer>yes</answer>", "<answer>no</answer>"]
    assert {(row.category, row.observer) for row in rows} == {(None, None)}

    said = raw_manifest(out)
    assert (said["rule"], said["videos_root"], said["benchmark"]) == (None, None, None)
    assert (said["splits"], said["missing_videos"]) == ({"test": 9}, [])
    assert said["questions"] == {"n_read": 10, "n_labelled": 9, "n_unresolved": 1}
    assert said["inputs"] == {"file": "set.json", "sha256": sha256(source.read_bytes()).hexdigest()}
    assert said["settings"] == {"dataset": "records", "seed": 42, "dev_share": None, "split": "test"} | {
        "variant": None,
        "columns": None,
    }
    assert vt("curate", "check", out) == 0


def test_clips_and_not_questions_are_parted_into_train_and_dev(source: Path, tmp_path: Path) -> None:
    """A clip is in dev where the hash of seed and clip, as a fraction of 1, lies below the share."""
    sizes = {}
    for seed in (42, 43):
        out = tmp_path / str(seed)
        assert curate(source, out, "--dev-share", "0.5", "--seed", str(seed)) == 0
        fractions = {
            clip: int.from_bytes(sha256(f"{seed}:group clips/{clip}.mp4".encode()).digest()[:8]) / 2**64 for clip in "abcdef"
        }
        found = pl.read_parquet(out / "questions.parquet").select("group", "split").unique().rows()
        assert sorted(found) == [
            (f"clips/{clip}.mp4", "dev" if part < 0.5 else "train") for clip, part in sorted(fractions.items())
        ]
        curated = open_curated(out)
        sizes[seed] = curated.manifest.splits
        assert {split: len(curated.questions(split)) for split in ("train", "dev")} == sizes[seed]
        for split, n in sizes[seed].items():
            assert len(json.loads((out / f"{split}.json").read_text())) == n
        assert vt("curate", "check", out) == 0
    assert sizes[42] == {"train": 5, "dev": 4}  # c, d and e
    assert not list((tmp_path / "42").glob("train_*"))  # there are no categories


def test_split_names_the_only_split(source: Path, tmp_path: Path) -> None:
    assert curate(source, tmp_path / "out", "--split", "validation") == 0
    curated = open_curated(tmp_path / "out")
    assert curated.manifest.splits == {"validation": 9}
    assert curated.default_split() == "validation"
    assert (tmp_path / "out/validation.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "validation", "--dev-share", "0.2"], "--dev-share 0.2 with --split validation"),
        (["--split", "a/b"], "--split 'a/b' is no file name"),
        (["--split", "manifest"], "--split 'manifest' is the name of another file"),
        (["--split", "train_observational"], "is the name of another file"),
        (["--dev-share", "0"], "--dev-share 0 is not between 0 and 1"),
        (["--dev-share", "1"], "--dev-share 1 is not between 0 and 1"),
        (["--videos", "nowhere"], "--videos nowhere: is not a folder"),
    ],
)
def test_wishes_that_make_no_sense_are_refused_at_once(
    source: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate(source, tmp_path / "out", *arguments) == 2
    assert message in one_error(capsys)
    assert not (tmp_path / "out").exists()


def write_clips(folder: Path, names: str) -> Path:
    (folder / "clips").mkdir(parents=True)
    for name in names:
        (folder / "clips" / f"{name}.mp4").write_bytes(b"no film")
    return folder


def test_missing_clips_are_counted_and_cost_no_question(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep/out"
    assert curate(source, out, "--videos", write_clips(tmp_path / "videos", "abce")) == 0
    assert "2 clips are missing, the first is clips/d.mp4" in " ".join(capsys.readouterr().err.split())
    curated = open_curated(out)
    assert curated.manifest.videos_root == "../../videos"
    assert curated.manifest.missing_videos == ["clips/d.mp4", "clips/f.mp4"]
    there = [curated.clip(question) for question in curated.questions("test")]
    assert [clip is not None and clip.is_there() for clip in there] == [True] * 5 + [False] * 2 + [True, False]
    assert vt("curate", "check", out) == 0


def test_strict_stops_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, videos = tmp_path / "out", write_clips(tmp_path / "videos", "abce")
    assert curate(write_records(tmp_path / "set.json"), out, "--videos", videos, "--strict") == 2
    assert "1 questions cannot be used (--strict); the first is question 10: set.json: problem_type" in one_error(capsys)
    usable = write_records(tmp_path / "usable.json", ROWS[:9])
    assert curate(usable, out, "--videos", videos, "--strict") == 2
    assert "lacks 2 clips (--strict), the first is clips/d.mp4" in one_error(capsys)
    assert not out.exists()
    assert curate(usable, out, "--strict") == 0  # no folder of clips: none is looked for


def test_the_same_command_again_redoes_the_folder_and_another_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert curate(source, out) == 0
    before = data_files(out)
    (out / "test.json").write_text("damaged")
    assert curate(source, out) == 0
    assert data_files(out) == before
    (out / "manifest.json").unlink()  # as a run that was killed leaves it
    (out / "questions.parquet").unlink()
    assert curate(source, out) == 0
    assert data_files(out) == before

    for arguments, message in (
        (["--seed", "7"], "settings.seed was 42, is 7"),
        (["--split", "dev"], 'settings.split was "test", is "dev"'),
        (["--dev-share", "0.5"], "settings.dev_share was null, is 0.5"),
        (["--videos", write_clips(tmp_path / "videos", "a")], 'videos_root was null, is "../videos"'),
    ):
        capsys.readouterr()
        assert curate(source, out, *arguments) == 2
        assert message in one_error(capsys)
    write_records(source, ROWS[:8])
    assert curate(source, out) == 2
    assert "inputs.sha256 was" in one_error(capsys)
    assert data_files(out) == before


def test_neither_other_files_nor_the_source_are_overwritten(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").touch()
    assert curate(source, tmp_path / "other") == 2
    assert "(it has thesis.tex)" in one_error(capsys)
    (tmp_path / "own").mkdir()
    assert curate(write_records(tmp_path / "own/test.json"), tmp_path / "own") == 2
    assert "test.json would overwrite the questions file" in one_error(capsys)


GOLD = {"a": "AA", "b": "AB", "c": "AB", "d": "AD", "e": "CA", "f": "CA"}
"""Answers of two questions about each clip. With a half in dev, a, b and f are in train, where A is the most frequent; of the
six questions about c, d and e three have A."""


@pytest.fixture
def asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder of runs: gold, random and the blind prior on six single choices of four options."""
    answers = [(clip, letter) for clip, letters in GOLD.items() for letter in letters]
    rows = [choice(n, clip, letter, options=FOUR, domain="x" if n % 2 else "y") for n, (clip, letter) in enumerate(answers)]
    curated, runs = tmp_path / "curated", tmp_path / "runs"
    assert curate(write_records(tmp_path / "four.jsonl", rows), curated, "--dev-share", "0.5") == 0
    assert vt("curate", "check", curated) == 0
    solvers = [part for name in ("gold", "random", "prior") for part in ("--model", f"solver:{name}")]
    capsys.readouterr()
    assert vt("diagnose", "--data", curated, *solvers, "--out", runs) == 0
    return runs


def test_a_set_without_labels_is_diagnosed_against_chance(asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = capsys.readouterr().out
    assert "these questions have no labels" in printed
    assert "gold: too few clips to tell: 3, 20 or more are needed" in printed
    found = {name: store.read_json(asked / name / "metrics.json", Metrics) for name in ("gold", "random", "prior")}
    assert {name: by.all.per_question.value for name, by in found.items() if name != "random"} == {"gold": 1.0, "prior": 0.5}
    for by in found.values():
        assert (by.rule, by.by_rule, by.by_polarity, by.benchmark) == (None, {}, {}, None)
        assert by.chance == by.all.chance == 0.25
        assert (by.all.n_questions, by.all.n_options, by.all.n_scenes, by.all.n_unparsed) == (6, 24, 3, 0)
        for pool in (by.observational, by.inferential):
            assert (pool.n_questions, pool.per_question.value, pool.chance) == (0, None, None)
        assert by.gap.value is by.shortcut_reliance.value is by.shortcut_error_share.value is None
        assert {name: pool.n_questions for name, pool in by.by_facet["domain"].items()} == {"x": 3, "y": 3}
        assert list(by.by_facet) == ["domain"]
        assert {n: pool.n_questions for n, pool in by.by_n_options.items()} == {4: 6}
    predictions = [json.loads(line) for line in (asked / "random/predictions.jsonl").read_text().splitlines()]
    assert {len(row["chosen"]) for row in predictions} == {1}
    assert {row["observer"] for row in predictions} == {None}

    summary = store.read_json(asked / "summary.json", Summary)
    assert summary.rule is None
    assert set(summary.references) == {"chance", "prior"}  # nobody looked less, so there is no observer
    assert summary.references["chance"].all.per_question.value == 0.25
    assert {row.n_questions for row in summary.comparisons if row.measure == "all"} == {6}
    for name in ("report.html", "report.md"):
        assert "have no labels" in (asked / name).read_text()


def test_a_set_without_labels_is_reported_again_and_knows_no_rule(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "again"
    assert vt("report", asked, "--out", out) == 0
    assert store.read_json(out / "prior/metrics.json", Metrics) == store.read_json(asked / "prior/metrics.json", Metrics)
    assert "have no labels" in (out / "report.html").read_text()
    capsys.readouterr()
    assert vt("report", asked, "--rule", "oracle", "--out", tmp_path / "ruled") == 2
    assert "there are no labels 'oracle' for these questions; there are none" in one_error(capsys)


def test_nobody_can_be_the_observer_of_a_set_without_labels(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert vt("diagnose", "--data", tmp_path / "curated", "--model", "solver:observer", "--out", tmp_path / "other") == 2
    assert "has no labels of its own, so no observer; leave it out" in one_error(capsys)
    assert not (tmp_path / "other").exists()
    assert curate(tmp_path / "four.jsonl", tmp_path / "whole") == 0
    capsys.readouterr()
    assert vt("diagnose", "--data", tmp_path / "whole", "--model", "solver:prior", "--out", tmp_path / "other") == 2
    assert "counts answers in the split 'train', which" in one_error(capsys)


def when(number: int, clip: str, said: str, **changes: Any) -> dict[str, Any]:
    return choice(number, clip, said, options=None, problem_type="temporal grounding", **changes)


def test_an_interval_is_held_beside_its_clips_length_where_that_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Clip a lasts 4 s, a part of it 2 s; b is not there."""
    (tmp_path / "clips").mkdir()
    film(tmp_path / "clips" / "a.mp4", n=100)
    rows = [
        when(1, "a", "1 to 3"),
        when(2, "a", "1 to 5"),
        when(3, "a", "1 to 5.1"),
        when(4, "a", "4 to 6"),
        when(5, "a", "1.5 to 2", start=1, end=3),
        when(6, "a", "2 to 2.5", start=1, end=3),
        when(7, "b", "100 to 200"),
    ]
    source = write_records(tmp_path / "set.json", rows)
    assert curate(source, tmp_path / "out", "--videos", tmp_path) == 0
    told = " ".join(capsys.readouterr().err.split())
    found = store.read_jsonl(tmp_path / "out" / "unresolved.jsonl", Unresolved)
    assert {one.question_id: one.reason for one in found} == {
        "4": "its interval begins at 4 s, and its clip lasts 4 s",
        "6": "its interval begins at 2 s, and its clip lasts 2 s",
    }
    assert "2 of 7 questions cannot be used; the first is question 4: clips/a.mp4: its interval begins at 4 s" in told
    late = (
        "1 question whose interval ends after the clip, so that no reply about what can be seen earns all of it; the first is"
    )
    assert f"{late} 3, 1 to 5.1 s of clips/a.mp4, which lasts 4 s" in told
    assert raw_manifest(tmp_path / "out")["unresolved"] == {"its interval begins at ... s, and its clip lasts ... s": 2}
    assert curate(source, tmp_path / "blind") == 0  # without clips the part's length is known alone
    assert [one.question_id for one in store.read_jsonl(tmp_path / "blind" / "unresolved.jsonl", Unresolved)] == ["6"]


def test_a_part_long_after_its_clip_is_told_of_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Clip a lasts 4 s, and a folder of 8 frames at 2 a second too; b is not there."""
    (tmp_path / "clips" / "c").mkdir(parents=True)
    film(tmp_path / "clips" / "a.mp4", n=100)
    for number in range(8):
        Image.new("RGB", (8, 8)).save(tmp_path / "clips" / "c" / f"{number}.png")
    cut = {
        1: ("a", {"start": 1, "end": 3}),
        2: ("a", {"start": 1, "end": 4.9}),  # rounded, and cut at the clip's end
        3: ("a", {"start": 1, "end": 5.2}),
        4: ("a", {"end": 60}),
        5: ("a", {"start": 4.5}),
        6: ("b", {"start": 50, "end": 60}),
        7: ("c", {"path": "clips/c", "fps": 2, "start": 1, "end": 4}),
        8: ("c", {"path": "clips/c", "fps": 2, "start": 1, "end": 7}),
    }
    rows = [choice(number, clip, "A", **part) for number, (clip, part) in cut.items()]
    told = "about a part that lies behind the end of its clip or ends more than 1 s after it, so that nobody can be asked"
    first = "3, from 1 s to 5.2 s of clips/a.mp4, which lasts 4 s"
    expected = f"4 questions {told}; is it another clip, or cut short? The first is {first}"
    assert curate(write_records(tmp_path / "set.json", rows), tmp_path / "out", "--videos", tmp_path) == 0
    assert expected in " ".join(capsys.readouterr().err.split())
    assert expected in raw_manifest(tmp_path / "out")["warnings"]
    assert [one.question_id for one in open_curated(tmp_path / "out").questions("test")] == [str(number) for number in cut]
    assert curate(tmp_path / "set.json", tmp_path / "blind") == 0
    assert told not in " ".join(capsys.readouterr().err.split())
    fine = write_records(tmp_path / "fine.json", [row for row in rows if row["problem_id"] in (1, 2, 7)])
    assert curate(fine, tmp_path / "fine", "--videos", tmp_path) == 0
    assert told not in " ".join(capsys.readouterr().err.split())
    for one in open_curated(tmp_path / "out").questions("test"):  # what is told of is what cannot be shown
        assert one.clip is not None
        with nullcontext() if one.question_id in "127" else pytest.raises(ClipError):
            probe(Footage.below(tmp_path, one.clip))


def test_a_set_whose_every_interval_is_beyond_its_clip_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_records(tmp_path / "set.json", [when(1, "a", "5 to 6", start=1, end=3)])
    assert curate(source, tmp_path / "out") == 2
    assert "has no question that can be used; the first is question 1: clips/a.mp4: its interval" in one_error(capsys)
    assert not (tmp_path / "out").exists()
