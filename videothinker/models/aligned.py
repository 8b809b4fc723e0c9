"""The MLPs of Qwen2.5-VL's vision tower at a width that GPUs like.

They are 3,420 wide. Rows of so many numbers in half precision are no multiple of 16 bytes, which is what the fast kernels of
cuBLAS load at a time, and two thirds of the tower's arithmetic are products with them. torch.compile widens such rows where a
trial at the first clip's size says that it pays, and stays with that for all later ones. Here four columns of zeros are always
added.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLMLP

from videothinker.models import windows

_BYTES = 16
"""What a fast kernel loads at a time."""


def align_mlps(tower: Any) -> None:
    """Let the MLPs of a vision tower's blocks compute at an aligned width on a GPU in half precision: the same numbers up to
    rounding, forward and backward. Weights keep their shapes. Other MLPs than Qwen2.5-VL's stay as they are."""
    for block in tower.blocks:
        if type(block.mlp) is Qwen2_5_VLMLP:
            block.mlp.__class__ = _AlignedMLP  # a class, so that torch.compile takes all blocks for one (`norms`)


def padding_for(width: int, dtype: torch.dtype) -> int:
    """Columns to add to rows of `width` numbers so that they are a multiple of 16 bytes."""
    return -width % (_BYTES // dtype.itemsize)


def padded_mlp(mlp: Any, states: torch.Tensor, padding: int) -> torch.Tensor:
    """What a gated MLP makes of states (..., hidden), computed with `padding` further columns of zeros between its products.

    The added columns are act(0) * 0 = 0, and meet weights of zero in the last product. Weights are padded anew in each call:
    0.3 % of the bytes that ten clips move.
    """
    gate = F.linear(states, F.pad(mlp.gate_proj.weight, (0, 0, 0, padding)), _longer(mlp.gate_proj.bias, padding))
    up = F.linear(states, F.pad(mlp.up_proj.weight, (0, 0, 0, padding)), _longer(mlp.up_proj.bias, padding))
    return F.linear(mlp.act_fn(gate) * up, F.pad(mlp.down_proj.weight, (0, padding)), mlp.down_proj.bias)


def _longer(bias: torch.Tensor | None, padding: int) -> torch.Tensor | None:
    return None if bias is None else F.pad(bias, (0, padding))


class _AlignedMLP(Qwen2_5_VLMLP):  # type: ignore[misc]
    """The MLP at an aligned width where that helps; a loaded one becomes such by its class, and keeps weights and hooks."""

    def forward(self, hidden_state: torch.Tensor) -> torch.Tensor:
        dtype = windows.computed_in(hidden_state.dtype, hidden_state.device)
        padding = padding_for(self.intermediate_size, dtype)
        on_gpu = torch.compiler.is_compiling() or windows.fits(hidden_state.device, dtype)  # blocks are compiled where it fits
        if not padding or not on_gpu or not all(map(_is_plain, self.children())) or _would_keep_copies(self, hidden_state):
            out: torch.Tensor = super().forward(hidden_state)
            return out
        return padded_mlp(self, hidden_state, padding)


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer is an activation, or linear and what its weights say: without adapter, hook, offloading, ZeRO-3."""
    if not isinstance(layer, nn.Linear):
        return not hasattr(layer, "base_layer")
    called = "forward" in vars(layer) or any(getattr(layer, name) for name in _HOOKS)  # accelerate replaces a layer's forward
    return type(layer) is nn.Linear and not called and not hasattr(layer.weight, "ds_id")


def _would_keep_copies(mlp: Any, states: torch.Tensor) -> bool:
    """Whether a backward pass would have the padded weights kept beside frozen ones, which it reads where they lie.

    So it is below an adapter elsewhere in the tower. Of weights that are trained in float32 a copy in half precision is kept
    either way.
    """
    return torch.is_grad_enabled() and states.requires_grad and not mlp.down_proj.weight.requires_grad
