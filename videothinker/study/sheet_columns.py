"""What the columns of runs on an answer sheet are called and may hold, checked before a number is computed from them.

A sheet is a file that people open and save again, with programs that turn text into numbers or leave a column out.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from videothinker.errors import VtError
from videothinker.records.study import BASE
from videothinker.records.study_results import NO_SEED, SHEET_COLUMNS
from videothinker.tables import Row

FIRST, THINKS, TOKENS, SURE, FIRST_TOKENS = BESIDE = ("first", "thinks", "tokens", "sure", "first tokens")
"""What a run's further columns hold, "auto/1 first" and so on: the fields of `sheets.Beside` in their order."""

_NEEDS = {FIRST: (THINKS, TOKENS), THINKS: (FIRST,), TOKENS: (), SURE: (FIRST, FIRST_TOKENS), FIRST_TOKENS: (SURE,)}
"""Of each such column, the others that are written with it."""


class _Words(NamedTuple):
    """The words that a column may hold where its run was asked the question."""

    expected: str
    are_right: Callable[[str], bool]


def _is_count(word: str) -> bool:
    return word == "" or (word.isascii() and word.isdecimal() and len(word) < 16)


def _is_share(word: str) -> bool:
    try:
        return word == "" or 0 <= float(word) <= 1
    except ValueError:
        return False


_COUNT = _Words('a whole number as text, or "" where there is none', _is_count)
_ANY = _Words("letters as text", lambda _: True)
_BY_COLUMN = {
    "": _ANY,
    FIRST: _ANY,
    THINKS: _Words("yes or no", lambda word: word in ("yes", "no")),
    TOKENS: _COUNT,
    SURE: _Words('a number from 0 to 1 as text, or "" where there is none', _is_share),
    FIRST_TOKENS: _COUNT,
}


def runs_in(path: Path, rows: Sequence[Row]) -> dict[str, tuple[str, int]]:
    """The arm and seed of each run that has a column, by the column's name; the base has `NO_SEED`. All columns are checked.

    Raises:
        VtError: a column has a name or a value that no study writes, or one that belongs to it is missing; names the file, the
            column, and what was expected.
    """
    names = [name for name in (rows[0] if rows else ()) if name not in SHEET_COLUMNS]
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
    for row in rows:
        _check(path, row, names)
    return found


def _check(path: Path, row: Row, names: Sequence[str]) -> None:
    """Check a question's values in these columns.

    Raises:
        VtError: one is not as a study writes it.
    """
    for name in names:
        run, _, what = name.partition(" ")
        word = row[name]
        if what and row[run] is None:
            is_right, expected = word is None, f"nothing, since {run} is empty there"
        else:
            words = _BY_COLUMN[what]
            is_right, expected = words.are_right(word) if isinstance(word, str) else not what and word is None, words.expected
        if is_right and what == SURE:  # which are both of the first answer
            counted = row[f"{run} {FIRST_TOKENS}"]
            is_right, expected = (word == "") == (counted == ""), f"a number if {run} {FIRST_TOKENS} has one, else no number"
        if not is_right:
            raise VtError(f"{path}: question {row['question_id']}: {name} is {_shown(word)}, expected {expected}")


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
