"""Drawn clips through Qwen2.5-VL's vision tower: all clips have one size, so all pairs of frames are one batch of windows.

What is computed is what the model computes from its processor's tensors (tests/pretrain/test_forward.py).
"""

from functools import cache
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import AttentionInterface
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from videothinker.models.vision import quicken_vision
from videothinker.pretrain.layout import Layout

_WINDOWS = "flash_equal_windows"  # transformers hands the windows' borders to implementations whose name contains "flash"


def patches(frames: torch.Tensor, processor: Any, noise: float = 0.0) -> torch.Tensor:
    """Cut (B, T, 3, H, W) pictures, 0 to 255, as the processor does: (B * t * h * w, 3 * 2 * 14 * 14) float32.

    noise: standard deviation of Gaussian noise on a pixel's scale of 255; a film's compression does about that to pictures.
    """
    video = processor.video_processor
    size, pair, merge = video.patch_size, video.temporal_patch_size, video.merge_size
    n, t, _, height, width = frames.shape
    h, w = height // size, width // size
    mean, std = _normalisation(tuple(video.image_mean), tuple(video.image_std), frames.device)
    pictures = frames.float()
    if noise:
        pictures = pictures + noise * torch.randn_like(pictures)
    # Split time into pairs, and rows and columns into (squares of `merge` x `merge` patches, patches of a square, pixels):
    # axes 0 clip, 1 pair, 2 frame, 3 colour, 4 square's row, 5 patch's row, 6 pixel's row, 7 to 9 the same of columns.
    cut = ((pictures - mean) / std).reshape(n, t // pair, pair, 3, h // merge, merge, size, w // merge, merge, size)
    # The patches of a square follow one another, since the tower merges them into one token. Within a patch the order is
    # colour, frame, row, column, that of the weights of the tower's convolution.
    return cut.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9).reshape(n * (t // pair) * h * w, -1)


@cache
def _normalisation(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation, (3, 1, 1) each, made once per device: a tensor made from numbers makes a GPU wait."""
    return tuple(torch.tensor(values, device=device)[:, None, None] * 255 for values in (mean, std))  # type: ignore[return-value]


def tower_inputs(model: Any, layout: Layout, n_clips: int) -> dict[str, Any]:
    """All that the vision tower is told about `n_clips` clips beside their patches; it is the same for every batch.

    The tower never mixes two pairs of frames, so B clips of t pairs are to it one clip of B * t pairs.
    """
    tower = model.model.visual
    t, h, w = layout.grid
    grid = torch.tensor([[n_clips * t, h, w]])
    window_index, cu_window_seqlens = get_vision_window_index(
        grid, spatial_merge_size=tower.spatial_merge_size, window_size=tower.window_size, patch_size=tower.patch_size
    )
    borders = torch.arange(n_clips * t + 1, dtype=torch.int32) * (h * w)  # where each pair's patches begin and end
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


def visual_tokens(model: Any, patches: torch.Tensor, layout: Layout, inputs: dict[str, Any] | None = None) -> torch.Tensor:
    """(B, n, hidden): what the vision tower makes of the patches of B clips, n tokens per clip.

    inputs: `tower_inputs` for B clips, if they are at hand.
    """
    t, h, w = layout.grid
    n_clips = len(patches) // (t * h * w)
    if inputs is None:
        inputs = tower_inputs(model, layout, n_clips)
    seen: torch.Tensor = model.model.visual(patches, **inputs).pooler_output
    return seen.view(n_clips, -1, seen.shape[-1])


def one_window(model: Any, layout: Layout) -> bool:
    """Whether a window of the tower's attention is a whole picture. Otherwise each pass asks the GPU where windows end."""
    tower = model.model.visual
    _, h, w = layout.grid
    return bool(max(h, w) * tower.config.patch_size <= tower.config.window_size)


def quicken_tower(model: Any, layout: Layout) -> None:
    """Let the tower attend in few calls per layer and embed patches by one matrix product."""
    quicken_vision(model)
    tower = model.model.visual
    if one_window(model, layout):
        AttentionInterface.register(_WINDOWS, _equal_windows)
        tower.config._attn_implementation = _WINDOWS
        tower.permute_input_for_window_attn = _in_order


def _in_order(tokens: torch.Tensor, _: torch.Tensor, seq_len: int) -> torch.Tensor:
    """Leave tokens as they are: sorting them into windows changes nothing where a window is a whole picture."""
    return tokens


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
    """Attention within equal windows of (1, heads, n, d), given their (n_windows + 1,) borders; returns (1, n, heads, d)."""
    n_windows = len(cu_seq_lens_q) - 1
    heads, n, d = query.shape[1:]
    # Windows of one length follow one another along n, so a view makes them the batch: (n_windows, heads, n / n_windows, d).
    q, k, v = (x[0].view(heads, n_windows, n // n_windows, d).transpose(0, 1) for x in (query, key, value))
    out = F.scaled_dot_product_attention(q, k, v, scale=scaling)
    return out.transpose(1, 2).reshape(1, n, heads, d), None
