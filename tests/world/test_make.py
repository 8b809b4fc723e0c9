"""A world on disk: CLEVRER's files field by field, the same bytes however it is made, resumed and not mixed up."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from videothinker import store
from videothinker.cli import app
from videothinker.errors import VtError
from videothinker.records import Rule
from videothinker.world import make
from videothinker.world.make import World, WorldSettings, make_world
from videothinker.world.stream import Trace, make_scene

PLAIN = WorldSettings(6, 3, first_scene=998, videos=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world") / "out"
    make_world(out, PLAIN)
    return out


def contents(folder: Path) -> dict[str, str]:
    """Hash of every data file: world.json's provenance may differ between runs."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != make.MANIFEST
    }


def test_the_layout_is_clevrers(world: Path) -> None:
    assert sorted(contents(world)) == [
        "annotation_train/annotation_00000-01000/annotation_00998.json",
        "annotation_train/annotation_00000-01000/annotation_00999.json",
        "annotation_train/annotation_01000-02000/annotation_01000.json",
        "annotation_train/annotation_01000-02000/annotation_01001.json",
        "annotation_train/annotation_01000-02000/annotation_01002.json",
        "annotation_train/annotation_01000-02000/annotation_01003.json",
        "traces.jsonl",
        "train.json",
    ]


def test_an_annotation_has_clevrers_fields(world: Path) -> None:
    path = world / "annotation_train/annotation_01000-02000/annotation_01001.json"
    scene = json.loads(path.read_text())
    rollout = make_scene(1001, seed=3, preset="clevrer74").simulation.factual
    assert list(scene) == ["scene_index", "video_filename", "object_property", "motion_trajectory", "collision"]
    assert scene["scene_index"] == 1001
    assert scene["video_filename"] == "video_01001.mp4"
    for thing, there in zip(scene["object_property"], rollout.objects, strict=True):
        assert thing == {
            "object_id": there.object_id,
            "color": there.color,
            "material": there.material,
            "shape": there.shape,
        }
    assert [frame["frame_id"] for frame in scene["motion_trajectory"]] == list(range(128))
    for number, frame in enumerate(scene["motion_trajectory"]):
        assert list(frame) == ["frame_id", "objects"]
        for slot, state in enumerate(frame["objects"]):
            fields = ["object_id", "location", "orientation", "velocity", "angular_velocity", "inside_camera_view"]
            assert list(state) == fields
            assert state["object_id"] == slot
            assert state["location"] == pytest.approx(rollout.location[number, slot], abs=6e-5)
            assert state["orientation"] == [0, 0, pytest.approx(rollout.orientation[number, slot], abs=6e-5)]
            assert state["velocity"] == pytest.approx(rollout.velocity[number, slot], abs=6e-5)
            assert state["angular_velocity"] == pytest.approx(rollout.angular_velocity[number, slot], abs=6e-5)
            assert isinstance(state["inside_camera_view"], bool)
    assert [(c["frame_id"], tuple(c["object_ids"])) for c in scene["collision"]] == [
        (c.frame, c.object_ids) for c in rollout.collisions
    ]
    for contact in scene["collision"]:
        a, b = (scene["motion_trajectory"][contact["frame_id"]]["objects"][i]["location"] for i in contact["object_ids"])
        assert contact["location"] == pytest.approx([(x + y) / 2 for x, y in zip(a, b, strict=True)], abs=2e-4)


def test_questions_have_clevrers_fields(world: Path) -> None:
    scenes = json.loads((world / "train.json").read_text())
    assert [scene["scene_index"] for scene in scenes] == list(range(998, 1004))
    for scene in scenes:
        assert list(scene) == ["scene_index", "video_filename", "questions"]
        assert scene["video_filename"] == f"video_{scene['scene_index']:05d}.mp4"
        assert [question["question_id"] for question in scene["questions"]] == list(range(len(scene["questions"])))
        for question in scene["questions"]:
            is_descriptive = question["question_type"] == "descriptive"
            fields = {"question_id", "question", "question_type", "program"}
            assert set(question) == fields | ({"question_subtype", "answer"} if is_descriptive else {"choices"})
            assert all(isinstance(token, str) for token in question["program"])
            for number, choice in enumerate(question.get("choices", [])):
                assert list(choice) == ["choice_id", "choice", "program", "answer"]
                assert choice["choice_id"] == number
                assert choice["answer"] in ("correct", "wrong")


def test_traces_are_one_a_counterfactual_question(world: Path) -> None:
    traces = store.read_jsonl(world / "traces.jsonl", Trace)
    asked = {
        f"{scene['scene_index']}:{question['question_id']}": question
        for scene in json.loads((world / "train.json").read_text())
        for question in scene["questions"]
        if question["question_type"] == "counterfactual"
    }
    assert [trace.question_id for trace in traces] == list(asked)
    for trace in traces:
        right = [choice["answer"] == "correct" for choice in asked[trace.question_id]["choices"]]
        assert [letter in trace.gold for letter in "ABCD"[: len(right)]] == right


def test_the_manifest_counts_what_is_there(world: Path) -> None:
    manifest = store.read_json(world / make.MANIFEST, World)
    scenes = json.loads((world / "train.json").read_text())
    types = [question["question_type"] for scene in scenes for question in scene["questions"]]
    assert manifest.n_questions == {
        kind: types.count(kind) for kind in ("descriptive", "explanatory", "predictive", "counterfactual")
    }
    assert manifest.n_scenes == 6
    assert set(manifest.observational) == set(Rule)
    assert manifest.sha256["train.json"] == store.sha256_file(world / "train.json")
    assert not (world / ".settings.json").exists()


def test_two_processes_write_the_same_bytes(world: Path, tmp_path: Path) -> None:
    make_world(tmp_path / "again", PLAIN, workers=2)
    assert contents(tmp_path / "again") == contents(world)


def test_clips_too_have_the_same_bytes(tmp_path: Path) -> None:
    filmed = WorldSettings(n_scenes=2, seed=11, preset="clevrer74", counterfactual_videos=True)
    for workers in (1, 2):
        make_world(tmp_path / f"{workers}", filmed, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert sum(name.endswith(".mp4") for name in contents(tmp_path / "1")) == 6
    # A finished world that has lost a clip is not done: the same command makes that clip again, and no other.
    lost, *others = sorted((tmp_path / "1").rglob("*.mp4"))
    times = [path.stat().st_mtime_ns for path in others]
    lost.unlink()
    make_world(tmp_path / "1", filmed)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert [path.stat().st_mtime_ns for path in others] == times


@pytest.mark.parametrize("pattern", ["annotation_*.json", "train.json", "traces.jsonl"])
def test_a_finished_world_that_has_lost_a_file_gets_it_back(world: Path, tmp_path: Path, pattern: str) -> None:
    out = tmp_path / "world"
    make_world(out, PLAIN)
    next(out.rglob(pattern)).unlink()
    make_world(out, PLAIN)
    assert contents(out) == contents(world)


def test_a_killed_run_goes_on_and_keeps_finished_files(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    done = 0

    def die_after_three(n: int) -> None:
        nonlocal done
        done += n
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_world(out, PLAIN, progress=die_after_three)
    assert not (out / make.MANIFEST).exists()
    kept = sorted(out.rglob("annotation_*.json"))
    assert len(kept) == 3
    times = [path.stat().st_mtime_ns for path in kept]
    make_world(out, PLAIN)
    assert contents(out) == contents(world)
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_other_settings_are_refused_finished_or_not(world: Path, tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"a world with other settings or data: settings\.n_scenes was 6, is 7;"):
        make_world(world, replace(PLAIN, n_scenes=7))
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    settings = store.read_json(world / make.MANIFEST, World).settings
    store.write_json(unfinished / ".settings.json", settings | {"seed": 4})
    with pytest.raises(VtError, match="a world with other settings or data: seed was 4, is 3;"):
        make_world(unfinished, PLAIN)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(VtError, match=r"is not empty and holds no .* \(it has thesis\.tex\)"):
        make_world(tmp_path / "other", PLAIN)
    assert make_world(world, PLAIN).n_scenes == 6  # the same settings: nothing to do


def test_only_scenes_that_are_asked_about_are_filmed(tmp_path: Path) -> None:
    """Seed 14 of `clevrer` asks about some of its first scenes and not about others; all that is no film stays as it is."""
    chosen = WorldSettings(n_scenes=5, seed=14, width=96, height=64, only_asked=True)
    made = make_world(tmp_path / "asked", chosen)
    asked = {f"video_{trace.scene_index:05d}.mp4" for trace in store.read_jsonl(tmp_path / "asked" / "traces.jsonl", Trace)}
    assert 0 < len(asked) < 5
    assert {path.name for path in (tmp_path / "asked").rglob("*.mp4")} == asked
    assert made.n_clips == len(asked)
    make_world(tmp_path / "none", replace(chosen, only_asked=False, videos=False))
    plain = {name: data for name, data in contents(tmp_path / "asked").items() if not name.endswith((".mp4", "world.json"))}
    assert plain == {name: data for name, data in contents(tmp_path / "none").items() if not name.endswith("world.json")}
    assert make_world(tmp_path / "asked", chosen) == made  # whole as it is
    with pytest.raises(VtError, match=r"settings\.only_asked was true, is false"):
        make_world(tmp_path / "asked", replace(chosen, only_asked=False))


def test_films_of_few_frames_leave_all_else_as_it_is(tmp_path: Path) -> None:
    whole = WorldSettings(n_scenes=2, seed=14, width=96, height=64)
    short = replace(whole, film_frames=16)
    of_whole, of_short = tmp_path / "whole", tmp_path / "short"
    assert make_world(of_short, short).sha256 == make_world(of_whole, whole).sha256
    told, before = contents(of_short), contents(of_whole)
    assert told.keys() == before.keys()
    films = {name for name in told if name.endswith(".mp4")}
    assert {name for name in told if told[name] != before[name]} == films != set()
    assert all((of_short / name).stat().st_size < (of_whole / name).stat().st_size for name in films)
    with pytest.raises(VtError, match=r"settings\.film_frames was 16, is 128"):
        make_world(of_short, whole)
    for n_frames in (0, 12, 256):
        with pytest.raises(VtError, match=f"^--film-frames {n_frames}: expected a divisor of 128, e.g. 16$"):
            replace(whole, film_frames=n_frames)
    with pytest.raises(VtError, match="--film-frames with --no-videos: drop one of the two"):
        replace(short, videos=False)


def test_a_world_that_does_not_say_which_scenes_it_filmed_has_filmed_all(world: Path, tmp_path: Path) -> None:
    """Earlier versions had no such setting, so their worlds, finished or not, are still today's."""
    finished, unfinished = tmp_path / "finished", tmp_path / "unfinished"
    shutil.copytree(world, finished)
    told = store.read_json(world / make.MANIFEST, World)
    earlier = {name: value for name, value in told.settings.items() if name not in ("only_asked", "film_frames")}
    store.write_json(finished / make.MANIFEST, msgspec.structs.replace(told, settings=earlier))
    assert make_world(finished, PLAIN).sha256 == told.sha256
    store.write_json(unfinished / ".settings.json", earlier)
    assert make_world(unfinished, PLAIN).sha256 == told.sha256


def test_wrong_settings_are_told_all_at_once() -> None:
    with pytest.raises(VtError) as error:
        WorldSettings(0, 1, first_scene=-1, videos=False, width=481, counterfactual_videos=True, only_asked=True)
    for part in (
        "--only-asked with --no-videos",
        "--scenes 0",
        "--first-scene -1",
        "--size 481x320",
        "--counterfactual-videos with --no-videos",
    ):
        assert part in str(error.value)


def test_the_command_makes_clips_and_says_what_is_next(tmp_path: Path) -> None:
    out = tmp_path / "world"
    command = ["world", "make", str(out), "--scenes", "2", "--seed", "1", "--size", "96x64", "--counterfactual-videos"]
    result = CliRunner().invoke(app, [*command, "--workers", "1"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "vt curate clevrer --annotations" in result.stdout
    traces = store.read_jsonl(out / "traces.jsonl", Trace)
    clips = {f"video_{i:05d}.mp4" for i in (0, 1)}
    clips |= {f"video_{trace.scene_index:05d}.without_{trace.removed_object}.mp4" for trace in traces}
    assert {path.name for path in (out / "video_train" / "video_00000-01000").iterdir()} == clips
    before = contents(out)
    settings = store.read_json(out / make.MANIFEST, World).settings
    (out / make.MANIFEST).unlink()
    store.write_json(out / ".settings.json", settings)
    next(out.rglob("*.without_*.mp4")).unlink()
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert contents(out) == before
