"""Scenes in memory: traces say what the roll-outs say, recolouring and mirroring change nothing but what they should."""

from itertools import islice
from random import Random

import numpy as np
import pytest

from videothinker.errors import VtError
from videothinker.records import Collision, SceneObject
from videothinker.world import table
from videothinker.world.camera import in_view, project
from videothinker.world.stream import NOTHING, StreamScene, make_scene, mirror, recolour, stream, trace_text

OBJECTS = (
    SceneObject(0, "red", "metal", "cube"),
    SceneObject(1, "gray", "rubber", "sphere"),
    SceneObject(2, "red", "metal", "cylinder"),
)


@pytest.fixture(scope="module")
def scenes() -> list[StreamScene]:
    return list(stream(31, "clevrer74", n_scenes=60))


def test_a_trace_lists_the_collisions_in_full_words_whatever_the_ids() -> None:
    collisions = (Collision(9, (0, 1)), Collision(20, (0, 2)))
    text = "gray rubber sphere hits red metal cube then red metal cube hits red metal cylinder"
    assert trace_text(collisions, OBJECTS) == text
    renumbered = [SceneObject(2 - o.object_id, o.color, o.material, o.shape) for o in OBJECTS]
    assert trace_text((Collision(9, (1, 2)), Collision(20, (0, 2))), renumbered) == text
    assert trace_text((), OBJECTS) == NOTHING


def test_traces_agree_with_questions_and_rollouts(scenes: list[StreamScene]) -> None:
    for scene in scenes:
        assert len(scene.traces) == len(scene.counterfactuals) == 2
        for trace, meaning in zip(scene.traces, scene.counterfactuals, strict=True):
            question = scene.questions[meaning.question_id]
            assert trace.question_id == f"{scene.scene_index}:{question.question_id}"
            choices = question.choices or []
            assert list(trace.gold) == [letter for letter, c in zip("ABCD", choices, strict=False) if c.answer == "correct"]
            assert trace.counterfactual == scene.simulation.without[trace.removed_object].collisions
            assert trace.obs.count(" hits ") == len(trace.factual) == len(scene.simulation.factual.collisions)
            assert trace.cf.count(" hits ") == len(trace.counterfactual)
            gone = scene.simulation.objects[trace.removed_object]
            assert f"{gone.color} {gone.material} {gone.shape}" not in trace.cf
            for letter, option in zip("ABCD", trace.options, strict=False):
                says = option.in_factual and trace.removed_object not in option.object_ids
                assert (letter in trace.observer) == (says != trace.negated)
                assert (letter in trace.gold) == (option.in_counterfactual != trace.negated)


def test_the_number_of_processes_changes_nothing(scenes: list[StreamScene]) -> None:
    ahead = stream(31, "clevrer74", workers=2)  # endless, so this also shows that it is read no further than needed
    for one, other in zip(islice(ahead, 20), scenes, strict=False):
        assert one.questions == other.questions
        assert one.traces == other.traces
        assert np.array_equal(one.simulation.factual.location, other.simulation.factual.location)
    ahead.close()


def test_ranges_continue_each_other(scenes: list[StreamScene]) -> None:
    later = next(iter(stream(31, "clevrer74", first_scene=7)))
    assert later.questions == scenes[7].questions
    assert make_scene(7, seed=31, preset="balanced").simulation.objects == scenes[7].simulation.objects


def test_recolouring_permutes_colours_everywhere(scenes: list[StreamScene]) -> None:
    changed = 0
    for scene in scenes:
        new = recolour(scene, Random(scene.scene_index))
        old_colours = [o.color for o in scene.simulation.objects]
        new_colours = [o.color for o in new.simulation.objects]
        mapping = dict(zip(old_colours, new_colours, strict=True))
        assert len(set(mapping.values())) == len(mapping)  # one to one: triples stay unique
        for old, fresh in zip(scene.traces, new.traces, strict=True):
            assert fresh.gold == old.gold
            assert fresh.observer == old.observer
            assert fresh.options == old.options
            told = [event.split() for event in old.cf.split(" then ") if event != NOTHING]
            retold = [event.split() for event in fresh.cf.split(" then ") if event != NOTHING]
            for a, b in zip(told, retold, strict=True):  # [colour, material, shape, "hits", colour, material, shape]
                renamed = [[mapping[a[0]], *a[1:3]], [mapping[a[4]], *a[5:]]]
                assert sorted(renamed) == sorted([b[:3], b[4:]])
        for old, fresh in zip(scene.questions, new.questions, strict=True):
            assert [mapping.get(token, token) for token in old.program if token not in table.COLORS or token in mapping] == [
                token for token in fresh.program if token not in table.COLORS or token in mapping.values()
            ]
            if old.question_subtype == "query_color":
                assert fresh.answer == mapping[old.answer or ""]
        for gone, rollout in new.simulation.without.items():
            assert rollout.objects == tuple(o for o in new.simulation.objects if o.object_id != gone)
        changed += new_colours != old_colours
    assert changed > 50


def test_a_mirror_image_is_seen_mirrored(scenes: list[StreamScene]) -> None:
    scene = scenes[3]
    image = mirror(scene)
    for old, new in [
        (scene.simulation.factual, image.simulation.factual),
        *((scene.simulation.without[gone], image.simulation.without[gone]) for gone in scene.simulation.without),
    ]:
        before, after = project(old.location), project(new.location)
        assert after[..., 0] == pytest.approx(480 - before[..., 0])
        assert after[..., 1:] == pytest.approx(before[..., 1:])
        assert np.array_equal(in_view(old.location), in_view(new.location))
        assert np.array_equal(new.orientation, -old.orientation)
        assert np.array_equal(new.velocity[..., 1], -old.velocity[..., 1])
        assert new.collisions == old.collisions
    twice = mirror(image)
    assert np.array_equal(twice.simulation.factual.location, scene.simulation.factual.location)
    assert image.questions == scene.questions


def test_an_unknown_preset_is_the_users_mistake() -> None:
    with pytest.raises(VtError, match="no such preset"):
        next(iter(stream(1, "hard")))
