"""Which frames of a clip a checkpoint is fed, and how large they are."""

from collections.abc import Sequence
from typing import Any

from videothinker.diagnose.frame_rules import FrameRule, choose
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.frames import clip_indices
from videothinker.records.question import IMAGE_MAX_PIXELS

N_FRAMES, MAX_PIXELS = 32, 256 * 28 * 28
"""What a checkpoint is fed whose processor does not sample frames by itself (paper, evaluation set-up)."""

MOST_FRAMES = 768
"""Most frames of a clip where frames per second are set and no number is (FPS_MAX_FRAMES of qwen-vl-utils)."""

_PIXELS_PER_VIDEO = ("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")
"""Architectures whose processor's `longest_edge` bounds the pixels of a video and not of a frame."""


class FrameChoice:
    """The user's frames and pixels where they are set, otherwise the processor's own, and where it has none the paper's.

    With `settings.frame_rule` the frames are that rule's, whatever the processor would take: `n_frames` of them, or at most so
    many where frames per second are set.

    Raises on construction:
        VtError: `max_pixels` is set for a processor that gives all frames one size.
    """

    def __init__(self, video_processor: Any, model_type: str, settings: DiagnosisSettings) -> None:
        self._processor = video_processor
        self._own = bool(
            video_processor.do_sample_frames and (video_processor.num_frames or getattr(video_processor, "fps", None))
        )
        self._rule = frame_rule(settings)
        self._n_frames = self._rule.n_frames if self._rule else settings.n_frames or (None if self._own else N_FRAMES)
        by_pixels = "longest_edge" in dict(video_processor.size or {})
        if settings.max_pixels and not by_pixels:
            raise VtError(
                f"--max-pixels {settings.max_pixels}: {type(video_processor).__name__} sizes frames to "
                f"{dict(video_processor.size or {})} whatever they were; leave it out, "
                f"or give --max-pixels 0 where a protocol says so"
            )
        self._cap = settings.max_pixels or (None if self._own or not by_pixels else MAX_PIXELS)
        self._per_video = model_type in _PIXELS_PER_VIDEO
        self.max_pixels = self._cap or (None if self._per_video or not by_pixels else int(video_processor.size["longest_edge"]))
        """Most pixels that the processor keeps of a frame, as far as known: larger frames need not be held at full size."""
        n_frames = self._n_frames or video_processor.num_frames or N_FRAMES
        # Three bytes per pixel, of up to four times the pixels: a frame is shrunk when it is read only if it has more.
        self.n_bytes = n_frames * 3 * 4 * (self.max_pixels or MAX_PIXELS)
        """Most bytes that a clip's frames take in memory where they are shrunk; a rough number where the processor decides."""
        self._indices: dict[tuple[float, int], Sequence[int]] = {}

    def indices(self, fps: float, n_total: int) -> Sequence[int]:
        """The frames to take of a clip of `n_total` frames: the processor's own spacing, at the number that is set."""
        if (fps, n_total) not in self._indices:
            self._indices[fps, n_total] = self._choose(fps, n_total)
        return self._indices[fps, n_total]

    def _choose(self, fps: float, n_total: int) -> Sequence[int]:
        if self._rule is not None:
            return choose(self._rule, fps, n_total)
        from transformers.video_utils import VideoMetadata

        n_frames: int | None = self._n_frames or self._processor.num_frames
        if n_frames is not None and n_frames >= n_total:
            return range(n_total)
        if n_frames is not None and n_frames % getattr(self._processor, "temporal_patch_size", 1):
            return clip_indices(n_total, n_frames)  # Qwen's processors would round to whole pairs of frames
        metadata = VideoMetadata(total_num_frames=n_total, fps=fps, duration=n_total / fps)
        chosen = [int(i) for i in self._processor.sample_frames(metadata, num_frames=n_frames)]
        return sorted(set(chosen))[:n_frames]  # transformers' arange in float32 can give one too many

    def sizes(self, n_frames: int) -> dict[str, Any]:
        """The arguments that tell the processor how large `n_frames` frames may be."""
        if self._cap is None:
            return {}
        longest = self._cap * (n_frames if self._per_video else 1)
        shortest = min(int(self._processor.size["shortest_edge"]), longest)
        return {"size": {"shortest_edge": shortest, "longest_edge": longest}, "cap_pixels_per_frame": False}

    def describe(self) -> dict[str, Any]:
        """The frames and pixels that were set; None stands for the checkpoint's own choice."""
        rule = {} if self._rule is None else {"frame_rule": self._rule.name, "fps": self._rule.fps}
        return {"processor": type(self._processor).__name__, "n_frames": self._n_frames, **rule, "max_pixels": self._cap}


def image_size(processor: Any) -> dict[str, dict[str, int]]:
    """The argument that tells a processor of Qwen's how many pixels an image may have: its own least, and our most; none for
    one that sizes images otherwise."""
    own = dict(processor.image_processor.size or {})
    if "longest_edge" not in own:
        return {}
    least = min(own["shortest_edge"], IMAGE_MAX_PIXELS)
    return {"size": {"shortest_edge": least, "longest_edge": IMAGE_MAX_PIXELS}}


def frame_rule(settings: DiagnosisSettings) -> FrameRule | None:
    """The rule that is set, with its numbers; None where the checkpoint's processor spaces frames."""
    if settings.frame_rule is None:
        return None
    return FrameRule(settings.frame_rule, settings.n_frames or (MOST_FRAMES if settings.fps else N_FRAMES), settings.fps)
