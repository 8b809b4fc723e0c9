"""How often does a study see an effect where there is none?

    python benchmarks/crossed.py [--simulations 4000] [--seed 0] [--out FILE.json]
    python benchmarks/crossed.py --smoke      # a few simulations, to see that it runs

Each simulation draws scenes of 1 to 4 questions and trains, so to say, two arms with each seed, which do equally well over all
seeds and scenes. A seed moves one arm against the other by a normal number (its standard deviation is "seeds"), a scene does so
under every seed alike ("scenes"), and what is left is the luck of single answers, of which two arms of one seed share seven in
ten. Printed is the percentage of simulations in which the interval lies above zero, which should be 2.5 at most: of the crossed
interval, by which verdicts are given, and in brackets of the earlier rule, by which two intervals had to lie above zero, the
one over scenes with all seeds pooled and the t-interval over seeds.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import results

from videothinker.diagnose.estimates import clustered_change
from videothinker.records import Estimate
from videothinker.reports.page import Table
from videothinker.study.crossed import Columns, crossed_change
from videothinker.study.seeds import over_seeds

SHARE, SPREAD, SHARED_LUCK = 0.7, 0.3, 0.7
N_SEEDS, N_SCENES = (2, 3, 8), (50, 500)
SPREADS = {"none": (0.0, 0.0), "seeds": (0.03, 0.0), "scenes": (0.0, 0.15), "both": (0.03, 0.15), "mostly seeds": (0.1, 0.02)}
"""Standard deviations of what a seed and what a scene does to the difference of two arms, as fractions."""


def draw(rng: np.random.Generator, n_seeds: int, n_scenes: int, by_seed: float, by_scene: float) -> dict[int, Columns]:
    """What each seed's second arm gained on the first, question by question; the truth is 0 by symmetry."""
    scene = np.repeat(np.arange(n_scenes), rng.integers(1, 5, n_scenes))
    skill = SHARE + rng.normal(0, SPREAD, n_scenes)[scene]
    of_scene = rng.normal(0, by_scene, n_scenes)[scene]
    drawn = {}
    for seed in range(n_seeds):
        half = (rng.normal(0, by_seed) + of_scene) / 2
        luck = rng.random(len(scene))
        other = np.where(rng.random(len(scene)) < SHARED_LUCK, luck, rng.random(len(scene)))
        change = (other < np.clip(skill + half, 0, 1)).astype(float) - (luck < np.clip(skill - half, 0, 1))
        drawn[seed] = (change, np.ones(len(scene), np.bool_), scene)
    return drawn


class Seen(NamedTuple):
    """Percentages of the simulations in which an interval lies wholly above zero."""

    crossed: float
    earlier: float


def false_positives(n: int, seed: int, n_seeds: int, n_scenes: int, by_seed: float, by_scene: float) -> Seen:
    """Over `n` simulations. An interval below zero is as wrong as one above, so both sides are counted, and halved."""
    rng = np.random.default_rng((seed, n_seeds, n_scenes, round(1000 * by_seed), round(1000 * by_scene)))
    crossed = earlier = 0
    for _ in range(n):
        drawn = draw(rng, n_seeds, n_scenes, by_seed, by_scene)
        crossed += _excludes_zero(crossed_change(drawn).estimate)
        values, scenes = (np.concatenate([columns[i] for columns in drawn.values()]) for i in (0, 2))
        pooled = clustered_change(values, np.ones(len(values)), scenes.astype(np.int64))
        seeds = over_seeds([float(columns[0].mean()) for columns in drawn.values()])
        earlier += _excludes_zero(pooled) and _excludes_zero(seeds)
    return Seen(50 * crossed / n, 50 * earlier / n)


def _excludes_zero(estimate: Estimate) -> bool:
    assert estimate.ci95 is not None
    return estimate.ci95[0] > 0 or estimate.ci95[1] < 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    n = 20 if options.smoke else options.simulations
    grid = [(seeds, scenes) for seeds in N_SEEDS for scenes in N_SCENES]
    found = {
        f"{seeds} seeds, {scenes} scenes": {
            name: false_positives(n, options.seed, seeds, scenes, *spread) for name, spread in SPREADS.items()
        }
        for seeds, scenes in grid
    }
    print(f"{n:,} simulations, seed {options.seed}; in brackets the earlier rule\n")
    cells = [(row, *(f"{one.crossed:.1f} ({one.earlier:.1f})" for one in values.values())) for row, values in found.items()]
    title = "Intervals above zero where the truth is zero, %, by what moves the difference"
    print(Table("crossed", title, ("", *SPREADS), cells).markdown())
    written = {row: {name: one._asdict() for name, one in values.items()} for row, values in found.items()}
    results.write(options.out, {"simulations": n, "seed": options.seed, "false_positives": written})


if __name__ == "__main__":
    main()
