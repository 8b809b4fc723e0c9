"""Tables as text, comma- or tab-separated. Every cell is read as text: an id "007" and an option "1.0" stay what they are."""

import ast
import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""Separator of cells, by the suffix of the file."""
_LONGEST_CELL = 2**24
"""Most characters of a cell; Python's own bound of 131,072 is shorter than some replies with their reasoning."""


def rows(text: str, separator: str) -> Iterator[dict[str, str | None] | str]:
    """Yield each row below the header by column, None for an empty cell; for a row that is damaged, what is wrong with it.

    Lines without any cell are no rows.

    Raises:
        ValueError: the text is no such table, or has two columns of one name; the message says which.
    """
    csv.field_size_limit(_LONGEST_CELL)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise ValueError(f"{error}; expected a table with a header, in quotation marks where needed") from error
    header, *body = lines or [[]]
    check_header(header)
    for cells in body:
        if len(cells) == len(header):
            yield {name: cell or None for name, cell in zip(header, cells, strict=True)}
        elif cells:
            yield f"it has {len(cells)} cells, the header has {len(header)}"


def check_header(header: Sequence[str]) -> None:
    """Check that every column of a table has a name of its own.

    Raises:
        ValueError: two have one name; the message says which.
    """
    if twice := next((name for name in header if header.count(name) > 1), None):
        raise ValueError(f"has two columns '{twice}'; rename one of them")


def value(cell: str) -> Any:
    """What a cell holds that is written as JSON or as Python writes a list or dict, such as "['the cup', 'the ball']".

    Raises:
        ValueError: it is neither.
    """
    for read in (json.loads, ast.literal_eval):
        try:
            return read(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    raise ValueError("is neither JSON nor a list as Python writes it")
