"""How likely is each claim of study 2 to be confirmed, refuted or left undecided? From the spread of the first study.

    python benchmarks/power.py [--study configs/study-2.toml] [--simulations 20000] [--seed 0] [--out FILE.json]
    python benchmarks/power.py --smoke      # a few simulations, to see that it runs

The variance of a difference between two arms has three components: what a scene does under every seed, what a seed does on
every scene, and what is left. They are read off the first study's results (`components`), where the same difference was
measured, or the most similar one. The first and the last shrink with the number of questions, so they are scaled from the
first study's held-out questions to those of study 2. Each simulation draws a claim's comparisons, at the seeds that
configs/study-2.toml gives them, and judges them as a study does: by the interval over scenes and seeds.

Three truths are tried: no difference at all, the smallest effect that matters, and what the first study found. Printed are the
percentages of simulations in which a claim is confirmed and refuted, and in brackets those after Holm's correction at its
strictest, as if no other claim had a smaller p; the rest stays undecided. The comparisons of one claim share arms. How much
luck they share is not known, so there are two numbers where it matters: with luck of each one's own, and with the same in all.

`--study configs/study-auto.toml` says the same of that study, whose worlds have as many scenes. Of what thinking takes and
gains the first study says nothing, so claims about that have a dash.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import results

from videothinker import store
from videothinker.diagnose.student import t_beyond, tails
from videothinker.records import Rule
from videothinker.records.study import Study
from videothinker.records.study_results import Results, Value
from videothinker.reports.page import DASH, Table
from videothinker.study.claims import Comparison, Gated, common_seeds, family_in, members, parse_claim
from videothinker.study.config import load_study
from videothinker.study.verdicts import LEVEL, sign_test

ROOT = Path(__file__).parents[1]
First = Callable[[str, str, Rule, str], Value]
"""(after, before, rule, measure) -> what the first study found."""
N_SCENES = round(20_000 * 0.49)
"""Held-out scenes of study 2 that are asked about."""
N_QUESTIONS = {"all": 16_360, Rule.ORACLE: 7_350, Rule.CORRECT_OPTION: 4_010, Rule.ANY_OPTION: 3_310}
"""Held-out questions of study 2, all and inferential: 0.818 a scene, of which 44.9, 24.5 and 20.2 % (claims.md)."""
N_THEN = {"all": 11_200, Rule.ORACLE: 4_348, Rule.CORRECT_OPTION: 5_065, Rule.ANY_OPTION: 2_922}
"""The same of the first study."""


class Components(NamedTuple):
    """Variances of the mean of one seed, in squared points."""

    scenes: float
    seeds: float
    rest: float


Like = tuple[tuple[tuple[str, str], float], ...]
"""Differences of the first study and weights; the components of their weighted sum are taken as if they were independent."""


class Assumed(NamedTuple):
    """What is assumed of a comparison, measured as it is, in points."""

    like: Like
    smallest: float
    """The smallest effect that matters; for a margin of non-inferiority, no difference."""
    first: float | None
    """What the first study found; None where it has nothing to say."""


SLOPE = -0.76
"""Inferential per observational accuracy between the first study's base (89.6, 72.6) and GRPO (92.4, 70.5)."""
LOST, LOST_90, GAINED, PAID = 2.12, 5.72, 1.63, 1.41
"""Points: what GRPO lost on inferential questions, what it did at 90 %, and what a repulsion of 0.1 gained on GRPO there and
lost on observational ones."""
OVERALL = 0.449 * GAINED - 0.551 * PAID
"""What these two come to over all questions at study 2's share of inferential ones."""
REPULSION: Like = ((("repulsion-1", "grpo"), 1.0),)
BETWEEN_CDPO: Like = ((("repulsion-1", "cdpo"), 1.0),)
BETWEEN_STYLES: Like = ((("grpo", "base"), 1.0), (("grpo", "base"), 1.0))
"""Two trainings that answer in different styles differ from the base as GRPO did, each by itself."""
POOL: Like = ((("grpo-share-50", "grpo"), 1.0),)

ASSUMED = {
    "grpo \u2212 base": Assumed(((("grpo", "base"), 1.0),), -1.0, -LOST),
    "correct-option: grpo \u2212 base": Assumed(((("grpo", "base"), 1.0),), -1.0, 0.91),
    "any-option: grpo \u2212 base": Assumed(((("grpo", "base"), 1.0),), -1.0, 0.84),
    "cdpo-1 \u2212 grpo": Assumed(REPULSION, 1.0, GAINED),
    "all: cdpo-1 \u2212 grpo": Assumed(REPULSION, 0.0, OVERALL),
    "cdpo-share \u2212 grpo": Assumed(REPULSION, 1.0, GAINED),
    "all: cdpo-share \u2212 grpo": Assumed(REPULSION, 0.0, OVERALL),
    "cdpo-1 \u2212 blend": Assumed(REPULSION, 0.5, GAINED + SLOPE * PAID),
    "cdpo-1 \u2212 fewer-steps": Assumed(REPULSION, 0.5, GAINED + SLOPE * PAID),
    "cdpo-1 \u2212 held-back": Assumed(REPULSION, 0.5, GAINED + SLOPE * PAID),
    "cdpo-1 \u2212 grpo-inferential": Assumed(POOL, 0.5, GAINED - 2.43),
    "cdpo-1 \u2212 grpo-50": Assumed(POOL, 0.5, GAINED - 2.43),
    "grpo-90 \u2212 base": Assumed(((("grpo-share-90", "base"), 1.0),), -1.0, -LOST_90),
    "cdpo-90 \u2212 0.5 grpo-90 \u2212 0.5 base": Assumed(
        (*REPULSION, (("grpo-share-90", "base"), 0.5)), 0.5, LOST_90 * (GAINED / LOST - 0.5)
    ),
    "cdpo-probe \u2212 cdpo-1": Assumed(BETWEEN_CDPO, 0.0, None),
    "all: cdpo-probe \u2212 cdpo-1": Assumed(BETWEEN_CDPO, 0.0, None),
    "cdpo-self \u2212 cdpo-1": Assumed(BETWEEN_CDPO, 0.0, None),
    "all: cdpo-self \u2212 cdpo-1": Assumed(BETWEEN_CDPO, 0.0, None),
    "cdpo-self \u2212 grpo": Assumed(REPULSION, 1.0, None),
    "all: auto \u2212 think": Assumed(BETWEEN_STYLES, 0.0, None),
    "auto-repelled \u2212 auto": Assumed(REPULSION, 1.0, GAINED),
    "all: auto-repelled \u2212 auto": Assumed(REPULSION, 0.0, OVERALL),
    "think \u2212 direct": Assumed(BETWEEN_STYLES, 2.0, None),
    "correct-option: cdpo-correct \u2212 grpo-correct": Assumed(REPULSION, 1.0, 0.21),
    "any-option: cdpo-any \u2212 grpo-any": Assumed(REPULSION, 1.0, 0.11),
}
"""By the comparison's name, with its measure or rule before it where that is not the study's. The first study's repulsion of
0.1 stands for every repulsion, its pool of half and half for every other pool, and its share of what GRPO had lost, 1.63 of
2.12, is taken over to 90 %."""
PASSES: dict[str, dict[str, float]] = {
    "bias-correct": {"nothing": 0.0, "smallest": 0.9},
    "bias-any": {"nothing": 0.0, "smallest": 0.9, "first": 0.0},
}
"""Share of bias models that pass their gate, the others being no shortcut models. In the first study neither of two under
any-option did, and none was made under correct-option."""


def components(value: Value) -> Components:
    """The components of a difference, from its runs' intervals over scenes, the pooled one, and the spread of its seeds.

    One seed's mean varies over scenes by scenes + rest, that of n seeds by scenes + rest / n, and the seeds' means vary by
    seeds + rest. What comes out below 0 is 0.
    """
    each = [one for one in value.per_seed.values() if one.value is not None and one.stderr is not None]
    means, n = [one.value for one in each if one.value is not None], len(each)
    assert value.scenes.stderr is not None
    alone, pooled = np.mean([(one.stderr or 0.0) ** 2 for one in each]), value.scenes.stderr**2
    rest = max((alone - pooled) * n / (n - 1), 0.0)
    found = (pooled - rest / n, float(np.var(means, ddof=1)) - rest, rest)
    return Components(*(max(one, 0.0) * 100**2 for one in found))


class Drawn(NamedTuple):
    """A claim's comparison in many simulations: which were shown to be above the bound, and which below it."""

    above: np.ndarray  # type: ignore[type-arg]
    below: np.ndarray  # type: ignore[type-arg]


def draw(rng: np.random.Generator, n: int, of: Components, truth: float, bound: float, n_seeds: int, level: float) -> Drawn:
    """What `n` studies say of a difference whose truth is `truth`, in points; `level` as in `LEVEL`."""
    seeds = rng.normal(0, math.sqrt(of.seeds + of.rest), (n, n_seeds))
    mean = truth + rng.normal(0, math.sqrt(of.scenes), n) + seeds.mean(axis=1)
    by_seeds = seeds.var(axis=1, ddof=1) / n_seeds
    t_scenes, t_seeds = t_beyond(level, N_SCENES - 1), quantile(level, n_seeds - 1)
    reach = np.sqrt(np.maximum(t_scenes**2 * of.scenes + t_seeds**2 * by_seeds, t_scenes**2 * (of.scenes + of.rest / n_seeds)))
    return Drawn(mean - reach > bound, mean + reach < bound)


def quantile(level: float, degrees: int) -> float:
    """The t that is exceeded to both sides together with probability `level`."""
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tails(middle, degrees) > level else (low, middle)
    return high


def named(part: Comparison, study: Study) -> str:
    """The key of a comparison in `ASSUMED`."""
    before = [part.measure] if part.measure != "inferential" else []
    before += [part.rule] if part.rule not in (None, study.rule) else []
    return ": ".join([*before, part.name])


class Power(NamedTuple):
    """Percentages of the simulations."""

    confirmed: float
    refuted: float


def power_of(
    study: Study, name: str, truth: str, first: First, level: float, n: int, seed: int, *, alike: bool
) -> Power | None:
    """Of one claim; None where the first study says nothing of one of its comparisons.

    level: as in `LEVEL`. alike: all comparisons have the same luck, in place of each its own.
    """
    parts = parse_claim(study.named_claims[name])
    if any(isinstance(part, Comparison) and part.special for part in parts):
        return None
    holds, reversed_ = np.ones(n, np.bool_), np.zeros(n, np.bool_)
    # By itself any reversed part refutes; corrected, the smallest p counts times the number of parts.
    refuting = level if level == LEVEL else level / len(parts)
    for place, part in enumerate(parts):
        key = (seed, sorted(study.named_claims).index(name), [*TRUTHS].index(truth), 0 if alike else place)
        n_seeds = len(common_seeds(members(part, study), study))
        if isinstance(part, Gated):
            if (share := PASSES[part.arm].get(truth)) is None:
                return None
            passed = np.random.default_rng(key).binomial(n_seeds, share, n)
            p = np.array([sign_test(k, n_seeds) for k in range(n_seeds + 1)])
            holds &= p[passed] <= level
            reversed_ |= p[n_seeds - passed] <= refuting
            continue
        assumed = ASSUMED[named(part, study)]
        effect = {"nothing": 0.0, "smallest": assumed.smallest, "first": assumed.first}[truth]
        if effect is None:
            return None
        of = spread_of(study, part, first)
        for_it, against = (
            draw(np.random.default_rng(key), n, of, effect, 100 * part.bound, n_seeds, one) for one in (level, refuting)
        )
        holds &= for_it.above if part.above else for_it.below
        reversed_ |= against.below if part.above else against.above
    return Power(100 * float((holds & ~reversed_).mean()), 100 * float(reversed_.mean()))


def spread_of(study: Study, part: Comparison, first: First) -> Components:
    """The components of a comparison.

    Against a family the statistic is the inferential difference less the slope times the observational one, whose questions
    are others; the two are taken as independent. Of the first study's four seeds the sum had a deviation of 0.70 points, and
    so taken it has 0.67.
    """
    like, rule = ASSUMED[named(part, study)].like, part.rule or study.rule
    found = scaled(first, like, rule, part.measure)
    if family_in(part, study) is None:
        return found
    beside = scaled(first, like, rule, "observational")
    return Components(*(one + SLOPE**2 * other for one, other in zip(found, beside, strict=True)))


def scaled(first: First, like: Like, rule: Rule, measure: str) -> Components:
    """The components of a weighted sum of the first study's differences, with as many questions as study 2 has."""
    then, now = (of["all"] if measure == "all" else of[rule] for of in (N_THEN, N_QUESTIONS))
    if measure == "observational":
        then, now = (of["all"] - of[rule] for of in (N_THEN, N_QUESTIONS))
    scale = then / now
    each = [(weight**2, components(first(*pair, rule, measure))) for pair, weight in like]
    scenes, seeds, rest = (sum(weight * of[place] for weight, of in each) for place in range(3))
    return Components(scenes * scale, seeds, rest * scale)


TRUTHS = {"nothing": "no difference", "smallest": "the smallest effect that matters", "first": "what the first study found"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--study", type=Path, default=ROOT / "configs" / "study-2.toml")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    n = 50 if options.smoke else options.simulations
    study = load_study(options.study)
    told = store.read_json(ROOT / "reports" / "study-world" / "results.json", Results)
    by_pair = {(one.after, one.before, one.rule): one.measures for one in told.differences if one.ask == told.study.first_ask}

    def first(after: str, before: str, rule: Rule, measure: str) -> Value:
        return by_pair[after, before, rule][measure]

    levels = {"alone": LEVEL, "corrected": LEVEL / len(study.claims)}
    found = {
        name: {
            truth: {
                how: [power_of(study, name, truth, first, level, n, options.seed, alike=alike) for alike in (False, True)]
                for how, level in levels.items()
            }
            for truth in TRUTHS
        }
        for name in study.named_claims
    }
    title = (
        f"Confirmed / refuted, % of {n:,} simulations, seed {options.seed}, and in brackets after Holm's correction at its"
        " strictest"
    )
    rows = [(name, *(_cell(one) for one in row.values())) for name, row in found.items()]
    print(Table("power", title, ("Claim", *TRUTHS.values()), rows).markdown(), end="\n\n")
    spread = [
        _spread(study, name, part, first) for name in study.named_claims for part in parse_claim(study.named_claims[name])
    ]
    title = "Assumed standard deviations of one seed's difference, and the standard error of all seeds' mean, in points"
    columns = ("Claim", "Comparison", "Seeds", "By scenes", "By seeds", "Left", "Standard error")
    print(Table("spread", title, columns, spread).markdown())
    written = {
        name: {truth: {how: [one and one._asdict() for one in two] for how, two in of.items()} for truth, of in row.items()}
        for name, row in found.items()
    }
    results.write(options.out, {"simulations": n, "seed": options.seed, "power": written})


def _cell(of: dict[str, list[Power | None]]) -> str:
    """ "24 to 51 (3 to 12) / 0 (0)": with luck of each comparison's own, to the same luck in all."""

    def both(how: str, field: str) -> str:
        ends = [f"{getattr(one, field):.0f}" for one in of[how] if one is not None]
        return " to ".join(sorted(set(ends), key=int))

    if None in of["alone"]:
        return DASH
    return " / ".join(f"{both('alone', field)} ({both('corrected', field)})" for field in Power._fields)


def _spread(study: Study, name: str, part: Comparison | Gated, first: First) -> tuple[str, ...]:
    n_seeds = len(common_seeds(members(part, study), study))
    if isinstance(part, Gated):
        return (name, f"gate of {part.arm}", str(n_seeds), DASH, DASH, DASH, DASH)
    if part.special:
        return (name, part.name, str(n_seeds), DASH, DASH, DASH, DASH)
    of = spread_of(study, part, first)
    stderr = math.sqrt(of.scenes + (of.seeds + of.rest) / n_seeds)
    return (name, named(part, study), str(n_seeds), *(f"{math.sqrt(one):.2f}" for one in of), f"{stderr:.2f}")


if __name__ == "__main__":
    main()
