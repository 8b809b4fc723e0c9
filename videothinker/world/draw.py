"""Draw roll-outs: one renderer for films and for training batches, by ray casting at any size.

Each object is drawn in a window around it. Several rays a pixel find where the object is and whether another one hides it there
(a z-buffer by ray); the pixel gets that share of the object's colour. `solids.py` has the geometry, `light.py` the looks. The
same code runs on numpy and, where a device is named, on torch, through the array API. What is small (where objects are, which
pixels they touch) numpy computes in double precision for both; what is large (pixels) is computed in single precision.
"""

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

_PIXELS_CPU, _PIXELS_GPU = 8 * WIDTH * HEIGHT, 64 * WIDTH * HEIGHT
"""Pixels drawn in one pass: on a CPU few enough for its cache, on a GPU enough to fill it."""
_LARGE = WIDTH * HEIGHT // 4
"""From this many pixels a picture on, 4 rays a pixel find the outlines and one its shade; below, 16 rays do both."""

_WHITEST = 254
"""Brightest an object gets; 1 below white, so that rounding twice cannot pass 255."""


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
        width, height: size of the pictures in pixels: the same view resized, whatever the ratio of the sides.
        indices: frames to draw: (T,) for all roll-outs, or (B, T) with a row each. None: all.
        device: None draws with numpy, a torch device ("cpu", "cuda", ...) with torch on that device.

    Returns:
        (B, T, 3, height, width) uint8 RGB: an array, or a tensor on `device`. Both agree within rounding; where an edge passes
        within rounding of a ray, that ray may fall on either side of it.
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
    """`frames`, a few at a time: yields (F, 3, height, width) uint8, scene after scene."""
    stage = _Stage.set_up(rollouts, _chosen(rollouts, indices), width, height)
    canvas = _Canvas(device, width, height)
    on_cpu = device is None or device == "cpu"
    step = max(1, (_PIXELS_CPU if on_cpu else _PIXELS_GPU) // (width * height))
    for start in range(0, len(stage.shape), step):
        yield canvas.draw(stage.part(start, start + step))


def _chosen(rollouts: Sequence[Rollout], indices: Sequence[int] | NDArray[np.integer[Any]] | None) -> NDArray[np.integer[Any]]:
    """(B, T): the frames to draw of each roll-out."""
    chosen = np.arange(len(rollouts[0].location)) if indices is None else np.asarray(indices)
    return np.broadcast_to(chosen, (len(rollouts), chosen.shape[-1]))


def _namespace(device: str | None) -> Any:
    if device is None:
        return numpy_namespace
    import array_api_compat.torch

    return array_api_compat.torch


_Rows = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Some objects of a stage: their frames and their places, (N,) each."""


class _Stage(NamedTuple):
    """Where everything is in F frames, in n places a frame; a place without object has empty boxes."""

    shape: NDArray[np.int64]
    """(F, n): index in SHAPES."""
    metal: NDArray[np.bool_]
    """(F, n)."""
    color: NDArray[np.float64]
    """(F, n, 3): 0 to 255."""
    place: NDArray[np.float64]
    """(F, n, 3): centre, seen from the eye."""
    yaw: NDArray[np.float64]
    """(F, n)."""
    box: NDArray[np.int64]
    """(F, n, 4): left, top, right, bottom of the pixels that the object may touch, ends excluded."""
    shadow: NDArray[np.int64]
    """(F, n, 4): the same of its shadow."""

    @classmethod
    def set_up(cls, rollouts: Sequence[Rollout], chosen: NDArray[np.integer[Any]], width: int, height: int) -> "_Stage":
        size = (*chosen.shape, max(len(rollout.objects) for rollout in rollouts))
        shape, metal, color = np.zeros(size, np.int64), np.zeros(size, np.bool_), np.zeros((*size, 3))
        place, yaw = np.tile(2 * EYE, (*size, 1)), np.zeros(size)  # nobody: behind the camera
        for scene, (rollout, picked) in enumerate(zip(rollouts, chosen, strict=True)):
            for i, thing in enumerate(rollout.objects):
                shape[scene, :, i] = SHAPES.index(thing.shape)
                metal[scene, :, i] = thing.material == "metal"
                color[scene, :, i] = light.PALETTE[thing.color]
                place[scene, :, i] = rollout.location[picked, i]
                yaw[scene, :, i] = rollout.orientation[picked, i]

        corners = HALF_SIZE * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        turn = np.where(shape == SHAPES.index("cube"), yaw, 0)[..., None]
        hull = np.empty((*size, 8, 3))
        hull[..., 0] = np.cos(turn) * corners[:, 0] - np.sin(turn) * corners[:, 1]
        hull[..., 1] = np.sin(turn) * corners[:, 0] + np.cos(turn) * corners[:, 1]
        hull[..., 2] = corners[:, 2]
        reach = abs(hull[..., :2]).max(axis=(-2, -1))[..., None, None]
        # A sphere's box is a square that faces the camera; perspective draws it up to 5 % larger near the picture's corners.
        hull[shape == SHAPES.index("sphere")] = 1.06 * corners @ np.stack([np.zeros(3), camera.RIGHT, camera.UP])
        box = _bounds(place[..., None, :] + hull, width, height)

        square = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
        foot = place[..., None, :2] + square * (reach + light.CONTACT)
        top = place[..., None, :2] + square * (reach + light.SOFT_EDGE[1] / 2) + 2 * HALF_SIZE * np.array(light.FALL)
        rim = np.concatenate([foot, top], axis=-2)
        shadow = _bounds(np.concatenate([rim, np.zeros_like(rim[..., :1])], axis=-1), width, height)

        fields: tuple[Any, ...] = (shape, metal, color, place - EYE, yaw, box, shadow)
        return cls(*(field.reshape(chosen.size, *field.shape[2:]) for field in fields))

    def part(self, start: int, stop: int) -> "_Stage":
        """Some of the frames."""
        fields: tuple[Any, ...] = self
        return _Stage(*(field[start:stop] for field in fields))

    def overlaps(self) -> NDArray[np.bool_]:
        """(F, n, n): may object j hide some of object i?"""
        left, top, right, bottom = np.moveaxis(self.box, -1, 0)
        meet: NDArray[np.bool_] = (left[:, :, None] < right[:, None]) & (left[:, None] < right[:, :, None])
        meet &= (top[:, :, None] < bottom[:, None]) & (top[:, None] < bottom[:, :, None])
        meet &= ~np.eye(meet.shape[1], dtype=np.bool_)
        return meet

    def source(self, overlaps: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """(F, n): the latest frame since which an object, and with `overlaps` all that may hide it, looks the same."""
        look = np.concatenate(
            [self.shape[..., None], self.metal[..., None], self.color, self.place, self.yaw[..., None]], axis=-1
        )
        fresh = np.ones(self.shape.shape, dtype=np.bool_)
        fresh[1:] = np.any(look[1:] != look[:-1], axis=-1)
        if overlaps is not None:
            hidden = overlaps & fresh[:, None]
            fresh[1:] |= np.any(hidden[1:] | (overlaps[1:] != overlaps[:-1]), axis=-1)
        frame = np.arange(len(fresh))[:, None]
        return np.maximum.accumulate(np.where(fresh, frame, 0), axis=0)


def _bounds(points: NDArray[np.float64], width: int, height: int) -> NDArray[np.int64]:
    """(..., 4): left, top, right, bottom of the pixels that the hull of (..., k, 3) points touches; all 0 if none."""
    seen = camera.project(points)
    scale, limit = np.array([width / WIDTH, height / HEIGHT]), np.array([width, height])
    low = np.clip(np.floor(seen[..., :2].min(axis=-2) * scale), 0, limit)
    high = np.clip(np.ceil(seen[..., :2].max(axis=-2) * scale), 0, limit)
    outside = np.any(low >= high, axis=-1) | (seen[..., 2].min(axis=-1) <= 0)
    return np.where(outside[..., None], 0, np.concatenate([low, high], axis=-1)).astype(np.int64)


class _Windows(NamedTuple):
    """N windows of one size, each in a frame of the pass."""

    corner: Array
    """(3, N): frame, top, left."""
    height: int
    width: int

    def pick(self, rows: Array) -> "_Windows":
        """Some of them."""
        return self._replace(corner=self.corner[:, rows])


class _Canvas:
    """Draws passes of one size on one device."""

    def __init__(self, device: str | None, width: int, height: int) -> None:
        self.xp, self.device, self.width, self.height = _namespace(device), device, width, height
        self.outline = self._spread(4 if width * height >= _LARGE else 16)
        self.inside = self._spread(1) if width * height >= _LARGE else self.outline
        n_inside = self.inside.shape[1]
        self.blur = camera.DISTANCE / camera.FOCAL * WIDTH / width / n_inside**0.5  # between rays, on an object at the origin
        self.floor = self._put(light.floor(width, height))

    def draw(self, stage: _Stage) -> Array:
        """(F, 3, height, width) uint8."""
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
            rows: their frames and places.
            overlaps, source: of the stage.
            ground: (F, height, width), the floor behind them.
            pictures: (F, 3, height, width) uint8, changed in place. A pixel gets from each object the change against the floor
                that this object's visible share makes, so the order of objects does not matter.
        """
        xp = self.xp
        shape, metal = SHAPES[stage.shape[rows][0]], bool(stage.metal[rows][0])
        all_windows = self._windows(rows[0], stage.box[rows])
        once, back = self._once(rows, source)
        windows = all_windows.pick(self._index(once))
        first = rows[0][once], rows[1][once]
        pose = self._pose(stage, first)
        ray = self._rays(windows, self.outline)
        meeting = solids.meet(shape, ray, pose)
        seen = xp.astype(self._visible(stage, first, overlaps, windows, meeting), xp.float32)
        covered = xp.sum(seen, axis=1) / seen.shape[1]
        if self.inside is not self.outline:
            seen = covered[:, None]
            ray = self._rays(windows, self.inside)
            meeting = solids.meet(shape, ray, pose)
        depth = meeting.depth()
        own, white = (light.metal if metal else light.rubber)(ray, depth, meeting.surface(depth, self.blur), pose)
        own = xp.sum(own * seen, axis=1) / seen.shape[1]
        white = xp.sum(white * seen, axis=1) * (255 / seen.shape[1])
        most = _WHITEST * covered
        behind = self._blocks(ground, all_windows)[tuple(all_windows.corner)] * covered[back]
        color = self._put(stage.color[first].T)[:, :, None, None]
        rounds = list(self._apart(rows[0]))
        for channel, tone in enumerate(color):
            change = xp.minimum(tone * own + white, most)[back] - behind
            blocks = self._blocks(pictures[:, channel], all_windows)
            for some in rounds:
                at = tuple(all_windows.pick(some).corner)
                blocks[at] = xp.astype(blocks[at] + change[some] + 0.5, xp.uint8)

    def _visible(
        self, stage: _Stage, rows: _Rows, overlaps: NDArray[np.bool_], windows: _Windows, meeting: solids.Meeting
    ) -> Array:
        """(N, S, h, w) bool: rays that hit the object with no other object before it."""
        visible, depth = meeting.hit, None
        neighbours = overlaps[rows]
        for shape in range(len(SHAPES)):
            others = neighbours & (stage.shape[rows[0]] == shape)
            turn = np.cumsum(others, axis=1)
            for k in range(1, int(turn.max()) + 1):  # the k-th such neighbour of each object that has as many
                row, place = np.nonzero(others & (turn == k))
                some = self._index(row)
                pose = self._pose(stage, (rows[0][row], place))
                other = solids.meet(SHAPES[shape], self._rays(windows.pick(some), self.outline), pose)
                depth = meeting.depth() if depth is None else depth
                visible[some] = visible[some] & ~(other.hit & (other.depth() < depth[some]))
        return visible

    def _once(self, rows: _Rows, source: NDArray[np.int64]) -> tuple[Any, Array]:
        """Rows that look alike are computed once: the first of each, and for every row the number of its first."""
        keys = source[rows] * source.shape[1] + rows[1]
        _, once, back = np.unique(keys, return_index=True, return_inverse=True)
        return once, self._index(back)

    def _windows(self, frame: NDArray[np.int64], box: NDArray[np.int64]) -> _Windows:
        """Windows around boxes (N, 4), all as large as the largest and within the picture."""
        width, height = (box[:, 2:] - box[:, :2]).max(axis=0).tolist()
        corner = np.stack([frame, np.minimum(box[:, 1], self.height - height), np.minimum(box[:, 0], self.width - width)])
        return _Windows(self._index(corner), height, width)

    def _blocks(self, buffer: Array, windows: _Windows) -> Array:
        """All blocks of the windows' size in (F, height, width), a view by frame, top and left: (F, ..., ..., h, w).

        Reading and writing whole blocks is several times faster than an index a pixel.
        """
        if self.device is None:
            return sliding_window_view(buffer, (windows.height, windows.width), axis=(1, 2), writeable=True)
        return buffer.unfold(1, windows.height, 1).unfold(2, windows.width, 1)

    def _spread(self, n: int) -> Array:
        """(2, n, 1, 1): places of n rays within a pixel, each in a row and a column of its own (Hammersley's points)."""
        turned = [int(f"{i:b}".zfill(n.bit_length() - 1)[::-1], 2) for i in range(n)]
        return self._put((np.array([range(n), turned]) + 0.5)[..., None, None] / n)

    def _positions(self, windows: _Windows, spread: Array) -> tuple[Array, Array]:
        """Where rays pass the 480x320 picture: columns (N, S, 1, w) and rows (N, S, h, 1)."""
        xp = self.xp
        _, top, left = windows.corner[:, :, None, None, None]
        column = left + xp.arange(windows.width, device=self.device) + spread[0]
        row = top + xp.arange(windows.height, device=self.device)[:, None] + spread[1]
        return column * (WIDTH / self.width), row * (HEIGHT / self.height)

    def _rays(self, windows: _Windows, spread: Array) -> Ray:
        """Rays through the windows' pixels."""
        return camera.rays(*self._positions(windows, spread))

    def _pose(self, stage: _Stage, rows: _Rows) -> Pose:
        place, yaw = stage.place[rows], stage.yaw[rows]
        values = np.stack([*place.T, place @ camera.FORWARD, np.cos(yaw), np.sin(yaw)])
        return Pose(*self._put(values)[:, :, None, None, None])

    def _apart(self, frame: NDArray[np.int64]) -> Iterator[Array]:
        """Rows in rounds such that no frame occurs twice in a round: what is written in a round never overlaps."""
        order = np.argsort(frame, kind="stable")
        first = np.searchsorted(frame[order], frame[order])
        turn = np.arange(len(frame)) - first
        for k in range(int(turn.max()) + 1):
            yield self._index(order[turn == k])

    def _put(self, values: NDArray[np.float64]) -> Array:
        """Numbers in single precision on the device."""
        return self.xp.asarray(values.astype(np.float32), device=self.device)

    def _index(self, values: NDArray[np.int64]) -> Array:
        return self.xp.asarray(values, device=self.device)
