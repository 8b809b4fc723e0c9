"""A reply as a line of predictions.jsonl: kept as it came, read and graded."""

import msgspec
from msgspec import UNSET

from videothinker import answers
from videothinker.curated import Labels
from videothinker.diagnose import protocols
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.protocols import ours
from videothinker.diagnose.protocols.base import Protocol, Reading
from videothinker.records import Prediction, ProtocolScore, Question, RunRecord, Status


def grade(question: Question, answer: RawReply, labels: Labels, protocol: Protocol | None = None, seed: int = 0) -> Prediction:
    """The reply read and graded, as a line on disk. labels: the question set's; its observer's answer is kept beside gold.

    protocol: who reads the reply; None reads it as ours. seed: that of the protocol's guesses.
    """
    first = answer.first
    reply = (
        None if answer.reply is None else answer.reply.encode(errors="replace").decode()
    )  # half of a surrogate pair is no UTF-8
    row = Prediction(
        question_id=question.question_id,
        reply=reply or "",
        chosen=None,
        gold=question.gold,
        observer=labels.observer(question.question_id),
        status=Status.DECODE_ERROR if reply is None else Status.TRUNCATED if answer.truncated else Status.OK,
        error=answer.error,
        tokens=answer.n_tokens,
        logprob=None if answer.logprob is None else round(answer.logprob, 6),  # float32 tells no more
        confidence=UNSET if first is None else round(first.confidence, 6),
        first_tokens=UNSET if first is None else first.n_tokens,
        stopped=True if answer.stopped else UNSET,
    )
    return read_prediction(protocol or protocols.find(protocols.OURS), question, row, seed)


def read_under(record: RunRecord) -> Protocol:
    """The protocol that a run's replies are read by. A solver replies in our form, whatever the others are asked in."""
    if record.kind not in ("checkpoint", "endpoint"):
        return protocols.find(protocols.OURS)
    name = record.settings.get("protocol", protocols.OURS)
    if name == protocols.OURS and record.settings.get("prompt") == answers.Style.TWICE:
        return ours.TWICE
    return protocols.find(name)


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
