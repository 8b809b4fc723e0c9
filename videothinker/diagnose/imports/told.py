"""What one row of a result file tells, whatever its format: which question it answers, and the reply."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from videothinker import delimited
from videothinker.answers import without_letters

Fields = Mapping[str, Any]


class Told(NamedTuple):
    """One row of a result file. What the row does not tell is None, or empty."""

    place: str
    """Where it stands in its file, such as "line 3"."""
    reply: str | None = None
    failed: str | None = None
    """Why there is no reply, where the evaluator says that it failed on the question: no wrong answer."""
    fault: str | None = None
    """Why the row cannot be used: it has neither."""
    truncated: bool = False
    """Whether the reply was cut at the token limit."""
    n_tokens: int | None = None
    ids: tuple[str, ...] = ()
    """Names that the row gives its question, as `question_id`."""
    hints: tuple[str, ...] = ()
    """Further names, which are often the number of a row: they only decide between questions that the words leave open."""
    text: str | None = None
    """The question, perhaps with its options behind it."""
    options: tuple[str, ...] | None = None
    """In the order that was shown, without letters."""
    prompt: str | None = None
    """A longer text in which question and options stand."""
    clip: str | None = None
    """Path or name of the clip."""


def word(fields: Fields, *names: str) -> str | None:
    """The first of these fields that is there, text or a whole number, as text."""
    values = (fields.get(name) for name in names)
    return next((str(value) for value in values if isinstance(value, str | int) and str(value).strip()), None)


def said(fields: Fields, *names: str) -> str | None:
    """The first of these fields that holds text, which may be empty, or a whole number, as text: a reply."""
    values = (fields.get(name) for name in names)
    return next((str(value) for value in values if isinstance(value, str | int)), None)


def words(fields: Fields, *names: str) -> tuple[str, ...]:
    """Those of the fields that are there, each value once."""
    return tuple(dict.fromkeys(value for name in names if (value := word(fields, name)) is not None))


def options(fields: Fields, *names: str) -> tuple[str, ...] | None:
    """The options in the first of these fields that is a list, or text that writes one, else in the columns A, B and so on."""
    for name in names:
        listed = _list(fields.get(name))
        if listed:
            return without_letters(listed)
    return tuple(_columns(fields)) or None


def _list(value: Any) -> list[str] | None:
    if isinstance(value, str):
        try:
            value = delimited.value(value)
        except ValueError:
            return None
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    fits = isinstance(value, list | tuple) and len(value) <= 26 and all(isinstance(one, str | int | float) for one in value)
    return [str(one).strip() for one in value] if fits else None


def _columns(fields: Fields) -> Iterator[str]:
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        if (text := word(fields, letter)) is None:
            return
        yield text


def reply(value: Any) -> str | None:
    """The one text of a reply, unwrapped from lists of one; None if it is none or several."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else None
