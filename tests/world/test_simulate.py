"""The physics: what bodies do on the table, and that a roll-out without an object is the same physics without it.

Numbers are worked out by hand from the constants: friction takes 0.5 units/s^2 from a cube or cylinder, 0.25 from a sphere; two
objects meet with elasticity 0.75^2 = 0.5625 and weigh the same.
"""

from itertools import combinations
from random import Random

import numpy as np
import pytest

from videothinker.records import SceneObject
from videothinker.world import table
from videothinker.world.camera import in_view
from videothinker.world.simulate import Rollout, Simulation, Start, draw_scene, roll_out, simulate

N_SCENES = 200


@pytest.fixture(scope="module")
def scenes() -> list[Simulation]:
    return [simulate(11, index) for index in range(N_SCENES)]


def things(*shapes: str) -> tuple[SceneObject, ...]:
    return tuple(SceneObject(i, table.COLORS[i], "metal", shape) for i, shape in enumerate(shapes))


def speed(rollout: Rollout) -> np.ndarray:
    return np.linalg.norm(rollout.velocity, axis=-1)


def equal(a: Rollout, b: Rollout) -> bool:
    arrays = ("location", "orientation", "velocity", "angular_velocity")
    return (
        a.objects == b.objects
        and a.collisions == b.collisions
        and all(np.array_equal(getattr(a, x), getattr(b, x)) for x in arrays)
    )


@pytest.mark.parametrize(("shape", "deceleration"), [("cube", 0.5), ("cylinder", 0.5), ("sphere", 0.25)])
def test_friction_slows_evenly_and_stops(shape: str, deceleration: float) -> None:
    rollout = roll_out(things(shape), (Start(0, 0, 0.4, 0.6, 0.8),))
    seconds = np.arange(table.N_FRAMES) / table.FPS
    assert speed(rollout)[:, 0] == pytest.approx(np.clip(1 - deceleration * seconds, 0, None), abs=1e-4)
    stop = rollout.location[-1, 0, :2]
    assert np.hypot(*stop) == pytest.approx(1 / (2 * deceleration), abs=0.01)  # v^2 / 2a
    assert stop[1] / stop[0] == pytest.approx(0.8 / 0.6, abs=1e-3)
    assert rollout.collisions == ()


def test_at_rest_until_hit() -> None:
    rollout = roll_out(things("cube", "cylinder"), (Start(0, 0, 0.3, 0, 0), Start(0, 1.9, 0, 0, -1.5)))
    (collision,) = rollout.collisions
    before, after = rollout.location[: collision.frame, 0], rollout.location[collision.frame + 1 :, 0]
    assert (before == before[0]).all()
    assert (after[:, 1] < -0.001).all()


def test_head_on_collision_shares_momentum_by_the_elasticity() -> None:
    rollout = roll_out(things("sphere", "sphere"), (Start(0, -1, 0, 0, 2), Start(0, 0, 0, 0, 0)))
    (collision,) = rollout.collisions
    # 0.6 units to the contact at 2 units/s, minus friction: 2 t - 0.125 t^2 = 0.6, t = 0.306 s, frame 7.65, speed 1.924
    assert collision.frame == 8
    striking, struck = rollout.velocity[9, :, 1]
    lost = 0.25 * (9 / 25 - 0.306)
    assert striking == pytest.approx(1.924 * (1 - 0.5625) / 2 - lost, abs=0.02)
    assert struck == pytest.approx(1.924 * (1 + 0.5625) / 2 - lost, abs=0.02)


def test_an_off_centre_hit_turns_a_cube() -> None:
    rollout = roll_out(things("cube", "sphere"), (Start(0, 0, 0, 0, 0), Start(0.15, -1.5, 0, 0, 2)))
    assert rollout.collisions[0].object_ids == (0, 1)
    assert rollout.angular_velocity[rollout.collisions[0].frame + 1, 0, 2] > 0.5  # pushed on its +x side towards +y
    assert (rollout.angular_velocity[..., :2] == 0).all()


def test_nothing_tunnels_at_thrice_the_top_speed() -> None:
    rollout = roll_out(things("sphere", "cube"), (Start(0, -1, 0, 0, 10), Start(0, 1, 0, 0, 0)))
    assert len(rollout.collisions) == 1
    assert (rollout.location[:, 0, 1] < rollout.location[:, 1, 1]).all()


def test_a_pair_that_meets_again_is_one_collision_and_contacts_out_of_view_are_none() -> None:
    squeezed = roll_out(
        things("sphere", "sphere", "cube"), (Start(0, -1, 0, 0, 3), Start(0, 0, 0, 0, 0), Start(0, 0.45, 0, 0, 0))
    )
    assert [c.object_ids for c in squeezed.collisions] == [(0, 1), (1, 2)]  # the middle one bounces back on the first
    far = roll_out(things("sphere", "sphere"), (Start(-20, 0, 0, 0, 2), Start(-20, 1, 0, 0, 0)))
    assert far.velocity[40, 1, 1] > 0.5
    assert far.collisions == ()


def test_scenes_are_as_in_clevrer(scenes: list[Simulation]) -> None:
    assert {len(scene.objects) for scene in scenes} == {3, 4, 5, 6}
    for scene in scenes:
        assert [thing.object_id for thing in scene.objects] == list(range(len(scene.objects)))
        assert len({(o.color, o.material, o.shape) for o in scene.objects}) == len(scene.objects)
        start = scene.factual.location[0]
        assert (start[:, 2] == table.HALF_SIZE).all()
        for a, b in combinations(range(len(start)), 2):
            assert np.linalg.norm(start[a] - start[b]) > 2 * np.sqrt(2) * table.HALF_SIZE  # cubes corner to corner
        is_moving = speed(scene.factual)[0] > 0
        assert is_moving.any()
        assert not is_moving.all()
        assert (in_view(start) == ~is_moving).all()  # at rest in view, or on its way in
        assert scene.factual.location.shape == (table.N_FRAMES, len(scene.objects), 3)
        assert scene.factual.location.dtype == np.float32
        assert scene.without.keys() == set(range(len(scene.objects)))


def test_collisions_are_logged_when_and_only_when_objects_touch(scenes: list[Simulation]) -> None:
    for scene in scenes:
        for rollout in (scene.factual, *scene.without.values()):
            logged = {c.object_ids: c.frame for c in rollout.collisions}
            assert [(c.frame, c.object_ids) for c in rollout.collisions] == sorted((f, p) for p, f in logged.items())
            both = in_view(rollout.location)
            for a, b in combinations(range(len(rollout.objects)), 2):
                gap = np.linalg.norm(rollout.location[:, a] - rollout.location[:, b], axis=-1)
                assert gap.min() > 1.8 * table.HALF_SIZE  # nothing goes through another
                pair = (rollout.objects[a].object_id, rollout.objects[b].object_id)
                if (both[:, a] & both[:, b] & (gap < 1.98 * table.HALF_SIZE)).any():
                    assert pair in logged
                if pair in logged:
                    frame = logged[pair]
                    assert both[frame, a]
                    assert both[frame, b]
                    assert gap[max(frame - 1, 0) : frame + 1].min() < 2 * np.sqrt(2) * table.HALF_SIZE + 0.15
                    speeds = speed(rollout)[frame - 1 : frame + 1, [a, b]]
                    assert (np.diff(speeds, axis=0) != 0).any()


def test_without_an_object_all_is_the_same_until_it_would_have_touched(scenes: list[Simulation]) -> None:
    n_different = 0
    for scene in scenes:
        for gone, rollout in scene.without.items():
            rest = [i for i in range(len(scene.objects)) if i != gone]
            assert [thing.object_id for thing in rollout.objects] == rest
            assert all(gone not in c.object_ids for c in rollout.collisions)
            apart = np.linalg.norm(scene.factual.location[:, [gone]] - scene.factual.location[:, rest], axis=-1)
            near = np.flatnonzero((apart < 2 * np.sqrt(2) * table.HALF_SIZE + 0.15).any(axis=1))
            same = near[0] if len(near) else table.N_FRAMES
            assert np.array_equal(rollout.location[:same], scene.factual.location[:same, rest])
            assert equal(rollout, roll_out(*draw_scene(Random(f"11:{scene.scene_index}:scene")), without=gone))
            n_different += not np.array_equal(rollout.location, scene.factual.location[:, rest])
    assert n_different > N_SCENES


def test_what_comes_after_the_clip_is_new(scenes: list[Simulation]) -> None:
    some = [scene for scene in scenes if scene.unseen]
    assert len(some) > N_SCENES / 10
    for scene in some:
        seen = {c.object_ids for c in scene.factual.collisions}
        assert all(c.frame >= table.N_FRAMES and c.object_ids not in seen for c in scene.unseen)


def test_a_scene_depends_on_seed_and_index_alone(scenes: list[Simulation]) -> None:
    again = simulate(11, 5)
    assert equal(again.factual, scenes[5].factual)
    assert all(equal(again.without[gone], scenes[5].without[gone]) for gone in again.without)
    assert not np.array_equal(simulate(12, 5).factual.location[0], again.factual.location[0])
    assert not np.array_equal(scenes[6].factual.location[0], again.factual.location[0])
