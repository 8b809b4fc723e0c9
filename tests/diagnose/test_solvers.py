"""The built-in solvers answer as they say, through the same reading as a checkpoint."""

from pathlib import Path

import pytest
from curated_factory import a_question, random_questions, write_curated

from videothinker import answers
from videothinker.diagnose import metrics, run, solvers
from videothinker.errors import VtError
from videothinker.records import Metrics, Question


def diagnosed(folder: Path, name: str) -> Metrics:
    curated = write_curated(folder)
    questions = curated.questions("dev")
    solver = solvers.open_solver(f"solver:{name}", curated=curated, seed=1)
    rows = [run.grade(q, a, curated.labels) for q, a in zip(questions, solver.answer(questions), strict=True)]
    return metrics.summarize(questions, rows, curated.labels)


def test_the_observer_has_all_observational_questions_right_and_no_inferential_one(tmp_path: Path) -> None:
    found = diagnosed(tmp_path, "observer")
    assert found.observational.n_questions > 0
    assert found.inferential.n_questions > 0
    assert found.observational.per_question.value == 1.0
    assert found.inferential.per_question.value == 0.0
    assert found.shortcut_reliance.value == 1.0
    assert found.shortcut_error_share.value == 1.0


def test_gold_earns_everything(tmp_path: Path) -> None:
    found = diagnosed(tmp_path, "gold")
    assert found.all.per_question.value == found.all.per_option.value == found.all.soft.value == 1.0
    assert found.all.n_unparsed == 0


def test_none_answers_none_and_is_right_where_nothing_is_correct(tmp_path: Path) -> None:
    found = diagnosed(tmp_path, "none")
    assert found.by_n_correct[0].per_question.value == 1.0
    assert found.by_n_correct[1].per_question.value == 0.0
    assert found.all.n_unparsed == 0


def question(gold: str, *, n_options: int = 3, negated: bool = False) -> Question:
    return a_question("0:0", n_options=n_options, gold=gold, negated=negated).question


def test_the_prior_counts_by_form_and_number_of_options() -> None:
    train = [question(gold) for gold in ("A", "A", "B", "AB", "AB", "AB")]
    train += [question(gold, negated=True) for gold in ("C", "C", "")]
    train += [question(gold, n_options=2) for gold in ("B", "A", "")]
    choose = solvers.prior(train)
    assert choose(question("")) == ("A", "B")
    assert choose(question("", negated=True)) == ("C",)
    assert choose(question("", n_options=2)) == ()  # three sets once each: the one with the fewest letters
    assert choose(question("", n_options=2, negated=True)) == ()  # a form that train lacks: by the number of options
    assert choose(question("", n_options=4)) == ()  # a number that train lacks


def test_the_prior_never_looks_at_the_question_it_answers() -> None:
    choose = solvers.prior([question("A")])
    assert choose(question("B")) == choose(question("C")) == ("A",)


def test_the_prior_needs_a_train_split(tmp_path: Path) -> None:
    curated = write_curated(tmp_path, {"validation": random_questions(range(3))})
    with pytest.raises(VtError, match="counts answers in the split 'train'"):
        solvers.open_solver("solver:prior", curated=curated, seed=0)


def test_an_unknown_solver_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(VtError, match="solver:observer, solver:gold, solver:prior, solver:random, solver:none"):
        solvers.open_solver("solver:oracle", curated=write_curated(tmp_path), seed=0)


def test_random_takes_each_option_half_the_time_and_depends_on_seed_and_question_alone() -> None:
    questions = [a_question(f"{scene}:{qid}").question for scene in range(500) for qid in range(4)]
    drawn = [solvers.random_answer(question, 7) for question in questions]
    for letter in "ABCD":
        share = sum(letter in each for each in drawn) / len(drawn)
        assert abs(share - 0.5) < 5 * 0.5 / len(drawn) ** 0.5  # five standard errors: one false alarm in a million
    both = sum({"A", "B"} <= set(each) for each in drawn) / len(drawn)
    assert abs(both - 0.25) < 0.05
    assert drawn[3] == solvers.random_answer(questions[3], 7)
    assert drawn != [solvers.random_answer(question, 8) for question in questions]


def test_solvers_reply_in_text_that_is_read_like_any_other(tmp_path: Path) -> None:
    curated = write_curated(tmp_path)
    questions = curated.questions("dev")
    for name in solvers.NAMES:
        for each, answer in zip(
            questions, solvers.open_solver(f"solver:{name}", curated=curated, seed=0).answer(questions), strict=True
        ):
            assert answer.question_id == each.question_id
            assert answer.reply is not None
            assert answers.parse(each, answer.reply) is not None
