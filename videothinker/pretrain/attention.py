"""Which tokens of a packed sequence see one another: the mask for SDPA, and the same mask for FlexAttention."""

from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from transformers import AttentionInterface

_FLEX = "packed_flex"
_BLOCK = 128
"""Side, in tokens, of FlexAttention's blocks."""
_LAST = 1 << 14
"""A number above that of any lesson, for what is behind the last one."""


def dense_mask(lesson: torch.Tensor) -> torch.Tensor:
    """(B, 1, L, L) bool for (B, L) lessons, as in `packing.PackedLessons`: may a token (row) see another one (column)?

    It sees earlier tokens, if they are of the shared beginning (lesson 0) or of its own lesson.
    """
    mask = (lesson[:, :, None] == lesson[:, None]) | (lesson == 0)[:, None]
    return (mask & torch.ones_like(mask[0]).tril())[:, None]


def block_mask(lesson: torch.Tensor) -> BlockMask:
    """`dense_mask` for FlexAttention, which skips the blocks in which no token sees another one.

    The lessons of a sequence follow one another, so the first and last lesson of two blocks say whether one sees the other,
    wholly or in part. `create_block_mask` finds the same by asking about all pairs of tokens, which takes longer than a layer.
    """

    def may_see(b: Any, _h: Any, query: Any, key: Any) -> Any:
        return (query >= key) & ((lesson[b, key] == 0) | (lesson[b, key] == lesson[b, query]))

    n, length = lesson.shape
    size = next(size for size in (_BLOCK, length) if length % size == 0)  # one block of all, if they do not divide it
    # Padding is lesson -1, but stands last: a large number makes lessons grow along the sequence, so that a block's range of
    # lessons is from its first to its last.
    ordered = lesson.masked_fill(lesson < 0, _LAST).view(n, -1, size)
    first, last = ordered.amin(-1), ordered.amax(-1)
    # (B, blocks of queries, 1) and (B, 1, blocks of keys), to compare each with each.
    q_first, q_last, k_first, k_last = first[..., None], last[..., None], first[:, None], last[:, None]
    earlier = torch.ones(first.shape[1], first.shape[1], dtype=torch.bool, device=lesson.device).tril(-1)
    same = (q_first == q_last) & (k_first == k_last) & (q_first == k_first)
    # An earlier block is seen by all tokens if it is all shared, or if both blocks are of one and the same lesson.
    whole = earlier & ((k_last == 0) | same)
    # It is seen in part if some of it is shared, or if its last lesson goes on into the block of queries. A block always sees
    # part of itself.
    some = torch.eye(first.shape[1], dtype=torch.bool, device=lesson.device) | (
        earlier & ((k_first == 0) | (k_last >= q_first))
    )
    return BlockMask.from_kv_blocks(*_listed(some & ~whole), *_listed(whole), BLOCK_SIZE=size, mask_mod=may_see)


def _listed(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """List (B, n, n) chosen blocks as FlexAttention wants them: how many per row, and their columns before all others.

    Sorting each row by whether a block is chosen, in a stable way, gives the columns in ascending order.
    """
    rows = chosen[:, None].int()
    return rows.sum(-1, dtype=torch.int32), rows.argsort(dim=-1, descending=True, stable=True).int()


def use_flex(model: Any) -> None:
    """Let the language model attend by FlexAttention; its attention mask is then a `block_mask`."""
    AttentionInterface.register(_FLEX, _flex)
    model.model.language_model.config._attn_implementation = _FLEX


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
    """Attention of (B, heads, L, d) queries to fewer heads of keys and values; returns (B, L, heads, d)."""
    query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast the rotation leaves them in float32
    out: Any = flex_attention(query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=True)
    return out.transpose(1, 2).contiguous(), None
