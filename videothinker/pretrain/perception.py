"""Dense supervision of the vision tower: every visual token is asked what is where.

A lesson's tokens say little about pictures: that "red" is right does not tell the tower where red was. Here every visual token
(28 x 28 pixels of a pair of frames) names the object whose centre lies in its cell, and says where in the cell. The heads that
answer exist only while training; the checkpoint is the plain model.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)

from videothinker.pretrain.scenes import MOST_OBJECTS
from videothinker.pretrain.variants import N_LOOKS, DrawnClips, look_number
from videothinker.world import camera
from videothinker.world.table import HALF_SIZE

NONE = N_LOOKS
"""Class of a cell in which no object's centre lies."""
_N_OFFSETS = 4
_EMPTY = 6
"""About how many cells are empty for each one with an object."""
_BEND = 0.1
"""Error, in cells, above which the smooth L1 loss of offsets is linear."""


class Targets(NamedTuple):
    """What the n visual tokens of C clips show."""

    look: Any
    """(C, n) int64: the object's `variants.look_number`, or `NONE`."""
    offset: Any
    """(C, n, 4) float32: the object's centre relative to the cell's top left corner, in cells: x and y in the pair's first
    frame, then x and y in its second. It means nothing where there is no object."""


def targets(clips: DrawnClips, grid: tuple[int, int, int]) -> Targets:
    """The targets of clips, as arrays.

    The second frame of a pair decides on the cell, as it does in a track. Of two objects in a cell the nearer one counts.

    grid: `Layout.grid`, t pairs of frames, each of h x w patches; 2 x 2 patches make one token.
    """
    t, h, w = grid[0], grid[1] // 2, grid[2] // 2  # h and w in tokens, from here on
    n_clips = len(clips.looks)
    location = np.full((*clips.location.shape[:-1], 3), HALF_SIZE, np.float32)
    location[..., :2] = clips.location
    # (C, t, 2, 6, 3): by pair, frame of the pair and object; pixel column, pixel row and depth. Then from pixels to cells.
    seen = camera.project(location).reshape(n_clips, t, 2, MOST_OBJECTS, 3)
    x, y = seen[..., 0] * (w / camera.WIDTH), seen[..., 1] * (h / camera.HEIGHT)
    column, row = np.floor(x[:, :, 1]), np.floor(y[:, :, 1])
    there = np.arange(MOST_OBJECTS) < clips.n_objects[:, None, None]
    there = there & (seen[:, :, 1, :, 2] > 0) & (column >= 0) & (column < w) & (row >= 0) & (row < h)

    look = np.full((n_clips, t, h * w), NONE, np.int64)
    offset = np.zeros((n_clips, t, h * w, _N_OFFSETS), np.float32)
    # Objects from far to near, since nonzero lists them in this order and of two writes to one cell the last one stays.
    far_first = np.argsort(-seen[:, :, 1, :, 2], axis=-1)
    clip, pair, rank = np.nonzero(np.take_along_axis(there, far_first, axis=-1))
    thing = far_first[clip, pair, rank]
    left, top = column[clip, pair, thing], row[clip, pair, thing]
    cell = (top * w + left).astype(np.int64)
    look[clip, pair, cell] = look_number(clips.looks)[clip, thing]
    corner = np.stack([left, top, left, top], axis=-1)
    at = np.stack([x[clip, pair, 0, thing], y[clip, pair, 0, thing], x[clip, pair, 1, thing], y[clip, pair, 1, thing]], axis=-1)
    offset[clip, pair, cell] = at - corner
    return Targets(look.reshape(n_clips, -1), offset.reshape(n_clips, t * h * w, _N_OFFSETS))


class Heads(torch.nn.Linear):
    """One linear map from a visual token to the scores of all looks and the offsets of its object."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden, N_LOOKS + 1 + _N_OFFSETS)
        # The bias begins with how often cells are empty: with equal scores for all looks, it makes "none" _EMPTY times as
        # likely as all of them together. Otherwise the model would have to learn this first.
        with torch.no_grad():
            self.bias.zero_()
            self.bias[NONE] = math.log(_EMPTY * N_LOOKS)

    def loss(self, seen: torch.Tensor, targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of losses over (B, n, hidden) tokens, in nats, and how many of the cells with an object are named right.

        Divide both by the number of cells with an object: most cells have none, and their loss soon vanishes.
        """
        said = self(seen).float().flatten(0, 1)
        look, offset = targets.look.flatten(), targets.offset.flatten(0, 1)
        named, placed = said.split([N_LOOKS + 1, _N_OFFSETS], dim=-1)
        there = look != NONE
        off = F.smooth_l1_loss(placed, offset, reduction="none", beta=_BEND).sum(-1)
        right = (named.argmax(-1) == look) & there
        return F.cross_entropy(named, look, reduction="sum") + (off * there).sum(), right.sum()
