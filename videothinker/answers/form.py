"""The interface of a form of answer, and what all forms have in common."""

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Protocol

from videothinker.answers.style import Style

LETTERS = ascii_uppercase
"""Names of the options, in file order, so that a question has at most 26."""

Answer = tuple[str, ...]
"""A readable answer: letters, sorted; () for an explicit "none of them". A number or an interval is held as one decimal number
or two."""


class AnswerForm(Protocol):
    """One kind of answer: how it is asked for, read, graded, and what guessing is worth."""

    by_score: bool
    """Whether accuracy over such questions is the mean of `soft`, as for intervals, and not the share that is right."""
    right_from: float
    """`soft` from which an answer counts as right where there is only right or wrong, in (0, 1]."""

    def listing(self, options: Sequence[str]) -> list[str]:
        """The prompt's lines that show the options; `options` are without letters, in file order."""

    def instruction(self, style: Style) -> str:
        """The prompt's last line: what to write, and where."""

    def parse(self, reply: str, n_options: int) -> Answer | None:
        """The answer that a whole reply gives; None when none can be read.

        n_options: number of options that the question has, 1 to 26.
        """

    def fault(self, answer: Answer, n_options: int) -> str | None:
        """Why a question with so many options cannot have this answer, as the end of "gold is A,C, ..."; None if it can."""

    def solution(self, answer: Answer) -> str:
        """The reply that gives exactly `answer`: "<answer>A,C</answer>"."""

    def soft(self, chosen: Answer | None, gold: Answer) -> float:
        """Partial credit in [0, 1]; 1 exactly for the whole answer, 0 for an unreadable one."""

    def chance(self, n_options: int) -> float:
        """Probability that a uniformly random answer of this form is the gold one; 0 where answers cannot be listed."""

    def chance_of_option(self, n_options: int) -> float:
        """Probability that a uniformly random answer of this form contains one given letter."""

    def soft_chance(self, n_options: int, n_gold: int) -> float:
        """Expected `soft` of a uniformly random answer of this form."""

    def random(self, n_options: int, bits: int) -> Answer:
        """A random answer of this form. bits: a random integer of 64 bits or more, from which it is drawn."""


class WithoutOptions:
    """What forms have in common whose questions list no answers, so that there is nothing to show and nothing to guess from."""

    def listing(self, options: Sequence[str]) -> list[str]:
        """No lines, because there are no options."""
        return []

    def chance(self, n_options: int) -> float:
        """0, because answers cannot be listed; `vt diagnose --model solver:prior` says what a guess by frequency is worth."""
        return 0.0

    def chance_of_option(self, n_options: int) -> float:
        """0, because there are no options."""
        return 0.0

    def soft_chance(self, n_options: int, n_gold: int) -> float:
        """0, as `chance`."""
        return 0.0


def option_line(index: int, text: str) -> str:
    """The line that shows option number `index` (0-based): "B. the text"."""
    return f"{LETTERS[index]}. {text}"


def lettered(options: Sequence[str]) -> list[str]:
    """The options as a prompt shows them, under a heading."""
    return ["Options:", *(option_line(index, text) for index, text in enumerate(options))]


def without_letters(options: Sequence[str]) -> tuple[str, ...]:
    """The options without their letters if every option carries its own ("A. x", "A) x", "(A) x", "A: x"), otherwise as given.

    options: at most 26.
    """
    parts = [re.fullmatch(rf"\(?{LETTERS[i]}[.):]\s*(?P<text>.*)", text, re.DOTALL) for i, text in enumerate(options)]
    return tuple(part["text"].strip() for part in parts if part) if all(parts) else tuple(options)


def is_exact(chosen: Sequence[str] | None, gold: Sequence[str]) -> bool:
    """True if the whole answer is right. None is never right, not even where no option is correct."""
    return chosen is not None and set(chosen) == set(gold)


def n_options_right(chosen: Sequence[str] | None, gold: Sequence[str], n_options: int) -> int:
    """Number of options judged right, that is chosen exactly if correct: 0 to `n_options`; 0 for an unreadable reply."""
    return 0 if chosen is None else n_options - len(options_apart(chosen, gold, n_options))


def options_apart(one: Sequence[str], other: Sequence[str], n_options: int) -> set[str]:
    """The options that only one of two answers has. An answer that is no letter, as a number would be, has no option."""
    return (set(one) ^ set(other)) & set(LETTERS[:n_options])


def fault_of_letters(answer: Answer, n_options: int) -> str | None:
    """`AnswerForm.fault` of an answer that is any set of the options' letters."""
    return None if set(answer) <= set(LETTERS[:n_options]) else f"which its {n_options} options do not have"


def fault_of_letter(answer: Answer, n_options: int, form: str) -> str | None:
    """`AnswerForm.fault` of an answer that is exactly one of the options' letters. form: its name."""
    several = None if len(answer) == 1 else f"expected one letter for the form {form}"
    return fault_of_letters(answer, n_options) or several
