"""Any set of questions: rows in Video-R1's form (`video_r1`), or a table whose columns are named by --column.

If every answer is one letter, the questions are single choices. If some answer has several letters or none, all questions ask
for sets, because otherwise the prompt would tell how many options are correct.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec

from videothinker import delimited
from videothinker.answers import GOLD
from videothinker.answers.yes_no import OPTIONS as YES_NO
from videothinker.answers.yes_no import WORDS
from videothinker.curate.datasets import Dataset, ReadQuestions, Table, Wishes, rows, video_r1
from videothinker.curate.datasets.rows import Row, UnusableError
from videothinker.errors import VtError
from videothinker.footage import parts_of
from videothinker.records import Clip, Form, Question
from videothinker.records.question import COLUMNS

FACETS = ("data_source", "original_question_type", "question_type", "task_type", "domain", "sub_category", "duration")
"""Fields of a Video-R1 row that become facets if the file's rows differ in them."""
NOTHING = "none"
"""What a table's cell says in place of a clip where a question shows nothing; an empty cell is a clip that was forgotten."""
MOST_VALUES = 50
"""Most values of such a facet; a field with more holds addresses or names."""


def read(tables: Sequence[Table], wishes: Wishes) -> ReadQuestions:
    """The questions of one file, or of one part of a hub's set.

    Raises:
        VtError: --column names something that is not there.
    """
    table = tables[0]
    if wishes.columns:
        return _read_table(table, _columns(table, wishes.columns))
    first = next((row for row in table.rows if isinstance(row, dict)), None)
    if first is not None and "problem" not in first and len(first) > 2 and "solution" not in first:
        raise VtError(
            f"--from {table.file}: has the columns {_named(first)}; say which is which, as in --column"
            f" question={next(iter(first))} --column options=... --column answer=... --column video=..."
        )
    return _read_video_r1(table)


# ---- rows in Video-R1's form -----------------------------------------------------------------------------------------------


def _read_video_r1(table: Table) -> ReadQuestions:
    listed: list[str] = []
    from_top: list[str] = []

    def question(row: Row, name: str) -> Question:
        found = video_r1.parse(row, data_types=("video", "frame", "image", "text"))
        if found.lists_options:
            listed.append(name)
        if not found.path:
            return _question(name, table, found.text, found.options, found.gold, None, found.form, facets=_facets(row))
        path = "/".join(parts_of(found.path))
        if row.fields.get("data_type") == "frame" and not rows.is_file(path) and row.seconds("fps") is None:
            raise UnusableError("is about a folder of frames without `fps`, so nobody knows its times")
        clip = rows.clip(path, row.seconds("start"), row.seconds("end"), row.seconds("fps"))
        if clip.is_image is not (row.fields.get("data_type") == "image"):
            kind = row.fields.get("data_type", "video")
            raise UnusableError(f"data_type is {kind!r}, but its file is {path!a}; images are .jpg, .jpeg and .png")
        if found.path.startswith("/"):
            from_top.append(name)
        return _question(name, table, found.text, found.options, found.gold, clip, found.form, facets=_facets(row))

    read = rows.sort_rows([table], video_r1.row_id, question)
    varied = [name for name in FACETS if 1 < len({one.facets.get(name) for one in read.questions}) <= MOST_VALUES]
    questions = [
        msgspec.structs.replace(one, facets={name: one.facets[name] for name in varied if name in one.facets})
        for one in read.questions
    ]
    notes = []
    if listed:
        notes.append(f"{rows.how_many(len(listed), 'question')} with a list of the options in the text, too; a prompt has one")
    if from_top:
        notes.append(f'{rows.how_many(len(from_top), "clip")} with a "/" at the beginning, read as the folder of --videos')
    return ReadQuestions(_formed(questions), read.unresolved, notes=notes)


def _facets(row: Row) -> dict[str, str]:
    return {key: value for key in FACETS if isinstance(value := row.fields.get(key), str) and value}


def _question(
    name: str,
    table: Table,
    text: str,
    options: tuple[str, ...],
    gold: tuple[str, ...],
    clip: Clip | None,
    form: Form | None,
    *,
    facets: dict[str, str],
    group: str | None = None,
) -> Question:
    return rows.question(
        name,
        text,
        options,
        gold,
        clip,
        facets,
        PurePosixPath(table.file).stem,
        form=form or Form.LETTERS,
        group=group,
    )


def _formed(questions: Sequence[Question]) -> list[Question]:
    """The questions, all that ask for letters of one form."""
    form = video_r1.form_for([one.gold for one in questions if one.form is Form.LETTERS])
    return [msgspec.structs.replace(one, form=form) if one.form is Form.LETTERS else one for one in questions]


# ---- tables with named columns ---------------------------------------------------------------------------------------------

_MEASURED = {"answer_number": Form.NUMBER, "answer_estimate": Form.ESTIMATE, "answer_interval": Form.INTERVAL}
"""Meanings of an answer that is no option."""
_ANSWERS = ("answer", "answer_letter", "answer_text", "answer_index", *_MEASURED)
_MEANINGS = ("question", "options", *_ANSWERS, "video", "id", "start", "end", "fps", "group")
_EXPECTED = (
    "expected question=, video=, one of answer=, answer_letter=, answer_text=, answer_index=, answer_number=, answer_estimate="
    " and answer_interval=, and perhaps options=, id=, start=, end=, fps=, group= and facet:NAME="
)


class _Columns(NamedTuple):
    """Which column of a table is what."""

    by_meaning: Mapping[str, str]
    options: tuple[str, ...]
    """One column of lists, or one column for each option; () for questions of yes or no, of numbers or of intervals."""
    answer: str
    """One of `_ANSWERS`."""
    first: int
    """For answer_index: the number of the first option."""
    facets: Mapping[str, str]
    """Column by facet."""


def _columns(table: Table, given: Sequence[str]) -> _Columns:
    """--column options as one record, checked against the table's columns."""
    by_meaning: dict[str, str] = {}
    facets: dict[str, str] = {}
    for each in given:
        meaning, equals, column = (part.strip() for part in each.partition("="))
        facet = meaning.removeprefix("facet:")
        if not equals or not column or not (meaning in _MEANINGS or facet != meaning):
            raise VtError(f"--column {each}: is not understood; {_EXPECTED}")
        if facet != meaning and (facet in COLUMNS or not facet):
            raise VtError(f"--column {each}: '{facet}' is a column of every question set; give the facet another name")
        target, key = (facets, facet) if facet != meaning else (by_meaning, meaning)
        if key in target:
            raise VtError(f"--column {each}: {meaning} is given twice")
        target[key] = column
    answers = [name for name in _ANSWERS if name in by_meaning]
    lacking = [name for name in ("question", "video") if name not in by_meaning]
    if lacking or len(answers) != 1:
        raise VtError(
            f"--column: {f'lacks {lacking[0]}=' if lacking else 'names ' + (' and '.join(answers) or 'no answer')}; {_EXPECTED}"
        )
    first = 0
    if answers == ["answer_index"]:
        column, _, base = by_meaning["answer_index"].rpartition(":")
        if base not in ("0", "1") or not column:
            raise VtError(
                f"--column answer_index={by_meaning['answer_index']}: say what the first option's number is, as in"
                " answer_index=label:0 or answer_index=label:1"
            )
        by_meaning["answer_index"], first = column, int(base)
    if answers[0] in _MEASURED and "options" in by_meaning:
        raise VtError(f"--column {answers[0]}=: is for answers that are no options; leave options= out")
    options = tuple(part.strip() for part in by_meaning.pop("options", "").split(",") if part.strip())
    has = next((row for row in table.rows if isinstance(row, dict)), {})
    known = {name for row in table.rows if isinstance(row, dict) for name in row}
    named = [
        column for meaning, each in by_meaning.items() for column in (_both(each) if meaning == "answer_interval" else [each])
    ]
    for column in (*named, *options, *facets.values()):
        if known and column not in known:
            raise VtError(f"--column: {table.file} has no column '{column}'; it has {_named(has)}")
    return _Columns(by_meaning, options, answers[0], first, facets)


def _both(columns: str) -> list[str]:
    """The columns of one meaning: one, or for answer_interval that of the start and that of the end, with a comma between."""
    return [part.strip() for part in columns.split(",")]


def _named(row: Mapping[str, Any]) -> str:
    names = list(row)
    return ", ".join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def _read_table(table: Table, columns: _Columns) -> ReadQuestions:
    by = columns.by_meaning

    def question(row: Row, name: str) -> Question:
        text = row.text(by["question"])
        options = _options(row, columns.options)
        said = row.fields.get(by[columns.answer])
        form = _MEASURED.get(columns.answer)
        if form is not None:
            return _measured(row, name, text, form)
        is_yes_no = not columns.options and str(said).strip().lower() in WORDS
        if not options and not is_yes_no:
            raise UnusableError(f"its answer is {said!a} and it has no options, expected yes or no")
        gold = WORDS[str(said).strip().lower()] if is_yes_no else _gold(said, options, columns)
        return made(row, name, text, YES_NO if is_yes_no else options, gold, Form.YES_NO if is_yes_no else None)

    def _measured(row: Row, name: str, text: str, form: Form) -> Question:
        columns_of_answer = _both(by[columns.answer]) if form is Form.INTERVAL else [by[columns.answer]]
        cells = [row.fields.get(column) for column in columns_of_answer]
        values = cells[0] if len(cells) == 1 and isinstance(cells[0], list) else cells
        each = ["" if value is None else str(value).strip() for value in values]
        said, field = " to ".join(each), ",".join(columns_of_answer)
        gold = video_r1.measured(said, form, field)
        if len(each) == 2 and gold[0] != _time(each[0]):  # a reader sorts them, so the first is then the later one
            raise UnusableError(f"its {field} is {said[:80]!r}, where the end comes before the start")
        return made(row, name, text, (), gold, form)

    def made(row: Row, name: str, text: str, options: tuple[str, ...], gold: tuple[str, ...], form: Form | None) -> Question:
        times = {key: row.seconds(by[key]) if key in by else None for key in ("start", "end", "fps")}
        clip = None
        if row.fields.get(by["video"]) in (None, ""):
            raise UnusableError(f"its `{by['video']}` is empty, expected a clip, an image, or {NOTHING} where nothing is shown")
        if row.word(by["video"]) != NOTHING:
            clip = rows.clip("/".join(parts_of(row.text(by["video"]))), times["start"], times["end"], times["fps"])
        facets = {facet: word for facet, column in columns.facets.items() if (word := row.word(column)) is not None}
        group = row.word(by["group"]) if "group" in by else None
        return _question(name, table, text, options, gold, clip, form, facets=facets, group=group)

    read = rows.sort_rows([table], lambda row: row.word(by["id"]) if "id" in by else None, question)
    return ReadQuestions(_formed(read.questions), read.unresolved)


def _time(cell: str) -> str | None:
    """A start or an end as an interval's gold holds it: that of an interval which ends after any clip."""
    found = GOLD[Form.INTERVAL](f"{cell} to 999999999")
    return None if found is None else found[0]


def _options(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    """The options of one column of lists, which text may write as JSON or as Python does, or of several columns."""
    if not columns:
        return ()
    if len(columns) > 1:
        cells = [row.word(column) for column in columns]
        while cells and cells[-1] is None:
            cells.pop()
        return rows.bare([_present(cell, column) for cell, column in zip(cells, columns, strict=False)])
    value = row.fields.get(columns[0])
    if isinstance(value, str):
        value = _list(value, columns[0])
    if isinstance(value, dict):
        return rows.lettered(value)
    texts = [_number_as_text(one) for one in value] if isinstance(value, list) else value
    return rows.bare(texts, columns[0])


def _number_as_text(option: Any) -> Any:
    return str(option) if isinstance(option, int | float) and not isinstance(option, bool) else option


def _present(cell: str | None, column: str) -> str:
    if cell is None:
        raise UnusableError(f"its `{column}` is empty, but an option behind it is not")
    return cell


def _list(text: str, column: str) -> Any:
    try:
        return delimited.value(text)
    except ValueError as error:
        raise UnusableError(f'its `{column}` is no list, expected one such as ["the cup", "the ball"]') from error


def _gold(said: Any, options: tuple[str, ...], columns: _Columns) -> tuple[str, ...]:
    """The correct letters, as the column's meaning tells them."""
    if columns.answer == "answer_index":
        return rows.by_index(said, len(options), columns.first)
    if isinstance(said, list):
        said = ",".join(map(str, said))
    said = "" if said is None else str(said)
    if columns.answer == "answer_text":
        return rows.by_text(said, options)
    letters = video_r1.letters(re.sub(r"</?answer>", "", said).strip(), len(options))
    if columns.answer == "answer_letter" or said.strip() not in options:
        if letters is None:
            raise UnusableError(f"its answer is {said!a}, expected letters of its {len(options)} options, or the text of one")
        return letters
    by_text = rows.by_text(said, options)
    if letters not in (None, by_text):
        raise UnusableError(
            f"its answer {said!a} is a letter and the text of option {by_text[0]}; say which with answer_letter= or"
            " answer_text="
        )
    return by_text


DATASET = Dataset(
    name="records",
    what="any questions of your own: single choices, sets of letters, yes or no, numbers, intervals of time",
    needs="a JSON or JSONL file of Video-R1 rows (problem, options, solution, video or path), or a table (csv, tsv, parquet,"
    " json, jsonl) whose columns --column names",
    origin="yours, or any release in that form",
    size="as the file says",
    licence="that of the release",
    split="test",
    read=read,
)
