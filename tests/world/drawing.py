"""Scenes to draw: roll-outs written down by hand."""

import numpy as np
from numpy.typing import ArrayLike

from videothinker.records import SceneObject
from videothinker.world.simulate import Rollout
from videothinker.world.table import HALF_SIZE

Look = tuple[str, str, str]
"""Colour, material, shape."""


def rollout(looks: list[Look], spots: ArrayLike, yaws: ArrayLike = 0.0) -> Rollout:
    """Objects that stand at (x, y) `spots`, (n, 2), for one frame, turned by `yaws`."""
    spots = np.asarray(spots, dtype=np.float32).reshape(1, len(looks), 2)
    location = np.concatenate([spots, np.full_like(spots[..., :1], HALF_SIZE)], axis=-1)
    still = np.zeros_like(location)
    objects = tuple(SceneObject(i, *look) for i, look in enumerate(looks))
    yaw = np.broadcast_to(np.asarray(yaws, dtype=np.float32), location.shape[:2])
    return Rollout(objects, location, yaw, still, still, ())
