"""Read train.json and validation.json: the counterfactual questions, each with its programs and its answer.

An unusable question does no harm to the others: it is returned as a `BadQuestion` with its reason and counted. Only a file that
cannot be used at all is an error.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from videothinker.answers import LETTERS
from videothinker.curate.datasets.clevrer.annotations import VIDEO_NAME
from videothinker.curate.datasets.clevrer.faults import Fault, explain
from videothinker.errors import VtError


class _Choice(msgspec.Struct, frozen=True):
    choice_id: int
    choice: str
    program: tuple[str, ...]
    answer: Literal["correct", "wrong"] | msgspec.UnsetType = msgspec.UNSET


class _Question(msgspec.Struct, frozen=True):
    question_id: int
    question: str
    program: tuple[str, ...]
    choices: Annotated[tuple[_Choice, ...], msgspec.Meta(min_length=1, max_length=len(LETTERS))]


class _Type(msgspec.Struct):
    question_type: str


class _Id(msgspec.Struct):
    question_id: int


class _Entry(msgspec.Struct):
    """What the file says of one scene."""

    scene_index: int
    questions: list[msgspec.Raw]
    video_filename: str | None = None


class _Questions(msgspec.Struct):
    questions: list[msgspec.Raw]


_entry_decoder = msgspec.json.Decoder(_Entry)
_type_decoder = msgspec.json.Decoder(_Type)
_question_decoder = msgspec.json.Decoder(_Question)

_NO_ANSWER = "has no answer"


class ReleaseQuestion(NamedTuple):
    """A counterfactual question as the file has it."""

    scene_index: int
    qid: int
    problem: str
    program: tuple[str, ...]
    options: tuple[str, ...]
    """Texts, in file order."""
    choice_programs: tuple[tuple[str, ...], ...]
    gold: tuple[str, ...]
    """Letters of the correct options."""


class BadQuestion(NamedTuple):
    """A counterfactual question, or what may have been one, that cannot be used."""

    scene_index: int | None
    qid: int | None
    fault: Fault


class ReadRelease(NamedTuple):
    """The counterfactual questions of a questions file."""

    questions: list[ReleaseQuestion]
    """Those that could be read, in file order."""
    bad: list[BadQuestion]
    """Those that cannot be used."""
    scene_indices: frozenset[int]
    """Every scene that the file has an entry for."""
    sha256: str
    """Hash of the file's bytes."""

    @property
    def wanted(self) -> list[int]:
        """The scenes that the questions ask about, in order."""
        return sorted({question.scene_index for question in self.questions})


def read_questions(path: Path) -> ReadRelease:
    """The counterfactual questions of a questions file.

    Raises:
        VtError: the file as a whole cannot be used: missing, not JSON, not a list of scenes, without answers (test.json) or
            without counterfactual questions.
    """
    try:
        data = path.read_bytes()
        data.decode()
        entries = msgspec.json.decode(data, type=list[msgspec.Raw])
    except OSError as error:
        raise VtError(f"--questions {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise VtError(f"--questions {path}: is not UTF-8: {error.reason} at byte {error.start}; download it again") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        expected = "expected the list of scenes that the release's train.json is"
        raise VtError(f"--questions {path}: {explain(error)}; {expected}") from error

    read = [_read_entry(number, raw, path.name) for number, raw in enumerate(entries)]
    questions = [item for _, items in read for item in items if isinstance(item, ReleaseQuestion)]
    bad = [item for _, items in read for item in items if isinstance(item, BadQuestion)]
    if not questions and not bad:
        raise VtError(f"--questions {path}: has no counterfactual question, in {len(entries)} scenes")
    if not questions and (b'"answer"' not in data or all(item.fault.reason.endswith(_NO_ANSWER) for item in bad)):
        raise VtError(f"--questions {path}: has no answers, like test.json; curate train.json or validation.json")
    scenes = frozenset(index for index, _ in read if index is not None)
    return ReadRelease(*_part_duplicates(questions, bad, path.name), scenes, hashlib.sha256(data).hexdigest())


def _read_entry(number: int, raw: msgspec.Raw, file: str) -> tuple[int | None, list[ReleaseQuestion | BadQuestion]]:
    """One scene's index and its counterfactual questions; a fault of the scene is a fault of each of them."""
    index, fault = None, None
    try:
        entry = _entry_decoder.decode(raw)
        index, questions = entry.scene_index, entry.questions
        video = VIDEO_NAME.fullmatch(entry.video_filename or "")
        if video and int(video[1]) != index:
            fault = Fault(file, f"[{number}].video_filename is '{entry.video_filename}', expected the clip of scene {index}")
    except msgspec.MsgspecError as error:
        fault = Fault(file, f"[{number}]: {explain(error)}")
        try:
            questions = msgspec.json.decode(raw, type=_Questions).questions
        except msgspec.MsgspecError:
            return None, [BadQuestion(None, None, fault)]
    items = [
        _read_question(question, index, fault, Fault(file, f"[{number}].questions[{position}]"))
        for position, question in enumerate(questions)
    ]
    return index, [item for item in items if item is not None]


def _read_question(
    raw: msgspec.Raw, index: int | None, scene_fault: Fault | None, place: Fault
) -> ReleaseQuestion | BadQuestion | None:
    """One question; None if it is not a counterfactual one. place: the file, and the question's path in it."""
    try:
        if _type_decoder.decode(raw).question_type != "counterfactual":
            return None
        if scene_fault is not None or index is None:
            return BadQuestion(index, _qid(raw), scene_fault or place)
        question = _question_decoder.decode(raw)
    except msgspec.MsgspecError as error:
        return BadQuestion(index, _qid(raw), Fault(place.file, f"{place.reason}: {explain(error)}"))
    if reason := _flaw(question):
        return BadQuestion(index, question.question_id, Fault(place.file, f"{place.reason}: {reason}"))
    return ReleaseQuestion(
        index,
        question.question_id,
        question.question,
        question.program,
        tuple(choice.choice for choice in question.choices),
        tuple(choice.program for choice in question.choices),
        tuple(letter for letter, choice in zip(LETTERS, question.choices, strict=False) if choice.answer == "correct"),
    )


def _flaw(question: _Question) -> str | None:
    """Why a question that has all its fields cannot be used; None if it can."""
    ids = [choice.choice_id for choice in question.choices]
    for position, choice in enumerate(question.choices):
        if choice.choice_id in ids[:position]:
            return f"choices[{position}].choice_id is {choice.choice_id} a second time"
        if choice.answer is msgspec.UNSET:
            return f"choices[{position}] {_NO_ANSWER}"
    return None


def _qid(raw: msgspec.Raw) -> int | None:
    """A question's id, whatever else is wrong with the question; None if it has none."""
    try:
        return msgspec.json.decode(raw, type=_Id).question_id
    except msgspec.MsgspecError:
        return None


def _part_duplicates(
    questions: list[ReleaseQuestion], bad: list[BadQuestion], file: str
) -> tuple[list[ReleaseQuestion], list[BadQuestion]]:
    """Move all questions that share an id to the bad ones, because nothing says which one is meant."""
    times: Counter[tuple[int | None, int | None]] = Counter((item.scene_index, item.qid) for item in questions)
    times.update((item.scene_index, item.qid) for item in bad)
    good = [item for item in questions if times[item.scene_index, item.qid] == 1]
    twice = [
        BadQuestion(q.scene_index, q.qid, Fault(file, f"question_id {q.qid} of scene {q.scene_index} is there {n} times"))
        for q in questions
        if (n := times[q.scene_index, q.qid]) > 1
    ]
    return good, bad + twice
