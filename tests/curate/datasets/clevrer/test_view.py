"""Which logged collisions the film shows, on trajectories made by hand, and what follows for observer and rules."""

import json
from typing import Any

import msgspec
import pytest
from release_factory import Json, annotation, collision, removal, trajectory

from videothinker.curate.datasets.clevrer.annotations import decode_annotation
from videothinker.curate.datasets.clevrer.faults import Fault
from videothinker.curate.datasets.clevrer.resolve import resolve_case
from videothinker.observers.log import answer, any_option, correct_option, oracle
from videothinker.records import Category, Collision, Scene

OBS, INF = Category.OBSERVATIONAL, Category.INFERENTIAL
ALWAYS = range(128)


def decode(**changes: Any) -> Scene | Fault:
    return decode_annotation(json.dumps(annotation(12, **changes)).encode(), "annotation_00012.json")


def scene_with(frames: list[Json], *log: tuple[int, int, int]) -> Scene:
    """The scene of a trajectory and a log of (frame, object, object)."""
    found = decode(motion_trajectory=frames, collision=[{"frame_id": f, "object_ids": [a, b]} for f, a, b in log])
    assert isinstance(found, Scene), found
    return found


# Of a collision of 0 and 1 at frame 5: (object, frames in which it is out of view), and whether the film shows the collision.
BY_HAND = {
    "both in view": ([], True),
    "both in view at the contact and never again": ([(0, range(6, 128)), (1, range(6, 128))], True),
    "both in view at the contact and never before": ([(0, range(5)), (1, range(5))], True),
    "neither": ([(0, ALWAYS), (1, ALWAYS)], False),
    "neither, and both a frame later": ([(0, range(6)), (1, range(6))], False),
    "the second comes into view later": ([(1, range(60))], True),
    "the first comes into view at the last frame": ([(0, range(127))], True),
    "both were in view before the contact, not after": ([(0, range(5, 128))], False),
    "when the second comes, the first has gone": ([(0, range(40, 128)), (1, range(40))], False),
    "there is one frame in which the first has not gone": ([(0, range(40, 128)), (1, range(39))], True),
    "somebody else is out of view": ([(2, ALWAYS), (3, ALWAYS)], True),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_whether_a_collision_is_seen_worked_out_by_hand(name: str) -> None:
    hidden, seen = BY_HAND[name]
    scene = scene_with(trajectory(*hidden), (5, 1, 0))
    assert scene.collisions == (Collision(5, (0, 1), seen=seen),)
    assert scene.is_view_known


def test_a_collision_with_one_object_out_of_view_in_the_last_frame_is_not_seen() -> None:
    assert scene_with(trajectory((0, range(127, 128))), (127, 0, 1)).collisions == (Collision(127, (0, 1), seen=False),)


def test_each_collision_is_judged_at_its_own_frame() -> None:
    scene = scene_with(trajectory((0, range(50)), (1, range(50))), (5, 0, 1), (20, 2, 3), (60, 0, 1))
    assert [hit.seen for hit in scene.collisions] == [False, True, True]


def test_nobody_answers_by_what_nobody_saw() -> None:
    """Contact at frame 5 with both objects out of view, gold B: the bare log would make the observer say A and B."""
    frames = trajectory((0, range(10)), (1, range(10)))
    scene = scene_with(frames, (5, 0, 1), (50, 0, 3))
    asked = (tuple(removal(2).split()), tuple(tuple(collision(*pair).split()) for pair in ((0, 1), (0, 3))), ("B",))
    case = resolve_case(*asked, scene)
    assert case.log == {(0, 3)}
    assert answer(case) == ("B",)
    assert oracle(case).category is OBS
    bare = resolve_case(*asked, scene_with(trajectory(), (5, 0, 1), (50, 0, 3)))
    assert answer(bare) == ("A", "B")
    assert oracle(bare).category is INF


def test_under_no_rule_does_an_unseen_collision_count() -> None:
    scene = scene_with(trajectory((0, range(10)), (1, range(10))), (5, 0, 1))
    case = resolve_case(tuple(removal(2).split()), (tuple(collision(0, 1).split()),), ("A",), scene)
    assert [rule(case).category for rule in (any_option, correct_option, oracle)] == [INF, INF, INF]


def test_a_pair_that_meets_again_in_view_is_seen() -> None:
    scene = scene_with(trajectory((0, range(10)), (1, range(10))), (5, 0, 1), (70, 0, 1))
    case = resolve_case(tuple(removal(2).split()), (tuple(collision(0, 1).split()),), ("A",), scene)
    assert answer(case) == ("A",)


def without(frames: list[Json], frame: int, who: int) -> list[Json]:
    """The same trajectory without one object's flag at one frame."""
    del frames[frame]["objects"][who]["inside_camera_view"]
    return frames


@pytest.mark.parametrize(
    "frames",
    [
        [],
        trajectory((0, ALWAYS), (1, ALWAYS))[:5],
        without(trajectory((0, ALWAYS), (1, ALWAYS)), 5, 1),
        [{"frame_id": 5, "objects": [{"object_id": 0, "inside_camera_view": False}]}],
    ],
)
def test_where_the_trajectory_does_not_say_it_a_collision_counts_as_seen(frames: list[Json]) -> None:
    scene = scene_with(frames, (5, 0, 1))
    assert scene.collisions == (Collision(5, (0, 1)),)
    assert not scene.is_view_known


def test_without_a_trajectory_all_collisions_count_as_seen() -> None:
    content = {key: value for key, value in annotation(12).items() if key != "motion_trajectory"}
    scene = decode_annotation(json.dumps(content).encode(), "annotation_00012.json")
    assert isinstance(scene, Scene)
    assert scene.collisions == (Collision(20, (0, 1)), Collision(50, (0, 2)), Collision(70, (0, 1)))
    assert not scene.is_view_known
    nothing_to_say = decode_annotation(json.dumps({**content, "collision": []}).encode(), "annotation_00012.json")
    assert isinstance(nothing_to_say, Scene)
    assert nothing_to_say.is_view_known


def test_later_frames_that_do_not_say_it_are_passed_over() -> None:
    frames = without(without(trajectory((0, range(6))), 6, 0), 7, 1)
    assert scene_with(frames, (5, 0, 1)).collisions == (Collision(5, (0, 1), seen=True),)
    frames = without(trajectory((0, range(6)), (0, range(7, 128))), 6, 0)
    assert scene_with(frames, (5, 0, 1)).collisions == (Collision(5, (0, 1), seen=False),)


def changed(frame: int, **changes: Any) -> list[Json]:
    """A trajectory with one frame's fields changed."""
    frames = trajectory()
    frames[frame] |= changes
    return frames


SHOWN = {"inside_camera_view": True}


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (changed(9, frame_id=128), "motion_trajectory[9].frame_id is 128, expected 0 to 127"),
        (changed(9, frame_id=-1), "motion_trajectory[9].frame_id is -1, expected 0 to 127"),
        (changed(9, frame_id=4), "motion_trajectory[9].frame_id is 4 a second time"),
        (changed(20, objects=[{"object_id": 5, **SHOWN}]), "motion_trajectory[20].objects[0] is object 5, which is not in"),
        (changed(20, objects=[{"object_id": 1, **SHOWN}] * 2), "motion_trajectory[20].objects[1] is object 1 a second time"),
        (changed(20, objects=[SHOWN]), "motion_trajectory[20].objects[0]: object missing required field `object_id`"),
        (changed(20, objects=None), "motion_trajectory[20].objects: expected `array`, got `null`"),
        (changed(50, objects=[{"object_id": 0, "inside_camera_view": 1}]),
         "motion_trajectory[50].objects[0].inside_camera_view: expected `bool`, got `int`"),
        ([{"frame_id": 20}], "motion_trajectory[0]: object missing required field `objects`"),
        ({}, "motion_trajectory: expected `array`, got `object`"),
    ],
)  # fmt: skip
def test_a_trajectory_that_contradicts_the_rest_is_a_fault(frames: Any, reason: str) -> None:
    found = decode(motion_trajectory=frames)
    assert isinstance(found, Fault)
    assert reason in found.reason


def test_scenes_of_an_earlier_version_are_read_and_new_ones_say_only_what_is_not_seen() -> None:
    old = b'{"scene_index":1,"video":"v.mp4","objects":[],"collisions":[{"frame":20,"object_ids":[0,1]}]}'
    scene = msgspec.json.decode(old, type=Scene)
    assert scene == Scene(1, "v.mp4", (), (Collision(20, (0, 1), seen=True),), is_view_known=True)
    assert msgspec.json.encode(scene) == old
    assert msgspec.json.encode(Collision(20, (0, 1), seen=False)) == b'{"frame":20,"object_ids":[0,1],"seen":false}'
