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
    """Where rays meet objects.

    Depth and surface are functions, because most rays need only `hit`. They go on smoothly a little way outside the object, for
    pixels whose middle just misses it.
    """

    hit: Array
    """bool."""
    depth: Callable[[], Array]
    surface: Callable[[Array, float], Surface]
    """Given the depth, and the distance between rays (CLEVRER's units) over which edges are rounded."""


def meet(shape: str, ray: Ray, pose: Pose) -> Meeting:
    """Where each object is first met by its rays; `shape` is cube, cylinder or sphere."""
    return {"cube": _cube, "cylinder": _cylinder, "sphere": _sphere}[shape](ray, pose)


def _sphere(ray: Ray, pose: Pose) -> Meeting:
    xp, half = array_namespace(ray[0]), HALF_SIZE
    dx, dy, dz = ray
    ux, uy, uz = pose.x / pose.depth, pose.y / pose.depth, pose.z / pose.depth  # the ray through the centre
    ex, ey, ez = dx - ux, dy - uy, dz - uz
    size = ux * ux + uy * uy + uz * uz
    length = (dx * dx + dz * dz) + dy * dy
    along = (ux * ex + uz * ez) + uy * ey
    apart = size * ((ex * ex + ez * ez) + ey * ey) - along * along  # squared cross product of the two rays
    inside = length * half**2 - apart * (pose.depth * pose.depth)

    def depth() -> Array:
        return ((size + along) * pose.depth - xp.sqrt(inside.clip(0, None))) / length

    def surface(depth: Array, blur: float) -> Surface:
        r = 1 / half
        return Surface(depth * (dx * r) - pose.x * r, depth * (dy * r) - pose.y * r, depth * (dz * r) - pose.z * r, None)

    return Meeting(inside > 0, depth, surface)


def _cylinder(ray: Ray, pose: Pose) -> Meeting:
    xp, half = array_namespace(ray[0]), HALF_SIZE
    dx, dy, dz = ray
    ux, uy = pose.x / pose.depth, pose.y / pose.depth
    ex, ey = dx - ux, dy - uy
    size = ux * ux + uy * uy
    length = dx * dx + dy * dy
    along = ux * ex + uy * ey
    closest = (size + along) * pose.depth / length  # depth at which the ray is nearest to the axis
    lid, base = (pose.z + half) / dz, (pose.z - half) / dz
    between = xp.minimum(xp.maximum(closest, lid), base)
    x, y = between * dx - pose.x, between * dy - pose.y

    def wall_depth() -> Array:
        cross = ux * ey - uy * ex
        inside = length * half**2 - cross * cross * (pose.depth * pose.depth)
        return closest - xp.sqrt(inside.clip(0, None)) / length

    def surface(depth: Array, blur: float) -> Surface:
        wall = wall_depth()
        above = wall * dz - (pose.z + half)  # height over the lid at which the ray enters the endless cylinder
        top = (0.5 + above / blur).clip(0, 1)
        x, y = depth * dx - pose.x, depth * dy - pose.y
        out = (x * x + y * y) * (1 / half**2)
        edge = xp.where(above > 0, out, 1 + above / half)
        return Surface(x * ((1 - top) / half), y * ((1 - top) / half), top, edge)

    return Meeting(x * x + y * y < half**2, lambda: xp.maximum(wall_depth(), lid), surface)


def _cube(ray: Ray, pose: Pose) -> Meeting:
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

    def surface(depth: Array, blur: float) -> Surface:
        second = xp.maximum(xp.minimum(inx, iny), xp.minimum(wall, inz))
        top = (0.5 + (inz - wall) / blur).clip(0, 1)
        x = (1 - top) * (0.5 + (inx - iny) / blur).clip(0, 1)
        y = 1 - top - x
        facing_x, facing_y = -xp.sign(qx), -xp.sign(qy)
        nx = x * (facing_x * cos) - y * (facing_y * sin)
        ny = x * (facing_x * sin) + y * (facing_y * cos)
        return Surface(nx, ny, top, 1 - (depth - second) / half)

    return Meeting(depth < xp.minimum(xp.minimum(mx + wx, my + wy), mz + wz), lambda: depth, surface)
