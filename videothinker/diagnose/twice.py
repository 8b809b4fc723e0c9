"""What thinking is worth to a checkpoint that answers before and after it: both answers, by category."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec import UNSET

from videothinker.answers import is_right
from videothinker.answers import score as answer_score
from videothinker.diagnose import grading
from videothinker.diagnose.estimates import Codes, Floats, Mask, clustered_change, clustered_share, share
from videothinker.diagnose.grading import grade
from videothinker.diagnose.significance import sign_flip_p, sums_by_group
from videothinker.records import Prediction, Question
from videothinker.records.metrics import TwiceScore


class Columns(NamedTuple):
    """Replies that answer twice as columns of shape (n_questions,)."""

    group: Codes
    asked: Mask
    """False where the question leaves every denominator."""
    first: Floats
    """1 where the first answer is right; its score where the form is graded by score."""
    second: Floats
    """The same of the answer that the reply is graded by."""
    first_right: Mask
    second_right: Floats
    """1 where that answer is right."""
    committed: Mask
    """True where there is a first answer."""
    thinks: Floats
    stopped: Floats
    tokens: Floats
    """Tokens that were written; NaN where that is not known."""
    confidence: Floats
    """How sure the first answer was; -1 where there is none to stop behind."""
    first_tokens: Floats
    """Tokens up to the end of the first answer; NaN where there is none to stop behind."""


def answers_twice(predictions: Sequence[Prediction]) -> bool:
    """Whether these are replies in the style "twice"."""
    return any(row.first is not UNSET for row in predictions)


def sure_from(row: Prediction) -> tuple[float, int] | None:
    """How sure the first answer was, and the tokens up to its end; None where there is none to stop behind."""
    if row.confidence is UNSET or row.first_tokens is UNSET:
        return None
    return row.confidence, row.first_tokens


def columns(questions: Sequence[Question], predictions: Sequence[Prediction]) -> Columns:
    """The columns of one checkpoint. `predictions[i]` answers `questions[i]`."""
    graded = grade(questions, predictions)
    first = [row.first or () if row.first is not None and row.first is not UNSET else None for row in predictions]
    sure = [sure_from(row) or (-1.0, np.nan) for row in predictions]
    return Columns(
        group=graded.group,
        asked=graded.asked,
        first=_floats([answer_score(one.form, said, one.gold) for said, one in zip(first, questions, strict=True)]),
        second=graded.exact,
        first_right=np.array(
            [is_right(one.form, said, one.gold) for said, one in zip(first, questions, strict=True)], dtype=np.bool_
        ),
        second_right=_floats([grading.is_right(one, row) for one, row in zip(questions, predictions, strict=True)]),
        committed=np.array([said is not None for said in first], dtype=np.bool_),
        thinks=_floats(["<think>" in row.reply.lower() for row in predictions]),
        stopped=_floats([row.stopped is True for row in predictions]),
        tokens=_floats([np.nan if row.tokens is None else row.tokens for row in predictions]),
        confidence=_floats([confidence for confidence, _ in sure]),
        first_tokens=_floats([n_tokens for _, n_tokens in sure]),
    )


def _floats(values: Sequence[object]) -> Floats:
    return np.array(values, dtype=np.float64)


def scores(
    questions: Sequence[Question], predictions: Sequence[Prediction], pools: Mapping[str, Mask]
) -> dict[str, TwiceScore]:
    """Both answers on the questions of each pool."""
    found = columns(questions, predictions)
    return {name: score(found, where & found.asked) for name, where in pools.items()}


def score(found: Columns, where: Mask) -> TwiceScore:
    """Both answers on some of the questions, all of which were asked."""
    change = found.second - found.first

    def of(column: Floats, among: Mask = where) -> tuple[Floats, Floats]:
        return share(column, among)

    wrong = where & found.committed & ~found.first_right
    right = where & found.first_right
    tokens = found.tokens[where]
    return TwiceScore(
        n_questions=int(where.sum()),
        n_scenes=len(np.unique(found.group[where])),
        first=clustered_share(*of(found.first), found.group),
        second=clustered_share(*of(found.second), found.group),
        think_helps=clustered_change(*of(change), found.group),
        p_value=sign_flip_p(sums_by_group(change, where, found.group)) if where.any() else None,
        fix_rate=clustered_share(*of(found.second_right, wrong), found.group),
        break_rate=clustered_share(*of(1 - found.second_right, right), found.group),
        thinking_ratio=clustered_share(*of(found.thinks), found.group),
        stopped=clustered_share(*of(found.stopped), found.group),
        mean_tokens=None if not len(tokens) or np.isnan(tokens).any() else float(tokens.mean()),
    )
