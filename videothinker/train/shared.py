"""All replies to a question scored behind one copy of its prompt.

A prompt is some hundred tokens, most of them the clip's, a reply some ten: scored one row a reply, a step of 64 questions and 8
replies computes each prompt 8 times. Here a row is a question,

    | prompt without its last token | last token, reply 1 | last token, reply 2 | ...

each reply at the positions it has alone, seeing the prompt and itself. The prompt's last token stands once before every reply,
because it predicts the reply's first one; a reply's own last token predicts nothing and is left out. So every token behind the
prompt predicts exactly one, and the numbers are those of one row a reply, up to rounding.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

_UNSCORED = -100
_PROMPT, _NOTHING = 0, -1


class Shared(NamedTuple):
    """Replies packed a row a question: (Q, W) instead of (B, L)."""

    first: list[int]
    """Of each row the first reply that is in it."""
    inputs: dict[str, Any]
    """For the model's forward with TRL's fused head: `input_ids`, `attention_mask`, `position_ids`, `shift_labels`."""
    place: torch.Tensor
    """(B, T): where, in the flattened (Q, W), the prediction of each reply's token is."""
    scored: torch.Tensor
    """(B, T) bool: which tokens are a reply's."""

    def unpacked(self, values: torch.Tensor) -> torch.Tensor:
        """(Q, W, ...) as (B, T, ...); 0 behind the end of a reply."""
        rows = values.flatten(0, 1).index_select(0, self.place.flatten()).view(*self.place.shape, *values.shape[2:])
        return rows.masked_fill(~self.scored.view(*self.scored.shape, *[1] * (values.dim() - 2)), 0)


def share_prompts(
    ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, n_scored: int, prompts: Sequence[int]
) -> Shared | None:
    """Pack rows by their prompts; None where that makes no fewer tokens, as where no two rows have one prompt.

    ids, mask: (B, L), prompts padded on the left up to L - n_scored, replies behind them padded on the right. positions:
    (3, B, L). prompts: of each row its prompt's number; rows of one number hold the same prompt.
    """
    n_rows, length = ids.shape
    before = length - n_scored - 1  # the prompt without its last token
    scored = mask[:, before + 1 :].bool()
    questions = {prompt: q for q, prompt in enumerate(dict.fromkeys(prompts))}
    question = [questions[prompt] for prompt in prompts]
    first, order, start, ends = [0] * len(questions), [0] * n_rows, [0] * n_rows, [before] * len(questions)
    members = [0] * len(questions)
    for row, (q, n) in enumerate(zip(question, scored.sum(1).tolist(), strict=True)):
        if not members[q]:
            first[q] = row
        members[q] += 1
        order[row], start[row], ends[q] = members[q], ends[q], ends[q] + n
    width = -(-max(ends) // 8) * 8  # SDPA would copy a mask of uneven width at every call
    size = len(questions) * width
    if len(questions) == n_rows or size >= n_rows * length:
        return None
    device = ids.device
    at = torch.tensor([q * width + begin for q, begin in zip(question, start, strict=True)]).to(device)
    place = at[:, None] + torch.arange(n_scored, device=device)
    target = place.masked_fill(~scored, size)  # a place behind all, where tokens that are none go
    heads = torch.tensor(first).to(device)

    def packed(prompt: torch.Tensor, reply: torch.Tensor, fill: int) -> torch.Tensor:
        flat = reply.new_full((size + 1,), fill)
        flat[target] = reply
        rows = flat[:-1].view(-1, width)
        rows[:, :before] = prompt
        return rows

    def fed(values: torch.Tensor) -> torch.Tensor:
        return packed(values[heads, :before], values[:, before:-1], 0)

    replies = torch.tensor(order).to(device)[:, None].expand(-1, n_scored)
    real = mask[heads, :before].bool()
    owner = packed(torch.where(real, _PROMPT, _NOTHING), replies, _NOTHING)
    sees = (owner[:, None, :] == _PROMPT) | (owner[:, None, :] == owner[:, :, None])
    inputs = {
        "input_ids": fed(ids),
        "attention_mask": {"full_attention": sees.tril_()[:, None]},
        "position_ids": torch.stack([fed(axis) for axis in positions]),
        "shift_labels": packed(torch.full_like(real, _UNSCORED, dtype=ids.dtype), ids[:, before + 1 :], _UNSCORED),
    }
    return Shared(first, inputs, place.clamp(max=size - 1), scored)
