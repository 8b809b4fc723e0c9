"""The form of a row that Video-R1 made common, in which every benchmark is passed on:

    {"problem_id": 1, "problem": "What falls first?", "problem_type": "multiple choice", "data_type": "video",
     "options": ["A. the cup", "B. the ball"], "solution": "<answer>B</answer>", "path": "clips/7.mp4"}

Options may carry their letter or not. The clip is `video` or `path`, with `data_type` "image" one image, with "text" nothing;
the id is `question_id`, or else `problem_id`, or else the number of the row. `start`, `end` and `fps` are read where there are
any. A `problem` that goes on to list the options loses the list, since a prompt lists them again. Rows without options, of the
problem types "numerical", "regression" and "temporal grounding", are answered by a number or an interval in seconds ("12.5 to
20").
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from videothinker.answers import GOLD, LETTERS, without_letters
from videothinker.answers.yes_no import OPTIONS as YES_NO
from videothinker.answers.yes_no import WORDS
from videothinker.curate.datasets import NEEDS_JUDGE, Table
from videothinker.curate.datasets.rows import Row, UnusableError, bare
from videothinker.records import Form
from videothinker.records.question import Kind

_SOLUTION = re.compile(r"\s*(?:<answer>)?\s*(?P<answer>[^<>]*?)\s*(?:</answer>)?\s*", re.IGNORECASE)


PROBLEM_TYPES = {
    "numerical": Form.NUMBER,
    "regression": Form.ESTIMATE,
    "temporal grounding": Form.INTERVAL,
    **{str(form): form for form in (Form.NUMBER, Form.ESTIMATE, Form.INTERVAL)},
}
"""The form of rows without options by their `problem_type`. The first two are Video-R1's words, and its scores."""


class _Fields(msgspec.Struct):
    problem: str
    solution: str
    options: list[str] = []
    problem_id: int | str | None = None
    question_id: int | str | None = None
    data_type: str = "video"
    problem_type: str = "multiple choice"
    video: str | None = None
    path: str | None = None


class Parsed(NamedTuple):
    """What a row says."""

    text: str
    options: tuple[str, ...]
    """Without letters; ("yes", "no") where the answer is one of these words and there are no others; () for numbers and
    intervals."""
    gold: tuple[str, ...]
    path: str
    """The clip or image as the file writes it; "" for a row of words alone."""
    form: Form | None
    """That of a question without options, or of yes or no; None for letters, of which the whole file decides (`form_for`)."""
    lists_options: bool
    """Whether the text had listed the options, too."""

    @property
    def is_yes_no(self) -> bool:
        return self.form is Form.YES_NO


def is_video_r1(tables: Sequence[Table]) -> bool:
    """Whether the rows are of this form, by the fields of the first that is an object."""
    first = next((row for table in tables for row in table.rows if isinstance(row, dict)), {})
    return "problem" in first and "solution" in first


def row_id(row: Row) -> str | None:
    """The id that the row gives itself."""
    return row.word("question_id") or row.word("problem_id")


def parse(row: Row, *, data_types: Sequence[str] = ("video",)) -> Parsed:
    """The row as a question of letters, of yes or no, or of a number or interval (`PROBLEM_TYPES`).

    Raises:
        UnusableError: it is none, or needs another form of answer.
    """
    try:
        fields = msgspec.convert(row.fields, type=_Fields)
    except msgspec.ValidationError as error:
        raise UnusableError(f"row {row.number}: {error}") from error
    path = fields.video or fields.path
    if fields.video and fields.path and len(PurePosixPath(fields.path).parts) > len(PurePosixPath(fields.video).parts):
        path = fields.path  # `video` is then the release's name of the clip, without the folder of its part
    if fields.data_type == Kind.TEXT and Kind.TEXT in data_types:
        if path:
            raise UnusableError(f"data_type is 'text', but its file is {path!a}; expected no file, or another data_type")
        path = ""
    elif not path:
        raise UnusableError("has neither `video` nor `path`, so nobody knows its clip")
    if fields.data_type not in data_types:
        raise UnusableError(f"data_type is '{fields.data_type}', expected {' or '.join(data_types)}")
    answer = _SOLUTION.fullmatch(fields.solution)
    said = answer["answer"] if answer else fields.solution
    if said.lower().rstrip(".") in WORDS and (not fields.options or _are_yes_no(fields.options)):
        return Parsed(fields.problem, YES_NO, WORDS[said.lower().rstrip(".")], path, Form.YES_NO, False)
    if (form := PROBLEM_TYPES.get(fields.problem_type)) is not None and not fields.options:
        return Parsed(fields.problem, (), measured(said, form, "solution"), path, form, False)
    if fields.problem_type == "open-ended" and not fields.options:
        raise UnusableError(NEEDS_JUDGE)
    if fields.problem_type != "multiple choice" or not fields.options:
        raise UnusableError(
            f"problem_type '{fields.problem_type}' with {len(fields.options)} options needs a form of answer not asked here"
        )
    options = bare(fields.options)
    gold = letters(said, len(options))
    if gold is None:
        raise UnusableError(f"solution is {fields.solution!r}, expected letters of its {len(options)} options, or none")
    text = _without_list(fields.problem, fields.options, options)
    return Parsed(text, options, gold, path, None, text != fields.problem)


def parse_choice(row: Row, *, data_types: Sequence[str] = ("video",)) -> Parsed:
    """`parse` for a benchmark of single choices.

    Raises:
        UnusableError: it is none, or has several correct options, or none.
    """
    found = parse(row, data_types=data_types)
    if not found.options:
        raise UnusableError(f"its answer is a {found.form}, and this data set has single choices")
    if len(found.gold) != 1:
        raise UnusableError(f"its answer is {', '.join(found.gold) or 'none'}, expected one letter")
    return found


def measured(said: str, form: Form, field: str) -> tuple[str, ...]:
    """The gold number or interval that a field says, as `Question.gold` holds it.

    Raises:
        UnusableError: it cannot be read, says more than that, or is an interval without length, which nothing could overlap.
    """
    gold = GOLD[form](said)
    if gold is None:
        wanted = "two times in seconds" if form is Form.INTERVAL else "a number"
        example = "12.5 to 20" if form is Form.INTERVAL else "1200 or 50%"
        raise UnusableError(f"its {field} is {said[:80]!r}, expected {wanted} and nothing else, such as {example}")
    return gold


def letters(said: str, n_options: int) -> tuple[str, ...] | None:
    """ "A, C" -> ("A", "C"); "none" -> (); None if it is not a list of the options' letters."""
    if said.lower() == "none":
        return ()
    found = [part.strip().strip("().").upper() for part in said.split(",")]
    fits = all(len(letter) == 1 and letter in LETTERS[:n_options] for letter in found)
    return tuple(sorted(set(found))) if fits else None


def form_for(golds: Sequence[tuple[str, ...]]) -> Form:
    """The form that all questions of a file get which are not of yes or no.

    Sets, if some answer has several letters or none, because otherwise the prompt would tell how many options are correct.
    """
    return Form.CHOICE if all(len(gold) == 1 for gold in golds) else Form.LETTERS


def _are_yes_no(options: Sequence[str]) -> bool:
    """Whether the options are the two words, as an exported question of that form lists them."""
    return len(options) == len(YES_NO) and without_letters(options) == YES_NO


def _without_list(text: str, options: Sequence[str], texts: Sequence[str]) -> str:
    """The text without a list of the options at its end, with their letters or as the file has them."""
    lines = text.rstrip().split("\n")
    question, listed = lines[: -len(options)], [line.strip() for line in lines[-len(options) :]]
    with_letters = [f"{letter}. {each}" for letter, each in zip(LETTERS, texts, strict=False)]
    is_list = listed in (with_letters, [each.strip() for each in options])
    return "\n".join(question).rstrip() if is_list and any(line.strip() for line in question) else text
