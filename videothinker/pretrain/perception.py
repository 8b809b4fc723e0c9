"""Dense supervision of the vision tower: what is where, asked of every visual token.

A lesson's tokens say little about pictures: that "red" is right tells the tower nothing about where red was. Here every visual
token (28 x 28 pixels of a pair of frames) names the object whose centre lies in its cell, and where in the cell. The heads that
say so exist only while training; the checkpoint is the plain model.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)

from videothinker.pretrain.lessons import N_LOOKS, Clips, place_of
from videothinker.pretrain.scenes import MOST_OBJECTS
from videothinker.world import camera
from videothinker.world.table import HALF_SIZE

NONE = N_LOOKS
"""Class of a cell in which no object's centre lies."""
_N_OFFSETS = 4
_EMPTY = 6
"""Empty cells for each one with an object, about."""
_BEND = 0.1
"""Error, in cells, from which on the offsets' smooth L1 loss is linear."""


class Targets(NamedTuple):
    """What the n visual tokens of C clips show."""

    look: Any
    """(C, n) int64: `lessons.place_of` the object, or `NONE`."""
    offset: Any
    """(C, n, 4) float32: its centre from the cell's top left corner, in cells: x, y in the pair's first frame, x, y in its
    second. Anything where there is no object."""


def targets(clips: Clips, grid: tuple[int, int, int]) -> Targets:
    """The targets, as arrays, of clips seen as `Layout.grid`: t pairs of frames, h and w patches, 2 x 2 of them a token.

    The second frame of a pair decides on the cell, as it does in a track. Of two objects in a cell the nearer one counts.
    """
    t, h, w = grid[0], grid[1] // 2, grid[2] // 2
    n_clips = len(clips.looks)
    location = np.full((*clips.location.shape[:-1], 3), HALF_SIZE, np.float32)
    location[..., :2] = clips.location
    seen = camera.project(location).reshape(n_clips, t, 2, MOST_OBJECTS, 3)
    x, y = seen[..., 0] * (w / camera.WIDTH), seen[..., 1] * (h / camera.HEIGHT)
    column, row = np.floor(x[:, :, 1]), np.floor(y[:, :, 1])
    there = np.arange(MOST_OBJECTS) < clips.n_objects[:, None, None]
    there = there & (seen[:, :, 1, :, 2] > 0) & (column >= 0) & (column < w) & (row >= 0) & (row < h)

    look = np.full((n_clips, t, h * w), NONE, np.int64)
    offset = np.zeros((n_clips, t, h * w, _N_OFFSETS), np.float32)
    far_first = np.argsort(-seen[:, :, 1, :, 2], axis=-1)
    clip, pair, rank = np.nonzero(np.take_along_axis(there, far_first, axis=-1))
    thing = far_first[clip, pair, rank]
    left, top = column[clip, pair, thing], row[clip, pair, thing]
    cell = (top * w + left).astype(np.int64)
    look[clip, pair, cell] = place_of(clips.looks)[clip, thing]  # of two in a cell the last one written stays
    corner = np.stack([left, top, left, top], axis=-1)
    at = np.stack([x[clip, pair, 0, thing], y[clip, pair, 0, thing], x[clip, pair, 1, thing], y[clip, pair, 1, thing]], axis=-1)
    offset[clip, pair, cell] = at - corner
    return Targets(look.reshape(n_clips, -1), offset.reshape(n_clips, t * h * w, _N_OFFSETS))


class Heads(torch.nn.Linear):
    """From a visual token to its object's look and offsets."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden, N_LOOKS + 1 + _N_OFFSETS)
        with torch.no_grad():  # begin with how often cells are empty, or learning that comes first
            self.bias.zero_()
            self.bias[NONE] = math.log(_EMPTY * N_LOOKS)

    def loss(self, seen: torch.Tensor, targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
        """Over (B, n, hidden) tokens the sum of losses, and how many of the cells with an object are named right.

        Both are to be divided by the number of cells with an object: most cells have none, and soon say so.
        """
        said = self(seen).float().flatten(0, 1)
        look, offset = targets.look.flatten(), targets.offset.flatten(0, 1)
        named, placed = said.split([N_LOOKS + 1, _N_OFFSETS], dim=-1)
        there = look != NONE
        off = F.smooth_l1_loss(placed, offset, reduction="none", beta=_BEND).sum(-1)
        right = (named.argmax(-1) == look) & there
        return F.cross_entropy(named, look, reduction="sum") + (off * there).sum(), right.sum()
