"""Replies that answer, think, and answer again: the style "twice".

    \\boxed{A} <think>The cube is hit first.</think> \\boxed{C}

The first answer is given at once. Who is not sure of one writes a fixed sentence in its place, and only the second counts.
At inference a reply may end behind the first box: what is then written is a first answer, and the final one as well.

Source: VideoAuto-R1 (arXiv 2601.05175), whose published rule calls a reply well laid out although it thinks nothing. Here
what stands in <think></think> must not be blank, and answers are read and graded by the question's form, so that sets of
letters are compared as sets.
"""

import re
from typing import NamedTuple

from videothinker.answers.form import Answer, AnswerForm
from videothinker.answers.style import Span, closed_boxes, collapsed

FALLBACK = "Let's analyze the problem step by step."
"""What the first box holds in place of an answer, so that the second decides."""


def instruction(answer: str) -> str:
    """The prompt's last line, for questions that are answered by `answer`, such as "the letter of the correct option"."""
    return (
        f"First give {answer}, inside \\boxed{{}} and at once; if the question has to be worked out, write "
        f"\\boxed{{{FALLBACK}}} instead. Then think step by step inside <think></think>. Then give {answer}, inside a second "
        "\\boxed{}: the first answer again if it was right, and otherwise the corrected one."
    )


class Twice(NamedTuple):
    """What a reply in this style says."""

    first: Answer | None
    """The answer in the first box before any thinking; None if there is none, it cannot be read, or it is the fallback."""
    second: Answer | None
    """The answer in the last box behind the thinking; without any thinking that in the last box. None if there is none or it
    cannot be read, and where the thinking is never closed."""
    falls_back: bool
    """Whether the first box begins with the sentence `FALLBACK`, whatever follows it."""
    thinking: str | None
    """What stands from the first <think> to the last </think>, stripped, "" if it is blank; None where no such pair is."""


def read_twice(form: AnswerForm, reply: str, n_options: int) -> Twice:
    """The two answers of a reply. Boxes inside the thinking do not count. n_options: number of the question's options."""
    parts = _parts(reply)
    first = first_box(parts.before)
    held = "" if first is None else parts.before[first.inside : first.closes]
    falls_back = _is_fallback(held)
    return Twice(
        first=None if first is None or falls_back else form.parse(_boxed(held), n_options),
        second=None if parts.behind is None else _last_answer(form, parts.behind, n_options),
        falls_back=falls_back,
        thinking=None if parts.thinking is None else parts.thinking.strip(),
    )


def first_box(text: str) -> Span | None:
    """The first \\boxed{} of a text that is closed; None without any. Offsets are those of the text as it is."""
    spans, _ = closed_boxes(text)
    return spans[0] if spans else None


def answer_at_once(text: str) -> Span | None:
    """The box of a reply's first answer, as soon as it is closed and whatever is written behind it.

    None without a closed box before any tag of thinking, and where it holds the fallback sentence. Of boxes in a box it is the
    one that closes first.
    """
    box = _closed_at_once(text)
    return None if box is None or _is_fallback(text[box.inside : box.closes]) else box


def is_past_first(text: str) -> bool:
    """Whether nothing that is still to be written could be a reply's first answer: a box is closed, or thinking has begun."""
    return _TAG.search(text) is not None or _closed_at_once(text) is not None


def _closed_at_once(text: str) -> Span | None:
    """The box that is closed first, if that is before any tag of thinking."""
    tag = _TAG.search(text)
    start, end = 0, len(text) if tag is None else tag.start()
    found = None
    while (inner := first_box(text[start:end])) is not None:
        found = Span(*(start + place for place in inner))
        start, end = found.inside, found.closes
    return found


def well_laid_out(reply: str) -> bool:
    """Whether a reply is a box, one <think></think> that is not blank, and a box, with only white space around them."""
    tags = [len(pattern.findall(reply)) for pattern in (_OPENS, _CLOSES)]
    parts = _parts(reply.strip())
    thinks = bool(parts.thinking and parts.thinking.strip())
    return tags == [1, 1] and thinks and all(map(_is_one_box, (parts.before, parts.behind or "")))


_TAG = re.compile("</?think>", re.IGNORECASE)
_OPENS, _CLOSES = re.compile("<think>", re.IGNORECASE), re.compile("</think>", re.IGNORECASE)


class _Parts(NamedTuple):
    """A reply, cut at its thinking."""

    before: str
    thinking: str | None
    """None if there is no <think>, or one that is never closed."""
    behind: str | None
    """None if <think> is never closed, so that all behind it is thinking. Without any thinking the same as `before`."""


def _parts(reply: str) -> _Parts:
    """A lone </think> ends thinking of which nothing says where it began, so there is nothing before it."""
    opens, closes = _OPENS.search(reply), [*_CLOSES.finditer(reply)]
    if opens is None:
        return _Parts("", None, reply[closes[-1].end() :]) if closes else _Parts(reply, None, reply)
    if not closes or closes[-1].start() < opens.end():
        return _Parts(reply[: opens.start()], None, None)
    return _Parts(reply[: opens.start()], reply[opens.end() : closes[-1].start()], reply[closes[-1].end() :])


def _last_answer(form: AnswerForm, text: str, n_options: int) -> Answer | None:
    """The answer in the last box of a text; the words around it are read too, since they may say that it is not the answer."""
    spans, _ = closed_boxes(text)
    if not spans:
        return None
    start = spans[-2].end if len(spans) > 1 else 0
    return form.parse(text[start:], n_options)


def _is_one_box(text: str) -> bool:
    """Whether a text is a single box, with only white space around it."""
    text = text.strip()
    spans, _ = closed_boxes(text)
    return [(span.start, span.end) for span in spans] == [(0, len(text))]


def _is_fallback(held: str) -> bool:
    """Whether a box begins with the sentence, whatever its case, apostrophe, spacing and full stop."""
    said = collapsed(held).replace("\u2019", "'").casefold()
    return said.startswith(FALLBACK.casefold().rstrip("."))


def _boxed(held: str) -> str:
    return f"\\boxed{{{held}}}"
