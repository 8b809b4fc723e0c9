"""The same scenes in other colours and mirrored: physics depends on neither, so these are new scenes at no cost."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker.pretrain.scenes import Bools, Ints, Scenes
from videothinker.records import SceneObject
from videothinker.world.simulate import Rollout
from videothinker.world.table import COLORS, HALF_SIZE, MATERIALS, SHAPES

N_LOOKS = len(COLORS) * len(MATERIALS) * len(SHAPES)
"""How many objects can be told apart: 48."""


def look_number(looks: Ints) -> Ints:
    """(...) numbers in [0, 48) of (..., 3) looks, in the order in which the words of a thought name objects.

    The number is (colour, material, shape) read as digits of mixed base, so comparing numbers compares colours first.
    """
    color, material, shape = np.moveaxis(looks.astype(np.int64), -1, 0)
    number: Ints = (color * len(MATERIALS) + material) * len(SHAPES) + shape
    return number


def look_of(number: Ints) -> tuple[Ints, Ints, Ints]:
    """Colours, materials and shapes of `look_number`'s numbers, (...) each."""
    color, rest = np.divmod(number, len(MATERIALS) * len(SHAPES))
    material, shape = np.divmod(rest, len(SHAPES))
    return color, material, shape


class DrawnClips(NamedTuple):
    """What is seen in B clips, in the axes of `Scenes`."""

    looks: Ints
    """(B, 6, 3)."""
    n_objects: Ints
    """(B,)."""
    location: NDArray[np.float32]
    """(B, 16, 6, 2)."""
    yaw: NDArray[np.float32]
    """(B, 16, 6)."""

    def take(self, chosen: Any) -> "DrawnClips":
        """The chosen clips: an index, a mask or a slice."""
        return DrawnClips(*(field[chosen] for field in self))

    def rollouts(self) -> list[Rollout]:
        """The 16 frames that a model gets, as `world.draw` takes them. Speeds are empty, since no picture shows them."""
        location = np.full((*self.location.shape[:-1], 3), HALF_SIZE, np.float32)  # everything stands on the table
        location[..., :2] = self.location
        still = np.empty(0, np.float32)
        rollouts = []
        for i, (looks, n) in enumerate(zip(self.looks.tolist(), self.n_objects.tolist(), strict=True)):
            things = tuple(SceneObject(j, COLORS[c], MATERIALS[m], SHAPES[s]) for j, (c, m, s) in enumerate(looks[:n]))
            rollouts.append(Rollout(things, location[i, :, :n], self.yaw[i, :, :n], still, still, ()))
        return rollouts


class Variants(NamedTuple):
    """B scenes, each with a permutation of the colours, and perhaps mirrored."""

    scenes: Scenes
    colors: Ints
    """(B, 8): the new colour of each colour, as an index of COLORS."""
    mirrored: Bools
    """(B,)."""

    def take(self, chosen: Any) -> "Variants":
        """The chosen variants: an index, a mask or a slice."""
        return Variants(self.scenes.take(chosen), self.colors[chosen], self.mirrored[chosen])

    def looks(self) -> Ints:
        """(B, 6, 3): `Scenes.looks` in the new colours."""
        looks = self.scenes.looks.copy()
        # Each scene has a permutation of its own, so the look-up goes along the axis of colours, scene by scene.
        looks[..., 0] = np.take_along_axis(self.colors, looks[..., 0], axis=1)
        return looks

    def clips(self) -> DrawnClips:
        """What is seen. A mirror turns the signs of y, which points to the right on the screen, and of every angle."""
        side = np.where(self.mirrored, -1, 1).astype(np.float32)[:, None, None]  # against frames and objects
        location = self.scenes.location * np.stack([np.ones_like(side), side], axis=-1)
        return DrawnClips(self.looks(), self.scenes.n_objects, location, self.scenes.yaw * side)


def at_random(scenes: Scenes, rng: np.random.Generator) -> Variants:
    """Each scene with its colours permuted at random, and mirrored half of the time.

    A permutation keeps which objects share a colour, so every name still fits exactly one object.
    """
    n = len(scenes.looks)
    colors = rng.permuted(np.tile(np.arange(len(COLORS), dtype=np.int8), (n, 1)), axis=1)
    return Variants(scenes, colors, rng.random(n) < 0.5)


def as_they_are(scenes: Scenes) -> Variants:
    """The scenes in their own colours, not mirrored."""
    n = len(scenes.looks)
    return Variants(scenes, np.tile(np.arange(len(COLORS), dtype=np.int8), (n, 1)), np.zeros(n, np.bool_))
