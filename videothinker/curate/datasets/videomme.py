"""Video-MME without subtitles (lmms-lab): single choices of four options about clips of eleven seconds to an hour."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from videothinker.curate.datasets import Dataset, Part, Published, ReadQuestions, Table, Wishes, rows, video_r1
from videothinker.curate.datasets.rows import Row
from videothinker.records import Benchmark, Question

N_PUBLISHED = 2_700
FACETS = ("duration", "domain", "sub_category", "task_type")
_PUBLISHED: Mapping[str, Mapping[str, int]] = {
    "task_type": {
        "Object Reasoning": 454,
        "Object Recognition": 354,
        "Information Synopsis": 323,
        "Action Recognition": 313,
        "Action Reasoning": 285,
        "Counting Problem": 268,
        "Attribute Perception": 222,
        "Temporal Reasoning": 177,
        "OCR Problems": 139,
        "Spatial Reasoning": 56,
        "Temporal Perception": 55,
        "Spatial Perception": 54,
    },
    "domain": {
        "Knowledge": 810,
        "Life Record": 630,
        "Sports Competition": 450,
        "Film & Television": 360,
        "Artistic Performance": 360,
        "Multilingual": 90,
    },
    "duration": {"short": 900, "medium": 900, "long": 900},
}


def read(tables: Sequence[Table], wishes: Wishes) -> ReadQuestions:
    """The questions of the release's table, or of a file in Video-R1's form."""
    in_video_r1 = video_r1.is_video_r1(tables)
    read = rows.sort_rows(tables, video_r1.row_id, _question_of_video_r1 if in_video_r1 else _question)
    published = [Published((facet,), {(name,): n for name, n in counts.items()}) for facet, counts in _PUBLISHED.items()]
    return ReadQuestions(read.questions, read.unresolved, n_published=N_PUBLISHED, published=published)


def _question(row: Row, name: str) -> Question:
    options = rows.bare(row.fields.get("options"))
    gold = rows.by_letter(row.text("answer"), len(options))
    return _made(row, name, row.text("question"), options, gold, f"{row.text('videoID')}.mp4")


def _question_of_video_r1(row: Row, name: str) -> Question:
    found = video_r1.parse_choice(row)
    return _made(row, name, found.text, found.options, found.gold, rows.last_parts(found.path))


def _made(row: Row, name: str, text: str, options: tuple[str, ...], gold: tuple[str, ...], path: str) -> Question:
    clip = rows.clip(path)
    return rows.question(
        name,
        text,
        options,
        gold,
        clip,
        {facet: word for facet in FACETS if (word := row.word(facet))},
        DATASET.name,
        group=row.word("videoID") or PurePosixPath(path).stem,
    )


DATASET = Dataset(
    name="Video-MME",
    what="clips of 11 seconds to an hour, without subtitles, in 6 domains and 12 kinds of task",
    needs="the release's folder or its videomme/test parquet, or a Video-R1-style file of it (eval_videomme.json)",
    origin="lmms-lab/Video-MME on the Hugging Face hub",
    size="2,700 questions about 900 clips, 300 of each duration, in videos_chunked_*.zip",
    licence="academic research only, as its makers say; see the release",
    split="test",
    read=read,
    parts=(Part("test", ("videomme/test*.parquet", "data/test*.parquet", "test*.parquet", "test.json"), ("videomme", "test")),),
    clips=("data", "videos"),
    hub="lmms-lab/Video-MME",
    n_published=N_PUBLISHED,
    benchmark=Benchmark(name="Video-MME"),
)
