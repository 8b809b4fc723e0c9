"""Shares, changes and gaps with 95 % intervals, clustered by group. Pure arithmetic; docs/metrics.md has the formulas.

A normal interval trusts the spread that a sample shows: where every answer is right it shows none, and where a few groups fail
it shows too little. So every interval here is computed as if one group more had come out wholly the other way, and reaches as
many standard errors as Student's t asks for. `benchmarks/coverage.py` measures how often the intervals hold the truth.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker.diagnose.student import t975
from videothinker.records import Estimate

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]
Column = tuple[Floats, Floats]
"""Numerator and denominator of a ratio, (n,) each."""

NOTHING = Estimate(None, None, None)
"""A share over no questions."""
FEWEST_GROUPS = 20
"""With fewer groups nothing is concluded from an interval: a handful of clips is not a sample of all clips."""


def share(column: Floats, where: Mask) -> Column:
    """Numerator and denominator of a column's mean over some of the questions."""
    return column * where, where.astype(np.float64)


def clustered_share(numerator: Floats, denominator: Floats, cluster: Codes) -> Estimate:
    """sum(numerator) / sum(denominator), a share of something: the interval lies within [0, 1] and always has a width.

    All of shape (n,), 0 <= numerator <= denominator; `cluster` holds non-negative codes. A mean has a denominator of ones. With
    residuals r = numerator - value * denominator summed by cluster to R_g, stderr^2 = G / (G - 1) * sum(R_g^2) /
    sum(denominator)^2, where G counts the clusters with a positive denominator. The interval is Wilson's, with the number of
    independent observations that this standard error speaks for.
    """
    return _estimate([1.0], [_share((numerator, denominator), cluster)])


def clustered_change(change: Floats, denominator: Floats, cluster: Codes) -> Estimate:
    """sum(change) / sum(denominator), a mean of paired differences, -denominator <= change <= denominator.

    Standard error as of `clustered_share`; the interval is the t-interval with one group more that changed wholly, within
    [-1, 1].
    """
    return _estimate([1.0], [_change((change, denominator), cluster)])


def clustered_gap(first: Column, second: Column, cluster: Codes) -> Estimate:
    """Share `first` minus share `second` over the same n questions, clustered.

    The two have clusters in common, so their residuals are subtracted before they are squared: what a scene does to both
    cancels. The interval combines those of the two shares (Zou and Donner's MOVER).
    """
    return _estimate([1.0, -1.0], [_share(first, cluster), _share(second, cluster)])


def clustered_gap_change(first: Column, second: Column, cluster: Codes) -> Estimate:
    """Mean change `first` minus mean change `second`, as `clustered_gap` is of two shares; within [-2, 2]."""
    return clustered_sum([1.0, -1.0], [first, second], cluster)


def clustered_sum(factors: Sequence[float], changes: Sequence[Column], cluster: Codes) -> Estimate:
    """The sum of mean changes over the same n questions, each times its factor, as `clustered_gap_change` is of 1 and -1."""
    return _estimate(factors, [_change(change, cluster) for change in changes])


def clustered_macro(column: Floats, pools: Sequence[Mask], cluster: Codes) -> Estimate:
    """Mean over pools of a column's share in each pool, every pool with the same weight; pools over nothing are left out.

    All of shape (n,). The interval combines those of the pools, so that a pool of few clips is as uncertain as it is.
    """
    parts = [_share(share(column, where), cluster) for where in pools if where.any()]
    return _estimate([1 / len(parts)] * len(parts), parts) if parts else NOTHING


def clustered_macro_change(change: Floats, pools: Sequence[Mask], cluster: Codes) -> Estimate:
    """Mean over pools of the mean paired change in each, as `clustered_macro` is of shares; within [-1, 1]."""
    parts = [_change(share(change, where), cluster) for where in pools if where.any()]
    return _estimate([1 / len(parts)] * len(parts), parts) if parts else NOTHING


def clustered_auc(score: Floats, positive: Mask, cluster: Codes) -> Estimate:
    """Chance that a positive has a higher score than a negative, ties counting half: the area under the ROC curve.

    All of shape (n,). Standard error from each one's placement among the other kind, summed by cluster (Obuchowski 1997), times
    G / (G - 1). The interval is Wilson's as of `clustered_share`; one cluster more is counted among the scarcer kind.
    """
    high, low = score[positive], score[~positive]
    if not len(high) or not len(low):
        return NOTHING
    value = float(_placement(high, low).mean())
    n_clusters = len(np.unique(cluster))
    if n_clusters < 2:
        return Estimate(value, None, None)
    influence = _by_cluster(_auc_moves(score, positive), cluster)
    n_even = min(_n_even(positive.astype(np.float64), cluster), _n_even((~positive).astype(np.float64), cluster))
    one_more = max(value, 1 - value) / n_even
    variance = _variance(influence, n_clusters)
    n_effective = (value * (1 - value) + one_more**2 * n_even) / (variance + one_more**2)
    return Estimate(value, math.sqrt(variance), _wilson(value, n_effective, t975(n_clusters - 1)))


def clustered_auc_gain(score: Floats, than: Floats, positive: Mask, cluster: Codes) -> Estimate:
    """How much larger the `clustered_auc` of one score is than that of another over the same questions, within [-1, 1].

    What a question does to both cancels, for the two influences are subtracted before they are summed by cluster. The interval
    is the t-interval with one cluster more, of the scarcer kind, that only one of the scores puts right.
    """
    n_clusters = len(np.unique(cluster))
    one, other = (clustered_auc(each, positive, cluster).value for each in (score, than))
    if one is None or other is None:
        return NOTHING
    value = one - other
    if n_clusters < 2:
        return Estimate(value, None, None)
    moves = _auc_moves(score, positive) - _auc_moves(than, positive)
    variance = _variance(_by_cluster(moves, cluster), n_clusters)
    n_even = min(_n_even(kind.astype(np.float64), cluster) for kind in (positive, ~positive))
    reach = t975(n_clusters - 1) * math.sqrt(variance + 1 / n_even**2)
    return Estimate(value, math.sqrt(variance), (max(value - reach, -1.0), min(value + reach, 1.0)))


def clustered_mean(values: Floats, cluster: Codes) -> Estimate:
    """The mean of values (n,) without bounds, with the t-interval clustered; None over nothing, no interval of one cluster.

    Nothing says how far one cluster more could move such a mean, so unlike the others this interval trusts the spread that the
    sample shows.
    """
    found = _ratio((values, np.ones(len(values))), cluster) if len(values) else None
    if found is None:
        return NOTHING
    value, influence, weight, _ = found
    n_clusters = int(np.count_nonzero(weight))
    if n_clusters < 2:
        return Estimate(value, None, None)
    stderr = math.sqrt(_variance(influence, n_clusters))
    reach = t975(n_clusters - 1) * stderr
    return Estimate(value, stderr, (value - reach, value + reach))


def clustered_kappa(one: Codes, other: Codes, cluster: Codes) -> Estimate:
    """Cohen's kappa of two labellings of the same n items: (p_o - p_e) / (1 - p_e), in [-1, 1].

    one, other: codes of the categories, (n,). p_o is the share labelled alike and p_e what two labellings with these shares of
    categories would have alike by chance. None where p_e is 1: both put everything into the same category. The standard error
    is that of Fleiss, Cohen and Everitt (1969), written as each item's influence and summed by cluster. The interval is the
    t-interval with one cluster more that disagrees wholly.
    """
    alike = (one == other).astype(np.float64)
    n_kinds = int(max(one.max(), other.max())) + 1 if len(one) else 0
    shares, others = (np.bincount(each, minlength=n_kinds) / max(len(one), 1) for each in (one, other))
    observed, chance = float(alike.mean()) if len(one) else 0.0, float(shares @ others)
    if not len(one) or chance > 1 - 1e-12:
        return NOTHING
    value = (observed - chance) / (1 - chance)
    n_clusters = len(np.unique(cluster))
    if n_clusters < 2:
        return Estimate(value, None, None)
    # kappa = 1 - (1 - p_o) / (1 - p_e), so its derivative is 1 / (1 - p_e) by p_o and -(1 - p_o) / (1 - p_e)^2 by p_e.
    of_chance = others[one] + shares[other] - 2 * chance
    moves = (alike - observed) / (1 - chance) - (1 - observed) / (1 - chance) ** 2 * of_chance
    variance = _variance(_by_cluster(moves / len(one), cluster), n_clusters)
    one_more = 1 / (_n_even(np.ones(len(one)), cluster) * (1 - chance))
    reach = t975(n_clusters - 1) * math.sqrt(variance + one_more**2)
    return Estimate(value, math.sqrt(variance), (max(value - reach, -1.0), min(value + reach, 1.0)))


def _auc_moves(score: Floats, positive: Mask) -> Floats:
    """How far each of (n,) scores moves the area under the ROC curve. There are both positives and others."""
    high, low = score[positive], score[~positive]
    above, below = _placement(high, low), 1 - _placement(low, high)
    value = float(above.mean())
    moves = np.zeros(len(score))
    moves[positive] = (above - value) / len(high)
    moves[~positive] = (below - value) / len(low)
    return moves


def _placement(some: Floats, others: Floats) -> Floats:
    """For each of `some` the share of `others` below it, ties counting half."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, some, side=side) for side in ("left", "right"))
    return (below + up_to) / (2 * len(others))


def _n_even(denominator: Floats, cluster: Codes) -> float:
    """The number of equally large clusters that would be as even (Kish)."""
    return 1 / float(np.square(_by_cluster(denominator / denominator.sum(), cluster)).sum())


class _Part(NamedTuple):
    """A ratio, and what its uncertainty rests on."""

    value: float
    low: float
    high: float
    """The ends of its interval; over one cluster all that is possible."""
    influence: Floats
    """By cluster: how far it moves the value, R_g / sum(denominator)."""
    one_more: float
    """How far one cluster more, of ordinary size and wholly the other way, would move it."""
    weight: Floats
    """By cluster: its share of the denominator."""


def _share(column: Column, cluster: Codes) -> _Part | None:
    found = _ratio(column, cluster)
    if found is None:
        return None
    value, influence, weight, n_even = found
    one_more = max(value, 1 - value) / n_even
    n_clusters = int(np.count_nonzero(weight))
    if n_clusters < 2:
        return _Part(value, 0.0, 1.0, influence, one_more, weight)
    # The number of independent observations whose share would be as uncertain: value (1 - value) / variance. One cluster more
    # adds to both; where all are right it alone is left, and the clusters are what there is to count.
    variance = _variance(influence, n_clusters) + one_more**2
    n_effective = (value * (1 - value) + one_more**2 * n_even) / variance
    low, high = _wilson(value, n_effective, t975(n_clusters - 1))
    return _Part(value, low, high, influence, one_more, weight)


def _change(column: Column, cluster: Codes) -> _Part | None:
    found = _ratio(column, cluster)
    if found is None:
        return None
    value, influence, weight, n_even = found
    n_clusters = int(np.count_nonzero(weight))
    if n_clusters < 2:
        return _Part(value, -1.0, 1.0, influence, 1 / n_even, weight)
    reach = t975(n_clusters - 1) * math.sqrt(_variance(influence, n_clusters) + 1 / n_even**2)
    return _Part(value, max(value - reach, -1.0), min(value + reach, 1.0), influence, 1 / n_even, weight)


def _ratio(column: Column, cluster: Codes) -> tuple[float, Floats, Floats, float] | None:
    """Value, influence and weight by cluster, and the number of equally large clusters that would be as even (Kish)."""
    numerator, denominator = column
    total = float(denominator.sum())
    if total == 0:
        return None
    value = float(numerator.sum()) / total
    influence = _by_cluster((numerator - value * denominator) / total, cluster)
    weight = _by_cluster(denominator / total, cluster)
    return value, influence, weight, _n_even(denominator, cluster)


def _by_cluster(values: Floats, cluster: Codes) -> Floats:
    """The sum of the values (n,) in each cluster, (largest code + 1,); codes that do not occur have 0."""
    return np.bincount(cluster, weights=values).astype(np.float64)


def _variance(influence: Floats, n_clusters: int) -> float:
    return n_clusters / (n_clusters - 1) * float(np.square(influence).sum())


def _wilson(share: float, n: float, t: float) -> tuple[float, float]:
    """The shares p from which `share` is t standard errors sqrt(p (1 - p) / n) away, or less."""
    middle = (share + t * t / (2 * n)) / (1 + t * t / n)
    reach = t / (1 + t * t / n) * math.sqrt(share * (1 - share) / n + t * t / (4 * n * n))
    return max(min(middle - reach, share), 0.0), min(max(middle + reach, share), 1.0)  # rounding must not cut the share off


def _estimate(factors: Sequence[float], parts: Sequence[_Part | None]) -> Estimate:
    """The sum of parts, each times its factor in `factors`."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return NOTHING
    value = sum(factor * part.value for factor, part in zip(factors, known, strict=True))
    n_clusters = int(np.count_nonzero(np.sum([part.weight for part in known], axis=0)))
    if n_clusters < 2:
        return Estimate(value, None, None)
    influence = np.sum([factor * part.influence for factor, part in zip(factors, known, strict=True)], axis=0)
    downwards = [
        part.value - part.low if factor > 0 else part.high - part.value for factor, part in zip(factors, known, strict=True)
    ]
    upwards = [
        part.high - part.value if factor > 0 else part.value - part.low for factor, part in zip(factors, known, strict=True)
    ]
    interval = value - _combined(factors, downwards, known), value + _combined(factors, upwards, known)
    return Estimate(value, math.sqrt(_variance(influence, n_clusters)), interval)


def _combined(factors: Sequence[float], reaches: Sequence[float], parts: Sequence[_Part]) -> float:
    """How far a sum of parts reaches, if each by itself reaches as far as in `reaches`: sqrt(sum_kl f_k f_l rho_kl a_k a_l).

    rho_kl is the correlation of two parts over the clusters that they have in common. One cluster more in each, which the other
    knows nothing of, keeps it below 1, or two parts that agree in every cluster would differ by nothing, for certain.
    """
    common, own = np.zeros_like(parts[0].influence), 0.0
    for factor, reach, part in zip(factors, reaches, parts, strict=True):
        seen = float(np.square(part.influence).sum())
        spread = seen + part.one_more**2
        common = common + factor * reach * part.influence / math.sqrt(spread)
        own += (factor * reach) ** 2 * part.one_more**2 / spread
    return math.sqrt(float(np.square(common).sum()) + own)
