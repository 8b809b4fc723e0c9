"""Intervals of time: what is read as one, and how much of the gold one it covers. Overlaps are worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reply_cases import PIECES, Case, cases, check

from videothinker import answers
from videothinker.answers import FORMS, Style
from videothinker.answers.interval import iou
from videothinker.records import Form

form = FORMS[Form.INTERVAL]
TIMES = st.lists(st.sampled_from(["1:00", "5", "20.5", " ", " to ", ", ", "-", "s", " min ", ":", "["]), max_size=8)


@cases(Form.INTERVAL)
def test_a_reply_is_read_as_the_case_says(case: Case) -> None:
    check(Form.INTERVAL, case)


@given(reply=PIECES, times=TIMES)
def test_any_text_gives_an_interval_that_can_be_held_or_nothing(reply: str, times: list[str]) -> None:
    for text in (reply, f"<answer>{''.join(times)}</answer>", "".join(times)):
        found = form.parse(text, 0)
        assert found is None or form.fault(found, 0) is None


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (("2", "6"), ("4", "8"), 1 / 3),  # 2 s shared of 6 s
        (("4", "8"), ("2", "6"), 1 / 3),
        (("0", "10"), ("2.5", "5"), 0.25),
        (("4", "8"), ("4", "8"), 1.0),
        (("0", "4"), ("4", "8"), 0.0),  # they only touch
        (("0", "1"), ("4", "8"), 0.0),
        (("5", "5"), ("4", "8"), 0.0),  # a point
        (("5", "5"), ("5", "5"), 0.0),
    ],
)
def test_overlap_by_hand(one: tuple[str, ...], other: tuple[str, ...], overlap: float) -> None:
    assert iou(one, other) == pytest.approx(overlap)
    assert form.soft(one, other) == pytest.approx(overlap)


def test_swapped_ends_and_clocks_earn_the_same() -> None:
    gold = ("60", "65")
    replies = [
        "<answer>60 to 65</answer>",
        "<answer>65 to 60</answer>",
        "<answer>1:00-1:05</answer>",
        "<answer>1 min, 65 s</answer>",
    ]
    assert [form.soft(form.parse(reply, 0), gold) for reply in replies] == [1.0] * 4


@pytest.mark.parametrize(("chosen", "right"), [(("0", "5"), True), (("0", "4.9"), False), (None, False)])
def test_right_is_half_an_overlap_and_accuracy_is_the_overlap(chosen: tuple[str, ...] | None, right: bool) -> None:
    gold = ("0", "10")
    assert answers.is_right(Form.INTERVAL, chosen, gold) is right
    assert answers.score(Form.INTERVAL, chosen, gold) == form.soft(chosen, gold)


@pytest.mark.parametrize(
    ("answer", "n_options", "fault"),
    [
        (("3", "5"), 0, None),
        (("5", "5"), 0, None),
        (("5", "3"), 0, "expected two times in seconds, the smaller first"),
        (("3",), 0, "expected two times in seconds, the smaller first"),
        (("-1", "3"), 0, "expected two times in seconds, the smaller first"),
        (("3", "5"), 1, "expected no options for an interval"),
    ],
)
def test_which_answers_a_question_can_have(answer: tuple[str, ...], n_options: int, fault: str | None) -> None:
    assert form.fault(answer, n_options) == fault


def test_what_solution_writes_is_read_back() -> None:
    assert form.solution(("12.5", "20")) == "<answer>12.5 to 20</answer>"
    assert form.parse("<answer>12.5 to 20</answer>", 0) == ("12.5", "20")


def test_the_prompts_ask_for_two_times() -> None:
    asked = [answers.render_prompt("When does it fall?", (), style, Form.INTERVAL) for style in Style]
    wanted = "when it begins and when it ends, in seconds, as START to END"
    assert asked[0].endswith(f"Then give {wanted}, inside <answer></answer>.")
    assert asked[1] == f"When does it fall?\nGive only {wanted}, inside <answer></answer>."
    assert f"First give {wanted}, inside \\boxed{{}} and at once" in asked[2]


def test_both_answers_of_a_reply_that_answers_twice() -> None:
    said = answers.read_twice(form, r"\boxed{1:00 to 1:05}<think>no</think>\boxed{3 \text{ to } 5}", 0)
    assert (said.first, said.second) == (("60", "65"), ("3", "5"))
