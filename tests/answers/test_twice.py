"""Replies that answer, think and answer again: where both answers stand, and what does not count as one."""

import pytest

from videothinker import answers
from videothinker.answers import FORMS, Style, read_twice
from videothinker.answers.twice import FALLBACK, first_box
from videothinker.records import Form

LETTERS, CHOICE, YES_NO = FORMS[Form.LETTERS], FORMS[Form.CHOICE], FORMS[Form.YES_NO]

CASES = [
    # reply, first, second, falls back, thinking, why
    (r"\boxed{A} <think>so</think> \boxed{C}", ("A",), ("C",), False, "so", "as it is asked for"),
    (r"\boxed{A, C}<think>so</think>\boxed{C, A}", ("A", "C"), ("A", "C"), False, "so", "sets of letters"),
    (r"\boxed{none}<think>so</think>\boxed{none}", (), (), False, "so", "an explicit none, twice"),
    (r"\boxed{A}<think>\boxed{B}</think>\boxed{C}", ("A",), ("C",), False, r"\boxed{B}", "a box in the thinking is none"),
    (r"\boxed{A}\boxed{B}<think>so</think>\boxed{C}\boxed{D}", ("A",), ("D",), False, "so", "first and last of several"),
    (r"\boxed{A}", ("A",), ("A",), False, None, "one box: both answers"),
    (r"\boxed{A} or rather \boxed{B}", ("A",), ("B",), False, None, "two boxes and no thinking"),
    (r"\boxed{A}<think>so", ("A",), None, False, None, "cut while it thinks"),
    (r"\boxed{A}<think>so</think>", ("A",), None, False, "so", "cut before the second box"),
    (r"\boxed{A}<think>so</think>\boxed{C", ("A",), None, False, "so", "cut in the second box"),
    (r"\boxed{A", None, None, False, None, "cut in the first box"),
    (r"<think>so</think>\boxed{C}", None, ("C",), False, "so", "no first box"),
    (r"so</think>\boxed{C}", None, ("C",), False, None, "nothing says where the thinking began"),
    (r"</think>\boxed{A}<think>so", ("A",), None, False, None, "tags the wrong way round"),
    (r"\boxed{A}<think></think>\boxed{C}", ("A",), ("C",), False, "", "no thought at all"),
    (rf"\boxed{{{FALLBACK}}}<think>so</think>\boxed{{C}}", None, ("C",), True, "so", "the fallback sentence"),
    (
        "\\boxed{let\u2019s  analyze the problem step by step}<think>so</think>\\boxed{C}",
        None,
        ("C",),
        True,
        "so",
        "loosely so",
    ),
    (rf"\boxed{{{FALLBACK} A}}<think>so</think>\boxed{{C}}", None, ("C",), True, "so", "a letter behind it does not count"),
    (r"\boxed{E}<think>so</think>\boxed{C}", None, ("C",), False, "so", "a letter that is no option"),
    (r"\boxed{\text{A}}<think>so</think>\boxed{$C$}", ("A",), ("C",), False, "so", "braces inside"),
    (r"\boxed{A}<think>a</think> hm <think>b</think>\boxed{C}", ("A",), ("C",), False, "a</think> hm <think>b", "two thoughts"),
    (r"\boxed{A}<think>so</think>It is not \boxed{C}", ("A",), None, False, "so", "a box that is denied"),
    ("", None, None, False, None, "nothing"),
]


@pytest.mark.parametrize(("reply", "first", "second", "falls_back", "thinking", "why"), CASES)
def test_both_answers(reply: str, first: object, second: object, falls_back: bool, thinking: str | None, why: str) -> None:
    assert read_twice(LETTERS, reply, 4) == (first, second, falls_back, thinking), why
    assert answers.read(Form.LETTERS, reply, 4, Style.TWICE) == second


def test_every_form_reads_its_own_answers() -> None:
    assert read_twice(CHOICE, r"\boxed{A, C}<think>so</think>\boxed{C}", 4)[:2] == (None, ("C",))
    assert read_twice(YES_NO, r"\boxed{yes}<think>so</think>\boxed{No.}", 2)[:2] == (("A",), ("B",))


@pytest.mark.parametrize("form", list(Form))
def test_the_prompt_names_boxes_and_the_sentence_and_no_other_tag(form: Form) -> None:
    asked = answers.render_prompt("Q?", ("yes", "no"), Style.TWICE, form)
    assert asked.count(r"\boxed{}") == 2
    assert rf"\boxed{{{FALLBACK}}}" in asked
    assert "<answer>" not in asked


def test_the_first_box_has_the_offsets_of_the_text_as_it_is() -> None:
    text = "  \n\\boxed{ A,  C } <think>"
    box = first_box(text)
    assert box is not None
    assert text[box.inside : box.closes] == " A,  C "
    assert text[: box.end] == "  \n\\boxed{ A,  C }"
    assert first_box("\\boxed{A") is None


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("\\boxed{A}<think>so</think>\\boxed{C}", 1.0),
        ("\n\\boxed{A}\n<think>\nso\n</think>\n\\boxed{C}\n", 1.0),
        ("\\boxed{A}<think>\\boxed{B}</think>\\boxed{C}", 1.0),
        ("\\boxed{A}<think> </think>\\boxed{C}", 0.0),
        ("\\boxed{A}<think>so</think>\\boxed{C}!", 0.0),
        ("\\boxed{A}\\boxed{B}<think>so</think>\\boxed{C}", 0.0),
        ("\\boxed{A}<think>a</think><think>b</think>\\boxed{C}", 0.0),
        ("\\boxed{A}", 0.0),
        ("<think>so</think>\\boxed{C}", 0.0),
        ("<think>so</think><answer>C</answer>", 0.0),
    ],
)
def test_the_layout(reply: str, score: float) -> None:
    assert answers.format_score(reply, Style.TWICE) == score
