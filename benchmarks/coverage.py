"""How often do the 95 % intervals hold the truth, and how often does the paired test see a change where there is none?

    python benchmarks/coverage.py [--simulations 4000] [--seed 0] [--correlation 0.3] [--out FILE.json]
    python benchmarks/coverage.py --smoke      # a few simulations of few scenes, to see that it runs

Each simulation draws scenes of 1 to 4 questions. A scene's share of right answers is drawn from a beta distribution, so that
its answers hang together with the given correlation; a second share of the same scene, that of its inferential questions or of
another checkpoint, is drawn so that it lies on the same side of the first one in every scene. Two checkpoints meet seven
questions of ten with the same luck. Printed are the percentages of simulations in which an interval holds the true value, with
the normal interval (value +- 1.96 standard errors) in brackets, and those in which the test gives p < 0.05, with the z-test in
brackets. The tables of docs/metrics.md are its output; tests/diagnose/test_coverage.py draws from the same functions.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import results
from numpy.typing import NDArray

from videothinker.diagnose.estimates import clustered_change, clustered_gap, clustered_gap_change, clustered_share, share
from videothinker.diagnose.significance import sign_flip_p
from videothinker.records import Estimate
from videothinker.reports.page import Table

Floats = NDArray[np.float64]
Rng = np.random.Generator
SHARED_LUCK = 0.7
"""Questions on which two checkpoints draw the same random number, so that their answers differ where their skills do."""
N_SCENES = (5, 10, 20, 50, 100, 300)
SHARES = (0.5, 0.9, 0.97)
PAIRS = ((0.5, 0.5), (0.97, 0.97), (0.9, 0.6), (0.97, 0.87))


class Scenes(NamedTuple):
    """Questions of some scenes, and how likely each of two kinds of answer to them is right: (n_questions,) each."""

    scene: NDArray[np.int64]
    first: Floats
    second: Floats


def draw_scenes(rng: Rng, n_scenes: int, first: float, second: float, correlation: float) -> Scenes:
    """1 to 4 questions per scene. Both chances of a scene are beta distributed, with means `first` and `second`."""
    scene = np.repeat(np.arange(n_scenes), rng.integers(1, 5, n_scenes))
    total = (1 - correlation) / correlation
    # Beta(a, b) is X / (X + Y) with X ~ Gamma(a) and Y ~ Gamma(b). The higher mean gets what the lower one has in X, and more,
    # and the lower one what the higher has in Y, and more; so each has its own distribution, and their order is the same.
    low, high = sorted((first, second))
    x_low, x_more = rng.gamma(low * total, size=n_scenes), rng.gamma((high - low) * total, size=n_scenes)
    y_high, y_more = rng.gamma((1 - high) * total, size=n_scenes), rng.gamma((high - low) * total, size=n_scenes)
    lower = x_low / np.maximum(x_low + y_high + y_more, 1e-300)
    higher = (x_low + x_more) / np.maximum(x_low + x_more + y_high, 1e-300)
    return Scenes(scene, *((lower[scene], higher[scene]) if first <= second else (higher[scene], lower[scene])))


class Found(NamedTuple):
    """What one simulation gave: by the package, and by the normal interval and z-test."""

    estimate: Estimate
    p: float | None = None

    def holds(self, truth: float, *, old: bool = False) -> bool:
        """Does the interval hold the true value?"""
        value, stderr, ends = self.estimate.value, self.estimate.stderr, self.estimate.ci95
        if value is None or stderr is None or ends is None:
            return True  # says nothing, so nothing wrong
        low, high = (value - 1.96 * stderr, value + 1.96 * stderr) if old else ends
        return low - 1e-12 <= truth <= high + 1e-12

    def rejects(self, *, old: bool = False) -> bool:
        """Is there a change, by the test?"""
        if not old:
            return self.p is not None and self.p < 0.05
        value, stderr = self.estimate.value, self.estimate.stderr
        if value is None or stderr is None or value == 0:
            return False
        return stderr == 0 or math.erfc(abs(value) / stderr / math.sqrt(2)) < 0.05


def one_share(rng: Rng, n_scenes: int, p: float, correlation: float) -> Found:
    """The share of right answers of one checkpoint."""
    drawn = draw_scenes(rng, n_scenes, p, p, correlation)
    right = (rng.random(len(drawn.scene)) < drawn.first).astype(np.float64)
    return Found(clustered_share(right, np.ones(len(right)), drawn.scene))


def one_gap(rng: Rng, n_scenes: int, first: float, second: float, correlation: float) -> Found:
    """Observational minus inferential questions of one checkpoint; half of the questions are of each kind."""
    drawn = draw_scenes(rng, n_scenes, first, second, correlation)
    kind = rng.random(len(drawn.scene)) < 0.5
    right = (rng.random(len(kind)) < np.where(kind, drawn.first, drawn.second)).astype(np.float64)
    return Found(clustered_gap(share(right, kind), share(right, ~kind), drawn.scene))


def one_change(rng: Rng, n_scenes: int, before: float, after: float, correlation: float) -> Found:
    """Two checkpoints on the same questions, the second minus the first."""
    drawn = draw_scenes(rng, n_scenes, before, after, correlation)
    change = _change(rng, drawn)
    by_scene = np.bincount(drawn.scene, weights=change).astype(np.int64)
    return Found(clustered_change(change, np.ones(len(change)), drawn.scene), sign_flip_p(by_scene))


def one_gap_change(rng: Rng, n_scenes: int, before: float, after: float, correlation: float) -> Found:
    """How the gap changes from one checkpoint to another, if all questions change alike: not at all."""
    drawn = draw_scenes(rng, n_scenes, before, after, correlation)
    change, kind = _change(rng, drawn), rng.random(len(drawn.scene)) < 0.5
    weight = np.where(kind, (~kind).sum(), -kind.sum())
    by_scene = np.bincount(drawn.scene, weights=change * weight).astype(np.int64)
    return Found(clustered_gap_change(share(change, kind), share(change, ~kind), drawn.scene), sign_flip_p(by_scene))


def _change(rng: Rng, drawn: Scenes) -> Floats:
    luck, other = rng.random((2, len(drawn.scene)))
    after = np.where(rng.random(len(luck)) < SHARED_LUCK, luck, other)
    return (after < drawn.second).astype(np.float64) - (luck < drawn.first)


def simulate(one: Callable[..., Found], n: int, seed: int, *arguments: float) -> list[Found]:
    """`n` independent simulations; the same seed gives the same ones."""
    rng = np.random.default_rng([seed, *(round(1000 * abs(argument)) for argument in arguments)])
    return [one(rng, *arguments) for _ in range(n)]


def percent(found: list[bool]) -> float:
    """How many of the simulations, in percent."""
    return 100 * float(np.mean(found))


def measure(n: int, seed: int, correlation: float, sizes: tuple[int, ...]) -> dict[str, dict[str, list[list[float]]]]:
    """By table and row, for each number of scenes the percentages by the package and by the old formulas."""
    coverage: dict[str, list[list[float]]] = {}
    false: dict[str, list[list[float]]] = {}

    def both(found: list[Found], truth: float) -> list[float]:
        return [percent([each.holds(truth, old=old) for each in found]) for old in (False, True)]

    def seen(found: list[Found]) -> list[float]:
        return [percent([each.rejects(old=old) for each in found]) for old in (False, True)]

    for p in SHARES:
        coverage[f"share of {100 * p:g}"] = [both(simulate(one_share, n, seed, size, p, correlation), p) for size in sizes]
    for a, b in PAIRS:
        found = [simulate(one_gap, n, seed, size, a, b, correlation) for size in sizes]
        coverage[f"gap of {100 * a:g} and {100 * b:g}"] = [both(each, a - b) for each in found]
    for a, b in PAIRS:
        found = [simulate(one_change, n, seed, size, a, b, correlation) for size in sizes]
        coverage[f"change from {100 * a:g} to {100 * b:g}"] = [both(each, b - a) for each in found]
        if a == b:
            false[f"change from {100 * a:g} to {100 * b:g}"] = [seen(each) for each in found]
    for a, b in PAIRS:
        found = [simulate(one_gap_change, n, seed, size, a, b, correlation) for size in sizes]
        coverage[f"change of the gap, {100 * a:g} to {100 * b:g}"] = [both(each, 0) for each in found]
        false[f"change of the gap, {100 * a:g} to {100 * b:g}"] = [seen(each) for each in found]
    return {"coverage": coverage, "false positives": false}


TITLES = {"coverage": "95 % intervals that hold the truth, %", "false positives": "p < 0.05 where nothing changed, %"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--correlation", type=float, default=0.3)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    n, sizes = (20, (5, 20)) if options.smoke else (options.simulations, N_SCENES)
    found = measure(n, options.seed, options.correlation, sizes)
    print(f"{n:,} simulations, seed {options.seed}, correlation {options.correlation:g}; in brackets the normal interval and z")
    for name, rows in found.items():
        cells = [(row, *(f"{now:.1f} ({before:.1f})" for now, before in values)) for row, values in rows.items()]
        print(f"\n{Table(name, TITLES[name], ('', *(f'{size} scenes' for size in sizes)), cells).markdown()}")
    settings = {"simulations": n, "seed": options.seed, "correlation": options.correlation, "scenes": sizes}
    results.write(options.out, {**settings, **found})


if __name__ == "__main__":
    main()
