"""Layers laid side by side compute what they computed, in one product, and stay the layers that they were."""

from typing import Any

import pytest
import torch
from torch import nn

from videothinker.models.side_by_side import laid_side_by_side


def three(bias: bool) -> list[Any]:
    torch.manual_seed(0)
    return [nn.Linear(4, n, bias=bias) for n in (6, 2, 2)]


@pytest.mark.parametrize("bias", [False, True])
def test_one_product_computes_all_of_them(bias: bool) -> None:
    layers, states = three(bias), torch.randn(3, 4)
    expected = [layer(states) for layer in layers]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    with torch.inference_mode():
        together = laid_side_by_side(*layers)
        assert together.weight is not None
        for found, one in zip(together(states), expected, strict=True):
            torch.testing.assert_close(found, one)
    assert all(a is b for a, b in zip(parameters, (p for layer in layers for p in layer.parameters()), strict=True))
    torch.testing.assert_close([layer(states) for layer in layers], expected)


@torch.inference_mode()
def test_layers_made_in_inference_mode_stay_usable() -> None:
    layers, states = three(True), torch.randn(3, 4)
    expected = [layer(states) for layer in layers]
    torch.testing.assert_close(list(laid_side_by_side(*layers)(states)), expected)
    torch.testing.assert_close([layer(states) for layer in layers], expected)


def test_an_update_in_place_reaches_the_product() -> None:
    layers, states = three(True), torch.ones(1, 4)
    with torch.inference_mode():
        together = laid_side_by_side(*layers)
    with torch.no_grad():
        layers[1].weight.copy_(torch.ones(2, 4))
        layers[1].bias.fill_(0.5)
    assert together(states)[1].tolist() == [[4.5, 4.5]]


def test_a_second_time_nothing_moves() -> None:
    """A captured graph remembers the addresses of weights."""
    layers = three(True)
    first = laid_side_by_side(*layers)
    places = [parameter.data_ptr() for layer in layers for parameter in layer.parameters()]
    second = laid_side_by_side(*layers)
    assert places == [parameter.data_ptr() for layer in layers for parameter in layer.parameters()]
    assert first.weight is not None
    assert second.weight is not None
    assert first.weight.data_ptr() == second.weight.data_ptr()


def test_layers_that_got_new_memory_are_laid_side_by_side_again() -> None:
    layers, states = three(False), torch.randn(2, 4)
    laid_side_by_side(*layers)
    for layer in layers:
        layer.weight.data = torch.randn_like(layer.weight)
    expected = [layer(states) for layer in layers]
    for found, one in zip(laid_side_by_side(*layers)(states), expected, strict=True):
        torch.testing.assert_close(found, one)


def test_what_is_more_than_a_product_is_asked_by_itself() -> None:
    layers = three(False)
    layers[2] = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    places = [layer.weight.data_ptr() for layer in layers[:2]]
    together = laid_side_by_side(*layers)
    assert together.weight is None
    assert [layer.weight.data_ptr() for layer in layers[:2]] == places
    assert [found.shape[1] for found in together(torch.ones(1, 4))] == [6, 2, 2]
    hooked = three(False)
    hooked[0].register_forward_hook(lambda _module, _args, found: found + 1)
    assert laid_side_by_side(*hooked).weight is None
