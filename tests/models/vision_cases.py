"""Vision towers with random weights, patches for them, and a stand-in on the CPU for variable-length FlashAttention."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from videothinker.models import windows

GRIDS = [(2, 10, 14), (1, 8, 8), (1, 8, 8)]
"""Clips whose edges cut the windows of 8 x 8 patches short."""


@torch.library.custom_op("videothinker_tests::by_segment", mutates_args=())
def by_segment(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: torch.Tensor, scale: float
) -> torch.Tensor:
    """Attention of each segment by itself: query, key, value (n, heads, d), borders (n_segments + 1,)."""
    return _by_segment(query, key, value, borders, scale)


def _by_segment(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: torch.Tensor, scale: float
) -> torch.Tensor:
    parts = []
    for start, end in pairwise(borders.tolist()):
        q, k, v = (tensor[start:end].transpose(0, 1) for tensor in (query, key, value))
        parts.append(((scale * q @ k.transpose(1, 2)).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(parts).contiguous()


@by_segment.register_fake
def _(query: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(query)


@torch.library.custom_op("videothinker_tests::by_segment_gradient", mutates_args=())
def _by_segment_gradient(
    grad: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, borders: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    gradients: tuple[list[torch.Tensor], ...] = ([], [], [])
    for start, end in pairwise(borders.tolist()):
        g, q, k, v = (tensor[start:end].transpose(0, 1) for tensor in (grad, query, key, value))  # (heads, n, d)
        share = (scale * q @ k.transpose(1, 2)).softmax(-1)
        to_share = g @ v.transpose(1, 2)
        to_score = scale * share * (to_share - (to_share * share).sum(-1, keepdim=True))
        found = (to_score @ k, to_score.transpose(1, 2) @ q, share.transpose(1, 2) @ g)
        for parts, part in zip(gradients, found, strict=True):
            parts.append(part.transpose(0, 1))
    to_query, to_key, to_value = (torch.cat(parts).contiguous() for parts in gradients)
    return to_query, to_key, to_value


@_by_segment_gradient.register_fake
def _(grad: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any) -> tuple[torch.Tensor, ...]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _gradient(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    return (*_by_segment_gradient(grad.contiguous(), *ctx.saved_tensors, ctx.scale), None, None)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(*tensors)


by_segment.register_autograd(_gradient, setup_context=_keep)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Lets `windows` take a stand-in on the CPU; the list gets (number of windows, the longest) of every call."""
    calls: list[tuple[int, int]] = []

    def varlen(
        query: Any, key: Any, value: Any, borders: Any, borders_k: Any, longest: int, longest_k: int, *, scale: float
    ) -> Any:
        assert borders is borders_k
        assert longest == longest_k
        if not torch.compiler.is_compiling():
            assert int(borders.diff().max()) == longest
            calls.append((len(borders) - 1, longest))
        return by_segment(query, key, value, borders, scale)

    monkeypatch.setattr(windows, "varlen_attn", varlen)
    monkeypatch.setattr(windows, "fits", lambda device, dtype: True)
    return calls


def tower(
    *,
    depth: int = 3,
    hidden: int = 64,
    intermediate: int | None = None,
    heads: int = 4,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Any:
    """A model of which only the vision tower is there, as `see` wants it; its last block sees whole pairs of frames.

    intermediate: width of its MLPs, by default twice `hidden`.
    """
    config = Qwen2_5_VLVisionConfig(
        depth=depth,
        hidden_size=hidden,
        intermediate_size=intermediate or 2 * hidden,
        num_heads=heads,
        out_hidden_size=hidden,
        fullatt_block_indexes=[depth - 1],
        window_size=112,
    )
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        visual = Qwen2_5_VisionTransformerPretrainedModel(config).to(device, dtype)
    holder: Any = torch.nn.Module()
    holder.visual = visual
    holder.model = holder
    object.__setattr__(holder, "base_model", holder)
    return holder


def patches(grids: list[tuple[int, int, int]], *, device: str = "cpu") -> list[torch.Tensor]:
    """Random patches of clips."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(t * h * w, 3 * 2 * 14 * 14, generator=generator).to(device) for t, h, w in grids]
