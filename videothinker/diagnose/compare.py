"""Two checkpoints on the same questions: paired differences, and whether they are more than chance."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import msgspec
import numpy as np

from videothinker.curated import Labels
from videothinker.diagnose.estimates import (
    Codes,
    Floats,
    Mask,
    clustered_change,
    clustered_gap_change,
    clustered_macro_change,
    share,
)
from videothinker.diagnose.grading import beside, counts, grade
from videothinker.diagnose.metrics import Categories, categories, pools_of
from videothinker.diagnose.significance import holm, sign_flip_p, sums_by_group
from videothinker.records import Comparison, Estimate, Prediction, Question


class Answers(NamedTuple):
    """One checkpoint's answers, as `compare` takes them."""

    name: str
    questions: Sequence[Question]
    predictions: Sequence[Prediction]
    labels: Labels
    """Their own set says which questions are inferential, and what the observer answers."""


def compare(checkpoints: Sequence[Answers]) -> list[Comparison]:
    """Every pair of checkpoints on the questions that both answered, in the order given; p-values corrected by Holm for all."""
    found = [row for before, after in combinations(checkpoints, 2) for row in _compare_pair(before, after)]
    corrected = holm([row.p_value for row in found])
    return [msgspec.structs.replace(row, p_holm=p) for row, p in zip(found, corrected, strict=True)]


class _Pair(NamedTuple):
    """Two checkpoints' answers to the questions that both answered, in the same order."""

    questions: list[Question]
    earlier: list[Prediction]
    later: list[Prediction]
    group: Codes
    exact: Floats
    """1 where the second checkpoint gained a question, -1 where it lost one, (n_questions,)."""


def _pair(before: Answers, after: Answers) -> _Pair:
    both = {row.question_id for row in before.predictions if counts(row)}
    both &= {row.question_id for row in after.predictions if counts(row)}
    questions = [question for question in before.questions if question.question_id in both]
    by_id = {row.question_id: row for row in after.predictions}
    earlier = [row for row in before.predictions if row.question_id in both]
    later = [by_id[question.question_id] for question in questions]
    old, new = grade(questions, earlier), grade(questions, later)
    return _Pair(questions, earlier, later, old.group, new.exact - old.exact)


def compare_means(before: Answers, after: Answers, facet: str | None, measure: str) -> Comparison:
    """The change from one checkpoint to another in the mean over a facet's values, or over all questions if there is no facet.

    measure: what the row is called. In a mean over k values, a question of a value that n of them share counts 1 / (k n), both
    in the difference and in the test.
    """
    questions, _, _, group, exact = _pair(before, after)
    values = [None if facet is None else question.facets.get(facet) for question in questions]
    pools = pools_of(values) if facet is not None else [np.ones(len(questions), dtype=np.bool_)]
    where = np.any(pools, axis=0) if pools else np.zeros(len(questions), dtype=np.bool_)
    sizes = [int(pool.sum()) for pool in pools]
    weight = sum((whole * pool for whole, pool in zip(_whole_weights(sizes), pools, strict=True)), np.zeros(len(questions)))
    return Comparison(
        before=before.name,
        after=after.name,
        measure=measure,
        n_questions=int(where.sum()),
        n_scenes=len(np.unique(group[where])),
        n_gained=int((exact[where] > 0).sum()),
        n_lost=int((exact[where] < 0).sum()),
        difference=clustered_macro_change(exact, pools, group),
        p_value=sign_flip_p(sums_by_group(exact * weight, where, group)),
        p_holm=None,
    )


_FINE = 2**32
"""Weights of questions are whole numbers up to this: sums of a million of them are exact in float64."""


def _whole_weights(sizes: Sequence[int]) -> list[int]:
    """Whole numbers in the proportions 1 / size; rounded to some nine digits where exact ones would be too large."""
    common = math.lcm(*sizes) if sizes else 1
    return [common // size for size in sizes] if common <= _FINE else [round(_FINE / size) for size in sizes]


def _compare_pair(before: Answers, after: Answers) -> list[Comparison]:
    questions, earlier, later, group, exact = _pair(before, after)
    own = before.labels.own
    kinds = categories(questions, own)
    every = np.ones_like(kinds.inferential)
    if own is None:
        known, like_observer = ~every, np.zeros(len(questions))
    else:
        compared = beside(questions, earlier, own), beside(questions, later, own)
        known, like_observer = compared[0].known, compared[1].like - compared[0].like

    def row(measure: str, where: Mask, difference: Estimate, p: float | None, change: Floats | None) -> Comparison:
        return Comparison(
            before=before.name,
            after=after.name,
            measure=measure,
            n_questions=int(where.sum()),
            n_scenes=len(np.unique(group[where])),
            n_gained=None if change is None else int((change[where] > 0).sum()),
            n_lost=None if change is None else int((change[where] < 0).sum()),
            difference=difference,
            p_value=p,
            p_holm=None,
        )

    def paired(measure: str, where: Mask, change: Floats) -> Comparison:
        difference = clustered_change(*share(change, where), group)
        return row(measure, where, difference, sign_flip_p(sums_by_group(change, where, group)), change)

    gap = clustered_gap_change(share(exact, kinds.observational), share(exact, kinds.inferential), group)
    return [
        paired("all", every, exact),
        paired("observational", kinds.observational, exact),
        paired("inferential", kinds.inferential, exact),
        row("gap", every, gap, _p_of_gap(exact, kinds, group), None),
        paired("shortcut_reliance", kinds.inferential & known, like_observer),
    ]


def _p_of_gap(change: Floats, kinds: Categories, group: Codes) -> float | None:
    """p-value of the gap's change, in which a group counts with its mean changes, here times both numbers of questions to stay
    whole; None where a category has no question."""
    n_seen, n_needed = int(kinds.observational.sum()), int(kinds.inferential.sum())
    if not n_seen or not n_needed:
        return None
    weight = np.where(kinds.observational, n_needed, -n_seen) * (kinds.observational | kinds.inferential)
    return sign_flip_p(sums_by_group(change * weight, kinds.observational | kinds.inferential, group))
