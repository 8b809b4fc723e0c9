"""Video-Holmes (TencentARC): short suspense films, single choices of six options in seven kinds of reasoning."""

from collections.abc import Sequence

from videothinker.curate.datasets import Dataset, Part, Published, ReadQuestions, Table, Wishes, rows, video_r1
from videothinker.curate.datasets.rows import Row, UnusableError
from videothinker.records import Benchmark, Question

N_PUBLISHED = 1_837
_BY_TYPE = {"SR": 292, "IMC": 276, "TCI": 273, "TA": 200, "MHR": 332, "PAR": 194, "CTI": 270}
"""Questions of the test set by type: social reasoning, intention and motive chaining, temporal causal inference, timeline
analysis, multimodal hint reasoning, physical anomaly reasoning, core theme inference."""


def read(tables: Sequence[Table], wishes: Wishes) -> ReadQuestions:
    """The questions of the release's test file, or of a file in Video-R1's form."""
    in_video_r1 = video_r1.is_video_r1(tables)
    read = (
        rows.sort_rows(tables, video_r1.row_id, _question_of_video_r1)
        if in_video_r1
        else rows.sort_rows(tables, _name, _question)
    )
    published = [Published(("question_type",), {(name,): n for name, n in _BY_TYPE.items()})]
    return ReadQuestions(read.questions, read.unresolved, n_published=N_PUBLISHED, published=published)


def _name(row: Row) -> str | None:
    film, number = row.word("video ID"), row.word("Question ID")
    return f"{film}:{number}" if film and number else None


def _question(row: Row, name: str) -> Question:
    """A row of the release, whose fields have blanks in their names."""
    options = rows.lettered(row.fields.get("Options"))
    film = row.word("video ID")
    if film is None:
        raise UnusableError("has no `video ID`, so nobody knows its clip")
    gold = rows.by_letter(row.text("Answer"), len(options))
    return _made(name, row.text("Question"), options, gold, f"{film}.mp4", row.word("Question Type"))


def _question_of_video_r1(row: Row, name: str) -> Question:
    found = video_r1.parse_choice(row)
    path = rows.last_parts(found.path)
    return _made(name, found.text, found.options, found.gold, path, row.word("question_type"))


def _made(name: str, text: str, options: tuple[str, ...], gold: tuple[str, ...], path: str, kind: str | None) -> Question:
    clip = rows.clip(path)
    return rows.question(name, text.strip(), options, gold, clip, {"question_type": kind} if kind else {}, DATASET.name)


DATASET = Dataset(
    name="Video-Holmes",
    what="suspense films of 1 to 5 minutes, whose clues have to be put together, in 7 kinds of reasoning",
    needs="the release's folder or its test_Video-Holmes.json, or a Video-R1-style file of it (eval_video_holmes.json)",
    origin="TencentARC/Video-Holmes on the Hugging Face hub",
    size="1,837 test questions about 270 films, in videos.zip",
    licence="Apache-2.0 for academic purposes, as its makers say; the films belong to their owners",
    split="test",
    read=read,
    parts=(
        Part(
            "test",
            ("test_Video-Holmes.json", "Benchmark/test_Video-Holmes.json", "data/test*.parquet", "test*.parquet"),
            (None, "test"),
        ),
    ),
    clips=("videos_cropped", "videos", "Benchmark/videos_cropped", "Benchmark/videos"),
    hub="TencentARC/Video-Holmes",
    n_published=N_PUBLISHED,
    benchmark=Benchmark(name="Video-Holmes"),
)
