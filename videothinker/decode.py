"""Replies of a Qwen2.5-VL, token by token, with a fixed-size cache and, on a GPU, one captured CUDA graph a token.

`generate` launches every kernel of every layer from Python, token after token, and a small model's GPU mostly waits for it.
Captured once and replayed, a token costs about what reading weights and cache costs. Prompts are padded to widths that recur,
so cache, buffers and graph are made once and used by all later batches of the same shape.

    decoder = Decoder(model, eos=[2], pad=0, suppress=[5, 6])
    clips = see(model, patches, grids, seconds)                       # one call of the vision tower for all clips
    replies = decoder.reply(prompt_ids, clips, max_new_tokens=96)     # greedy, a reply a prompt
    replies = decoder.reply(prompt_ids, clips, rows=[0] * 8 + [1] * 8, choice=Choice(1.0), max_new_tokens=96)
    replies = decoder.reply(prompt_ids, clips, choice=Choice(1.0, seeds), max_new_tokens=96)    # the same whatever the batch

`rows` names the prompt of each reply: what replies share, the prompt, is computed once. Every prompt holds exactly one clip.
The model is used as it is: whole on its device, in eval mode, any dtype, SDPA, LoRA or not. Its weights may change between
calls, but only in place (a graph remembers addresses); if they move, call `forget`.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import DynamicCache
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from videothinker.vision import batch_windows

_BUCKET = 32
"""Prompts are padded to a multiple of this many tokens."""

_CHECK_EVERY = 16
"""Tokens between two looks at whether all replies have ended; each look makes the GPU wait."""

_PROMPT_TOKENS = 131_072
"""Tokens of prompts that go through the model at a time."""

_SHARPENED = 16
"""Tokens whose logits `sharpen` computes again."""

_KEPT_BYTES = 6 * 2**30
"""Caches and graphs that stay for the next batch; larger ones are given back after each."""


class SeenClip(NamedTuple):
    """What the vision tower made of one clip."""

    features: torch.Tensor
    """(t * h * w / 4, hidden), on the model's device; prompts about one clip share it."""
    grid: tuple[int, int, int]
    """t pairs of frames, h and w in patches (a row of `video_grid_thw`)."""
    seconds_per_pair: float
    """Time between two pairs of frames (an entry of `second_per_grid_ts`)."""


class Choice(NamedTuple):
    """How the next token is chosen among all but the suppressed ones."""

    temperature: float = 0.0
    """0: the likeliest. Else drawn from softmax(logits / temperature)."""
    seeds: Sequence[int] | None = None
    """One a reply, 0 to 2**64 - 1: its draws depend on it alone, not on the batch or device. None: PyTorch's generator."""


GREEDY = Choice()


def can_decode(model: Any) -> bool:
    """Is it a model that `Decoder` knows: a Qwen2.5-VL whose layers attend to all that went before?"""
    if model.config.model_type != "qwen2_5_vl":
        return False
    return set(model.config.get_text_config().layer_types) == {"full_attention"}


def quicken_vision(model: Any) -> None:
    """Let the vision tower attend in few calls and embed patches by one matrix product: the same numbers up to rounding."""
    batch_windows(model)
    embed = model.model.visual.patch_embed
    embed.forward = partial(_embed_patches, embed)


def sharpen(model: Any) -> None:
    """Let half-precision logits of the likeliest tokens be what float32 arithmetic makes of the same hidden states.

    Between 8 and 16 a bfloat16 has steps of 1/16: two tokens that the model likes about equally often get the same logit, and a
    greedy choice then falls on the lower token id, whatever the question. A bias model that watched in half of its sampled
    thoughts did so in 4 % of its greedy ones, and in float32 in 36 % (reports/LOG.md).
    """
    head = model.get_output_embeddings()
    if head is not None and head.weight.dtype in (torch.bfloat16, torch.float16):
        head.register_forward_hook(_sharpened)


def _sharpened(head: Any, states: tuple[torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
    likeliest = logits.topk(min(_SHARPENED, logits.size(-1)), dim=-1, sorted=False).indices
    exact = (head.weight[likeliest].float() * states[0].unsqueeze(-2).float()).sum(-1)
    if head.bias is not None:
        exact = exact + head.bias[likeliest].float()
    return logits.float().scatter(-1, likeliest, exact)


def quicken_norms(model: Any) -> None:
    """Let the RMS norms of a Qwen2.5-VL be one kernel each, forward and backward: the same numbers up to rounding."""
    for module in model.modules():
        if isinstance(module, Qwen2_5_VLRMSNorm):
            module.forward = partial(_widely_normed, module)


def _widely_normed(module: Any, states: torch.Tensor) -> torch.Tensor:
    wide = torch.promote_types(states.dtype, module.weight.dtype)  # two types would keep the kernel from being one
    return _normed(module, states.to(wide))


def _embed_patches(module: Any, patches: torch.Tensor) -> torch.Tensor:
    """What the module's convolution computes, whose kernel is as large as a patch."""
    return F.linear(patches.to(module.proj.weight.dtype), module.proj.weight.flatten(1))


def see(
    model: Any, patches: Sequence[torch.Tensor], grids: Sequence[tuple[int, int, int]], seconds: Sequence[float]
) -> list[SeenClip]:
    """Let the vision tower see clips in one call.

    patches: of each clip (t * h * w, 3 * 2 * 14 * 14) on the model's device, `pixel_values_videos` of the processor.
    grids, seconds: as in `SeenClip`. Clips of one size that follow one another cost least.
    """
    tower = model.model.visual
    sizes = (tower.spatial_merge_size, tower.window_size, tower.patch_size)
    borders_where_attended = tower.config._attn_implementation.startswith("flash_attention")
    inputs = _vision_inputs(tuple(grids), sizes, patches[0].device, borders_where_attended)
    pixels = (patches[0] if len(patches) == 1 else torch.cat(list(patches))).to(tower.dtype)
    features = tower(pixels, **inputs).pooler_output
    lengths = [t * h * w // sizes[0] ** 2 for t, h, w in grids]
    parts = zip(features.split(lengths), grids, seconds, strict=True)
    return [SeenClip(part, grid, time) for part, grid, time in parts]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # kept for a backward pass too
def _vision_inputs(
    grids: tuple[tuple[int, int, int], ...], sizes: tuple[int, int, int], device: torch.device, borders_there: bool
) -> dict[str, Any]:
    """All that the tower is told beside patches, worked out on the CPU, where asking for a number makes no GPU wait.

    The tower never mixes two pairs of frames, so clips of one size, side by side, are to it one longer clip. borders_there:
    whether attention wants the borders of windows on the device; SDPA's loops want numbers.
    """
    merged: list[list[int]] = []
    for t, h, w in grids:
        if merged and merged[-1][1:] == [h, w]:
            merged[-1][0] += t
        else:
            merged.append([t, h, w])
    merge, window, patch = sizes
    grid = torch.tensor(merged)
    index, windows = get_vision_window_index(grid, spatial_merge_size=merge, window_size=window, patch_size=patch)
    pairs = torch.repeat_interleave(grid[:, 1] * grid[:, 2], grid[:, 0])
    borders = device if borders_there else torch.device("cpu")
    return {
        "grid_thw": grid,
        "position_ids": get_vision_position_ids(grid, merge).to(device),
        "window_index": index.to(device),
        "cu_seqlens": F.pad(pairs.cumsum(0, dtype=torch.int32), (1, 0)).to(borders),
        "cu_window_seqlens": windows.to(borders),
        "max_seqlen": int(pairs.max()),
        "max_window_seqlen": int(windows.diff().max()),
    }


def token_positions(
    config: Any, ids: torch.Tensor, mask: torch.Tensor, grids: torch.Tensor, seconds: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Time, row and column of every token, (3, B, T), and the position after the last, (B,).

    What the model's own `get_rope_index` computes for rows with one clip each, for all rows at once and without waiting for
    the GPU. config: of the model. ids, mask: (B, T), padding anywhere. grids: (B, 3). seconds: (B,) float32, a pair of frames.
    """
    real, is_video = mask.bool(), ids == config.video_token_id
    order, count = real.cumsum(1) - 1, is_video.cumsum(1) - 1
    start = (real & (count < 0)).sum(1, keepdim=True)  # text before the clip
    merge = config.vision_config.spatial_merge_size
    rows, columns = (grids[:, 1:] // merge).unsqueeze(-1).unbind(1)
    time = (count // (rows * columns) * (config.vision_config.tokens_per_second * seconds[:, None])).long()
    in_clip = torch.stack([time, count // columns % rows, count % columns])
    n_video = is_video.sum(1, keepdim=True)
    behind = order - n_video + torch.maximum(rows, columns) * (n_video > 0)
    text = torch.where(count < 0, order, behind)
    positions = torch.where(is_video, start + in_clip, text).masked_fill(~real, 0)
    return positions, positions.amax((0, 2)) + 1


class Decoder:
    """Writes replies with one model; see the module's head.

    eos: tokens that end a reply. pad: fills replies that have ended. suppress: tokens never chosen (a drawn video token would
    stand for a clip that is not there). graphs: False: every kernel is launched from Python, as on a CPU.
    """

    def __init__(self, model: Any, *, eos: Sequence[int], pad: int, suppress: Sequence[int] = (), graphs: bool = True) -> None:
        if not can_decode(model):
            raise ValueError(f"{model.config.model_type}: only Qwen2.5-VL without sliding windows is decoded here")
        self.model, self.eos, self.pad, self.suppress = model, list(eos), pad, list(suppress)
        self.graphs = graphs
        self._states: dict[Any, _State] = {}

    @torch.inference_mode()
    def reply(
        self,
        prompt_ids: Sequence[Sequence[int]],
        clips: Sequence[SeenClip],
        *,
        max_new_tokens: int,
        rows: Sequence[int] | None = None,
        choice: Choice = GREEDY,
    ) -> list[list[int]]:
        """Replies, each with the token that ended it, at most `max_new_tokens` long; one without such a token was cut.

        prompt_ids: unpadded, different lengths. clips: of each prompt. rows: of each reply the index of its prompt; None: a
        reply a prompt.

        Raises:
            ValueError: a prompt does not hold its clip's number of video tokens.
        """
        self._check(prompt_ids, clips)
        rows = range(len(prompt_ids)) if rows is None else rows
        width = -(-max(map(len, prompt_ids)) // _BUCKET) * _BUCKET
        key = (len(rows), width, max_new_tokens, choice.temperature, choice.seeds is None)
        state = self._states.pop(key, None) or _State(self, len(rows), width, max_new_tokens, choice)
        self._states[key] = state  # the latest used comes last
        logits, following = self._read_prompts(state, prompt_ids, clips, rows)
        replies = state.run(logits, following, choice.seeds)
        while sum(kept.n_bytes for kept in self._states.values()) > _KEPT_BYTES:
            del self._states[next(iter(self._states))]
        return [_to_end(reply, self.eos) for reply in replies.tolist()]

    def forget(self) -> None:
        """Give back caches and graphs."""
        self._states.clear()

    @property
    def n_bytes(self) -> int:
        """Memory of the caches that are kept."""
        return sum(state.n_bytes for state in self._states.values())

    def _check(self, prompt_ids: Sequence[Sequence[int]], clips: Sequence[SeenClip]) -> None:
        video = self.model.config.video_token_id
        found = [list(ids).count(video) for ids in prompt_ids]
        expected = [len(clip.features) for clip in clips]
        if found != expected:
            raise ValueError(f"prompts hold {found} video tokens, their clips make {expected}")

    def _read_prompts(
        self, state: "_State", prompt_ids: Sequence[Sequence[int]], clips: Sequence[SeenClip], rows: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fill the state's cache; returns the logits of each reply's first token, (n_rows, V), and its position, (n_rows,)."""
        model, device = self.model, state.device
        at_once = max(1, _PROMPT_TOKENS // state.width)
        logits, following = [], []
        for start in range(0, len(prompt_ids), at_once):
            part, seen = prompt_ids[start : start + at_once], clips[start : start + at_once]
            ids = torch.full((len(part), state.width), self.pad)
            mask = torch.zeros_like(ids)
            for row, prompt in enumerate(part):
                ids[row, state.width - len(prompt) :] = torch.from_numpy(np.array(prompt))  # a tenth of torch.tensor's time
                mask[row, state.width - len(prompt) :] = 1
            grids, seconds = torch.tensor([c.grid for c in seen]), torch.tensor([c.seconds_per_pair for c in seen])
            positions, after = token_positions(model.config, ids, mask, grids, seconds)
            ids, mask, positions, after = (tensor.to(device) for tensor in (ids, mask, positions, after))
            embedded = model.get_input_embeddings()(ids)
            features = torch.cat([clip.features for clip in seen]).to(embedded.dtype)
            embedded = embedded.masked_scatter((ids == model.config.video_token_id)[..., None], features)
            cache = DynamicCache(config=model.config.get_text_config())
            hidden = model.model.language_model(
                inputs_embeds=embedded, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True
            ).last_hidden_state[:, -1]
            to = [row for row, prompt in enumerate(rows) if start <= prompt < start + len(part)]
            of = torch.tensor([rows[row] - start for row in to], device=device)
            state.take(torch.tensor(to, device=device), cache, mask, of)
            logits.append(model.lm_head(hidden))
            following.append(after)
        prompt_of = torch.tensor(rows, device=device)
        return torch.cat(logits)[prompt_of], torch.cat(following)[prompt_of]


class _State:
    """Cache, running state and captured graph for `n_rows` replies to prompts of `width` tokens."""

    def __init__(self, decoder: Decoder, n_rows: int, width: int, max_new_tokens: int, choice: Choice) -> None:
        self._model, config = decoder.model, decoder.model.config.get_text_config()
        weight = self._model.get_input_embeddings().weight
        self.width, self.device = width, weight.device
        heads = config.num_key_value_heads
        length = -(-(width + max_new_tokens) // 8) * 8  # SDPA would copy a mask of uneven length at every call
        shape = (config.num_hidden_layers, 2, n_rows, heads, length, config.hidden_size // config.num_attention_heads)
        self._cache = torch.zeros(shape, dtype=weight.dtype, device=self.device)
        self.n_bytes = self._cache.nbytes
        self._pad, self._temperature = decoder.pad, choice.temperature
        self._graphs = decoder.graphs and self.device.type == "cuda"
        self._graph: Any = None

        def zeros(*size: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
            return torch.zeros(*size, dtype=dtype, device=self.device)

        self._eos, self._suppress = (torch.tensor(ids, device=self.device).long() for ids in (decoder.eos, decoder.suppress))
        self._prompt_mask = zeros(n_rows, width, dtype=torch.bool)
        self._mask = zeros(n_rows, 1, 1, length, dtype=weight.dtype)  # added to the scores: 0 or -inf
        self._token, self._position = zeros(n_rows), zeros(n_rows)
        self._ended = zeros(n_rows, dtype=torch.bool)
        self._slot, self._count = zeros(1), zeros(1)
        self._seeds = None if choice.seeds is None else zeros(2, n_rows, 1, dtype=torch.int32)
        self._replies = zeros(n_rows, max_new_tokens)

    def take(self, to: torch.Tensor, cache: DynamicCache, mask: torch.Tensor, of: torch.Tensor) -> None:
        """Keep prompts' keys and values: those of row `of[i]` for reply `to[i]`."""
        self._prompt_mask[to] = mask[of].bool()
        for kept, layer in zip(self._cache, cache.layers, strict=True):
            for into, states in zip(kept, (layer.keys, layer.values), strict=True):
                into[to, :, : self.width] = states[of]

    def run(self, logits: torch.Tensor, position: torch.Tensor, seeds: Sequence[int] | None) -> torch.Tensor:
        """Replies, (n_rows, at most max_new_tokens), padded after their end."""
        if self._seeds is not None and seeds is not None:
            self._seeds.copy_(seed_words(seeds))
        if self._graphs and self._graph is None:
            self._start(logits, position)
            self._capture()
        self._start(logits, position)
        for step in range(self._replies.size(1) - 1):
            if step % _CHECK_EVERY == 0 and bool(self._ended.all()):
                return self._replies[:, : step + 1]
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()
        return self._replies

    def _start(self, logits: torch.Tensor, position: torch.Tensor) -> None:
        """State after the prompt: the first token chosen, and where the second will lie."""
        self._slot.fill_(self.width)
        self._position.copy_(position)
        self._mask.fill_(-torch.inf)
        self._mask[:, 0, 0, : self.width].masked_fill_(self._prompt_mask, 0.0)
        self._ended.zero_()
        self._count.zero_()
        self._replies.fill_(self._pad)
        self._choose(logits)

    def _choose(self, logits: torch.Tensor) -> None:
        """Choose each row's next token from (n_rows, V) logits; drawing is an argmax over exponential races."""
        logits = logits.float().index_fill(1, self._suppress, -torch.inf)
        if self._temperature:
            chances = torch.softmax(logits / self._temperature, dim=-1)
            logits = chances / self._noise(chances)
        chosen = logits.argmax(-1)
        self._token.copy_(torch.where(self._ended, self._pad, chosen))
        self._ended.logical_or_((chosen[:, None] == self._eos).any(1))
        self._replies.index_copy_(1, self._count, self._token[:, None])
        self._count.add_(1)

    def _noise(self, like: torch.Tensor) -> torch.Tensor:
        """Exponential noise, (n_rows, V); with seeds a hash of seed, step and token."""
        if self._seeds is None:
            return torch.empty_like(like).exponential_()
        return hashed_noise(self._seeds, self._count, like.size(1))

    def _step(self) -> None:
        """Feed the last token of every row and choose the next; everything in place, so that a graph can replay it."""
        language = self._model.model.language_model
        self._mask.index_fill_(3, self._slot, 0.0)
        states = self._model.get_input_embeddings()(self._token)
        rotation = self._rotation(language.rotary_emb, states.dtype)
        for layer, cache in zip(language.layers, self._cache, strict=True):
            states = states + self._attend(layer.self_attn, _normed(layer.input_layernorm, states), rotation, cache)
            states = states + layer.mlp(_normed(layer.post_attention_layernorm, states))
        self._slot.add_(1)
        self._position.add_(1)
        self._choose(self._model.lm_head(_normed(language.norm, states)))

    def _rotation(self, rope: Any, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine of each row's position, (n_rows, 1, d); behind the prompt all three axes have the same."""
        angles = self._position[:, None, None].float() * rope.inv_freq.float()
        cos, sin = angles.cos() * rope.attention_scaling, angles.sin() * rope.attention_scaling
        return torch.cat([cos, cos], -1).to(dtype), torch.cat([-sin, sin], -1).to(dtype)

    def _attend(
        self, module: Any, states: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor], cache: torch.Tensor
    ) -> torch.Tensor:
        """The module's attention for one token a row, (n_rows, hidden); heads that share keys are one call's queries."""
        n_rows, (keys, values) = len(states), cache
        heads, d = keys.size(1), keys.size(3)
        query, key, value = (project(states).view(n_rows, -1, d) for project in (module.q_proj, module.k_proj, module.v_proj))
        cos, sin = rotation
        query, key = (x * cos + x.roll(d // 2, -1) * sin for x in (query, key))
        keys.index_copy_(2, self._slot, key[:, :, None])
        values.index_copy_(2, self._slot, value[:, :, None])
        query = query.view(n_rows, heads, -1, d)
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=self._mask, scale=module.scaling)
        attended: torch.Tensor = module.o_proj(mixed.reshape(n_rows, -1))
        return attended

    def _capture(self) -> None:
        """Record `_step`. It runs a few times before, as CUDA's libraries set themselves up; `_start` undoes what that left."""
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may go on
            self._step()
        self._graph = graph


def seed_words(seeds: Sequence[int]) -> torch.Tensor:
    """Seeds, 0 to 2**64 - 1, as `hashed_noise` takes them: (2, n_rows, 1) int32."""
    return torch.tensor([[_signed(seed >> 32), _signed(seed)] for seed in seeds], dtype=torch.int32).T[..., None]


def hashed_noise(words: torch.Tensor, step: torch.Tensor, n_tokens: int) -> torch.Tensor:
    """Exponential noise, (n_rows, n_tokens), for token `step` (1,) of each reply: a hash of seed, step and token."""
    number = torch.arange(n_tokens, dtype=torch.int32, device=words.device) + step.int() * n_tokens
    bits = _mixed(_mixed(number * _GOLDEN ^ words[0]) ^ words[1])
    uniform = ((bits >> 9 & 0x7FFFFF) * 2 + 1).float() * 2.0**-24  # odd multiples of 2**-24: neither 0 nor 1
    return -uniform.log()


def _normed(module: Any, states: torch.Tensor) -> torch.Tensor:
    """What an RMS norm computes, as one kernel in place of seven."""
    return F.rms_norm(states, states.shape[-1:], module.weight, module.variance_epsilon)


def _signed(word: int) -> int:
    """The low 32 bits as an int32."""
    return (word + 2**31) % 2**32 - 2**31


_GOLDEN, _FIRST, _SECOND = (_signed(word) for word in (0x9E3779B9, 0x85EBCA6B, 0xC2B2AE35))


def _mixed(bits: torch.Tensor) -> torch.Tensor:
    """MurmurHash3's last step on int32: every bit of the input moves every bit of the output."""
    bits = (bits ^ (bits >> 16 & 0xFFFF)) * _FIRST
    bits = (bits ^ (bits >> 13 & 0x7FFFF)) * _SECOND
    return bits ^ (bits >> 16 & 0xFFFF)


def _to_end(tokens: list[int], eos: list[int]) -> list[int]:
    """The tokens up to the first that ends a reply, it included."""
    end = next((i for i, token in enumerate(tokens) if token in eos), len(tokens) - 1)
    return tokens[: end + 1]
