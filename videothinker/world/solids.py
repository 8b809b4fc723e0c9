"""Rays meet objects: spheres, upright cylinders and cubes, in closed form, on numpy or torch.

All arrays broadcast to (N, S, h, w): N objects, each with its own window of h rows by w columns and S rays a pixel. Everything
is seen from the eye, and rays have depth 1, so a ray's parameter is its depth. Differences between a ray and the ray through
the object's centre are formed first and multiplied later: squares of whole distances would cost single precision its last
digits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from videothinker.world.table import HALF_SIZE

Array = Any
"""A numpy array or a torch tensor; the array API has no common type."""
Ray = tuple[Array, Array, Array]
"""Directions x and z (N, S, h, 1), y (N, S, 1, w); see `camera.rays`."""


class Pose(NamedTuple):
    """Where N objects are: (N, 1, 1, 1) each."""

    x: Array
    y: Array
    z: Array
    """Centre, seen from the eye."""
    depth: Array
    """Depth of the centre."""
    cos: Array
    sin: Array
    """Of the yaw."""


class Surface(NamedTuple):
    """What a ray finds where it meets an object."""

    nx: Array
    ny: Array
    nz: Array
    """Unit normal."""
    edge: Array | None
    """1 on an edge, less by distance in half sizes beside it; None for a sphere."""


class Meeting(NamedTuple):
    """Where rays meet objects. Depth and surface go on smoothly a little way outside the object, for pixels whose middle just
    misses it."""

    hit: Array
    """bool."""
    depth: Array
    surface: Callable[[float], Surface]
    """Given the distance between rays (CLEVRER's units), over which edges are rounded: the surface. A function, because
    occlusion never asks for it."""


def meet(shape: str, ray: Ray, pose: Pose) -> Meeting:
    """Where each object is first met by its rays; `shape` is cube, cylinder or sphere."""
    return _meet_cube(ray, pose) if shape == "cube" else _meet_round(ray, pose, sphere=shape == "sphere")


def _meet_round(ray: Ray, pose: Pose, *, sphere: bool) -> Meeting:
    xp, half = array_namespace(ray[0]), HALF_SIZE
    dx, dy, dz = ray
    ux, uy, uz = pose.x / pose.depth, pose.y / pose.depth, pose.z / pose.depth  # the ray through the centre
    ex, ey, ez = dx - ux, dy - uy, dz - uz
    if sphere:
        a = (dx * dx + dz * dz) + dy * dy
        size = ux * ux + uy * uy + uz * uz
        along = (ux * ex + uz * ez) + uy * ey
        apart = size * ((ex * ex + ez * ez) + ey * ey) - along * along  # squared cross product of the two rays
    else:
        a = dx * dx + dy * dy
        size = ux * ux + uy * uy
        along = ux * ex + uy * ey
        cross = ux * ey - uy * ex
        apart = cross * cross
    inside = a * half**2 - apart * (pose.depth * pose.depth)
    depth = ((size + along) * pose.depth - xp.sqrt(inside.clip(0, None))) / a
    hit = inside > 0
    if sphere:

        def ball(blur: float) -> Surface:
            r = 1 / half
            return Surface(depth * (dx * r) - pose.x * r, depth * (dy * r) - pose.y * r, depth * (dz * r) - pose.z * r, None)

        return Meeting(hit, depth, ball)

    above = depth * dz - (pose.z + half)  # height over the lid where the ray enters the endless cylinder
    lid = (pose.z + half) / dz
    x, y = lid * dx - pose.x, lid * dy - pose.y
    out = x * x + y * y
    hit = hit & (above > -2 * half) & ((above <= 0) | (out < half**2))

    def drum(blur: float) -> Surface:
        top = (0.5 + above / blur).clip(0, 1)
        wall = (1 - top) / half
        edge = xp.minimum(1 + above / half, 1 + 0 * above) + (out * (1 / half**2) - 1) * (above > 0)
        return Surface((depth * dx - pose.x) * wall, (depth * dy - pose.y) * wall, top, edge)

    return Meeting(hit, xp.maximum(depth, lid), drum)


def _meet_cube(ray: Ray, pose: Pose) -> Meeting:
    xp, half = array_namespace(ray[0]), HALF_SIZE
    dx, dy, dz = ray
    cos, sin = pose.cos, pose.sin
    qx, qy = cos * pose.x + sin * pose.y, cos * pose.y - sin * pose.x  # in the cube's own axes
    ix, iy, iz = 1 / (cos * dx + sin * dy), 1 / (cos * dy - sin * dx), 1 / dz
    mx, my, mz = qx * ix, qy * iy, pose.z * iz
    wx, wy, wz = half * abs(ix), half * abs(iy), half * abs(iz)
    inx, iny, inz = mx - wx, my - wy, mz - wz  # depths at which the three pairs of faces are entered
    wall = xp.maximum(inx, iny)
    depth = xp.maximum(wall, inz)
    hit = depth < xp.minimum(xp.minimum(mx + wx, my + wy), mz + wz)

    def box(blur: float) -> Surface:
        facing_x, facing_y = -xp.sign(qx), -xp.sign(qy)
        second = xp.maximum(xp.minimum(inx, iny), xp.minimum(wall, inz))
        top = (0.5 + (inz - wall) / blur).clip(0, 1)
        x = (1 - top) * (0.5 + (inx - iny) / blur).clip(0, 1)
        y = 1 - top - x
        nx = x * (facing_x * cos) - y * (facing_y * sin)
        ny = x * (facing_x * sin) + y * (facing_y * cos)
        return Surface(nx, ny, top, 1 - (depth - second) / half)

    return Meeting(hit, depth, box)
