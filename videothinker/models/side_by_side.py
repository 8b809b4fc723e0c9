"""Linear layers that take the same input, laid side by side in memory, so that one matrix product computes all of them.

A token of a few replies reads every weight once and computes next to nothing, so that each product less is a launch less.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (its usual name)


class SideBySide(NamedTuple):
    """Some layers: by one product where they lie side by side, else one after the other."""

    layers: tuple[Any, ...]
    weight: torch.Tensor | None = None
    """(all outputs, inputs), the memory of the layers' own weights; None where each has to be asked by itself."""
    bias: torch.Tensor | None = None

    def __call__(self, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What each layer makes of the states (n, inputs): (n, its outputs), with a stride between rows."""
        if self.weight is None:
            return tuple(layer(states) for layer in self.layers)
        together = F.linear(states, self.weight, self.bias)
        return torch.split(together, [layer.out_features for layer in self.layers], -1)


def laid_side_by_side(*layers: Any) -> SideBySide:
    """Move the layers' weights so that they lie side by side, unless they do already.

    Their parameters stay the same objects with the same numbers. Layers that are more than a plain product, as with LoRA, or
    differ in kind are left where they are.
    """
    if not all(type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks for layer in layers):
        return SideBySide(layers)
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    has_bias = [bias is not None for bias in biases]
    if len({(weight.dtype, weight.device, weight.size(1)) for weight in weights}) > 1 or len(set(has_bias)) > 1:
        return SideBySide(layers)
    return SideBySide(layers, _joined(weights), _joined(biases) if has_bias[0] else None)


def _joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """One tensor that is all parts in order, and whose memory they have."""
    # In the mode that the parts were made in. Weights that are trained are written to later, which memory made in inference
    # mode forbids; and weights that were made in inference mode cannot be used any more if they are given other memory.
    with torch.inference_mode(parts[0].is_inference()), torch.no_grad():
        if not _are_joined(parts):
            whole = torch.cat([part.data for part in parts])
            for part, place in zip(parts, torch.split(whole, [len(part) for part in parts]), strict=True):
                part.data = place
        first = parts[0].data
        size = (sum(len(part) for part in parts), *first.shape[1:])
        return first.as_strided(size, first.stride())


def _are_joined(parts: Sequence[torch.Tensor]) -> bool:
    storages = {part.untyped_storage().data_ptr() for part in parts}
    ends = [part.data_ptr() + part.nbytes for part in parts[:-1]]
    in_order = ends == [part.data_ptr() for part in parts[1:]]
    return len(storages) == 1 and in_order and all(part.is_contiguous() for part in parts)
