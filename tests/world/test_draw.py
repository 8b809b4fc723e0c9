"""What is drawn is what is there: place, colour, shape, occlusion, shadow; the same on numpy and torch, at any size."""

import dataclasses
import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.world.drawing import Look, rollout
from videothinker.records import SceneObject
from videothinker.world import camera, draw, light, simulate
from videothinker.world.simulate import Rollout
from videothinker.world.table import COLORS, HALF_SIZE, MATERIALS, SHAPES

KINDS: list[Look] = list(itertools.product(COLORS, MATERIALS, SHAPES))


def picture(scene: Rollout, width: int = 480, height: int = 320) -> NDArray[np.int64]:
    """(height, width, 3) of its first frame."""
    return np.moveaxis(draw.frames([scene], width=width, height=height, indices=[0])[0, 0], 0, -1).astype(np.int64)


def middle(x: float, y: float, z: float = HALF_SIZE) -> tuple[int, int]:
    """(row, column) of the pixel at which a point is seen."""
    column, row, _ = camera.project([x, y, z])
    return int(row), int(column)


def nearest_color(pixel: NDArray[np.int64]) -> str:
    """The colour whose mixture with light (any brightness) and white comes nearest."""
    errors = {}
    for name, color in light.PALETTE.items():
        basis = np.array([color, (255, 255, 255)]).T / 255
        amount, *_ = np.linalg.lstsq(basis[:, :1], pixel, rcond=None)
        errors[name] = float(np.linalg.norm(basis[:, :1] @ amount - pixel))
    return min(errors, key=lambda name: errors[name])


def test_a_table_without_objects_is_the_grey_floor() -> None:
    seen = picture(rollout([], []))
    assert (seen[..., 0] == seen[..., 1]).all()
    assert (seen[..., 0] == seen[..., 2]).all()
    np.testing.assert_allclose(seen[..., 0], light.floor(480, 320), atol=0.51)
    assert 110 < seen.min() < seen.max() < 190


@pytest.mark.parametrize("shape", SHAPES)
def test_every_colour_is_seen_where_its_object_is(shape: str) -> None:
    spots = [(x, y) for x in (-1.5, 0.8) for y in (-1.5, -0.5, 0.5, 1.5)]
    seen = picture(rollout([(color, "rubber", shape) for color in COLORS], spots))
    assert [nearest_color(seen[middle(*spot)]) for spot in spots] == list(COLORS)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_nearer_object_hides_the_farther_whatever_their_order(order: tuple[int, ...]) -> None:
    looks: list[Look] = [("red", "rubber", "cube"), ("blue", "rubber", "sphere"), ("yellow", "rubber", "cylinder")]
    spots = [(0.6, 0.0), (0.15, 0.1), (-0.3, 0.0)]  # near, middle, far
    seen = picture(rollout([looks[i] for i in order], [spots[i] for i in order]))
    assert nearest_color(seen[middle(0.6, 0.0)]) == "red"
    np.testing.assert_array_equal(seen, picture(rollout(looks, spots)))
    alone = picture(rollout(looks[:1], spots[:1]))
    body = np.abs(alone - picture(rollout([], []))).max(axis=-1) > 30
    rows, columns = np.nonzero(body & (alone[..., 0] > 1.5 * alone[..., 1]))  # all of the red cube, nothing of its shadow
    assert (np.abs(seen - alone)[rows, columns].max(axis=-1) <= 1).mean() > 0.9  # its rim mixes with what is behind it


def test_what_is_seen_at_each_pixel_is_what_a_slow_march_along_its_ray_meets_first() -> None:
    rng = np.random.default_rng(3)
    looks: list[Look] = [
        ("red", "rubber", "cube"),
        ("green", "rubber", "sphere"),
        ("blue", "rubber", "cylinder"),
        ("yellow", "rubber", "cube"),
        ("cyan", "rubber", "sphere"),
        ("purple", "rubber", "cylinder"),
    ]
    spots = np.array([(0.5, -0.2), (0.1, 0.15), (-0.35, -0.1), (-0.1, -0.45), (0.6, 0.3), (-0.7, 0.3)])
    yaws = rng.uniform(0, np.pi, 6)
    seen = picture(rollout(looks, spots, yaws))

    rows, columns = (axis.ravel() for axis in np.mgrid[90:260:3, 150:330:3])
    offsets = np.array([(0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])  # middle and corners of the pixel
    met = np.stack([march(looks, spots, yaws, columns + dx, rows + dy) for dx, dy in offsets])
    whole = (met == met[0]).all(axis=0)  # pixels without an edge in them
    assert whole.sum() > 2000
    assert set(met[0]) == {-1, 0, 1, 2, 3, 4, 5}
    names = [looks[i][0] for i in met[0][whole]]
    pixels = seen[rows[whole], columns[whole]]
    shown = ["floor" if np.ptp(pixel) == 0 else nearest_color(pixel) for pixel in pixels]
    expected = ["floor" if found < 0 else name for found, name in zip(met[0][whole], names, strict=True)]
    wrong = sum(a != b for a, b in zip(shown, expected, strict=True))
    assert wrong <= 0.003 * len(expected)  # the march steps over the thinnest corners


def march(
    looks: list[Look],
    spots: NDArray[np.float64],
    yaws: NDArray[np.float64],
    column: NDArray[np.float64],
    row: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Number of the first object on each ray, -1 for the floor: points along it are tested one by one."""
    ray = np.stack(np.broadcast_arrays(*camera.rays(column, row)), axis=-1)
    found = np.full(len(ray), -1)
    for depth in np.arange(9.0, 5.5, -0.008):
        point = camera.EYE + depth * ray
        for i, (_, _, shape) in enumerate(looks):
            x, y, z = (point - [*spots[i], HALF_SIZE]).T
            lx, ly = np.cos(yaws[i]) * x + np.sin(yaws[i]) * y, np.cos(yaws[i]) * y - np.sin(yaws[i]) * x
            inside = {
                "cube": np.maximum.reduce([abs(lx), abs(ly), abs(z)]) < HALF_SIZE,
                "cylinder": (np.hypot(x, y) < HALF_SIZE) & (abs(z) < HALF_SIZE),
                "sphere": np.hypot(np.hypot(x, y), z) < HALF_SIZE,
            }[shape]
            found[inside] = i  # marched towards the eye, so the last one met stays
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shadow_falls_away_from_the_light(shape: str) -> None:
    bare = light.floor(480, 320)
    shade = picture(rollout([("red", "rubber", shape)], [(0.0, 0.0)]))[..., 0] / bare
    reach = HALF_SIZE + 0.6 * 2 * HALF_SIZE
    direction = np.array(light.FALL)
    x, y = direction / np.linalg.norm(direction) * reach
    assert x < 0 < y  # to the back and to the right
    assert shade[middle(x, y, 0)] < 0.85
    assert shade[middle(-x, -y, 0)] > 0.97
    assert shade[middle(0, -1.5, 0)] == pytest.approx(1, abs=0.01)


def test_an_object_out_of_the_picture_changes_nothing() -> None:
    bare = picture(rollout([], []))
    for spot in [(0, 4), (0, -4), (-6, 0), (4, 0), (8, 0)]:
        np.testing.assert_array_equal(picture(rollout([("red", "metal", "sphere")], [spot])), bare)


def test_a_turn_shows_on_a_cube_only() -> None:
    for shape in SHAPES:
        before, after = (picture(rollout([("cyan", "metal", shape)], [(0.3, -0.2)], yaw)) for yaw in (0.2, 0.7))
        assert (np.abs(before - after).max() > 40) == (shape == "cube")


def test_a_quarter_turn_of_a_cube_looks_the_same() -> None:
    before, after = (picture(rollout([("cyan", "rubber", "cube")], [(0.3, -0.2)], yaw)) for yaw in (0.3, 0.3 + np.pi / 2))
    assert (np.abs(before - after) > 1).mean() < 1e-4


@pytest.mark.parametrize(("color", "shape"), itertools.product(COLORS, SHAPES))
def test_metal_mirrors_light_and_rubber_does_not(color: str, shape: str) -> None:
    glitter = {}
    for material in MATERIALS:
        seen = picture(rollout([(color, material, shape)], [(0.0, 0.0)], 0.5))
        row, column = middle(0.0, 0.0)
        body = seen[row - 18 : row + 18, column - 14 : column + 14].sum(axis=-1)
        glitter[material] = np.abs(np.diff(body, axis=1)).mean() / body.mean()
    assert glitter["metal"] > 1.7 * glitter["rubber"]


def test_a_recoloured_scene_is_the_same_roll_out_with_other_objects() -> None:
    scene = rollout([("red", "rubber", "cube"), ("blue", "metal", "sphere")], [(0, 0), (-1, 0.5)])
    swapped = dataclasses.replace(
        scene, objects=(SceneObject(0, "blue", "rubber", "cube"), SceneObject(1, "red", "metal", "sphere"))
    )
    before, after = picture(scene), picture(swapped)
    assert nearest_color(before[middle(0, 0)]) == nearest_color(after[middle(-1, 0.5)]) == "red"
    assert nearest_color(after[middle(0, 0)]) == "blue"
    changed = np.abs(before - after).max(axis=-1) > 0
    assert not changed[:40].any()  # the floor is as before


def test_a_mirrored_scene_is_the_mirrored_outline() -> None:
    looks: list[Look] = [("red", "rubber", "cube"), ("blue", "rubber", "cylinder")]
    spots = np.array([(0.2, 0.7), (-0.6, -0.9)])
    here = picture(rollout(looks, spots, 0.4))
    there = picture(rollout(looks, spots * [1, -1], -0.4))[:, ::-1]
    red, other = (image[..., 0] > 1.6 * image[..., 1] for image in (here, there))
    assert red.sum() > 1000
    assert (red != other).sum() < 0.02 * red.sum()  # the light does not mirror, the outline does


def test_indices_choose_frames_for_all_or_for_each_scene() -> None:
    scenes = [simulate.simulate(5, i).factual for i in range(2)]
    every = draw.frames(scenes, width=60, height=40)
    assert every.shape == (2, 128, 3, 40, 60)
    assert every.dtype == np.uint8
    same = draw.frames(scenes, width=60, height=40, indices=[3, 70])
    np.testing.assert_array_equal(same, every[:, [3, 70]])
    each = draw.frames(scenes, width=60, height=40, indices=[[3, 70], [127, 0]])
    np.testing.assert_array_equal(each[0], every[0, [3, 70]])
    np.testing.assert_array_equal(each[1], every[1, [127, 0]])


@pytest.mark.parametrize("n_frames", [1, 5, 1000])
def test_a_frame_does_not_depend_on_its_company(n_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects at rest are computed once for many frames: that must never show, also where another one passes before them."""
    monkeypatch.setattr(draw, "_RAYS_CPU", n_frames * 60 * 40 * 16)
    scenes = [simulate.simulate(7, i).factual for i in range(3)]
    assert any((np.diff(scene.location, axis=0) == 0).all(axis=-1).any() for scene in scenes)
    together = draw.frames(scenes, width=60, height=40)
    for b, t in itertools.product(range(3), range(0, 128, 9)):
        alone = draw.frames([scenes[b]], width=60, height=40, indices=[t])
        np.testing.assert_array_equal(alone[0, 0], together[b, t])


@pytest.mark.parametrize("size", [(360, 240), (84, 56), (100, 100)])
def test_numpy_and_torch_draw_the_same(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    scenes = [simulate.simulate(11, i).factual for i in range(3)]
    width, height = size
    ours = draw.frames(scenes, width=width, height=height, indices=[0, 50, 127]).astype(int)
    tensor = draw.frames(scenes, width=width, height=height, indices=[0, 50, 127], device="cpu")
    assert tensor.dtype == torch.uint8
    apart = np.abs(ours - tensor.numpy())
    assert (apart > 1).mean() < 1e-5  # a ray within rounding of an edge
    assert (apart > 0).mean() < 1e-3


@pytest.mark.parametrize("factor", [2, 4, 5])
def test_a_small_picture_is_the_large_one_made_smaller(factor: int) -> None:
    scenes = [simulate.simulate(13, i).factual for i in range(4)]
    large = draw.frames(scenes, indices=[30, 100]).astype(float)
    small = draw.frames(scenes, width=480 // factor, height=320 // factor, indices=[30, 100])
    shrunk = large.reshape(4, 2, 3, 320 // factor, factor, 480 // factor, factor).mean(axis=(4, 6))
    apart = np.abs(shrunk - small)
    assert apart.mean() < 0.5
    assert np.percentile(apart, 99) < 6


def test_every_kind_is_told_apart_where_it_is_few_pixels_wide() -> None:
    """48 kinds at 84x56, each 5 to 9 pixels wide, at places and turns that the reader of the pictures never saw before."""
    crops, kinds = pictures_of_kinds(60, seed=0)
    unseen, truth = pictures_of_kinds(12, seed=1)
    spread = np.median(distances(crops[::7], crops)) * 0.15
    weights = np.linalg.solve(
        np.exp(-distances(crops, crops) / spread) + 1e-3 * np.eye(len(crops)), np.eye(len(KINDS), dtype=np.float32)[kinds]
    )
    found = (np.exp(-distances(unseen, crops) / spread) @ weights).argmax(axis=1)
    assert (found // 6 == truth // 6).mean() > 0.995  # colour
    assert (found // 3 % 2 == truth // 3 % 2).mean() > 0.995  # material
    assert (found % 3 == truth % 3).mean() > 0.97  # shape: some turns of a cube look round at this size


def pictures_of_kinds(n: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`n` crops of each kind, 12 x 12 pixels around where it stands, and their kinds."""
    rng = np.random.default_rng(seed)
    kinds = np.tile(np.arange(len(KINDS)), n)
    radius, angle = 2 * np.sqrt(rng.uniform(0, 1, len(kinds))), rng.uniform(0, 2 * np.pi, len(kinds))
    spots = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    scenes = [rollout([KINDS[kind]], [spot], rng.uniform(0, 7)) for kind, spot in zip(kinds, spots, strict=True)]
    drawn = np.pad(draw.frames(scenes, width=84, height=56, indices=[0])[:, 0], ((0, 0), (0, 0), (6, 6), (6, 6)), mode="edge")
    at = camera.project(np.concatenate([spots, np.full((len(spots), 1), HALF_SIZE)], axis=1))[:, :2] * [84 / 480, 56 / 320]
    crops = [seen[:, y : y + 12, x : x + 12] for seen, (x, y) in zip(drawn, at.astype(int), strict=True)]
    return np.stack(crops).reshape(len(kinds), -1).astype(np.float32) / 255, kinds


def distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(len(a), len(b)): squared distances."""
    square: NDArray[np.float32] = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    return square
