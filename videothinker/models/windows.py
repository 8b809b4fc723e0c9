"""Attention within windows for Qwen's vision towers: all windows in one call, or in one call for each length.

transformers hands the borders of windows to every attention implementation whose name contains "flash". Two are registered
here. `BATCHED` lets windows of one length be one batch of scaled_dot_product_attention, on any device and in any precision.
`VARLEN` takes PyTorch's own variable-length FlashAttention, one call for windows of all lengths, where the GPU and the
precision allow it, and is `BATCHED` elsewhere.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import AttentionInterface

varlen_attn: Any
try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # PyTorch before 2.10
    varlen_attn = None

BATCHED = "flash_like_sdpa"
VARLEN = "flash_like_varlen"

_HALF = (torch.bfloat16, torch.float16)


def register() -> None:
    """Make both implementations known to transformers under their names."""
    AttentionInterface.register(BATCHED, attend_in_batches)
    AttentionInterface.register(VARLEN, attend)


def fits(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether variable-length FlashAttention runs there: on NVIDIA GPUs from Ampere on, in bfloat16 or float16."""
    return varlen_attn is not None and device.type == "cuda" and dtype in _HALF and _is_ampere_or_later(device)


@lru_cache
def _is_ampere_or_later(device: torch.device) -> bool:
    """Asked once, for attention asks `fits` in every layer."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def computed_in(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The precision of products of `dtype` on `device`, which autocast may lower."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else dtype


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    dropout: float,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within windows, in one call where that is possible. Returns (1, n, heads, d).

    As `attend_in_batches`. max_length_q: length of the longest window; without it, or with borders that lie on another device,
    windows are batched.
    """
    head = query.shape[-1]
    one_call = (
        max_length_q is not None
        and cu_seq_lens_q.device == query.device
        and dropout == 0
        and head % 8 == 0
        and head <= 256
        and (torch.compiler.is_compiling() or fits(query.device, query.dtype))  # the compiler is only asked where it fits
    )
    if not one_call:
        return attend_in_batches(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, cu_seq_lens_q=cu_seq_lens_q
        )
    query, key, value = (tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value))  # (n, heads, d)
    out = varlen_attn(query, key, value, cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q, scale=scaling)
    return out[None], None


def attend_in_batches(
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
        attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        out = out.index_put((rows,), attended.transpose(1, 2))
    return out[None], None
