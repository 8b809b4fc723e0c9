"""Two checkpoints on the same questions: the paired difference by hand, and which questions it is over."""

import math
from collections.abc import Sequence

import pytest
from answered import PREDICTIONS, QUESTIONS
from curated_factory import a_prediction, a_question, labels_of, questions_of

from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.diagnose.compare import Answers, compare
from videothinker.records import Comparison, Estimate, Prediction, Status


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
    assert change.difference.ci95 == (-1.0, 1.0)  # t(2) = 4.3027 times sqrt(stderr^2 + 1/9) = 0.441, one scene more of three
    assert change.p_value == pytest.approx(2 / 4)  # scenes gained 0, 2 and 1: both signs alike or not
    # Gap: before 1/3 - 1/3; after (0 + 1 + 1) / 3 - 1.
    assert rows["gap"].difference.value == pytest.approx(-1 / 3)
    assert rows["gap"].n_gained is None
    # Scene 0 gained and lost one of three; scene 1 gained 1/3 in both kinds; scene 2 alone changed the gap, by -1/3.
    assert rows["gap"].p_value == 1.0
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


def changed(n_scenes: int, n_lost: int = 0) -> dict[str, Comparison]:
    """One observational and one inferential question a scene; the inferential ones are all gained, but for `n_lost` of them."""
    asked = [a_question(f"{scene}:{qid}", gold="A", observer="AB"[qid]) for scene in range(n_scenes) for qid in range(2)]
    wrong = [a_prediction(one, "A" if one.qid == 0 or one.scene_index < n_lost else "C") for one in asked]
    right = [a_prediction(one, "C" if one.qid == 1 and one.scene_index < n_lost else "A") for one in asked]
    return {row.measure: row for row in compare([answers("base", asked, wrong), answers("new", asked, right)])}


def test_two_scenes_with_the_same_change_convince_nobody() -> None:
    """All five tests: two have p = 2 of 4 ways and the gap, whose change is the other way round, too; two changed nothing."""
    rows = changed(2)
    assert {name: row.p_value for name, row in rows.items()} == {
        "all": 0.5,
        "observational": 1.0,
        "inferential": 0.5,
        "gap": 0.5,
        "shortcut_reliance": 1.0,
    }
    assert {row.p_holm for row in rows.values()} == {1.0}
    assert rows["inferential"].difference == Estimate(1.0, 0.0, (-1.0, 1.0))


def test_many_scenes_do() -> None:
    """8 gained and one lost, nine scenes: all signs alike, or all but one, 2 (1 + 9) of 512 ways."""
    rows = changed(9, n_lost=1)
    assert rows["inferential"].p_value == rows["gap"].p_value == rows["all"].p_value == pytest.approx(20 / 512)
