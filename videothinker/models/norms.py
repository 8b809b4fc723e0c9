"""RMS norms of Qwen2.5-VL as one kernel each, in place of the seven that transformers launches."""

from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm


def quicken_norms(model: Any) -> None:
    """Let each RMS norm of a Qwen2.5-VL be one kernel, forward and backward, with the same numbers up to rounding."""
    for module in model.modules():
        if isinstance(module, Qwen2_5_VLRMSNorm):
            # A class of its own, and no function of its own: torch.compile would take every such function for another model.
            module.__class__ = _OneKernel


def rms_norm(module: Any, states: torch.Tensor) -> torch.Tensor:
    """What the RMS norm `module` computes of states (..., hidden)."""
    return F.rms_norm(states, states.shape[-1:], module.weight, module.variance_epsilon)


class _OneKernel(Qwen2_5_VLRMSNorm):  # type: ignore[misc]
    """The norm as one kernel; a loaded norm becomes one by its class, and keeps weights and hooks."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        wide = torch.promote_types(hidden_states.dtype, self.weight.dtype)  # two types would keep the kernel from being one
        return rms_norm(self, hidden_states.to(wide))
