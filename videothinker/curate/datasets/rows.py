"""From a row to a question: what readers of all data sets share. What is wrong with a row is said once, here."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from videothinker.answers import LETTERS, without_letters
from videothinker.curate.datasets import Damaged, Table
from videothinker.errors import VtError
from videothinker.footage import parts_of
from videothinker.outside import stays_within
from videothinker.records import Clip, Form, Question, Unresolved


class UnusableError(Exception):
    """Why a row makes no question: what was found, in which field, and what was expected."""


class Row(NamedTuple):
    """A row with its place."""

    part: str
    file: str
    number: int
    """1-based in its file."""
    fields: dict[str, Any]

    def text(self, field: str) -> str:
        """A field that has to be text and not empty."""
        value = self.fields.get(field)
        if not isinstance(value, str) or not value.strip():
            raise UnusableError(f"its `{field}` is {_short(value)}, expected text")
        return value

    def word(self, field: str) -> str | None:
        """A field that is a word or a number, as text; None where it is missing or something else."""
        value = self.fields.get(field)
        if isinstance(value, float):
            return None if math.isnan(value) else f"{value:.15g}"
        return str(value).strip() or None if isinstance(value, str | int) else None

    def seconds(self, field: str) -> float | None:
        """A time or rate of at least 0; None where it is missing."""
        return a_number(field, self.fields.get(field))


def a_number(field: str, value: Any) -> float | None:
    """A finite number of at least 0, which may be written as text; None for nothing."""
    if value is None or value == "":
        return None
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if isinstance(value, float) and math.isnan(value):
        return None  # how tables write that there is nothing
    if not 0 <= found < math.inf:
        raise UnusableError(f"its `{field}` is {_short(value)}, expected a number of at least 0")
    return found


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    told = ascii(value)
    return told if len(told) <= 80 else f"{told[:77]}..."


def how_many(n: int, noun: str) -> str:
    """A number of things in words: "1 question", "2,005 questions"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def told_of_missing(clips: Sequence[str]) -> str:
    """A warning about clips, one or more, that are not there."""
    return f"{how_many(len(clips), 'clip')} {'is' if len(clips) == 1 else 'are'} missing, the first is {clips[0]}"


class Sorted(NamedTuple):
    """Rows of all tables, sorted into those that are questions and those that are not."""

    questions: list[Question]
    unresolved: list[Unresolved]


def sort_rows(tables: Iterable[Table], name: Callable[[Row], str | None], make: Callable[[Row, str], Question]) -> Sorted:
    """Make a question of every row, or a reason why not: rows = questions + unresolved.

    name: the row's id, None for the number of the row. make: makes the question; raises UnusableError. Of rows with one id none
    is taken, because nothing says which one is meant.
    """
    questions: list[tuple[str, Question]] = []
    unresolved = []
    for table in tables:
        for number, fields in enumerate(table.rows, start=1):
            called = f"row {number}"
            try:
                if isinstance(fields, Damaged):
                    raise UnusableError(f"row {number}: {fields.why}")
                if not isinstance(fields, dict):
                    raise UnusableError(f"row {number}: is {_short(fields)}, expected an object")
                row = Row(table.part, table.file, number, fields)
                called = name(row) or called
                questions.append((table.file, make(row, called)))
            except UnusableError as error:
                unresolved.append(Unresolved(question_id=called, file=table.file, reason=str(error)))
    times = Counter(one.question_id for _, one in questions)
    clashes = [
        Unresolved(question_id=one.question_id, file=file, reason=f"its id is there {times[one.question_id]} times")
        for file, one in questions
        if times[one.question_id] > 1
    ]
    return Sorted([one for _, one in questions if times[one.question_id] == 1], unresolved + clashes)


def question(
    name: str,
    text: str,
    options: tuple[str, ...],
    gold: tuple[str, ...],
    clip: Clip | None,
    facets: dict[str, str],
    source: str,
    *,
    form: Form = Form.CHOICE,
    group: str | None = None,
) -> Question:
    """A question whose group is its clip, or itself where it has none, unless another is named."""
    return Question(
        question_id=name,
        text=text,
        options=options,
        clip=clip,
        gold=gold,
        form=form,
        group=group or (clip.path if clip else name),
        facets=facets,
        source=source,
    )


# ---- clips -----------------------------------------------------------------------------------------------------------------

_VIDEO = re.compile(r"\.[A-Za-z0-9]{2,4}$")
"""The suffix of a file; a folder of frames has none."""


def last_parts(path: str, n: int = 1) -> str:
    """The last `n` parts of a path: what names a clip of a set that keeps its clips in that many levels of folders."""
    return "/".join(parts_of(path)[-n:])


def clip(path: str, start: float | None = None, end: float | None = None, fps: float | None = None) -> Clip:
    """A clip below the clips' folder, or a part of it; `fps` counts for folders of frames alone.

    Raises:
        UnusableError: the path leads elsewhere, or the part is empty.
    """
    if not stays_within(path):
        raise UnusableError(f"its clip is {path!a}, expected a path below the clips' folder")
    if start is not None and end is not None and start >= end:
        raise UnusableError(f"its part of the clip is from {start:g} to {end:g} s, expected some time")
    if fps is not None and fps <= 0:
        raise UnusableError(f"its `fps` is {fps:g}, expected more than 0")
    found = Clip(path=path, start=start, end=end, fps=None if is_file(path) else fps)
    if found.is_image and (start is not None or end is not None):
        raise UnusableError(f"its image {path!a} has a start or an end, expected a clip")
    return found


def is_file(path: str) -> bool:
    """Whether the path names a video file, and not a folder of frames."""
    return _VIDEO.search(path) is not None


# ---- options and answers ---------------------------------------------------------------------------------------------------


def plain(options: Any, field: str = "options") -> tuple[str, ...]:
    """The options of a list, without blanks at their ends: some, all of them text, and no more than there are letters."""
    if not isinstance(options, list | tuple):
        raise UnusableError(f"its `{field}` is {_short(options)}, expected a list of texts")
    if not options:
        raise UnusableError("has no options")
    if len(options) > len(LETTERS):
        raise UnusableError(f"has {len(options)} options, more than there are letters")
    if strange := [one for one in options if not isinstance(one, str)]:
        raise UnusableError(f"has the option {_short(strange[0])}, expected text")
    return tuple(text.strip() for text in options)


def bare(options: Any, field: str = "options") -> tuple[str, ...]:
    """The options, without their letters if every option carries its own (`answers.without_letters`)."""
    return without_letters(plain(options, field))


def lettered(options: Any) -> tuple[str, ...]:
    """The options of a dict {"A": text, ...}, in order; letters without text at its end are none."""
    if not isinstance(options, dict):
        raise UnusableError(f"its options are {_short(options)}, expected an object of letters")
    texts = [value.strip() if isinstance(value, str) else "" for _, value in sorted(options.items())]
    while texts and not texts[-1]:
        texts.pop()
    letters = sorted(options)[: len(texts)]
    if letters != list(LETTERS[: len(texts)]) or not all(texts):
        raise UnusableError(f"its options are {_short(options)}, expected texts for A, B and so on")
    return plain(texts)


def by_letter(said: str, n_options: int) -> tuple[str]:
    """The one correct letter ("B", "(b)", "B.")."""
    letter = said.strip().strip("().").upper()
    if len(letter) != 1 or letter not in LETTERS[:n_options]:
        raise UnusableError(f"its answer is {_short(said)}, expected the letter of one of its {n_options} options")
    return (letter,)


def by_index(value: Any, n_options: int, first: int = 0) -> tuple[str]:
    """The letter of an option's number. first: the number of the first option."""
    text = str(value).strip().removesuffix(".0")
    index = int(text) - first if re.fullmatch(r"-?\d{1,3}", text) and not isinstance(value, bool) else -1
    if not 0 <= index < n_options:
        raise UnusableError(f"its answer is {_short(value)}, expected a number from {first} to {n_options - 1 + first}")
    return (LETTERS[index],)


def by_text(said: str, options: Sequence[str]) -> tuple[str]:
    """The letter of the option that reads like the answer, blanks at its ends aside.

    Raises:
        UnusableError: no option does, or several, so that no single letter is right.
    """
    fits = [LETTERS[index] for index, text in enumerate(options) if text.strip() == said.strip()]
    if not fits:
        raise UnusableError(f"its answer is {_short(said)}, expected the text of one of its options")
    if len(fits) > 1:
        raise UnusableError(
            f"its answer {_short(said)} is the text of the options {' and '.join(fits)}, so no one letter is right"
        )
    return (fits[0],)


def refuse_without_answers(tables: Sequence[Table], field: str, name: str) -> None:
    """Raise a VtError if no row has an answer, as in the parts of a release that are for leaderboards."""
    dicts = [row for table in tables for row in table.rows if isinstance(row, dict)]
    if dicts and all(row.get(field) in (None, "", -1) for row in dicts):
        raise VtError(
            f"--from {tables[0].file}: no row has a `{field}`, so nothing can be graded; {name} needs its part with answers"
        )


def refuse_strangers(questions: Sequence[Question], tables: Sequence[Table], facet: str, name: str) -> None:
    """Raise a VtError if no question has a facet that every question of the data set has, because then they are of another."""
    if questions and not any(facet in one.facets for one in questions):
        raise VtError(
            f"--from {tables[0].file}: no row tells its {facet}, as those of {name} do; is it a file of another data set?"
        )
