"""Clips as a checkpoint takes them: frames on its device, sized by its processor and seen by its vision tower once.

    feed = QuestionFeed(loaded, settings)
    rows = feed.rows([(feed.show(clip), questions)], prompts)

All questions about a clip share what was made of it, and clips of one size and timing are prepared in one call. What was really
fed (frames, their size, video tokens) is counted as it happens, in `fed`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from videothinker.diagnose.engines.base import PromptStart, Row, Vision
from videothinker.diagnose.frame_choice import FrameChoice
from videothinker.diagnose.prompts import Prompts
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.frames import Clip
from videothinker.models.decoder import can_decode
from videothinker.models.load import Loaded
from videothinker.models.vision import see
from videothinker.records import Question

_PATCHES = 98_304
"""Patches that the vision tower sees in one call: eight clips of 32 frames of 308 x 476."""
_KINDS = 64
"""Kinds of clips whose prompts' start is remembered. Clips as they come, and parts of them, are each of its own kind, and a
start of 16,000 tokens takes a megabyte."""


class Shown(NamedTuple):
    """One clip's frames on the model's device."""

    frames: torch.Tensor
    """(n, 3, height, width) uint8"""
    metadata: dict[str, Any]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Clips of one kind differ in their pixels alone."""
        times = self.metadata
        return *self.frames.shape, *times["frames_indices"], times["fps"], times["total_num_frames"]


ClipQuestions = tuple[Shown, Sequence[Question]]
"""A clip and the questions about it."""


class QuestionFeed:
    """Prepares clips and their questions for one loaded checkpoint.

    free: called when the vision tower runs out of memory, to give back what others keep.
    """

    def __init__(
        self, loaded: Loaded, settings: DiagnosisSettings, *, free: Callable[[], None] = torch.cuda.empty_cache
    ) -> None:
        self.frames = FrameChoice(loaded.processor.video_processor, loaded.model.config.model_type, settings)
        self.fed: Counter[tuple[int, int, int, int]] = Counter()
        """The number of clips that were fed, by frames, height, width and video tokens."""
        self._loaded, self._processor, self._device, self._free = loaded, loaded.processor, loaded.device, free
        self._shares_vision = loaded.shares_vision
        self._starts: dict[Any, PromptStart | None] = {}
        self._most_patches = _PATCHES
        self._uploads: Any = None
        if self._device.type == "cuda":
            self._uploads = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def show(self, clip: Clip) -> Shown:
        """The clip on the model's device. Called from the reader's threads, so on a GPU it has a stream beside the model's."""
        frames = torch.from_numpy(clip.frames)
        if self._uploads is not None:
            with torch.cuda.stream(self._uploads):
                frames = frames.to(self._device)
        return Shown(frames.permute(0, 3, 1, 2), clip.metadata())

    @torch.inference_mode()
    def rows(self, clips: Sequence[ClipQuestions], prompts: Prompts) -> list[Row]:
        """The clips' questions as the model takes them; clips of one kind are sized and seen together.

        Raises:
            VtError: a single clip does not fit into the device's memory.
        """
        kinds: dict[tuple[Any, ...], list[ClipQuestions]] = {}
        for shown, questions in clips:
            if shown.frames.is_cuda:
                shown.frames.record_stream(torch.cuda.current_stream(shown.frames.device))
            kinds.setdefault(shown.kind, []).append((shown, questions))
        rows: list[Row] = []
        for alike in kinds.values():
            start = self._start(alike[0][0], prompts) if self._shares_vision else None
            rows += self._rows_alike(alike, start, prompts) if start is not None else self._rows_alone(alike, prompts)
        return rows

    def process(self, text: str, shown: Shown) -> dict[str, Any]:
        """The processor's output for one prompt about one clip."""
        inputs = self._processor(
            text=[text],
            videos=[shown.frames],
            video_metadata=[shown.metadata],
            do_sample_frames=False,
            return_tensors="pt",
            **self.frames.sizes(len(shown.frames)),
        )
        inputs.pop("video_metadata", None)
        return dict(inputs)

    def patches(self, alike: Sequence[Shown]) -> list[torch.Tensor]:
        """Pixels of clips of one kind, sized and cut into patches by the processor's own code, all in one call."""
        inputs = self._processor.video_processor(
            videos=[shown.frames for shown in alike],
            video_metadata=[shown.metadata for shown in alike],
            do_sample_frames=False,
            return_tensors="pt",
            **self.frames.sizes(len(alike[0].frames)),
        )
        pixels: torch.Tensor = inputs["pixel_values_videos"]
        return list(pixels.to(self._device).chunk(len(alike)))

    def _rows_alike(self, alike: Sequence[ClipQuestions], start: PromptStart, prompts: Prompts) -> list[Row]:
        """Rows of clips of one kind, whose prompts differ in their last tokens alone."""
        assert prompts.ends is not None  # without them there is no start
        visions = self._see(self.patches([shown for shown, _ in alike]), start)
        self.fed[start.fed] += len(alike)
        return [
            Row(question.question_id, start.ids + prompts.ends[question.question_id], start, vision)
            for vision, (_, questions) in zip(visions, alike, strict=True)
            for question in questions
        ]

    def _start(self, shown: Shown, prompts: Prompts) -> PromptStart | None:
        """What all clips of this kind have in common; None where the question is not simply the end of the tokens."""
        if prompts.ends is None:
            return None
        if shown.kind not in self._starts:
            example = next(iter(prompts.texts))
            inputs = self.process(prompts.texts[example], shown)
            del inputs["pixel_values_videos"]
            if len(self._starts) >= _KINDS:
                del self._starts[next(iter(self._starts))]
            self._starts[shown.kind] = self._split(inputs, prompts.ends[example], shown)
        return self._starts[shown.kind]

    def _rows_alone(self, clips: Sequence[ClipQuestions], prompts: Prompts) -> list[Row]:
        return [row for shown, questions in clips for row in self._rows_of_one(shown, questions, prompts)]

    def _rows_of_one(self, shown: Shown, questions: Sequence[Question], prompts: Prompts) -> list[Row]:
        """The rows of one clip by the plainer way, through the whole processor.

        It runs once if the prompts differ only in the end of their tokens, and otherwise once per question.
        """
        ids = [question.question_id for question in questions]
        inputs = self.process(prompts.texts[ids[0]], shown)
        pixels = inputs.pop("pixel_values_videos") if self._shares_vision else None
        start = None if prompts.ends is None else self._split(inputs, prompts.ends[ids[0]], shown)
        if start is not None and prompts.ends is not None:
            pairs = [(start, prompts.ends[question_id]) for question_id in ids]
        else:
            again = [self.process(prompts.texts[question_id], shown) for question_id in ids[1:]]
            whole = [self._split(each, [], shown) for each in (inputs, *again)]
            pairs = [(each, []) for each in whole if each is not None]
            for each, _ in pairs:
                if pixels is not None:
                    each.tensors.pop("pixel_values_videos", None)
        self.fed[pairs[0][0].fed] += 1
        vision = None if pixels is None else self._see([pixels], pairs[0][0])[0]
        return [Row(question_id, start.ids + end, start, vision) for question_id, (start, end) in zip(ids, pairs, strict=True)]

    def _split(self, inputs: Mapping[str, Any], end: list[int], shown: Shown) -> PromptStart | None:
        """The processor's output without its last tokens, `end`; None where it does not end with them."""
        ids: list[int] = inputs["input_ids"][0].tolist()
        kept = len(ids) - len(end)
        if ids[kept:] != end:
            return None
        marks, tensors = {}, {}
        for key, value in inputs.items():
            if isinstance(value, torch.Tensor) and value.shape == (1, len(ids)):
                marks[key] = value[0, :kept].tolist()
            else:
                tensors[key] = value
        del marks["input_ids"]
        return PromptStart(ids[:kept], marks, tensors, self._size_of(shown, inputs))

    def _size_of(self, shown: Shown, inputs: Mapping[str, Any]) -> tuple[int, int, int, int]:
        if "video_grid_thw" in inputs:
            patch = self._processor.video_processor.patch_size
            height, width = (int(n) * patch for n in inputs["video_grid_thw"][0, 1:])
        else:
            pixels = inputs["pixel_values_videos"] if "pixel_values_videos" in inputs else inputs["pixel_values"]
            height, width = pixels.shape[-2:]
        video = self._loaded.video_tokens or self._loaded.placeholders
        n_tokens = sum(int((inputs["input_ids"] == token).sum()) for token in video)
        return len(shown.frames), height, width, n_tokens

    def _see(self, patches: Sequence[torch.Tensor], start: PromptStart) -> list[Vision]:
        """Let the vision tower see clips that share a prompt's start, as many at once as memory allows."""
        seen: list[Vision] = []
        while len(seen) < len(patches):
            some = patches[len(seen) : len(seen) + max(1, self._most_patches // len(patches[0]))]
            try:
                seen += self._see_at_once(some, start)
            except torch.OutOfMemoryError:
                if len(some) == 1:
                    raise no_memory(self._loaded) from None
                self._most_patches = len(some) // 2 * len(patches[0])
                self._free()
        return seen

    def _see_at_once(self, patches: Sequence[torch.Tensor], start: PromptStart) -> list[Vision]:
        model, grid = self._loaded.model, start.tensors["video_grid_thw"]
        if can_decode(model):
            t, h, w = grid[0].tolist()
            clips = see(model, patches, [(t, h, w)] * len(patches), [0.0] * len(patches))
            return [Vision(clip.features) for clip in clips]
        grids = grid.to(self._device).repeat(len(patches), 1)
        output = model.base_model.get_video_features(torch.cat(list(patches)), grids, return_dict=True)
        layers = getattr(output, "deepstack_features", None) or []
        return [Vision(each, tuple(layer[i] for layer in layers)) for i, each in enumerate(output.pooler_output)]


def no_memory(loaded: Loaded) -> VtError:
    """The error for a device on which not even one question fits."""
    return VtError(f"{loaded.ref}: {loaded.device} runs out of memory with a single question; lower --frames or --max-pixels")
