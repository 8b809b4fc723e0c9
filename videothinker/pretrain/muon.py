"""Muon for many small matrices: those of one shape are orthogonalised together, in batches of matrix products.

`torch.optim.Muon` goes matrix by matrix with 15 launches each, and reads its learning rate back to the host. This one can be
captured in a CUDA graph. The update is the same (tests/pretrain/test_muon.py).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Coefficients of the quintic iteration (Keller Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024)."""
_N_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum, scaled to the size of an AdamW update: 0.2 sqrt(max(rows, columns)) times the learning rate.

    params: matrices, all of which have a gradient at every step. lr: a tensor, so that a captured step reads its present value.
    """

    def __init__(
        self, params: Iterable[torch.Tensor], *, lr: torch.Tensor, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one update, in place."""
        for group in self.param_groups:
            rate = group["lr"]
            alike = defaultdict(list)
            for parameter in group["params"]:
                alike[parameter.shape].append(parameter)
            for shape, matrices in alike.items():
                gradient = torch.stack([matrix.grad for matrix in matrices])
                state = self.state[matrices[0]]  # the first matrix of a shape keeps the momentum of them all
                if not state:
                    state["momentum"] = torch.zeros_like(gradient)
                average = state["momentum"].lerp_(gradient, 1 - group["momentum"])
                # Nesterov's form: the present gradient counts once more beside the running average.
                update = orthogonal(gradient.lerp(average, group["momentum"])).to(gradient.dtype)
                update.mul_(-0.2 * max(shape) ** 0.5 * rate)
                torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
                torch._foreach_add_(matrices, list(update.unbind()))


def orthogonal(matrices: torch.Tensor) -> Any:
    """Bring all singular values of (n, a, b) matrices near 1, in bfloat16.

    A matrix divided by its Frobenius norm has singular values of at most 1. Each iteration applies the odd polynomial
    a s + b s^3 + c s^5 to every singular value s, since (x x^T)^k x has the singular vectors of x and the values s^(2 k + 1).
    """
    wide = matrices.shape[1] <= matrices.shape[2]  # then x x^T is the smaller of the two products
    x = (matrices if wide else matrices.mT).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_N_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if wide else x.mT
