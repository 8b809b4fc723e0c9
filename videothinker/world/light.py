"""Light: what the floor, rubber and metal look like, on numpy or torch.

One key light, from the upper left in front of the scene, casts the shadows; a weak one from the right fills them. Rubber is
matte. Metal mirrors a room that is not drawn: a bright window, a tall strip of light, a ceiling brighter than the floor. The
constants were chosen by eye, for CLEVRER's look at 480x320 and so that materials still differ where an object is 5 pixels wide.
"""

import math
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from videothinker.world import camera
from videothinker.world.camera import EYE, HEIGHT, WIDTH
from videothinker.world.solids import Array, Pose, Ray, Surface
from videothinker.world.table import HALF_SIZE

PALETTE = {
    "gray": (87, 87, 87),
    "brown": (129, 74, 25),
    "green": (29, 105, 20),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "purple": (129, 38, 192),
    "yellow": (255, 238, 51),
    "cyan": (41, 208, 208),
}
"""CLEVR's eight colours, sRGB."""

KEY = (0.40, -0.50, 0.77)
"""Direction to the key light, of length 1 within 0.2 %."""
FILL = (0.45, 0.80, 0.40)
"""Direction to the weak light, of length 1 within 0.2 %."""
STRIP = (0.80, -0.60)
"""Direction on the floor to the strip of light that metal mirrors."""
SHEEN = (-0.25, -0.65, 0.60)
"""Direction in which metal gets brighter across each object; without it a flat face would show one flat reflection."""
FALL = (-KEY[0] / KEY[2], -KEY[1] / KEY[2])
"""Where on the floor the shadow of a point at height 1 falls."""
SOFT_EDGE = 0.03, 0.14
"""Width of a shadow's edge at an object's foot and at its top (CLEVRER's units)."""
CONTACT = 0.14
"""How far the darkening around an object's foot reaches (CLEVRER's units)."""


def rubber(ray: Ray, surface: Surface, pose: Pose) -> tuple[Array, Array]:
    """How much of the object's own colour, and how much white, each ray brings back; 1 is full brightness."""
    depth, nx, ny, nz, _ = surface
    key = (nx * KEY[0] + ny * KEY[1] + nz * KEY[2]).clip(0, None)
    fill = (nx * FILL[0] + ny * FILL[1] + nz * FILL[2]).clip(0, None)
    # Height over the floor in half sizes, cut at 1: the lower half gets less light from its surroundings.
    foot = (depth * (ray[2] / HALF_SIZE) + float(EYE[2] / HALF_SIZE)).clip(0, 1)
    return (0.36 + 0.12 * nz + 0.60 * key + 0.12 * fill) * (0.72 + 0.28 * foot), 0.04 * key


def metal(ray: Ray, surface: Surface, pose: Pose) -> tuple[Array, Array]:
    """How much of the object's own colour, and how much white, each ray brings back; 1 is full brightness."""
    depth, nx, ny, nz, edge = surface
    # Rays of unit length. A ray's length hardly changes within an object, so that of the ray through its centre will do.
    scale = pose.depth / array_namespace(depth).sqrt(pose.x * pose.x + pose.y * pose.y + pose.z * pose.z)
    dx, dy, dz = (scale * d for d in ray)
    # The mirrored ray is d - 2 (n d) n; only its z and its product with KEY are needed.
    twice = 2 * (nx * dx + ny * dy + nz * dz)
    mirrored_z = dz - twice * nz
    key = nx * KEY[0] + ny * KEY[1] + nz * KEY[2]
    window = ((dx * KEY[0] + dz * KEY[2]) + dy * KEY[1] - twice * key).clip(0, None)  # the mirrored ray meets the light
    strip = (nx * STRIP[0] + ny * STRIP[1]).clip(0, None)
    for _ in range(3):  # squaring three times gives the 8th power
        window, strip = window * window, strip * strip
    sx, sy, sz = (0.5 / HALF_SIZE * s for s in SHEEN)
    # Where on the object the ray arrives, along SHEEN: 0 on one side, 1 on the other.
    middle = pose.x * sx + pose.y * sy + pose.z * sz - 0.5
    sheen = (depth * ((ray[0] * sx + ray[2] * sz) + ray[1] * sy) - middle).clip(0, 1)
    gloss = sheen * sheen
    white = window * (0.9 * window + 0.15) + strip * strip * (0.16 + 0.39 * sheen) + 0.10 * gloss
    if edge is not None:
        rim = (6 * edge - 5).clip(0, 1)
        white = white + 0.35 * (rim * rim)
    room = 0.38 + 0.32 * (0.5 + 1.5 * mirrored_z).clip(0, 1) + 0.75 * gloss
    return room * (0.35 - 0.375 * twice), white


def shadow(shape: str, x: Array, y: Array, pose: Pose) -> Array:
    """How much light an object takes from the floor at (x, y), measured from its foot; 0 to 1.

    The outline is exact: a disc or square swept from the foot to where the top falls, or a sphere's ellipse. Its edge is softer
    where a higher part of the object casts it.
    """
    xp, half = array_namespace(x), HALF_SIZE
    fx, fy = 2 * half * FALL[0], 2 * half * FALL[1]
    length = math.hypot(fx, fy)
    along = ((x * fx + y * fy) / length**2).clip(0, 1)
    if shape == "cube":
        cos, sin = pose.cos, pose.sin
        # In the cube's own axes. A square swept along a line is a hexagon: what the box around both ends and the strip along
        # the line have in common.
        x, y = cos * x + sin * y, cos * y - sin * x
        tx, ty = cos * fx + sin * fy, cos * fy - sin * fx
        across = abs(x * (ty / length) - y * (tx / length)) - (abs(tx) + abs(ty)) * (half / length)
        swept = xp.maximum(abs(x - tx / 2) - abs(tx) / 2, abs(y - ty / 2) - abs(ty) / 2) - half
        beside = xp.maximum(swept, across)
        foot = xp.maximum(abs(x), abs(y)) - half
    else:
        square = x * x + y * y
        foot = xp.sqrt(square) - (half / 2 if shape == "sphere" else half)
        if shape == "cylinder":
            sx, sy = x - along * fx, y - along * fy  # from the nearest point of the line that the disc is swept along
            beside = xp.sqrt(sx * sx + sy * sy) - half
        else:
            # Distance from the line through the sphere's centre along the light: its share along the light is taken off.
            towards = x * KEY[0] + y * KEY[1] - half * KEY[2]
            beside = xp.sqrt((square + half**2 - towards * towards).clip(0, None)) - half
    # 0 to 1 across the soft edge; below, 3t^2 - 2t^3 smooths it.
    dark = (0.5 - beside / (SOFT_EDGE[0] + (SOFT_EDGE[1] - SOFT_EDGE[0]) * along)).clip(0, 1)
    near = (1 - foot / CONTACT).clip(0, 1)
    return 0.42 * dark * dark * (3 - 2 * dark) + 0.25 * near * near


def floor(width: int, height: int) -> NDArray[np.float64]:
    """(height, width): grey of the lit floor without objects, 0 to 255."""
    column = (np.arange(width) + 0.5) * WIDTH / width
    row = (np.arange(height) + 0.5)[:, None] * HEIGHT / height
    x, y = floor_points(column, row)
    grey: NDArray[np.float64] = 255 * (0.52 + 0.17 * np.exp(-((x - 0.3) ** 2 + (y + 0.3) ** 2) / 7))
    return grey


def floor_points(column: Any, row: Any) -> tuple[Any, Any]:
    """The points (x, y) on the floor that are seen at pixel coordinates of the 480x320 picture."""
    dx, dy, dz = camera.rays(column, row)
    depth = -float(EYE[2]) / dz
    return float(EYE[0]) + depth * dx, depth * dy
