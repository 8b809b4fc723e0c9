"""Windows of a vision tower attended to in a few large calls instead of one small call each.

Qwen's vision towers attend within windows (Qwen2.5-VL: 8 x 8 patches) and within pairs of frames. With FlashAttention all
windows are one call. Without it, transformers calls scaled_dot_product_attention once a window, in Python: 240 times a layer
for 32 frames of 308 x 476, and the GPU waits (reports/benchmark-diagnose.md). Here windows of equal length form one batch, so
a layer takes as many calls as there are different lengths, at most four for one size of clip.
"""

from itertools import pairwise
from typing import Any

import torch
from transformers import AttentionInterface

_NAME = "flash_like_sdpa"  # transformers hands the windows' borders to implementations whose name contains "flash"


def batch_windows(model: Any) -> None:
    """Let a Qwen vision tower batch its windows. Does nothing to a model without one, or with any attention but SDPA.

    The result is that of transformers' own loop up to rounding, and so is the gradient.
    """
    visual = getattr(getattr(model, "base_model", None), "visual", None)
    if visual is not None and visual.config._attn_implementation == "sdpa":
        AttentionInterface.register(_NAME, _attend)
        visual.config._attn_implementation = _NAME


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
    """(1, heads, n, d) each; cu_seq_lens_q: (n_windows + 1,) borders, 0 to n. Returns (1, n, heads, d)."""
    borders = cu_seq_lens_q.tolist()
    starts: dict[int, list[int]] = {}
    for start, end in pairwise(borders):
        starts.setdefault(end - start, []).append(start)
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # (n, heads, d)
    out = torch.empty_like(query)
    for length, begin in starts.items():
        rows = torch.tensor(begin, device=query.device)[:, None] + torch.arange(length, device=query.device)
        q, k, v = (tensor[rows].transpose(1, 2) for tensor in (query, key, value))  # (windows, heads, length, d)
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        out = out.index_put((rows,), attended.transpose(1, 2))
    return out[None], None
