"""Answers as columns of numbers, and the measures that are taken of them."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker.records import Rule
from videothinker.records.study import BASE
from videothinker.records.study_results import NO_SEED

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
MEASURES = ("all", "observational", "inferential", "shortcut_reliance")
"""The first three are the share of questions answered exactly right, of all questions and of each category. The last is the
share of inferential answers that are the observer's."""


class Scored(NamedTuple):
    """One run's answers as columns of shape (n_questions,)."""

    ids: NDArray[np.str_]
    scene: NDArray[np.int64]
    exact: Floats
    like_observer: Floats
    asked: Mask
    """False where the clip could not be read."""
    observational: dict[Rule, Mask]
    """True for observational questions, under each rule of the collision log."""
    first: Floats | None = None
    """1 where the first answer is exactly right; None, as the next, for runs that do not answer twice."""
    thinks: Floats | None = None
    """1 where the reply thinks."""
    tokens: Floats | None = None
    """Tokens of the reply, NaN where they were not counted; None in studies without arms that answer twice."""

    sure: Floats | None = None
    """How sure the first answer was, -1 where there is none to stop behind; None, as the next, for runs that do not tell what
    another stop would have come to."""
    first_tokens: Floats | None = None
    """Tokens up to the end of the first answer, NaN where there is none to stop behind."""

    def take(self, rows: NDArray[np.int64]) -> "Scored":
        """The columns of some of the questions, in the order of `rows`."""
        arrays = (self.ids[rows], self.scene[rows], self.exact[rows], self.like_observer[rows], self.asked[rows])
        optional = (self.first, self.thinks, self.tokens, self.sure, self.first_tokens)
        beside = (None if one is None else one[rows] for one in optional)
        return Scored(*arrays, {rule: mask[rows] for rule, mask in self.observational.items()}, *beside)

    def column(self, measure: str) -> Floats:
        """The score of each question by a measure."""
        return self.like_observer if measure == "shortcut_reliance" else self.exact

    def where(self, measure: str, rule: Rule) -> Mask:
        """True for the questions that a measure is about and that could be asked."""
        if measure == "all":
            return self.asked
        observational = self.observational[rule]
        return self.asked & (observational if measure == "observational" else ~observational)


Arms = Mapping[str, Mapping[int, Scored]]
"""For each arm, and for "base", its run by seed; "base" has one, under `NO_SEED`."""


def side_by_side(names: Sequence[str], by_arm: Arms) -> dict[int, dict[str, Scored]]:
    """For each seed that all of the arms have, their runs by name: the same questions in the same order, and `asked` where all
    of them were.

    The start model's only run stands beside every seed's.
    """
    trained = [by_arm.get(name, {}) for name in names if name != BASE]
    seeds = [seed for seed in trained[0] if all(seed in runs for runs in trained)] if trained else []
    if BASE in names and BASE not in by_arm:
        return {}
    return {seed: _alike({name: by_arm[name][NO_SEED if name == BASE else seed] for name in names}) for seed in seeds}


def _alike(runs: dict[str, Scored]) -> dict[str, Scored]:
    first = next(iter(runs.values()))
    if not all(np.array_equal(run.ids, first.ids) for run in runs.values()):
        # Runs of different questions are compared on those that all of them answered, put into the same order.
        common = reduce(np.intersect1d, (run.ids for run in runs.values()))
        runs = {name: _in_order(run, common) for name, run in runs.items()}
    asked = np.all([run.asked for run in runs.values()], axis=0)
    return {name: run._replace(asked=asked) for name, run in runs.items()}


def _in_order(run: Scored, ids: NDArray[np.str_]) -> Scored:
    """A run's answers to the questions of `ids`, which are sorted and all of them its own."""
    order = np.argsort(run.ids)
    return run.take(order[np.searchsorted(run.ids, ids, sorter=order)])
