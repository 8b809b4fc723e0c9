"""Two checkpoints on the same questions: the paired difference by hand, and which questions it is over."""

import math
from collections.abc import Sequence

import pytest
from answered import PREDICTIONS, QUESTIONS
from curated_factory import a_prediction, labels_of, questions_of

from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.diagnose.compare import Answers, compare
from videothinker.records import Prediction, Status


def answers(name: str, asked: Sequence[Labelled], predictions: Sequence[Prediction]) -> Answers:
    return Answers(name, questions_of(asked), predictions, labels_of(asked))


def test_a_paired_difference_by_hand() -> None:
    before = answers("base", QUESTIONS, PREDICTIONS)
    better = [a_prediction(QUESTIONS[0], "B"), *(a_prediction(q, "".join(q.question.gold)) for q in QUESTIONS[1:])]
    rows = {row.measure: row for row in compare([before, answers("new", QUESTIONS, better)])}
    # Changes by scene: 0:0 lost, 0:1 gained | 1:0, 1:1 gained | 2:0 gained, 2:1 right in both.
    change = rows["all"]
    assert (change.before, change.after) == ("base", "new")
    assert (change.n_questions, change.n_scenes, change.n_gained, change.n_lost) == (6, 3, 4, 1)
    assert change.difference.value == pytest.approx(3 / 6)
    stderr = math.sqrt(3 / 2 * ((0 - 1) ** 2 + (2 - 1) ** 2 + (1 - 1) ** 2)) / 6
    assert change.difference.stderr == pytest.approx(stderr)
    assert change.p_value == pytest.approx(math.erfc(0.5 / stderr / math.sqrt(2)))
    # Gap: before 1/3 - 1/3; after (0 + 1 + 1) / 3 - 1.
    assert rows["gap"].difference.value == pytest.approx(-1 / 3)
    assert rows["gap"].n_gained is None
    assert rows["shortcut_reliance"].difference.value == pytest.approx(-1 / 3)
    assert rows["shortcut_reliance"].n_lost == 1


def test_only_questions_that_both_answered_are_compared() -> None:
    before = answers("a", QUESTIONS[:5], PREDICTIONS[:5])
    lost = [*PREDICTIONS[:3], a_prediction(QUESTIONS[3], None, Status.DECODE_ERROR), *PREDICTIONS[4:]]
    rows = {row.measure: row for row in compare([before, answers("b", QUESTIONS, lost)])}
    assert rows["all"].n_questions == 4
    assert rows["all"].difference.value == 0
    assert rows["inferential"].n_questions == 1
    assert rows["inferential"].p_value is None  # one scene


def test_checkpoints_without_a_common_question_have_no_difference() -> None:
    rows = compare([answers("a", QUESTIONS[:2], PREDICTIONS[:2]), answers("b", QUESTIONS[2:], PREDICTIONS[2:])])
    assert {row.n_questions for row in rows} == {0}
    assert {row.difference.value for row in rows} == {None}


def test_every_pair_is_compared_in_the_order_given() -> None:
    three = [answers(name, QUESTIONS, PREDICTIONS) for name in ("base", "grpo", "cdpo")]
    pairs = [(row.before, row.after) for row in compare(three) if row.measure == "all"]
    assert pairs == [("base", "grpo"), ("base", "cdpo"), ("grpo", "cdpo")]
