"""One set of replies, read as every protocol reads them: what reading alone does to a number. Nothing is asked again."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from videothinker import answers
from videothinker.diagnose import protocols
from videothinker.diagnose.estimates import clustered_share, share
from videothinker.diagnose.protocols.base import Protocol, Reading, Why
from videothinker.records import Prediction, ProtocolScore, Question, ReadBy, Status


class Readings(NamedTuple):
    """One checkpoint's replies to the questions of one set, by every protocol that defines the set."""

    run: str
    source: str
    questions: list[Question]
    replies: list[str]
    """Parallel to `questions`."""
    by: dict[str, list[Reading]]
    """By the protocol's name, each parallel to `questions`; "ours" is the first."""


def read_by_all(run: str, questions: Sequence[Question], predictions: Sequence[Prediction], seed: int) -> list[Readings]:
    """The replies of a checkpoint under each protocol, one entry per question set. `predictions[i]` answers `questions[i]`.

    Questions whose clip could not be read have no reply, and are left out. seed: that of guesses.
    """
    found = []
    asked = [pair for pair in zip(questions, predictions, strict=True) if pair[1].status is not Status.DECODE_ERROR]
    for source in dict.fromkeys(question.source for question, _ in asked):
        here = [(question, row.reply) for question, row in asked if question.source == source]
        known = [each for each in protocols.all_protocols() if all(each.defines(question) for question, _ in here)]
        by = {each.name: [each.read(question, reply, seed) for question, reply in here] for each in known}
        found.append(Readings(run, source, [question for question, _ in here], [reply for _, reply in here], by))
    return found


def scores(readings: Readings) -> list[ReadBy]:
    """The accuracy under each protocol, with its interval clustered by group, and what it rests on."""
    _, group = np.unique(np.array([question.group for question in readings.questions], dtype=np.str_), return_inverse=True)
    ours = readings.by[protocols.OURS]
    found = []
    for name, rows in readings.by.items():
        counted = np.array([row.counted for row in rows], dtype=np.bool_)
        right = np.array([row.counted and row.right for row in rows], dtype=np.float64)
        why = Counter(row.why for row in rows)
        found.append(
            ReadBy(
                run=readings.run,
                source=readings.source,
                protocol=name,
                n_questions=int(counted.sum()),
                n_left_out=int((~counted).sum()),
                n_unread=sum(row.chosen is None for row in rows),
                n_guessed=why[Why.GUESSED],
                n_right_unread=sum(row.counted and row.right and row.chosen is None for row in rows),
                n_for_a_judge=why[Why.NEEDS_A_JUDGE],
                n_gained=sum(_wins(row) and not _wins(our) for row, our in zip(rows, ours, strict=True)),
                n_lost=sum(_wins(our) and not _wins(row) for row, our in zip(rows, ours, strict=True)),
                per_question=clustered_share(*share(right, counted), group),
            )
        )
    return found


class Disagreement(NamedTuple):
    """A reply that protocols score differently."""

    run: str
    question: Question
    reply: str
    by: dict[str, Reading]


def disagreements(readings: Iterable[Readings]) -> list[Disagreement]:
    """Every reply that is right by some protocol and not by another, or left out by one, in the order of the questions."""
    found = []
    for each in readings:
        for index, (question, reply) in enumerate(zip(each.questions, each.replies, strict=True)):
            by = {name: rows[index] for name, rows in each.by.items()}
            if len({(row.counted, row.counted and row.right) for row in by.values()}) > 1:
                found.append(Disagreement(each.run, question, reply, by))
    return found


def read_prediction(protocol: Protocol, question: Question, row: Prediction, seed: int) -> Prediction:
    """The prediction with its reply read as the protocol reads it; one without a reply stays as it is."""
    if row.status is Status.DECODE_ERROR:
        return row
    reading = protocol.read(question, row.reply, seed)
    status = status_of(reading.chosen, truncated=row.status is Status.TRUNCATED)
    row = msgspec.structs.replace(row, chosen=reading.chosen, status=status, scored=score_of(question, reading))
    said = reading.twice
    return row if said is None else msgspec.structs.replace(row, first=said.first, second=said.second)


def status_of(chosen: answers.Answer | None, *, truncated: bool) -> Status:
    """What became of a reply. chosen: what was read from it."""
    if truncated:
        return Status.TRUNCATED
    return Status.NO_ANSWER if chosen is None else Status.OK


def score_of(question: Question, reading: Reading) -> ProtocolScore | msgspec.UnsetType:
    """What a line of predictions.jsonl says of a reading beside `chosen`; nothing where that tells all, as with ours."""
    tells_all = reading.right == answers.is_right(question.form, reading.chosen, question.gold)
    if tells_all and reading.counted and reading.why is None:
        return msgspec.UNSET
    return ProtocolScore(right=reading.right, counted=reading.counted, why=reading.why and str(reading.why))


def _wins(reading: Reading) -> bool:
    return reading.counted and reading.right
