"""Replies of a Qwen2.5-VL, token by token, with a cache of fixed size and, on a GPU, one captured CUDA graph per token.

`generate` launches every kernel of every layer from Python, token after token, and a small model's GPU mostly waits for it.
Captured once and replayed, a token costs about what reading weights and cache costs. Prompts are padded to widths that recur,
so cache, buffers and graph are made once and used by all later batches of the same shape.

    decoder = Decoder(model, eos=[2], pad=0, suppress=[5, 6])
    clips = see(model, patches, grids, seconds)                       # one call of the vision tower for all clips
    replies = decoder.reply(prompt_ids, clips, max_new_tokens=96)     # greedy, one reply per prompt
    replies = decoder.reply(prompt_ids, clips, rows=[0] * 8 + [1] * 8, choice=TokenChoice(1.0), max_new_tokens=96)
    replies = decoder.reply(prompt_ids, clips, choice=TokenChoice(1.0, seeds), max_new_tokens=96)   # the same in any batch
    written = decoder.write(prompt_ids, clips, max_new_tokens=96)     # the same as `reply`, with a log-probability per token
    found = decoder.begin(prompt_ids, clips, watch=watch, max_new_tokens=96)          # as far as `watch` looks at them, and
    rest = decoder.go_on([x for x in found if isinstance(x, Begun)], max_new_tokens=96)   # on, in batches of other make-up

`rows` names the prompt of each reply: what replies share, the prompt, is computed once. Every prompt holds exactly one clip.
The model is used as it is: whole on its device, in eval mode, with any dtype, SDPA, LoRA or not. Its weights may change between
calls, but only in place, because a graph remembers addresses; if they move, call `forget`. In half precision on a GPU the
first batch moves some of them itself, with the same numbers in the same parameters (`side_by_side`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from videothinker.models.prefill import prefill
from videothinker.models.reply_state import GREEDY, Begun, ReplyState, TokenChoice, Watch, Written
from videothinker.models.vision import SeenClip

__all__ = ["GREEDY", "Begun", "Decoder", "TokenChoice", "Watch", "Written", "can_decode"]

_BUCKET = 32
"""Prompts are padded to a multiple of this many tokens."""

_KEPT_BYTES = 6 * 2**30
"""Bytes of caches that stay, with their graphs, for the next batch of their shape. Above it the least recently used go."""


def can_decode(model: Any) -> bool:
    """Whether `Decoder` serves the model: a Qwen2.5-VL whose layers all attend to everything before them."""
    if model.config.model_type != "qwen2_5_vl":
        return False
    return set(model.config.get_text_config().layer_types) == {"full_attention"}


class Decoder:
    """Writes replies with one model; the module's docstring shows how.

    eos: tokens that end a reply. pad: fills replies that have ended. suppress: tokens that are never chosen (a drawn video
    token would stand for a clip that is not there). graphs: with False, every kernel is launched from Python, as on a CPU.
    kernels: with False, layers are PyTorch's own operations where `fused_layers` would serve, as they are in float32.
    """

    def __init__(
        self,
        model: Any,
        *,
        eos: Sequence[int],
        pad: int,
        suppress: Sequence[int] = (),
        graphs: bool = True,
        kernels: bool = True,
    ) -> None:
        if not can_decode(model):
            raise ValueError(f"{model.config.model_type}: only Qwen2.5-VL without sliding windows is decoded here")
        self.model, self.eos, self.pad, self.suppress = model, list(eos), pad, list(suppress)
        self.graphs, self.kernels = graphs, kernels
        self.n_passed = 0
        """Tokens of prompts that have gone through the model so far, without padding. What prompts share goes through once."""
        self._states: dict[Any, ReplyState] = {}

    def reply(
        self,
        prompt_ids: Sequence[Sequence[int]],
        clips: Sequence[SeenClip],
        *,
        max_new_tokens: int,
        rows: Sequence[int] | None = None,
        choice: TokenChoice = GREEDY,
    ) -> list[list[int]]:
        """The tokens of the replies that `write` gives, without their log-probabilities."""
        written = self.write(prompt_ids, clips, max_new_tokens=max_new_tokens, rows=rows, choice=choice)
        return [reply.tokens for reply in written]

    @torch.inference_mode()
    def write(
        self,
        prompt_ids: Sequence[Sequence[int]],
        clips: Sequence[SeenClip],
        *,
        max_new_tokens: int,
        rows: Sequence[int] | None = None,
        choice: TokenChoice = GREEDY,
    ) -> list[Written]:
        """Replies of at most `max_new_tokens` tokens, with the log-probability of each token.

        prompt_ids: unpadded, of any lengths. clips: the clip of each prompt. rows: for each reply the index of its prompt; None
        asks for one reply per prompt.

        Raises:
            ValueError: a prompt does not hold its clip's number of video tokens.
        """
        state, passed = self._behind_prompts(prompt_ids, clips, rows, max_new_tokens, choice)
        replies = _rows(*state.run(*passed, choice.seeds))
        self._keep_few()
        return [_to_end(*reply, self.eos) for reply in replies]

    @torch.inference_mode()
    def begin(
        self,
        prompt_ids: Sequence[Sequence[int]],
        clips: Sequence[SeenClip],
        *,
        max_new_tokens: int,
        watch: Watch,
        rows: Sequence[int] | None = None,
        choice: TokenChoice = GREEDY,
    ) -> list[Written | Begun]:
        """Replies as far as `watch` has to look at them: those that it ended, or that have ended, and the beginnings of others.

        It looks every few tokens. What it ended has some tokens more behind that place, for the caller to cut off. Arguments
        and errors are those of `write`.
        """
        state, passed = self._behind_prompts(prompt_ids, clips, rows, max_new_tokens, choice)
        replies = _rows(*state.run(*passed, choice.seeds, watch, leaves=True))
        written = [_to_end(*reply, self.eos) for reply in replies]
        goes_on = [
            not ended and len(reply.tokens) < max_new_tokens for ended, reply in zip(state.ended(), written, strict=True)
        ]
        begun = iter(state.left([i for i, on in enumerate(goes_on) if on]))
        self._keep_few()
        return [Begun(reply, *next(begun)) if on else reply for on, reply in zip(goes_on, written, strict=True)]

    @torch.inference_mode()
    def go_on(
        self, begun: Sequence[Begun], *, max_new_tokens: int, watch: Watch | None = None, choice: TokenChoice = GREEDY
    ) -> list[Written]:
        """The whole replies of those that have `begun`, in whatever calls, all at the same choice of tokens.

        max_new_tokens: of a whole reply, as in `begin`. watch: ends replies as there; it is shown all of each.
        """
        width = -(-max(each.cache.size(3) for each in begun) // _BUCKET) * _BUCKET
        state = self._state(len(begun), width, max_new_tokens, choice)
        found = []
        for each, (tokens, logprobs) in zip(begun, _rows(*state.run_on(begun, choice.seeds, watch)), strict=True):
            more = max_new_tokens - len(each.written.tokens)  # fewer than the state has room for, where others wrote less
            whole = [*each.written.tokens, *tokens[:more]], [*each.written.logprobs, *logprobs[:more]]
            found.append(_to_end(*whole, self.eos))
        self._keep_few()
        return found

    def _behind_prompts(
        self,
        prompt_ids: Sequence[Sequence[int]],
        clips: Sequence[SeenClip],
        rows: Sequence[int] | None,
        max_new_tokens: int,
        choice: TokenChoice,
    ) -> tuple[ReplyState, tuple[torch.Tensor, torch.Tensor]]:
        """The state that the prompts have passed into, the logits behind each reply's, and the position of what follows."""
        self._check(prompt_ids, clips)
        rows = range(len(prompt_ids)) if rows is None else rows
        # Rounded up, so that prompts of about the same length share a cache and a graph.
        width = -(-max(map(len, prompt_ids)) // _BUCKET) * _BUCKET
        state = self._state(len(rows), width, max_new_tokens, choice)
        arrays = [np.array(ids) for ids in prompt_ids]  # from which a tensor is made in a tenth of a list's time
        read = prefill(self.model, arrays, clips, rows, pad=self.pad, keep=state.keep)
        self.n_passed += read.n_passed
        prompt_of = torch.tensor(rows, device=state.device)
        state.begin_behind([len(prompt_ids[prompt]) for prompt in rows])
        return state, (self.model.lm_head(read.hidden)[prompt_of], read.following[prompt_of])

    def _state(self, n_rows: int, width: int, max_new_tokens: int, choice: TokenChoice) -> ReplyState:
        """The state of this shape, which is kept if there was one; it is the latest used then."""
        key = (n_rows, width, max_new_tokens, choice.temperature, choice.top_p, choice.seeds is None)
        state = self._states.pop(key, None) or ReplyState(self, n_rows, width, max_new_tokens, choice)
        self._states[key] = state
        return state

    def _keep_few(self) -> None:
        while sum(kept.n_bytes for kept in self._states.values()) > _KEPT_BYTES:
            del self._states[next(iter(self._states))]

    def forget(self) -> None:
        """Give back all caches and graphs."""
        self._states.clear()

    @property
    def n_bytes(self) -> int:
        """Bytes of the caches that are kept."""
        return sum(state.n_bytes for state in self._states.values())

    def _check(self, prompt_ids: Sequence[Sequence[int]], clips: Sequence[SeenClip]) -> None:
        video = self.model.config.video_token_id
        found = [list(ids).count(video) for ids in prompt_ids]
        expected = [len(clip.features) for clip in clips]
        if found != expected:
            raise ValueError(f"prompts hold {found} video tokens, their clips make {expected}")


def _rows(replies: torch.Tensor, logprobs: torch.Tensor) -> list[tuple[list[int], list[float]]]:
    """Tokens and log-probabilities by reply, from (n_rows, n) of both."""
    return list(zip(replies.tolist(), logprobs.tolist(), strict=True))


def _to_end(tokens: list[int], logprobs: list[float], eos: list[int]) -> Written:
    """The reply up to the first token that ends it, which is included; all of it if none does."""
    end = next((i for i, token in enumerate(tokens) if token in eos), len(tokens) - 1)
    return Written(tokens[: end + 1], logprobs[: end + 1])
