"""The camera: from CLEVRER's coordinates to pixels of the 480x320 clip.

It is a pinhole without roll that looks along -x and down at the origin (`table.py` has the axes). As in CLEVRER it never moves.
Pixel coordinates are continuous: (0, 0) is the top left corner of the picture and pixel (column i, row j) covers
[i, i+1) x [j, j+1). Other sizes are the same picture resized, so they need no camera of their own.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 480, 320
"""Size of CLEVRER's clips, in pixels."""
FOCAL = 760.0
"""Focal length in pixels of the 480x320 picture: a field of view of 35 by 24 degrees."""
ELEVATION = math.radians(36)
"""Angle at which the camera looks down."""
DISTANCE = 7.5
"""Distance from the eye to the origin. An object is 29 pixels wide at the picture's far edge, 40 at the origin and 52 at the
near edge."""

SIN, COS = math.sin(ELEVATION), math.cos(ELEVATION)
EYE = np.array([DISTANCE * COS, 0.0, DISTANCE * SIN])
"""Where the camera stands."""
RIGHT, UP, FORWARD = np.array([0.0, 1.0, 0.0]), np.array([-SIN, 0.0, COS]), np.array([-COS, 0.0, -SIN])
"""Unit vectors along the picture's two axes and along the viewing axis."""


def project(points: ArrayLike) -> NDArray[np.float64]:
    """Where points are seen.

    Args:
        points: (..., 3), CLEVRER's units.

    Returns:
        (..., 3): pixel x (to the right), pixel y (downwards), and depth along the viewing axis in CLEVRER's units. Points
        outside the picture get coordinates outside it; behind the camera the depth is negative, and x and y mean nothing.
    """
    return np.stack(see(*np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)), axis=-1)


def see(x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    """`project` for coordinates in separate arrays: (column, row, depth)."""
    x, z = x - EYE[0], z - EYE[2]
    # The scalar products with FORWARD, RIGHT and UP, whose zeros are left out; the eye stands at y = 0.
    depth = -COS * x - SIN * z
    with np.errstate(divide="ignore", invalid="ignore"):
        return WIDTH / 2 + FOCAL * y / depth, HEIGHT / 2 + FOCAL * (SIN * x - COS * z) / depth, depth


def in_view(location: ArrayLike) -> NDArray[np.bool_]:
    """(...,) bool: True where the point (..., 3), an object's centre, is within the picture: CLEVRER's `inside_camera_view`."""
    column, row, depth = np.moveaxis(project(location), -1, 0)
    inside: NDArray[np.bool_] = (depth > 0) & (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
    return inside


def rays(column: Any, row: Any) -> tuple[Any, Any, Any]:
    """Directions (x, y, z) of the rays through pixel coordinates, of depth 1: the point seen at depth t is EYE + t * ray.

    x and z follow from the row alone and y from the column alone, so they keep the shapes of `row` and `column`, which may be
    arrays of any library.
    """
    up = (HEIGHT / 2 - row) / FOCAL
    return -COS - SIN * up, (column - WIDTH / 2) / FOCAL, COS * up - SIN
