"""Several continuations of one prompt in one row, none of which sees another: what they share passes the model once.

    prompt tokens | first continuation | second continuation | ...

A continuation's tokens stand at the positions right behind the prompt, whatever stands between in the row, and see the prompt
and what stands before them in their own continuation. So each gets what it would get alone.
"""

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple

import torch

Ends = Sequence[Sequence[int]]
"""The continuations of one prompt as tokens; none is empty."""
_OF_PROMPT = -1


class Packed(NamedTuple):
    """Where the continuations stand in rows that end with them and are padded on the left; all tensors (rows, width)."""

    end: torch.Tensor
    """Which continuation of its row a token is of; -1 for those of the prompt and for padding."""
    back: torch.Tensor
    """How many positions a token stands before its place in the row."""


def packed(ends: Sequence[Ends], width: int) -> Packed:
    """The places of all continuations, in rows of `width` tokens.

    >>> packed([[[7, 8], [9]]], 5)  # a prompt of two tokens, then 7 8 and 9: the latter stands where 7 does
    Packed(end=tensor([[-1, -1,  0,  0,  1]]), back=tensor([[0, 0, 0, 0, 2]]))
    """
    places, backs = [], []
    for of_row in ends:
        place = [number for number, end in enumerate(of_row) for _ in end]
        back = [sum(map(len, of_row[:number])) for number in place]
        n_before = width - len(place)
        places.append([_OF_PROMPT] * n_before + place)
        backs.append([0] * n_before + back)
    return Packed(torch.tensor(places), torch.tensor(backs))


def additive_mask(is_token: torch.Tensor, end: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What each token sees, (rows, 1, width, before + width): 0 where it does, and else the least number of `dtype`.

    is_token: (rows, before + width), 0 for padding; the first `before` columns are in the cache and of no continuation.
    end: `Packed.end`.
    """
    n_all, width = is_token.size(1), end.size(1)
    columns = torch.arange(n_all, device=is_token.device)
    earlier = columns <= columns[n_all - width :, None]
    of_key = torch.nn.functional.pad(end, (n_all - width, 0), value=_OF_PROMPT)[:, None, :]
    seen = earlier & (is_token[:, None, :] > 0) & ((of_key == _OF_PROMPT) | (of_key == end[:, :, None]))
    mask = torch.zeros(seen.shape, dtype=dtype, device=is_token.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def summed(logprobs: torch.Tensor, ends: Ends) -> list[float]:
    """The sum over each continuation's tokens. logprobs: (tokens of all of them,), in the order of the row."""
    of_token = iter(logprobs.tolist())
    return [fsum(next(of_token) for _ in end) for end in ends]


def sources(ends: Ends) -> list[int]:
    """For each token of the continuations, where what predicts it stands, counted from the prompt's last token, which is 0.

    >>> sources([[7, 8], [9]])  # 7 and 9 follow the prompt, 8 follows 7
    [0, 1, 0]
    """
    found, n_before = [], 0
    for end in ends:
        found += [0, *range(n_before + 1, n_before + len(end))]
        n_before += len(end)
    return found
