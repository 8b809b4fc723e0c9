"""The positions that Qwen2.5-VL gives the tokens of a prompt with one clip."""

from typing import Any

import torch


def token_positions(
    config: Any, ids: torch.Tensor, mask: torch.Tensor, grids: torch.Tensor, seconds: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Time, row and column of every token, (3, B, T), and the position after the last token, (B,).

    The numbers are those of the model's own `get_rope_index` for rows with one clip each, computed for all rows at once and
    without waiting for the GPU. Padding has position 0.

    config: the model's. ids, mask: (B, T), with padding anywhere. grids: (B, 3), pairs of frames, and rows and columns of
    patches. seconds: (B,) float32, between two pairs of frames.
    """
    real, is_video = mask.bool(), ids == config.video_token_id
    # Counts from 0 of real tokens, and of video tokens. Where the second is still -1, a token lies before the clip.
    order, count = real.cumsum(1) - 1, is_video.cumsum(1) - 1
    start = (real & (count < 0)).sum(1, keepdim=True)
    merge = config.vision_config.spatial_merge_size
    rows, columns = (grids[:, 1:] // merge).unsqueeze(-1).unbind(1)
    # Video tokens run through columns first, then rows, then pairs of frames; time is scaled to the model's ticks per second.
    time = (count // (rows * columns) * (config.vision_config.tokens_per_second * seconds[:, None])).long()
    in_clip = torch.stack([time, count // columns % rows, count % columns])
    n_video = is_video.sum(1, keepdim=True)
    # Text after the clip goes on as if the clip had taken as many positions as its longer side, whatever its duration.
    behind = order - n_video + torch.maximum(rows, columns) * (n_video > 0)
    text = torch.where(count < 0, order, behind)
    positions = torch.where(is_video, start + in_clip, text).masked_fill(~real, 0)
    return positions, positions.amax((0, 2)) + 1
