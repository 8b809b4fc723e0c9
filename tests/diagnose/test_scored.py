"""Numbers, estimates and intervals in a diagnosis: their scores are worked out by hand, and called scores."""

import math

import msgspec
import numpy as np
import pytest
from msgspec import UNSET
from report_factory import make_plain_run

from videothinker import answers
from videothinker.curated import NO_LABELS, Labels
from videothinker.diagnose import twice
from videothinker.diagnose.compare import Answers, compare
from videothinker.diagnose.grading import is_right
from videothinker.diagnose.metrics import chance, summarize
from videothinker.diagnose.runs import Run, comparisons, scored
from videothinker.diagnose.significance import sign_flip_p, sums_by_group
from videothinker.diagnose.stopping import first_answer
from videothinker.diagnose.view_effects import Asked, view_effect
from videothinker.diagnose.views import OF_CLIPS
from videothinker.records import Category, Clip, Estimate, Form, Label, LabelSet, Prediction, Question, RunRecord, Status
from videothinker.records.twice import StopPoint, StopSweep
from videothinker.records.views import ViewEffects
from videothinker.reports.diagnosis import diagnosis_pages
from videothinker.reports.scored import WordsOfSets, words_of_sets
from videothinker.reports.twice import sweep_drawing, sweep_table, sweep_told


def ask(name: str, form: Form, gold: tuple[str, ...], group: str, options: tuple[str, ...] = ()) -> Question:
    return Question(
        question_id=name,
        text="?",
        options=options,
        clip=Clip(path=f"{group}.mp4"),
        gold=gold,
        form=form,
        group=group,
        source="x",
    )


QUESTIONS = [
    ask("i1", Form.INTERVAL, ("4", "8"), "a"),
    ask("i2", Form.INTERVAL, ("0", "10"), "b"),
    ask("i3", Form.INTERVAL, ("0", "10"), "c"),
    ask("n1", Form.NUMBER, ("7",), "a"),
    ask("e1", Form.ESTIMATE, ("10",), "b"),
    ask("c1", Form.CHOICE, ("A",), "c", ("x", "y")),
]
REPLIES = ["2 to 6", "0 to 6", "soon", "7", "9", "A"]
SCORES = [1 / 3, 0.6, 0.0, 1.0, 0.9, 1.0]
"""2 of 6 s; 6 of 10 s; unreadable; right; 10 % off, which nine of ten tolerances allow; right."""


def predictions(replies: list[str], questions: list[Question] = QUESTIONS) -> list[Prediction]:
    found = []
    for question, said in zip(questions, replies, strict=True):
        reply = f"<answer>{said}</answer>"
        chosen = answers.parse(question, reply)
        status = Status.NO_ANSWER if chosen is None else Status.OK
        found.append(
            Prediction(
                question_id=question.question_id, reply=reply, chosen=chosen, gold=question.gold, observer=None, status=status
            )
        )
    return found


def test_accuracy_is_the_mean_score() -> None:
    found = summarize(QUESTIONS, predictions(REPLIES), NO_LABELS)
    assert found.all.per_question.value == pytest.approx(sum(SCORES) / 6)
    assert found.all.n_unparsed == 1
    by_form = {name: pool.per_question.value for name, pool in found.by_facet["form"].items()}
    assert by_form == pytest.approx({"interval": (1 / 3 + 0.6) / 3, "number": 1.0, "estimate": 0.9, "choice": 1.0})
    assert found.by_facet["form"]["interval"].per_option.value is None, "there are no options"
    assert found.by_n_correct.keys() == {0, 1}


def test_intervals_are_told_as_the_field_does() -> None:
    found = summarize(QUESTIONS, predictions(REPLIES), NO_LABELS).intervals
    assert found is not UNSET
    one = found["all"]
    assert (one.n_questions, one.n_scenes) == (3, 3)
    assert one.miou.value == pytest.approx((1 / 3 + 0.6) / 3)
    assert {bound: share.value for bound, share in one.recall.items()} == pytest.approx({"0.3": 2 / 3, "0.5": 1 / 3, "0.7": 0})
    # Residuals of the overlaps by clip, with G = 3 clips.
    mean = (1 / 3 + 0.6) / 3
    squares = sum((score - mean) ** 2 for score in (1 / 3, 0.6, 0))
    assert one.miou.stderr == pytest.approx(math.sqrt(3 / 2 * squares) / 3)


def test_intervals_by_category_are_those_of_its_questions() -> None:
    kinds = [Category.OBSERVATIONAL, Category.INFERENTIAL, Category.INFERENTIAL, *[Category.INFERENTIAL] * 3]
    rows = {
        one.question_id: Label(question_id=one.question_id, observer="o", rule="r", category=kind, answer=one.gold, reason="")
        for one, kind in zip(QUESTIONS, kinds, strict=True)
    }
    labels = Labels([own := LabelSet("o", "r", rows)], own)
    found = summarize(QUESTIONS, predictions(REPLIES), labels)
    assert found.intervals is not UNSET
    assert {name: one.miou.value for name, one in found.intervals.items()} == pytest.approx(
        {"all": (1 / 3 + 0.6) / 3, "observational": 1 / 3, "inferential": 0.3}
    )
    assert found.gap.value == pytest.approx(1 / 3 - (0.6 + 0 + 1 + 0.9 + 1) / 5)
    # The observer answers gold, so an inferential answer is its own where it is right: half an overlap is, 10 % off is not.
    assert found.shortcut_reliance.value == pytest.approx(3 / 5)
    assert found.shortcut_error_share.value is None, "the only options are answered right"


def test_questions_of_letters_alone_have_no_such_field() -> None:
    assert summarize(QUESTIONS[-1:], predictions(["B"], QUESTIONS[-1:]), NO_LABELS).intervals is UNSET


def test_chance_of_what_cannot_be_listed_is_0() -> None:
    assert chance(QUESTIONS, NO_LABELS).all.per_question.value == pytest.approx(0.5 / 6)  # the single choice


def test_right_or_wrong_is_asked_of_the_form() -> None:
    found = [is_right(question, row) for question, row in zip(QUESTIONS, predictions(REPLIES), strict=True)]
    assert found == [False, True, False, True, False, True]


def test_changes_of_scores_are_tested() -> None:
    """Three intervals that a second checkpoint improves by a third, 0.4 and 1: with three clips 2 of 8 ways lead as far."""
    asked = QUESTIONS[:3]
    before = Answers("a", asked, predictions(REPLIES[:3], asked), NO_LABELS)
    after = Answers("b", asked, predictions(["4 to 7", "0 to 10", "0 to 10"], asked), NO_LABELS)
    row = compare([before, after])[0]
    assert row.difference.value == pytest.approx((0.75 - 1 / 3 + 0.4 + 1) / 3)
    assert (row.n_gained, row.n_lost) == (3, 0)
    assert row.p_value == pytest.approx(2 / 8)


def test_sums_that_are_not_whole_keep_their_proportions() -> None:
    change = np.array([0.25, 0.25, -0.25, 0.5])
    sums = sums_by_group(change, np.ones(4, dtype=np.bool_), np.array([0, 0, 1, 2]))
    assert sums.tolist() == [2**30, -(2**29), 2**30]
    assert (
        sign_flip_p(sums) == sign_flip_p(np.array([2, -1, 2])) == 4 / 8
    )  # 3 or more away from 0: 2 + 2 + 1, 2 + 2 - 1 and their mirror images
    whole = sums_by_group(np.array([1.0, 1.0]), np.ones(2, dtype=np.bool_), np.array([0, 1]))
    assert whole.tolist() == [1, 1]


def test_first_and_second_answers_have_scores_and_are_fixed_where_right() -> None:
    asked = QUESTIONS[:2]
    said = [("0 to 1", "4 to 8"), ("0 to 6", "0 to 9")]  # 0 then 1; 0.6 then 0.9, right both times
    rows = []
    for question, (first, second) in zip(asked, said, strict=True):
        reply = rf"\boxed{{{first}}}<think>so</think>\boxed{{{second}}}"
        both = answers.read_twice(answers.form_of(question), reply, 0)
        rows.append(
            Prediction(
                question_id=question.question_id,
                reply=reply,
                chosen=both.second,
                gold=question.gold,
                observer=None,
                status=Status.OK,
                first=both.first,
                second=both.second,
            )
        )
    score = twice.scores(asked, rows, {"all": np.ones(2, dtype=np.bool_)})["all"]
    assert score.first.value == pytest.approx(0.3)
    assert score.second.value == pytest.approx(0.95)
    assert score.think_helps.value == pytest.approx(0.65)
    assert (score.fix_rate.value, score.break_rate.value) == (1.0, 0.0)


def test_the_confidence_of_an_interval_is_that_of_its_numbers() -> None:
    text = r"\boxed{12 to 20}"
    ends = [7, 9, 12, 15, 16]  # \boxed{ | 12 | " to" | " 20" | }
    found = first_answer(text, ends, [0.0, math.log(0.5), math.log(0.01), math.log(0.5), 0.0])
    assert found is not None
    assert found.confidence == pytest.approx(0.5)


def run_of(name: str, replies: list[str]) -> Run:
    record = RunRecord(name=name, model=f"models/{name}", kind="checkpoint", settings={"split": "test"})
    return scored(name, record, QUESTIONS, predictions(replies), NO_LABELS)


def test_the_page_speaks_of_scores_and_has_the_intervals() -> None:
    runs = [run_of("base", REPLIES), run_of("better", ["4 to 8", *REPLIES[1:]])]
    pages = diagnosis_pages(runs, comparisons(runs), None)
    markdown, html = pages["report.md"].decode(), pages["report.html"].decode()
    assert "Mean score: 1 or 0 for an answer that is right or wrong, an interval's IoU" in markdown
    row = next(line for line in markdown.splitlines() if line.startswith("| base | all | 3 |"))
    assert "31.1" in row  # (1/3 + 0.6) / 3
    assert "answered exactly right" not in markdown
    assert "A mean score of" in html


def test_the_page_of_letters_speaks_of_right_answers() -> None:
    run = make_plain_run("base", QUESTIONS[-1:], skill=1.0)
    markdown = diagnosis_pages([run], [], None)["report.md"].decode()
    assert "Questions whose whole answer is right" in markdown
    assert "mIoU" not in markdown


LETTERS = WordsOfSets(
    "Answered exactly right", "answered exactly right", "questions that only the second, or only the first, has right"
)


def test_sets_of_which_some_are_graded_by_score_are_told_apart() -> None:
    scored_run, plain = run_of("base", REPLIES), make_plain_run("base", QUESTIONS[-1:], skill=1.0)
    assert words_of_sets({"a": [plain], "b": [plain]}) == LETTERS
    both = words_of_sets({"a": [plain], "b": [scored_run]})
    assert both.axis == "answered exactly right; of b the mean score"
    assert both.what.startswith("Answered exactly right; of b the mean score: 1 or 0 for an answer that is right or wrong")
    assert both.gained == f"{LETTERS.gained}; of b, questions on which the second, or the first, has the higher score"
    alone = words_of_sets({"b": [scored_run]})
    assert (alone.axis, "right," in alone.gained) == ("mean score", False)


def test_views_of_scored_answers_are_called_scores() -> None:
    run = run_of("base", REPLIES)
    asked = Asked("base", QUESTIONS, run.predictions, NO_LABELS)
    frozen = {row.question_id: row for row in predictions(["4 to 8", *REPLIES[1:]])}
    effects = ViewEffects(views=[view_effect(asked, OF_CLIPS["frozen"], frozen)])
    pages = diagnosis_pages([run], [], None, views=effects)
    lines = pages["report.md"].decode().splitlines()
    assert [line for line in lines if "exactly right" in line] == []
    assert any("Mean score of the answers with the clip as it is and with the damaged one" in line for line in lines)
    plain = diagnosis_pages([make_plain_run("base", QUESTIONS[-1:], skill=1.0)], [], None, views=effects)
    assert "Questions answered exactly right with the clip as it is" in plain["report.md"].decode()


def test_a_sweep_of_scored_answers_is_called_one() -> None:
    point = StopPoint(stop_at=None, stopped=0.0, mean_tokens=9.0, accuracy=Estimate(0.5, None, None))
    found = StopSweep(
        run="base", split="dev", n_questions=1, n_scenes=1, points=[point], best=point, by_category={"all": [point] * 3},
        by_score=True, confirm="vt diagnose",
    )  # fmt: skip
    assert "a mean score of 50.0\u00a0% at 9.0 tokens" in sweep_told(found)
    assert sweep_table(found).columns[-1] == "Score"
    assert "right" not in sweep_drawing(found).caption.lower().replace("right: none does", "")
    letters = msgspec.structs.replace(found, by_score=False)
    assert "50.0\u00a0% right at 9.0 tokens" in sweep_told(letters)
    assert sweep_table(letters).columns[-1] == "Right"
