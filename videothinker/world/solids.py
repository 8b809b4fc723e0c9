"""Rays meet objects: spheres, upright cylinders and cubes, in closed form, on numpy or torch.

All arrays broadcast to (N, S, h, w): N objects, each with its own window of h rows by w columns, and S rays per pixel.
Everything is relative to the eye, and a ray d has depth 1, so t d is its point at depth t. The object's centre is c = depth u,
where u is the ray through it, and formulas are written in e = d - u: forming that small difference first keeps the digits that
single precision would lose in squares of whole distances.
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
    """The centre is at (x, y, z), relative to the eye."""
    depth: Array
    """Depth of the centre."""
    cos: Array
    sin: Array
    """Cosine and sine of the yaw."""


class Surface(NamedTuple):
    """What rays find where they meet objects. It continues smoothly a little way beyond the outline, for pixels whose middle
    just misses the object."""

    depth: Array
    nx: Array
    ny: Array
    nz: Array
    """(nx, ny, nz) is the normal, of unit length except on rounded edges."""
    edge: Array | None
    """1 on an edge, and less by the distance from it in half sizes; None for a sphere."""


class Meeting(NamedTuple):
    """Where rays meet objects. Depth and surface are functions, because most rays need only `hit`."""

    hit: Array
    """True where the ray meets the object."""
    depth: Callable[[], Array]
    surface: Callable[[float], Surface]
    """Given the distance between rays (CLEVRER's units), over which edges are rounded."""


def meet(shape: str, ray: Ray, pose: Pose) -> Meeting:
    """Where each object is first met by its rays; `shape` is cube, cylinder or sphere."""
    return {"cube": _cube, "cylinder": _cylinder, "sphere": _sphere}[shape](ray, pose)


# Below, terms of x and z are added first: they have one value per row and y has one per column, so only the sum of both fills a
# whole window.


def _sphere(ray: Ray, pose: Pose) -> Meeting:
    xp, half = array_namespace(ray[0]), HALF_SIZE
    dx, dy, dz = ray
    ux, uy, uz = pose.x / pose.depth, pose.y / pose.depth, pose.z / pose.depth  # the ray through the centre
    ex, ey, ez = dx - ux, dy - uy, dz - uz
    size = ux * ux + uy * uy + uz * uz
    # The ray is at the sphere where |t d - c| = r, first at t = (c d - root(|d|^2 r^2 - |c x d|^2)) / |d|^2.
    # Below, `along` is depth u e, so that c d = along + size depth, and `length` is |d|^2 r^2.
    scale = size * pose.depth * pose.depth
    length = (dx * dx + dz * dz) * half**2 + dy * dy * half**2
    along = pose.depth * (ux * ex + uz * ez) + pose.depth * uy * ey
    apart = scale * (ex * ex + ez * ez) + scale * (ey * ey) - along * along  # |c x d|^2, since c x d = c x e
    inside = length - apart

    def depth() -> Array:
        return (along + size * pose.depth - xp.sqrt(inside.clip(0, None))) / length * half**2

    def surface(blur: float) -> Surface:
        far, r = depth(), 1 / half
        return Surface(far, far * (dx * r) - pose.x * r, far * (dy * r) - pose.y * r, far * (dz * r) - pose.z * r, None)

    return Meeting(inside > 0, depth, surface)


def _cylinder(ray: Ray, pose: Pose) -> Meeting:
    xp, half = array_namespace(ray[0]), HALF_SIZE
    dx, dy, dz = ray
    ux, uy = pose.x / pose.depth, pose.y / pose.depth
    ex, ey = dx - ux, dy - uy
    length = dx * dx + dy * dy
    along = pose.depth * (ux * ux + uy * uy + ux * ex) + pose.depth * uy * ey
    closest = along / length  # depth at which the ray is nearest to the axis
    lid, base = (pose.z + half) / dz, (pose.z - half) / dz
    # Rays go down, so they pass the lid first. Between lid and base the ray is nearest to the axis here: if this point is
    # within the circle, the ray meets the cylinder.
    between = xp.minimum(xp.maximum(closest, lid), base)
    x, y = between * dx - pose.x, between * dy - pose.y

    def wall() -> Array:
        """Depth at which the ray enters the cylinder if it had no ends: the formula of the sphere in the plane."""
        cross = pose.depth * ux * ey - pose.depth * uy * ex
        return closest - xp.sqrt((length * half**2 - cross * cross).clip(0, None)) / length

    def surface(blur: float) -> Surface:
        entry = wall()
        depth = xp.maximum(entry, lid)
        above = entry * dz - (pose.z + half)  # height over the lid at the entry
        top = (0.5 + above * (1 / blur)).clip(0, 1)
        side = (1 - top) * (1 / half)
        x, y = depth * dx - pose.x, depth * dy - pose.y
        edge = xp.minimum((x * x + y * y) * (1 / half**2), 1 + above * (1 / half))
        return Surface(depth, x * side, y * side, top, edge)

    return Meeting(x * x + y * y < half**2, lambda: xp.maximum(wall(), lid), surface)


def _cube(ray: Ray, pose: Pose) -> Meeting:
    xp, half = array_namespace(ray[0]), HALF_SIZE
    dx, dy, dz = ray
    cos, sin = pose.cos, pose.sin
    # In the cube's own axes three pairs of planes bound it. A ray is inside once it has entered all three pairs and left none.
    qx, qy = cos * pose.x + sin * pose.y, cos * pose.y - sin * pose.x
    ix, iy, iz = 1 / (cos * dx + sin * dy), 1 / (cos * dy - sin * dx), 1 / dz
    faces = [((q - half) * i, (q + half) * i) for q, i in ((qx, ix), (qy, iy), (pose.z, iz))]
    inx, iny, inz = (xp.minimum(*pair) for pair in faces)  # depths at which the three pairs are entered, and below left
    outx, outy, outz = (xp.maximum(*pair) for pair in faces)
    wall = xp.maximum(inx, iny)
    depth = xp.maximum(wall, inz)

    def surface(blur: float) -> Surface:
        # The last pair entered gives the face that is seen; how close the second-last comes says how near an edge is.
        second = xp.maximum(xp.minimum(inx, iny), xp.minimum(wall, inz))
        top = (0.5 + (inz - wall) * (1 / blur)).clip(0, 1)
        x = (1 - top) * (0.5 + (inx - iny) * (1 / blur)).clip(0, 1)
        y = 1 - top - x
        facing_x, facing_y = -xp.sign(qx), -xp.sign(qy)
        nx = x * (facing_x * cos) - y * (facing_y * sin)
        ny = x * (facing_x * sin) + y * (facing_y * cos)
        return Surface(depth, nx, ny, top, 1 - (depth - second) * (1 / half))

    return Meeting(depth < xp.minimum(xp.minimum(outx, outy), outz), lambda: depth, surface)
