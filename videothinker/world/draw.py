"""Draw roll-outs: one renderer for films and for training batches, by ray casting at any size.

Each object is drawn in a window around it. Several rays per pixel find where the object is and whether another one hides it
there (a z-buffer by ray); the pixel gets the object's colour in the share of the rays that see it. `solids.py` has the geometry
and `light.py` the looks. The same code runs on numpy and, where a device is named, on torch, through the array API. For both,
numpy computes the small arrays (where objects are, which pixels they touch) in double precision; the large ones (pixels) are in
single precision.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import array_api_compat.numpy as numpy_namespace
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from videothinker.world import camera, light, solids
from videothinker.world.camera import EYE, HEIGHT, WIDTH
from videothinker.world.simulate import Rollout
from videothinker.world.solids import Array, Pose, Ray
from videothinker.world.table import HALF_SIZE, SHAPES

_LARGE = WIDTH * HEIGHT // 4
"""From this many pixels per picture on, 4 rays per pixel find the outlines and one the shade; below, 16 rays do both."""
_RAYS_CPU, _RAYS_GPU = 32 * WIDTH * HEIGHT, 4096 * WIDTH * HEIGHT
"""Rays of one pass, counted over whole pictures: few enough for a CPU's cache, and many enough to fill a GPU."""
_WHITEST = 254
"""Brightest value that an object gets: 1 below white, so that rounding twice cannot pass 255."""


def frames(
    rollouts: Sequence[Rollout],
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    indices: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    device: str | None = None,
) -> Array:
    """The pictures of some frames of some roll-outs.

    Args:
        rollouts: B roll-outs; they may differ in their objects. Colours are read from `Rollout.objects`, so a recoloured scene
            is the same roll-out with other objects.
        width, height: size of the pictures in pixels; they show the same view, resized to these sides whatever their ratio.
        indices: frames to draw: (T,) for all roll-outs, or (B, T) with one row per roll-out. None draws every frame.
        device: None draws with numpy; a torch device ("cpu", "cuda", ...) draws with torch on that device.

    Returns:
        (B, T, 3, height, width) uint8 RGB: an array, or a tensor on `device`. The two agree within rounding; where an edge
        passes within rounding of a ray, that ray may fall on either side of it.
    """
    chosen = _chosen(rollouts, indices)
    n_frames = chosen.size
    xp = _namespace(device)
    pictures = xp.empty((n_frames, 3, height, width), dtype=xp.uint8, device=device)
    start = 0
    for part in stream(rollouts, width=width, height=height, indices=chosen, device=device):
        pictures[start : start + len(part)] = part
        start += len(part)
    return xp.reshape(pictures, (*chosen.shape, 3, height, width))


def stream(
    rollouts: Sequence[Rollout],
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    indices: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    device: str | None = None,
) -> Iterator[Array]:
    """`frames` in batches: yields (F, 3, height, width) uint8, scene after scene."""
    stage = _Stage.set_up(rollouts, _chosen(rollouts, indices), width, height)
    canvas = _Canvas(device, width, height)
    on_cpu = device is None or device == "cpu"
    step = max(1, (_RAYS_CPU if on_cpu else _RAYS_GPU) // (width * height * canvas.outline.shape[1]))
    for start in range(0, len(stage.shape), step):
        yield canvas.draw(stage.part(start, start + step))


def _chosen(rollouts: Sequence[Rollout], indices: Sequence[int] | NDArray[np.integer[Any]] | None) -> NDArray[np.integer[Any]]:
    """(B, T): the frames to draw of each roll-out; one row for all is repeated."""
    chosen = np.arange(len(rollouts[0].location)) if indices is None else np.asarray(indices)
    return np.broadcast_to(chosen, (len(rollouts), chosen.shape[-1]))


def _namespace(device: str | None) -> Any:
    if device is None:
        return numpy_namespace
    import array_api_compat.torch

    return array_api_compat.torch


_Rows = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Which objects of a stage are meant, (N,) each: the frame of each one, and its place in that frame."""


class _Stage(NamedTuple):
    """Where everything is in F frames with n places each; a place without an object has empty boxes."""

    shape: NDArray[np.int64]
    """(F, n): index in SHAPES."""
    metal: NDArray[np.bool_]
    """(F, n): True for metal, False for rubber."""
    color: NDArray[np.float64]
    """(F, n, 3): 0 to 255."""
    place: NDArray[np.float64]
    """(F, n, 3): centre, relative to the eye."""
    yaw: NDArray[np.float64]
    """(F, n): radians."""
    box: NDArray[np.int64]
    """(F, n, 4): left, top, right and bottom of the pixels that the object may touch; right and bottom are excluded."""
    shadow: NDArray[np.int64]
    """(F, n, 4): the same for its shadow."""

    @classmethod
    def set_up(cls, rollouts: Sequence[Rollout], chosen: NDArray[np.integer[Any]], width: int, height: int) -> "_Stage":
        n = max(len(rollout.objects) for rollout in rollouts)
        size = (*chosen.shape, n)
        # Roll-outs with fewer objects leave places empty: those lie behind the camera, where `_bounds` finds no pixels.
        place, yaw = np.tile(2 * EYE, (*size, 1)), np.zeros(size)
        looks = np.zeros((len(rollouts), n, 5))
        for scene, (rollout, picked) in enumerate(zip(rollouts, chosen, strict=True)):
            k = len(rollout.objects)
            place[scene, :, :k] = rollout.location[picked]
            yaw[scene, :, :k] = rollout.orientation[picked]
            for i, thing in enumerate(rollout.objects):
                looks[scene, i] = SHAPES.index(thing.shape), thing.material == "metal", *light.PALETTE[thing.color]
        looks = np.broadcast_to(looks[:, None], (*size, 5))  # the same in all T frames
        shape, metal, color = looks[..., 0].astype(np.int64), looks[..., 1] > 0, looks[..., 2:]

        x, y, z = np.moveaxis(place, -1, 0)
        angle = np.where(shape == SHAPES.index("cube"), yaw, 0)
        # Corners of the box around each object, on an axis before (B, T, n). A sphere gets the corners of a square that faces
        # the camera, made larger because perspective draws a sphere up to 5 % larger near the picture's corners.
        cx, cy, cz = HALF_SIZE * np.array(list(itertools.product((-1, 1), repeat=3))).T[..., None, None, None]
        right = np.cos(angle) * cx - np.sin(angle) * cy
        deep = np.sin(angle) * cx + np.cos(angle) * cy
        flat = shape == SHAPES.index("sphere")
        square = 1.06 * np.stack([cx, cy])
        box = _bounds(
            x + np.where(flat, camera.UP[0] * square[1], right),
            y + np.where(flat, square[0], deep),
            z + np.where(flat, camera.UP[2] * square[1], cz),
            width,
            height,
        )
        # The same corners serve for two squares on the floor: the lower four go around the foot, the upper four around the
        # place where the top casts its shadow. `reach` is half the side of the square around a turned cube.
        reach = (abs(np.cos(angle)) + abs(np.sin(angle))) * HALF_SIZE
        margin = np.where(cz < 0, light.CONTACT, light.SOFT_EDGE[1] / 2)
        fall_x, fall_y = (np.where(cz < 0, 0, 2 * HALF_SIZE * fall) for fall in light.FALL)
        spread = reach + margin
        shadow = _bounds(x + fall_x + np.sign(cx) * spread, y + fall_y + np.sign(cy) * spread, 0.0, width, height)

        fields: tuple[Any, ...] = (shape, metal, color, place - EYE, yaw, box, shadow)
        # (B, T, ...) becomes (F, ...): from here on a frame is a frame, whatever its scene.
        return cls(*(field.reshape(chosen.size, *field.shape[2:]) for field in fields))

    def part(self, start: int, stop: int) -> "_Stage":
        """Frames from `start` up to, but not including, `stop`."""
        fields: tuple[Any, ...] = self
        return _Stage(*(field[start:stop] for field in fields))

    def overlaps(self) -> NDArray[np.bool_]:
        """(F, n, n) bool: True where object j (last axis) may hide some of object i, because their boxes overlap."""
        left, top, right, bottom = np.moveaxis(self.box, -1, 0)
        # Two ranges overlap exactly if each begins before the other ends. [:, :, None] is object i, [:, None] is object j.
        meet: NDArray[np.bool_] = (left[:, :, None] < right[:, None]) & (left[:, None] < right[:, :, None])
        meet &= (top[:, :, None] < bottom[:, None]) & (top[:, None] < bottom[:, :, None])
        meet &= ~np.eye(meet.shape[1], dtype=np.bool_)  # nothing hides itself
        return meet

    def source(self, overlaps: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """(F, n): the latest frame since which an object looks the same, and with `overlaps` also all that may hide it."""
        look = np.concatenate(
            [self.shape[..., None], self.metal[..., None], self.color, self.place, self.yaw[..., None]], axis=-1
        )
        fresh = np.ones(self.shape.shape, dtype=np.bool_)
        fresh[1:] = np.any(look[1:] != look[:-1], axis=-1)  # it looks different than one frame before
        if overlaps is not None:
            hidden = overlaps & fresh[:, None]  # (F, i, j): j, which may hide i, looks different
            fresh[1:] |= np.any(hidden[1:] | (overlaps[1:] != overlaps[:-1]), axis=-1)
        # Frame numbers grow, so their running maximum carries the last fresh frame on until the next one.
        frame = np.arange(len(fresh))[:, None]
        return np.maximum.accumulate(np.where(fresh, frame, 0), axis=0)


def _bounds(x: Any, y: Any, z: Any, width: int, height: int) -> NDArray[np.int64]:
    """(..., 4): left, top, right and bottom of the pixels that the hull of (k, ...) points touches; all 0 if there are none."""
    column, row, depth = camera.see(x, y, z)
    column, row = column * (width / WIDTH), row * (height / HEIGHT)
    edges = [np.floor(column.min(0)), np.floor(row.min(0)), np.ceil(column.max(0)), np.ceil(row.max(0))]
    left, top, right, bottom = (np.clip(edge, 0, limit) for edge, limit in zip(edges, (width, height) * 2, strict=True))
    touches = (left < right) & (top < bottom) & (depth.min(0) > 0)
    return np.where(touches[..., None], np.stack([left, top, right, bottom], axis=-1), 0).astype(np.int64)


class _Windows(NamedTuple):
    """N windows of one size, each in one frame of the pass."""

    corner: Array
    """(3, N): frame, top, left."""
    height: int
    width: int

    def pick(self, rows: Array) -> "_Windows":
        """The windows with these numbers, (K,)."""
        return self._replace(corner=self.corner[:, rows])


class _Canvas:
    """Draws stages as pictures of one size on one device."""

    def __init__(self, device: str | None, width: int, height: int) -> None:
        self.xp, self.device, self.width, self.height = _namespace(device), device, width, height
        self.outline = self._spread(4 if width * height >= _LARGE else 16)
        self.inside = self._spread(1) if width * height >= _LARGE else self.outline
        n_inside = self.inside.shape[1]
        # Distance between neighbouring rays on an object at the origin: edges are rounded over it.
        self.blur = camera.DISTANCE / camera.FOCAL * WIDTH / width / n_inside**0.5
        self.floor = self._put(light.floor(width, height))
        if device is None:
            # glibc returns freed memory to the system at once, and a quarter of the time goes into getting it back, until it
            # has seen a block of this size freed: then it keeps twice as much. The block itself is never touched.
            np.empty(31 << 20, dtype=np.uint8)

    def draw(self, stage: _Stage) -> Array:
        """The pictures of all frames of a stage, (F, 3, height, width) uint8."""
        xp = self.xp
        ground = self._ground(stage)
        pictures = xp.empty((len(stage.shape), 3, self.height, self.width), dtype=xp.uint8, device=self.device)
        pictures[...] = xp.astype(ground + 0.5, xp.uint8)[:, None]
        overlaps = stage.overlaps()
        source = stage.source(overlaps)
        drawn = stage.box[..., 0] < stage.box[..., 2]
        for shape in range(len(SHAPES)):
            for metal in (False, True):
                frame, place = np.nonzero(drawn & (stage.shape == shape) & (stage.metal == metal))
                if len(frame):
                    self._add_objects(stage, (frame, place), overlaps, source, ground, pictures)
        return pictures

    def _ground(self, stage: _Stage) -> Array:
        """(F, height, width): the floor with all shadows, 0 to 255."""
        xp = self.xp
        ground = xp.tile(self.floor, (len(stage.shape), 1, 1))
        drawn = stage.shadow[..., 0] < stage.shadow[..., 2]
        source = stage.source()
        for shape in range(len(SHAPES)):
            frame, place = np.nonzero(drawn & (stage.shape == shape))
            if not len(frame):
                continue
            windows = self._windows(frame, stage.shadow[frame, place])
            once, back = self._once((frame, place), source)
            column, row = self._positions(windows.pick(self._index(once)), self._spread(1))
            pose = self._pose(stage, (frame[once], place[once]))
            x, y = light.floor_points(column, row)
            # Points of the floor are relative to the origin and poses to the eye; `shadow` wants points relative to the foot.
            # There is one ray per pixel, and [:, 0] drops its axis.
            lit = 1 - light.shadow(SHAPES[shape], x - (pose.x + float(EYE[0])), y - pose.y, pose)[:, 0]
            blocks = self._blocks(ground, windows)
            for some in self._apart(frame):
                at = tuple(windows.pick(some).corner)
                blocks[at] = blocks[at] * lit[back[some]]
        return ground

    def _add_objects(
        self,
        stage: _Stage,
        rows: _Rows,
        overlaps: NDArray[np.bool_],
        source: NDArray[np.int64],
        ground: Array,
        pictures: Array,
    ) -> None:
        """Draw objects of one shape and material.

        Args:
            rows: frames and places of these objects.
            overlaps, source: as the stage gives them.
            ground: (F, height, width), the floor behind the objects.
            pictures: (F, 3, height, width) uint8, changed in place. Each object adds to a pixel how far its visible share
                changes the floor there, so the order of objects does not matter.
        """
        xp = self.xp
        shape, metal = SHAPES[stage.shape[rows][0]], bool(stage.metal[rows][0])
        all_windows = self._windows(rows[0], stage.box[rows])
        once, back = self._once(rows, source)
        # Below, arrays have one row per object that is computed, and [back] repeats these rows for all that look the same.
        windows = all_windows.pick(self._index(once))
        first = rows[0][once], rows[1][once]
        pose = self._pose(stage, first)
        ray = self._rays(windows, self.outline)
        meeting = solids.meet(shape, ray, pose)
        seen = xp.astype(self._visible(stage, first, overlaps[first], ray, meeting), xp.float32)
        covered = xp.sum(seen, axis=1) / seen.shape[1]
        if self.inside is not self.outline:
            seen = covered[:, None]
            ray = self._rays(windows, self.inside)
            meeting = solids.meet(shape, ray, pose)
        own, white = (light.metal if metal else light.rubber)(ray, meeting.surface(self.blur), pose)
        own = xp.sum(own * seen, axis=1) / seen.shape[1]
        white = xp.sum(white * seen, axis=1) * (255 / seen.shape[1])
        most = _WHITEST * covered
        # Minus 0.5, which makes the change 0.5 larger, so that the cast to whole numbers below rounds to the nearest.
        behind = self._blocks(ground, all_windows)[tuple(all_windows.corner)] * covered[back] - 0.5
        color = self._put(stage.color[first].T)[:, :, None, None]
        rounds = list(self._apart(rows[0]))
        for channel, tone in enumerate(color):
            change = xp.minimum(tone * own + white, most)[back] - behind
            blocks = self._blocks(pictures[:, channel], all_windows)
            for some in rounds:
                at = tuple(all_windows.pick(some).corner)
                blocks[at] = xp.astype(blocks[at] + change[some], xp.uint8)

    def _visible(self, stage: _Stage, rows: _Rows, neighbours: NDArray[np.bool_], ray: Ray, meeting: solids.Meeting) -> Array:
        """(N, S, h, w) bool: the rays that hit the object and none of its `neighbours` (N, n) in front of it."""
        visible, depth = meeting.hit, None
        for shape in range(len(SHAPES)):
            row, place = np.nonzero(neighbours & (stage.shape[rows[0]] == shape))
            if not len(row):
                continue
            mine = self._index(row)  # pairs of an object and a neighbour: an object with two neighbours is there twice
            x, y, z = ray
            other = solids.meet(SHAPES[shape], (x[mine], y[mine], z[mine]), self._pose(stage, (rows[0][row], place)))
            depth = meeting.depth() if depth is None else depth
            clear = ~(other.hit & (other.depth() < depth[mine]))
            for some in self._apart(row):
                at = mine[some]
                visible[at] = visible[at] & clear[some]
        return visible

    def _once(self, rows: _Rows, source: NDArray[np.int64]) -> tuple[Any, Array]:
        """Rows that look alike are computed once: the first row of each kind, and for every row the number of its kind."""
        # One whole number for each pair of source frame and place.
        keys = source[rows] * source.shape[1] + rows[1]
        _, once, back = np.unique(keys, return_index=True, return_inverse=True)
        return once, self._index(back)

    def _windows(self, frame: NDArray[np.int64], box: NDArray[np.int64]) -> _Windows:
        """Windows around boxes (N, 4), all as large as the largest box and moved to lie within the picture."""
        width, height = (box[:, 2:] - box[:, :2]).max(axis=0).tolist()
        corner = np.stack([frame, np.minimum(box[:, 1], self.height - height), np.minimum(box[:, 0], self.width - width)])
        return _Windows(self._index(corner), height, width)

    def _blocks(self, buffer: Array, windows: _Windows) -> Array:
        """A view of all blocks of the windows' size in (F, height, width), indexed by frame, top and left: (F, ..., ..., h, w).

        Reading and writing whole blocks is several times faster than indexing every pixel.
        """
        if self.device is None:
            return sliding_window_view(buffer, (windows.height, windows.width), axis=(1, 2), writeable=True)
        return buffer.unfold(1, windows.height, 1).unfold(2, windows.width, 1)

    def _spread(self, n: int) -> Array:
        """(2, n, 1, 1): places of n = 2^k rays within a pixel, no two in one row or column (Hammersley's points)."""
        # Reversing the binary digits of 0 ... n - 1 gives the same numbers in an order that jumps about evenly.
        turned = [int(f"{i:b}".zfill(n.bit_length() - 1)[::-1], 2) for i in range(n)]
        return self._put((np.array([range(n), turned]) + 0.5)[..., None, None] / n)

    def _positions(self, windows: _Windows, spread: Array) -> tuple[Array, Array]:
        """Where rays pass through the 480x320 picture: columns (N, S, 1, w) and rows (N, S, h, 1)."""
        xp = self.xp
        _, top, left = windows.corner[:, :, None, None, None]  # (N, 1, 1, 1) each: window, ray, row, column
        column = left + xp.arange(windows.width, device=self.device) + spread[0]
        row = top + xp.arange(windows.height, device=self.device)[:, None] + spread[1]
        return column * (WIDTH / self.width), row * (HEIGHT / self.height)

    def _rays(self, windows: _Windows, spread: Array) -> Ray:
        """Rays through the windows' pixels."""
        return camera.rays(*self._positions(windows, spread))

    def _pose(self, stage: _Stage, rows: _Rows) -> Pose:
        place, yaw = stage.place[rows], stage.yaw[rows]
        values = np.stack([*place.T, place @ camera.FORWARD, np.cos(yaw), np.sin(yaw)])
        return Pose(*self._put(values)[:, :, None, None, None])  # (N, 1, 1, 1) each, beside rays (N, S, h, w)

    def _apart(self, frame: NDArray[np.int64]) -> Iterator[Array]:
        """Split rows into rounds such that no value of `frame` occurs twice in a round.

        Blocks of one frame may overlap, and one assignment to overlapping blocks would keep only the last value.
        """
        order = np.argsort(frame, kind="stable")
        # In sorted order equal values are neighbours; `first` is where each one begins, so `turn` counts 0, 1, 2, ... in each.
        first = np.searchsorted(frame[order], frame[order])
        turn = np.arange(len(frame)) - first
        for k in range(int(turn.max()) + 1):
            yield self._index(order[turn == k])

    def _put(self, values: NDArray[np.float64]) -> Array:
        """Numbers in single precision on the device."""
        return self.xp.asarray(values.astype(np.float32), device=self.device)

    def _index(self, values: NDArray[np.int64]) -> Array:
        return self.xp.asarray(values, device=self.device)
