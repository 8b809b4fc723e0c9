"""Sharpened logits are exact where rounding would decide, and nothing else is touched."""

import pytest
import torch

from videothinker.models.sharpen import sharpen


class Headed:
    """As much of a model as has an output layer."""

    def __init__(self, head: torch.nn.Linear | None) -> None:
        self.head = head

    def get_output_embeddings(self) -> torch.nn.Linear | None:
        return self.head


@pytest.mark.parametrize("bias", [None, [0.0, -0.25, 0.0, 0.0]])
def test_sharpened_logits_tell_tokens_apart_that_rounding_makes_equal(bias: list[float] | None) -> None:
    """States [8, 1/32]: logits 8 and 8 + 1/64, both 8 in bfloat16, where the greedy choice is the lower id."""
    head = torch.nn.Linear(2, 4, bias=bias is not None, dtype=torch.bfloat16)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.5], [-1.0, 0.0], [0.25, 0.0]]))
        if bias is not None:
            head.bias.copy_(torch.tensor(bias))
    states = torch.tensor([[[8.0, 1 / 32]], [[-8.0, 1 / 32]]], dtype=torch.bfloat16)
    if bias is None:
        assert head(states)[0, 0, :2].tolist() == [8.0, 8.0]
    sharpen(Headed(head))
    logits = head(states)
    added = torch.tensor(bias or [0.0] * 4)
    expected = torch.tensor([[[8, 8 + 1 / 64, -8, 2]], [[-8, -8 + 1 / 64, 8, -2]]]) + added
    assert logits.dtype == torch.float32
    assert torch.equal(logits, expected)


def test_heads_in_float32_and_models_without_one_are_left_alone() -> None:
    head = torch.nn.Linear(3, 5)
    sharpen(Headed(head))
    assert not head._forward_hooks
    sharpen(Headed(None))
