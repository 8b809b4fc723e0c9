"""The positions of the tokens of a prompt with clips and images, by either rule of `text_positions`.

    follow(model, TextPositions.ORIGINAL)                       # whatever runs the model now takes these positions
    positions, after = token_positions(model.config, ids, mask, grids, seconds, rule_of(model.config))

All that computes positions here, in diagnosis, roll-outs, scoring and pretraining, calls `token_positions`.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from videothinker.errors import VtError
from videothinker.models.text_positions import AFFECTED, FIELD, TextPositions

_IMAGE, _VIDEO = 1, 2
"""How `mm_token_type_ids` marks tokens of images and clips; text is 0."""


def token_positions(
    config: Any, ids: torch.Tensor, mask: torch.Tensor, grids: torch.Tensor, seconds: torch.Tensor, rule: TextPositions
) -> tuple[torch.Tensor, torch.Tensor]:
    """Time, row and column of every token, (3, B, T), and the position after the last token, (B,).

    Text has one position on all three axes and counts on from what stands before it. A block, which is a clip or an image, of
    t x h x w merged patches that begins at position s has at patch (i, j, k)

        (s + floor(i * ticks * seconds), s + j, s + k)        ticks = 2 a second for Qwen2.5-VL, 1 a pair for Qwen2-VL

    and the text behind it goes on at

        original        1 + the largest position of the block on any axis = s + max(floor((t - 1) * ticks * seconds) + 1, h, w)
        transformers    s + max(h, w)

    (Qwen2.5-VL, arXiv 2502.13923, section 2.1, and its code in transformers 4.49 to 5.2; the second is `get_rope_index` of 5.3
    and later.) Padding has position 0. Everything is computed for all rows at once and without waiting for a GPU.

    config: the model's. ids, mask: (B, T), with padding anywhere. grids: (B, K, 3): of a row's K blocks in their order in the
    prompt, pairs of frames, and rows and columns of patches; zeros fill up rows with fewer. seconds: (B, K) float32, between
    two pairs of frames; an image has one pair, so that any number will do.
    """
    merge = config.vision_config.spatial_merge_size
    ticks = getattr(config.vision_config, "tokens_per_second", 1)
    real = mask.bool()
    is_seen = ((ids == config.video_token_id) | (ids == config.image_token_id)) & real
    # How many real tokens, and how many tokens of blocks, stand before each token.
    order, n_before = real.cumsum(1) - 1, is_seen.cumsum(1) - is_seen.long()
    shift = torch.zeros_like(order)  # what the blocks before a token add to its position beyond their number of tokens
    offset = torch.zeros_like(order).repeat(3, 1, 1)  # of a block's token from the block's first position
    local = torch.zeros_like(order)
    end = torch.zeros_like(order[:, :1])
    for block, step in zip(grids.unbind(1), (ticks * seconds).unbind(1), strict=True):
        pairs, rows, columns = block[:, :1], block[:, 1:2] // merge, block[:, 2:] // merge
        start, end = end, end + pairs * rows * columns
        within = n_before - start
        inside = is_seen & (within >= 0) & (n_before < end)
        # A block's tokens run through columns first, then rows, then pairs of frames. The least divisor is for filled-up rows.
        row, per_pair = columns.clamp(min=1), (rows * columns).clamp(min=1)
        time = (within // per_pair * step[:, None]).long()
        place = torch.stack([time, within // row % rows.clamp(min=1), within % row])
        offset = torch.where(inside, place, offset)
        local = torch.where(inside, within, local)
        extent = torch.maximum(rows, columns)
        if rule is TextPositions.ORIGINAL:
            last = ((pairs - 1).clamp(min=0) * step[:, None]).long()
            extent = torch.maximum(extent, last + (pairs > 0))
        shift = shift + (n_before >= end) * (extent - (end - start))
    positions = (order - local + shift + offset).masked_fill(~real, 0)
    return positions, positions.amax((0, 2)) + 1


def rule_of(config: Any) -> TextPositions:
    """The rule by which a model of this configuration is run."""
    return TextPositions(getattr(config, FIELD, TextPositions.ORIGINAL))


def follow(model: Any, rule: TextPositions) -> None:
    """Let a model take its positions by a rule wherever it computes them itself, in `forward` and `generate`, cached or not.

    transformers asks `get_rope_index` for the positions of a prompt and for what to add to a later token's place; it is
    replaced. The configuration then says the rule, and is saved with the model. A model for which both rules are the same is
    left as it is.
    """
    if model.config.model_type in AFFECTED:
        setattr(model.config, FIELD, rule.value)
        model.model.get_rope_index = partial(_rope_index, model.config)


def _rope_index(
    config: Any,
    input_ids: torch.Tensor,
    mm_token_type_ids: torch.Tensor,
    image_grid_thw: torch.Tensor | None = None,
    video_grid_thw: torch.Tensor | None = None,
    second_per_grid_ts: Any = None,
    attention_mask: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model's own method of this name returns: positions (3, B, T), and (B, 1) how far the next token's position is
    ahead of the number of tokens."""
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    videos = [] if video_grid_thw is None else video_grid_thw.tolist()
    seconds = [1.0] * len(videos) if second_per_grid_ts is None else [float(each) for each in second_per_grid_ts]
    images = [] if image_grid_thw is None else image_grid_thw.tolist()
    coming = {_IMAGE: iter([(grid, 0.0) for grid in images]), _VIDEO: iter(list(zip(videos, seconds, strict=True)))}
    merge = config.vision_config.spatial_merge_size
    kinds = (mm_token_type_ids * mask).tolist()
    blocks = [list(_blocks([kind for kind in row if kind], coming, merge)) for row in kinds]
    width = max(1, *map(len, blocks))
    filled = [row + [([0, 0, 0], 0.0)] * (width - len(row)) for row in blocks]
    device = input_ids.device
    grids = torch.tensor([[grid for grid, _ in row] for row in filled], device=device)
    times = torch.tensor([[time for _, time in row] for row in filled], device=device)
    positions, after = token_positions(config, input_ids, mask, grids, times, rule_of(config))
    return positions, (after - mask.sum(1))[:, None]


def _blocks(kinds: list[int], coming: dict[int, Iterator[tuple[list[int], float]]], merge: int) -> Iterator[Any]:
    """The grids and seconds of a row's blocks. kinds: what each token that is no text belongs to, an image or a clip."""
    while kinds:
        found = next(coming[kinds[0]], None)
        n = 0 if found is None else found[0][0] * found[0][1] * found[0][2] // merge**2
        if found is None or len(kinds) < n:
            raise VtError("a prompt has other numbers of image and video tokens than its images and clips make")
        yield found
        kinds = kinds[n:]
