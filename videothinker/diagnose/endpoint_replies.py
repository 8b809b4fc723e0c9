"""One reply of a server: asked for whole, or up to where it may end behind its first answer and then, if need be, gone on with.

A server says nothing about a reply before it has ended, so with `--stop-at` it is asked to end each at the first "}", and for
the log-probability of every token. Whoever was not sure is asked for again with what was written as the beginning of the
assistant's message, which the server goes on with. It reads that beginning anew: where it makes other tokens of it than it had
written, the rest may be another one than that of a reply that was never paused.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from videothinker.answers import Style
from videothinker.answers.twice import is_past_first
from videothinker.diagnose.completions import Alternative, Completion
from videothinker.diagnose.protocols.base import Prompt
from videothinker.diagnose.server import Bounds, Server
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.stopping import LOOKS_AT, N_LOOKS, FirstAnswer, Gate
from videothinker.errors import VtError

GO_ON = {"add_generation_prompt": False, "continue_final_message": True}
"""Asks a server to go on with the assistant's last message. vLLM and SGLang know it; it is no part of OpenAI's protocol."""

_BRACE = LOOKS_AT[0].encode()

_REPLIES = ("stop", "length")
"""Finish reasons that end a reply. Any other (content_filter, abort, none at all) says that there is no whole one."""


class Request(NamedTuple):
    """A question as a server is asked it."""

    server: Server
    prompt: Prompt
    parts: list[dict[str, Any]]
    """The clip, as parts of the user's message."""
    more: Mapping[str, Any]
    """What else this server is told."""
    what: str
    """The question, for messages."""
    hint: str
    """How it is asked that not every server takes, in brackets, for the message of one that refuses it; else empty."""


class Came(NamedTuple):
    """A whole reply."""

    text: str
    cut: bool
    """True when the token limit ended it."""
    n_tokens: int | None
    """All that were written, by the server's count; None where it gives none."""
    n_prompt: int | None
    """Of the prompt, by the server's count."""
    n_requests: int = 1
    logprobs: Sequence[float] = ()
    """Of all tokens, in nats; none where they were not asked for."""
    first: FirstAnswer | None = None
    stopped: bool = False


class NoReply(NamedTuple):
    """What came instead of a reply."""

    why: str


class _Begun(NamedTuple):
    """What was written of a reply so far."""

    pieces: list[bytes]
    logprobs: list[float]
    n_prompt: int | None

    def with_more(self, reply: Completion) -> "_Begun":
        choice = reply.choices[0]
        n_prompt = reply.usage.prompt_tokens if reply.usage and not self.pieces else self.n_prompt
        return _Begun([*self.pieces, *choice.pieces], [*self.logprobs, *choice.logprobs_of_tokens], n_prompt)


def decode(pieces: Sequence[bytes]) -> str:
    """The text of a server's tokens, of which one may hold half of a character."""
    return b"".join(pieces).decode(errors="replace")


class Replies:
    """Asks for replies as the settings say.

    logprobs: whether they are asked for, so that first answers have a confidence. placeholders: tokens that no reply holds, of
    which vLLM is asked how likely they were, so that log-probabilities are over all others, as those of our engines are.
    """

    def __init__(self, ref: str, settings: DiagnosisSettings, *, logprobs: bool, placeholders: Sequence[int] = ()) -> None:
        self._ref, self._settings, self._logprobs, self._placeholders = ref, settings, logprobs, list(placeholders)
        self._gate = Gate(decode, settings.stop_at)

    def ask(self, request: Request) -> Came | NoReply:
        """The reply to one request.

        Raises:
            VtError: the server refuses it, or does not answer after all tries.
        """
        begun = _Begun([], [], None)
        for n_requests in range(1, N_LOOKS + 2):
            looks = self._gate.at is not None and n_requests <= N_LOOKS and not is_past_first(decode(begun.pieces))
            reply = request.server.post(self._body(request, begun.pieces, looks=looks), request.what, request.hint)
            choice = reply.choices[0]
            none = _no_reply(request.server, reply) or (looks and _lacks_its_end(choice))
            if none:
                return none
            written = begun.with_more(reply)
            sure = self._gate.sure(written.pieces, written.logprobs)
            if sure is not None:
                n = sure.n_tokens
                kept = decode(written.pieces[:n])
                return Came(kept, False, n, written.n_prompt, n_requests, written.logprobs[:n], sure, stopped=True)
            if not (looks and choice.finish_reason == "stop" and _BRACE in b"".join(choice.pieces)):
                return self._whole(begun, reply, written, n_requests)
            begun = written
            if len(begun.pieces) >= self._settings.max_new_tokens:
                break
        n = len(begun.pieces)
        return Came(decode(begun.pieces), True, n, begun.n_prompt, n_requests, begun.logprobs, self._first(begun))

    def _whole(self, begun: "_Begun", rest: Completion, written: "_Begun", n_requests: int) -> Came:
        """A reply that has come to its own end or to the limit; its text is that of the server, not that of its tokens."""
        choice, usage = rest.choices[0], rest.usage
        counted = None if usage is None or usage.completion_tokens is None else len(begun.pieces) + usage.completion_tokens
        text, cut = decode(begun.pieces) + choice.text, choice.finish_reason == "length"
        return Came(text, cut, counted, written.n_prompt, n_requests, written.logprobs, self._first(written))

    def _first(self, written: "_Begun") -> FirstAnswer | None:
        twice = self._settings.prompt is Style.TWICE and written.logprobs
        return self._gate.first(written.pieces, written.logprobs) if twice else None

    def _body(self, request: Request, written: Sequence[bytes], *, looks: bool) -> dict[str, Any]:
        """A request for a reply that begins with what was `written`; `looks`: to be paused where its first answer may end."""
        settings = self._settings
        begins = request.prompt.prefill + decode(written)
        return {
            "model": self._ref,
            "messages": messages(request.prompt._replace(prefill=begins), request.parts),
            "max_tokens": settings.max_new_tokens - len(written),
            "temperature": settings.temperature,
            **({"top_p": settings.top_p} if settings.top_p < 1 else {}),
            "seed": settings.seed + len(written),  # with the same one the draws of the beginning would be repeated
            **(GO_ON if begins else {}),
            **({"logprobs": True} if self._logprobs else {}),
            **({"logprob_token_ids": self._placeholders} if self._asks_for_others(request.server) else {}),
            **({"stop": LOOKS_AT} if looks else {}),
            **request.more,
        }

    def _asks_for_others(self, server: Server) -> bool:
        return self._logprobs and bool(self._placeholders) and server.is_vllm


def messages(prompt: Prompt, media: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation: the system text and the beginning of the reply only where the prompt has them."""
    said: list[dict[str, Any]] = [{"role": "user", "content": [*media, {"type": "text", "text": prompt.user}]}]
    if prompt.system is not None:
        said.insert(0, {"role": "system", "content": prompt.system})
    if prompt.prefill:
        said.append({"role": "assistant", "content": prompt.prefill})
    return said


def _no_reply(server: Server, reply: Completion) -> NoReply | None:
    """Why a completion is no reply; None where it is one."""
    choice = reply.choices[0]
    if choice.finish_reason not in _REPLIES:
        return NoReply(server.said(choice.finish_reason or "", 40) or "no finish reason")
    if choice.finish_reason == "stop" and choice.message.content is None and not choice.message.thought:
        return NoReply("stop without a text")
    return None


def _lacks_its_end(choice: Alternative) -> NoReply | None:
    """A brace that paused a reply has to be among its tokens: nothing else tells the pause from the reply's own end."""
    said = decode(choice.pieces)
    if choice.finish_reason == "stop" and "{" in choice.text and "}" not in said:
        return NoReply("stop at a brace that is not among the tokens")
    return None


class Abilities(NamedTuple):
    """What a server can do that is no part of every server's protocol."""

    logprobs: bool
    """It tells how likely each token was."""
    goes_on: bool
    """It goes on with a message of the assistant."""
    refusal: str = ""
    """What it said where it refused to be asked so."""


def abilities(url: str, ref: str, bounds: Bounds) -> Abilities:
    """What the server at `url` can do, by two requests for one token behind a few words; without log-probabilities by the
    first one, since nothing can be stopped then.

    A server that goes on with the assistant's message does not close it, so its prompt is shorter than that of one that begins
    another; one that passes over what it does not know makes both alike.
    """
    server = Server(url, bounds)  # of its own: one that has failed sends nothing any more
    said = [{"role": "user", "content": "Say A."}, {"role": "assistant", "content": "\\boxed{A}"}]
    body = {"model": ref, "messages": said, "max_tokens": 1, "temperature": 0.0, "logprobs": True}
    known = False
    try:
        anew = server.post(body, what="a trial of log-probabilities")
        known = bool(anew.choices[0].pieces)
        if not known:
            return Abilities(known, goes_on=False)
        on = server.post({**body, **GO_ON}, what="a trial of going on with a reply")
    except VtError as error:
        return Abilities(known, goes_on=False, refusal=str(error))
    return Abilities(known, goes_on=bool(anew.usage and on.usage and on.usage.prompt_tokens < anew.usage.prompt_tokens))


def check_stops(url: str, found: Abilities) -> None:
    """Check that replies of the server at `url` can be stopped.

    Raises:
        VtError: it gives no log-probabilities, or does not go on with a reply that has begun.
    """
    if found.logprobs and found.goes_on:
        return
    lacks = "gives no log-probabilities of its tokens" if not found.logprobs else "does not go on with a reply that has begun"
    raise VtError(
        f"--stop-at with --endpoint {url}: the server {lacks}"
        + (f" ({found.refusal})" if found.refusal else "")
        + "; vLLM's server does both. Leave out --stop-at, or ask another server"
    )
