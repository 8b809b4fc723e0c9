"""One set of replies, read as every protocol reads them: what reading alone does to a number. Nothing is asked again."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from videothinker.diagnose import protocols
from videothinker.diagnose.estimates import clustered_share, share
from videothinker.diagnose.protocols.base import Reading, Why
from videothinker.records import Prediction, Question, ReadBy, Status


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


def _wins(reading: Reading) -> bool:
    return reading.counted and reading.right
