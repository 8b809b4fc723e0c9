"""Single choices: one letter is asked for, and a reply with several is no answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reply_cases import PIECES, Case, cases, check

from videothinker import answers
from videothinker.answers import FORMS, LETTERS, Style
from videothinker.records import Clip, Form, Question

form = FORMS[Form.CHOICE]
QUESTION = Question(
    question_id="7",
    text="What falls first?",
    options=("The cup", "The ball"),
    clip=Clip(path="7.mp4"),
    gold=("B",),
    form=Form.CHOICE,
    group="7.mp4",
    source="x",
)


@cases(Form.CHOICE)
def test_a_reply_is_read_as_the_case_says(case: Case) -> None:
    check(Form.CHOICE, case)


@given(reply=PIECES, n_options=st.integers(1, 6))
def test_any_text_gives_one_letter_of_the_options_or_nothing(reply: str, n_options: int) -> None:
    chosen = form.parse(reply, n_options)
    assert chosen is None or (len(chosen) == 1 and chosen[0] in LETTERS[:n_options])


@given(n_options=st.integers(1, 26), bits=st.integers(0, 2**64), before=PIECES)
def test_what_solution_writes_is_read_back_whatever_stands_before_it(n_options: int, bits: int, before: str) -> None:
    gold = form.random(n_options, bits)
    assert form.parse(form.solution(gold), n_options) == gold
    assert form.parse(f"{before}</think>{form.solution(gold)}", n_options) == gold


def test_an_answer_of_several_letters_or_none_cannot_be_written() -> None:
    for answer in ((), ("A", "B")):
        with pytest.raises(ValueError, match="unpack"):
            form.solution(answer)


def test_the_prompt_asks_for_one_letter_and_says_nothing_of_none() -> None:
    assert answers.render(QUESTION, Style.COT) == (
        "What falls first?\nOptions:\nA. The cup\nB. The ball\n"
        "Think step by step inside <think></think>. Then give the letter of the correct option inside <answer></answer>."
    )
    assert answers.render(QUESTION, Style.DIRECT) == (
        "What falls first?\nOptions:\nA. The cup\nB. The ball\n"
        "Give only the letter of the correct option inside <answer></answer>."
    )


def test_the_questions_form_decides_how_it_is_read_and_solved() -> None:
    assert answers.parse(QUESTION, "<answer>B</answer>") == ("B",)
    assert answers.parse(QUESTION, "<answer>A,B</answer>") is None
    assert answers.solution(QUESTION) == "<answer>B</answer>"


@pytest.mark.parametrize(("chosen", "soft"), [(("B",), 1.0), (("A",), 0.0), (None, 0.0)])
def test_there_is_no_partial_credit(chosen: tuple[str, ...] | None, soft: float) -> None:
    assert form.soft(chosen, ("B",)) == soft
