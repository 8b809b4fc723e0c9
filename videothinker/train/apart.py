"""The gradients of the reward and of the divergence, kept apart over an optimizer step: their ratio, and a weight set by it.

Autograd adds what it is given, so of a sum of two terms only the sum's gradient is left. Here the divergence gets a backward
pass of its own in each micro-batch, into a second buffer; `.grad` holds the reward's gradient alone. At the end of the
accumulation window, before clipping, both are the means over all replies of all processes, both norms are exact, and

    .grad = reward + weight * divergence

where the weight is a constant, or share * |reward| / |divergence|. The cost is one more backward pass, and one more gradient
in memory (a third one for the moment in which a later micro-batch is added).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.distributed import all_reduce


class Norms(NamedTuple):
    """Euclidean norms over all trained parameters, of the mean gradients of one optimizer step, before clipping."""

    reward: float
    divergence: float
    """Of the divergence without its weight."""

    def ratio(self, weight: float) -> float | None:
        """Norm of the weighted divergence over that of the reward; None where the reward has no gradient."""
        return abs(weight) * self.divergence / self.reward if self.reward > 0 else None

    def weight_for(self, share: float) -> float:
        """The weight, at least 0, with which `ratio` is `share`; 0 where either gradient is 0.

        Without a reward there is nothing to be a share of, so nothing repels; without a divergence no weight reaches the share.
        """
        return share * self.reward / self.divergence if self.reward > 0 and self.divergence > 0 else 0.0


class Apart:
    """The divergence's gradient of the current accumulation window, beside the reward's in `.grad`."""

    def __init__(self) -> None:
        self._gradients: dict[nn.Parameter, torch.Tensor] = {}
        self.value = 0.0
        """Sum of the terms that were added."""

    def add(self, term: torch.Tensor, parameters: Iterable[nn.Parameter]) -> None:
        """Add the gradient of a micro-batch's divergence, (), unweighted and divided as its loss is; keeps the graph.

        `autograd.grad` does not reach the hooks by which DDP averages what comes into `.grad`: `combine` averages instead.
        """
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        found: Sequence[torch.Tensor | None] = torch.autograd.grad(term, trained, retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(trained, found, strict=True):
            if gradient is None:
                continue
            if parameter in self._gradients:
                self._gradients[parameter] += gradient
            else:
                self._gradients[parameter] = gradient
        self.value += term.item()

    def combine(
        self, parameters: Iterable[nn.Parameter], weigh: Callable[[Norms], float], n_processes: int = 1
    ) -> tuple[Norms, float]:
        """Add the weighted gradient to `.grad`, let it go, and return both norms and the weight.

        parameters: those that are trained, in the same order in every process; `.grad` is averaged already. weigh: chooses the
        weight when both norms are known.
        """
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if n_processes > 1:
            for parameter in trained:
                if parameter not in self._gradients:  # unused here, but perhaps not in another process
                    self._gradients[parameter] = torch.zeros_like(parameter)
                all_reduce(self._gradients[parameter])
                self._gradients[parameter] /= n_processes
        norms = Norms(_norm(p.grad for p in trained if p.grad is not None), _norm(self._gradients.values()))
        weight = weigh(norms)
        for parameter in trained:
            if (gradient := self._gradients.pop(parameter, None)) is None or weight == 0:
                continue
            if parameter.grad is None:
                parameter.grad = gradient.mul_(weight)
            else:
                parameter.grad.add_(gradient, alpha=weight)
        self._gradients.clear()
        self.value = 0.0
        return norms, weight


def _norm(tensors: Iterable[torch.Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(list(tensors)))
