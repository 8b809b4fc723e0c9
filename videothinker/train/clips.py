"""Prompts with a clip as the model takes them: token ids, and each distinct clip's patches once.

All replies to a question share its clip. Stock TRL decodes, sizes and encodes it once for every reply. Here a clip is read
once, in threads and before its step where the order of questions is known, and the vision tower sees it once per forward pass
(`share_vision`), with the same numbers and the same gradient.
"""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from videothinker import store
from videothinker.clips import ClipCache, cached_clip
from videothinker.damage import Damage, damaged
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import Clip, ClipError
from videothinker.models.chat import chat
from videothinker.models.positions import rule_of, token_positions
from videothinker.models.vision import SeenClip, see
from videothinker.train.data import ClipPrompt

VIDEO = 2
"""How `mm_token_type_ids` marks a video token; text is 0."""


class ClipTensors(NamedTuple):
    """One clip, cut into patches."""

    patches: torch.Tensor
    """(t * h * w, channels * 2 * 14 * 14) float32: a patch is 14 x 14 pixels of two frames."""
    grid: tuple[int, int, int]
    """t pairs of frames, each of h x w patches."""
    seconds_per_pair: float
    """Seconds of the clip between two pairs of frames; places them on the model's temporal axis."""
    key: str = ""
    """Hash of all that its patches depend on; "" where nobody asked for it."""

    def n_tokens(self, merge: int) -> int:
        """Video tokens in the prompt: `merge` x `merge` patches of a pair of frames make one."""
        return math.prod(self.grid) // merge**2


class Encoded(NamedTuple):
    """A batch of prompts."""

    prompt_ids: list[list[int]]
    clips: list[ClipTensors]
    """The distinct ones, in order of their first prompt."""
    rows: list[int]
    """For each prompt the index of its clip in `clips`."""


class PromptEncoder:
    """Turns prompts into `Encoded`: `n_frames` evenly spread frames of at most `max_pixels` pixels each.

    processor: the checkpoint's. video_token: the id that stands for the clip in a prompt. cache: where decoded frames are kept,
    as `vt diagnose` keeps them; None: nowhere. keyed: give each clip its key, for what a frozen tower makes of it (`seen.py`).
    """

    def __init__(
        self,
        processor: Any,
        *,
        n_frames: int,
        max_pixels: int,
        video_token: int,
        cache: ClipCache | None = None,
        keyed: bool = False,
    ) -> None:
        self.processor = processor
        self.video_token = video_token
        self.merge = int(processor.video_processor.merge_size)
        self._n_frames, self._max_pixels, self._cache = n_frames, max_pixels, cache
        shortest = processor.video_processor.size["shortest_edge"]
        self._size = {"shortest_edge": min(shortest, max_pixels), "longest_edge": max_pixels}
        self._keyed = store.sha256_json([processor.video_processor.to_json_string(), self._size]) if keyed else ""
        n_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self._threads = ThreadPoolExecutor(max(1, min(8, (os.cpu_count() or 1) // n_local)), thread_name_prefix="clips")
        self._coming: dict[Footage, Future[Clip]] = {}

    def expect(self, footages: Iterable[Footage], at_most: int) -> None:
        """Begin to read clips that will be asked for; of those that were never asked for, only the last `at_most` are kept."""
        for footage in footages:
            if footage not in self._coming:
                self._coming[footage] = self._threads.submit(self._read, footage)
        while len(self._coming) > at_most:
            self._coming.pop(next(iter(self._coming))).cancel()

    def __call__(self, prompts: Sequence[ClipPrompt], device: torch.device | str = "cpu") -> Encoded:
        """Encode prompts. A clip, or part of one, that recurs is read once, a prompt tokenised once.

        device: where the patches are made and stay.

        Raises:
            VtError: a clip cannot be read, or the checkpoint's chat template leaves it out.
        """
        footages = list(dict.fromkeys(prompt.clip for prompt in prompts))
        self.expect(footages, len(self._coming) + len(footages))
        reading = [self._coming.pop(footage) for footage in footages]
        clips = self._cut([future.result() for future in reading], device)
        clip_of = {footage: i for i, footage in enumerate(footages)}
        distinct = list(dict.fromkeys(prompts))
        ids = dict(zip(distinct, self._tokenise([(one, clips[clip_of[one.clip]]) for one in distinct]), strict=True))
        return Encoded([ids[prompt] for prompt in prompts], clips, [clip_of[prompt.clip] for prompt in prompts])

    def damaged(
        self, asked: Sequence[tuple[Footage, str]], damage: Damage, device: torch.device | str = "cpu"
    ) -> tuple[list[ClipTensors], list[int]]:
        """Damaged clips, the distinct ones, and for each clip or part of one with a question's key the index of its own.

        The clips are those of a call of `self`: read again, which with a cache costs no decoding. key: what the order of
        shuffled frames is drawn from; other damages are the same for all questions about a clip.

        Raises:
            VtError: a clip cannot be read.
        """
        wanted = [(footage, key if damage is Damage.SHUFFLED else "") for footage, key in asked]
        distinct = {one: i for i, one in enumerate(dict.fromkeys(wanted))}
        footages = list(dict.fromkeys(footage for footage, _ in distinct))
        read = dict(zip(footages, self._threads.map(self._read, footages), strict=True))
        clips = [read[footage]._replace(frames=damaged(read[footage].frames, damage, key)) for footage, key in distinct]
        return self._cut(clips, device), [distinct[one] for one in wanted]

    def _read(self, footage: Footage) -> Clip:
        try:
            clip = cached_clip(footage, n_frames=self._n_frames, max_pixels=self._max_pixels, cache=self._cache)
        except ClipError as error:
            raise VtError(f"{error}; training needs every clip, see the manifest's missing_videos") from error
        if len(clip.indices) < self._n_frames:
            raise VtError(f"{footage}: has {clip.n_total} frames, data.n_frames asks for {self._n_frames}")
        return clip

    def _cut(self, clips: Sequence[Clip], device: torch.device | str) -> list[ClipTensors]:
        """Resize the clips and cut them into patches; the processor takes clips of one size together."""
        video = self.processor.video_processor
        inputs = video(
            videos=[torch.from_numpy(clip.frames).to(device).permute(0, 3, 1, 2) for clip in clips],
            video_metadata=[clip.metadata() for clip in clips],
            do_sample_frames=False,
            size=self._size,
            cap_pixels_per_frame=False,
            return_tensors="pt",
        )
        # One tensor has the patches of all clips, one clip after the other: t * h * w each.
        grids = inputs["video_grid_thw"].tolist()
        parts = inputs["pixel_values_videos"].split([math.prod(grid) for grid in grids])
        pair = video.temporal_patch_size
        return [
            ClipTensors(patches, tuple(grid), pair * clip.n_total / (len(clip.indices) * clip.fps), self._key(clip))
            for patches, grid, clip in zip(parts, grids, clips, strict=True)
        ]

    def _key(self, clip: Clip) -> str:
        """Of the frames as they are shown, damage included, and of how they are sized and cut."""
        return f"{self._keyed} {hashlib.blake2b(clip.frames.tobytes(), digest_size=20).hexdigest()}" if self._keyed else ""

    def _tokenise(self, prompts: Sequence[tuple[ClipPrompt, ClipTensors]]) -> list[list[int]]:
        """Token ids of each prompt. The chat template places one token for the clip; it is repeated to as many as the clip
        makes."""
        place = self.processor.video_token
        texts = []
        for prompt, clip in prompts:
            text = chat(self.processor, prompt.text, system=prompt.system)
            texts.append(text.replace(place, place * clip.n_tokens(self.merge)))
        found: list[list[int]] = self.processor.tokenizer(texts)["input_ids"]
        for ids, (prompt, clip) in zip(found, prompts, strict=True):
            if (n := ids.count(self.video_token)) != (wanted := clip.n_tokens(self.merge)):
                raise VtError(
                    f"{prompt.clip}: the prompt has {n} video tokens, its clip makes {wanted}; the checkpoint's chat template"
                    " does not place the clip as Qwen2.5-VL's does"
                )
        return found


def generation_inputs(
    clips: Sequence[ClipTensors], rows: Sequence[int], prompt_ids: Sequence[Sequence[int]], video_token: int
) -> dict[str, Any]:
    """What `generate` is given beside token ids, inside `showing`: one row per prompt, but each clip's patches once.

    rows: for each prompt the index of its clip.
    """
    return {
        "pixel_values_videos": torch.cat([clip.patches for clip in clips]),
        "video_grid_thw": torch.tensor([clips[row].grid for row in rows]),
        "second_per_grid_ts": torch.tensor([clips[row].seconds_per_pair for row in rows]),
        "mm_token_type_ids": [[VIDEO * (token == video_token) for token in ids] for ids in prompt_ids],
    }


def scoring_inputs(
    config: Any, clips: Sequence[ClipTensors], rows: Sequence[int], input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    """What the model's forward needs beside ids and mask, (B, T), to score rows that are about `clips[row]`.

    Each clip's patches are there once, so the model must share its vision and run inside `showing(clips, rows)`. Positions are
    worked out from the ids, whatever their padding, by the rule of the model that scores; without them it would take the
    positions of plain text.

    Raises:
        VtError: a row does not hold exactly its clip's video tokens; scored so, it would be scored unseen.
    """
    found = (input_ids == config.video_token_id).sum(1).tolist()
    expected = [clips[row].n_tokens(config.vision_config.spatial_merge_size) for row in rows]
    if found != expected:
        raise VtError(f"the scored rows hold {found} video tokens, their clips make {expected}: they would be scored unseen")
    device = input_ids.device
    grids = torch.tensor([[clips[row].grid] for row in rows]).to(device)
    seconds = torch.tensor([[clips[row].seconds_per_pair] for row in rows]).to(device)
    return {
        "pixel_values_videos": torch.cat([clip.patches for clip in clips]),
        "position_ids": token_positions(config, input_ids, attention_mask, grids, seconds, rule_of(config))[0],
    }


def bare(model: Any) -> Any:
    """The Qwen2.5-VL inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


_Shown = tuple[Sequence[ClipTensors], Sequence[int]]
_shown: ContextVar[_Shown | None] = ContextVar("shown", default=None)


@contextmanager
def showing(clips: Sequence[ClipTensors], rows: Sequence[int]) -> Iterator[None]:
    """Tell models that share their vision which clips they are given, and which of them each row of the batch is about."""
    token = _shown.set((clips, rows))
    try:
        yield
    finally:
        _shown.reset(token)


Seer = Callable[[Any, Sequence[ClipTensors]], list[SeenClip]]
"""Lets the vision tower of a model see clips."""


def see_clips(model: Any, clips: Sequence[ClipTensors]) -> list[SeenClip]:
    """What the model's vision tower makes of each clip."""
    return see(
        model, [clip.patches for clip in clips], [clip.grid for clip in clips], [clip.seconds_per_pair for clip in clips]
    )


def share_vision(model: Any, seer: Seer = see_clips) -> None:
    """Let the model's vision tower encode each clip of a batch once inside `showing`; outside it nothing changes.

    model: a Qwen2.5-VL for generation, before PEFT or a parallel wrapper goes around it. seer: what asks the tower.
    """
    inner = model.model
    encode = inner.get_video_features

    def shared(pixel_values_videos: torch.Tensor, video_grid_thw: torch.Tensor | None = None, **kwargs: Any) -> Any:
        shown = _shown.get()
        if shown is None:
            return encode(pixel_values_videos, video_grid_thw, **kwargs)
        clips, rows = shown  # the grids of the call have one row per prompt, the patches are those of the distinct clips
        patches = torch.split(pixel_values_videos, [len(clip.patches) for clip in clips])
        seen = seer(model, [clip._replace(patches=given) for clip, given in zip(clips, patches, strict=True)])
        return BaseModelOutputWithPooling(pooler_output=tuple(seen[row].features for row in rows))

    inner.get_video_features = shared
