"""Lessons of one sequence do not see one another: the mask by hand, by SDPA, and by FlexAttention."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, create_mask

from videothinker.pretrain import attention


def test_the_mask_hand_checked() -> None:
    lesson = torch.tensor([[0, 0, 1, 1, 2, -1]])
    expected = [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]
    assert attention.dense_mask(lesson)[0, 0].int().tolist() == expected


@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_flex_attention_is_sdpa_with_the_same_mask() -> None:
    """The eager form, here on a CPU: the mask and the shared heads are right; speed is the GPU's business."""
    torch.manual_seed(0)
    lesson = torch.tensor([[0] * 40 + [1] * 50 + [2] * 30 + [-1] * 8, [0] * 40 + [1] * 88])
    query, key, value = torch.randn(2, 4, 128, 16), torch.randn(2, 2, 128, 16), torch.randn(2, 2, 128, 16)
    module = torch.nn.Module()
    ours, _ = attention._flex(module, query, key, value, attention.block_mask(lesson), scaling=0.25)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention.dense_mask(lesson), scale=0.25, enable_gqa=True
    )
    torch.testing.assert_close(ours.transpose(1, 2), theirs, rtol=1e-4, atol=1e-5)


def test_the_mask_of_blocks_is_the_mask_of_tokens() -> None:
    """Against PyTorch's own, which asks about every pair of tokens: the same blocks are computed, and the same pairs within."""
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        lesson = torch.zeros(2, 1024, dtype=torch.int32)
        for row in lesson:
            for number, start in enumerate(torch.randint(100, 1024, (8,), generator=rng).sort().values.tolist()):
                row[start:] = number + 1
            row[1024 - int(torch.randint(0, 300, (), generator=rng)) :] = -1

        def may_see(b: Any, _: Any, query: Any, key: Any, lesson: Any = lesson) -> Any:
            return (query >= key) & ((lesson[b, key] == 0) | (lesson[b, key] == lesson[b, query]))

        ours, theirs = attention.block_mask(lesson), create_block_mask(may_see, 2, None, 1024, 1024, device="cpu")
        assert torch.equal(ours.to_dense(), theirs.to_dense())
        assert torch.equal(create_mask(ours.mask_mod, 2, None, 1024, 1024, device="cpu"), attention.dense_mask(lesson))
        tokens = attention.dense_mask(lesson).unflatten(-1, (8, 128)).unflatten(-3, (8, 128)).all(-1).all(-2)[:, 0]
        for b, i in np.ndindex(2, 8):  # blocks of which no token is asked about
            whole = ours.full_kv_indices[b, 0, i, : ours.full_kv_num_blocks[b, 0, i]].long()
            assert tokens[b, i, whole].all()
