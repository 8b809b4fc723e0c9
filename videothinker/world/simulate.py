"""Simulate a scene: what happens, what happens after the clip ends, and what would have happened without each object.

Every roll-out starts from the same initial state, so the counterfactual is exact: it is the same physics with one object
left out, and not an estimate. The physics is Chipmunk's (pymunk), two-dimensional and seen from above; `docs/world.md` says
why, with the measurement. A scene is a function of (seed, scene index) alone.

What counts as one collision: the first contact of two objects, at a moment when both are in view. A pair that stays in touch,
or meets again, is the same event, so "the collision between X and Y" names at most one; contacts out of view move objects but
are not events, for nobody sees them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videothinker.records import Collision, SceneObject


@dataclass(frozen=True)
class Rollout:
    """What happens in one clip. T = `table.N_FRAMES` frames, n objects present, in the order of `objects`."""

    objects: tuple[SceneObject, ...]
    """The objects present, by object_id; a roll-out without an object keeps the others' ids."""
    location: NDArray[np.float32]
    """(T, n, 3): centre, CLEVRER's units, z up."""
    orientation: NDArray[np.float32]
    """(T, n): yaw in radians, counter-clockwise seen from above."""
    velocity: NDArray[np.float32]
    """(T, n, 3): units a second."""
    angular_velocity: NDArray[np.float32]
    """(T, n, 3): radians a second; only z is not 0."""
    collisions: tuple[Collision, ...]
    """First contacts in view, by frame, then ids."""
