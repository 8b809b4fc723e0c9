"""Values of what a study compares: sums of arms, each times its weight, and an arm against a family of arms.

Everything here is linear in the scores of single questions, paired by seed and by question, so that the intervals of `seeds.py`
and `crossed.py` apply.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np

from videothinker.diagnose import estimates
from videothinker.records import Estimate, Rule
from videothinker.records.study_results import Value
from videothinker.study.crossed import Columns, crossed_change, crossed_sum
from videothinker.study.scores import Arms, Floats, Scored, side_by_side
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


def apart(arm: str, what: str, by_arm: Arms, rule: Rule) -> Value | None:
    """How much more an arm "thinks", or how much more it has "gain" by that, on inferential than on observational questions.

    The gain of a question is 1 where only the second answer is right and -1 where only the first one is. None if some run does
    not answer twice.
    """
    beside = side_by_side([arm], by_arm)
    if not beside or any(run[arm].first is None or run[arm].thinks is None for run in beside.values()):
        return None

    def column(run: Scored) -> Floats:
        found = run.thinks if what == "thinks" else run.exact - (0.0 if run.first is None else run.first)
        assert found is not None
        return found

    means = [
        {seed: (column(run[arm]), run[arm].where(pool, rule), run[arm].scene) for seed, run in beside.items()}
        for pool in ("inferential", "observational")
    ]
    return _sum_of_means([1.0, -1.0], means)


def shorter(arm: str, other: str, share: float, by_arm: Arms) -> Value | None:
    """An arm's tokens as a share of another's, less `share`: below 0 if it writes less than that.

    With R the ratio of the two means and m the other's mean, each question counts as (its tokens less R times the other's) / m
    + R - share: the mean of that is R - share, and to first order it moves with questions and trainings as the ratio does. An
    interval counts one more scene at m tokens. None if some reply's tokens were not counted.
    """
    beside = side_by_side([arm, other], by_arm)
    columns: dict[int, tuple[Floats, Floats]] = {}
    for seed, run in beside.items():
        mine, theirs = run[arm].tokens, run[other].tokens
        if mine is None or theirs is None:
            return None
        columns[seed] = mine, theirs
    if not columns:
        return None
    asked = {seed: run[arm].asked for seed, run in beside.items()}
    mine_of_all, theirs_of_all = (np.concatenate([columns[seed][i][asked[seed]] for seed in columns]) for i in (0, 1))
    mean = float(theirs_of_all.mean()) if len(theirs_of_all) else math.nan
    ratio = float(mine_of_all.mean()) / mean if mean else math.nan
    if not math.isfinite(ratio):
        return None
    influence = {
        # Where a question was not asked its tokens are not known, and NaN would spread from there.
        seed: (np.where(asked[seed], (mine - ratio * theirs) / mean + ratio - share, 0.0), asked[seed], beside[seed][arm].scene)
        for seed, (mine, theirs) in columns.items()
    }
    return _sum_of_means([1.0], [influence])


def thinking(runs: Mapping[int, Scored], rule: Rule) -> dict[str, dict[str, Any]]:
    """The fields of `records.study_results.Thinking` that are measured, of an arm's runs."""
    found: dict[str, dict[str, Any]] = {"second": {}, "tokens": {}}
    twice = all(run.first is not None and run.thinks is not None for run in runs.values())
    for pool in ("all", "observational", "inferential"):
        where = {seed: (run.where(pool, rule), run.scene) for seed, run in runs.items()}

        def mean(column: Callable[[Scored], Any], where: Any = where) -> Estimate:
            values, counts, scene = _end_to_end({seed: (column(run), *where[seed]) for seed, run in runs.items()})
            return estimates.clustered_change(*estimates.share(values, counts), scene)

        found["second"][pool] = mean(lambda run: run.exact)
        tokens = [run.tokens[where[seed][0]] for seed, run in runs.items() if run.tokens is not None]
        counted = np.concatenate(tokens) if tokens else np.zeros(0)
        found["tokens"][pool] = float(counted.mean()) if len(counted) and np.isfinite(counted).all() else None
        if twice:
            for name, column in _TWICE.items():
                found.setdefault(name, {})[pool] = mean(column)
    return found


_TWICE: dict[str, Callable[[Scored], Any]] = {
    "first": lambda run: run.first,
    "gain": lambda run: run.exact - (0.0 if run.first is None else run.first),
    "thinks": lambda run: run.thinks,
}


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
