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
from videothinker.pool import n_cores
from videothinker.train.data import ClipPrompt

IMAGE, VIDEO = 1, 2
"""How `mm_token_type_ids` marks an image's and a clip's tokens; text is 0."""
NOTHING = -1
"""The number of the clip of a prompt that shows nothing."""


class ClipTensors(NamedTuple):
    """One clip or image, cut into patches."""

    patches: torch.Tensor
    """(t * h * w, channels * 2 * 14 * 14) float32: a patch is 14 x 14 pixels of two frames."""
    grid: tuple[int, int, int]
    """t pairs of frames, each of h x w patches."""
    seconds_per_pair: float
    """Seconds of the clip between two pairs of frames; places them on the model's temporal axis."""
    key: str = ""
    """Hash of all that its patches depend on; "" where nobody asked for it."""
    is_image: bool = False
    """An image is one pair of frames, both the same."""

    def n_tokens(self, merge: int) -> int:
        """Video tokens in the prompt: `merge` x `merge` patches of a pair of frames make one."""
        return math.prod(self.grid) // merge**2


class Encoded(NamedTuple):
    """A batch of prompts."""

    prompt_ids: list[list[int]]
    clips: list[ClipTensors]
    """The distinct ones, in order of their first prompt."""
    rows: list[int]
    """For each prompt the index of its clip in `clips`, or `NOTHING`."""


class PromptEncoder:
    """Turns prompts into `Encoded`: `n_frames` evenly spread frames of at most `max_pixels` pixels each, or one image of at
    most `image_max_pixels`, or nothing.

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
        image_max_pixels: int | None = None,
        cache: ClipCache | None = None,
        keyed: bool = False,
    ) -> None:
        self.processor = processor
        self.video_token = video_token
        self.image_token: int = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
        self._image_max_pixels = image_max_pixels or max_pixels
        self.merge = int(processor.video_processor.merge_size)
        self._n_frames, self._max_pixels, self._cache = n_frames, max_pixels, cache
        shortest = processor.video_processor.size["shortest_edge"]
        self._size = {"shortest_edge": min(shortest, max_pixels), "longest_edge": max_pixels}
        self._keyed = store.sha256_json([self._sizing(), self._size, self._image_max_pixels]) if keyed else ""
        n_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self._threads = ThreadPoolExecutor(max(1, min(8, n_cores() // n_local)), thread_name_prefix="clips")
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
        footages = list(dict.fromkeys(prompt.clip for prompt in prompts if prompt.clip is not None))
        self.expect(footages, len(self._coming) + len(footages))
        reading = [self._coming.pop(footage) for footage in footages]
        clips = self._cut(footages, [future.result() for future in reading], device)
        clip_of: dict[Footage | None, int] = {footage: i for i, footage in enumerate(footages)} | {None: NOTHING}
        distinct = list(dict.fromkeys(prompts))
        ids = dict(
            zip(
                distinct,
                self._tokenise([(one, None if one.clip is None else clips[clip_of[one.clip]]) for one in distinct]),
                strict=True,
            )
        )
        return Encoded([ids[prompt] for prompt in prompts], clips, [clip_of[prompt.clip] for prompt in prompts])

    def damaged(
        self, asked: Sequence[tuple[Footage | None, str]], damage: Damage, device: torch.device | str = "cpu"
    ) -> tuple[list[ClipTensors], list[int]]:
        """Damaged clips, the distinct ones, and for each clip, or part of one, with a question's key the index of its own;
        `NOTHING` where there is none.

        The clips are those of a call of `self`: read again, which with a cache costs no decoding. key: what the order of
        shuffled frames is drawn from; other damages are the same for all questions about a clip.

        Raises:
            VtError: a clip cannot be read.
        """
        wanted = [(footage, key if damage is Damage.SHUFFLED else "") for footage, key in asked if footage is not None]
        distinct = {one: i for i, one in enumerate(dict.fromkeys(wanted))}
        footages = list(dict.fromkeys(footage for footage, _ in distinct))
        read = dict(zip(footages, self._threads.map(self._read, footages), strict=True))
        clips = [read[footage]._replace(frames=damaged(read[footage].frames, damage, key)) for footage, key in distinct]
        numbers = iter([distinct[one] for one in wanted])
        rows = [NOTHING if footage is None else next(numbers) for footage, _ in asked]
        return self._cut([footage for footage, _ in distinct], clips, device), rows

    def _read(self, footage: Footage) -> Clip:
        try:
            most = self._image_max_pixels if footage.is_image else self._max_pixels
            clip = cached_clip(footage, n_frames=self._n_frames, max_pixels=most, cache=self._cache)
        except ClipError as error:
            raise VtError(f"{error}; training needs every clip, see the manifest's missing_videos") from error
        if len(clip.indices) < self._n_frames and not footage.is_image:
            raise VtError(f"{footage}: has {clip.n_total} frames, data.n_frames asks for {self._n_frames}")
        return clip

    def _cut(self, footages: Sequence[Footage], read: Sequence[Clip], device: torch.device | str) -> list[ClipTensors]:
        """Resize clips and images, and cut them into patches, in the order given."""
        pairs = list(zip(footages, read, strict=True))
        clips = iter(self._cut_clips([clip for footage, clip in pairs if not footage.is_image], device))
        return [self._cut_image(clip, device) if footage.is_image else next(clips) for footage, clip in pairs]

    def _cut_image(self, image: Clip, device: torch.device | str) -> ClipTensors:
        processor, most = self.processor.image_processor, self._image_max_pixels
        inputs = processor(
            images=[torch.from_numpy(image.frames[0]).to(device).permute(2, 0, 1)],
            size={"shortest_edge": min(processor.size["shortest_edge"], most), "longest_edge": most},
            return_tensors="pt",
        )
        (grid,) = inputs["image_grid_thw"].tolist()
        return ClipTensors(inputs["pixel_values"].to(device), tuple(grid), 0.0, self._key(image), is_image=True)

    def _cut_clips(self, clips: Sequence[Clip], device: torch.device | str) -> list[ClipTensors]:
        """The processor takes clips of one size together."""
        if not clips:
            return []
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

    def _sizing(self) -> list[str]:
        """All that the processors do to pixels."""
        return [each.to_json_string() for each in (self.processor.video_processor, self.processor.image_processor)]

    def _key(self, clip: Clip) -> str:
        """Of the frames as they are shown, damage included, and of how they are sized and cut."""
        return f"{self._keyed} {hashlib.blake2b(clip.frames.tobytes(), digest_size=20).hexdigest()}" if self._keyed else ""

    def _tokenise(self, prompts: Sequence[tuple[ClipPrompt, ClipTensors | None]]) -> list[list[int]]:
        """Token ids of each prompt. The chat template places one token for the clip; it is repeated to as many as the clip
        makes."""
        texts = []
        for prompt, clip in prompts:
            if clip is None:
                texts.append(chat(self.processor, prompt.text, system=prompt.system, shows=None))
                continue
            place = self.processor.image_token if clip.is_image else self.processor.video_token
            text = chat(self.processor, prompt.text, system=prompt.system, shows="image" if clip.is_image else "video")
            texts.append(text.replace(place, place * clip.n_tokens(self.merge)))
        found: list[list[int]] = self.processor.tokenizer(texts)["input_ids"]
        for ids, (prompt, clip) in zip(found, prompts, strict=True):
            n = ids.count(self.video_token) + ids.count(self.image_token)
            if n != (wanted := 0 if clip is None else clip.n_tokens(self.merge)):
                raise VtError(
                    f"{prompt.clip or 'a prompt without a clip'}: the prompt has {n} video tokens, its clip makes {wanted}; the"
                    " checkpoint's chat template does not place the clip as Qwen2.5-VL's does"
                )
        return found


def generation_inputs(
    clips: Sequence[ClipTensors],
    rows: Sequence[int],
    prompt_ids: Sequence[Sequence[int]],
    video_token: int,
    image_token: int | None = None,
) -> dict[str, Any]:
    """What `generate` is given beside token ids, inside `showing`: one row per prompt, but each clip's patches once.

    rows: for each prompt the index of its clip, or `NOTHING`.
    """
    shown = [clips[row] for row in rows if row != NOTHING]
    videos, images = ([clip for clip in shown if clip.is_image is kind] for kind in (False, True))
    marks = {video_token: VIDEO} | ({} if image_token is None else {image_token: IMAGE})
    found: dict[str, Any] = {"mm_token_type_ids": [[marks.get(token, 0) for token in ids] for ids in prompt_ids]}
    if videos:
        found["video_grid_thw"] = torch.tensor([clip.grid for clip in videos])
        found["second_per_grid_ts"] = torch.tensor([clip.seconds_per_pair for clip in videos])
    if images:
        found["image_grid_thw"] = torch.tensor([clip.grid for clip in images])
    return found | _patches(clips)


def _patches(clips: Sequence[ClipTensors]) -> dict[str, torch.Tensor]:
    """Each clip's and each image's patches once, under the names by which the model takes them."""
    found = {}
    for name, is_image in (("pixel_values_videos", False), ("pixel_values", True)):
        if some := [clip.patches for clip in clips if clip.is_image is is_image]:
            found[name] = torch.cat(some)
    return found


def scoring_inputs(
    config: Any, clips: Sequence[ClipTensors], rows: Sequence[int], input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    """What the model's forward needs beside ids and mask, (B, T), to score rows that are about `clips[row]`, or `NOTHING`.

    Each clip's patches are there once, so the model must share its vision and run inside `showing(clips, rows)`. Positions are
    worked out from the ids, whatever their padding, by the rule of the model that scores; without them it would take the
    positions of plain text.

    Raises:
        VtError: a row does not hold exactly its clip's video tokens; scored so, it would be scored unseen.
    """
    is_seen = (input_ids == config.video_token_id) | (input_ids == config.image_token_id)
    found = is_seen.sum(1).tolist()
    merge = config.vision_config.spatial_merge_size
    expected = [0 if row == NOTHING else clips[row].n_tokens(merge) for row in rows]
    if found != expected:
        raise VtError(f"the scored rows hold {found} video tokens, their clips make {expected}: they would be scored unseen")
    device = input_ids.device
    shown = [None if row == NOTHING else clips[row] for row in rows]
    grids = torch.tensor([[(0, 0, 0) if clip is None else clip.grid] for clip in shown]).to(device)
    seconds = torch.tensor([[0.0 if clip is None else clip.seconds_per_pair] for clip in shown]).to(device)
    return {
        **_patches(clips),
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
    """What the model's vision tower makes of each clip; a constant to autograd where nothing of the tower is trained.

    With LoRA and gradient checkpointing PEFT has the embedded patches ask for a gradient. A frozen tower would then keep its
    states, compute all of its blocks anew and pass a gradient back through them, which nobody takes.
    """
    is_trained = any(weight.requires_grad for weight in model.model.visual.parameters())
    with torch.set_grad_enabled(torch.is_grad_enabled() and is_trained):
        return see(
            model, [clip.patches for clip in clips], [clip.grid for clip in clips], [clip.seconds_per_pair for clip in clips]
        )


def share_vision(model: Any, seer: Seer = see_clips) -> None:
    """Let the model's vision tower encode each clip of a batch once inside `showing`; outside it nothing changes.

    model: a Qwen2.5-VL for generation, before PEFT or a parallel wrapper goes around it. seer: what asks the tower.
    """
    inner = model.model
    encode_videos, encode_images = inner.get_video_features, inner.get_image_features

    def shared(encode: Any, patches: torch.Tensor, grids: torch.Tensor | None, kwargs: Any, *, is_image: bool) -> Any:
        shown = _shown.get()
        if shown is None:
            return encode(patches, grids, **kwargs)
        clips, rows = shown  # the grids of the call have one row per prompt, the patches are those of the distinct clips
        of_kind = [clip for clip in clips if clip.is_image is is_image]
        parts = torch.split(patches, [len(clip.patches) for clip in of_kind])
        seen = seer(model, [clip._replace(patches=part) for clip, part in zip(of_kind, parts, strict=True)])
        number = {i: n for n, i in enumerate(i for i, clip in enumerate(clips) if clip.is_image is is_image)}
        return BaseModelOutputWithPooling(pooler_output=tuple(seen[number[row]].features for row in rows if row in number))

    # `generate` looks for its inputs by the names of these arguments.
    def videos(pixel_values_videos: torch.Tensor, video_grid_thw: torch.Tensor | None = None, **kwargs: Any) -> Any:
        return shared(encode_videos, pixel_values_videos, video_grid_thw, kwargs, is_image=False)

    def images(pixel_values: torch.Tensor, image_grid_thw: torch.Tensor | None = None, **kwargs: Any) -> Any:
        return shared(encode_images, pixel_values, image_grid_thw, kwargs, is_image=True)

    inner.get_video_features, inner.get_image_features = videos, images
