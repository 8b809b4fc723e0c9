"""Vision towers of Qwen models, run in a few large calls instead of many small ones.

Qwen's vision towers attend within windows (Qwen2.5-VL: 8 x 8 patches) and within pairs of frames. With FlashAttention all
windows are one call. Without it, transformers calls scaled_dot_product_attention once per window, in Python: 240 times per
layer for 32 frames of 308 x 476, while the GPU waits (reports/benchmark-diagnose.md). Here windows of equal length form one
batch, so a layer takes as many calls as there are different lengths, at most four for one size of clip.

For Qwen2.5-VL, `see` also works out on the CPU what the tower has to be told about many clips, and shows them all at once.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import AttentionInterface
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

_NAME = "flash_like_sdpa"  # transformers hands the windows' borders to implementations whose name contains "flash"


class SeenClip(NamedTuple):
    """What the vision tower of a Qwen2.5-VL made of one clip."""

    features: torch.Tensor
    """(t * h * w / 4, hidden), on the model's device. Prompts about one clip share it."""
    grid: tuple[int, int, int]
    """t pairs of frames, h and w in patches (a row of `video_grid_thw`)."""
    seconds_per_pair: float
    """Time between two pairs of frames (an entry of `second_per_grid_ts`)."""


def batch_windows(model: Any) -> None:
    """Let a Qwen vision tower batch its windows. A model without one, or with any attention but SDPA, is left as it is.

    The result is that of transformers' own loop up to rounding, and so is the gradient.
    """
    visual = getattr(getattr(model, "base_model", None), "visual", None)
    if visual is not None and visual.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attend)
        visual.config._attn_implementation = _NAME


def quicken_vision(model: Any) -> None:
    """Let the vision tower of a Qwen2.5-VL batch its windows, and embed patches by one matrix product.

    The numbers are the same up to rounding.
    """
    batch_windows(model)
    embed = model.model.visual.patch_embed
    embed.forward = partial(_embed_patches, embed)


def see(
    model: Any, patches: Sequence[torch.Tensor], grids: Sequence[tuple[int, int, int]], seconds: Sequence[float]
) -> list[SeenClip]:
    """Let the vision tower of a Qwen2.5-VL see clips in one call.

    patches: of each clip (t * h * w, 3 * 2 * 14 * 14) on the model's device, `pixel_values_videos` of the processor.
    grids, seconds: of each clip, as in `SeenClip`. Clips of one size that follow one another cost least.
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
@torch.inference_mode(False)  # what is kept here may take part in a backward pass later
def _vision_inputs(
    grids: tuple[tuple[int, int, int], ...], sizes: tuple[int, int, int], device: torch.device, borders_there: bool
) -> dict[str, Any]:
    """What the tower is told besides the patches, worked out on the CPU, where reading a number makes no GPU wait.

    sizes: merged patches per side of a token, window in pixels, patch in pixels. borders_there: whether attention wants the
    borders of windows on the device; the loops around SDPA want numbers.
    """
    # The tower never mixes two pairs of frames, so neighbouring clips of one size are one longer clip to it.
    merged: list[list[int]] = []
    for t, h, w in grids:
        if merged and merged[-1][1:] == [h, w]:
            merged[-1][0] += t
        else:
            merged.append([t, h, w])
    merge, window, patch = sizes
    grid = torch.tensor(merged)
    index, windows = get_vision_window_index(grid, spatial_merge_size=merge, window_size=window, patch_size=patch)
    pairs = torch.repeat_interleave(grid[:, 1] * grid[:, 2], grid[:, 0])  # patches of each pair of frames
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


def _embed_patches(module: Any, patches: torch.Tensor) -> torch.Tensor:
    """What the module's convolution computes: its kernel is as large as a patch, so it is a matrix product."""
    return F.linear(patches.to(module.proj.weight.dtype), module.proj.weight.flatten(1))


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    dropout: float,
    cu_seq_lens_q: torch.Tensor,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within windows, with one call of SDPA for all windows of one length. Returns (1, n, heads, d).

    query, key, value: (1, heads, n, d). cu_seq_lens_q: (n_windows + 1,), the borders of the windows from 0 to n.
    """
    borders = cu_seq_lens_q.tolist()
    starts: dict[int, list[int]] = {}
    for start, end in pairwise(borders):
        starts.setdefault(end - start, []).append(start)
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (n, heads, d)
    out = torch.empty_like(query)
    for length, begin in starts.items():
        # Which tokens the windows of this length hold: (windows, length).
        rows = torch.tensor(begin, device=query.device)[:, None] + torch.arange(length, device=query.device)
        q, k, v = (tensor[rows].transpose(1, 2) for tensor in (query, key, value))  # (windows, heads, length, d)
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        out = out.index_put((rows,), attended.transpose(1, 2))
    return out[None], None
