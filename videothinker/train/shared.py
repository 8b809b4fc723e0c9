"""All replies to a question scored behind one copy of its prompt.

A prompt has hundreds of tokens, most of them the clip's, and a small model's reply has tens. Scored with one row per reply, a
step of 64 questions and 8 replies computes each prompt 8 times. Here one row holds a question:

    | prompt without its last token | last token, reply 1 | last token, reply 2 | ...

Each reply is at the positions that it has alone, and sees only the prompt and itself. The prompt's last token stands before
every reply, because it predicts the reply's first one; a reply's own last token predicts nothing and is left out. So every
token behind the prompt predicts exactly one token, and the numbers are those of one row per reply, up to rounding.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from videothinker.models.text_layers import even_width

_UNSCORED = -100
"""The label of a position that predicts nothing which is scored; PyTorch's and TRL's convention."""
_PROMPT, _NOTHING = 0, -1
"""Owners of a token in a packed row beside the replies, which are counted from 1: the prompt, and padding."""


class SharedPrompts(NamedTuple):
    """B replies packed into one row per question: (Q, W) instead of (B, L)."""

    first: list[int]
    """For each packed row the first reply in it."""
    inputs: dict[str, Any]
    """For the model's forward with TRL's fused head: `input_ids`, `attention_mask`, `position_ids`, `shift_labels`."""
    place: torch.Tensor
    """(B, T): where, in the flattened (Q, W), the prediction of each reply's token is."""
    scored: torch.Tensor
    """(B, T) bool: which tokens belong to a reply; the others are padding behind its end."""

    def unpacked(self, values: torch.Tensor) -> torch.Tensor:
        """What the model has at the packed positions, (Q, W, ...), as (B, T, ...): at the position that predicts each reply's
        token; 0 behind the end of a reply."""
        rows = values.flatten(0, 1).index_select(0, self.place.flatten()).view(*self.place.shape, *values.shape[2:])
        return rows.masked_fill(~self.scored.view(*self.scored.shape, *[1] * (values.dim() - 2)), 0)


def share_prompts(
    ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, n_scored: int, prompts: Sequence[int]
) -> SharedPrompts | None:
    """Pack rows by their prompts; None where that would not make fewer tokens, as where no two rows share a prompt.

    ids, mask: (B, L), prompts padded on the left up to L - n_scored, replies behind them padded on the right. positions:
    (3, B, L). prompts: for each row the number of its prompt; rows with the same number hold the same prompt.
    """
    n_rows, length = ids.shape
    before = length - n_scored - 1  # tokens of a prompt with its padding, without the last one, which each reply repeats
    scored = mask[:, before + 1 :].bool()
    questions = {prompt: q for q, prompt in enumerate(dict.fromkeys(prompts))}
    question = [questions[prompt] for prompt in prompts]
    # Replies lie one behind the other in their question's row. A reply of n tokens takes n places there: the prompt's last
    # token comes before it, and its own last token is left out.
    first, order, start, ends = [0] * len(questions), [0] * n_rows, [0] * n_rows, [before] * len(questions)
    members = [0] * len(questions)
    for row, (q, n) in enumerate(zip(question, scored.sum(1).tolist(), strict=True)):
        if not members[q]:
            first[q] = row
        members[q] += 1
        order[row], start[row], ends[q] = members[q], ends[q], ends[q] + n
    width = even_width(max(ends))
    size = len(questions) * width
    if len(questions) == n_rows or size >= n_rows * length:
        return None
    device = ids.device
    # In the flattened (Q, W) the t-th token of a reply is predicted t places after the reply's start. Padding behind a reply's
    # end would fall into its neighbour, so it is written to one more place behind all rows, which is then cut off.
    at = torch.tensor([q * width + begin for q, begin in zip(question, start, strict=True)]).to(device)
    place = at[:, None] + torch.arange(n_scored, device=device)
    target = place.masked_fill(~scored, size)
    heads = torch.tensor(first).to(device)  # all replies to a question have its prompt: the first one's is taken

    def packed(prompt: torch.Tensor, reply: torch.Tensor, fill: int) -> torch.Tensor:
        """(Q, W) of what stands over the prompts, (Q, before), and over the replies, (B, n_scored)."""
        flat = reply.new_full((size + 1,), fill)
        flat[target] = reply
        rows = flat[:-1].view(-1, width)
        rows[:, :before] = prompt
        return rows

    def fed(values: torch.Tensor) -> torch.Tensor:
        """What the model reads, from (B, L): over replies shifted by one, for a token is read where the next is predicted."""
        return packed(values[heads, :before], values[:, before:-1], 0)

    replies = torch.tensor(order).to(device)[:, None].expand(-1, n_scored)
    real = mask[heads, :before].bool()
    owner = packed(torch.where(real, _PROMPT, _NOTHING), replies, _NOTHING)
    # A token sees what belongs to the prompt or to its own reply and does not come after it. Padding belongs to nobody, but
    # sees padding: a token that sees nothing would be NaN.
    sees = (owner[:, None, :] == _PROMPT) | (owner[:, None, :] == owner[:, :, None])
    inputs = {
        "input_ids": fed(ids),
        "attention_mask": {"full_attention": sees.tril_()[:, None]},
        "position_ids": torch.stack([fed(axis) for axis in positions]),
        "shift_labels": packed(torch.full_like(real, _UNSCORED, dtype=ids.dtype), ids[:, before + 1 :], _UNSCORED),
    }
    return SharedPrompts(first, inputs, place.clamp(max=size - 1), scored)  # clamped: padding may point behind the last row
