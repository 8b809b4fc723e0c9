"""What the columns of an answer sheet are called and may hold, checked before a number is computed from them.

A sheet is a file that people open and save again, with programs that turn text into numbers or leave a column out.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from videothinker.answers import LETTERS
from videothinker.errors import VtError
from videothinker.records import DECIDED, Rule
from videothinker.records.study import BASE
from videothinker.records.study_results import LOST, NO_SEED, SHEET_COLUMNS, UNREAD

Columns = Mapping[str, Sequence[Any]]
"""The values of a sheet by column, each of shape (n_questions,), in the order of the file."""

FIRST, THINKS, TOKENS, SURE, FIRST_TOKENS = BESIDE = ("first", "thinks", "tokens", "sure", "first tokens")
"""What a run's further columns hold, "auto/1 first" and so on: the fields of `sheets.Beside` in their order."""

_NEEDS = {FIRST: (THINKS, TOKENS), THINKS: (FIRST,), TOKENS: (), SURE: (FIRST, FIRST_TOKENS), FIRST_TOKENS: (SURE,)}
"""Of each such column, the others that are written with it."""


class _Words(NamedTuple):
    """The words that a column may hold where there is something to say."""

    expected: str
    are_right: Callable[[str], bool]


def _are_letters(word: str) -> bool:
    """Whether this is an answer as `tables.joined` writes it: another order of the same letters would compare as unequal."""
    letters = word.split(",")
    return word == "" or (letters == sorted(set(letters)) and set(letters) <= set(LETTERS))


def _is_count(word: str) -> bool:
    return word == "" or (word.isascii() and word.isdecimal() and len(word) < 16)


def _is_share(word: str) -> bool:
    try:
        return word == "" or 0 <= float(word) <= 1
    except ValueError:
        return False


_LETTERS = 'letters as text, such as "A" or "A,C" in the order of the options, or "" for none of them'
_GIVEN = _Words(_LETTERS, _are_letters)
_CATEGORY = _Words(" or ".join(DECIDED), lambda word: word in DECIDED)
_COUNT = _Words('a whole number as text, or "" where there is none', _is_count)
_OF_QUESTIONS = {"gold": _GIVEN, "observer": _GIVEN, **{rule.column: _CATEGORY for rule in Rule}}
_OF_RUNS = {
    "": _Words(f"{_LETTERS}, or {UNREAD}, or {LOST}", lambda word: word in (UNREAD, LOST) or _are_letters(word)),
    FIRST: _Words(f"{_LETTERS}, or {UNREAD}", lambda word: word == UNREAD or _are_letters(word)),
    THINKS: _Words("yes or no", lambda word: word in ("yes", "no")),
    TOKENS: _COUNT,
    SURE: _Words('a number from 0 to 1 as text, or "" where there is none', _is_share),
    FIRST_TOKENS: _COUNT,
}


def runs_in(path: Path, columns: Columns) -> dict[str, tuple[str, int]]:
    """The arm and seed of each run that has a column, by the column's name; the base has `NO_SEED`. All columns are checked.

    Raises:
        VtError: a column has a name or a value that no study writes, or one that belongs to it is missing, or a question stands
            in two rows; names the file, the column, and what was expected.
    """
    names = [name for name in columns if name not in SHEET_COLUMNS]
    found: dict[str, tuple[str, int]] = {}
    for name in names:
        run, _, what = name.partition(" ")
        if not what:
            found[name] = _run(path, name)
        elif what not in BESIDE:
            raise VtError(f"{path}: has a column {name!a}, which no study writes; take it out")
        elif lacking := [each for each in (run, *(f"{run} {one}" for one in _NEEDS[what])) if each not in names]:
            raise VtError(
                f"{path}: has a column {name!a} and none named {lacking[0]!a}, which a study writes with it; put it back"
            )
    _check_questions(path, columns)
    for name in names:
        _check_run(path, columns, name)
    return found


def column_of(arm: str, seed: int) -> str:
    """The name of the column that holds a run's answers."""
    return arm if arm == BASE else f"{arm}/{seed}"


def _check_questions(path: Path, columns: Columns) -> None:
    """Check what the sheet says of the questions themselves; every one of these columns has a value in every row."""
    for name in SHEET_COLUMNS:
        words = _OF_QUESTIONS.get(name)
        if None in columns[name]:
            raise _strange(path, columns, name, columns[name].index(None), "a value" if words is None else words.expected)
        if words is not None and (at := _first_wrong(columns[name], words)) is not None:
            raise _strange(path, columns, name, at, words.expected)
    if min(columns["scene"]) < 0:
        raise _strange(
            path, columns, "scene", columns["scene"].index(min(columns["scene"])), "the number of its clip, from 0 on"
        )
    times = Counter(columns["question_id"])
    if twice := next((name for name, n in times.items() if n > 1), None):
        raise VtError(f"{path}: question_id {twice} stands in {times[twice]} rows, expected one row for each")


def _check_run(path: Path, columns: Columns, name: str) -> None:
    """Check a run's column: its words, and that they stand where the columns that belong to it have some."""
    run, _, what = name.partition(" ")
    column, words = columns[name], _OF_RUNS[what]
    if (at := _first_wrong(column, words)) is not None:
        raise _strange(path, columns, name, at, words.expected)
    for at, (word, answer) in enumerate(zip(column, columns[run], strict=True)):
        if (word is None) != (answer is None):
            raise _strange(path, columns, name, at, words.expected if word is None else f"nothing, since {run} is empty there")
    if what == SURE:  # a first answer has both, or there is none to stop behind
        counted = f"{run} {FIRST_TOKENS}"
        for at, (word, count) in enumerate(zip(column, columns[counted], strict=True)):
            if (word == "") != (count == ""):
                raise _strange(path, columns, name, at, f"a number if {counted} has one, else no number")


def _first_wrong(column: Sequence[Any], words: _Words) -> int | None:
    """Index of the first value that is neither nothing nor a right word; None if there is none. Each word is judged once."""
    if not set(map(type, column)) <= {str, NoneType}:
        return next(at for at, word in enumerate(column) if not isinstance(word, str | None))
    wrong = {word for word in set(column) if word is not None and not words.are_right(word)}
    return next(at for at, word in enumerate(column) if word in wrong) if wrong else None


def _strange(path: Path, columns: Columns, name: str, at: int, expected: str) -> VtError:
    """The line on a value that is not as a study writes it."""
    return VtError(f"{path}: question {columns['question_id'][at]}: {name} is {_shown(columns[name][at])}, expected {expected}")


def _shown(value: object) -> str:
    """The value for a message: what lies in a file may be of any type and length."""
    text = "empty" if value is None else ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _run(path: Path, name: str) -> tuple[str, int]:
    if name == BASE:
        return BASE, NO_SEED
    arm, _, seed = name.partition("/")
    if not arm or not _is_seed(seed):
        raise VtError(f"{path}: has a column {name!a}, expected those of answer sheets: {BASE}, or ARM/SEED")
    return arm, int(seed)


def _is_seed(text: str) -> bool:
    """Whether this is a seed as a study writes it, so that no two columns are of one run: not 007, and not digits of other
    scripts, or so many that Python does not read them."""
    return text.isascii() and text.isdecimal() and len(text) < 20 and str(int(text)) == text
