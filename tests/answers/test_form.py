"""What holds for every form of answer: which answers a question can have, and how options are counted."""

import pytest

from videothinker.answers import FORMS, Answer
from videothinker.answers.form import n_options_right, options_apart
from videothinker.records import Form


@pytest.mark.parametrize(
    ("form", "answer", "n_options", "fault"),
    [
        (Form.LETTERS, (), 3, None),
        (Form.LETTERS, ("A", "C"), 3, None),
        (Form.LETTERS, ("A", "E"), 4, "which its 4 options do not have"),
        (Form.CHOICE, ("C",), 3, None),
        (Form.CHOICE, ("D",), 3, "which its 3 options do not have"),
        (Form.CHOICE, ("A", "B"), 3, "expected one letter for the form choice"),
        (Form.YES_NO, ("B",), 2, None),
        (Form.YES_NO, ("C",), 2, "which its 2 options do not have"),
        (Form.YES_NO, (), 2, "expected one letter for the form yes-no"),
    ],
)
def test_which_answers_a_question_can_have(form: Form, answer: Answer, n_options: int, fault: str | None) -> None:
    assert FORMS[form].fault(answer, n_options) == fault


@pytest.mark.parametrize("form", Form)
def test_a_random_answer_is_one_that_the_question_can_have(form: Form) -> None:
    n_options = 2 if form in (Form.LETTERS, Form.CHOICE, Form.YES_NO) else 0
    assert [FORMS[form].fault(FORMS[form].random(n_options, bits), n_options) for bits in range(8)] == [None] * 8


@pytest.mark.parametrize(
    ("chosen", "gold", "n_options", "apart", "right"),
    [
        (("A", "C"), ("A",), 3, {"C"}, 2),
        (("A",), ("B",), 4, {"A", "B"}, 2),
        ((), (), 2, set(), 2),
        (("7",), ("5",), 0, set(), 0),  # numbers: there is no option to judge
    ],
)
def test_options_are_what_letters_name(chosen: Answer, gold: Answer, n_options: int, apart: set[str], right: int) -> None:
    assert options_apart(chosen, gold, n_options) == apart
    assert n_options_right(chosen, gold, n_options) == right
