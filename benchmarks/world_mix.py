"""How the preset `clevrer` compares with the real release, and the factors that make it so.

    python benchmarks/world_mix.py --scenes 4000 --seed 2 --out FILE.json     # the table of docs/world.md
    python benchmarks/world_mix.py --fit --scenes 3000 --seed 5               # the factors of videothinker/world/mix.py

The real column is what public projects measured on the release; the real intervals are those of drawing so many questions,
options or annotations, as if independently, or those that the source gives; the others are clustered by scene. All intervals
are 95 %.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import results
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from videothinker.diagnose.estimates import clustered_share
from videothinker.records import Category, Estimate, Rule
from videothinker.world import mix
from videothinker.world.ask import PRESETS, Counterfactual, ask, categories
from videothinker.world.camera import in_view
from videothinker.world.simulate import Simulation, simulate
from videothinker.world.story import Pair, pairs

console = Console()


class Real(NamedTuple):
    """A share of the real release."""

    value: float
    n: int | None = None
    """Number of questions, options or annotations that it was counted on."""
    half: float | None = None
    """Half of the 95 % interval, where the source gives it."""

    def interval(self) -> tuple[float, float] | None:
        """value +- half where the half is given, else Wilson's interval of a share of n; None: neither is known."""
        if self.half is not None:
            return self.value - self.half, self.value + self.half
        if self.n is None:
            return None
        z2 = 1.96**2 / self.n
        middle = (self.value + z2 / 2) / (1 + z2)
        half = 1.96 / (1 + z2) * math.sqrt(self.value * (1 - self.value) / self.n + z2 / (4 * self.n))
        return middle - half, middle + half


N_QUESTIONS, N_OPTIONS, N_TRANSCRIBED, N_ANNOTATIONS = 18_642, 1_073, 299, 30
REAL = {
    "observational, any-option": Real(0.784, half=0.047),
    "observational, correct-option": Real(0.745, half=0.050),
    "observational, oracle": Real(0.548, half=0.057),
    "options: kept": Real(0.318, N_OPTIONS),
    "options: prevented": Real(0.017, N_OPTIONS),
    "options: new": Real(0.139, N_OPTIONS),
    "options: neither": Real(0.527, N_OPTIONS),
    "options: with the removed object": Real(0.0, N_OPTIONS),
    "4 options": Real(0.71, N_TRANSCRIBED),
    "3 options": Real(0.17, N_TRANSCRIBED),
    "2 options": Real(0.11, N_TRANSCRIBED),
    "1 option": Real(0.01, N_TRANSCRIBED),
    "0 correct": Real(169 / N_QUESTIONS, N_QUESTIONS),
    "1 correct": Real(7_947 / N_QUESTIONS, N_QUESTIONS),
    "2 correct": Real(6_406 / N_QUESTIONS, N_QUESTIONS),
    "3 correct": Real(4_120 / N_QUESTIONS, N_QUESTIONS),
    "4 correct": Real(0.0, N_QUESTIONS),
    "will not": Real(0.46, N_TRANSCRIBED),
    "scenes with 4 objects": Real(12 / 30, N_ANNOTATIONS),
    "scenes with 5 objects": Real(12 / 30, N_ANNOTATIONS),
    "scenes with 6 objects": Real(6 / 30, N_ANNOTATIONS),
    "scenes with 2 collisions": Real(19 / 30, N_ANNOTATIONS),
    "scenes with 3 collisions": Real(10 / 30, N_ANNOTATIONS),
    "scenes with 4 collisions": Real(1 / 30, N_ANNOTATIONS),
    "object-frames out of view": Real(0.15),
}
"""What is known of the release: see docs/world.md for the sources."""


def of_question(question: Counterfactual, simulation: Simulation) -> dict[str, tuple[float, float]]:
    """Quantity -> what one question adds to its numerator and to its denominator."""
    seen, happens = pairs(simulation.factual.collisions), pairs(simulation.without[question.removed_object].collisions)

    def kind(pair: Pair) -> str:
        if question.removed_object in pair:
            return "with the removed object"
        return ("kept" if pair in happens else "prevented") if pair in seen else ("new" if pair in happens else "neither")

    kinds, n = [kind(pair) for pair in question.options], len(question.options)
    n_correct = sum((pair in happens) != question.negated for pair in question.options)
    found = categories(question, seen, happens)
    return {
        **{f"observational, {rule}": (found[rule] is Category.OBSERVATIONAL, 1) for rule in Rule},
        **{name: (kinds.count(name.removeprefix("options: ")), n) for name in REAL if name.startswith("options: ")},
        **{f"{k} option{'s' * (k > 1)}": (n == k, 1) for k in (4, 3, 2, 1)},
        **{f"{k} correct": (n_correct == k, 1) for k in range(5)},
        "will not": (question.negated, 1),
    }


def of_scene(simulation: Simulation, *, n_logged: int) -> dict[str, tuple[float, float]]:
    """The same of a scene that is asked about."""
    outside = ~in_view(simulation.factual.location)
    return {
        **{f"scenes with {k} objects": (len(simulation.objects) == k, 1) for k in (4, 5, 6)},
        **{f"scenes with {k} collisions": (n_logged == k, 1) for k in (2, 3, 4)},
        "object-frames out of view": (float(outside.mean()), 1),
    }


def described(simulations: Sequence[Simulation], name: str, seed: int) -> dict[str, Estimate]:
    """Each quantity of `REAL` under a preset, with its interval clustered by scene."""
    rows: dict[str, list[tuple[float, float, int]]] = {quantity: [] for quantity in REAL}
    for place, simulation in enumerate(simulations):
        asked = ask(simulation, PRESETS[name], Random(f"{seed}:{simulation.scene_index}:{name}")).counterfactuals
        n_logged = len(simulation.factual.collisions) + len(simulation.hidden) * PRESETS[name].logs_hidden
        added = [of_question(question, simulation) for question in asked]
        for one in [*added, *([of_scene(simulation, n_logged=n_logged)] if asked else [])]:
            for quantity, (numerator, denominator) in one.items():
                rows[quantity].append((numerator, denominator, place))
    return {quantity: _ratio(found) for quantity, found in rows.items()}


def _ratio(rows: Sequence[tuple[float, float, int]]) -> Estimate:
    numerator, denominator, cluster = np.array(rows, np.float64).reshape(-1, 3).T
    return clustered_share(numerator, denominator, cluster.astype(np.int64))


def describe(simulations: Sequence[Simulation], seed: int) -> dict[str, Any]:
    """Print the table of docs/world.md."""
    columns = {name: described(simulations, name, seed) for name in ("clevrer", "clevrer74")}
    table = Table("", "real", *columns, title=f"{len(simulations)} scenes of seed {seed}, %")
    for quantity, real in REAL.items():
        bounds = real.interval()
        shown = [f"{100 * real.value:.1f}" + (f" [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]" if bounds else "")]
        for column in columns.values():
            value, interval = column[quantity].value, column[quantity].ci95
            half = (interval[1] - interval[0]) / 2 if interval else math.nan
            shown.append("" if value is None else f"{100 * value:.1f} +- {100 * half:.1f}")
        table.add_row(quantity, *shown)
    console.print(table)
    n_asked = {name: _n_asked(simulations, name, seed) for name in columns}
    n_hidden = sum(len(simulation.hidden) for simulation in simulations)
    console.print(f"questions and scenes with questions: {n_asked}; contacts that no film shows: {n_hidden}")
    values = {name: {quantity: one.value for quantity, one in column.items()} for name, column in columns.items()}
    return {"asked": n_asked, "n_hidden": n_hidden, "presets": values}


def _n_asked(simulations: Sequence[Simulation], name: str, seed: int) -> tuple[int, int]:
    asked = [ask(one, PRESETS[name], Random(f"{seed}:{one.scene_index}:{name}")).counterfactuals for one in simulations]
    return sum(map(len, asked)), sum(map(bool, asked))


def targets() -> dict[str, float]:
    """Expected number of each feature of `mix.features` per question."""
    shares = {feature: REAL[feature].value for feature in ("0 correct", "1 correct", "2 correct", "3 correct", "will not")}
    rest = 1 - shares["0 correct"]  # questions of one option have no right one, and no others have none
    of_size = {n: REAL[f"{n} options"].value for n in (4, 3, 2)}
    sizes = {f"{n} options": rest * share / sum(of_size.values()) for n, share in of_size.items()}
    per_question = shares["0 correct"] + sum(n * sizes[f"{n} options"] for n in of_size)
    kinds = {kind: per_question * REAL[f"options: {kind}"].value for kind in ("kept", "prevented", "new")}
    return {**shares, **sizes, **kinds, **{f"not {rule}": 1 - REAL[f"observational, {rule}"].value for rule in Rule}}


def fit(simulations: Sequence[Simulation], steps: int) -> dict[str, float]:
    """The factors with which the expected features of a question are the targets, over the scenes given.

    In each step every factor is multiplied by the square root of target / expectation.
    """
    wanted = targets()
    counts = np.array([[mix.features(outline).count(name) for name in wanted] for outline in mix.OUTLINES], np.float64)
    target = np.array(list(wanted.values()))
    scenes = [
        (mix.chance(one.factual), mix.N_QUESTIONS[len(one.objects)], _offered(one))
        for one in simulations
        if mix.chance(one.factual) > 0
    ]
    logs = np.zeros(len(target))
    for step in range(steps + 1):
        weights = np.exp(counts @ logs)
        expected = sum(chance * _expected(offered * weights, n) for chance, n, offered in scenes)
        means = expected @ counts / expected.sum()
        if step < steps:
            logs += np.log(target / means) / 2
    console.print({name: f"{mean:.4f}, wanted {want:.4f}" for (name, want), mean in zip(wanted.items(), means, strict=True)})
    factors = {name: round(float(np.exp(value)), 3) for name, value in zip(wanted, logs, strict=True)}
    console.print(factors)
    return factors


def _offered(simulation: Simulation) -> NDArray[np.float64]:
    """(removable objects, outlines): 1 where the scene offers such a question."""
    kinds = [mix.options_by_kind(simulation, removed) for removed in sorted(simulation.without)]
    return np.array([[mix.offers(one, outline) for outline in mix.OUTLINES] for one in kinds], np.float64)


def _expected(weights: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """(outlines,): how often each is expected among a scene's one or two questions, which remove different objects."""
    total = weights.sum()
    first = weights.sum(axis=0) / total
    if n == 1:
        return first
    of_removed = weights.sum(axis=1)  # the first question removes each object in proportion to this; the second one another
    left = total - of_removed
    second = (weights.sum(axis=0) - weights) / np.where(left > 0, left, 1)[:, None]
    return first + (of_removed / total) @ second


def main() -> None:
    parser = argparse.ArgumentParser(description="the preset clevrer beside the real release, and the factors behind it")
    parser.add_argument("--scenes", type=int, default=4000, help="number of scenes, from scene 0")
    parser.add_argument("--seed", type=int, default=2, help="of the scenes")
    parser.add_argument("--fit", action="store_true", help="fit the factors of videothinker/world/mix.py instead")
    parser.add_argument("--steps", type=int, default=200, help="of the fit")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    arguments = parser.parse_args()
    indices = track(range(arguments.scenes), "simulating", console=Console(stderr=True), transient=True)
    simulations = [simulate(arguments.seed, index) for index in indices]
    found: Any = fit(simulations, arguments.steps) if arguments.fit else describe(simulations, arguments.seed)
    results.write(arguments.out, {"n_scenes": arguments.scenes, "seed": arguments.seed, **found})


if __name__ == "__main__":
    main()
