"""The layers of a Qwen2.5-VL's language model, taken apart where a reply has to be written faster than `forward` allows.

A token of text has one position on all three axes, so rotary embeddings are the plain ones of that position. The tokens of a
clip, whose axes differ, go through transformers' own code (`prefill`).
"""

from typing import Any

import torch

from videothinker.models.norms import rms_norm


def even_width(n: int) -> int:
    """The next multiple of 8 from `n` on: SDPA would copy a mask of another width at every call."""
    return -(-n // 8) * 8


def rotation(rope: Any, positions: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of tokens of text at `positions` (...), both (..., 1, d).

    The first half of the sines is negated: with x rolled by half, x * cos + rolled * sin is then the rotation.
    """
    angles = positions[..., None, None].float() * rope.inv_freq.float()
    cos, sin = angles.cos() * rope.attention_scaling, angles.sin() * rope.attention_scaling
    return torch.cat([cos, cos], -1).to(dtype), torch.cat([-sin, sin], -1).to(dtype)


def heads(
    layer: Any, states: torch.Tensor, turned: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The layer's queries (..., heads, d), keys and values (..., key heads, d) of states (..., hidden).

    turned: the `rotation` of the states' positions.
    """
    module, (cos, sin) = layer.self_attn, turned
    normed = rms_norm(layer.input_layernorm, states)
    projections = (module.q_proj, module.k_proj, module.v_proj)
    query, key, value = (project(normed).unflatten(-1, (-1, cos.size(-1))) for project in projections)
    query, key = (x * cos + x.roll(x.size(-1) // 2, -1) * sin for x in (query, key))
    return query, key, value


def finished(layer: Any, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
    """The states (..., hidden) behind the layer, from those before it and from what its heads attended to, (..., heads * d)."""
    states = states + layer.self_attn.o_proj(attended)
    following: torch.Tensor = states + layer.mlp(rms_norm(layer.post_attention_layernorm, states))
    return following
