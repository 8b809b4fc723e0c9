"""How a reply is laid out: whether reasoning comes before the answer, and where in the text the answer stands."""

import re
import unicodedata
from enum import StrEnum
from typing import NamedTuple


class Style(StrEnum):
    """What a model is asked to write."""

    COT = "cot"
    """Reasoning inside <think></think>, then the answer inside <answer></answer>."""
    DIRECT = "direct"
    """Only the answer inside <answer></answer>."""


def tagged(answer: str) -> str:
    """A reply that is nothing but its answer: "<answer>A,C</answer>"."""
    return f"<answer>{answer}</answer>"


_FORMAT = re.compile(r"[\s!]*<think>.*</think>[\s!]*<answer>.*</answer>[\s!]*", re.DOTALL)


def format_score(reply: str) -> float:
    """1.0 if a reply is one <think>...</think>, then one <answer>...</answer>, and otherwise only space or "!"; else 0.0."""
    once = all(reply.count(tag) == 1 for tag in ("<think>", "</think>", "<answer>", "</answer>"))
    return float(once and _FORMAT.fullmatch(reply) is not None)


class AnswerPart(NamedTuple):
    """The part of a reply that gives the answer."""

    text: str
    marked: bool
    """True if it stood in <answer></answer> or in a box. If not, it is the whole reply outside its thinking, and a form has to
    be strict about it: a letter or a "yes" in prose is not an answer."""


def answer_part(reply: str) -> AnswerPart | None:
    """The part of a reply that gives its answer; None if the last <answer> was never closed.

    Thinking is not an answer: what <think> encloses does not count, nor what follows one that a cut reply left open. Of the
    rest only the last <answer> counts; without that tag the last \\boxed{}, and without a box all of the text.
    """
    text = _outside_thinking(unicodedata.normalize("NFKC", reply))
    _, tag, inside = _rpartition(_ANSWER_OPENS, text)
    if tag:
        inside, closed, _ = _partition(_ANSWER_CLOSES, inside)
        return AnswerPart(inside, marked=True) if closed else None
    if boxes := re.findall(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}", text):
        return AnswerPart(boxes[-1], marked=True)
    return AnswerPart(text, marked=False)


def without_markup(text: str) -> str:
    """An answer's words without the Markdown, LaTeX, quotation marks, brackets and bullets that they may be dressed in."""
    text = re.sub(r"\\(?:boxed|text|textbf|mathrm|mathbf|[()\[\]])", " ", text)
    text = re.sub(r"[*_`$\"'\u201c\u201d\u2018\u2019{}\[\]]", " ", text)
    return re.sub(r"^\s*[-\u2022]\s+", "", text, flags=re.MULTILINE).strip()


IS = r"(?:is|are|(?:would|should|must|will)\s+be)"
LEAD = (
    r"(?:(?:so|therefore|thus|hence|finally|i\s+think|i\s+believe)\b\s*,?\s+(?:that\s+)?)?(?:the\s+|my\s+)?"
    r"(?:(?:final|correct|right)\s+)?(?:answer|option|choice|letter)(?:s|\(s\))?"
)
"""Regular expression of the words that announce an answer: "so the correct answer"."""
_STATEMENT = re.compile(rf"(?:^|(?<=[.!?;:,]\s)){LEAD}(?:\s+{IS}\b\s*:?|\s*[:=])", re.IGNORECASE)


def statement(line: str) -> tuple[str, str] | None:
    """("The answer is", " B.") of a line that states an answer, by the last statement in it; None if it states none."""
    _, stated, answer = _rpartition(_STATEMENT, re.sub(r"[*_`]", "", line))
    return (stated, answer) if stated else None


_ANSWER_OPENS = re.compile(r"<answer>", re.IGNORECASE)
_ANSWER_CLOSES = re.compile(r"</answer>", re.IGNORECASE)
_THINK_OPENS = re.compile(r"<think>", re.IGNORECASE)
_THINK_CLOSES = re.compile(r"</think>", re.IGNORECASE)


def _partition(pattern: re.Pattern[str], text: str) -> tuple[str, str, str]:
    """`str.partition` at the first match."""
    found = pattern.search(text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def _rpartition(pattern: re.Pattern[str], text: str) -> tuple[str, str, str]:
    """`str.rpartition` at the last match."""
    found = list(pattern.finditer(text))
    return (text[: found[-1].start()], found[-1][0], text[found[-1].end() :]) if found else ("", "", text)


def _outside_thinking(text: str) -> str:
    """The reply without its thinking.

    Chat templates may open <think> themselves, so what stands before a lone </think> is thinking too. A <think> that is never
    closed hides everything after it, unless the reply ends with a complete answer: then only the closing tag was forgotten.
    """
    text = re.sub(r"<think>(?:(?!<think>).)*?</think>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    _, _, text = _rpartition(_THINK_CLOSES, text)
    before, opened, thoughts = _partition(_THINK_OPENS, text)
    if opened and re.search(r"</answer>[\s!.]*$", thoughts, re.IGNORECASE):
        return thoughts
    return before
