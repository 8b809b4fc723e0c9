"""The whole way from a release to a curated folder, and what a user sees of it: records, counts, refusals, resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from release_factory import NEW, STAYS, annotation, collision, entry, question, trajectory, write_release, zip_of
from stopped import group_is_alive
from vt_command import curate_release, one_error, vt

from videothinker import answers, locks, store
from videothinker.answers import Style
from videothinker.curate.build import write
from videothinker.curate.datasets.clevrer import annotations
from videothinker.curate.datasets.clevrer.annotations import find_annotations, read_scenes
from videothinker.curate.datasets.clevrer.build import curate, layout
from videothinker.curate.datasets.clevrer.labelled import LABEL_COLUMNS, label_question, read_labels
from videothinker.curate.datasets.clevrer.paper import compare_with_paper, count_readings
from videothinker.curate.datasets.clevrer.questions import read_questions
from videothinker.curate.datasets.clevrer.settings import Settings
from videothinker.curated import open_curated
from videothinker.errors import VtError
from videothinker.records import DECIDED, Category, Collision, Form, Rule, Unresolved
from videothinker.records.video_r1 import ClevrerRow

OBS, INF = Category.OBSERVATIONAL, Category.INFERENTIAL


@pytest.fixture(autouse=True)
def no_pages(request: pytest.FixtureRequest) -> None:
    """Drawing the report takes a second; only tests that look at it need it."""
    if "real_pages" not in request.fixturenames:
        request.getfixturevalue("plain_pages")


@pytest.fixture
def real_pages() -> None:
    """Asks for the real report."""


def data_files(folder: Path) -> dict[str, str]:
    """sha256 of every file; of the manifest without its provenance."""
    hashes = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.name == "manifest.json":
            data = json.dumps({key: value for key, value in json.loads(data).items() if key != "provenance"}).encode()
        if not path.name.startswith("report."):  # they show the provenance
            hashes[path.relative_to(folder).as_posix()] = sha256(data).hexdigest()
    return hashes


@pytest.mark.usefixtures("real_pages")
def test_questions_labels_and_manifest_of_a_release(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert curate_release(release, out, "--rule", "any-option") == 0
    printed = capsys.readouterr()
    assert "90 counterfactual questions = 90 labelled + 0 unresolved, in 30 scenes" in printed.out
    assert "use --rule oracle" in " ".join(printed.err.split()), "watching answers half of what any-option calls observational"

    labels = pl.read_parquet(out / "labels.parquet")
    assert labels.schema == LABEL_COLUMNS
    assert labels.height == 90
    assert labels.row(1, named=True) | {"split": "", "in_train_set": True} == {
        "question_id": "0:5", "scene_index": 0, "qid": 5, "video": "video_00000-01000/video_00000.mp4", "removed_object": 2,
        "negated": False, "n_choices": 2, "n_correct": 0, "any_option": "observational", "correct_option": "inferential",
        "oracle": "inferential", "category": "observational", "split": "", "in_train_set": True, "gold": "", "observer": "A",
    }  # fmt: skip
    assert labels.select("gold", "observer").row(2) == ("A", "A,B")
    assert (labels["in_train_set"] == (labels["split"] == "train")).all()
    assert labels.group_by("scene_index").agg(pl.col("split").n_unique())["split"].max() == 1

    curated = open_curated(out)
    n_train, n_dev = curated.manifest.splits["train"], curated.manifest.splits["dev"]
    assert n_train + n_dev == 90
    train = curated.questions("train")
    assert len(train) == n_train
    first = train[0]
    assert first.options == ("Object 0 and object 1 collide", "Object 0 and object 3 collide")
    assert (first.gold, first.form, first.facets, first.source) == (("A",), Form.LETTERS, {"polarity": "will"}, "CLEVRER")
    assert train[1].gold == ()
    assert train[2].facets == {"polarity": "will not"}
    assert [one.question_id for one in train[:3]] == [f"{first.group}:{qid}" for qid in (4, 5, 11)]
    assert set(curated.scenes) == {str(index) for index in range(30)}
    assert set(curated.removed_objects.values()) == {2}

    # The names of the label sets, and what each says of STAYS, PREVENTED and NEW.
    found = {each.name: [each.by_question[one.question_id].category for one in train[:3]] for each in curated.labels.sets}
    assert found == {"any-option": [OBS, OBS, INF], "correct-option": [OBS, INF, INF], "oracle": [OBS, INF, INF]}
    assert curated.labels.rule == "any-option"
    assert [curated.labels.observer(one.question_id) for one in train[:3]] == [("A",), ("A",), ("A", "B")]
    own = curated.labels.own
    assert own is not None
    assert own.by_question[train[1].question_id].reason == "the clip shows the collision of option A"

    rows = store.read_json(out / "train.json", list[ClevrerRow])
    assert [row.problem_id for row in rows] == list(range(1, n_train + 1))
    assert [row.question_id for row in rows] == [one.question_id for one in train]
    assert rows[0].options == ("A. Object 0 and object 1 collide", "B. Object 0 and object 3 collide")
    assert (rows[0].solution, rows[0].data_type, rows[0].problem_type) == ("<answer>A</answer>", "video", "multiple choice")
    assert rows[0].video == rows[0].path == first.clip.path
    assert rows[1].solution == "<answer>none</answer>"
    assert [row.negated for row in rows[:3]] == [False, False, True]
    raw = json.loads((out / "train.json").read_text())[1]
    assert (raw["gold"], raw["observer"], raw["question_id"]) == ([], ["A"], train[1].question_id)
    parts = [store.read_json(out / f"train_{kind}.json", list[ClevrerRow]) for kind in DECIDED]
    assert [{row.category for row in part} for part in parts] == [{OBS}, {INF}]
    assert sorted(row.question_id for part in parts for row in part) == sorted(row.question_id for row in rows)

    said = json.loads((out / "manifest.json").read_text())
    assert said["questions"] == {"n_read": 90, "n_labelled": 90, "n_unresolved": 0}
    assert said["shares"] == {"any-option": 60 / 90, "correct-option": 30 / 90, "oracle": 30 / 90}
    assert said["observer"]["any-option"]["observational"] == {"n_questions": 60, "n_exact": 30, "exact": 0.5}
    assert said["observer"]["oracle"] == {
        "observational": {"n_questions": 30, "n_exact": 30, "exact": 1.0},
        "inferential": {"n_questions": 60, "n_exact": 0, "exact": 0.0},
    }
    assert said["counts"]["any-option"]["train"] == {"observational": n_train * 2 // 3, "inferential": n_train // 3}
    assert said["inputs"]["questions_sha256"] == sha256((release / "train.json").read_bytes()).hexdigest()
    assert said["paper"] is None
    assert (out / "report.html").stat().st_size > 1000
    assert list(out.glob("*.png"))


def test_the_chosen_rule_decides_the_category_and_nothing_else(release: Path, tmp_path: Path) -> None:
    frames = {}
    for rule in Rule:
        assert curate_release(release, tmp_path / rule, "--rule", rule) == 0
        frames[rule] = read_labels(tmp_path / rule)
        assert (frames[rule]["category"] == frames[rule][rule.column]).all()
    rest = [frame.drop("category") for frame in frames.values()]
    assert rest[0].equals(rest[1])
    assert rest[1].equals(rest[2])
    warnings = json.loads((tmp_path / "oracle/manifest.json").read_text())["warnings"]
    assert warnings == []


def test_without_a_rule_the_oracle_decides(release: Path, tmp_path: Path) -> None:
    assert curate_release(release, tmp_path / "out") == 0
    assert open_curated(tmp_path / "out").labels.rule == "oracle"
    assert Settings().rule is Rule.ORACLE


def test_what_is_out_of_view_is_left_out_counted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 and 1 collide at frame 20, which scene 1 does not show, then 0 and 2. Without 3: "A: 0-1, B: 0-2", gold B."""
    log = [{"frame_id": 20, "object_ids": [0, 1]}, {"frame_id": 50, "object_ids": [2, 0]}]
    unseen = trajectory((0, range(30)), (1, range(30)))
    files = {
        0: annotation(0, collision=log, motion_trajectory=trajectory()),
        1: annotation(1, collision=log, motion_trajectory=unseen),
        2: annotation(2, collision=log, motion_trajectory=[]),
        3: annotation(3, collision=log, motion_trajectory=[{"frame_id": 128, "objects": []}]),
    }
    asked = question(4, 3, [(0, 1), (0, 2)], "B")
    release, out = write_release(tmp_path / "release", [entry(index, asked) for index in files], files), tmp_path / "out"
    assert curate_release(release, out, "--split", "all") == 0
    printed = capsys.readouterr().out
    assert "out of view: 1 of 6 logged collisions, which only 'as logged' counts" in printed
    assert "1 of 3 annotations do not say what is in view: all theirs count" in printed
    labels = read_labels(out)
    assert labels["observer"].to_list() == ["A,B", "B", "A,B"]
    assert labels["oracle"].to_list() == ["inferential", "observational", "inferential"]
    assert open_curated(out).scenes["1"].collisions == (Collision(20, (0, 1), seen=False), Collision(50, (0, 2)))
    said = json.loads((out / "manifest.json").read_text())
    assert said["view"] == {
        "n_annotations": 3, "n_annotations_without_view": 1, "n_collisions": 6, "n_collisions_out_of_view": 1,
    }  # fmt: skip
    assert said["readings"]["moved"]["oracle"] == 1
    found = said["readings"]["observational"]["oracle"]
    assert {log: pools["all_questions"]["all"] for log, pools in found.items()} == {"seen": 1, "as_logged": 0}
    assert said["options"]["questions_by_n_options"] == {"2": 3}
    assert [one.reason for one in store.read_jsonl(out / "unresolved.jsonl", Unresolved)] == [
        "motion_trajectory[0].frame_id is 128, expected 0 to 127"
    ]
    assert vt("curate", "check", out) == 0


def test_the_same_input_gives_the_same_bytes_whatever_the_workers_and_the_layout(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotations, "_WORTH_A_POOL", 1)
    monkeypatch.setattr(annotations, "_CHUNK", 3)
    exports = ("--export", "trl,ms-swift,easyr1,verl", "--save-dataset")
    assert curate_release(release, tmp_path / "one", "--workers", "1", *exports) == 0
    assert curate_release(release, tmp_path / "two", "--workers", "2", *exports) == 0
    archive = zip_of(release / "annotation_train", tmp_path / "annotation_train.zip")
    arguments = ["--annotations", archive, "--questions", release / "train.json", "--out", tmp_path / "zip", *exports]
    assert vt("curate", "clevrer", *arguments) == 0
    one = data_files(tmp_path / "one")
    assert {
        "questions.parquet", "labels/log.parquet", "labels.parquet", "train.json", "dev.trl.jsonl",
        "dataset/train/data-00000-of-00001.arrow",
    } <= one.keys()  # fmt: skip
    assert data_files(tmp_path / "two") == one
    assert data_files(tmp_path / "zip") == one


def test_the_same_command_again_redoes_the_folder_and_another_is_refused(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert curate_release(release, out) == 0
    before = data_files(out)
    (out / "train.json").write_text("damaged")
    assert curate_release(release, out) == 0
    assert data_files(out) == before
    capsys.readouterr()
    assert curate_release(release, out, "--seed", "7") == 2
    assert "holds a curated folder with other settings or data: settings.seed was 42, is 7;" in one_error(capsys)
    path = next((release / "annotation_train").rglob("annotation_00004.json"))
    path.write_bytes(path.read_bytes() + b"\n")
    assert curate_release(release, out) == 2
    assert "with other settings or data: inputs.annotations_sha256 was" in one_error(capsys)
    assert data_files(out) == before


@pytest.mark.parametrize("name", ["notes.txt", "validation.json", "run"])
def test_a_folder_with_other_files_is_refused(
    release: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).touch()
    assert curate_release(release, out) == 2
    assert f"(it has {name})" in one_error(capsys)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"model": "theirs"}, "its manifest.json is not of a curated folder (it does not say 'settings')"),
        ({"settings": "theirs"}, "other settings or data: settings was"),
    ],
)
def test_the_manifest_of_something_else_is_refused(
    release: Path, tmp_path: Path, theirs: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store.write_json(tmp_path / "out/manifest.json", theirs)
    assert curate_release(release, tmp_path / "out") == 2
    assert message in one_error(capsys)


def test_the_questions_file_is_never_overwritten(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "train.json").write_bytes((release / "train.json").read_bytes())
    code = vt(
        "curate", "clevrer", "--annotations", release / "annotation_train", "--questions", alone / "train.json", "--out", alone
    )
    assert code == 2
    assert "train.json would overwrite the questions file" in one_error(capsys)


def test_an_unfinished_folder_is_finished(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert curate_release(release, out) == 0
    before = data_files(out)
    (out / "manifest.json").unlink()
    (out / "dev.json").unlink()
    assert curate_release(release, out) == 0
    assert data_files(out) == before


BAD = {
    0: b"{",
    1: None,
    2: annotation(3),
    3: annotation(3, collision=[{"frame_id": 500, "object_ids": [0, 1]}]),
}


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Scenes 0 to 3 have bad annotations; in scene 4 one question is bad and two name what cannot be resolved; 5 is sound."""
    ambiguous, entering = question(1), question(2)
    ambiguous["choices"][0]["program"] = collision(0, 1).replace("gray filter_color", "cube filter_shape").split()
    entering["choices"][1]["program"] = ["all_events", "objects", "gray", "filter_color", "unique", "filter_in", "unique"]
    entries = [entry(index, STAYS, NEW) for index in range(4)]
    entries += [entry(4, question(0) | {"choices": []}, ambiguous, entering, question(3)), entry(5, STAYS)]
    return write_release(tmp_path / "damaged", entries, BAD)


def test_bad_input_is_reported_and_the_rest_goes_on(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert curate_release(damaged, out) == 0
    printed = capsys.readouterr()
    assert "13 counterfactual questions = 2 labelled + 11 unresolved" in printed.out
    assert (
        "11 of 13 questions could not be labelled; the first is question 0:4: annotation_00000.json: input data was truncated"
        in (" ".join(printed.err.split()))
    )
    unresolved = store.read_jsonl(out / "unresolved.jsonl", Unresolved)
    assert [(u.question_id, u.file, u.reason) for u in unresolved] == [
        *(
            (f"0:{q}", "annotation_00000.json", "input data was truncated (the file is cut; download it again)")
            for q in (4, 11)
        ),
        *((f"1:{q}", "annotation_00001.json", "is not in annotation_train") for q in (4, 11)),
        *((f"2:{q}", "annotation_00002.json", "scene_index is 3, expected 2 as in the file's name") for q in (4, 11)),
        *((f"3:{q}", "annotation_00003.json", "collision[0].frame_id is 500, expected 0 to 127") for q in (4, 11)),
        ("4:0", "train.json", "[4].questions[1]: choices: expected `array` of length >= 1"),
        ("4:1", "train.json", "option A: 'cube' fits 2 objects (object_id 0, 3), expected one"),
        ("4:2", "train.json", "option B: is about 'in', and the annotation logs collisions only"),
    ]
    assert read_labels(out)["question_id"].to_list() == ["4:3", "5:4"]
    assert json.loads((out / "manifest.json").read_text())["questions"] == {"n_read": 13, "n_labelled": 2, "n_unresolved": 11}
    assert vt("curate", "check", out) == 0


def test_strict_stops_before_anything_is_written(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert curate_release(damaged, out, "--strict") == 2
    error = one_error(capsys)
    assert "11 counterfactual questions cannot be labelled" in error
    assert "question 0:4: annotation_00000.json: input data was truncated" in error
    assert not out.exists()


def test_nothing_labelled_is_still_a_whole_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = write_release(tmp_path / "release", [entry(0, STAYS)], {0: b"{"})
    (release / "annotation_train/annotation_00009.json").write_text("{}")
    out = tmp_path / "out"
    assert curate_release(release, out) == 0
    assert read_labels(out).height == 0
    assert (out / "train.json").read_text() == "[]\n"
    assert "no question was labelled" in capsys.readouterr().out
    assert len((out / "unresolved.jsonl").read_text().splitlines()) == 1
    assert vt("curate", "check", out) == 0


def test_a_missing_clip_leaves_the_label(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = release / "video_train/video_00000-01000"
    videos.mkdir(parents=True)
    for index in range(30):
        if index != 7:
            (videos / f"video_{index:05d}.mp4").write_bytes(b"no film")
    out = tmp_path / "deep/er/out"
    assert curate_release(release, out, "--videos", release / "video_train") == 0
    assert "1 clip is missing, the first is video_00000-01000/video_00007.mp4" in " ".join(capsys.readouterr().err.split())
    curated = open_curated(out)
    assert curated.manifest.videos_root == "../../../release/video_train"
    assert curated.manifest.missing_videos == ["video_00000-01000/video_00007.mp4"]
    assert read_labels(out).height == 90
    there = [curated.clip(row) for split in curated.manifest.splits for row in curated.questions(split)]
    assert sum(clip is not None and clip.is_there() for clip in there) == 87
    assert curate_release(release, tmp_path / "strict", "--videos", release / "video_train", "--strict") == 2
    assert "lacks 1 clips (--strict), the first is video_00000-01000/video_00007.mp4" in one_error(capsys)


def test_split_names_the_only_split(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert curate_release(release, out, "--split", "validation") == 0
    curated = open_curated(out)
    assert curated.manifest.splits == {"validation": 90}
    assert len(curated.questions("validation")) == 90
    assert not read_labels(out)["in_train_set"].any()
    assert not list(out.glob("train*.json"))


def test_the_training_set_is_the_size_and_share_that_were_asked_for(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, rule = tmp_path / "out", ("--rule", "any-option")
    assert curate_release(release, out, *rule, "--observational-share", "0.74", "--train-size", "50") == 0
    assert "50 = 37 observational + 13 inferential" in capsys.readouterr().out
    labels, everything = read_labels(out), tmp_path / "all"
    assert curate_release(release, everything, *rule) == 0
    assert labels.drop("in_train_set").equals(read_labels(everything).drop("in_train_set")), "no question is moved"
    chosen = labels.filter("in_train_set")
    assert set(chosen["split"]) == {"train"}
    assert [row.question_id for row in open_curated(out).questions("train")] == chosen["question_id"].to_list()
    said = json.loads((out / "manifest.json").read_text())
    n_train = said["splits"]["train"]
    assert said["training_set"] == {"n_questions": 50, "observational": 37, "inferential": 13, "left_out": n_train - 50}
    assert vt("curate", "check", out) == 0
    capsys.readouterr()
    assert curate_release(release, tmp_path / "more", *rule, "--train-size", "500", "--observational-share", "0.5") == 2
    assert "at most --train-size " in one_error(capsys)
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dev-share", "1", "--train-size", "0"], "--dev-share 1 is not in [0, 1); --train-size 0 is not positive"),
        (["--observational-share", "74"], "--observational-share 74 is not in [0, 1]"),
        (["--split", "a/b"], "--split 'a/b' is no file name"),
        (["--split", "manifest"], "--split 'manifest' is the name of another file"),
        (["--split", "train_observational"], "is the name of another file"),
        (["--split", "validation", "--train-size", "10"], "--split validation leaves none"),
        (["--split", "validation", "--dev-share", "0.2"], "--dev-share 0.2 with --split validation"),
        (["--export", "trl,nemo"], "--export nemo: expected some of trl,ms-swift,easyr1,verl"),
    ],
)
def test_wishes_that_make_no_sense_are_refused_at_once(
    release: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate_release(release, tmp_path / "out", *arguments) == 2
    assert message in one_error(capsys)
    assert not (tmp_path / "out").exists()


def test_a_zip_entry_that_points_outside_is_reported_or_stops(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = zip_of(release / "annotation_train", tmp_path / "evil.zip", prefix="../")
    inputs = ["--annotations", archive, "--questions", release / "train.json"]
    assert vt("curate", "clevrer", *inputs, "--out", tmp_path / "out") == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "30 entries of the zip point outside it and were not read" in printed
    assert read_labels(tmp_path / "out").height == 0
    assert vt("curate", "clevrer", *inputs, "--out", tmp_path / "strict", "--strict") == 2
    assert "points outside the archive (--strict)" in one_error(capsys)


def test_an_export_given_again_adds_to_the_first(release: Path, tmp_path: Path) -> None:
    wishes = ("--export", "trl", "--export", "ms-swift,easyr1", "--export", "trl")
    assert curate_release(release, tmp_path / "again", *wishes) == 0
    assert curate_release(release, tmp_path / "commas", "--export", "trl,ms-swift,easyr1") == 0
    exported = {name for name in data_files(tmp_path / "again") if name.endswith(".jsonl") and name.startswith("train.")}
    assert exported == {"train.trl.jsonl", "train.ms-swift.jsonl", "train.easyr1.jsonl"}
    assert data_files(tmp_path / "again") == data_files(tmp_path / "commas")


def test_exports_are_in_the_formats_of_the_trainers(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert curate_release(release, out, "--export", "trl, ms-swift,easyr1,verl", "--save-dataset") == 0
    first = open_curated(out).questions("train")[0]
    prompt = answers.render(first, Style.COT)

    def row(name: str) -> Any:
        lines = (out / name).read_text().splitlines()
        assert len(lines) == open_curated(out).manifest.splits["train"]
        return json.loads(lines[0])

    trl = row("train.trl.jsonl")
    content = [{"type": "video", "video": first.clip.path}, {"type": "text", "text": prompt}]
    assert trl["prompt"] == [{"role": "user", "content": content}]
    assert (trl["gold"], trl["solution"], trl["n_options"]) == (["A"], "<answer>A</answer>", 2)
    swift = row("train.ms-swift.jsonl")
    assert swift["messages"] == [{"role": "user", "content": f"<video>{prompt}"}]
    assert (swift["videos"], swift["solution"]) == ([first.clip.path], "<answer>A</answer>")
    easy = row("train.easyr1.jsonl")
    assert easy["problem"].startswith("<video>Without object 2")
    assert (easy["answer"], easy["videos"]) == ("A", [first.clip.path])
    assert json.loads((out / "train.easyr1.jsonl").read_text().splitlines()[1])["answer"] == "none"

    verl = row("train.verl.jsonl")
    assert verl["prompt"] == [{"role": "user", "content": f"<video>{prompt}"}]
    assert verl["videos"] == [{"type": "video", "video": first.clip.path}]
    assert verl["reward_model"] == {"style": "rule", "ground_truth": "<answer>A</answer>"}
    assert (verl["extra_info"]["form"], verl["extra_info"]["n_options"], verl["extra_info"]["gold"]) == ("letters", 2, ["A"])

    datasets = pytest.importorskip("datasets")
    saved = datasets.load_from_disk(out / "dataset")
    assert {split: len(rows) for split, rows in saved.items()} == open_curated(out).manifest.splits
    assert saved["train"][0]["options"] == ["A. Object 0 and object 1 collide", "B. Object 0 and object 3 collide"]
    assert saved["train"][1]["gold"] == []
    assert saved["train"].features == saved["dev"].features


def test_save_dataset_without_the_package_names_the_extra(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert curate_release(release, tmp_path / "out", "--save-dataset") == 2
    assert "pip install -e '.[train]'" in one_error(capsys)


def test_the_real_train_split_is_compared_with_the_paper(release: Path) -> None:
    scenes = read_scenes(find_annotations(release / "annotation_train"), range(30)).scenes
    asked = read_questions(release / "train.json").questions
    labelled = [label_question(one, scenes[one.scene_index], "video.mp4") for one in asked]
    train_split = frozenset(range(10_000))
    readings = count_readings(labelled)
    compared = compare_with_paper(train_split, 18_473, labelled, readings)
    assert compared is not None
    n_questions = {"paper": 18_473, "read": 18_473, "labelled": 90, "labelled_with_a_correct_option": 60}
    assert compared["n_questions"] == n_questions
    assert compared["observational"]["any-option"] == {"paper": 13_674, "found": 60, "difference": 60 - 13_674}
    assert compared["observational"]["oracle"]["found"] == 30
    assert compared["matches_paper"] == []
    assert compare_with_paper(train_split - {17}, 18_473, labelled, readings) is None
    assert compare_with_paper(train_split, 17_000, labelled, readings) is None
    assert compare_with_paper(frozenset(range(10_000, 15_000)), 18_473, labelled, readings) is None


def test_write_refuses_what_another_run_wrote_meanwhile(release: Path, tmp_path: Path) -> None:
    found = find_annotations(release / "annotation_train")
    out = tmp_path / "out"
    for seed in (1, 2):
        settings = Settings(seed=seed)
        curation = curate(found, release / "train.json", None, out, settings).curation
        if seed == 1:
            write(curation, out, layout(settings), {"report.html": b"page"})
    with pytest.raises(VtError, match=r"with other settings or data: settings\.seed was 1, is 2;"):
        write(curation, out, layout(settings), {})


START = """
import os, signal, sys, time
from videothinker import cli
from videothinker.curate import build
from videothinker.curate.datasets.clevrer import annotations
from videothinker.reports import curation
curation.curation_pages = lambda *args, **kwargs: {{"report.html": b"page"}}
annotations._WORTH_A_POOL = 1
annotations._CHUNK = 1
stop = {stop!r}
if stop == "reading":
    read = annotations.map_in_order
    def slowly(*args):
        for result in read(*args):
            print("reading", flush=True)
            time.sleep(0.2)
            yield result
    annotations.map_in_order = slowly
else:
    place = build.store.write_bytes
    def write_bytes(path, data):
        place(path, data)
        print("writing", flush=True)
        time.sleep(0.2)
    build.store.write_bytes = write_bytes
sys.argv = ["vt", *{arguments!r}]
if __name__ == "__main__":
    cli.main()
"""


@pytest.mark.parametrize("stop", ["reading", "writing"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_leaves_nothing_half_written(release: Path, tmp_path: Path, stop: str, how: signal.Signals) -> None:
    out = tmp_path / "out"
    inputs = ["--annotations", str(release / "annotation_train"), "--questions", str(release / "train.json")]
    script = tmp_path / "start.py"
    script.write_text(START.format(stop=stop, arguments=["curate", "clevrer", *inputs, "--out", str(out), "--workers", "2"]))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(3):
        assert process.stdout.readline().strip() == stop
    os.killpg(process.pid, how) if how == signal.SIGINT else process.kill()
    errors = process.stderr.read()
    assert process.wait(timeout=20) == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in errors
    assert errors.count("the same command again, which begins anew") == (how == signal.SIGINT)
    for _ in range(100):  # readers end with their parent
        if not group_is_alive(process.pid):
            break
        time.sleep(0.1)
    assert not group_is_alive(process.pid)
    assert not (out / "manifest.json").exists()
    for path in out.glob("*.json"):
        json.loads(path.read_text())
    assert [path.name for path in out.glob(".*") if path.name != locks.FILE] == [] or how == signal.SIGKILL
    assert curate_release(release, out) == 0
    assert vt("curate", "check", out) == 0
