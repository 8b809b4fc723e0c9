"""Replies of a Qwen2.5-VL while they are written: their cache, where each of them stands, and on a GPU the captured graph."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)

from videothinker.models import fused_layers
from videothinker.models.noise import hashed_noise, seed_words
from videothinker.models.norms import rms_norm
from videothinker.models.nucleus import nucleus
from videothinker.models.text_layers import even_width, finished, heads, rotation

if TYPE_CHECKING:
    from videothinker.models.decoder import Decoder

_CHECK_EVERY = 16
"""Tokens between two looks at whether all replies have ended. Each look makes the Python side wait for the GPU."""

_LOOK_EVERY = 4
"""Tokens between two looks at what was written, while a `Watch` has not decided of every reply."""

_BEGINNING = 64
"""Tokens after which `begin` leaves replies of which a `Watch` has not decided yet, for the sake of the others."""


class TokenChoice(NamedTuple):
    """How the next token is chosen among all but the suppressed ones."""

    temperature: float = 0.0
    """0 takes the likeliest token. Otherwise the token is drawn from softmax(logits / temperature)."""
    seeds: Sequence[int] | None = None
    """One per reply, 0 to 2**64 - 1: its draws depend on it alone, not on the batch or device. None: PyTorch's generator."""
    top_p: float = 1.0
    """A draw is among the likeliest tokens alone, whose chances at that temperature sum to this (`nucleus`); 1 is all."""


GREEDY = TokenChoice()


class Written(NamedTuple):
    """One reply, as the model wrote it."""

    tokens: list[int]
    """All of its tokens, the one that ended it included. A reply without such a token was cut."""
    logprobs: list[float]
    """Parallel to `tokens`: the natural logarithm of each one's probability in the softmax of the model's logits, in float32
    and without the suppressed tokens. The temperature plays no part in it."""


class Begun(NamedTuple):
    """A reply that was left before its end, with what it takes to go on with it in any batch."""

    written: Written
    cache: torch.Tensor
    """(layers, 2, key heads, n, d): keys and values of its prompt and of all that was written but the last token."""
    position: torch.Tensor
    """(): that of its last token."""


class Watch(Protocol):
    """Says while replies are written which of them end before an end token."""

    @property
    def done(self) -> bool:
        """Whether it needs no further look."""

    def look(self, tokens: Sequence[Sequence[int]], logprobs: Sequence[Sequence[float]]) -> Sequence[bool]:
        """Which replies end, by all that was written of each so far."""


class ReplyState:
    """Cache, running state and captured graph for `n_rows` replies to prompts that are padded to `width` tokens."""

    def __init__(self, decoder: "Decoder", n_rows: int, width: int, max_new_tokens: int, choice: TokenChoice) -> None:
        self._model, config = decoder.model, decoder.model.config.get_text_config()
        weight = self._model.get_input_embeddings().weight
        self.width, self.device = width, weight.device
        heads = config.num_key_value_heads
        length = even_width(width + max_new_tokens)
        shape = (config.num_hidden_layers, 2, n_rows, heads, length, config.hidden_size // config.num_attention_heads)
        self._cache = torch.zeros(shape, dtype=weight.dtype, device=self.device)
        self.n_bytes = self._cache.nbytes
        self._pad, self._temperature, self._top_p = decoder.pad, choice.temperature, choice.top_p
        self._graphs = decoder.graphs and self.device.type == "cuda"
        self._graph: Any = None
        kernels = fused_layers.kernels_for(self._model) if decoder.kernels else None
        self._fused = None if kernels is None else fused_layers.FusedLayers(self._model.model.language_model, kernels)

        def zeros(*size: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
            return torch.zeros(*size, dtype=dtype, device=self.device)

        self._eos, self._suppress = (torch.tensor(ids, device=self.device).long() for ids in (decoder.eos, decoder.suppress))
        self._starts = zeros(n_rows)  # the column of each reply's first token; in front of it nothing is seen
        self._token, self._position = zeros(n_rows), zeros(n_rows)
        self._ended = zeros(n_rows, dtype=torch.bool)
        self._slot, self._count = zeros(1), zeros(1)
        self._n_before = zeros(n_rows, 1)  # tokens that were written before this state has begun, on which draws depend
        self._n_chosen = 0  # what `_count` will be once the GPU is through
        self._shown: list[Written] = []
        self._seeds = None if choice.seeds is None else zeros(2, n_rows, 1, dtype=torch.int32)
        self._replies, self._logprobs = zeros(n_rows, max_new_tokens), zeros(n_rows, max_new_tokens, dtype=torch.float32)

    def keep(
        self,
        layer: int,
        keys: torch.Tensor,
        values: torch.Tensor,
        *,
        to: torch.Tensor,
        of: torch.Tensor,
        columns: torch.Tensor,
    ) -> None:
        """`prefill.Keep`. Prompts end at `width`, so that every reply begins there."""
        for into, found in zip(self._cache[layer], (keys, values), strict=True):
            into[to, :, self.width - columns.size(1) : self.width] = found[of[:, None], :, columns].transpose(1, 2)

    def begin_behind(self, n_prompt: Sequence[int]) -> None:
        """Say how many tokens the prompt of each reply has."""
        self._starts.copy_(self.width - torch.tensor(n_prompt))

    def run(
        self,
        logits: torch.Tensor,
        position: torch.Tensor,
        seeds: Sequence[int] | None,
        watch: Watch | None = None,
        *,
        leaves: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Replies and log-probabilities, (n_rows, at most max_new_tokens) both, filled with `pad` and 0 after a reply's end.

        logits: behind the prompts, (n_rows, V). position: of what follows them, (n_rows,). leaves: write no more once `watch`
        needs no further look, or `_BEGINNING` tokens are there.
        """
        self._draw_by(seeds)
        n_steps = self._replies.size(1) - 1  # the first token comes from the prompt's logits
        if self._graphs and self._graph is None and n_steps:
            self._start(logits, position)
            self._capture()
        self._start(logits, position)
        return self._go(watch, leaves=leaves)

    def run_on(
        self, begun: Sequence[Begun], seeds: Sequence[int] | None, watch: Watch | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What follows behind replies that have `begun`, as `run` gives it.

        Their caches are of different lengths; all are put so that they end at `width`, as prompts do.
        """
        self._draw_by(seeds)
        if self._graphs and self._graph is None:
            self._capture()
        self._rewind()
        self.begin_behind([each.cache.size(3) for each in begun])
        for row, each in enumerate(begun):
            self._cache[:, :, row, :, self.width - each.cache.size(3) : self.width] = each.cache
        self._position.copy_(torch.stack([each.position for each in begun]))
        self._token.copy_(torch.tensor([each.written.tokens[-1] for each in begun]))
        self._n_before.copy_(torch.tensor([[len(each.written.tokens)] for each in begun]))
        self._shown = [each.written for each in begun]
        return self._go(watch)

    def _go(self, watch: Watch | None, *, leaves: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        n_begun = self._n_chosen
        for n in range(n_begun, self._replies.size(1)):
            looks = watch is not None and not watch.done and n > 0 and n % _LOOK_EVERY == 0
            if watch is not None and looks:
                self._end(watch.look(*self._written(n)))
            if (looks or (n - n_begun) % _CHECK_EVERY == 0) and bool(self._ended.all()):
                break
            if leaves and watch is not None and (watch.done or n >= _BEGINNING):
                break
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()
            self._n_chosen = n + 1
        return self._replies[:, : self._n_chosen], self._logprobs[:, : self._n_chosen]

    def ended(self) -> list[bool]:
        """Whether each reply has an end token, or was ended by a watch."""
        found: list[bool] = self._ended.tolist()
        return found

    def left(self, rows: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """`Begun.cache` and `Begun.position` of replies that are left here."""
        slot = self.width + self._n_chosen - 1  # where their last tokens would be written
        starts = self._starts.tolist()
        return [(self._cache[:, :, row, :, starts[row] : slot].clone(), self._position[row].clone()) for row in rows]

    def _written(self, n: int) -> tuple[list[list[int]], list[list[float]]]:
        """All that was written of each reply, with `n` tokens since this state has begun."""
        tokens, logprobs = self._replies[:, :n].tolist(), self._logprobs[:, :n].tolist()
        if not self._shown:
            return tokens, logprobs
        return (
            [[*before.tokens, *new] for before, new in zip(self._shown, tokens, strict=True)],
            [[*before.logprobs, *new] for before, new in zip(self._shown, logprobs, strict=True)],
        )

    def _draw_by(self, seeds: Sequence[int] | None) -> None:
        if self._seeds is not None and seeds is not None:
            self._seeds.copy_(seed_words(seeds))

    def _end(self, rows: Sequence[bool]) -> None:
        """End these replies; what was written of them stays."""
        self._ended.logical_or_(torch.tensor(rows, device=self.device))

    def _start(self, logits: torch.Tensor, position: torch.Tensor) -> None:
        """Go back to the state after the prompt: the first token is chosen, and it will lie behind the prompt in the cache."""
        self._rewind()
        self._position.copy_(position)
        self._choose(logits)
        self._n_chosen = 1

    def _rewind(self) -> None:
        """Go back to where nothing is written since this state has begun."""
        self._slot.fill_(self.width)
        self._ended.zero_()
        self._count.zero_()
        self._n_before.zero_()
        self._replies.fill_(self._pad)
        self._n_chosen, self._shown = 0, []

    def _choose(self, logits: torch.Tensor) -> None:
        """Choose each row's next token from (n_rows, V) logits. A draw is the largest of chances over exponential noise."""
        scores = logits = logits.float().index_fill(1, self._suppress, -torch.inf)
        if self._temperature:
            chances = nucleus(torch.softmax(logits / self._temperature, dim=-1), self._top_p)
            scores = chances / self._noise(chances)
        chosen = scores.argmax(-1)
        logprob = logits.log_softmax(-1).gather(1, chosen[:, None])
        self._logprobs.index_copy_(1, self._count, logprob.masked_fill(self._ended[:, None], 0.0))
        self._token.copy_(torch.where(self._ended, self._pad, chosen))
        self._ended.logical_or_((chosen[:, None] == self._eos).any(1))
        self._replies.index_copy_(1, self._count, self._token[:, None])
        self._count.add_(1)

    def _noise(self, like: torch.Tensor) -> torch.Tensor:
        """Exponential noise, (n_rows, V): with seeds a hash of seed, step and token."""
        if self._seeds is None:
            return torch.empty_like(like).exponential_()
        return hashed_noise(self._seeds, self._count + self._n_before, like.size(1))

    def _step(self) -> None:
        """Feed the last token of every row and choose the next. All writes are in place, so that a graph can replay them."""
        language = self._model.model.language_model
        states = self._model.get_input_embeddings()(self._token)
        turned = rotation(language.rotary_emb, self._position, states.dtype)
        if self._fused is None:
            states = self._plainly(language, states, turned)
        else:
            states = self._fused.written(states, turned, self._cache, self._starts, self._slot)
        self._slot.add_(1)
        self._position.add_(1)
        self._choose(self._model.lm_head(states))

    def _plainly(self, language: Any, states: torch.Tensor, turned: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """What `FusedLayers.written` computes, by PyTorch's own operations."""
        columns = torch.arange(self._cache.size(4), device=self.device)
        seen = (columns >= self._starts[:, None]) & (columns <= self._slot)
        mask = torch.zeros(seen.shape, dtype=states.dtype, device=self.device).masked_fill_(~seen, -torch.inf)
        for layer, cache in zip(language.layers, self._cache, strict=True):
            query, *new = heads(layer, states, turned)
            for into, each in zip(cache, new, strict=True):
                into.index_copy_(2, self._slot, each[:, :, None])
            states = finished(layer, states, self._attended(query, cache, mask, layer.self_attn.scaling))
        return rms_norm(language.norm, states)

    def _attended(self, query: torch.Tensor, cache: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
        """What the (n_rows, heads, d) queries of one token per row attend to, (n_rows, heads * d).

        Query heads that share keys become the queries of one head, so that keys are not repeated for them.
        """
        keys, values = cache
        grouped = query.view(len(query), keys.size(1), -1, keys.size(3))
        return F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask[:, None, None], scale=scale).flatten(1)

    def _capture(self) -> None:
        """Record `_step` as a graph. The state is not that of any reply afterwards, until `_start`."""
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._warm_up()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on
            self._step()
        self._graph = graph

    def _warm_up(self) -> None:
        """Run `_step` twice, for CUDA's libraries to set themselves up before a capture.

        Both times it writes the second token, the only one that every limit above 1 has room for: on a GPU, a write behind the
        end of the cache or of the replies is an assertion that ends the process.
        """
        for _ in range(2):
            self._slot.fill_(self.width)
            self._count.fill_(1)
            self._step()
