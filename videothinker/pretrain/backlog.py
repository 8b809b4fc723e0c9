"""Lessons mixed: clips picked at random from a backlog that is filled up as they go, and their sequences shuffled."""

from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np

from videothinker.pretrain.course import Material, join
from videothinker.pretrain.packing import PackedLessons
from videothinker.pretrain.scenes import Ints
from videothinker.pretrain.variants import DrawnClips


class Picked(NamedTuple):
    """A round: C clips, and all sequences about them as S steps of B sequences."""

    clips: DrawnClips
    clip: Ints
    """(S, B): the clip that each sequence is about."""
    packed: PackedLessons
    """(S, B, L)."""


def pick(
    read: Callable[[int], Material],
    *,
    n_clips: int,
    n_sequences: int,
    size: int,
    growth: int,
    rng: np.random.Generator,
) -> Generator[Picked, None, None]:
    """Rounds without end, each of `n_clips` clips; those that were picked leave the backlog, and new ones take their places.

    The backlog begins as one round and grows by `growth` clips per round up to `size`, so that the first step need not wait.

    read: gives the next n clips, with sequences about them. n_sequences: of a step, B.
    """
    backlog = read(n_clips)
    while True:
        n, per_clip = backlog.packed.ids.shape[:2]
        picked = rng.permutation(n)[:n_clips]
        # The round's sequences are numbered clip by clip: quotient and remainder of a number say which clip it is about, and
        # which of the clip's sequences it is.
        order = rng.permutation(n_clips * per_clip).reshape(-1, n_sequences)
        clip, which = np.divmod(order, per_clip)
        yield Picked(backlog.clips.take(picked), clip, backlog.packed.take((picked[clip], which)))
        backlog.put(picked, read(n_clips))
        if n < size:
            backlog = join([backlog, read(min(size - n, growth))])
