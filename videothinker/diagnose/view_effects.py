"""What damaging the clip does to answers: accuracy lost, answers changed, and whether they come from where the evidence is.

All differences are paired by question and clustered by group, as those between checkpoints are (`compare`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from videothinker.curated import Labels
from videothinker.diagnose.estimates import Floats, Mask, clustered_change, clustered_share, share
from videothinker.diagnose.grading import counts, grade, is_right
from videothinker.diagnose.metrics import categories
from videothinker.diagnose.views import View
from videothinker.records import DECIDED, Category, Prediction, Question
from videothinker.records.views import EvidenceChange, EvidenceEffect, ViewEffect, ViewGap

RIGHT = "right"
"""Kind of the questions that are answered right with the clip as it is: CausalSight's denominator."""
Answered = Mapping[str, Prediction]
"""One asking's predictions by question_id."""


class Asked(NamedTuple):
    """A checkpoint's answers to the clips as they are."""

    name: str
    questions: Sequence[Question]
    predictions: Sequence[Prediction]
    """Parallel to `questions`."""
    labels: Labels


def view_effect(asked: Asked, view: View, under: Answered, n_left_out: int = 0) -> ViewEffect:
    """What one view does. under: the predictions with the damaged clip; questions without one are in no number."""
    questions, normal, (damaged,) = _paired(asked, under)
    before, after = grade(questions, normal), grade(questions, damaged)
    other = _changed(normal, damaged)

    def row(where: Mask) -> ViewGap:
        return ViewGap(
            n_questions=int(where.sum()),
            n_groups=len(np.unique(before.group[where])),
            n_unread=_n_unread(damaged, where),
            normal=clustered_share(*share(before.exact, where), before.group),
            under=clustered_share(*share(after.exact, where), before.group),
            gap=clustered_change(*share(before.exact - after.exact, where), before.group),
            changed=clustered_share(*share(other, where), before.group),
        )

    kinds = _kinds(questions, asked.labels)
    rows = {kind: row(where) for kind, where in kinds.items()}
    return ViewEffect(run=asked.name, view=view.name, axis=view.axis, n_left_out=n_left_out, by_category=rows)


def evidence_effect(asked: Asked, evidence: Answered, elsewhere: Answered, n_without: int = 0) -> EvidenceEffect:
    """How often hiding the evidence changes an answer, against hiding as many other frames."""
    questions, normal, (hidden, control) = _paired(asked, evidence, elsewhere)
    before = grade(questions, normal)
    by_evidence, by_control = _changed(normal, hidden), _changed(normal, control)

    def row(where: Mask) -> EvidenceChange:
        return EvidenceChange(
            n_questions=int(where.sum()),
            n_groups=len(np.unique(before.group[where])),
            n_unread=(_n_unread(hidden, where), _n_unread(control, where)),
            evidence=clustered_share(*share(by_evidence, where), before.group),
            elsewhere=clustered_share(*share(by_control, where), before.group),
            difference=clustered_change(*share(by_evidence - by_control, where), before.group),
        )

    every, *others = _kinds(questions, asked.labels).items()
    had_right = np.array([is_right(one, row) for one, row in zip(questions, normal, strict=True)], dtype=np.bool_)
    right = [(RIGHT, had_right)] if had_right.any() else []
    rows = {kind: row(where) for kind, where in (every, *right, *others)}
    return EvidenceEffect(run=asked.name, n_without=n_without, by_category=rows)


def _paired(asked: Asked, *others: Answered) -> tuple[list[Question], list[Prediction], list[list[Prediction]]]:
    """The questions that were answered every way, with the predictions of each, in one order."""
    found = [
        (question, row)
        for question, row in zip(asked.questions, asked.predictions, strict=True)
        if counts(row) and all((other := each.get(question.question_id)) is not None and counts(other) for each in others)
    ]
    questions = [question for question, _ in found]
    return questions, [row for _, row in found], [[each[one.question_id] for one in questions] for each in others]


def _changed(before: Sequence[Prediction], after: Sequence[Prediction]) -> Floats:
    """1 where the two answers differ, (n_questions,). None, no readable answer, differs from every answer and not from None."""

    def differs(one: Prediction, other: Prediction) -> bool:
        if one.chosen is None or other.chosen is None:
            return one.chosen is not other.chosen
        return set(one.chosen) != set(other.chosen)

    return np.array([differs(*pair) for pair in zip(before, after, strict=True)], dtype=np.float64)


def _n_unread(rows: Sequence[Prediction], where: Mask) -> int:
    return sum(row.chosen is None for row, counted in zip(rows, where, strict=True) if counted)


def _kinds(questions: Sequence[Question], labels: Labels) -> dict[str, Mask]:
    """The questions by kind: all, and each category that some of them has."""
    found = categories(questions, labels.own)
    by_name = {kind.value: getattr(found, kind.value) for kind in (*DECIDED, Category.UNSURE)}
    return {
        "all": np.ones(len(questions), dtype=np.bool_),
        **{kind: where for kind, where in by_name.items() if where.any()},
    }
