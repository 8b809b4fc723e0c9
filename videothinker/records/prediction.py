"""Replies and what was read from them: a line of predictions.jsonl."""

from enum import StrEnum

import msgspec

FILE = "predictions.jsonl"


class Status(StrEnum):
    """How a question's reply came to be; `chosen` of the prediction is what was read from it."""

    OK = "ok"
    """The checkpoint ended its reply by itself and an answer could be read."""
    NO_ANSWER = "no_answer"
    """The reply ended by itself, but no answer could be read: wrong, and counted as unparsed."""
    TRUNCATED = "truncated"
    """The reply was cut at the token limit. It is graded if it can be read all the same."""
    DECODE_ERROR = "decode_error"
    """The clip could not be read, so nothing was asked. The question leaves every denominator and is asked again on resume."""


class ProtocolScore(msgspec.Struct, frozen=True, kw_only=True):
    """How a protocol scores a reply, where that is more than whether `chosen` is gold (`diagnose.protocols`)."""

    right: bool
    counted: bool = True
    """False if the question leaves every denominator, as where only a judge could say."""
    why: str | None = None
    """One of `diagnose.protocols.Why`, such as "guessed"; None if the answer was read from the reply."""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint's reply to one question."""

    question_id: str
    reply: str
    """The full text; "" for a decode_error."""
    chosen: tuple[str, ...] | None
    """The answer read from the reply, as `Question.gold` holds one: letters, sorted; () for an explicit "none"; None when no
    answer could be read (never right)."""
    gold: tuple[str, ...]
    observer: tuple[str, ...] | None
    """The answer of the set's own observer; None if it has none."""
    status: Status
    error: str | None = None
    """Why the clip could not be read; None unless status is decode_error."""
    tokens: int | None = None
    """Tokens that were written, including the one that ended the reply; None if the source does not say."""
    logprob: float | None = None
    """Mean log-probability per written token in nats, at temperature 1; None if the source gives none."""
    scored: ProtocolScore | msgspec.UnsetType = msgspec.UNSET
    """What the protocol makes of the reply; not in the file where `chosen` says it, as it does when read by ours."""
    first: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    """In the style "twice" the answer before thinking, held as `chosen` is; None for the fallback sentence, or if none can be
    read. Neither this nor `second` is in the file in other styles."""
    second: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    """The answer behind the thinking, which `chosen` is as well. Of a reply that ends without thinking it is the first."""
    confidence: float | msgspec.UnsetType = msgspec.UNSET
    """In the style "twice" how sure the model was of its first answer, in (0, 1] (`diagnose.stopping`). Neither this nor
    `first_tokens` is in the file where the reply begins with no answer, or its source gives no log-probabilities."""
    first_tokens: int | msgspec.UnsetType = msgspec.UNSET
    """Tokens up to the end of the first answer's box: what the reply would have taken, had it ended there."""
    stopped: bool | msgspec.UnsetType = msgspec.UNSET
    """True where the reply was ended behind its first answer, because that was sure enough; otherwise not in the file."""
