"""How a reply is laid out: whether reasoning comes before the answer, and where in the text the answer stands.

Rewards read replies that nobody wrote, so every function here takes time proportional to the reply's length. Hence white space
is collapsed before anything is searched in it, and every repetition of a pattern is bounded, possessive, or over characters
that what follows it cannot be.
"""

import re
import unicodedata
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple


class Style(StrEnum):
    """What a model is asked to write."""

    COT = "cot"
    """Reasoning inside <think></think>, then the answer inside <answer></answer>."""
    DIRECT = "direct"
    """Only the answer inside <answer></answer>."""
    TWICE = "twice"
    """An answer at once inside \\boxed{}, reasoning inside <think></think>, and the answer again inside \\boxed{} (`twice`)."""


def tagged(answer: str) -> str:
    """A reply that is nothing but its answer: "<answer>A,C</answer>"."""
    return f"<answer>{answer}</answer>"


_FORMAT = re.compile(r"[\s!]*+<think>.*</think>[\s!]*+<answer>.*</answer>[\s!]*+", re.DOTALL)


_ANSWER_ALONE = re.compile(r"[\s!]*+<answer>.*</answer>[\s!]*+", re.DOTALL)


def tags_in_place(reply: str, style: Style) -> bool:
    """Whether a reply in a style with <answer> is laid out as it asks for, and otherwise only space or "!".

    That is one <think>...</think> and then one <answer>...</answer>, or, in the style "direct", one <answer>...</answer> alone.
    """
    thoughts, pattern = (1, _FORMAT) if style is Style.COT else (0, _ANSWER_ALONE)
    counts = {"<think>": thoughts, "</think>": thoughts, "<answer>": 1, "</answer>": 1}
    return all(reply.count(tag) == n for tag, n in counts.items()) and pattern.fullmatch(reply) is not None


class AnswerPart(NamedTuple):
    """The part of a reply that gives the answer."""

    text: str
    """White space is `collapsed`, and characters that only look different are replaced: "\uff21" by "A"."""
    marked: bool
    """True if it stood in <answer></answer> or in a box. If not, it is the whole reply outside its thinking, and a form has to
    be strict about it: a letter or a "yes" in prose is not an answer."""


def answer_part(reply: str) -> AnswerPart | None:
    """The part of a reply that gives its answer; None where the last <answer> or box was never closed, or is denied.

    Thinking is not an answer: what <think> encloses, or a cut reply left open, does not count. Then the last <answer> counts,
    without the tag the last \\boxed{}, and without both all of the text. Several tags or boxes with nothing but separators
    between them are one statement: "\\boxed{A}, \\boxed{C}" is "A, C", and "\\boxed{A} or \\boxed{C}" is undecided.
    """
    text = collapsed(_outside_thinking(reply.translate(_COMPATIBLE)))
    answers = _tagged_answers(text)
    spans = _boxes(text) if answers is None else answers
    if spans is None:
        return AnswerPart(_without_gaps(text), marked=False)
    if not spans or (answers is None and _denied(text, spans[-1])):
        return None
    return AnswerPart(_without_gaps(_last_statement(text, spans)), marked=True)


def without_markup(text: str) -> str:
    """An answer's words without the Markdown, LaTeX, quotation marks, brackets and bullets that they may be dressed in.

    An apostrophe inside a word stays, so that "the cube's" does not end in a letter that stands alone.
    """
    text = re.sub(r"\\(?:boxed|textbf|text|mathrm|mathbf|[()\[\]{}])", " ", text)
    text = re.sub(r"[*_`$\"\u201c\u201d{}\[\]]|(?<!\w)['\u2018\u2019]|['\u2018\u2019](?!\w)", " ", text)
    text = re.sub(r"^[-\u2022] ", "", collapsed(text), flags=re.MULTILINE)
    return re.sub(r" (?=[,;:.!?)])|(?<=\() ", "", text)


def collapsed(text: str) -> str:
    """The text with each run of white space made one blank, or one line break if there is one in it, and none at either end."""
    return re.sub(r"\s+", lambda run: " " if run[0].splitlines() == [run[0]] else "\n", text).strip()


IS = r"(?:is|are|(?:would|should|must|will) be)"
LEAD = (
    r"(?:(?:so|therefore|thus|hence|finally|i think|i believe)\b ?,? (?:that )?)?(?:the |my )?"
    r"(?:(?:final|correct|right) )?(?:answer|option|choice|letter)(?:s|\(s\))?"
)
"""Regular expression of the words that announce an answer, "so the correct answer", where white space is collapsed."""
_STATEMENT = re.compile(rf"(?:^|(?<=[.!?;:,] )){LEAD}(?: {IS}\b ?:?| ?[:=])", re.IGNORECASE)


def statement(line: str) -> tuple[str, str] | None:
    """("The answer is", " B.") of a line that states an answer, by the last statement in it; None if it states none.

    Two statements in one sentence ("the answer is A, the answer is B") state nothing that could be told apart: ("", "").
    """
    line = collapsed(re.sub(r"[*_`]", "", line))
    found = list(_STATEMENT.finditer(line))
    if not found:
        return None
    if len(found) > 1 and line[found[-2].end() : found[-1].start()].rstrip().endswith((",", ";")):
        return ("", "")
    return (found[-1][0], line[found[-1].end() :])


class _Compatible(dict[int, str]):
    """NFKC of single characters, filled as they come.

    Not of whole strings, where sorting a long run of combining marks takes quadratic time; no letter that has one is read.
    """

    def __missing__(self, code: int) -> str:
        same = unicodedata.normalize("NFKC", chr(code))
        self[code] = same if len(same) <= 3 else chr(code)  # a ligature of a whole phrase is no letter
        return self[code]


_THOUGHT_GONE = "\0"
"""Stands where a thought stood, so that the answers before and behind it are not side by side."""
_COMPATIBLE = _Compatible({ord(_THOUGHT_GONE): " ", 0x3001: ", ", 0x3002: ". "})  # the last two: ideographic comma, full stop

_ANSWER_TAG = re.compile(r"<(?P<closes>/?)answer>", re.IGNORECASE)
_BOX_OR_BRACE = re.compile(r"(?P<opens>\\boxed ?\{)|\\[{}]|(?P<brace>[{}])")
_BETWEEN = re.compile(r"(?:[\s,;/&+|$]|\\[()\[\]]|\band\b|\bor\b|[\u548c\u4e0e\u53ca\u6216])*+", re.IGNORECASE)
_BETWEEN_OR = re.compile(r"\bor\b|\u6216", re.IGNORECASE)
_DENIES_BEFORE = re.compile(r"(?:\bnot|n['\u2019]t|\bnor|\bor|\bcannot|\bnever)(?: be)?[\s$]*$", re.IGNORECASE)
_DENIES_BEHIND = re.compile(
    r"(?:[\s$*]|\\[)\]])*+(?:(?:is|are|was) (?:not|wrong|incorrect)|[:,(\u2013\u2014-] ?(?:wrong|incorrect))\b", re.IGNORECASE
)


class Span(NamedTuple):
    """Where a tag or a box stands: from `start` to `end`, its content from `inside` to `closes`; offsets in characters."""

    start: int
    inside: int
    closes: int
    end: int


def _tagged_answers(text: str) -> list[Span] | None:
    """Every <answer></answer> without a tag inside, in order; none if the last <answer> is never closed; None without any."""
    tags = list(_ANSWER_TAG.finditer(text))
    opens = [tag.start() for tag in tags if not tag["closes"]]
    spans = [
        Span(tag.start(), tag.end(), following.start(), following.end())
        for tag, following in pairwise(tags)
        if following["closes"] and not tag["closes"]
    ]
    if not opens:
        return None
    return spans if spans and spans[-1].start == opens[-1] else []


def _boxes(text: str) -> list[Span] | None:
    """The outermost closed boxes, in order; none if the last box that opens is never closed; None without any."""
    spans, last_opened = closed_boxes(text)
    if last_opened < 0:
        return None
    return spans if spans and last_opened < spans[-1].end else []


def closed_boxes(text: str) -> tuple[list[Span], int]:
    """The outermost \\boxed{} that are closed, in order; and where the last one opens, closed or not, -1 without any."""
    open_braces: list[tuple[int, int]] = []  # start and end of what opened it; a brace of its own starts at -1
    spans: list[Span] = []
    last_opened = -1
    for found in _BOX_OR_BRACE.finditer(text):
        if found["opens"]:
            last_opened = found.start()
        if found["opens"] or found["brace"] == "{":
            open_braces.append((found.start() if found["opens"] else -1, found.end()))
        elif found["brace"] and open_braces:
            start, inside = open_braces.pop()
            if start >= 0:
                while spans and spans[-1].start > start:  # a box in this one
                    spans.pop()
                spans.append(Span(start, inside, found.start(), found.end()))
    return spans, last_opened


def _denied(text: str, box: Span) -> bool:
    """Do the words right before or behind a box say that it is not the answer, or only one of two?"""
    before = text[max(0, box.start - 20) : box.start]
    return bool(_DENIES_BEFORE.search(before) or _DENIES_BEHIND.match(text, box.end))


def _last_statement(text: str, spans: list[Span]) -> str:
    """The content of the last span, and of those before it that only separators part from it, as one list."""
    contents = [text[span.inside : span.closes].strip() for span in spans]
    pieces = [contents[-1]]
    for i in range(len(spans) - 1, 0, -1):
        between = spans[i - 1].end, spans[i].start
        if not contents[i - 1] or not _BETWEEN.fullmatch(text, *between):
            break
        pieces += [" or " if _BETWEEN_OR.search(text, *between) else ", ", contents[i - 1]]
    if not contents[-1] or len({piece.strip(" .!").casefold() for piece in pieces[::2]}) == 1:
        return contents[-1]  # empty is no answer, and what is said twice is said
    return "".join(reversed(pieces))


def _without_gaps(text: str) -> str:
    """The text with a line of prose for each thought that stood in it: "A" and "C" around one are no list."""
    return collapsed(text.strip(f"{_THOUGHT_GONE} \n").replace(_THOUGHT_GONE, "\n\u2026\n"))


_THOUGHT = re.compile(r"<think>(?:(?!</?think>).)*+</think>", re.IGNORECASE | re.DOTALL)
_THINK_OPENS = re.compile(r"<think>", re.IGNORECASE)
_THINK_CLOSES = re.compile(r"</think>", re.IGNORECASE)
_ENDS_ON_ANSWER = re.compile(r"</answer>[\s!.]*+$", re.IGNORECASE)


def _outside_thinking(text: str) -> str:
    """The reply without its thinking.

    Chat templates may open <think> themselves, so what stands before a lone </think> is thinking too. A <think> that is never
    closed hides everything after it, unless the reply ends with a complete answer: then only the closing tag was forgotten.
    """
    text = _THOUGHT.sub(_THOUGHT_GONE, text)
    closes = list(_THINK_CLOSES.finditer(text))
    text = text[closes[-1].end() :] if closes else text
    opens = _THINK_OPENS.search(text)
    if opens is None:
        return text
    return text[opens.end() :] if _ENDS_ON_ANSWER.search(text, opens.end()) else text[: opens.start()]
