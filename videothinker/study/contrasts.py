"""Values of what a study compares: sums of arms, each times its weight, and an arm against a family of arms.

Everything here is linear in the scores of single questions, paired by seed and by question, so that the intervals of `seeds.py`
and `crossed.py` apply.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from videothinker.diagnose import estimates
from videothinker.records import Estimate, Rule
from videothinker.records.study import Value
from videothinker.study.crossed import Columns, crossed_change, crossed_sum
from videothinker.study.scores import Arms, Scored, side_by_side
from videothinker.study.seeds import over_seeds

Weights = Sequence[tuple[str, float]]
"""Arms and their weights, whose sum is 0 with 1 on the positive side."""
Beside = Mapping[int, Mapping[str, Scored]]
"""By seed and arm, the runs that `side_by_side` has put on the same questions."""


def level(runs: Mapping[int, Scored], measure: str, rule: Rule) -> Value:
    """One measure of an arm, from its run of every seed."""
    columns = {seed: (one.column(measure), one.where(measure, rule), one.scene) for seed, one in runs.items()}
    return _pooled(columns, estimates.clustered_share)


def contrast(weights: Weights, by_arm: Arms, measure: str, rule: Rule) -> Value:
    """One measure of a sum of arms."""
    columns = _sums(weights, side_by_side([arm for arm, _ in weights], by_arm), measure, rule)
    value, crossed = _pooled(columns, estimates.clustered_change), crossed_change(columns)
    return msgspec.structs.replace(value, crossed=crossed.estimate, spread=crossed.spread)


def _sums(weights: Weights, beside: Beside, measure: str, rule: Rule) -> dict[int, Columns]:
    """By seed the sum of each question's scores, whether it counts, and its scene."""
    found: dict[int, Columns] = {}
    for seed, runs in beside.items():
        first = next(iter(runs.values()))
        values = np.sum([weight * runs[arm].column(measure) for arm, weight in weights], axis=0)
        found[seed] = (values, first.where(measure, rule), first.scene)
    return found


def _pooled(
    columns: Mapping[int, Columns],
    clustered: Callable[[estimates.Floats, estimates.Floats, estimates.Codes], Estimate],
) -> Value:
    """Each seed's mean, the mean of all seeds' questions together, and the mean over seeds.

    clustered: `clustered_share` for scores, `clustered_change` for differences.
    """
    per_seed = {seed: clustered(*estimates.share(values, where), scene) for seed, (values, where, scene) in columns.items()}
    values, where, scene = _end_to_end(columns)
    return Value(
        per_seed=per_seed,
        scenes=clustered(*estimates.share(values, where), scene),
        seeds=over_seeds([one.value for one in per_seed.values()]),
        n_scenes=len(np.unique(scene[where])),
    )


def _end_to_end(columns: Mapping[int, Columns]) -> Columns:
    """All seeds' questions as if they were one seed's.

    Scenes keep their codes: a scene stays one cluster over all seeds, because what makes it hard does so for every seed.
    """
    if not columns:
        return np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.int64)
    values, where, scene = (np.concatenate(parts) for parts in zip(*columns.values(), strict=True))
    return values, where, scene


class Control(NamedTuple):
    """What a family has at some observational accuracy: a mixture of two neighbours on its curve."""

    lower: str
    upper: str
    weight: float
    """Of the upper one, from 0 to 1."""
    slope: float
    """Inferential accuracy per observational accuracy, from the one to the other."""


class Point(NamedTuple):
    """A member of a family on its curve, as fractions."""

    observational: float
    inferential: float


def control_at(observational: float, curve: Mapping[str, Point]) -> Control | None:
    """Where a family's curve, drawn from member to member in the order of observational accuracy, has that accuracy.

    None if it lies beyond the members on either side.
    """
    order = sorted(curve, key=lambda name: curve[name])
    for lower, upper in pairwise(order):
        (low, below), (high, above) = curve[lower], curve[upper]
        if low <= observational <= high and low < high:
            return Control(lower, upper, (observational - low) / (high - low), (above - below) / (high - low))
    return None


class Against(NamedTuple):
    """An arm compared with a family."""

    value: Value | None
    reason: str = ""
    """Why there is no value; empty also where runs are missing."""


def against_family(arm: str, family: Sequence[str], by_arm: Arms, rule: Rule) -> Against:
    """Inferential accuracy of an arm less that of the family at the arm's own observational accuracy.

    With the neighbours L and U on the family's curve, the weight w of U and the slope s between them, and d = arm less
    (1 - w) L less w U, the statistic is

        inferential mean of d - s * observational mean of d

    Its second mean is 0 by the choice of w, and it is there for the interval: where the arm's observational accuracy comes out
    higher by chance, less inferential accuracy was to be expected. To first order this is all that chance does, to w and to s
    as well (the derivative of the whole statistic is that of this sum with w and s held). Which two members are the neighbours
    is taken as known.

    All arms are taken on their common seeds and questions.
    """
    beside = side_by_side([arm, *family], by_arm)
    if not beside:
        return Against(None)
    curve = {name: Point(*(_mean(name, beside, measure, rule) for measure in _BOTH)) for name in (arm, *family)}
    here = curve.pop(arm).observational
    if not all(math.isfinite(value) for point in curve.values() for value in point):
        return Against(None, "one of the categories has no questions")
    if (control := control_at(here, curve)) is None:
        low, high = (100 * end(point.observational for point in curve.values()) for end in (min, max))
        if low == high:
            return Against(None, f"all of the family have one observational accuracy, {low:.1f} %, so there is no curve")
        return Against(
            None, f"its observational accuracy, {100 * here:.1f} %, is beyond what the family has, {low:.1f} to {high:.1f} %"
        )
    weights = [(arm, 1.0), (control.lower, control.weight - 1), (control.upper, -control.weight)]
    observational, inferential = (_sums(weights, beside, measure, rule) for measure in _BOTH)
    return Against(_sum_of_means([1.0, -control.slope], [inferential, observational]))


_BOTH = ("observational", "inferential")


def _mean(name: str, beside: Beside, measure: str, rule: Rule) -> float:
    """A measure of one arm over all seeds' questions; NaN over none."""
    columns = _end_to_end(_sums([(name, 1.0)], beside, measure, rule))
    return float(columns[0][columns[1]].mean()) if columns[1].any() else math.nan


def _sum_of_means(factors: Sequence[float], means: Sequence[Mapping[int, Columns]]) -> Value:
    """The sum of several mean changes over the same seeds and questions, each times its factor."""

    def clustered(parts: Sequence[Columns]) -> Estimate:
        return estimates.clustered_sum(factors, [estimates.share(values, where) for values, where, _ in parts], parts[0][2])

    per_seed = {seed: clustered([mean[seed] for mean in means]) for seed in means[0]}
    crossed = crossed_sum(factors, means)
    return Value(
        per_seed=per_seed,
        scenes=clustered([_end_to_end(mean) for mean in means]),
        seeds=over_seeds([one.value for one in per_seed.values()]),
        crossed=crossed.estimate,
        spread=crossed.spread,
        n_scenes=0 if crossed.spread is None else crossed.spread.n_scenes,
    )
