"""The interval of a difference over scenes and seeds at once: how it would move with other scenes and other trainings.

Scenes and seeds are crossed, since every seed's checkpoint answers about every scene. With u_sg the influence of scene g under
seed s on the mean (its residuals, divided by the number of all questions), the analysis of variance gives three parts:

    scenes^2       G / (G - 1) * sum_g (sum_s u_sg)^2          what other scenes would change, these trainings kept
    seeds^2 / n    S / (S - 1) * sum_s (sum_g u_sg)^2          what other trainings would change, these scenes kept
    interaction    S G / ((S - 1) (G - 1)) * sum_sg e_sg^2     what is left, e_sg = u_sg less its scene's and its seed's part

The first two both hold the interaction, so the variance of the mean is scenes^2 + seeds^2 / n - interaction. Few seeds say
little about their own spread, so their part counts with Student's t for n - 1 degrees of freedom, and what scenes add to it,
which many scenes tell well, with that for G - 1:

    reach^2 = t(G - 1)^2 * (scenes^2 - interaction) + t(n - 1)^2 * seeds^2 / n,  at least t(G - 1)^2 * scenes^2

One t for the whole variance, with Satterthwaite's degrees of freedom, errs too often with two or three seeds: where these
happen to agree, it takes them for many. `benchmarks/crossed.py` measures how often the interval errs.

A sum of several means, each times a factor, has as influence the sum of theirs, each times its factor.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker.diagnose.student import t975, t_beyond, tails
from videothinker.records import Estimate
from videothinker.records.study_results import Spread

Floats = NDArray[np.float64]
Columns = tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]
"""Of one seed's questions: the change from -1 to 1, whether it counts, and the scene's number, (n_questions,) each."""


class Crossed(NamedTuple):
    """A mean change, and what its uncertainty over scenes and seeds consists of."""

    value: float | None
    spread: Spread | None

    @property
    def estimate(self) -> Estimate:
        """The value with its standard error and its 95 % interval, within [-1, 1]."""
        if self.value is None or self.spread is None:
            return Estimate(self.value, None, None)
        reach = _reach(self.spread, t975(self.spread.n_scenes - 1), t975(self.spread.n_seeds - 1))
        return Estimate(
            self.value, math.sqrt(_variance(self.spread)), (max(self.value - reach, -1.0), min(self.value + reach, 1.0))
        )


def crossed_change(by_seed: Mapping[int, Columns]) -> Crossed:
    """The mean change over all questions of all seeds.

    Without two seeds and two scenes that have a question which counts, nothing is known of its uncertainty.
    """
    return crossed_sum([1.0], [by_seed])


def crossed_sum(factors: Sequence[float], means: Sequence[Mapping[int, Columns]]) -> Crossed:
    """The sum of several mean changes, each times its factor, over the seeds that have questions for each of them."""
    seeds = [seed for seed in means[0] if all(seed in by_seed and by_seed[seed][1].any() for by_seed in means)]
    if not seeds:
        return Crossed(None, None)
    scenes = np.unique(np.concatenate([by_seed[seed][2][by_seed[seed][1]] for by_seed in means for seed in seeds]))
    found = [_mean([by_seed[seed] for seed in seeds], scenes) for by_seed in means]
    value = sum(factor * one.value for factor, one in zip(factors, found, strict=True))
    n_seeds, n_scenes = len(seeds), len(scenes)
    if n_seeds < 2 or n_scenes < 2:
        return Crossed(value, None)
    influence = np.sum([factor * one.influence for factor, one in zip(factors, found, strict=True)], axis=0)
    # A seed's part lies on scenes by their questions.
    by_seed_part = np.sum([factor * one.on_scenes() for factor, one in zip(factors, found, strict=True)], axis=0)
    of_scene, of_seed = influence.sum(axis=0), influence.sum(axis=1)
    rest = influence - of_scene / n_seeds - by_seed_part
    # One scene more that changed wholly, as in the interval over scenes alone (`diagnose.estimates`).
    one_more = sum((factor * _squares(one.weight)) ** 2 for factor, one in zip(factors, found, strict=True))
    spread = Spread(
        scenes=n_scenes / (n_scenes - 1) * _squares(of_scene) + one_more,
        seeds=n_seeds / (n_seeds - 1) * _squares(of_seed),
        interaction=n_seeds * n_scenes / ((n_seeds - 1) * (n_scenes - 1)) * _squares(rest),
        n_scenes=n_scenes,
        n_seeds=n_seeds,
    )
    return Crossed(value, spread)


class _Mean(NamedTuple):
    """A mean over all questions of all seeds."""

    value: float
    influence: Floats
    """(n_seeds, n_scenes): how far each scene under each seed moves the value."""
    weight: Floats
    """(n_scenes,): each scene's share of the questions."""

    def on_scenes(self) -> Floats:
        """(n_seeds, n_scenes): each seed's influence, laid on the scenes by their questions."""
        spread: Floats = self.influence.sum(axis=1)[:, None] * self.weight
        return spread


def _mean(columns: Sequence[Columns], scenes: NDArray[np.int64]) -> _Mean:
    """The mean of the values that count. scenes: all scenes, in order."""
    values = np.concatenate([values[where] for values, where, _ in columns])
    codes = np.searchsorted(scenes, np.concatenate([scene[where] for _, where, scene in columns]))
    seeds = np.repeat(np.arange(len(columns)), [int(where.sum()) for _, where, _ in columns])
    value, shape = float(values.mean()), (len(columns), len(scenes))
    # One cell per seed and scene, in a table that is flat for the count.
    cells = seeds * len(scenes) + codes
    influence: Floats = np.bincount(cells, (values - value) / len(values), shape[0] * shape[1]).astype(np.float64)
    return _Mean(value, influence.reshape(shape), np.bincount(codes, minlength=len(scenes)) / len(values))


def p_value(value: float, spread: Spread, bound: float = 0.0) -> float:
    """The level at which the interval around the value just reaches the bound: below 0.05, the 95 % interval excludes it.

    Two-sided. An interval of another level has the percentiles of that level in place of those of 95 %.
    """
    distance = abs(value - bound)
    low, high = 0.0, 1e6  # of the t for the seeds' degrees of freedom; every level has one
    for _ in range(60):
        middle = (low + high) / 2
        level = max(tails(middle, spread.n_seeds - 1), 1e-15)
        if _reach(spread, t_beyond(level, spread.n_scenes - 1), middle) < distance:
            low = middle
        else:
            high = middle
    return max(tails(high, spread.n_seeds - 1), 1e-15)


def _shared(spread: Spread) -> float:
    """What a scene does to every seed alike, which the seeds' spread cannot show."""
    return max(spread.scenes - spread.interaction, 0.0)


def _variance(spread: Spread) -> float:
    return max(_shared(spread) + spread.seeds, spread.scenes)


def _reach(spread: Spread, t_scenes: float, t_seeds: float) -> float:
    return math.sqrt(max(t_scenes**2 * _shared(spread) + t_seeds**2 * spread.seeds, t_scenes**2 * spread.scenes))


def _squares(values: Floats) -> float:
    return float(np.square(values).sum())
