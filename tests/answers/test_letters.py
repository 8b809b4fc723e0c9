"""Sets of letters: what is asked for, what is read from a reply, and what it earns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reply_cases import PIECES, Case, cases, check

from videothinker.answers import FORMS, LETTERS, Style, is_exact, render_prompt
from videothinker.answers.form import n_options_right
from videothinker.records import Form

form = FORMS[Form.LETTERS]
answers = st.integers(1, 26).flatmap(
    lambda n: st.tuples(st.just(n), st.sets(st.sampled_from(LETTERS[:n])).map(lambda letters: tuple(sorted(letters))))
)


@cases(Form.LETTERS)
def test_a_reply_is_read_as_the_case_says(case: Case) -> None:
    check(Form.LETTERS, case)


@given(reply=PIECES, n_options=st.integers(1, 6))
def test_any_text_gives_sorted_letters_of_the_options_or_nothing(reply: str, n_options: int) -> None:
    chosen = form.parse(reply, n_options)
    if chosen is not None:
        assert list(chosen) == sorted(set(chosen))
        assert set(chosen) <= set(LETTERS[:n_options])


@given(answers, PIECES)
def test_what_solution_writes_is_read_back_whatever_stands_before_it(answer: tuple[int, tuple[str, ...]], before: str) -> None:
    n_options, gold = answer
    assert form.parse(form.solution(gold), n_options) == gold
    assert form.parse(f"{before}</think>{form.solution(gold)}", n_options) == gold


def test_the_prompt_is_the_methods_text() -> None:
    text = render_prompt("What will happen?", ["The cube falls", "The ball stops"], Style.COT)
    assert text == (
        "What will happen?\nOptions:\nA. The cube falls\nB. The ball stops\n"
        "Think step by step inside <think></think>. Then give the letters of all correct options inside <answer></answer>, "
        "separated by commas, or none if no option is correct."
    )
    assert render_prompt("Q?", ["x"], Style.DIRECT) == (
        "Q?\nOptions:\nA. x\n"
        "Give only the letters of all correct options inside <answer></answer>, separated by commas, or none if no option is "
        "correct."
    )


@pytest.mark.parametrize("option", ["B. Franklin", "A. Lincoln", "(A) the first", "A: b"])
def test_an_option_is_shown_as_it_is_behind_one_letter(option: str) -> None:
    """Options are bare texts: what looks like a letter of theirs is a part of them."""
    assert f"\nA. {option}\n" in render_prompt("Who?", [option], Style.COT)


@pytest.mark.parametrize(
    ("chosen", "gold", "exact", "n_right", "soft"),
    [
        (("A",), ("A",), True, 4, 1.0),
        (("A", "C"), ("C", "A"), True, 4, 1.0),
        (("A",), ("A", "C"), False, 3, 0.5),  # a subset earns its share
        (("A", "B"), ("A", "B", "C"), False, 3, 2 / 3),
        (("A", "B"), ("A",), False, 3, 0.0),  # one letter too many earns nothing
        (("B",), ("A",), False, 2, 0.0),
        ((), (), True, 4, 1.0),
        ((), ("A",), False, 3, 0.0),  # the empty set is no partial answer
        (("A",), (), False, 3, 0.0),
        (None, (), False, 0, 0.0),  # unreadable is not "none", and wrong in every option
        (None, ("A",), False, 0, 0.0),
    ],
)
def test_grades_by_hand(chosen: tuple[str, ...] | None, gold: tuple[str, ...], exact: bool, n_right: int, soft: float) -> None:
    assert is_exact(chosen, gold) is exact
    assert n_options_right(chosen, gold, 4) == n_right
    assert form.soft(chosen, gold) == pytest.approx(soft)


@given(answers)
def test_gold_earns_everything(answer: tuple[int, tuple[str, ...]]) -> None:
    n_options, gold = answer
    chosen = form.parse(form.solution(gold), n_options)
    assert is_exact(chosen, gold)
    assert n_options_right(chosen, gold, n_options) == n_options
    assert form.soft(chosen, gold) == 1.0
