"""Prompts with a clip as the model takes them: token ids, and each distinct clip's patches once.

All replies to a question share its clip. Stock TRL decodes, sizes and encodes it once a reply; here a clip is read once, and
the vision tower sees it once a forward pass (`share_vision`), with the same numbers and the same gradient.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from videothinker.errors import VtError
from videothinker.frames import Clip, ClipError, read_clip

VIDEO = 2
"""How `mm_token_type_ids` marks a video token; text is 0."""


class ClipTensors(NamedTuple):
    """One clip, cut into patches."""

    patches: torch.Tensor
    """(t * h * w, channels * 2 * 14 * 14) float32."""
    grid: torch.Tensor
    """(3,) int64: t pairs of frames, h and w in patches."""
    seconds_per_pair: float
    """Time between two pairs of frames; places them on the model's temporal axis."""

    def n_tokens(self, merge: int) -> int:
        """Video tokens in the prompt: 2x2 patches make one at `merge` 2."""
        return int(self.grid.prod()) // merge**2


class Encoded(NamedTuple):
    """A batch of prompts."""

    prompt_ids: list[list[int]]
    clips: list[ClipTensors]
    """The distinct ones."""
    rows: list[int]
    """For each prompt the index of its clip."""


class PromptEncoder:
    """Turns prompts into `Encoded`: `n_frames` evenly spread frames of at most `max_pixels` pixels each."""

    def __init__(self, processor: Any, *, n_frames: int, max_pixels: int, video_token: int) -> None:
        self.processor = processor
        self.video_token = video_token
        self.merge = int(processor.video_processor.merge_size)
        self._n_frames = n_frames
        shortest = processor.video_processor.size["shortest_edge"]
        self._size = {"shortest_edge": min(shortest, max_pixels), "longest_edge": max_pixels}

    def __call__(self, prompts: Sequence[tuple[str, str]]) -> Encoded:
        """Encode (clip path, text) pairs; a pair that recurs is decoded once.

        Raises:
            VtError: a clip cannot be read, or the checkpoint's chat template leaves it out.
        """
        distinct = list(dict.fromkeys(prompts))
        encoded = {prompt: self._encode(*prompt) for prompt in distinct}
        return Encoded(
            [encoded[prompt][0] for prompt in prompts],
            [encoded[prompt][1] for prompt in distinct],
            [distinct.index(prompt) for prompt in prompts],
        )

    def _encode(self, path: str, text: str) -> tuple[list[int], ClipTensors]:
        clip = self._read(Path(path))
        content = [{"type": "video"}, {"type": "text", "text": text}]
        chat = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        inputs = self.processor(
            text=[chat],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            size=self._size,
            cap_pixels_per_frame=False,
            return_tensors="pt",
        )
        tensors = ClipTensors(
            inputs["pixel_values_videos"], inputs["video_grid_thw"][0], float(inputs["second_per_grid_ts"][0])
        )
        ids: list[int] = inputs["input_ids"][0].tolist()
        if ids.count(self.video_token) != tensors.n_tokens(self.merge):
            raise VtError(
                f"{path}: the prompt has {ids.count(self.video_token)} video tokens, its clip makes"
                f" {tensors.n_tokens(self.merge)}; the checkpoint's chat template does not place the clip as Qwen2.5-VL's does"
            )
        return ids, tensors

    def _read(self, path: Path) -> Clip:
        try:
            clip = read_clip(path, n_frames=self._n_frames)
        except ClipError as error:
            raise VtError(f"{error}; training needs every clip, see the manifest's missing_videos") from error
        if len(clip.indices) < self._n_frames:
            raise VtError(f"{path}: has {clip.n_total} frames, data.n_frames asks for {self._n_frames}")
        return clip


def batch_inputs(
    clips: Sequence[ClipTensors], input_ids: torch.Tensor, video_token: int, merge: int
) -> dict[str, torch.Tensor]:
    """What Qwen2.5-VL's forward needs beside `input_ids` (B, T), one clip a row, on the same device.

    `mm_token_type_ids` is rebuilt from the ids, whatever padding they got: without it positions fall back to plain text's.

    Raises:
        VtError: a row does not hold exactly its clip's video tokens; scored so, it would be scored unseen.
    """
    is_video = input_ids == video_token
    found, expected = is_video.sum(1).tolist(), [clip.n_tokens(merge) for clip in clips]
    if found != expected:
        raise VtError(f"the scored rows hold {found} video tokens, their clips make {expected}: they would be scored unseen")
    return {
        "pixel_values_videos": torch.cat([clip.patches for clip in clips]),
        "video_grid_thw": torch.stack([clip.grid for clip in clips]),
        "second_per_grid_ts": torch.tensor([clip.seconds_per_pair for clip in clips], device=input_ids.device),
        "mm_token_type_ids": VIDEO * is_video.int(),
    }


def bare(model: Any) -> Any:
    """The Qwen2.5-VL inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def share_vision(model: Any) -> None:
    """Let the model's vision tower encode each distinct clip of a batch once.

    `model` is a Qwen2.5-VL for generation, before PEFT or a parallel wrapper goes around it. Clips are told apart by content,
    so nothing has to be passed along, and it holds in generation, scoring and training alike.
    """
    inner = model.model
    encode: Callable[..., Any] = inner.get_video_features

    def shared(pixel_values_videos: torch.Tensor, video_grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        clips = torch.split(pixel_values_videos, video_grid_thw.prod(-1).tolist())
        firsts, rows = _distinct(clips, video_grid_thw)
        output = encode(torch.cat([clips[i] for i in firsts]), video_grid_thw[firsts], **kwargs)
        output.pooler_output = tuple(output.pooler_output[row] for row in rows)
        return output

    inner.get_video_features = shared


def _distinct(clips: Sequence[torch.Tensor], grids: torch.Tensor) -> tuple[list[int], list[int]]:
    """Index of each distinct clip's first copy, and for every clip which of these it is."""
    firsts: list[int] = []
    rows = []
    for i, clip in enumerate(clips):
        same = (n for n, j in enumerate(firsts) if torch.equal(grids[i], grids[j]) and torch.equal(clip, clips[j]))
        row = next(same, len(firsts))
        if row == len(firsts):
            firsts.append(i)
        rows.append(row)
    return firsts, rows
