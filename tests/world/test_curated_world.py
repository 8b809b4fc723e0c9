"""Curating a world's files gives the labels that follow from simulating each scene again, without the files.

Brute force over hundreds of scenes: options are matched to objects by their words alone, the removed object by the question's
words, and what happens without it is rolled out anew from the scene's initial state.
"""

import re
from random import Random

import pytest
from videothinker.curate.clevrer import find_annotations

from videothinker.curate.build import Curation, Settings, curate
from videothinker.records import Category, Rule, SceneObject
from videothinker.world.make import WorldSettings, make_world
from videothinker.world.simulate import draw_scene, roll_out

SEED, N_SCENES = 41, 200
PATTERNS = (r"The (.+) collides with the (.+)", r"The (.+) and the (.+) collide")


@pytest.fixture(scope="module")
def curation(tmp_path_factory: pytest.TempPathFactory) -> Curation:
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


def test_every_label_follows_from_the_physics(curation: Curation) -> None:
    questions = [question for split in curation.questions.values() for question in split]
    assert len(questions) == 2 * N_SCENES
    assert curation.unresolved == []
    for question in questions:
        objects, starts = draw_scene(Random(f"{SEED}:{question.scene_index}:scene"))
        seen = {c.object_ids for c in roll_out(objects, starts).collisions}
        said = re.search(r"(?:[Ii]f|[Ww]ithout) the ([a-z ]+?)(?: is removed|[?,])", question.problem)
        assert said, question.problem
        removed = named(said[1], objects)
        happens = {c.object_ids for c in roll_out(objects, starts, without=removed).collisions}
        negated = " not " in question.problem
        pairs = [pair(option.partition(". ")[2], objects) for option in question.options]
        observed = [p in seen and removed not in p for p in pairs]
        truth = [p in happens for p in pairs]
        assert question.removed_object == removed
        assert question.negated == negated
        assert question.gold == tuple(x for x, there in zip("ABCD", truth, strict=False) if there != negated)
        assert question.observer == tuple(x for x, there in zip("ABCD", observed, strict=False) if there != negated)
        assert question.any_option == category(any(p in seen for p in pairs))
        assert question.correct_option == category(any(p in seen and p in happens for p in pairs))
        assert question.oracle == category(observed == truth)
        assert question.category == question.oracle


def test_the_curated_scenes_are_the_simulated_ones(curation: Curation) -> None:
    assert len(curation.scenes) == N_SCENES
    for index, scene in curation.scenes.items():
        objects, starts = draw_scene(Random(f"{SEED}:{index}:scene"))
        assert scene.objects == objects
        assert scene.collisions == roll_out(objects, starts).collisions
