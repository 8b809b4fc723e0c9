"""RMS norms of Qwen2.5-VL as one kernel each, in place of the seven that transformers launches."""

from functools import partial
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm


def quicken_norms(model: Any) -> None:
    """Let each RMS norm of a Qwen2.5-VL be one kernel, forward and backward, with the same numbers up to rounding."""
    for module in model.modules():
        if isinstance(module, Qwen2_5_VLRMSNorm):
            module.forward = partial(_widely_normed, module)


def rms_norm(module: Any, states: torch.Tensor) -> torch.Tensor:
    """What the RMS norm `module` computes of states (..., hidden)."""
    return F.rms_norm(states, states.shape[-1:], module.weight, module.variance_epsilon)


def _widely_normed(module: Any, states: torch.Tensor) -> torch.Tensor:
    wide = torch.promote_types(states.dtype, module.weight.dtype)  # two types would keep the kernel from being one
    return rms_norm(module, states.to(wide))
