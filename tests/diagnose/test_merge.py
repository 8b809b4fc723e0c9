"""Shards of a run on several machines, merged: what one process would have written, or one line that says why not."""

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from curated_factory import a_choice, random_questions, write_curated, write_labels, write_unlabelled
from vt_command import one_error, vt

from videothinker import store
from videothinker.curated import Curated
from videothinker.diagnose import merge, run

N = 3
DATA_FILES = ("predictions.jsonl", "metrics.json")


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    questions = {"train": random_questions(range(5), seed=1), "dev": random_questions(range(100, 110), seed=2)}
    return write_curated(tmp_path_factory.mktemp("data") / "curated", questions)


def diagnose(curated: Curated, out: Path, *options: str | Path, models: tuple[str, ...] = ("solver:random",)) -> int:
    asked = [part for model in models for part in ("--model", model)]
    return vt("diagnose", "--data", curated.folder, *asked, "--out", out, *options)


def ask_all(curated: Curated, out: Path, *options: str | Path, **more: Any) -> None:
    for number in (2, 3, 1):
        assert diagnose(curated, out, "--shard", f"{number}/{N}", *options, **more) == 0


def same(out: Path, other: Path, *names: str) -> None:
    for name in names:
        for file in DATA_FILES:
            assert (out / name / file).read_bytes() == (other / name / file).read_bytes(), (name, file)


def record(folder: Path) -> dict[str, Any]:
    return store.read_json(folder / "run.json", dict[str, Any])


def test_merged_shards_are_what_one_process_writes(curated: Curated, tmp_path: Path) -> None:
    models = ("solver:random", "top=solver:gold")
    assert diagnose(curated, tmp_path / "one", models=models) == 0
    ask_all(curated, tmp_path / "runs", models=models)
    assert not (tmp_path / "runs" / "report.html").exists()
    assert vt("merge", tmp_path / "runs") == 0
    same(tmp_path / "one", tmp_path / "runs", "random", "top")
    for name in ("random", "top"):
        one, merged = record(tmp_path / "one" / name), record(tmp_path / "runs" / name)
        for volatile in ("provenance", "sessions"):
            del one[volatile], merged[volatile]
        assert merged == one
    figures = {path.name: path.read_bytes() for path in (tmp_path / "one").glob("*.png")}
    assert figures
    assert {path.name: path.read_bytes() for path in (tmp_path / "runs").glob("*.png")} == figures
    one_summary, merged_summary = ((tmp_path / name / "summary.json").read_bytes() for name in ("one", "runs"))
    assert merged_summary == one_summary


def test_a_limit_chooses_the_questions_that_one_process_asks(curated: Curated, tmp_path: Path) -> None:
    assert diagnose(curated, tmp_path / "one", "--limit", "11", "--no-report") == 0
    ask_all(curated, tmp_path / "runs", "--limit", "11")
    assert vt("merge", tmp_path / "runs", "--no-report") == 0
    same(tmp_path / "one", tmp_path / "runs", "random")


def test_the_merged_run_tells_of_its_shards(curated: Curated, tmp_path: Path) -> None:
    ask_all(curated, tmp_path)
    assert vt("merge", tmp_path, "--no-report") == 0
    provenance = record(tmp_path / "random")["provenance"]
    assert list(provenance["shards"]) == ["1/3", "2/3", "3/3"]
    assert all(line.startswith(("12 questions on ", "9 questions on ")) for line in provenance["shards"].values())
    assert provenance["command"] == f"vt merge {tmp_path} --no-report"
    assert provenance["versions"]
    assert "shards_differ" not in provenance


def test_shards_of_different_versions_are_merged_and_told_of(
    curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_all(curated, tmp_path)
    path = tmp_path / "shards" / "2-of-3" / "random" / "run.json"
    held = record(path.parent)
    held["provenance"]["versions"]["torch"] = "1.0"
    store.write_json(path, held)
    capsys.readouterr()
    assert vt("merge", tmp_path, "--no-report") == 0
    assert "asked with torch 2" in (told := capsys.readouterr().err)
    assert "and 1.0; replies may differ" in told


def test_what_differs_from_one_process_is_counted(curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diagnose(curated, tmp_path / "one", "--no-report")
    ask_all(curated, tmp_path / "runs")
    path = tmp_path / "one" / "random" / "predictions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["reply"] += " So."  # another reply with the same answer
    rows[1] |= {"reply": "", "chosen": None, "status": "no_answer"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:-2]))
    capsys.readouterr()
    assert vt("merge", tmp_path / "runs", "--no-report", "--against", tmp_path / "one") == 0
    assert (
        f"random: 28 questions are in both runs, 2 with another reply and 1 with another answer than in {path.parent}"
        "; 2 more are in one of the two alone"
    ) in capsys.readouterr().out
    diagnose(curated, tmp_path / "other", "--no-report", "--seed", "7")
    capsys.readouterr()
    assert vt("merge", tmp_path / "runs", "--no-report", "--against", tmp_path / "other") == 2
    assert "seed was 7, is 42" in capsys.readouterr().err


def test_a_clip_is_of_one_shard_with_all_its_questions(curated: Curated, tmp_path: Path) -> None:
    ask_all(curated, tmp_path)
    clip = {question.question_id: question.clip.path for question in curated.questions("dev")}
    rows = [(tmp_path / "shards" / f"{number}-of-3" / "random" / "predictions.jsonl") for number in (1, 2, 3)]
    clips = [{clip[json.loads(line)["question_id"]] for line in path.read_text().splitlines()} for path in rows]
    assert list(map(len, clips)) == [4, 3, 3]
    assert len(set.union(*clips)) == 10


def test_merging_again_changes_nothing_and_a_grown_run_is_merged_again(curated: Curated, tmp_path: Path) -> None:
    ask_all(curated, tmp_path, "--limit", "8")
    assert vt("merge", tmp_path, "--no-report") == 0
    run_files = {path: path.read_bytes() for path in (tmp_path / "random").iterdir()}
    assert vt("merge", tmp_path, "--no-report") == 0
    assert {path: path.read_bytes() for path in (tmp_path / "random").iterdir()} == run_files
    ask_all(curated, tmp_path, "--limit", "20")
    assert vt("merge", tmp_path, "--no-report") == 0
    assert record(tmp_path / "random")["partial"] == {"asked": 20, "of": 30}


def test_missing_and_unfinished_shards_are_named_with_what_to_run(
    curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diagnose(curated, tmp_path, "--shard", "2/3")
    capsys.readouterr()
    assert vt("merge", tmp_path) == 2
    error = one_error(capsys)
    assert "shards 1,3 of 3 are not finished" in error
    assert f"--data {curated.folder} --model solver:random --out {tmp_path} --shard 1/3`" in error
    assert vt("report", tmp_path, "--out", tmp_path / "report") == 2
    assert f"not merged yet; put them together with `vt merge {tmp_path}`" in one_error(capsys)
    assert not (tmp_path / "random").exists()


def test_a_killed_shard_is_owed_and_goes_on(curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diagnose(curated, tmp_path / "one", "--no-report")
    ask_all(curated, tmp_path / "runs")
    killed = tmp_path / "runs" / "shards" / "3-of-3" / "random"
    whole = (killed / "predictions.jsonl").read_bytes()
    (killed / "predictions.jsonl").write_bytes(whole[: len(whole) // 2])
    for name in ("metrics.json", "done.json"):
        (killed / name).unlink()
    capsys.readouterr()
    assert vt("merge", tmp_path / "runs") == 2
    assert "shard 3 of 3 is not finished for random" in one_error(capsys)
    diagnose(curated, tmp_path / "runs", "--shard", "3/3")
    assert "questions are answered already" in capsys.readouterr().err
    assert vt("merge", tmp_path / "runs", "--no-report") == 0
    same(tmp_path / "one", tmp_path / "runs", "random")


def test_asking_more_takes_the_marker_away_first(curated: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_all(curated, tmp_path, "--limit", "8")

    def killed(*_: Any) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(run, "_ask", killed)
    with pytest.raises(RuntimeError, match="killed"):
        diagnose(curated, tmp_path, "--limit", "30", "--shard", "2/3")
    assert not (tmp_path / "shards" / "2-of-3" / "random" / "done.json").exists()


def test_more_shards_than_clips_leave_some_empty(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "one", "--no-report")
    for number in range(1, 13):
        assert diagnose(curated, tmp_path / "runs", "--shard", f"{number}/12") == 0
    empty = tmp_path / "runs" / "shards" / "12-of-12" / "random"
    assert (empty / "predictions.jsonl").read_bytes() == b""
    assert diagnose(curated, tmp_path / "runs", "--shard", "12/12") == 0
    assert vt("merge", tmp_path / "runs", "--no-report") == 0
    same(tmp_path / "one", tmp_path / "runs", "random")


def test_other_settings_other_numbers_and_a_whole_run_are_refused_before_asking(
    curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diagnose(curated, tmp_path, "--shard", "1/3")
    capsys.readouterr()
    assert diagnose(curated, tmp_path, "--shard", "2/3", "--seed", "7") == 2
    assert "seed was 42, is 7" in one_error(capsys)
    assert diagnose(curated, tmp_path, "--shard", "2/4") == 2
    assert "go on with /3" in one_error(capsys)
    diagnose(curated, tmp_path, "--no-report")
    capsys.readouterr()
    assert diagnose(curated, tmp_path, "--shard", "2/3") == 2
    assert "asked without --shard" in one_error(capsys)
    assert not (tmp_path / "shards" / "2-of-3").exists()


def test_shards_that_were_asked_otherwise_are_not_merged(
    curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_all(curated, tmp_path / "runs")
    ask_all(curated, tmp_path / "seed", "--seed", "7")
    ask_all(curated, tmp_path / "limit", "--limit", "30")
    for name, told in (("seed", "seed was 7, is 42"), ("limit", "limit was 30, is null")):
        place = tmp_path / "runs" / "shards" / "2-of-3"
        shutil.rmtree(place)
        shutil.copytree(tmp_path / name / "shards" / "2-of-3", place)
        capsys.readouterr()
        assert vt("merge", tmp_path / "runs") == 2
        assert told in one_error(capsys)
    assert not (tmp_path / "runs" / "random").exists()


def test_other_questions_are_not_merged(curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask_all(curated, tmp_path / "runs")
    other = write_curated(tmp_path / "other", {"train": random_questions([0]), "dev": random_questions(range(1, 9), seed=5)})
    capsys.readouterr()
    assert vt("merge", tmp_path / "runs", "--data", other.folder) == 2
    assert "was asked from other questions" in one_error(capsys)
    assert not (tmp_path / "runs" / "random").exists()


def test_data_that_no_shard_is_of_is_refused(curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask_all(curated, tmp_path)
    assert vt("merge", tmp_path, "--data", curated.folder, "--data", f"other={curated.folder}") == 2
    assert "is called 'other'" in one_error(capsys)
    assert not (tmp_path / "random").exists()


def test_a_shard_has_one_process(curated: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "shards" / "1-of-3" / "random"
    place.mkdir(parents=True)
    with (place / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert diagnose(curated, tmp_path, "--shard", "1/3") == 2
        assert "another process is writing there" in one_error(capsys)
        assert diagnose(curated, tmp_path, "--shard", "2/3") == 0


def test_a_merged_run_is_resumed_like_any_other_and_stays_merged(curated: Curated, tmp_path: Path) -> None:
    ask_all(curated, tmp_path)
    lost = tmp_path / "shards" / "2-of-3" / "random" / "predictions.jsonl"
    first, *others = lost.read_text().splitlines(keepends=True)
    row = {**json.loads(first), "reply": "", "chosen": None, "status": "decode_error", "error": "gone"}
    lost.write_text("".join([json.dumps(row) + "\n", *others]))
    assert vt("merge", tmp_path, "--no-report") == 0
    merged = tmp_path / "random" / "predictions.jsonl"
    assert merged.read_text().count("decode_error") == 1
    assert diagnose(curated, tmp_path, "--no-report") == 0  # asks the one that was lost
    whole = merged.read_bytes()
    assert b"decode_error" not in whole
    assert vt("merge", tmp_path, "--no-report") == 0  # which a later merge keeps
    assert merged.read_bytes() == whole
    diagnose(curated, tmp_path / "one", "--no-report")
    same(tmp_path / "one", tmp_path, "random")


def test_several_sets_and_labels_from_elsewhere(curated: Curated, tmp_path: Path) -> None:
    plain = write_unlabelled(tmp_path / "plain", {"test": [a_choice(f"q{number}", gold="A") for number in range(9)]})
    names = [question.question_id for question in curated.questions("dev")]
    kinds = {name: ("observational", "inferential")[number % 2] for number, name in enumerate(names)}
    labels = write_labels(tmp_path / "twin.parquet", "probe:twin", kinds)
    asked = ["--data", f"b={plain.folder}", "--data", f"a={curated.folder}", "--labels", f"a={labels}"]
    asked += ["--model", "x=solver:random", "--model", "m=solver:none"]
    assert vt("diagnose", *asked, "--out", tmp_path / "one") == 0
    for number in (1, 2):
        assert vt("diagnose", *asked, "--out", tmp_path / "runs", "--shard", f"{number}/2") == 0
    assert vt("merge", tmp_path / "runs") == 0
    same(tmp_path / "one", tmp_path / "runs", "a/x", "a/m", "b/x", "b/m")
    assert (tmp_path / "one" / "summary.json").read_bytes() == (tmp_path / "runs" / "summary.json").read_bytes()
    assert [each.name.as_posix() for each in merge.find(tmp_path / "runs")] == ["b/x", "a/x", "b/m", "a/m"]


def test_a_checkpoint_in_float32_gives_the_same_bytes(taught: Path, colours: Curated, tmp_path: Path) -> None:
    asked = ("--max-new-tokens", "40", "--no-clip-cache", "--dtype", "float32")
    models = (f"taught={taught}",)
    assert diagnose(colours, tmp_path / "one", *asked, "--no-report", models=models) == 0
    ask_all(colours, tmp_path / "runs", *asked, models=models)
    assert vt("merge", tmp_path / "runs", "--no-report") == 0
    same(tmp_path / "one", tmp_path / "runs", "taught")
    one, merged = (record(tmp_path / name / "taught")["fed"]["fed"] for name in ("one", "runs"))
    assert merged == one  # the kinds of clips, each with their number
