"""Muon for many small matrices: those of one shape are orthogonalised in one batch of matrix products.

`torch.optim.Muon` goes matrix by matrix, 15 launches each, and reads its rate back to the host; this one can be captured in a
CUDA graph. The update is the same (tests/train/test_muon.py).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Coefficients of the quintic iteration (Keller Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024)."""
_N_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, at the size of an AdamW update: 0.2 sqrt(max(rows, columns)) times the rate.

    params: matrices, all with a gradient at every step. lr: a tensor, so that a captured step reads its present value.
    """

    def __init__(
        self, params: Iterable[torch.Tensor], *, lr: torch.Tensor, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update, in place."""
        for group in self.param_groups:
            rate = group["lr"]
            alike = defaultdict(list)
            for parameter in group["params"]:
                alike[parameter.shape].append(parameter)
            for shape, matrices in alike.items():
                gradient = torch.stack([matrix.grad for matrix in matrices])
                state = self.state[matrices[0]]
                if not state:
                    state["momentum"] = torch.zeros_like(gradient)
                average = state["momentum"].lerp_(gradient, 1 - group["momentum"])
                update = orthogonal(gradient.lerp(average, group["momentum"])).to(gradient.dtype)
                update.mul_(-0.2 * max(shape) ** 0.5 * rate)
                torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
                torch._foreach_add_(matrices, list(update.unbind()))


def orthogonal(matrices: torch.Tensor) -> Any:
    """(n, a, b) matrices with all singular values brought near 1, in bfloat16."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if wide else matrices.mT).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_N_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if wide else x.mT
