# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""What a decoder's layer does between its matrix products, as Triton kernels: one token for each of some replies.

A reply's row of the cache has empty columns in front of its prompt and behind its last token:

    column   0 ... first[row] - 1    first[row] ... last       last + 1 ... length - 1
             nothing                 prompt and reply so far   room for the rest

`last` is the same for all rows, for prompts are moved to the right until they end side by side. Both numbers are read on the
GPU, so that one captured graph serves every length: it launches kernels for the whole cache, whose programs return at once
where nothing is written. PyTorch's attention reads all columns and masks them, with one program for each row and key head,
which leaves most of a GPU idle.

Importing this module needs Triton. With TRITON_INTERPRET=1 in the environment before that, the kernels run on a CPU.
"""

import math

import torch
import triton
import triton.language as tl

_BLOCK = 64
"""Columns that a program reads at a time; every share is a multiple of it."""

_MOST_PARTS, _PROGRAMS = 64, 2048
"""Parts that are still put together at once; programs beyond which more would not keep a GPU any busier."""


def columns_a_share(length: int, n_pairs: int) -> int:
    """Columns that one program reads, 64 times a power of 2, of a cache of `length` for `n_pairs` of row and key head."""
    share = _BLOCK
    while (n_parts := -(-length // share)) > _MOST_PARTS or (n_parts > 1 and n_parts * n_pairs > _PROGRAMS):
        share *= 2
    return share


def attend_filled(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    first: torch.Tensor,
    last: torch.Tensor,
    *,
    scale: float,
    share: int | None = None,
) -> torch.Tensor:
    """What one token of each row attends to, (n_rows, heads * d), among the columns `first` to `last` of its row.

    query: (n_rows, heads, d), heads a multiple of the key heads. keys, values: (n_rows, key heads, length, d), laid out in this
    order. first: (n_rows,), last: (1,), integers with first <= last < length. scale: of the scores before their softmax.
    share: columns of one program, a multiple of 64; None lets the shape decide.

    Columns are shared out among programs, each of which keeps a softmax of its own part (Milakov and Gimelshein, Online
    normalizer calculation for softmax; the way of Flash-Decoding). A second kernel puts the parts together.
    """
    n_rows, n_heads, d = query.shape
    n_key_heads, length = keys.shape[1:3]
    share = share or columns_a_share(length, n_rows * n_key_heads)
    n_parts, group = -(-length // share), n_heads // n_key_heads
    parts = query.new_empty(n_rows, n_heads, n_parts, d, dtype=torch.float32)
    tops, sums = query.new_empty(2, n_rows, n_heads, n_parts, dtype=torch.float32)
    found = query.new_empty(n_rows, n_heads * d)
    _attend_part[(n_rows * n_key_heads, n_parts)](
        query.contiguous(),
        keys,
        values,
        first,
        last,
        parts,
        tops,
        sums,
        scale * math.log2(math.e),
        n_key_heads,
        length,
        n_parts,
        GROUP=group,
        PADDED=max(16, triton.next_power_of_2(group)),  # a matrix product takes at least 16 rows
        D=d,
        SHARE=share,
        BLOCK=_BLOCK,
    )
    _join_parts[(n_rows * n_heads,)](
        parts,
        tops,
        sums,
        first,
        last,
        found,
        n_heads,
        n_parts,
        D=d,
        SHARE=share,
        PARTS=triton.next_power_of_2(n_parts),
    )
    return found


@triton.jit
def _attend_part(
    query,
    keys,
    values,
    first,
    last,
    parts,
    tops,
    sums,
    scale,
    n_key_heads,
    length,
    n_parts,
    GROUP: tl.constexpr,  # noqa: N803 (constants of a kernel are written so)
    PADDED: tl.constexpr,  # noqa: N803
    D: tl.constexpr,  # noqa: N803
    SHARE: tl.constexpr,  # noqa: N803
    BLOCK: tl.constexpr,  # noqa: N803
):
    """One share of columns for the query heads of one row and key head. `scale` is for powers of 2."""
    pair = tl.program_id(0)
    part = tl.program_id(1)
    begin = tl.load(first + pair // n_key_heads).to(tl.int32)
    end = tl.load(last).to(tl.int32) + 1
    # From the block that holds the first column, so that no block is without a column that is seen.
    start = tl.maximum(part * SHARE, begin // BLOCK * BLOCK)
    stop = tl.minimum(part * SHARE + SHARE, end)
    if start < stop:
        head = tl.arange(0, PADDED)
        d = tl.arange(0, D)
        real = head < GROUP
        asked = tl.load(query + (pair * GROUP + head[:, None]) * D + d[None, :], mask=real[:, None], other=0.0)
        at = pair.to(tl.int64) * length * D
        top = tl.full((PADDED,), float("-inf"), tl.float32)
        total = tl.zeros((PADDED,), tl.float32)
        found = tl.zeros((PADDED, D), tl.float32)
        for block in range(start, stop, BLOCK):
            column = block + tl.arange(0, BLOCK)
            seen = (column >= begin) & (column < end)
            key = tl.load(keys + at + column[None, :] * D + d[:, None], mask=seen[None, :], other=0.0)
            value = tl.load(values + at + column[:, None] * D + d[None, :], mask=seen[:, None], other=0.0)
            scores = tl.where(seen[None, :], tl.dot(asked, key, input_precision="ieee") * scale, float("-inf"))
            highest = tl.maximum(top, tl.max(scores, 1))
            kept = tl.exp2(top - highest)
            weights = tl.exp2(scores - highest[:, None])
            total = total * kept + tl.sum(weights, 1)
            found = found * kept[:, None] + tl.dot(weights.to(value.dtype), value, input_precision="ieee")
            top = highest
        place = (pair * GROUP + head).to(tl.int64) * n_parts + part
        tl.store(parts + place[:, None] * D + d[None, :], found, mask=real[:, None])
        tl.store(tops + place, top, mask=real)
        tl.store(sums + place, total, mask=real)


@triton.jit
def _join_parts(
    parts,
    tops,
    sums,
    first,
    last,
    found,
    n_heads,
    n_parts,
    D: tl.constexpr,  # noqa: N803
    SHARE: tl.constexpr,  # noqa: N803
    PARTS: tl.constexpr,  # noqa: N803
):
    """One query head of one row, from the parts that were written."""
    head = tl.program_id(0)
    begin = tl.load(first + head // n_heads).to(tl.int32) // SHARE
    end = tl.load(last).to(tl.int32) // SHARE
    part = tl.arange(0, PARTS)
    d = tl.arange(0, D)
    written = (part >= begin) & (part <= end)
    place = head.to(tl.int64) * n_parts + part
    top = tl.load(tops + place, mask=written, other=float("-inf"))
    weight = tl.exp2(top - tl.max(top, 0))
    total = tl.sum(weight * tl.load(sums + place, mask=written, other=0.0), 0)
    each = tl.load(parts + place[:, None] * D + d[None, :], mask=written[:, None], other=0.0)
    joined = tl.sum(each * weight[:, None], 0) / total
    tl.store(found + head.to(tl.int64) * D + d, joined.to(found.dtype.element_ty))


def turn_and_write(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    turned: tuple[torch.Tensor, torch.Tensor],
    keys: torch.Tensor,
    values: torch.Tensor,
    last: torch.Tensor,
) -> torch.Tensor:
    """The rotated queries, (n_rows, heads, d); rotated keys and the values are written into column `last` of the cache.

    query: (n_rows, heads * d). key, value: (n_rows, key heads * d). Rows of all three may have any stride. turned:
    `text_layers.rotation`, (n_rows, 1, d) both. keys, values: as in `attend_filled`.
    """
    n_key_heads, length, d = keys.shape[1:]
    n_heads = query.size(1) // d
    out = query.new_empty(len(query), n_heads, d)
    _turn_and_write[(len(query), n_heads + 2 * n_key_heads)](
        query,
        key,
        value,
        *turned,
        keys,
        values,
        last,
        out,
        query.stride(0),
        key.stride(0),
        value.stride(0),
        n_heads,
        n_key_heads,
        length,
        D=d,
        num_warps=1,
    )
    return out


@triton.jit
def _turn_and_write(
    query,
    key,
    value,
    cos,
    sin,
    keys,
    values,
    last,
    out,
    query_stride,
    key_stride,
    value_stride,
    n_heads,
    n_key_heads,
    length,
    D: tl.constexpr,  # noqa: N803
):
    """One head of one row: the query heads come first, then the key heads, then the values'."""
    row = tl.program_id(0)
    head = tl.program_id(1)
    d = tl.arange(0, D)
    if head < n_heads + n_key_heads:
        if head < n_heads:
            source = query + row * query_stride + head * D
            into = out + (row * n_heads + head) * D
        else:
            source = key + row * key_stride + (head - n_heads) * D
            into = keys + ((row * n_key_heads + head - n_heads).to(tl.int64) * length + tl.load(last)) * D
        x = tl.load(source + d).to(tl.float32)
        rolled = tl.load(source + (d + D // 2) % D).to(tl.float32)
        x = x * tl.load(cos + row * D + d).to(tl.float32) + rolled * tl.load(sin + row * D + d).to(tl.float32)
        tl.store(into + d, x.to(out.dtype.element_ty))
    else:
        number = head - n_heads - n_key_heads
        into = values + ((row * n_key_heads + number).to(tl.int64) * length + tl.load(last)) * D
        tl.store(into + d, tl.load(value + row * value_stride + number * D + d))


def add_and_norm(
    states: torch.Tensor, more: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`states + more` and its RMS norm, (n_rows, hidden) all."""
    n_rows, hidden = states.shape
    added, normed = torch.empty_like(states), torch.empty_like(states)
    block = triton.next_power_of_2(hidden)
    _add_and_norm[(n_rows,)](
        states, more, weight, added, normed, epsilon, hidden, BLOCK=block, num_warps=max(1, min(8, block // 256))
    )
    return added, normed


@triton.jit
def _add_and_norm(
    states,
    more,
    weight,
    added,
    normed,
    epsilon,
    hidden,
    BLOCK: tl.constexpr,  # noqa: N803
):
    """One row. The sum is rounded before its norm is taken, as if the two were computed one after the other."""
    at = tl.program_id(0).to(tl.int64) * hidden
    i = tl.arange(0, BLOCK)
    real = i < hidden
    one = tl.load(states + at + i, mask=real, other=0.0).to(tl.float32)
    other = tl.load(more + at + i, mask=real, other=0.0).to(tl.float32)
    summed = (one + other).to(added.dtype.element_ty)
    tl.store(added + at + i, summed, mask=real)
    wide = summed.to(tl.float32)
    size = tl.rsqrt(tl.sum(wide * wide, 0) / hidden + epsilon)
    scaled = wide * size * tl.load(weight + i, mask=real, other=0.0).to(tl.float32)
    tl.store(normed + at + i, scaled.to(normed.dtype.element_ty), mask=real)


def gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """`silu(gate) * up`, elementwise, of (n_rows, size) both, with rows at any stride."""
    n_rows, size = gate.shape
    out = gate.new_empty(n_rows, size)
    _gated[(n_rows, triton.cdiv(size, 1024))](gate, up, out, gate.stride(0), up.stride(0), size, BLOCK=1024)
    return out


@triton.jit
def _gated(
    gate,
    up,
    out,
    gate_stride,
    up_stride,
    size,
    BLOCK: tl.constexpr,  # noqa: N803
):
    row = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = i < size
    x = tl.load(gate + row * gate_stride + i, mask=real, other=0.0).to(tl.float32)
    y = x * tl.sigmoid(x) * tl.load(up + row * up_stride + i, mask=real, other=0.0).to(tl.float32)
    tl.store(out + row * size + i, y.to(out.dtype.element_ty), mask=real)
