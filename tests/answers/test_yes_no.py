"""Yes or no: the words are asked for and read, and held as the letters A and B."""

import pytest
from hypothesis import given
from reply_cases import PIECES, Case, cases, check

from videothinker import answers
from videothinker.answers import FORMS, Style
from videothinker.answers.yes_no import OPTIONS
from videothinker.records import Clip, Form, Question

form = FORMS[Form.YES_NO]


@cases(Form.YES_NO)
def test_a_reply_is_read_as_the_case_says(case: Case) -> None:
    check(Form.YES_NO, case)


@given(reply=PIECES)
def test_any_text_gives_yes_or_no_or_nothing(reply: str) -> None:
    assert form.parse(reply, 2) in (("A",), ("B",), None)


@given(before=PIECES)
def test_what_solution_writes_is_read_back_whatever_stands_before_it(before: str) -> None:
    for gold in (("A",), ("B",)):
        assert form.parse(form.solution(gold), 2) == gold
        assert form.parse(f"{before}</think>{form.solution(gold)}", 2) == gold


def test_the_words_stand_for_the_letters_of_the_options() -> None:
    assert [form.solution((letter,)) for letter in "AB"] == [f"<answer>{word}</answer>" for word in OPTIONS]


def test_the_prompt_shows_no_options() -> None:
    question = Question(
        question_id="1",
        text="Does the cup fall?",
        options=OPTIONS,
        clip=Clip(path="1.mp4"),
        gold=("B",),
        form=Form.YES_NO,
        group="1.mp4",
        source="x",
    )
    assert answers.render(question, Style.COT) == (
        "Does the cup fall?\nThink step by step inside <think></think>. Then answer yes or no inside <answer></answer>."
    )
    assert answers.render(question, Style.DIRECT) == "Does the cup fall?\nAnswer only yes or no inside <answer></answer>."
    assert answers.solution(question) == "<answer>no</answer>"
    assert answers.parse(question, "No, it stays.") == ("B",)


@pytest.mark.parametrize(("chosen", "soft"), [(("B",), 1.0), (("A",), 0.0), (None, 0.0)])
def test_there_is_no_partial_credit(chosen: tuple[str, ...] | None, soft: float) -> None:
    assert form.soft(chosen, ("B",)) == soft
