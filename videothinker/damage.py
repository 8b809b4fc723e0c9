"""Clips shown damaged: what is left of a question when its clip says less, or says it the other way round.

Each damage takes one thing from a clip and leaves the rest, so it names the axis on which an answer relies:

| damage | axis | what is left |
|---|---|---|
| blank | language | question, options and what everybody knows |
| frozen | appearance | how things look at the beginning; nothing happens |
| shuffled, reversed | order | everything that is seen, but not when |
| mirrored | mirror | everything; only left and right have changed places |
| evidence | evidence | everything but the moments that the question's label rests on |
| elsewhere | evidence | everything but as many other moments |

A damaged clip has as many frames of the same size as the clip, at the same times, so a model gives it the same tokens and
positions. Damage is done to frames before they are sized for a model. The same names mean the same pictures in training
(`objective.reference_clip`) and wherever else a clip is shown damaged.
"""

import hashlib
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from videothinker.demux import Frames  # which loads a decoder, and settings need the names alone

GREY = 128
"""Value of each channel of a blank frame, of 0 to 255: the middle, which says as little as can be said."""


class Damage(StrEnum):
    """One way to damage a clip."""

    BLANK = "blank"
    """Mid-grey frames."""
    FROZEN = "frozen"
    """The first frame at all times."""
    SHUFFLED = "shuffled"
    """The frames in another order, drawn by hash from a key."""
    REVERSED = "reversed"
    """The frames from the last to the first."""
    MIRRORED = "mirrored"
    """Each frame with left and right exchanged."""
    EVIDENCE = "evidence"
    """Mid-grey frames where the clip shows what a question's label rests on (`masked`)."""
    ELSEWHERE = "elsewhere"
    """As many mid-grey frames elsewhere, drawn by hash from a key (`masked`)."""

    @property
    def is_mask(self) -> bool:
        """Whether it needs to know where a question's evidence is, so that it differs among the questions about a clip."""
        return self in (Damage.EVIDENCE, Damage.ELSEWHERE)


AXES = {
    Damage.BLANK: "language",
    Damage.FROZEN: "appearance",
    Damage.SHUFFLED: "order",
    Damage.REVERSED: "order",
    Damage.MIRRORED: "mirror",
    Damage.EVIDENCE: "evidence",
    Damage.ELSEWHERE: "evidence",
}
"""What an answer that survives the damage relies on."""


def damaged(frames: "Frames", damage: Damage, key: str = "") -> "Frames":
    """The clip so damaged, a new array of the same shape; `frames`, (n, height, width, 3), stay as they are.

    key: what the order of `Damage.SHUFFLED` is drawn from, such as "42 10000:12" for a seed and a question: the same key gives
    clips of the same length the same order. The other damages have no use for it. Masks are not made here (`masked`).
    """
    return _WAYS[damage](frames, key)


def blank(frames: "Frames") -> "Frames":
    """Mid-grey frames."""
    import numpy as np  # here, as in the others: the names of damages are read where a quick --help needs them

    return np.full_like(frames, GREY)


def frozen(frames: "Frames") -> "Frames":
    """The first frame as often as there are frames."""
    import numpy as np

    return np.repeat(frames[:1], len(frames), axis=0)


def shuffled(frames: "Frames", key: str) -> "Frames":
    """The frames in the first order drawn from `key` that shows another clip; all frames alike leave no other to show."""
    import numpy as np

    if (frames == frames[:1]).all():
        return frames.copy()
    for draw in range(1000):  # at least half of all orders show another clip if two frames differ
        found: Frames = frames[order(len(frames), f"{key} {draw}")]
        if not np.array_equal(found, frames):
            return found
    raise AssertionError("a thousand orders of frames that differ were all their own")


def reversed_in_time(frames: "Frames") -> "Frames":
    """The frames from the last to the first."""
    return frames[::-1].copy()


def mirrored(frames: "Frames") -> "Frames":
    """Each frame with left and right exchanged."""
    import numpy as np

    return np.ascontiguousarray(frames[:, :, ::-1])


def masked(frames: "Frames", which: Sequence[int]) -> "Frames":
    """Mid-grey at these positions, everything else as it is."""
    found = frames.copy()
    found[list(which)] = GREY
    return found


Span = tuple[float, float]
"""A part of a clip in seconds from its beginning, both ends included."""


def mask(damage: Damage, times: Sequence[float], evidence: Sequence[Span], key: str) -> tuple[int, ...]:
    """Positions of the frames that `Damage.EVIDENCE` or `Damage.ELSEWHERE` hides, increasing.

    times: when each frame is shown, in seconds. evidence: the parts of the clip that count as evidence. Hidden is every frame
    within one of them, and of each the frame nearest to its middle, which may lie outside where few frames are shown; elsewhere
    as many of the others, drawn from `key`. Where evidence takes more than half of the frames, only the half nearest to the
    middle of a part is hidden, and the rest counts as elsewhere: so both views always hide the same number, and never the same
    frame.
    """
    distance = {
        position: min(abs(at - (start + end) / 2) for start, end in evidence)
        for position, at in enumerate(times)
        if any(start <= at <= end for start, end in evidence)
    }
    for start, end in evidence:
        nearest = min(range(len(times)), key=lambda position: abs(times[position] - (start + end) / 2))
        distance[nearest] = min(abs(times[nearest] - (low + high) / 2) for low, high in evidence)
    others = [position for position in range(len(times)) if position not in distance]
    n_hidden = min(len(distance), len(times) // 2)
    ranked = sorted(distance, key=lambda position: (distance[position], position))
    if damage is Damage.EVIDENCE:
        return tuple(sorted(ranked[:n_hidden]))
    drawn = [others[place] for place in order(len(others), key)[:n_hidden]]
    return tuple(sorted([*drawn, *ranked[len(ranked) - (n_hidden - len(drawn)) :]]))


def order(n: int, key: str) -> list[int]:
    """0 to n - 1 in an order drawn from `key`: by a hash of the key and the number, so no library's stream of random numbers
    can change it."""
    return sorted(range(n), key=lambda i: hashlib.sha256(f"{key} {i}".encode()).digest())


_WAYS: "dict[Damage, Callable[[Frames, str], Frames]]" = {
    Damage.BLANK: lambda frames, _: blank(frames),
    Damage.FROZEN: lambda frames, _: frozen(frames),
    Damage.SHUFFLED: shuffled,
    Damage.REVERSED: lambda frames, _: reversed_in_time(frames),
    Damage.MIRRORED: lambda frames, _: mirrored(frames),
}
