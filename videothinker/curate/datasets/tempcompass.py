"""TempCompass (llyx97): what happens when, in four formats about 410 short clips, many of them reversed or joined on purpose.

    multi-choice       2 to 4 options                          caption-matching   which of two captions fits
    yes-no             a question of yes or no                 captioning         a caption, which its makers have a model grade

The paper of VideoThinker seems to have asked captioning as letters, too, because its file has room for all 7,540 rows: the
variant `captioning-as-letters` asks the question that the judge would have been given, and yes or no as two options.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from videothinker.answers.yes_no import OPTIONS as YES_NO
from videothinker.answers.yes_no import WORDS
from videothinker.curate.datasets import NEEDS_JUDGE, Dataset, Part, Published, ReadQuestions, Table, Wishes, rows, video_r1
from videothinker.curate.datasets.rows import Row, UnusableError
from videothinker.records import Benchmark, Form, Question

AS_LETTERS = "captioning-as-letters"
CAPTIONING, YES_OR_NO, MATCHING, CHOICES = "captioning", "yes-no", "caption-matching", "multi-choice"

N_PUBLISHED = 7_540
_DIMENSIONS = ("action", "direction", "speed", "order", "attribute-change")
_COUNTS = {
    CHOICES: (338, 335, 317, 302, 288),
    YES_OR_NO: (592, 494, 537, 382, 448),
    MATCHING: (297, 327, 291, 300, 288),
    CAPTIONING: (396, 436, 388, 400, 384),
}
"""Questions by format and dimension."""

_OPTION = re.compile(r"\s*(?P<label>[A-Z]\.|(?:Option|Sentence|Caption) [A-Z0-9]:)\s*(?P<text>.*)")
_MATCHES = (
    "Which description is a more suitable match for the video?",
    "Which sentence better captures the essence of the video?",
    "Which caption matches the video better?",
)
"""The three questions that caption matching asks, by which it is known in files that do not name formats."""


def read(tables: Sequence[Table], wishes: Wishes) -> ReadQuestions:
    """The questions of the release's files, of the hub's tables, or of a file in Video-R1's form."""
    types = _types(tables)
    asked = [table for table in tables if table.part != _META]
    as_letters = wishes.variant == AS_LETTERS
    if video_r1.is_video_r1(asked):
        read = rows.sort_rows(asked, video_r1.row_id, lambda row, name: _question_of_video_r1(row, name, types))
        formats: Sequence[str] = tuple(_COUNTS)
    else:
        judged = _judged(asked)
        formats = tuple(_COUNTS) if as_letters else tuple(each for each in _COUNTS if each != CAPTIONING)
        read = rows.sort_rows(asked, _Names(), lambda row, name: _question(row, name, types, judged, as_letters=as_letters))
    by_dimension: dict[tuple[str, ...], int] = {
        (each, dimension): n for each in formats for dimension, n in zip(_DIMENSIONS, _COUNTS[each], strict=True)
    }
    published = [
        Published(("format", "dimension"), by_dimension),
        Published(("format",), {(each,): sum(_COUNTS[each]) for each in formats}),
    ]
    return ReadQuestions(read.questions, read.unresolved, n_published=N_PUBLISHED, published=published)


def flatten(part: str, document: dict[str, Any]) -> list[Any]:
    """Rows of a file of the release, {clip: {dimension: [{question, answer}]}}, as its table on the hub has them."""
    if part == _META:
        return [
            {"video_id": clip, "eval_dim": told.get("eval_dim") if isinstance(told, dict) else None}
            for clip, told in document.items()
        ]
    if "problem" in document:
        return [document]  # a file of one row
    found: list[Any] = []
    for clip, by_dimension in document.items():
        for dimension, asked in by_dimension.items() if isinstance(by_dimension, dict) else [("", by_dimension)]:
            for one in asked if isinstance(asked, list) else [asked]:
                found.append(one | {"video_id": clip, "dim": dimension} if isinstance(one, dict) else one)
    return found


class _Names:
    """Ids of the release's rows, which have none: clip, format, dimension and the number among these."""

    def __init__(self) -> None:
        self._n: dict[str, int] = {}

    def __call__(self, row: Row) -> str | None:
        clip, dimension = row.word("video_id"), row.word("dim")
        if clip is None or dimension is None:
            return None
        of = f"{clip}:{row.part}:{dimension}"
        self._n[of] = self._n.get(of, 0) + 1
        return f"{of}:{self._n[of]}"


_META = "meta_info"
Types = Mapping[tuple[str, str], str]


def _types(tables: Sequence[Table]) -> Types:
    """The finer type of what is asked by clip and dimension, from meta_info.json; order has no finer one."""
    found = {}
    for row in (row for table in tables if table.part == _META for row in table.rows if isinstance(row, dict)):
        by_dimension = row.get("eval_dim")
        for dimension, told in by_dimension.items() if isinstance(by_dimension, dict) else ():
            if isinstance(told, dict) and isinstance(kind := told.get("type") or dimension, str):
                found[str(row.get("video_id")), dimension] = kind
    return found


def _judged(tables: Sequence[Table]) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """The question that the judge of a caption is given by clip and dimension: the first of multi-choice."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for table in tables:
        if table.part == CHOICES:
            for row in table.rows:
                if isinstance(row, dict):
                    found.setdefault((str(row.get("video_id")), str(row.get("dim"))), row)
    return found


def _question(
    row: Row, name: str, types: Types, judged: Mapping[tuple[str, str], Mapping[str, Any]], *, as_letters: bool
) -> Question:
    """A row of the release or of the hub."""
    clip, dimension, kind = row.text("video_id"), row.text("dim"), row.part
    if kind not in _COUNTS:
        raise UnusableError("is in no file that is called as one of the four formats")
    text, said = row.text("question"), row.text("answer")
    if kind == CAPTIONING:
        if not as_letters:
            raise UnusableError(NEEDS_JUDGE)
        other = judged.get((clip, dimension), {})
        text = row.word("mc_question") or Row(row.part, row.file, row.number, dict(other)).text("question")
        said = row.word("mc_answer") or str(other.get("answer"))
    if kind == YES_OR_NO:
        word = said.strip().lower().rstrip(".")
        if word not in WORDS:
            raise UnusableError(f"its answer is {said!a}, expected yes or no")
        form = Form.CHOICE if as_letters else Form.YES_NO
        return _made(name, text, YES_NO, WORDS[word], f"{clip}.mp4", form, _facets(kind, clip, dimension, types))
    question, options, labels = _parted(text)
    gold = _gold(said, options, labels)
    return _made(name, question, options, gold, f"{clip}.mp4", Form.CHOICE, _facets(kind, clip, dimension, types))


def _parted(text: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """A question with its options on lines of their own -> the question, the options, and the labels that they had."""
    lines = text.strip().split("\n")
    found = [_OPTION.fullmatch(line) for line in lines]
    first = next((index for index, one in enumerate(found) if one is not None), len(lines))
    options = [one for one in found[first:] if one is not None]
    if first == 0 or not options or len(options) != len(lines) - first:
        raise UnusableError("its question is not one with an option on each line behind it")
    texts = rows.plain([one["text"] for one in options])
    return "\n".join(lines[:first]).strip(), texts, tuple(one["label"] for one in options)


def _gold(said: str, options: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, ...]:
    """The letter of the option that the answer repeats with its label ("B. dribbling", "Option 2: ...")."""
    answer = _OPTION.fullmatch(said.strip())
    if answer is None or answer["label"] not in labels:
        return rows.by_text(said, options)
    index = labels.index(answer["label"])
    if answer["text"].strip() != options[index]:
        raise UnusableError(f"its answer is {said!a}, but the option of that label is {options[index]!a}")
    return rows.by_index(index, len(options))


def _question_of_video_r1(row: Row, name: str, types: Types) -> Question:
    """A row in Video-R1's form, where every format is a choice. It need not say which format it is of."""
    found = video_r1.parse_choice(row)
    path = rows.last_parts(found.path)
    clip, dimension = path.rsplit(".", 1)[0], row.word("dim") or ""
    facets = _facets(_format_of(row, found), clip, dimension, types)
    return _made(name, found.text, found.options, found.gold, path, Form.YES_NO if found.is_yes_no else Form.CHOICE, facets)


def _format_of(row: Row, found: video_r1.Parsed) -> str:
    if "mc_question" in row.fields or "Information A:" in str(row.fields["problem"]):
        return CAPTIONING
    if tuple(option.lower().rstrip(".") for option in found.options) in (YES_NO, YES_NO[::-1]):
        return YES_OR_NO
    return MATCHING if found.text.split("\n")[0].strip() in _MATCHES else CHOICES


def _facets(kind: str, clip: str, dimension: str, types: Types) -> dict[str, str]:
    facets = {"format": kind, "dimension": dimension.replace("_", "-"), "type": types.get((clip, dimension), "")}
    return {facet: value for facet, value in facets.items() if value}


def _made(
    name: str, text: str, options: tuple[str, ...], gold: tuple[str, ...], path: str, form: Form, facets: dict[str, str]
) -> Question:
    clip = rows.clip(path)
    return rows.question(name, text, options, gold, clip, facets, DATASET.name, form=form)


def _part(name: str, stem: str) -> Part:
    return Part(name, (f"questions/{stem}.json", f"{stem}.json", f"{stem}/test*.parquet"), (stem, "test"))


DATASET = Dataset(
    name="TempCompass",
    what="action, direction, speed, order and change of attributes in short clips, some reversed or joined",
    needs="the release's folder (questions/*.json and meta_info.json, or the hub's parquet folders), one of its files, or a"
    " Video-R1-style file of it (eval_tempcompass.json)",
    origin="llyx97/TempCompass on GitHub, lmms-lab/TempCompass on the Hugging Face hub",
    size="7,540 questions about 410 clips: 1,580 multi-choice, 2,453 yes-no, 1,503 caption-matching, 2,004 captioning; 0.4 GB",
    licence="CC BY-NC 4.0, academic research only",
    split="test",
    read=read,
    parts=(
        _part(CHOICES, "multi-choice"),
        _part(YES_OR_NO, "yes_no"),
        _part(MATCHING, "caption_matching"),
        _part(CAPTIONING, "captioning"),
        Part(_META, ("meta_info.json",), None),
    ),
    flatten=flatten,
    clips=("videos",),
    hub="lmms-lab/TempCompass",
    variants={
        AS_LETTERS: "also asks captioning, as the single choice that its judge would have been given, and has yes and no as"
        " options A and B"
    },
    n_published=N_PUBLISHED,
    benchmark=Benchmark(name="TempCompass"),
)
