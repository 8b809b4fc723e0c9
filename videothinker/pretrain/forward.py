"""Qwen2.5-VL on packed lessons: one clip per sequence, seen once, and lessons behind it that do not see one another.

The numbers are those that the model computes for one question with its processor's tensors (tests/pretrain/test_forward.py):
the same patches, token ids and positions, all taken once from the processor and the model by `Layout.of`. The only difference
is that what lessons share is computed once.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)

from videothinker.pretrain.attention import block_mask, dense_mask, use_flex
from videothinker.pretrain.layout import Layout
from videothinker.pretrain.packing import PackedLessons
from videothinker.pretrain.tower import quicken_tower

PADDING = -100
"""A target that does not count."""


class Sequences(NamedTuple):
    """B packed sequences of L tokens as the model takes them, on its device."""

    ids: torch.Tensor
    """(B, L)."""
    lesson: torch.Tensor
    """(B, L) int32, as in `packing.PackedLessons`."""
    positions: torch.Tensor
    """(3, B, L): time, row and column."""
    before: torch.Tensor
    """(n,): places in the flattened (B * L,) sequences, each of the token before a token of a reply."""
    targets: torch.Tensor
    """(n,): these tokens of replies; `PADDING` behind the last one."""


def n_targets(n_sequences: int, length: int) -> int:
    """To how many targets a training step is padded: half of all tokens, where a fifth is usual."""
    return n_sequences * length // 2


def load(packed: PackedLessons, layout: Layout, device: str, n_targets: int | None = None) -> Sequences:
    """Bring B sequences of L tokens to the model.

    n_targets: the number of targets to pad to; None: as many as there are.

    Raises:
        ValueError: there are more targets than `n_targets`.
    """
    return Sequences(*(values[0] for values in load_steps(packed.reshape(1, -1), layout, device, n_targets)))


def load_steps(packed: PackedLessons, layout: Layout, device: str, n_targets: int | None = None) -> Sequences:
    """`load` for S steps at once: (S, B, L) sequences. Every tensor has an axis of steps before its own axes.

    Only the six bytes per token that `packed` has are copied to a GPU, on the current stream. All else is computed there.
    """
    n_replies = [int(np.count_nonzero(replies)) for replies in packed.is_reply]
    room = max(n_replies) if n_targets is None else n_targets
    if max(n_replies) > room:
        raise ValueError(f"{max(n_replies)} tokens of replies where {room} have room")
    # torch computes little with uint16: the same bits as int16, widened, and the sign that this may have brought masked away.
    ids, offset = (upload(array.view(np.int16), device).long() & 0xFFFF for array in (packed.ids, packed.offset))
    is_reply = upload(packed.is_reply, device).flatten(1)
    n = len(layout.beginning)
    # Every lesson begins at the position after the clip, as if it were alone; text has one position on all three axes.
    positions = (layout.next_position + offset)[:, None].repeat(1, 3, 1, 1)
    positions[..., :n] = layout.positions.to(device)[:, None]
    # From a mask over tokens to a list of targets without asking the GPU how many there are: counting the reply tokens tells
    # each of them its place, and all other tokens go to one place behind the last target, which is cut off.
    nth = is_reply.cumsum(1)
    into = torch.where(is_reply, nth - 1, room)
    # Padding reads different places, from 0 on: the gradient of many reads of one place would be summed one by one.
    before = (torch.arange(room + 1, device=device) - nth[:, -1:]).clamp(min=0)
    before.scatter_(1, into, (torch.arange(into.shape[1], device=device) - 1).expand_as(into))
    targets = torch.full_like(before, PADDING).scatter_(1, into, ids.flatten(1))
    return Sequences(ids, upload(packed.lesson, device).int(), positions, before[:, :room], targets[:, :room])


def upload(array: Any, device: str) -> torch.Tensor:
    """An array on the device; it goes to a GPU through pinned memory, so that only the current stream waits for the copy."""
    values = torch.from_numpy(np.ascontiguousarray(array))
    return values if device == "cpu" else values.pin_memory().to(device, non_blocking=True)


def loss(
    model: Any,
    seen: torch.Tensor,
    sequences: Sequences,
    layout: Layout,
    *,
    flex: bool,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> torch.Tensor:
    """Mean or sum of the negative log-probabilities, in nats, of all reply tokens; with "none" (n,), and 0 for padding.

    seen, flex: as for `reply_logits`.
    """
    logits = reply_logits(model, seen, sequences, layout, flex=flex).float()
    return F.cross_entropy(logits, sequences.targets, ignore_index=PADDING, reduction=reduction)


def reply_logits(model: Any, seen: torch.Tensor, sequences: Sequences, layout: Layout, *, flex: bool) -> torch.Tensor:
    """(n, V): what the model predicts for each token of a reply, sequence after sequence.

    seen: (B, tokens, hidden), the visual tokens of each sequence's clip. flex: whether `prepare` set up FlexAttention.
    """
    start, n = layout.clip_start, len(layout.beginning)
    embedded = model.get_input_embeddings()(sequences.ids).to(seen.dtype)
    mask = block_mask(sequences.lesson) if flex else dense_mask(sequences.lesson)
    hidden = model.model.language_model(
        inputs_embeds=torch.cat([embedded[:, :start], seen, embedded[:, n:]], dim=1),  # the clip takes its tokens' places
        position_ids=sequences.positions,
        attention_mask={"full_attention": mask},
        use_cache=False,
    ).last_hidden_state
    logits: torch.Tensor = model.lm_head(hidden.flatten(0, 1)[sequences.before])
    return logits


def prepare(model: Any, layout: Layout, *, flex: bool, compiled: bool) -> None:
    """Set the model up for `visual_tokens` and `loss`: attention in few calls per layer, and compiled layers if wanted."""
    quicken_tower(model, layout)
    if flex:
        use_flex(model)
    if compiled:
        for layer in (*model.model.visual.blocks, *model.model.language_model.layers):
            layer.compile()
