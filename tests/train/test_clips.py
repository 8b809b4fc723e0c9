"""A prompt's clip reaches the model whole, once, and at its place in time; what cannot be seen is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train import plain_scores
from train.trainers import write_clip
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import read_clip
from videothinker.train import clips
from videothinker.train.clips import PromptEncoder, scoring_inputs, share_vision, showing
from videothinker.train.data import ClipPrompt


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
        clips, "cached_clip", lambda clip, read=clips.cached_clip, **kwargs: reads.append(clip.path) or read(clip, **kwargs)
    )
    a, b = Footage(assets / "clip0.mp4"), Footage(assets / "clip1.mp4")
    encode.expect([b], 8)
    encoded = encode([ClipPrompt(a, "one"), ClipPrompt(b, "one"), ClipPrompt(a, "two"), ClipPrompt(a, "one")])
    assert sorted(path.name for path in reads) == ["clip0.mp4", "clip1.mp4"]
    assert len(encoded.clips) == 2
    assert encoded.rows == [0, 1, 0, 0]
    assert encoded.prompt_ids[0] == encoded.prompt_ids[3] != encoded.prompt_ids[1]
    assert encoded.prompt_ids[0] != encoded.prompt_ids[2]


def test_clips_expected_and_never_asked_for_do_not_pile_up(encode: PromptEncoder, assets: Path, tmp_path: Path) -> None:
    encode.expect([Footage(tmp_path / f"none{i}.mp4") for i in range(5)], 2)
    assert list(encode._coming) == [Footage(tmp_path / "none3.mp4"), Footage(tmp_path / "none4.mp4")]
    assert len(encode([ClipPrompt(Footage(assets / "clip0.mp4"), "?")]).clips) == 1


def test_tokens_and_patches_are_the_processors_own(encode: PromptEncoder, assets: Path) -> None:
    """Clips of different sizes in one batch against the processor, called for one prompt at a time."""
    prompts = [
        ClipPrompt(Footage(assets / f"clip{i}.mp4"), "what happens?" * i, "Watch closely." if i == 1 else None)
        for i in (2, 0, 1)
    ]
    encoded = encode(prompts)
    for (path, text, system), ids, row in zip(prompts, encoded.prompt_ids, encoded.rows, strict=True):
        clip = read_clip(path, n_frames=4, max_pixels=12 * 784)
        before = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
        chat = encode.processor.apply_chat_template(
            [*before, {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": text}]}],
            tokenize=False,
            add_generation_prompt=True,
        )
        theirs = encode.processor(
            text=[chat],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            size={"shortest_edge": 4 * 784, "longest_edge": 12 * 784},
            return_tensors="pt",
        )
        ours = encoded.clips[row]
        assert ids == theirs["input_ids"][0].tolist()
        assert torch.equal(ours.patches, theirs["pixel_values_videos"])
        assert list(ours.grid) == theirs["video_grid_thw"][0].tolist()
        assert ours.seconds_per_pair == pytest.approx(float(theirs["second_per_grid_ts"][0]))


def test_a_clip_keeps_its_time_and_its_pixels(encode: PromptEncoder, assets: Path) -> None:
    """8 frames at 5 a second, 4 of them fed: a pair of frames spans 2 * (8 / 5) / 4 = 0.8 s."""
    clip = encode([ClipPrompt(Footage(assets / "clip0.mp4"), "?")]).clips[0]
    assert clip.seconds_per_pair == pytest.approx(0.8)
    assert clip.grid == (2, 4, 6)
    assert clip.n_tokens(merge=2) == 12
    plain = plain_scores.video_inputs(encode.processor, assets / "clip0.mp4")
    assert torch.equal(clip.patches, plain["pixel_values_videos"])


def test_a_missing_a_short_and_a_broken_clip_are_refused(encode: PromptEncoder, tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"gone\.mp4.*missing_videos"):
        encode([ClipPrompt(Footage(tmp_path / "gone.mp4"), "?")])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(VtError, match=r"broken\.mp4"):
        encode([ClipPrompt(Footage(tmp_path / "broken.mp4"), "?")])
    with pytest.raises(VtError, match=r"short\.mp4: has 3 frames, data\.n_frames asks for 4"):
        encode([ClipPrompt(Footage(write_clip(tmp_path / "short.mp4", 56, 56, 0, n_frames=3)), "?")])


def test_a_template_that_leaves_the_clip_out_is_refused(encode: PromptEncoder, assets: Path) -> None:
    encode.processor.chat_template = "{% for m in messages %}{{ m['content'][1]['text'] }}{% endfor %}"
    with pytest.raises((VtError, ValueError), match="video"):
        encode([ClipPrompt(Footage(assets / "clip0.mp4"), "?")])


def test_a_row_without_its_video_tokens_is_not_scored(encode: PromptEncoder, model: Any, assets: Path) -> None:
    encoded = encode([ClipPrompt(Footage(assets / "clip0.mp4"), "?")])
    ids = torch.tensor(encoded.prompt_ids)
    mask = torch.ones_like(ids)
    with pytest.raises(VtError, match=r"hold \[0\] video tokens, their clips make \[12\]"):
        scoring_inputs(model.config, encoded.clips, [0], torch.zeros_like(ids), mask)
    positions = scoring_inputs(model.config, encoded.clips, [0], ids, mask)["position_ids"]
    assert (positions[0] != positions[1]).sum() > 0, "a clip's rows are not its time"


def forward(model: Any, encode: PromptEncoder, clips_: list[Footage], *, shared: bool) -> torch.Tensor:
    encoded = encode([ClipPrompt(clip, "?") for clip in clips_])
    width = max(map(len, encoded.prompt_ids))
    pad = encode.processor.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in encoded.prompt_ids])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in encoded.prompt_ids])
    if shared:
        inputs = scoring_inputs(model.config, encoded.clips, encoded.rows, ids, mask)
        with showing(encoded.clips, encoded.rows):
            logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, **inputs).logits
    else:
        clips = [encoded.clips[row] for row in encoded.rows]
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            pixel_values_videos=torch.cat([clip.patches for clip in clips]),
            video_grid_thw=torch.tensor([clip.grid for clip in clips]),
            second_per_grid_ts=torch.tensor([clip.seconds_per_pair for clip in clips]),
            mm_token_type_ids=2 * (ids == model.config.video_token_id).int(),
        ).logits
    return logits.masked_fill(mask[..., None] == 0, 0.0)


def test_sharing_the_vision_tower_changes_neither_values_nor_gradients(model: Any, encode: PromptEncoder, assets: Path) -> None:
    a, b = Footage(assets / "clip0.mp4"), Footage(assets / "clip2.mp4")
    batch = [a, b, a, a, b]
    n_patches = []
    visual = model.model.visual
    visual.patch_embed.register_forward_pre_hook(lambda _m, args, kwargs: n_patches.append(len(args[0])), with_kwargs=True)
    share_vision(model)
    results = []
    for shared in (False, True):
        model.zero_grad()
        logits = forward(model, encode, batch, shared=shared)
        logits.square().mean().backward()
        results.append((logits.detach(), visual.patch_embed.proj.weight.grad.clone()))
    small, large = 2 * 4 * 6, 2 * 6 * 8
    assert n_patches == [3 * small + 2 * large, small + large]
    assert torch.allclose(results[0][0], results[1][0], atol=1e-5)
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-3, atol=1e-7)
