"""The vision tower's own numbers, from fewer calls: windows in batches, clips together, patches by one product."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train.trainers import write_clip
from transformers import AutoModelForImageTextToText

from videothinker.footage import Footage
from videothinker.models import tiny, windows
from videothinker.models.vision import batch_windows, quicken_vision, see
from videothinker.train.clips import Encoded, PromptEncoder
from videothinker.train.data import ClipPrompt


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("model"))


def clips(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of two clips whose edges cut the windows of 8 x 8 patches short."""
    grid = torch.tensor([[2, 10, 14], [1, 8, 8]])
    patches = torch.randn(int(grid.prod(1).sum()), 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(seed))
    return patches, grid


def test_features_and_gradient_are_those_of_the_loop(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = AutoModelForImageTextToText.from_pretrained(checkpoint, attn_implementation="sdpa")
    batched = AutoModelForImageTextToText.from_pretrained(checkpoint, attn_implementation="sdpa")
    batch_windows(batched)
    calls = []
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *a, **k: (calls.append(a[0].shape), attend(*a, **k))[1]
    )
    patches, grid = clips(0)
    features, n_calls = [], []
    for model in (plain, batched):
        calls.clear()
        out = torch.cat(model.model.get_video_features(patches, grid, return_dict=True).pooler_output)
        n_calls.append(len(calls))
        out.square().sum().backward()
        features.append(out)
    torch.testing.assert_close(features[1], features[0], rtol=1e-5, atol=1e-6)
    # Per pair of frames 10 x 14 patches make windows of 8x8, 8x6, 2x8, 2x6, three times 8 x 8 = 64 in all; then 3 whole pairs.
    assert n_calls == [2 * 4 + 1 + 3, 4 + 2]
    for (name, one), other in zip(plain.named_parameters(), batched.parameters(), strict=True):
        if one.grad is not None:
            assert other.grad is not None, name
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-5)


def test_windows_of_one_length_are_attended_to_apart() -> None:
    generator = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(1, 2, 7, 4, generator=generator) for _ in range(3))
    out, _ = windows.attend_in_batches(
        torch.nn.Identity(), query, key, value, None, scaling=0.5, dropout=0.0, cu_seq_lens_q=torch.tensor([0, 2, 5, 7])
    )
    for start, end in ((0, 2), (2, 5), (5, 7)):
        q, k, v = (tensor[0, :, start:end] for tensor in (query, key, value))
        expected = (0.5 * q @ k.transpose(1, 2)).softmax(-1) @ v  # (heads, n, d), by hand
        torch.testing.assert_close(out[0, start:end].transpose(0, 1), expected)


def test_other_attention_is_left_alone(checkpoint: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, attn_implementation="eager")
    batch_windows(model)
    assert model.model.visual.config._attn_implementation == "eager"
    batch_windows(torch.nn.Linear(1, 1))


def test_clips_seen_together_look_as_they_do_alone(
    model: Any, processor: Any, assets: Path, tmp_path: Path, encoded: Encoded
) -> None:
    encode = PromptEncoder(processor, n_frames=4, max_pixels=12 * 784, video_token=model.config.video_token_id)
    other = encode([ClipPrompt(Footage(write_clip(tmp_path / "other.mp4", 56, 84, 200)), "?")]).clips
    clips = [encoded.clips[0], *other, *encoded.clips[1:]]
    grids = [clip.grid for clip in clips]
    with torch.no_grad():
        seen = see(model, [clip.patches for clip in clips], grids, [1.0] * len(clips))
        for clip, found in zip(clips, seen, strict=True):
            alone = model.model.get_video_features(clip.patches, torch.tensor([clip.grid])).pooler_output[0]
            assert torch.allclose(found.features, alone, atol=1e-5)
    assert len({tuple(clip.features.shape) for clip in seen}) > 1


def test_quicker_vision_sees_and_learns_the_same(assets: Path, encoded: Encoded) -> None:
    plain, quick = (AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32) for _ in range(2))
    quicken_vision(quick)
    clips = encoded.clips
    patches, grids = [clip.patches for clip in clips], [clip.grid for clip in clips]
    results = []
    for model in (plain, quick):
        if model is plain:
            features = torch.cat(model.model.get_video_features(torch.cat(patches), torch.tensor(grids)).pooler_output)
        else:
            features = torch.cat([clip.features for clip in see(model, patches, grids, [1.0] * len(clips))])
        features.square().mean().backward()
        visual = model.model.visual
        results.append((features.detach(), visual.blocks[0].attn.qkv.weight.grad, visual.patch_embed.proj.weight.grad))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())


def test_what_depends_on_sizes_alone_is_worked_out_once(assets: Path, encoded: Encoded) -> None:
    """Nothing is asked of the tower's rotary module, nor sorted, when clips of the same sizes come again."""
    model = AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32)
    quicken_vision(model)
    patches, grids = [clip.patches for clip in encoded.clips], [clip.grid for clip in encoded.clips]
    asked = []
    model.model.visual.rotary_pos_emb.register_forward_hook(lambda *_: asked.append(1))
    with torch.inference_mode():
        first, again = (see(model, patches, grids, [1.0] * len(grids)) for _ in range(2))
    assert len(asked) == 1
    assert all(torch.equal(one.features, other.features) for one, other in zip(first, again, strict=True))
    # What was worked out under inference mode serves a backward pass as well, and so it does in another model.
    torch.cat([clip.features for clip in see(model, patches, grids, [1.0] * len(grids))]).sum().backward()
    other = AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32)
    see(other, patches, grids, [1.0] * len(grids))
    assert len(asked) == 1
    assert model.model.visual.blocks[0].attn.qkv.weight.grad is not None


def test_a_quicker_tower_still_takes_grids(checkpoint: Path) -> None:
    """As `get_video_features` gives them, which `generate` calls."""
    plain, quick = (AutoModelForImageTextToText.from_pretrained(checkpoint, attn_implementation="sdpa") for _ in range(2))
    quicken_vision(quick)
    patches, grid = clips(3)
    with torch.no_grad():
        found, expected = (torch.cat(each.model.get_video_features(patches, grid).pooler_output) for each in (quick, plain))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
