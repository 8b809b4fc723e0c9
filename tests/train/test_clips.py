"""A prompt's clip reaches the model whole, once, and at its place in time; what cannot be seen is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from train import plain_scores
from train.trainers import write_clip
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.errors import VtError
from videothinker.train import clips
from videothinker.train.clips import PromptEncoder, batch_inputs, share_vision


@pytest.fixture
def model(assets: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32)


@pytest.fixture
def encode(assets: Path, model: Any) -> PromptEncoder:
    processor = AutoProcessor.from_pretrained(assets / "start")
    return PromptEncoder(processor, n_frames=4, max_pixels=12 * 784, video_token=model.config.video_token_id)


def test_a_clip_shared_by_many_prompts_is_decoded_once(
    encode: PromptEncoder, assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    monkeypatch.setattr(
        clips, "read_clip", lambda path, read=clips.read_clip, **kwargs: reads.append(path) or read(path, **kwargs)
    )
    a, b = str(assets / "clip0.mp4"), str(assets / "clip1.mp4")
    encoded = encode([(a, "one"), (b, "one"), (a, "one"), (a, "one")])
    assert [path.name for path in reads] == ["clip0.mp4", "clip1.mp4"]
    assert encoded.rows == [0, 1, 0, 0]
    assert encoded.prompt_ids[0] == encoded.prompt_ids[2] != encoded.prompt_ids[1]


def test_a_clip_keeps_its_time_and_its_pixels(encode: PromptEncoder, assets: Path) -> None:
    """8 frames at 5 a second, 4 of them fed: a pair of frames spans 2 * (8 / 5) / 4 = 0.8 s."""
    clip = encode([(str(assets / "clip0.mp4"), "?")]).clips[0]
    assert clip.seconds_per_pair == pytest.approx(0.8)
    assert clip.grid.tolist() == [2, 4, 6]
    assert clip.n_tokens(merge=2) == 12
    plain = plain_scores.video_inputs(encode.processor, assets / "clip0.mp4")
    assert torch.equal(clip.patches, plain["pixel_values_videos"])


def test_a_missing_a_short_and_a_broken_clip_are_refused(encode: PromptEncoder, tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"gone\.mp4.*missing_videos"):
        encode([(str(tmp_path / "gone.mp4"), "?")])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(VtError, match=r"broken\.mp4"):
        encode([(str(tmp_path / "broken.mp4"), "?")])
    with pytest.raises(VtError, match=r"short\.mp4: has 3 frames, data\.n_frames asks for 4"):
        encode([(str(write_clip(tmp_path / "short.mp4", 56, 56, 0, n_frames=3)), "?")])


def test_a_template_that_leaves_the_clip_out_is_refused(encode: PromptEncoder, assets: Path) -> None:
    encode.processor.chat_template = "{% for m in messages %}{{ m['content'][1]['text'] }}{% endfor %}"
    with pytest.raises((VtError, ValueError), match="video"):
        encode([(str(assets / "clip0.mp4"), "?")])


def test_a_row_without_its_video_tokens_is_not_scored(encode: PromptEncoder, assets: Path) -> None:
    encoded = encode([(str(assets / "clip0.mp4"), "?")])
    ids = torch.tensor(encoded.prompt_ids)
    with pytest.raises(VtError, match=r"hold \[0\] video tokens, their clips make \[12\]"):
        batch_inputs(encoded.clips, torch.zeros_like(ids), encode.video_token, encode.merge)
    assert batch_inputs(encoded.clips, ids, encode.video_token, encode.merge)["mm_token_type_ids"].sum() == 2 * 12


def forward(model: Any, encode: PromptEncoder, paths: list[str]) -> torch.Tensor:
    encoded = encode([(path, "?") for path in paths])
    width = max(map(len, encoded.prompt_ids))
    pad = encode.processor.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in encoded.prompt_ids])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in encoded.prompt_ids])
    inputs = batch_inputs([encoded.clips[row] for row in encoded.rows], ids, encode.video_token, encode.merge)
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, **inputs).logits
    return logits.masked_fill(mask[..., None] == 0, 0.0)


def test_sharing_the_vision_tower_changes_neither_values_nor_gradients(model: Any, encode: PromptEncoder, assets: Path) -> None:
    a, b = str(assets / "clip0.mp4"), str(assets / "clip2.mp4")
    batch = [a, b, a, a, b]
    encoded_clips = []
    visual = model.model.visual
    visual.register_forward_pre_hook(lambda _m, args, kwargs: encoded_clips.append(len(kwargs["grid_thw"])), with_kwargs=True)
    results = []
    for shared in (False, True):
        if shared:
            share_vision(model)
        model.zero_grad()
        logits = forward(model, encode, batch)
        logits.square().mean().backward()
        results.append((logits.detach(), visual.patch_embed.proj.weight.grad.clone()))
    assert encoded_clips == [5, 2]
    assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-3, atol=1e-7)


def test_two_clips_of_one_size_are_told_apart(model: Any, encode: PromptEncoder, assets: Path, tmp_path: Path) -> None:
    other = write_clip(tmp_path / "other.mp4", 56, 84, 200)
    twin = Path(shutil.copy(assets / "clip0.mp4", tmp_path / "twin.mp4"))
    share_vision(model)
    with torch.no_grad():
        logits = forward(model, encode, [str(assets / "clip0.mp4"), str(other), str(twin)])
    assert torch.allclose(logits[0], logits[2], atol=1e-5)
    assert not torch.allclose(logits[0], logits[1], atol=1e-3)
