"""The benchmarks from a release's folder to a curated one: counts held against the published ones, clips where they lie, what
is kept out, and what the manifest and the page say of it.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from benchmarks_factory import (
    MMVU_ROWS,
    RELEASES,
    empty_clip,
    mvbench_clips,
    read_set,
    write_json,
    write_longvideobench,
    write_mmvu,
    write_mmvu_in_video_r1,
    write_mvbench,
    write_parquet,
    write_tempcompass,
    write_video_holmes,
)
from vt_command import one_error, vt

from videothinker import store
from videothinker.curate.datasets import longvideobench, mmvu, sources
from videothinker.curate.question_set import by_reason
from videothinker.curated import open_curated
from videothinker.errors import VtError
from videothinker.records import Clip, Metrics, Unresolved

EXPECTED = {  # questions read, of these kept out, clips, benchmark averaged over
    "mmvu": (4, 1, 3, None),
    "video-holmes": (3, 0, 2, None),
    "mvbench": (22, 0, 20, "task"),
    "tempcompass": (7, 1, 2, None),
    "videomme": (3, 0, 2, None),
    "longvideobench": (2, 0, 1, None),
}


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """All that was printed, in one line."""
    printed = capsys.readouterr()
    return " ".join((printed.out + printed.err).split())


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_becomes_a_sound_folder(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = RELEASES[name](tmp_path / "release", empty_clip)
    out = tmp_path / "out"
    assert vt("curate", name, "--from", release.source, "--out", out) == 0
    n_read, n_out, n_clips, macro_over = EXPECTED[name]
    said = manifest(out)
    assert said["questions"] == {"n_read": n_read, "n_labelled": n_read - n_out, "n_unresolved": n_out}
    assert said["unresolved"] == ({"needs a judge": n_out} if n_out else {})
    assert (said["missing_videos"], (out / said["videos_root"]).resolve()) == ([], release.videos.resolve())
    assert said["benchmark"]["macro_over"] == macro_over
    assert said["benchmark"]["name"].endswith(", not all questions as published")  # the real ones have thousands
    printed = told(capsys)
    assert (
        f"{n_read} questions = {n_read - n_out} usable + {n_out} unresolved, about {n_clips} clip{'s' * (n_clips > 1)}"
        in printed
    )
    assert f"clips {n_clips} of {n_clips} are in {release.videos}" in printed
    assert "a result on these is not comparable with published ones" in printed
    assert vt("curate", "check", out) == 0

    curated = open_curated(out)
    split = curated.default_split()
    assert split == ("validation" if name in ("mmvu", "longvideobench") else "test")
    table = pl.read_parquet(out / "questions.parquet")
    for facet, counts in said["facets"].items():
        assert dict(table[facet].drop_nulls().value_counts().iter_rows()) == counts
    for page in ("report.html", "report.md"):
        text = (out / page).read_text()
        assert said["benchmark"]["name"].split(",")[0] in text
        assert ("needs a judge" in text) == bool(n_out)
        assert "not comparable with published ones" in text


def test_start_end_and_rate_survive_the_table_and_the_macro_mean_is_over_tasks(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert vt("curate", "mvbench", "--from", write_mvbench(tmp_path / "MVBench").source, "--out", out) == 0
    asked = {one.question_id: one for one in open_curated(out).questions("test")}
    assert asked["action_prediction:2"].clip == Clip(path="star/Charades_v1_480/FGHIJ.mp4", start=9.0, end=12.25)
    assert asked["episodic_reasoning:1"].clip.fps == 3.0
    again = read_set("records", out / "test.json").questions  # our own rows, as any other program's
    assert [(one.question_id, one.clip, one.options, one.gold) for one in again] == [
        (name, one.clip, one.options, one.gold) for name, one in asked.items()
    ]
    assert manifest(out)["videos_root"] is None  # there are no clips beside it
    assert vt("diagnose", "--data", out, "--model", "solver:gold", "--out", tmp_path / "runs") == 0
    found = store.read_json(tmp_path / "runs/gold/metrics.json", Metrics)
    assert found.benchmark is not None
    assert found.benchmark.name == "MVBench, not all questions as published, mean over task"
    assert found.benchmark.value == pytest.approx(1.0)
    assert len(found.by_facet["task"]) == 20
    notes = manifest(out)["notes"]
    assert notes == [
        "1 answer with a blank at the end that the option lacks; read as that option",
        "1 question with one option, so that whoever names it is right (chance 1)",
        "1 question with the content of another one, the order of options aside; all are asked and counted",
        "1 question with the words of another one, about another part of its clip: they need start and end",
    ]


# ---- counts ----------------------------------------------------------------------------------------------------------------


def test_short_and_doubled_parts_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = write_mvbench(tmp_path / "MVBench").source
    (release / "json/fine_grained_pose.json").unlink()
    arguments = ("curate", "mvbench", "--from", release, "--out", tmp_path / "out")
    assert vt(*arguments, "--strict") == 2
    error = one_error(capsys)
    said = f"MVBench has 4,000 questions as published, {release} has 21 (Fine-grained Pose 0 of 200, Action Antonym 1 of 200,"
    assert said in error  # what is missing altogether comes first
    assert "Action Localization 1 of 200, Action Prediction 2 of 200, Action Sequence 1 of 200 and 14 more)" in error
    assert not (tmp_path / "out").exists()
    assert vt(*arguments) == 0
    assert manifest(tmp_path / "out")["warnings"][0].startswith("MVBench has 4,000 questions as published")


def test_the_published_counts_are_no_reason_to_warn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(longvideobench, "N_PUBLISHED", 2)
    monkeypatch.setattr(longvideobench, "_BY_DURATION", {"15": 1, "3600": 1})
    release = write_longvideobench(tmp_path / "release", empty_clip).source
    assert vt("curate", "longvideobench", "--from", release, "--out", tmp_path / "out", "--strict") == 0
    assert manifest(tmp_path / "out")["warnings"] == []
    assert manifest(tmp_path / "out")["benchmark"]["name"] == "LongVideoBench"
    monkeypatch.setattr(longvideobench, "_BY_DURATION", {"15": 2})
    assert vt("curate", "longvideobench", "--from", release, "--out", tmp_path / "other", "--strict") == 2
    assert "has 2 (15 1 of 2, 3600 1 of 0)" in one_error(capsys)  # as many in all, but not of each


def test_strict_allows_what_needs_a_judge_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mmvu, "N_PUBLISHED", 4)
    monkeypatch.setattr(mmvu, "_BY_DISCIPLINE", {"Science": 1, "Healthcare": 1, "Engineering": 1})
    release = write_mmvu(tmp_path / "MMVU", empty_clip).source
    arguments = ("curate", "mmvu", "--from", release, "--strict", "--out")
    assert vt(*arguments, tmp_path / "out") == 0
    [kept_out] = store.read_jsonl(tmp_path / "out/unresolved.jsonl", Unresolved)
    assert (kept_out.question_id, kept_out.file, kept_out.reason) == ("validation_0", "validation.json", "needs a judge")
    (release / "videos/Chemistry/1.mp4").unlink()
    assert vt(*arguments, tmp_path / "second") == 2
    assert "lacks 1 clips (--strict), the first is Chemistry/1.mp4" in one_error(capsys)
    write_json(release / "validation.json", [MMVU_ROWS[0], MMVU_ROWS[1] | {"answer": "?"}, *MMVU_ROWS[2:]])
    assert vt(*arguments, tmp_path / "third") == 2
    assert "1 questions cannot be used (--strict); the first is question validation_1: validation.json" in one_error(capsys)


def test_reasons_are_counted_by_kind() -> None:
    said = ["its answer is 'x', expected 3 letters", 'its answer is "it\'s", expected 4 letters', "needs a judge"]
    unresolved = [Unresolved(question_id="1", file="f", reason=reason) for reason in said]
    assert by_reason(unresolved) == {"its answer is ..., expected ... letters": 2, "needs a judge": 1}
    timed = [
        msgspec.structs.replace(unresolved[0], reason=f"its from is {said}, expected two times in seconds, such as 12.5 to 20")
        for said in ("'5'", "'x y'")
    ]
    assert by_reason(timed) == {"its from is ..., expected two times in seconds, such as 12.5 to 20": 2}


def test_an_option_that_is_there_twice_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert vt("curate", "video-holmes", "--from", write_video_holmes(tmp_path / "release").source, "--out", out) == 0
    assert manifest(out)["notes"] == [
        "1 question with an option twice, the first is fAa1:2; in 1 of them it is the correct one, whose other letter counts as"
        " wrong"
    ]


# ---- variants --------------------------------------------------------------------------------------------------------------


def test_a_variant_is_another_set_with_a_name_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = write_tempcompass(tmp_path / "TempCompass").source
    out = tmp_path / "out"
    command = ("curate", "tempcompass", "--from", release, "--out", out)
    assert vt(*command, "--variant", "captioning-as-letters") == 0
    said = manifest(out)
    assert said["questions"]["n_unresolved"] == 0
    assert said["settings"]["variant"] == "captioning-as-letters"
    assert said["benchmark"]["name"].startswith("TempCompass, captioning-as-letters")
    assert said["facets"]["format"] == {"multi-choice": 3, "yes-no": 1, "caption-matching": 2, "captioning": 1}
    assert "This is a variant: it also asks captioning" in (out / "report.md").read_text()
    assert vt("curate", "check", out) == 0
    capsys.readouterr()
    assert vt(*command) == 2  # the folder holds the variant
    assert "settings.variant" in one_error(capsys)
    assert vt(*command, "--variant", "letters") == 2
    assert "--variant letters: TempCompass has no such variant; it has captioning-as-letters" in one_error(capsys)


def test_variants_are_told_where_one_looks_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert vt("curate", "tempcompass", "--help") == 0
    assert "captioning-as-letters: also asks captioning" in told(capsys)
    assert vt("curate", "list") == 0
    assert "as-published: keeps the words of VideoThinker's file" in told(capsys)


# ---- clips -----------------------------------------------------------------------------------------------------------------


def test_clips_are_found_in_the_folder_named_or_the_release_s_own_in_it(tmp_path: Path) -> None:
    release = write_mmvu(tmp_path / "MMVU", empty_clip)
    source = write_mmvu_in_video_r1(tmp_path / "files/eval_mmvu.json")
    roots = {}
    for number, videos in enumerate((None, release.source, release.videos)):
        out = tmp_path / f"out{number}"
        more = () if videos is None else ("--videos", videos)
        assert vt("curate", "mmvu", "--from", source, "--out", out, *more) == 0
        roots[number] = manifest(out)["videos_root"], manifest(out)["missing_videos"]
    assert roots == {0: (None, []), 1: ("../MMVU/videos", []), 2: ("../MMVU/videos", [])}


def test_mvbenchs_clips_are_taken_where_they_are(tmp_path: Path) -> None:
    """Converted, moved to the later folder, or cut already: then they are shown whole."""
    release = write_mvbench(tmp_path / "MVBench")
    others = {
        "ssv2_video/12.webm": "ssv2_video_mp4/12.mp4",
        "star/Charades_v1_480/KLMNO.mp4": "data0613/star/Charades_v1_480/KLMNO.mp4",
        "sta/sta_video/ABCDE.mp4": "sta/sta_video_segment/ABCDE_0.0_15.2.mp4",
        "tvqa/frames_fps3_hq/castle_s01e02_seg02_clip_14": (
            "tvqa/video_fps3_hq_segment/castle_s01e02_seg02_clip_14_0.0_38.32.mp4"
        ),
    }
    for clip in dict.fromkeys(others.get(clip, clip) for clip in mvbench_clips()):
        path = release.videos / clip
        path.parent.mkdir(parents=True, exist_ok=True)
        empty_clip(path)
    out = tmp_path / "out"
    assert vt("curate", "mvbench", "--from", release.source, "--out", out, "--videos", release.videos) == 0
    asked = {one.question_id: one for one in open_curated(out).questions("test")}
    assert asked["action_antonym:1"].clip == Clip(path="ssv2_video_mp4/12.mp4")
    assert asked["action_sequence:1"].clip == Clip(path="data0613/star/Charades_v1_480/KLMNO.mp4", start=0.5, end=4.0)
    assert asked["action_localization:1"].clip == Clip(path="sta/sta_video_segment/ABCDE_0.0_15.2.mp4")
    assert asked["episodic_reasoning:1"].clip == Clip(path=others["tvqa/frames_fps3_hq/castle_s01e02_seg02_clip_14"])
    assert asked["action_localization:1"].group == "sta/sta_video/ABCDE.mp4"  # the same film, however it lies there
    assert asked["action_prediction:1"].clip == Clip(path="star/Charades_v1_480/FGHIJ.mp4", start=1.5, end=9.0)
    said = manifest(out)
    assert said["missing_videos"] == []
    [note] = [note for note in said["notes"] if "elsewhere" in note]
    assert note.startswith("4 questions with the clip elsewhere than in the release's main part: ")
    assert note.endswith("; 2 of them are cut already and are shown whole")


# ---- hubs ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which `datasets` loads ids as if it were a hub, because it takes a folder of that name first."""
    for switch in ("huggingface_hub.constants.HF_HUB_OFFLINE", "datasets.config.HF_HUB_OFFLINE"):
        monkeypatch.setattr(switch, True)  # their variables count only when they are first imported
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_id_of_a_hub_is_read_like_a_folder(local_hub: Path) -> None:
    rows = [row | {"video": "videos/" + row["video"].split("/videos/")[1]} for row in MMVU_ROWS]
    write_parquet(local_hub / "yale-nlp/MMVU/data/validation-00000-of-00001.parquet", rows)
    assert vt("curate", "mmvu", "--from", "hub", "--out", "out") == 0
    assert vt("curate", "mmvu", "--from", write_mmvu(local_hub / "release").source, "--out", "files") == 0
    assert open_curated(Path("out")).members == open_curated(Path("files")).members
    said = manifest(Path("out"))
    assert said["unresolved"] == {"needs a judge": 1}
    assert (said["inputs"]["hub"], list(said["inputs"]["rows"])) == ("yale-nlp/MMVU", ["yale-nlp/MMVU/validation"])
    assert said["provenance"]["source"] == "hub"


def test_a_hub_s_set_of_one_s_own_names_its_split(local_hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"problem": "What falls?", "options": ["A. x", "B. y"], "solution": "B", "path": "1.mp4"}
    for split, n in (("train", 2), ("test", 3)):
        write_parquet(local_hub / f"acme/quiz/data/{split}-00000-of-00001.parquet", [row] * n)
    assert vt("curate", "records", "--from", "hub:acme/quiz", "--out", "out") == 2
    assert "--from hub:acme/quiz: has the splits train, test; name one of them as hub:acme/quiz:SPLIT" in one_error(capsys)
    assert vt("curate", "records", "--from", "hub:acme/quiz:test", "--out", "out") == 0
    assert manifest(Path("out"))["questions"]["n_read"] == 3


def test_without_a_network_or_an_id_it_is_one_line(local_hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vt("curate", "videomme", "--from", "hub:acme/nothing", "--out", "out") == 2
    error = one_error(capsys)
    assert error.startswith("error: --from hub:acme/nothing: acme/nothing cannot be loaded here (")
    assert "Otherwise fetch the release elsewhere and name its folder" in error
    assert vt("curate", "records", "--from", "hub", "--out", "out") == 2
    assert "records has no id of its own on the hub; give it as hub:OWNER/NAME" in one_error(capsys)


def test_a_hub_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(VtError, match=r"--from hub needs the package 'datasets', which is not installed"):
        sources.open_source(Path("hub"), mmvu.DATASET)


# ---- folders ---------------------------------------------------------------------------------------------------------------


def test_the_folder_that_is_read_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = write_mmvu(tmp_path / "MMVU").source
    assert vt("curate", "mmvu", "--from", release, "--out", release) == 2
    assert "is the folder that is read; choose another folder" in one_error(capsys)
