"""LongVideoBench, validation part: single choices of three to five options about clips of 8 seconds to an hour, each of which
refers to a moment of the clip. Subtitles are not shown.
"""

from collections.abc import Sequence
from typing import Any

from videothinker.curate.datasets import Dataset, Part, Published, ReadQuestions, Table, Wishes, rows, video_r1
from videothinker.curate.datasets.rows import Row
from videothinker.records import Benchmark, Question

N_PUBLISHED = 1_337
_BY_DURATION = {"15": 189, "60": 172, "600": 412, "3600": 564}
"""Questions by `duration_group`, the most seconds that its clips last."""


def read(tables: Sequence[Table], wishes: Wishes) -> ReadQuestions:
    """The questions of lvb_val.json or of its parquet, or of a file in Video-R1's form.

    Raises:
        VtError: it is the test part, which has no answers.
    """
    if video_r1.is_video_r1(tables):
        read = rows.sort_rows(tables, video_r1.row_id, _question_of_video_r1)
    else:
        rows.refuse_without_answers(tables, "correct_choice", DATASET.name)
        read = rows.sort_rows(tables, lambda row: row.word("id"), _question)
    published = [Published(("duration_group",), {(name,): n for name, n in _BY_DURATION.items()})]
    return ReadQuestions(read.questions, read.unresolved, n_published=N_PUBLISHED, published=published)


def _question(row: Row, name: str) -> Question:
    options = _options(row)
    gold = rows.by_index(row.fields.get("correct_choice"), len(options))
    return _made(row, name, row.text("question"), options, gold, row.text("video_path"))


def _options(row: Row) -> tuple[str, ...]:
    """`candidates` of the JSON file, or option0 to option4 of the parquet, where "N/A" stands for no option."""
    given = row.fields.get("candidates")
    if not isinstance(given, list):
        cells: list[Any] = [row.fields.get(f"option{index}") for index in range(5)]
        while cells and cells[-1] in (None, "", "N/A"):
            cells.pop()
        given = cells
    return rows.plain(given, "candidates")


def _question_of_video_r1(row: Row, name: str) -> Question:
    found = video_r1.parse_choice(row)
    return _made(row, name, found.text, found.options, found.gold, found.path)


def _made(row: Row, name: str, text: str, options: tuple[str, ...], gold: tuple[str, ...], path: str) -> Question:
    clip = rows.clip(rows.last_parts(path))
    return rows.question(
        name,
        text,
        options,
        gold,
        clip,
        {facet: word for facet in ("duration_group", "question_category") if (word := row.word(facet))},
        DATASET.name,
    )


DATASET = Dataset(
    name="LongVideoBench",
    what="clips of 8 seconds to an hour, each question about a moment that it describes, in 17 kinds",
    needs="the release's folder, its lvb_val.json or its validation parquet, or a Video-R1-style file of it",
    origin="longvideobench/LongVideoBench on the Hugging Face hub, after asking for access",
    size="1,337 validation questions; clips of all parts in videos.tar.part.*",
    licence="CC-BY-NC-SA 4.0",
    split="validation",
    read=read,
    parts=(
        Part(
            "validation",
            ("lvb_val.json", "validation*.parquet", "data/validation*.parquet"),
            (None, "validation"),
        ),
    ),
    clips=("videos",),
    hub="longvideobench/LongVideoBench",
    n_published=N_PUBLISHED,
    benchmark=Benchmark(name="LongVideoBench"),
)
