"""The border between what prepares questions and what writes replies: rows go in, one `Reply` per row comes out.

Whatever is put around an engine needs these records alone.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import torch

from videothinker.answers import Style
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.engines.packed import Ends
from videothinker.diagnose.reply import Reply
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.stopping import Gate
from videothinker.models.load import Loaded, load

BATCH = 32
"""Rows at once where neither the user nor memory decides."""


class PromptStart(NamedTuple):
    """A prompt up to the text after its clip: it depends on the clip's size and timing, not on its pixels or the question."""

    ids: list[int]
    """Its tokens, the clip's placeholders included."""
    marks: dict[str, list[int]]
    """Other values per token, such as mm_token_type_ids. For text they are 0."""
    tensors: dict[str, Any]
    """The processor's other output for one row. Pixels are in it only where the model is fed them for every question."""
    fed: tuple[int, int, int, int]
    """What was fed of the clip: frames, height, width and video tokens."""


class Vision(NamedTuple):
    """What the vision tower makes of one clip."""

    features: torch.Tensor
    """(video tokens, hidden)"""
    deepstack: tuple[torch.Tensor, ...] = ()
    """For Qwen3-VL, features of the same shape from some of the tower's inner layers."""


class Row(NamedTuple):
    """One question, ready for the model."""

    question_id: str
    ids: list[int]
    """All tokens of the prompt, the clip's placeholders included."""
    start: PromptStart
    vision: Vision | None
    """None where the model is fed pixels, which are then in `start.tensors`."""


class Begun(NamedTuple):
    """A reply that was left behind its first answer, not being sure enough of it."""

    row: Row
    held: Any
    """What its engine needs to go on with it: what was written, and the keys and values of that and of the prompt."""


class Engine(Protocol):
    """Writes replies with one checkpoint, all at the temperature, seed and token limit of its settings."""

    loaded: Loaded

    def reply(self, rows: Sequence[Row]) -> list[Reply]:
        """One reply per row, in order.

        Raises:
            torch.OutOfMemoryError: these are too many rows at once. The engine can be asked again with fewer.
        """

    def begin(self, rows: Sequence[Row]) -> list[Reply | Begun]:
        """One reply per row, in order, as far as its first answer: whole where it ends by then, and begun elsewhere.

        For settings with `stop_at`. So those that go on can be put together from several calls, and those that have ended take
        no part in it. Errors are those of `reply`.
        """

    def go_on(self, begun: Sequence[Begun]) -> list[Reply]:
        """The whole replies of those that were begun, in order. Errors are those of `reply`."""

    def score(self, rows: Sequence[Row], ends: Sequence[Ends]) -> list[list[float]]:
        """For each row, and each of the continuations that it might be given, the sum of the log-probabilities of their tokens.

        A token's log-probability is as in `Reply.logprobs`: of temperature 1, in nats, without placeholders.

        Raises:
            torch.OutOfMemoryError: as for `reply`.
        """

    def n_at_once(self, n_tokens: int) -> int:
        """How many rows of at most `n_tokens` tokens to give at once, where the user has not said."""

    def at(self, settings: DiagnosisSettings) -> "Engine":
        """The same loaded checkpoint at the temperature, seed and token limit of other settings; this engine is done then."""

    def free(self) -> None:
        """Give back what is kept in memory between calls."""

    def describe(self) -> dict[str, Any]:
        """For run.json: `engine`, what really wrote the replies, and whatever else tells it apart."""


def load_for(ref: str, settings: DiagnosisSettings, *, trust_remote_code: bool = False) -> Loaded:
    """The checkpoint, loaded here as the settings say.

    Raises:
        VtError: it cannot be loaded.
    """
    return load(
        ref,
        dtype=settings.dtype,
        attention=settings.attention,
        text_positions=settings.text_positions,
        trust_remote_code=trust_remote_code,
        revision=settings.revision,
    )


def open_engine(ref: str, settings: DiagnosisSettings, *, trust_remote_code: bool = False) -> Engine:
    """The engine that the settings name, with the checkpoint `ref` loaded.

    Raises:
        VtError: the checkpoint cannot be loaded, or the engine cannot serve it.
    """
    module = import_module(f"{__package__}.{settings.engine}")
    engine: Engine = module.open_engine(ref, settings, trust_remote_code=trust_remote_code)
    return engine


def up_to_end(tokens: Sequence[int], logprobs: Sequence[float], eos: Sequence[int]) -> Reply:
    """The reply in `tokens`, which may go on behind the first token of `eos`, as `logprobs` does."""
    end = next((i for i, token in enumerate(tokens) if token in eos), None)
    n = len(tokens) if end is None else end + 1
    return Reply(list(tokens[:n]), list(logprobs[:n]), cut=end is None)


def gate_of(processor: Any, settings: DiagnosisSettings) -> Gate:
    """What ends replies of the checkpoint with this processor behind their first answers, at these settings."""
    return Gate(partial(processor.tokenizer.decode, skip_special_tokens=True), settings.stop_at)


def in_stages(engine: Engine, rows: Sequence[Row]) -> list[Reply]:
    """One reply per row, in order: all are begun, and those that go on do so together."""
    found = engine.begin(rows)
    rest = iter(engine.go_on([each for each in found if isinstance(each, Begun)]))
    return [next(rest) if isinstance(each, Begun) else each for each in found]


def read_out(question_id: str, reply: Reply, gate: Gate, settings: DiagnosisSettings) -> RawReply:
    """A reply that the gate has cut already, as an answerer gives it."""
    return RawReply(
        question_id=question_id,
        reply=gate.decode(reply.content),
        truncated=reply.cut,
        n_tokens=len(reply.tokens),
        logprob=sum(reply.logprobs) / len(reply.tokens),
        first=gate.first(reply.tokens, reply.logprobs) if settings.prompt is Style.TWICE else None,
        stopped=reply.stopped,
    )


def reply_seed(seed: int, question_id: str) -> int:
    """The seed, 0 to 2**63 - 1, of all draws for one question: a hash, so a reply depends neither on batch nor on engine."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{question_id}".encode()).digest()[:8]) >> 1
