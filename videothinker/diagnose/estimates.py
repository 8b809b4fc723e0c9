"""Shares with standard errors that are clustered by group, and differences with their tests: arithmetic on columns."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from videothinker.records import Estimate

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]

NOTHING = Estimate(None, None, None)
"""A share over no questions."""


def share(column: Floats, where: Mask) -> tuple[Floats, Floats]:
    """Numerator and denominator of a column's mean over some of the questions."""
    return column * where, where.astype(np.float64)


def clustered_ratio(numerator: Floats, denominator: Floats, cluster: Codes) -> Estimate:
    """sum(numerator) / sum(denominator) with the linearised standard error of a ratio, clustered.

    All of shape (n,); `cluster` holds non-negative codes. With residuals r = numerator - value * denominator summed by cluster
    to R_g, stderr^2 = G / (G - 1) * sum(R_g^2) / sum(denominator)^2, where G counts the clusters with a positive denominator. A
    mean has a denominator of ones.
    """
    total = float(denominator.sum())
    if total == 0:
        return NOTHING
    value = float(numerator.sum()) / total
    influence = _by_cluster((numerator - value * denominator) / total, cluster)
    n_clusters = int(np.count_nonzero(_by_cluster(denominator, cluster)))
    return _estimate(value, influence, n_clusters)


def clustered_difference(first: Sequence[Floats], second: Sequence[Floats], cluster: Codes) -> Estimate:
    """Ratio `first` minus ratio `second`, each (numerator, denominator) over the same n questions, clustered.

    The two share clusters, so their residuals are subtracted before they are squared: what a scene does to both cancels.
    """
    (n1, d1), (n2, d2) = first, second
    if d1.sum() == 0 or d2.sum() == 0:
        return NOTHING
    v1, v2 = float(n1.sum() / d1.sum()), float(n2.sum() / d2.sum())
    influence = _by_cluster((n1 - v1 * d1) / d1.sum() - (n2 - v2 * d2) / d2.sum(), cluster)
    n_clusters = int(np.count_nonzero(_by_cluster(d1 + d2, cluster)))
    return _estimate(v1 - v2, influence, n_clusters)


def _by_cluster(values: Floats, cluster: Codes) -> Floats:
    """The sum of the values (n,) in each cluster, (largest code + 1,); codes that do not occur have 0."""
    return np.bincount(cluster, weights=values).astype(np.float64)


def _estimate(value: float, influence: Floats, n_clusters: int) -> Estimate:
    """The value with the error that its clusters' influences, (G,), make; without one for fewer than two clusters."""
    if n_clusters < 2:
        return Estimate(value, None, None)
    stderr = math.sqrt(n_clusters / (n_clusters - 1) * float(np.square(influence).sum()))
    return Estimate(value, stderr, (value - 1.96 * stderr, value + 1.96 * stderr))


def clustered_macro(column: Floats, pools: Sequence[Mask], cluster: Codes) -> Estimate:
    """Mean over pools of a column's mean in each pool, every pool with the same weight; pools over nothing are left out.

    All of shape (n,). A question's influence on it is that on its pool's mean, divided by the number of pools.
    """
    parts = [share(column, where) for where in pools if where.any()]
    if not parts:
        return NOTHING
    values = [float(n.sum() / d.sum()) for n, d in parts]
    influence = sum((n - value * d) / d.sum() for (n, d), value in zip(parts, values, strict=True)) / len(parts)
    n_clusters = int(np.count_nonzero(_by_cluster(np.asarray(sum(d for _, d in parts)), cluster)))
    return _estimate(sum(values) / len(parts), _by_cluster(np.asarray(influence), cluster), n_clusters)


def p_value(difference: Estimate) -> float | None:
    """Two-sided p-value of "no difference" by the normal distribution; None without a standard error."""
    if difference.value is None or difference.stderr is None:
        return None
    if difference.stderr == 0:
        return float(difference.value == 0)
    return math.erfc(abs(difference.value) / difference.stderr / math.sqrt(2))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction, in the same order; None (no test) stays None and does not count as a test."""
    tests = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(tests):
        largest = max(largest, min(1.0, (len(tests) - rank) * p))
        corrected[index] = largest
    return corrected
