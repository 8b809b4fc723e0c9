"""Qwen2.5-VL on packed lessons: one clip a sequence, seen once, and lessons behind it that do not see one another.

The numbers are those that the model computes for one question with its processor's tensors (tests/train/test_packed.py): the
same patches, token ids and positions, all of them taken from the processor and the model once, in `Layout.of`. What differs is
only that what lessons share is computed once, and that all clips have one size:

    clips are drawn where the model is, at the model's size, and cut into patches there;
    the vision tower attends within a pair of frames, so all pairs of all clips are one batch of windows;
    attention is FlexAttention with the lessons' mask on a GPU, SDPA with the same mask elsewhere.
"""

from functools import cache, partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformers import AttentionInterface
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from videothinker.frames import Clip, clip_indices
from videothinker.models.chat import chat
from videothinker.pretrain.lessons import Packed
from videothinker.pretrain.scenes import N_CLIP_FRAMES, Wording
from videothinker.vision import batch_windows
from videothinker.world.table import FPS, N_FRAMES

_WINDOWS, _FLEX = "flash_equal_windows", "packed_flex"


class Layout(NamedTuple):
    """How a checkpoint sees a clip of the world and what stands before it."""

    width: int
    height: int
    """Pixels of the clips; the processor leaves this size as it is."""
    grid: tuple[int, int, int]
    """t pairs of frames, h and w in patches of 14 pixels."""
    beginning: Any
    """(n,) token ids up to the clip's last."""
    clip_start: int
    """Place of the clip's first token in `beginning`."""
    positions: torch.Tensor
    """(3, n): time, row and column of each token of `beginning`."""
    next_position: int
    """Of the first token behind the clip, the same on all three axes."""
    seconds_per_grid: float
    """Time between two pairs of frames, as the processor tells it the model."""

    @classmethod
    def of(cls, model: Any, processor: Any, width: int, height: int) -> "Layout":
        """Ask the processor and the model.

        Raises:
            ValueError: the processor would scale clips of this size.
        """
        clip = blank_clip(width, height)
        inputs = processor(
            text=[chat(processor, "?")],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            return_tensors="pt",
        )
        t, h, w = inputs["video_grid_thw"][0].tolist()
        patch = processor.video_processor.patch_size
        if (h * patch, w * patch) != (height, width):
            raise ValueError(f"the processor makes {w * patch}x{h * patch} of clips of {width}x{height}")
        at = (inputs["input_ids"][0] == model.config.video_token_id).nonzero()[:, 0]
        n = int(at[-1]) + 1
        positions, _ = model.model.get_rope_index(
            inputs["input_ids"],
            mm_token_type_ids=inputs["mm_token_type_ids"],
            video_grid_thw=inputs["video_grid_thw"],
            second_per_grid_ts=inputs["second_per_grid_ts"],
        )
        return cls(
            width=width,
            height=height,
            grid=(t, h, w),
            beginning=inputs["input_ids"][0, :n].numpy(),
            clip_start=int(at[0]),
            positions=positions[:, 0, :n],
            next_position=int(positions[0, 0, n]),
            seconds_per_grid=float(inputs["second_per_grid_ts"][0]),
        )


def blank_clip(width: int, height: int) -> Clip:
    """A clip of the world's length and rate, as `frames.read_clip` returns it."""
    frames = np.zeros((N_CLIP_FRAMES, height, width, 3), np.uint8)
    return Clip(frames, clip_indices(N_FRAMES, N_CLIP_FRAMES), float(FPS), N_FRAMES)


def wording(processor: Any, tokenizer_file: Any) -> Wording:
    """How the checkpoint puts a prompt between clip and reply."""
    _, _, text = chat(processor, "\0").partition(processor.video_token)
    before, _, after = text.partition("\0")
    return Wording(tokenizer_file, before, after)


def patches(frames: torch.Tensor, processor: Any, noise: float = 0.0) -> torch.Tensor:
    """(B, T, 3, H, W) pictures, 0 to 255, as the processor cuts them: (B * t * h * w, 3 * 2 * 14 * 14) float32.

    noise: standard deviation of Gaussian noise, in steps of a pixel's 255: what a film's compression does to pictures.
    """
    video = processor.video_processor
    size, pair, merge = video.patch_size, video.temporal_patch_size, video.merge_size
    n, t, _, height, width = frames.shape
    h, w = height // size, width // size
    mean, std = _normalisation(tuple(video.image_mean), tuple(video.image_std), frames.device)
    pictures = frames.float()
    if noise:
        pictures = pictures + noise * torch.randn_like(pictures)
    cut = ((pictures - mean) / std).reshape(n, t // pair, pair, 3, h // merge, merge, size, w // merge, merge, size)
    return cut.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9).reshape(n * (t // pair) * h * w, -1)


@cache
def _normalisation(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(3, 1, 1) each, once a device: a tensor made from numbers makes a GPU wait."""
    return tuple(torch.tensor(values, device=device)[:, None, None] * 255 for values in (mean, std))  # type: ignore[return-value]


def vision_inputs(model: Any, layout: Layout, n_clips: int) -> dict[str, Any]:
    """All that the vision tower is told about `n_clips` clips beside their patches; the same for every batch.

    It never mixes two pairs of frames, so B clips of t pairs are to it one clip of B * t.
    """
    tower = model.model.visual
    t, h, w = layout.grid
    grid = torch.tensor([[n_clips * t, h, w]])
    window_index, cu_window_seqlens = get_vision_window_index(
        grid, spatial_merge_size=tower.spatial_merge_size, window_size=tower.window_size, patch_size=tower.patch_size
    )
    borders = torch.arange(n_clips * t + 1, dtype=torch.int32) * (h * w)
    tensors = {
        "grid_thw": grid,
        "position_ids": get_vision_position_ids(grid, tower.spatial_merge_size),
        "cu_seqlens": borders,
        "window_index": window_index,
        "cu_window_seqlens": cu_window_seqlens,
    }
    device = next(tower.parameters()).device
    longest = int(cu_window_seqlens.diff().max())
    return {name: value.to(device) for name, value in tensors.items()} | {"max_seqlen": h * w, "max_window_seqlen": longest}


def see(model: Any, patches: torch.Tensor, layout: Layout, inputs: dict[str, Any] | None = None) -> torch.Tensor:
    """(B, n, hidden): what the vision tower makes of B clips' patches, n tokens a clip.

    inputs: `vision_inputs` of B clips, where they are at hand.
    """
    t, h, w = layout.grid
    n_clips = len(patches) // (t * h * w)
    if inputs is None:
        inputs = vision_inputs(model, layout, n_clips)
    seen: torch.Tensor = model.model.visual(patches, **inputs).pooler_output
    return seen.view(n_clips, -1, seen.shape[-1])


class Rows(NamedTuple):
    """`lessons.Packed` as the model takes it, on its device."""

    ids: torch.Tensor
    """(B, L)."""
    lesson: torch.Tensor
    """(B, L) int32."""
    positions: torch.Tensor
    """(3, B, L)."""
    before: torch.Tensor
    """(n,): flat places, each before a token of a reply."""
    targets: torch.Tensor
    """(n,): these tokens; `PADDING` behind the last."""


PADDING = -100
"""A target that does not count."""


def n_targets(n_rows: int, length: int) -> int:
    """To how many targets a training step is padded: half of all tokens, where a fifth is usual."""
    return n_rows * length // 2


def load(packed: Packed, layout: Layout, device: str, n_targets: int | None = None) -> Rows:
    """Bring B sequences of L tokens to the model.

    n_targets: as many targets, the last ones padding.

    Raises:
        ValueError: there are more.
    """
    return Rows(*(values[0] for values in load_steps(packed.reshape(1, -1), layout, device, n_targets)))


def load_steps(packed: Packed, layout: Layout, device: str, n_targets: int | None = None) -> Rows:
    """`load` of S steps at once: (S, B, L) sequences. Every tensor has the steps before its own axes.

    What crosses to a GPU are the six bytes a token that `packed` has, on the current stream; all else is computed there.
    """
    n_replies = [int(np.count_nonzero(replies)) for replies in packed.is_reply]
    room = max(n_replies) if n_targets is None else n_targets
    if max(n_replies) > room:
        raise ValueError(f"{max(n_replies)} tokens of replies where {room} have room")
    # torch computes little with uint16
    ids, offset = (upload(array.view(np.int16), device).long() & 0xFFFF for array in (packed.ids, packed.offset))
    is_reply = upload(packed.is_reply, device).flatten(1)
    n = len(layout.beginning)
    positions = (layout.next_position + offset)[:, None].repeat(1, 3, 1, 1)
    positions[..., :n] = layout.positions.to(device)[:, None]
    nth = is_reply.cumsum(1)
    into = torch.where(is_reply, nth - 1, room)  # what is no reply goes behind the last target, which is cut off
    # Different places before padding: the gradient of many reads of one place is summed one by one.
    before = (torch.arange(room + 1, device=device) - nth[:, -1:]).clamp(min=0)
    before.scatter_(1, into, (torch.arange(into.shape[1], device=device) - 1).expand_as(into))
    targets = torch.full_like(before, PADDING).scatter_(1, into, ids.flatten(1))
    return Rows(ids, upload(packed.lesson, device).int(), positions, before[:, :room], targets[:, :room])


def upload(array: Any, device: str) -> torch.Tensor:
    """An array on the device; to a GPU through pinned memory, so that no one waits for the copy but the current stream."""
    values = torch.from_numpy(np.ascontiguousarray(array))
    return values if device == "cpu" else values.pin_memory().to(device, non_blocking=True)


def dense_mask(lesson: torch.Tensor) -> torch.Tensor:
    """(B, 1, L, L) bool for (B, L) lessons: may a token (row) see another (column)? Earlier ones, shared or of its lesson."""
    mask = (lesson[:, :, None] == lesson[:, None]) | (lesson == 0)[:, None]
    return (mask & torch.ones_like(mask[0]).tril())[:, None]


def block_mask(lesson: torch.Tensor) -> BlockMask:
    """`dense_mask` for FlexAttention, which skips the blocks that are empty.

    A sequence's lessons stand one behind the other, so a block's first and last lesson say which blocks it sees, wholly or in
    part. What `create_block_mask` finds by asking about all pairs of tokens takes longer than a layer.
    """

    def may_see(b: Any, _h: Any, query: Any, key: Any) -> Any:
        return (query >= key) & ((lesson[b, key] == 0) | (lesson[b, key] == lesson[b, query]))

    n, length = lesson.shape
    size = next(size for size in (_BLOCK, length) if length % size == 0)
    ordered = lesson.masked_fill(lesson < 0, _LAST).view(n, -1, size)
    first, last = ordered.amin(-1), ordered.amax(-1)
    q_first, q_last, k_first, k_last = first[..., None], last[..., None], first[:, None], last[:, None]
    earlier = torch.ones(first.shape[1], first.shape[1], dtype=torch.bool, device=lesson.device).tril(-1)
    same = (q_first == q_last) & (k_first == k_last) & (q_first == k_first)
    whole = earlier & ((k_last == 0) | same)
    some = torch.eye(first.shape[1], dtype=torch.bool, device=lesson.device) | (
        earlier & ((k_first == 0) | (k_last >= q_first))
    )
    return BlockMask.from_kv_blocks(*_listed(some & ~whole), *_listed(whole), BLOCK_SIZE=size, mask_mod=may_see)


_BLOCK = 128
"""Tokens a side of FlexAttention's blocks."""
_LAST = 1 << 14
"""More than any lesson's number: what is behind the last lesson."""


def _listed(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, n, n) blocks chosen or not as FlexAttention wants them: how many in a row, and their columns first of all."""
    rows = chosen[:, None].int()
    return rows.sum(-1, dtype=torch.int32), rows.argsort(dim=-1, descending=True, stable=True).int()


def loss(
    model: Any,
    seen: torch.Tensor,
    rows: Rows,
    layout: Layout,
    *,
    flex: bool,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> torch.Tensor:
    """Mean, or sum, over all reply tokens of their negative log-probability, nats; "none": (n,), 0 for padding."""
    logits = reply_logits(model, seen, rows, layout, flex=flex).float()
    return F.cross_entropy(logits, rows.targets, ignore_index=PADDING, reduction=reduction)


def reply_logits(model: Any, seen: torch.Tensor, rows: Rows, layout: Layout, *, flex: bool) -> torch.Tensor:
    """(n, V): what the model predicts for each token of a reply, sequence after sequence.

    seen: (B, tokens, hidden), each sequence's clip.
    """
    start, n = layout.clip_start, len(layout.beginning)
    embedded = model.get_input_embeddings()(rows.ids).to(seen.dtype)
    mask = block_mask(rows.lesson) if flex else dense_mask(rows.lesson)
    hidden = model.model.language_model(
        inputs_embeds=torch.cat([embedded[:, :start], seen, embedded[:, n:]], dim=1),
        position_ids=rows.positions,
        attention_mask={"full_attention": mask},
        use_cache=False,
    ).last_hidden_state
    logits: torch.Tensor = model.lm_head(hidden.flatten(0, 1)[rows.before])
    return logits


def prepare(model: Any, layout: Layout, *, flex: bool, compiled: bool) -> None:
    """Set the model up for `see` and `loss`: attention in few calls a layer, and layers compiled, if wanted."""
    tower = model.model.visual
    config = tower.config
    tower.patch_embed.forward = partial(_embed_patches, tower.patch_embed)
    _, h, w = layout.grid
    if max(h, w) * config.patch_size <= config.window_size:  # a window is a whole picture
        AttentionInterface.register(_WINDOWS, _equal_windows)
        config._attn_implementation = _WINDOWS
        tower.permute_input_for_window_attn = _in_order
    else:
        batch_windows(model)
    if flex:
        AttentionInterface.register(_FLEX, _flex)
        model.model.language_model.config._attn_implementation = _FLEX
    if compiled:
        for layer in (*tower.blocks, *model.model.language_model.layers):
            layer.compile()


def _in_order(tokens: torch.Tensor, _: torch.Tensor, seq_len: int) -> torch.Tensor:
    """What sorting into windows comes to where a window is a whole picture."""
    return tokens


def _embed_patches(module: Any, patches: torch.Tensor) -> torch.Tensor:
    """What the module's convolution computes, whose kernel is as large as a patch: a matrix product, several times as fast."""
    return F.linear(patches.to(module.proj.weight.dtype), module.proj.weight.flatten(1))


def _equal_windows(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    cu_seq_lens_q: torch.Tensor,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """(1, heads, n, d) each, cut into equal windows by (n_windows + 1,) borders. Returns (1, n, heads, d)."""
    n_windows = len(cu_seq_lens_q) - 1
    heads, n, d = query.shape[1:]
    q, k, v = (x[0].view(heads, n_windows, n // n_windows, d).transpose(0, 1) for x in (query, key, value))
    out = F.scaled_dot_product_attention(q, k, v, scale=scaling)
    return out.transpose(1, 2).reshape(1, n, heads, d), None


def _flex(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    *,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """(B, heads, L, d) queries, fewer heads of keys and values. Returns (B, L, heads, d)."""
    query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast the rotation leaves them in float32
    out: Any = flex_attention(query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=True)
    return out.transpose(1, 2).contiguous(), None
