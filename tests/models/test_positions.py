"""Positions of tokens are those that the model computes, wherever the padding is."""

from typing import Any

import torch
from models.prompts import padded

from videothinker.models.positions import token_positions
from videothinker.train.clips import Encoded


def test_positions_are_the_models_own(model: Any, encoded: Encoded) -> None:
    ids, mask = padded(encoded)
    tail = torch.ones(len(ids), 5, dtype=torch.long)
    ids = torch.cat([ids, 7 * tail], 1)
    mask = torch.cat([mask, tail.tril_(3)], 1)  # padding on the right too
    clips = [encoded.clips[row] for row in encoded.rows]
    grids, seconds = torch.tensor([clip.grid for clip in clips]), torch.tensor([clip.seconds_per_pair for clip in clips])
    theirs, deltas = model.model.get_rope_index(
        ids,
        mm_token_type_ids=2 * (ids == model.config.video_token_id).int(),
        video_grid_thw=grids,
        second_per_grid_ts=seconds,
        attention_mask=mask,
    )
    ours, following = token_positions(model.config, ids, mask, grids, seconds)
    assert torch.equal(ours, theirs)
    assert torch.equal(following, mask.sum(1) + deltas[:, 0])
