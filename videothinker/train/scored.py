"""Replies scored with their clips in sight: which of a batch a pass is given, and where it predicts the replies' tokens."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from videothinker.train.clips import NOTHING, ClipTensors, scoring_inputs, showing
from videothinker.train.shared import share_prompts


class Scored(NamedTuple):
    """What TRL reads of a scoring pass, (B, T) each."""

    log_probs: torch.Tensor
    entropy: torch.Tensor | None


def score(
    forward: Callable[..., Any],
    config: Any,
    every: Sequence[ClipTensors],
    slot: torch.Tensor,
    inputs: dict[str, Any],
    *,
    n_scored: int,
    shared_prompts: bool,
) -> Any:
    """What TRL reads of a scoring pass, whose B rows end in replies of at most `n_scored` tokens.

    forward: one pass of the model; takes first what makes (B, T, ...) of values at every position, those where the replies'
    tokens are predicted, then the model's arguments. config: the model's. every: the clips of the batch. slot: (B, 2), for each
    row the number of its clip among them, or `NOTHING`, and that of its prompt. inputs: TRL's arguments to the model.
    shared_prompts: score all replies to a prompt behind one copy of it, where that makes fewer tokens.
    """
    clip_of, prompts = slot.T.tolist()
    given, rows = _only_those_of(clip_of, every)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    seen = scoring_inputs(config, given, rows, ids, mask)
    shared = share_prompts(ids, mask, seen["position_ids"], n_scored, prompts) if shared_prompts else None
    if shared is None:
        with showing(given, rows):
            return forward(partial(_predicting, n_scored=n_scored), **inputs, **seen)
    with showing(given, [rows[reply] for reply in shared.first]):
        found = forward(shared.unpacked, **{**seen, **shared.inputs}, fused_lm_head=True)
    entropy = None if found.entropy is None else shared.unpacked(found.entropy)
    return Scored(shared.unpacked(found.log_probs), entropy)


def _only_those_of(clip_of: Sequence[int], every: Sequence[ClipTensors]) -> tuple[list[ClipTensors], list[int]]:
    """The clips that some row is about, and for each row the index of its own among these."""
    place = {number: i for i, number in enumerate(sorted(set(clip_of) - {NOTHING}))}
    return [every[number] for number in place], [place.get(number, NOTHING) for number in clip_of]


def _predicting(values: torch.Tensor, n_scored: int) -> torch.Tensor:
    """Of (B, L, ...) the positions that predict the last `n_scored` tokens: each is predicted one position before its own."""
    return values[:, -n_scored - 1 : -1]
