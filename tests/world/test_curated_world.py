"""Curating a world's files gives the labels that follow from simulating each scene again, without the files.

Brute force over hundreds of scenes: options are matched to objects by their words alone, the removed object by the question's
words, and what happens without it is rolled out anew from the scene's initial state.
"""

import re
from pathlib import Path
from random import Random

import pytest

from videothinker import store
from videothinker.curate.datasets.clevrer.annotations import find_annotations
from videothinker.curate.datasets.clevrer.build import ClevrerCuration, curate
from videothinker.curate.datasets.clevrer.settings import Settings
from videothinker.records import Category, Rule, SceneObject
from videothinker.world.make import WorldSettings, make_world
from videothinker.world.simulate import draw_scene, roll_out, simulate
from videothinker.world.stream import Trace

SEED, N_SCENES = 41, 200
PATTERNS = (r"The (.+) collides with the (.+)", r"The (.+) and the (.+) collide")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> ClevrerCuration:
    out = tmp_path_factory.mktemp("world")
    make_world(out / "world", WorldSettings(N_SCENES, SEED, preset="balanced", videos=False))
    annotations = find_annotations(out / "world" / "annotation_train")
    return curate(annotations, out / "world" / "train.json", None, out / "curated", Settings(rule=Rule.ORACLE), strict=True)


def named(text: str, objects: tuple[SceneObject, ...]) -> int:
    words = set(text.split()) - {"object"}
    (found,) = [o.object_id for o in objects if words <= {o.color, o.material, o.shape}]
    return found


def pair(option: str, objects: tuple[SceneObject, ...]) -> tuple[int, ...]:
    match = re.fullmatch(PATTERNS[0], option) or re.fullmatch(PATTERNS[1], option)
    assert match, option
    return tuple(sorted(named(words, objects) for words in match.groups()))


def category(is_observational: bool) -> Category:
    return Category.OBSERVATIONAL if is_observational else Category.INFERENTIAL


def test_every_label_follows_from_the_physics(release: ClevrerCuration) -> None:
    questions = [one.question for one in release.curation.members]
    labels = release.curation.labels
    assert len(questions) == 2 * N_SCENES
    assert release.curation.unresolved == []
    for question in questions:
        objects, starts = draw_scene(Random(f"{SEED}:{question.group}:scene"))
        seen = {c.object_ids for c in roll_out(objects, starts).collisions}
        said = re.search(r"(?:[Ii]f|[Ww]ithout) the ([a-z ]+?)(?: is removed|[?,])", question.text)
        assert said, question.text
        removed = named(said[1], objects)
        happens = {c.object_ids for c in roll_out(objects, starts, without=removed).collisions}
        negated = " not " in question.text
        pairs = [pair(option, objects) for option in question.options]
        observed = [p in seen and removed not in p for p in pairs]
        truth = [p in happens for p in pairs]
        assert release.removed_objects[question.question_id] == removed
        assert question.facets == {"polarity": "will not" if negated else "will"}
        assert question.gold == tuple(x for x, there in zip("ABCD", truth, strict=False) if there != negated)
        observer = tuple(x for x, there in zip("ABCD", observed, strict=False) if there != negated)
        rows = {each.name: each.by_question[question.question_id] for each in labels.sets}
        assert {row.answer for row in rows.values()} == {labels.observer(question.question_id)} == {observer}
        assert {rule: row.category for rule, row in rows.items()} == {
            Rule.ANY_OPTION: category(any(p in seen for p in pairs)),
            Rule.CORRECT_OPTION: category(any(p in seen and p in happens for p in pairs)),
            Rule.ORACLE: category(observed == truth),
        }
        assert labels.category(question.question_id) == rows[Rule.ORACLE].category


def test_the_world_logs_nothing_that_cannot_be_seen(release: ClevrerCuration) -> None:
    """Its annotations say who is in view, and of every logged collision it is both objects."""
    said = release.curation.manifest
    assert said["view"]["n_annotations"] == N_SCENES
    assert said["view"]["n_annotations_without_view"] == said["view"]["n_collisions_out_of_view"] == 0
    assert said["view"]["n_collisions"] > N_SCENES
    assert set(said["readings"]["moved"].values()) == {0}
    for logs in said["readings"]["observational"].values():
        assert logs["seen"] == logs["as_logged"]


def test_a_world_like_the_release_logs_what_nobody_can_see_and_no_label_rests_on_it(tmp_path: Path) -> None:
    world, n = tmp_path / "world", 20
    make_world(world, WorldSettings(n, 1, preset="clevrer", videos=False))
    annotations, settings = find_annotations(world / "annotation_train"), Settings(rule=Rule.ORACLE)
    curation = curate(annotations, world / "train.json", None, tmp_path / "curated", settings, strict=True).curation
    asked = {one.question.group for one in curation.members}  # of other scenes no annotation is read
    n_hidden = sum(len(simulate(1, index).hidden) for index in range(n) if str(index) in asked)
    assert curation.manifest["view"]["n_collisions_out_of_view"] == n_hidden > 0
    traces = {trace.question_id: trace for trace in store.read_jsonl(world / "traces.jsonl", Trace)}
    assert len(traces) == len(curation.members) > n / 2
    for question in (one.question for one in curation.members):
        assert question.gold == traces[question.question_id].gold
        assert curation.labels.observer(question.question_id) == traces[question.question_id].observer


def test_the_curated_scenes_are_the_simulated_ones(release: ClevrerCuration) -> None:
    assert len(release.scenes) == N_SCENES
    for index, scene in release.scenes.items():
        objects, starts = draw_scene(Random(f"{SEED}:{index}:scene"))
        assert scene.objects == objects
        assert scene.collisions == roll_out(objects, starts).collisions
