"""One definition of "correct": what is read from a reply, and what it earns."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videothinker import mcq
from videothinker.mcq import LETTERS, Prompt

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "replies.json").read_text())

answers = st.integers(1, 26).flatmap(
    lambda n: st.tuples(st.just(n), st.sets(st.sampled_from(LETTERS[:n])).map(lambda letters: tuple(sorted(letters))))
)
pieces = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(
            [
                "<think>",
                "</think>",
                "<answer>",
                "</answer>",
                "\\boxed{",
                "}",
                "A",
                "c",
                "E.",
                ", ",
                " and ",
                "none",
                "\n",
                "The answer is ",
            ]
        ),
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["reply"]))
def test_a_reply_is_read_as_the_case_says(case: dict[str, Any]) -> None:
    expected = None if case["answer"] is None else tuple(case["answer"])
    assert mcq.parse_reply(case["reply"], case["n_options"]) == expected, case["why"]


@given(reply=pieces, n_options=st.integers(1, 6))
def test_any_text_gives_sorted_letters_of_the_options_or_nothing(reply: str, n_options: int) -> None:
    chosen = mcq.parse_reply(reply, n_options)
    if chosen is not None:
        assert list(chosen) == sorted(set(chosen))
        assert set(chosen) <= set(LETTERS[:n_options])


@given(answers, pieces)
def test_what_solution_writes_is_read_back_whatever_stands_before_it(answer: tuple[int, tuple[str, ...]], before: str) -> None:
    n_options, gold = answer
    assert mcq.parse_reply(mcq.solution(gold), n_options) == gold
    assert mcq.parse_reply(f"{before}</think>{mcq.solution(gold)}", n_options) == gold


def test_the_prompt_is_the_methods_text() -> None:
    text = mcq.render_prompt("What will happen?", ["A. The cube falls", "B. The ball stops"], Prompt.COT)
    assert text == (
        "What will happen?\nOptions:\nA. The cube falls\nB. The ball stops\n"
        "Think step by step inside <think></think>. Then give the letters of all correct options inside <answer></answer>, "
        "separated by commas, or none if no option is correct."
    )
    assert mcq.render_prompt("Q?", ["A. x"], Prompt.DIRECT) == (
        "Q?\nOptions:\nA. x\n"
        "Give only the letters of all correct options inside <answer></answer>, separated by commas, or none if no option is "
        "correct."
    )


@pytest.mark.parametrize("written", ["B. the ball", "B) the ball", "(B) the ball", "the ball", "B: the ball"])
def test_options_of_every_writing_are_shown_alike(written: str) -> None:
    assert "\nB. the ball\n" in mcq.render_prompt("Q?", ["A. a ball", written], Prompt.COT)


def test_an_option_is_not_robbed_of_a_letter_that_is_not_its_own() -> None:
    assert "\nA. B. Franklin\n" in mcq.render_prompt("Who?", ["B. Franklin"], Prompt.COT)


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
    assert mcq.is_exact(chosen, gold) is exact
    assert mcq.n_options_right(chosen, gold, 4) == n_right
    assert mcq.soft_score(chosen, gold) == pytest.approx(soft)


@given(answers)
def test_gold_earns_everything(answer: tuple[int, tuple[str, ...]]) -> None:
    n_options, gold = answer
    chosen = mcq.parse_reply(mcq.solution(gold), n_options)
    assert mcq.is_exact(chosen, gold)
    assert mcq.n_options_right(chosen, gold, n_options) == n_options
    assert mcq.soft_score(chosen, gold) == 1.0


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("<think>a</think><answer>A</answer>", 1.0),
        ("<think>a\nb</think>\n\n<answer>A</answer>\n", 1.0),
        ("<think>a</think> ! <answer>A</answer>!!", 1.0),
        ("<think></think><answer></answer>", 1.0),  # the form alone; what it says is the other reward's business
        ("<answer>A</answer>", 0.0),
        ("<think>a</think>", 0.0),
        ("<answer>A</answer><think>a</think>", 0.0),
        ("Well: <think>a</think><answer>A</answer>", 0.0),
        ("<think>a</think> so <answer>A</answer>", 0.0),
        ("<think>a</think><answer>A</answer>.", 0.0),
        ("<think>a</think><think>b</think><answer>A</answer>", 0.0),
        ("<think>a</think><answer>A</answer><answer>A</answer>", 0.0),
        ("<think>a <answer>A</answer></think><answer>A</answer>", 0.0),
        ("<think>a<answer>A</answer></think>", 0.0),
        ("<think>a</think><answer>A", 0.0),
        ("", 0.0),
    ],
)
def test_the_format_is_one_thought_then_one_answer_and_nothing_else(reply: str, score: float) -> None:
    assert mcq.format_score(reply) == score
