"""A decoder's layers for one token a row, by the kernels of `decode_kernels` and four matrix products a layer.

Each layer is ten launches in place of some 30, and its attention reads what is written of the cache and nothing else. Only for
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
from videothinker.models.side_by_side import laid_side_by_side

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
        kernels.gated(*torch.ones(2, 1, 16, device=device, dtype=torch.bfloat16))
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(f"replies are written without Triton's kernels, more slowly: {reason}", stacklevel=2)
        return None
    return kernels


class FusedLayers:
    """The layers of one language model. `kernels`: from `kernels_for`.

    Weights that take the same input are laid side by side (`side_by_side`), which moves them once.
    """

    def __init__(self, language: Any, kernels: Any) -> None:
        self._language, self._kernels = language, kernels
        attentions = [layer.self_attn for layer in language.layers]
        self._heads = [laid_side_by_side(each.q_proj, each.k_proj, each.v_proj) for each in attentions]
        self._gates = [laid_side_by_side(layer.mlp.gate_proj, layer.mlp.up_proj) for layer in language.layers]

    def written(
        self,
        states: torch.Tensor,
        turned: tuple[torch.Tensor, torch.Tensor],
        cache: Iterable[torch.Tensor],
        first: torch.Tensor,
        last: torch.Tensor,
    ) -> torch.Tensor:
        """What the language model makes of one token a row, (n_rows, hidden), normed.

        states: (n_rows, hidden), the tokens' embeddings. turned: the `rotation` of their positions. cache: for each layer keys
        and values, (2, n_rows, key heads, length, d), into column `last` of which those of the tokens are written. first,
        last: as in `decode_kernels.attend_filled`.
        """
        layers, kernels = self._language.layers, self._kernels
        next_norms = [*(layer.input_layernorm for layer in layers[1:]), self._language.norm]
        normed = rms_norm(layers[0].input_layernorm, states)
        parts = zip(layers, self._heads, self._gates, next_norms, cache, strict=True)
        for layer, heads, gates, next_norm, (keys, values) in parts:
            query = kernels.turn_and_write(*heads(normed), turned, keys, values, last)
            attended = kernels.attend_filled(query, keys, values, first, last, scale=layer.self_attn.scaling)
            states, normed = self._added(states, layer.self_attn.o_proj(attended), layer.post_attention_layernorm)
            made = layer.mlp.down_proj(kernels.gated(*gates(normed)))
            states, normed = self._added(states, made, next_norm)
        return normed

    def _added(self, states: torch.Tensor, more: torch.Tensor, norm: Any) -> tuple[torch.Tensor, torch.Tensor]:
        added: tuple[torch.Tensor, torch.Tensor] = self._kernels.add_and_norm(states, more, norm.weight, norm.variance_epsilon)
        return added
