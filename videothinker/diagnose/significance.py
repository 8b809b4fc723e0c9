"""Is a change between two checkpoints more than chance? An exact test over groups, and Holm's correction for many tests."""

import math
from collections.abc import Sequence

import numpy as np

from videothinker.diagnose.estimates import Codes, Floats, Mask

_FINEST = 2**15
"""Steps on which the sums of some groups' changes are counted; whole numbers that fit stay exact."""
_SCORE_STEPS = 2**30
"""Steps that the largest of sums that are not whole is counted in."""
_MANY = 200
"""Groups whose sum is so close to normal that it is taken for it where whole numbers do not fit."""


def sign_flip_p(changes: Codes) -> float | None:
    """Two-sided p-value of "the two checkpoints could be swapped in any group", exact for few groups.

    changes: (G,) whole numbers, what each group gained in sum. If the two answer alike, each group's change is as likely to
    have the other sign, whatever its size and however its questions depend on each other. The p-value is the share of all 2^G
    ways to choose the signs that lead as far from 0 as what was seen, or farther. Two groups with the same change: 2 of 4 ways,
    0.5. None with fewer than two groups. Groups in which nothing changed say nothing, and without any that did it is 1.
    """
    if len(changes) < 2:
        return None
    changed = changes[changes != 0]
    if len(changed) == 0:
        return 1.0
    total, divisor = int(np.abs(changed).sum()), int(np.gcd.reduce(changed))
    if total > divisor * _FINEST and len(changed) > _MANY:
        return math.erfc(abs(int(changed.sum())) / math.sqrt(2 * float(np.square(changed.astype(np.float64)).sum())))
    steps = np.rint(changed / max(divisor, total / _FINEST)).astype(np.int64)
    seen, farthest = abs(int(steps.sum())), int(np.abs(steps).sum())
    if seen == 0:
        return 1.0
    # A sum of independent +-size has the characteristic function prod cos(size * w). On a circle of 2 * farthest + 1 points no
    # two sums share a point, so its Fourier transform there is their distribution: point k for the sum k, the last ones for
    # -1, -2, .... It is real and even, so half of it is enough, and negative sums are as likely as positive ones.
    angles = 2 * np.pi / (2 * farthest + 1) * np.arange(farthest + 1)
    values = np.ones_like(angles)
    for size, count in zip(*np.unique(np.abs(steps), return_counts=True), strict=True):
        values *= np.cos(size * angles) ** count
    chances = np.fft.irfft(values, 2 * farthest + 1)
    least = 2.0 ** (1 - len(changed))  # all signs alike, one way or the other; what is below is rounding
    return min(max(2 * float(chances[seen : farthest + 1].sum()), least), 1.0)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction, in the same order; None (no test) stays None and does not count as a test."""
    tests = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(tests):
        largest = max(largest, min(1.0, (len(tests) - rank) * p))
        corrected[index] = largest
    return corrected


def sums_by_group(change: Floats, where: Mask, group: Codes) -> Codes:
    """What each group changed by in sum, (groups with such a question,): in whole questions, or where some are graded by score
    in parts of the largest sum, since `sign_flip_p` depends on proportions alone."""
    present = np.bincount(group, weights=where) > 0
    sums = np.bincount(group, weights=change * where)[present]
    if not np.array_equal(sums, np.rint(sums)):
        sums = np.rint(sums * (_SCORE_STEPS / np.abs(sums).max()))
    return sums.astype(np.int64)
