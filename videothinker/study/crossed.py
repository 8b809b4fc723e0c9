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
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from videothinker.diagnose.student import t975
from videothinker.records import Estimate

Floats = NDArray[np.float64]
Columns = tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]
"""Of one seed's questions: the change from -1 to 1, whether it counts, and the scene's number, (n_questions,) each."""


def crossed_change(by_seed: Mapping[int, Columns]) -> Estimate:
    """The mean change over all questions of all seeds with its 95 % interval over scenes and seeds, within [-1, 1].

    Without two seeds and two scenes that have a question which counts, there is no interval.
    """
    counted = [(values[where], scene[where]) for values, where, scene in by_seed.values() if where.any()]
    if not counted:
        return Estimate(None, None, None)
    scenes, codes = np.unique(np.concatenate([scene for _, scene in counted]), return_inverse=True)
    values = np.concatenate([values for values, _ in counted])
    seeds = np.repeat(np.arange(len(counted)), [len(values) for values, _ in counted])
    value, n_seeds, n_scenes = float(values.mean()), len(counted), len(scenes)
    if n_seeds < 2 or n_scenes < 2:
        return Estimate(value, None, None)
    # One cell per seed and scene, in a table that is flat for the count.
    cells = seeds * n_scenes + codes
    influence = np.bincount(cells, (values - value) / len(values), n_seeds * n_scenes).reshape(n_seeds, n_scenes)
    weight = np.bincount(codes, minlength=n_scenes) / len(values)
    of_scene, of_seed = influence.sum(axis=0), influence.sum(axis=1)
    rest = influence - of_scene / n_seeds - of_seed[:, None] * weight  # a seed's part lies on scenes by their questions
    # One scene more that changed wholly, as in the interval over scenes alone (`diagnose.estimates`).
    by_scenes = n_scenes / (n_scenes - 1) * _squares(of_scene) + _squares(weight) ** 2
    by_seeds = n_seeds / (n_seeds - 1) * _squares(of_seed)
    interaction = n_seeds * n_scenes / ((n_seeds - 1) * (n_scenes - 1)) * _squares(rest)
    shared = max(by_scenes - interaction, 0.0)  # what a scene does to every seed alike, which the seeds' spread cannot show
    t_scenes, t_seeds = t975(n_scenes - 1), t975(n_seeds - 1)
    variance = max(shared + by_seeds, by_scenes)
    reach = math.sqrt(max(t_scenes**2 * shared + t_seeds**2 * by_seeds, t_scenes**2 * by_scenes))
    return Estimate(value, math.sqrt(variance), (max(value - reach, -1.0), min(value + reach, 1.0)))


def _squares(values: Floats) -> float:
    return float(np.square(values).sum())
