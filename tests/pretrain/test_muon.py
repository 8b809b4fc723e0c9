"""Muon in batches is PyTorch's Muon."""

import pytest
import torch

from videothinker.pretrain.muon import Muon, orthogonal


def test_updates_are_those_of_torch_matrix_by_matrix() -> None:
    torch.manual_seed(0)
    shapes = [(8, 8), (8, 8), (8, 24), (24, 8), (8, 24)]
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in mine]
    rate = torch.tensor(0.0)
    ours = Muon(mine, lr=rate, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=0.0, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        rate.fill_(0.01 * (step + 1))
        reference.param_groups[0]["lr"] = 0.01 * (step + 1)
        for a, b in zip(mine, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        ours.step()
        reference.step()
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 16, 48), (3, 48, 16)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    found = orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    assert found.shape == shape
    values = torch.linalg.svdvals(found.float())
    assert values.min() > 0.3
    assert values.max() < 1.4


def test_nothing_moves_without_a_rate_or_gradient() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=torch.tensor(0.0), weight_decay=0.1).step()
    assert torch.equal(weight, torch.ones(4, 4))
