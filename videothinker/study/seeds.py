"""Statistics over seeds: t-intervals, and the rule by which a claim is confirmed.

Two things vary: which scenes were asked, and which seed trained. An interval clustered by scene says how the result would
move with other scenes and these runs; a t-interval over seeds says how it would move with other seeds and these scenes. A claim
about the method has to survive both.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from videothinker.diagnose.estimates import FEWEST_GROUPS
from videothinker.diagnose.student import t975
from videothinker.records import Estimate
from videothinker.records.study import Decision


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
    "A comparison holds if both of its 95 % intervals, over scenes (all seeds pooled) and over seeds (t), lie wholly on the "
    "claimed side of zero; it is reversed if both lie wholly on the other side. A claim is confirmed if all of its comparisons "
    "hold, refuted if any is reversed, and undecided otherwise; so a single seed decides nothing, and neither do fewer than "
    f"{FEWEST_GROUPS} scenes. Undecided means that neither was shown. The intervals are not corrected for the number of claims."
)
"""The rule of `decide` in words, as reports show it."""


def side(scenes: Estimate, seeds: Estimate, n_scenes: int) -> int:
    """1 if both intervals of a difference lie above zero, -1 if both lie below, else 0; 0 too over fewer than 20 scenes."""
    intervals = (scenes.ci95, seeds.ci95)
    if n_scenes < FEWEST_GROUPS or any(interval is None for interval in intervals):
        return 0
    signs = {1 if low > 0 else -1 if high < 0 else 0 for low, high in filter(None, intervals)}
    return signs.pop() if len(signs) == 1 else 0


def decide(sides: Sequence[int]) -> Decision:
    """A claim's verdict from the `side` of each of its comparisons, with signs turned so that 1 is the claimed side."""
    if any(found < 0 for found in sides):
        return Decision.REFUTED
    return Decision.CONFIRMED if sides and all(found > 0 for found in sides) else Decision.UNDECIDED
