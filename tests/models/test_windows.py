"""Attention within windows: in one call for all, and in batches of windows of one length."""

from typing import Any

import pytest
import torch
from models.vision_cases import GRIDS, patches, stand_in, tower  # noqa: F401 (a fixture)

from videothinker.models import vision, windows
from videothinker.models.vision import Kernels, quicken_vision, see


def random_heads(n: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 2, n, 8, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("attend", [windows.attend_in_batches, windows.attend])
def test_each_window_is_attended_to_apart(attend: Any, stand_in: list[tuple[int, int]]) -> None:  # noqa: F811
    query, key, value = random_heads(7)
    borders = torch.tensor([0, 2, 5, 7], dtype=torch.int32)
    out, _ = attend(
        torch.nn.Identity(), query, key, value, None, scaling=0.5, dropout=0.0, cu_seq_lens_q=borders, max_length_q=3
    )
    for start, end in ((0, 2), (2, 5), (5, 7)):
        q, k, v = (tensor[0, :, start:end] for tensor in (query, key, value))
        expected = (0.5 * q @ k.transpose(1, 2)).softmax(-1) @ v  # (heads, n, d), by hand
        torch.testing.assert_close(out[0, start:end].transpose(0, 1), expected)
    assert stand_in == ([(3, 3)] if attend is windows.attend else [])


@pytest.mark.parametrize(("changed", "head"), [({"max_length_q": None}, 8), ({"dropout": 1e-9}, 8), ({}, 6)])
def test_windows_are_batched_where_one_call_cannot_be(
    changed: dict[str, Any],
    head: int,
    stand_in: list[tuple[int, int]],  # noqa: F811
) -> None:
    tensors = [tensor[..., :head] for tensor in random_heads(7)]
    asked = {"scaling": 0.5, "dropout": 0.0, "max_length_q": 4} | changed
    out, _ = windows.attend(torch.nn.Identity(), *tensors, None, cu_seq_lens_q=torch.tensor([0, 3, 7]), **asked)
    assert out.shape == (1, 7, 2, head)
    assert stand_in == []


def test_flash_attention_is_for_gpus_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    monkeypatch.setattr(windows, "varlen_attn", object())
    for capability, runs in (((9, 0), True), ((8, 0), True), ((7, 5), False)):
        windows._is_ampere_or_later.cache_clear()
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device, found=capability: found)
        assert windows.fits(gpu, torch.bfloat16) is runs
        assert not windows.fits(gpu, torch.float32)
        assert not windows.fits(cpu, torch.bfloat16)
    windows._is_ampere_or_later.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    monkeypatch.setattr(windows, "varlen_attn", None)  # an older PyTorch
    assert not windows.fits(gpu, torch.bfloat16)
    windows._is_ampere_or_later.cache_clear()


def test_autocast_decides_on_the_precision() -> None:
    cpu = torch.device("cpu")
    assert windows.computed_in(torch.float32, cpu) is torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert windows.computed_in(torch.float32, cpu) is torch.bfloat16


def learned(kernels: Kernels) -> list[torch.Tensor]:
    """Features of three clips, and gradients of a tower's weights."""
    model = tower()
    quicken_vision(model, kernels)
    seen = see(model, patches(GRIDS), GRIDS, [1.0] * len(GRIDS))
    features = torch.cat([clip.features for clip in seen])
    features.square().mean().backward()
    return [features.detach(), *(weight.grad for weight in model.visual.parameters())]


def test_one_call_sees_and_learns_what_batches_do(stand_in: list[tuple[int, int]]) -> None:  # noqa: F811
    batched = learned("batched")
    assert stand_in == []
    for ours, theirs in zip(learned("varlen"), batched, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))
    # Two pairs of 10 x 14 patches make windows of 8x8, 8x6, 2x8 and 2x6 each, and two clips of 8 x 8 one each.
    assert stand_in == [(10, 64), (10, 64), (4, 140)]


def test_clips_go_through_the_tower_in_parts(stand_in: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    model = tower()
    quicken_vision(model, "varlen")
    with torch.no_grad():
        together = see(model, patches(GRIDS), GRIDS, [1.0, 2.0, 3.0])
        stand_in.clear()
        monkeypatch.setattr(vision, "_MOST_PATCHES", 300)
        parts = see(model, patches(GRIDS), GRIDS, [1.0, 2.0, 3.0])
    assert [calls for calls, _ in stand_in] == [8, 8, 2, 2, 2, 2]  # 280 patches, then twice 64
    for one, other in zip(together, parts, strict=True):
        assert one[1:] == other[1:]
        torch.testing.assert_close(one.features, other.features, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([3, 3, 3], [(0, 2), (2, 3)]),
        ([9, 1, 9], [(0, 1), (1, 2), (2, 3)]),
        ([7], [(0, 1)]),
        ([1, 1, 1], [(0, 3)]),
    ],
)
def test_parts_hold_at_most_so_many_patches(lengths: list[int], expected: list[tuple[int, int]]) -> None:
    assert vision._parts(lengths, 6) == expected
