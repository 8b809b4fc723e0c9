"""The built-in solvers answer as they say, through the same reading as a checkpoint."""

import hashlib
from pathlib import Path

import msgspec
import pytest
from curated_factory import a_choice, a_question, random_questions, write_curated, write_unlabelled

from videothinker import answers
from videothinker.answers import LETTERS
from videothinker.diagnose import metrics, run, solvers
from videothinker.errors import VtError
from videothinker.records import Form, Metrics, Question


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


def test_random_sets_are_those_of_earlier_versions() -> None:
    """Option i is taken by bit i of the first four bytes of SHA-256("SEED:QUESTION"), which end on 1101 here."""
    assert hashlib.sha256(b"7:0:9").digest()[:4].hex() == "8e58211d"
    assert solvers.random_answer(a_question("0:9").question, 7) == ("A", "C", "D")


def test_random_takes_every_single_choice_as_often() -> None:
    for n_options, form in ((3, Form.CHOICE), (26, Form.CHOICE), (2, Form.YES_NO)):
        drawn = [solvers.random_answer(a_choice(f"{i}", n_options=n_options, form=form), 7) for i in range(2600)]
        assert {len(each) for each in drawn} == {1}
        for letter in LETTERS[:n_options]:
            n = drawn.count((letter,))
            expected = 2600 / n_options
            assert abs(n - expected) < 5 * (expected * (1 - 1 / n_options)) ** 0.5, (n_options, letter)


def test_the_prior_keeps_forms_apart() -> None:
    choose = solvers.prior(
        [
            *(a_choice(f"c{i}", gold="D") for i in range(3)),
            *(a_choice(f"s{i}", gold="AB", form=Form.LETTERS) for i in range(5)),
            *(a_choice(f"y{i}", gold="B", form=Form.YES_NO, n_options=2) for i in range(2)),
        ]
    )
    assert choose(a_choice("x")) == ("D",)
    assert choose(a_choice("x", form=Form.LETTERS)) == ("A", "B")
    assert choose(a_choice("x", form=Form.YES_NO, n_options=2)) == ("B",)
    assert choose(a_choice("x", n_options=2)) == ()  # a single choice of two is no yes or no


def test_solvers_answer_every_form_in_its_own_words(tmp_path: Path) -> None:
    questions = [
        a_choice("1", gold="B"),
        a_choice("2", gold="B", form=Form.YES_NO, n_options=2),
        a_choice("3", gold="AB", form=Form.LETTERS),
    ]
    learnt = [msgspec.structs.replace(one, question_id=f"t{one.question_id}") for one in questions]
    curated = write_unlabelled(tmp_path, {"train": learnt, "test": questions})
    said = {
        name: [row.reply for row in solvers.open_solver(f"solver:{name}", curated=curated, seed=0).answer(questions)]
        for name in ("gold", "prior", "none")
    }
    assert said["gold"] == said["prior"] == ["<answer>B</answer>", "<answer>no</answer>", "<answer>A,B</answer>"]
    assert said["none"] == ["<answer>none</answer>"] * 3
    assert [answers.parse(question, said["none"][0]) for question in questions] == [None, None, ()]


def test_without_labels_there_is_no_observer(tmp_path: Path) -> None:
    curated = write_unlabelled(tmp_path, {"test": [a_choice("1")]})
    with pytest.raises(VtError, match="has no labels of its own, so no observer; leave it out"):
        solvers.open_solver("solver:observer", curated=curated, seed=0)


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
