"""What a server says in answer to a request for a reply (OpenAI's chat completions): the part of it that is read."""

import math
from typing import Annotated

import msgspec


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    """What vLLM calls `reasoning_content` since 0.12."""

    @property
    def thought(self) -> str | None:
        return self.reasoning_content or self.reasoning


_MOST_BANNED = 1 - 1e-6
"""So much of a token's chance may be taken by tokens that are not allowed; more would make a logarithm of nothing."""


class _Other(msgspec.Struct):
    token: str
    logprob: float


class _Token(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[Annotated[int, msgspec.Meta(ge=0, le=255)]] | None = None
    top_logprobs: list[_Other] | None = None

    @property
    def logprob_of_allowed(self) -> float:
        """Without the chances of the tokens that are told beside it."""
        banned = sum(math.exp(other.logprob) for other in self.top_logprobs or [] if other.token != self.token)
        return self.logprob - math.log1p(-min(banned, _MOST_BANNED))


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class Alternative(msgspec.Struct):
    """One of the replies to a request; only one is asked for."""

    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None

    @property
    def text(self) -> str:
        """The whole reply; what a server that parses reasoning has taken out of it stands in front again.

        Where nothing stands behind the thinking it is left open: servers do not say whether it was closed, and where a reply
        was cut, or ended early, it was not.
        """
        thought, content = self.message.thought, self.message.content
        if not thought:
            return content or ""
        return f"<think>{thought}</think>{content}" if content else f"<think>{thought}"

    @property
    def pieces(self) -> list[bytes]:
        """The text of each token, that of the end token and of a text that stopped it included; [] if they are not told."""
        told = (self.logprobs and self.logprobs.content) or []
        return [each.token.encode() if each.bytes is None else bytes(each.bytes) for each in told]

    @property
    def logprobs_of_tokens(self) -> list[float]:
        """Parallel to `pieces`, in nats; without what is told beside each token, which is asked only of those that our engines
        never write."""
        return [each.logprob_of_allowed for each in (self.logprobs and self.logprobs.content) or []]


class _Usage(msgspec.Struct):
    prompt_tokens: Annotated[int, msgspec.Meta(ge=0)]
    completion_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Completion(msgspec.Struct):
    """The part of a chat completion that is read."""

    choices: list[Alternative]
    usage: _Usage | None = None


DECODER = msgspec.json.Decoder(Completion)
"""Made here, and not by the first answer: msgspec crashes where several threads make what a type needs at once."""
