"""Statistics over seeds: t-intervals, and the rule by which a claim is confirmed.

Two things vary: which scenes were asked, and which seed trained. An interval clustered by scene says how the result would
move with other scenes and these runs; a t-interval over seeds says how it would move with other seeds and these scenes. A claim
about the method has to survive both at once, which the crossed interval says (`crossed.py`).
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import msgspec

from videothinker.diagnose.estimates import FEWEST_GROUPS
from videothinker.diagnose.student import t975
from videothinker.records import Estimate
from videothinker.records.study_results import Decision, Value

MINUS = "\u2212"


def over_seeds(values: Sequence[float | None]) -> Estimate:
    """Mean and 95 % t-interval of one value per seed: mean +- t(n - 1) * sd / sqrt(n), where sd divides by n - 1.

    None values are left out; a single one that remains has no interval, and over nothing there is no mean.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Estimate(known[0] if known else None, None, None)
    mean, stderr = fmean(known), stdev(known) / math.sqrt(len(known))
    reach = t975(len(known) - 1) * stderr
    return Estimate(mean, stderr, (mean - reach, mean + reach))


RULE = (
    "A comparison holds if its 95 % interval over scenes and seeds at once lies wholly on the claimed side of zero, or of the "
    "claim's own bound; it is reversed if it lies wholly on the other side. A claim is confirmed if all of its comparisons "
    "hold, refuted if any is reversed, and undecided otherwise; so a single seed decides nothing, and neither do fewer than "
    f"{FEWEST_GROUPS} scenes. Undecided means that neither was shown."
)
"""The rule of `decide` in words, as reports show it."""


def side(crossed: Estimate, n_scenes: int, bound: float = 0.0) -> int:
    """1 if the interval of a difference lies above the bound, -1 if it lies below, else 0; 0 too over fewer than 20 scenes."""
    if n_scenes < FEWEST_GROUPS or crossed.ci95 is None:
        return 0
    low, high = crossed.ci95
    return 1 if low > bound else -1 if high < bound else 0


def negative(value: Value) -> Value:
    """The difference with its two sides exchanged; an interval's bounds change sign and place."""

    def turn(one: Estimate) -> Estimate:
        ci95 = None if one.ci95 is None else (-one.ci95[1], -one.ci95[0])
        return Estimate(None if one.value is None else -one.value, one.stderr, ci95)

    per_seed = {seed: turn(one) for seed, one in value.per_seed.items()}
    turned = {name: turn(getattr(value, name)) for name in ("scenes", "seeds", "crossed")}
    return msgspec.structs.replace(value, per_seed=per_seed, **turned)


def decide(sides: Sequence[int]) -> Decision:
    """A claim's verdict from the `side` of each of its comparisons, with signs turned so that 1 is the claimed side."""
    if any(found < 0 for found in sides):
        return Decision.REFUTED
    return Decision.CONFIRMED if sides and all(found > 0 for found in sides) else Decision.UNDECIDED
