"""The committed sample world: complete, small, curated without a fault, and what its settings say."""

import json
from pathlib import Path

import pytest

from videothinker import store
from videothinker.curate.datasets.clevrer.annotations import find_annotations
from videothinker.curate.datasets.clevrer.build import curate
from videothinker.curate.datasets.clevrer.settings import Settings
from videothinker.frames import read_clip
from videothinker.records import DECIDED, Rule
from videothinker.world.make import World
from videothinker.world.stream import Trace, stream

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


def test_it_is_under_a_megabyte_and_complete() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 1_000_000
    world = store.read_json(SAMPLE / "world.json", World)
    assert len(list(SAMPLE.rglob("annotation_*.json"))) == world.n_scenes
    assert len(list(SAMPLE.rglob("video_?????.mp4"))) == world.n_clips == world.n_scenes
    assert len(list(SAMPLE.rglob("video_?????.without_?.mp4"))) == world.n_counterfactual_clips > 0
    for name, digest in world.sha256.items():
        assert store.sha256_file(SAMPLE / name) == digest
    clip = read_clip(next(SAMPLE.rglob("*.mp4")), n_frames=2)
    assert clip.frames.shape == (2, 320, 480, 3)
    assert (clip.n_total, clip.fps) == (128, 25)


def test_it_curates_without_a_fault_into_both_categories(tmp_path: Path) -> None:
    curation = curate(
        find_annotations(SAMPLE / "annotation_train"),
        SAMPLE / "train.json",
        SAMPLE / "video_train",
        tmp_path / "curated",
        Settings(rule=Rule.ORACLE),
        strict=True,
    ).curation
    assert curation.unresolved == []
    traces = {trace.question_id: trace for trace in store.read_jsonl(SAMPLE / "traces.jsonl", Trace)}
    questions, labels = [one.question for one in curation.members], curation.labels
    assert {question.question_id for question in questions} == set(traces)
    assert {labels.category(question.question_id) for question in questions} == set(DECIDED)
    for question in questions:
        assert question.gold == traces[question.question_id].gold
        assert labels.observer(question.question_id) == traces[question.question_id].observer


def test_it_is_what_its_settings_make() -> None:
    """Up to the last digits, which may depend on the processor: where and when all is at the start, and who is asked about."""
    settings = store.read_json(SAMPLE / "world.json", World).settings
    for scene in stream(settings["seed"], settings["preset"], n_scenes=settings["n_scenes"]):
        (path,) = SAMPLE.rglob(f"annotation_{scene.scene_index:05d}.json")
        committed = json.loads(path.read_text())
        looks = [(o["color"], o["material"], o["shape"]) for o in committed["object_property"]]
        assert looks == [(o.color, o.material, o.shape) for o in scene.simulation.objects]
        places = [state["location"] for state in committed["motion_trajectory"][0]["objects"]]
        assert places == pytest.approx(scene.simulation.factual.location[0], abs=1e-3)
