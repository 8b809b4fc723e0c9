"""MMVU (yale-nlp): expert questions about lectures and experiments. Of the 1,000 validation questions 625 are single choices of
five options; the other 375 are open, and its makers have a model grade them.

VideoThinker's file of the 625 suffered a replacement of "path" by "video" in 21 rows ("pathogen" became "videoogen");
`repaired` undoes it, and the repaired rows agree with the release word for word.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from videothinker.curate.datasets import NEEDS_JUDGE, Dataset, Part, Published, ReadQuestions, Table, Wishes, rows, video_r1
from videothinker.curate.datasets.rows import Row, UnusableError
from videothinker.records import Benchmark, Question

AS_PUBLISHED = "as-published"

_SUBJECTS = {
    "Science": "Astronomy Biology Chemistry Electromagnetism Geography Materials_Science Mechanics Modern_Physics Neurobiology"
    " Thermodynamics",
    "Engineering": "Biomedical_Engineering Civil_Engineering Computer_Science Electrical_Engineering"
    " Electronics_and_Communication Mechanical_Engineering",
    "Healthcare": "Basic_Medicine Clinical_Medicine Dentistry Pharmacy Preventive_Medicine",
    "Humanities & Social Sciences": "Art Economics History Law Literature Management",
}
"""The 27 subjects, as folders of clips are called, by discipline."""
DISCIPLINES = {folder.replace("_", " "): discipline for discipline, folders in _SUBJECTS.items() for folder in folders.split()}
"""Discipline by subject."""

N_PUBLISHED = 1_000
N_CHOICES = 625
_BY_DISCIPLINE = {"Science": 213, "Engineering": 199, "Healthcare": 121, "Humanities & Social Sciences": 92}
"""Single choices by discipline."""

_PATHS = {
    "limits the video of": "limits the path of",
    "tangentially to the video,": "tangentially to the path,",
    "one video with two": "one path with two",
    "motion videos": "motion paths",
    "one's video": "one's path",
    "introduces a video for": "introduces a path for",
    "is now a video": "is now a path",
    "limited by the video,": "limited by the path,",
    "conductive video for": "conductive path for",
    "optical video": "optical path",
}
"""Where the word alone was replaced; none of these is in the release."""
_IN_WORDS = re.compile(r"\bvideo(?=o[a-z]|ways?\b)")
"""Of "pathogen", "pathology", "pathway" and the like; "videographer" is a word of its own."""


def repaired(text: str, *, is_option: bool = False) -> str:
    """The text as the release has it, where "path" had become "video". Options begin with a capital."""
    text = _IN_WORDS.sub(lambda found: "Path" if is_option and found.start() == 0 else "path", text)
    for damaged, sound in _PATHS.items():
        text = text.replace(damaged, sound)
    return text


def read(tables: Sequence[Table], wishes: Wishes) -> ReadQuestions:
    """The single choices of the release or of a file in Video-R1's form; open questions are kept out."""
    in_video_r1 = video_r1.is_video_r1(tables)
    mended: list[str] = []

    def question(row: Row, name: str) -> Question:
        if not in_video_r1:
            return _question(row, name)
        found = _question_of_video_r1(row, name)
        better = _repaired(found)
        if better is found:
            return found
        mended.append(name)
        return found if wishes.variant == AS_PUBLISHED else better

    read = rows.sort_rows(tables, video_r1.row_id if in_video_r1 else lambda row: row.word("id"), question)
    rows.refuse_strangers(read.questions, tables, "discipline", DATASET.name)
    open_ones = any(one.reason == NEEDS_JUDGE for one in read.unresolved)
    notes = []
    if mended and wishes.variant == AS_PUBLISHED:
        notes.append(
            f'{rows.how_many(len(mended), "row")} with "video" where the release has "path" ("videoogen"); kept as in the file'
        )
    elif mended:
        notes.append(
            f'{rows.how_many(len(mended), "row")} with "video" where the release has "path" ("videoogen"); repaired, and'
            f" --variant {AS_PUBLISHED} keeps the file's words"
        )
    return ReadQuestions(
        read.questions,
        read.unresolved,
        n_published=N_PUBLISHED if open_ones or not in_video_r1 else N_CHOICES,
        published=[Published(("discipline",), {(name,): n for name, n in _BY_DISCIPLINE.items()})],
        notes=notes,
    )


def _question(row: Row, name: str) -> Question:
    """A row of the release."""
    if row.word("question_type") == "open-ended":
        raise UnusableError(NEEDS_JUDGE)
    options = rows.lettered(row.fields.get("choices"))
    metadata = row.fields.get("metadata")
    subject = metadata.get("subject") if isinstance(metadata, Mapping) else None
    gold = rows.by_letter(row.text("answer"), len(options))
    return _made(name, row.text("question"), options, gold, row.text("video"), subject)


def _question_of_video_r1(row: Row, name: str) -> Question:
    found = video_r1.parse_choice(row)
    return _made(name, found.text, found.options, found.gold, found.path, None)


def _made(name: str, text: str, options: tuple[str, ...], gold: tuple[str, ...], path: str, subject: str | None) -> Question:
    """subject: None reads it from the clip's folder."""
    clip = rows.clip(rows.last_parts(path, 2))
    subject = (subject or clip.path.split("/")[0]).replace("_", " ")
    facets = {"discipline": DISCIPLINES[subject], "subject": subject} if subject in DISCIPLINES else {}
    return rows.question(name, text, options, gold, clip, facets, DATASET.name)


def _repaired(asked: Question) -> Question:
    """The question with its words restored; the same object if nothing was damaged."""
    text = repaired(asked.text)
    options = tuple(repaired(one, is_option=True) for one in asked.options)
    if (text, options) == (asked.text, asked.options):
        return asked
    return msgspec.structs.replace(asked, text=text, options=options)


DATASET = Dataset(
    name="MMVU",
    what="expert knowledge applied to a clip, in 27 subjects of 4 disciplines",
    needs="the release's folder or its validation.json, or a Video-R1-style file of it (eval_mmvu.json)",
    origin="yale-nlp/MMVU on the Hugging Face hub",
    size="1,000 validation questions, 625 of them single choices about 379 clips; 583 clips in videos/",
    licence="see the release",
    split="validation",
    read=read,
    parts=(Part("validation", ("validation.json", "data/validation*.parquet", "validation*.parquet"), (None, "validation")),),
    clips=("videos",),
    hub="yale-nlp/MMVU",
    variants={AS_PUBLISHED: 'keeps the words of VideoThinker\'s file as they are, in which 21 rows say "video" for "path"'},
    n_published=N_PUBLISHED,
    benchmark=Benchmark(name="MMVU"),
)
