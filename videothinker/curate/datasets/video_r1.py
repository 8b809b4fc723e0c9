"""Any set of questions in the form that Video-R1 made common: a JSON list or JSON Lines, one object per question.

    {"problem_id": 1, "problem": "What falls first?", "problem_type": "multiple choice", "data_type": "video",
     "options": ["A. the cup", "B. the ball"], "solution": "<answer>B</answer>", "path": "clips/7.mp4"}

Options may carry their letter or not. The clip is `video` or `path`; the id is `question_id`, or else `problem_id`, or else the
number of the row. If every solution in the file is one letter, its questions are single choices. If some solution has several
letters or none, all questions ask for sets, because otherwise the prompt would tell how many options are correct.
"""

import codecs
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker.answers import LETTERS
from videothinker.answers.yes_no import OPTIONS as YES_NO
from videothinker.answers.yes_no import WORDS
from videothinker.curate.datasets import Dataset, ReadQuestions
from videothinker.errors import VtError
from videothinker.outside import stays_within
from videothinker.records import Clip, Form, Question, Unresolved

FACETS = ("data_source", "original_question_type", "question_type", "task_type", "domain", "sub_category", "duration")
"""Fields of a row that become facets if the file's rows differ in them."""

_SOLUTION = re.compile(r"\s*(?:<answer>)?\s*(?P<answer>[^<>]*?)\s*(?:</answer>)?\s*", re.IGNORECASE)


class _Row(msgspec.Struct):
    problem: str
    solution: str
    options: list[str] = []
    problem_id: int | str | None = None
    question_id: int | str | None = None
    data_type: str = "video"
    problem_type: str = "multiple choice"
    video: str | None = None
    path: str | None = None


class _Read(NamedTuple):
    """One usable row. `gold` is what its solution says, before the form of the file's questions is decided."""

    question_id: str
    row: _Row
    options: tuple[str, ...]
    gold: tuple[str, ...]
    is_yes_no: bool
    facets: dict[str, str]


def read(path: Path) -> ReadQuestions:
    """The questions of a file.

    Raises:
        VtError: the file is missing, or is neither a JSON list of objects nor JSON Lines of them.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VtError(f"--from {path}: cannot be read ({error.strerror}); expected a JSON or JSONL file") from error
    usable: list[_Read] = []
    bad: list[Unresolved] = []
    for number, raw in enumerate(_rows(path, data), start=1):
        read = _read_row(raw, number)
        if isinstance(read, _Read):
            usable.append(read)
        else:
            bad.append(Unresolved(question_id=read[0], file=path.name, reason=read[1]))
    usable, twice = _part_duplicates(usable, path.name)
    form = Form.CHOICE if all(len(one.gold) == 1 for one in usable) else Form.LETTERS
    varied = [name for name in FACETS if len({one.facets.get(name) for one in usable}) > 1]
    questions = [_question(one, form, varied, path.stem) for one in usable]
    return ReadQuestions(questions, bad + twice, {"file": path.name, "sha256": hashlib.sha256(data).hexdigest()})


def _rows(path: Path, data: bytes) -> list[msgspec.Raw]:
    expected = "expected a JSON list of objects, or one object per line"
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        data.decode()
        if data.lstrip()[:1] == b"[":
            rows = msgspec.json.decode(data, type=list[msgspec.Raw])
        else:
            rows = [msgspec.Raw(line) for line in data.splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise VtError(f"--from {path}: is not UTF-8: {error.reason} at byte {error.start}; {expected}") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise VtError(f"--from {path}: {error}; {expected}") from error
    if not rows:
        raise VtError(f"--from {path}: holds no questions; {expected}")
    return rows


def _read_row(raw: msgspec.Raw, number: int) -> _Read | tuple[str, str]:
    """A usable row, or the row's id and why it cannot be used."""
    name = f"row {number}"
    try:
        row = msgspec.json.decode(raw, type=_Row)
        fields = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        return name, f"row {number}: {error}"
    given = row.question_id if row.question_id is not None else row.problem_id
    name = name if given is None else str(given)
    if not (row.video or row.path):
        return name, "has neither `video` nor `path`, so nobody knows its clip"
    if not stays_within(clip := row.video or row.path or ""):
        return name, f"its clip is {clip!a}, expected a path below the clips' folder"
    if row.data_type != "video":
        return name, f"data_type is '{row.data_type}', expected 'video'"
    answer = _SOLUTION.fullmatch(row.solution)
    said = answer["answer"] if answer else row.solution
    facets = {key: value for key in FACETS if isinstance(value := fields.get(key), str) and value}
    if not row.options and said.lower().rstrip(".") in WORDS:
        return _Read(name, row, YES_NO, WORDS[said.lower().rstrip(".")], True, facets)
    if row.problem_type != "multiple choice" or not row.options:
        return name, f"problem_type '{row.problem_type}' with {len(row.options)} options needs a form of answer not asked here"
    if len(row.options) > len(LETTERS):
        return name, f"has {len(row.options)} options, more than there are letters"
    gold = _letters(said, len(row.options))
    if gold is None:
        return name, f"solution is {row.solution!r}, expected letters of its {len(row.options)} options, or none"
    return _Read(name, row, _bare(row.options), gold, False, facets)


def _letters(said: str, n_options: int) -> tuple[str, ...] | None:
    """ "A, C" -> ("A", "C"); "none" -> (); None if it is not a list of the options' letters."""
    if said.lower() == "none":
        return ()
    letters = [part.strip().strip("().").upper() for part in said.split(",")]
    fits = all(len(letter) == 1 and letter in LETTERS[:n_options] for letter in letters)
    return tuple(sorted(set(letters))) if fits else None


def _bare(options: list[str]) -> tuple[str, ...]:
    """The options, without their letters if every option carries its own ("A. x", "A) x", "(A) x", "A: x")."""
    parts = [re.fullmatch(rf"\s*\(?{LETTERS[i]}[.):]\s*(?P<text>.*)", text, re.DOTALL) for i, text in enumerate(options)]
    if all(parts):
        return tuple(part["text"].strip() for part in parts if part)
    return tuple(text.strip() for text in options)


def _part_duplicates(usable: list[_Read], file: str) -> tuple[list[_Read], list[Unresolved]]:
    """Rows whose id is unique, and those whose id occurs several times, of which nothing says which one is meant."""
    times = Counter(one.question_id for one in usable)
    good = [one for one in usable if times[one.question_id] == 1]
    bad = [
        Unresolved(question_id=one.question_id, file=file, reason=f"its id is there {times[one.question_id]} times")
        for one in usable
        if times[one.question_id] > 1
    ]
    return good, bad


def _question(one: _Read, form: Form, varied: list[str], source: str) -> Question:
    clip = (one.row.video or one.row.path or "").removeprefix("./")
    return Question(
        question_id=one.question_id,
        text=one.row.problem,
        options=one.options,
        clip=Clip(path=clip),
        gold=one.gold,
        form=Form.YES_NO if one.is_yes_no else form,
        group=clip,
        facets={name: one.facets[name] for name in varied if name in one.facets},
        source=source,
    )


DATASET = Dataset(
    name="records",
    what="any questions in Video-R1's form: single choices, sets of letters, yes or no",
    needs="a JSON or JSONL file of Video-R1 rows (problem, options, solution, video or path)",
    origin="yours, or any release in that form",
    size="as the file says",
    licence="that of the release",
    split="test",
    read=read,
)
