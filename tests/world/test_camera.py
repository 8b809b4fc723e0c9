"""The camera: hand-computed projections, and the promises that `table.py` makes about what is in view."""

import numpy as np
import pytest

from videothinker.world import camera, table


def test_the_origin_is_the_middle_of_the_picture() -> None:
    assert camera.project([0.0, 0.0, 0.0]) == pytest.approx([240, 160, 7.5])


def test_plus_y_is_to_the_right_by_focal_over_depth() -> None:
    # 760 pixels at depth 7.5: one unit to the right is 101.33 pixels
    assert camera.project([0.0, 1.0, 0.0]) == pytest.approx([240 + 760 / 7.5, 160, 7.5])
    assert camera.project([0.0, -1.0, 0.0]) == pytest.approx([240 - 760 / 7.5, 160, 7.5])


def test_up_is_up_and_nearer_is_lower() -> None:
    sin36, cos36 = 0.5877852523, 0.8090169944
    # a unit above the origin: nearer to the eye by sin 36, above the axis by cos 36
    assert camera.project([0.0, 0.0, 1.0]) == pytest.approx([240, 160 - 760 * cos36 / (7.5 - sin36), 7.5 - sin36])
    # a unit towards the camera: nearer by cos 36, below the axis by sin 36
    assert camera.project([1.0, 0.0, 0.0]) == pytest.approx([240, 160 + 760 * sin36 / (7.5 - cos36), 7.5 - cos36])


def test_shapes_are_kept() -> None:
    assert camera.project(np.zeros((5, 4, 3))).shape == (5, 4, 3)
    assert camera.in_view(np.zeros((5, 4, 3))).shape == (5, 4)


def test_a_ray_meets_the_point_it_was_cast_through() -> None:
    points = np.random.default_rng(0).uniform([-3, -2, 0], [2, 2, 0.4], (50, 3))
    column, row, depth = np.moveaxis(camera.project(points), -1, 0)
    found = camera.EYE + depth[:, None] * np.stack(camera.rays(column, row), axis=-1)
    np.testing.assert_allclose(found, points, atol=1e-12)


def test_what_is_behind_the_camera_is_not_in_view() -> None:
    behind = camera.EYE * 1.1
    assert camera.project(behind)[2] < 0
    assert not camera.in_view(behind)


def test_the_picture_ends_where_in_view_does() -> None:
    half_width = 240 * 7.5 / 760
    assert camera.in_view([0, half_width - 1e-6, 0])
    assert not camera.in_view([0, half_width + 1e-6, 0])


def test_the_stage_is_in_view_and_offstage_is_not() -> None:
    angle = np.linspace(0, 2 * np.pi, 721)
    circle = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)
    lift = np.array([0, 0, table.HALF_SIZE])
    assert camera.in_view(table.STAGE_RADIUS * circle + lift).all()
    # an object whose centre is there shows not even its edge: sphere around its bounding box
    margin = np.sqrt(3) * table.HALF_SIZE
    assert not camera.in_view((table.OFFSTAGE_RADIUS - margin) * circle + lift).any()
