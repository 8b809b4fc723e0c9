"""Which questions of a split a condition in SQL lets through: the filter of every training stage.

    matching(open_curated(Path("curated"), label_files=[Path("probe.parquet")]), "train", "blind < 0.5 and twin >= 0.75")

A condition may name the columns of questions.parquet, facets among them, `category` under the labels that count, and the
further columns of the label files given: a probe's file has a pass rate, unread replies and a margin for each view. Where two
files have a column of one name, it is asked for with the file's: "twin.normal", in double quotes. As in SQL a
condition on what is missing is neither true nor false, and then lets nothing through; `category is null` asks for what has no
label.
"""

import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from videothinker import tables
from videothinker.curated import Curated
from videothinker.errors import VtError
from videothinker.records import question
from videothinker.records.training import Matched

CATEGORY = "category"
"""Name of the column that the labels make."""


def matching(data: Curated, split: str, condition: str, rule: str | None = None) -> Matched:
    """The questions of the split, the training set's if it is "train", of which the condition is true.

    rule: name of the label set whose categories count; None: as `Curated.labels_by` has it.

    Raises:
        VtError: the condition is no SQL, names a column that is not there, or is nothing that is true or false of each
            question; or a label file's column cannot be told from another one.
    """
    rows = _table(data, split, rule)
    if not rows:
        raise VtError(f"{data.folder}: split '{split}' has no questions, so --where has nothing to choose from")
    frame = pl.DataFrame(rows, infer_schema_length=None)
    frame = frame.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))  # to polars NaN is more than any number
    found = _truth(frame, condition)
    ids = frame.filter(found)["question_id"].to_list()
    return Matched(frozenset(ids), n_questions=len(frame), n_unknown=found.null_count())


def _table(data: Curated, split: str, rule: str | None) -> list[dict[str, Any]]:
    """One row a question: what may be asked about it."""
    wanted = {asked.question_id for asked in data.questions(split)}
    path = data.folder / question.FILE
    labels, scores = data.labels_by(rule), data.scores
    rows = [row for row in tables.read(path, question.COLUMNS, more=True) if row["question_id"] in wanted]
    taken = list(rows[0]) if rows else []
    if CATEGORY in taken:
        raise VtError(f"{path}: has a column '{CATEGORY}', which is what the labels' column is called; rename the facet")
    if clash := next((name for name in scores if name in taken or name == CATEGORY), None):
        holder = f"{path} has" if clash in taken else "the labels make"
        files = ", ".join(map(str, data.label_files))
        raise VtError(f"{files}: a column is called '{clash}', and {holder} one of that name; rename it in the label file")
    return [
        row
        | {CATEGORY: None if (found := labels.category(row["question_id"])) is None else found.value}
        | {name: values.get(row["question_id"]) for name, values in scores.items()}
        for row in rows
    ]


def _missing(unknown: str, columns: Sequence[str]) -> str:
    """What to say of a column that is not there, or is there once for each of several label files."""
    of_files = [name for name in columns if name.endswith(f".{unknown}")]
    if of_files:
        quoted = " or ".join(f'"{name}"' for name in of_files)
        return f"several label files have such a column; say whose is meant, in double quotes: {quoted}"
    return f"there is no column '{unknown}'; there are {', '.join(columns)}"


def _truth(frame: pl.DataFrame, condition: str) -> pl.Series:
    """True, false or null of each row."""
    bare = [name for name in frame.columns if "." in name and re.search(rf'(?<!["\w]){re.escape(name)}(?!["\w])', condition)]
    if bare:
        raise VtError(f'--where {condition!r}: the column of one of several label files stands in double quotes: "{bare[0]}"')
    try:
        expression = pl.sql_expr(condition)
        if unknown := next((name for name in expression.meta.root_names() if name not in frame.columns), None):
            raise VtError(f"--where {condition!r}: {_missing(unknown, frame.columns)}")
        found = frame.select(expression.alias("found"))["found"]
    except pl.exceptions.PolarsError as error:
        said = str(error).splitlines()[0]
        raise VtError(
            f"--where {condition!r}: {said}; expected an SQL condition such as \"category = 'inferential'\", with columns that"
            ' are words of SQL, such as "group", in double quotes'
        ) from error
    if found.dtype != pl.Boolean or len(found) != len(frame):
        what = f"gives {found.dtype}" if found.dtype != pl.Boolean else "says the same of all questions"
        raise VtError(f"--where {condition!r}: {what}, expected a condition that is true or false of each question")
    return found
