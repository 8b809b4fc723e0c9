"""A decoder's layers for one token a row, by the kernels of `decode_kernels` and a matrix product per weight.

Each layer is 15 launches in place of some 30, and its attention reads what is written of the cache and nothing else. Only for
half precision on NVIDIA GPUs from Ampere on: float32 replies are meant to equal those of `generate`, to the last token.
"""

import importlib
import subprocess
import warnings
from collections.abc import Iterable
from functools import cache
from types import ModuleType
from typing import Any

import torch

from videothinker.models.norms import rms_norm

_HEAD_SIZES = (16, 32, 64, 128, 256)
_AMPERE = (8, 0)


def kernels_for(model: Any) -> ModuleType | None:
    """`decode_kernels`, where they serve the model on its device; None where plain PyTorch does its work."""
    weight, config = model.get_input_embeddings().weight, model.config.get_text_config()
    if weight.device.type != "cuda" or weight.dtype not in (torch.bfloat16, torch.float16) or torch.version.cuda is None:
        return None
    fits = config.hidden_size // config.num_attention_heads in _HEAD_SIZES and config.hidden_act == "silu"
    here = weight.device.index in (None, torch.cuda.current_device())  # Triton launches on the current device alone
    if not (fits and here) or torch.cuda.get_device_capability(weight.device) < _AMPERE:
        return None
    return _compiled(weight.device)


@cache
def _compiled(device: torch.device) -> ModuleType | None:
    """The kernels, once one of them has been compiled and run: Triton may be absent, or find no C compiler."""
    try:
        kernels = importlib.import_module("videothinker.models.decode_kernels")
        kernels.gated(*torch.ones(2, 16, device=device, dtype=torch.bfloat16))
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(f"replies are written without Triton's kernels, more slowly: {reason}", stacklevel=2)
        return None
    return kernels


def written(
    language: Any,
    states: torch.Tensor,
    turned: tuple[torch.Tensor, torch.Tensor],
    cache: Iterable[torch.Tensor],
    first: torch.Tensor,
    last: torch.Tensor,
    kernels: ModuleType,
) -> torch.Tensor:
    """What the language model makes of one token a row, (n_rows, hidden), normed.

    states: (n_rows, hidden), the tokens' embeddings. turned: the `rotation` of their positions. cache: for each layer keys and
    values, (2, n_rows, key heads, length, d), into column `last` of which those of the tokens are written. first, last: as in
    `decode_kernels.attend_filled`.
    """
    normed, following = rms_norm(language.layers[0].input_layernorm, states), [*language.layers[1:], None]
    for layer, after, (keys, values) in zip(language.layers, following, cache, strict=True):
        attention, mlp = layer.self_attn, layer.mlp
        new = (project(normed) for project in (attention.q_proj, attention.k_proj, attention.v_proj))
        query = kernels.turn_and_write(*new, turned, keys, values, last)
        attended = kernels.attend_filled(query, keys, values, first, last, scale=attention.scaling)
        states, normed = _added(kernels, states, attention.o_proj(attended), layer.post_attention_layernorm)
        made = mlp.down_proj(kernels.gated(mlp.gate_proj(normed), mlp.up_proj(normed)))
        states, normed = _added(kernels, states, made, language.norm if after is None else after.input_layernorm)
    return normed


def _added(kernels: ModuleType, states: torch.Tensor, more: torch.Tensor, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    added: tuple[torch.Tensor, torch.Tensor] = kernels.add_and_norm(states, more, norm.weight, norm.variance_epsilon)
    return added
