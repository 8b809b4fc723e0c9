"""Numbers: what is read as one, and when it is right or near enough. Grades are worked out by hand."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reply_cases import PIECES, Case, cases, check

from videothinker import answers
from videothinker.answers import FORMS, Style
from videothinker.answers.quantities import held, written
from videothinker.records import Form

number, estimate = FORMS[Form.NUMBER], FORMS[Form.ESTIMATE]
DIGITS = st.lists(
    st.sampled_from(["1", "20", ".", ",", "/", "%", " ", "-", "=", "m", "two", "10^", "\\frac{1}{2}", "\u00bd"]), max_size=8
)


@cases(Form.NUMBER)
def test_a_reply_is_read_as_the_case_says(case: Case) -> None:
    check(Form.NUMBER, case)
    check(Form.ESTIMATE, case)  # the two differ in their grade alone


@given(reply=PIECES, digits=DIGITS)
def test_any_text_gives_a_number_that_can_be_held_or_nothing(reply: str, digits: list[str]) -> None:
    for text in (reply, f"<answer>{''.join(digits)}</answer>", "".join(digits)):
        found = number.parse(text, 0)
        assert found is None or number.fault(found, 0) is None


@given(value=st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**6), percent=st.booleans())
def test_what_solution_writes_is_read_back(value: Fraction, percent: bool) -> None:
    gold = (written(value) + "%" * percent,)
    assert held(gold[0].removesuffix("%")) == value
    assert number.parse(number.solution(gold), 0) == gold
    assert number.soft(gold, gold) == estimate.soft(gold, gold) == 1.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(Fraction(12), "12"), (Fraction(-1, 2), "-0.5"), (Fraction(1, 40), "0.025"), (Fraction(7, 3), "7/3"), (Fraction(0), "0")],
)
def test_a_number_is_held_as_decimals_where_they_end(value: Fraction, text: str) -> None:
    assert written(value) == text


@pytest.mark.parametrize(
    ("chosen", "gold", "right"),
    [
        ("7", "7", True),
        ("7.01", "7", False),  # a whole number has to be met
        ("3.14", "3.1416", True),  # 0.05 % off
        ("3.2", "3.1416", False),  # 1.9 % off
        ("0.101", "0.1", True),  # 1 % off, which is the tolerance
        ("0.1011", "0.1", False),
        ("-3.14", "3.1416", False),
        ("1/3", "0.3333", True),
        ("50%", "50", True),  # either may stand for 50 %
        ("50%", "0.5", True),
        ("0.5", "50%", True),
        ("50", "50%", True),
        ("50", "0.5", False),
        ("50%", "0.5%", False),
    ],
)
def test_a_number_is_right_or_wrong(chosen: str, gold: str, right: bool) -> None:
    assert number.soft((chosen,), (gold,)) == float(right)
    assert answers.is_right(Form.NUMBER, (chosen,), (gold,)) is right


@pytest.mark.parametrize(
    ("chosen", "gold", "score"),
    [
        ("10", "10", 1.0),
        ("10.5", "10", 1.0),  # 5 % off: within all ten tolerances, the least of which is 5 %
        ("10.6", "10", 0.9),  # 6 %: not within the least
        ("9", "10", 0.9),  # 10 %: within that one and the eight above it
        ("8", "10", 0.7),  # 20 %: within 20, 25, ... 50 %, seven of ten
        ("5", "10", 0.1),  # 50 %: within the last alone
        ("15.1", "10", 0.0),
        ("0", "0", 1.0),
        ("1", "0", 0.0),
    ],
)
def test_an_estimate_is_graded_by_mean_relative_accuracy(chosen: str, gold: str, score: float) -> None:
    assert estimate.soft((chosen,), (gold,)) == score
    assert answers.score(Form.ESTIMATE, (chosen,), (gold,)) == score
    assert answers.is_right(Form.ESTIMATE, (chosen,), (gold,)) is (score == 1.0)


def test_nothing_read_earns_nothing() -> None:
    assert number.soft(None, ("7",)) == estimate.soft(None, ("7",)) == answers.score(Form.ESTIMATE, None, ("7",)) == 0.0


@pytest.mark.parametrize(
    ("answer", "n_options", "fault"),
    [
        (("7",), 0, None),
        (("7",), 2, "expected no options for a number"),
        ((), 0, "expected one number"),
        (("7.0",), 0, "expected one number"),
    ],
)
def test_which_answers_a_question_can_have(answer: tuple[str, ...], n_options: int, fault: str | None) -> None:
    assert number.fault(answer, n_options) == fault


def test_the_prompts_ask_for_one_number() -> None:
    asked = [answers.render_prompt("How many?", (), style, Form.NUMBER) for style in Style]
    assert (
        asked[0]
        == "How many?\nThink step by step inside <think></think>. Then give the answer as one number inside <answer></answer>."
    )
    assert asked[1] == "How many?\nGive only the answer, as one number, inside <answer></answer>."
    assert asked[2].startswith("How many?\nFirst give the answer as one number, inside \\boxed{} and at once")


def test_both_answers_of_a_reply_that_answers_twice() -> None:
    said = answers.read_twice(number, r"\boxed{1,200}<think>no</think>\boxed{\frac{3}{4}}", 0)
    assert (said.first, said.second) == (("1200",), ("0.75",))


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("\u20135", ("-5",)),
        ("The answer is \u2013.5.", ("-0.5",)),
        ("<answer>\u2212 5</answer>", ("-5",)),
        ("3\u20135", None),
        ("3 \u20135", None),
        ("5\u2013", None),
    ],
)
def test_a_dash_before_a_number_is_its_sign_and_one_between_two_is_not(reply: str, read: tuple[str, ...] | None) -> None:
    assert number.parse(reply, 0) == read
