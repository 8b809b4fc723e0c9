"""A clip's frames, whichever decoder reads them: frames, their indices, the frame rate and the clip's length, together.

A video-language model places a frame in time by its index and the clip's frame rate. Without them Qwen2.5-VL takes 16 frames
of a 5 s clip for 0.7 s at 24 frames per second, silently; so `read_clip` always returns them and `Clip.metadata` hands them to
a processor.

The frames are those that were asked for, or there is a `ClipError`: docs/reliability.md says what is promised, what is not, and
which tests hold it. `demux` tells which frames there are, `decoders` decode them.
"""

import functools
import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from videothinker import decoders
from videothinker.decoders import Frames
from videothinker.demux import ClipError, survey
from videothinker.errors import VtError, missing_extra

__all__ = [
    "Backend",
    "Clip",
    "ClipError",
    "Frames",
    "available",
    "clip_indices",
    "probe",
    "read_clip",
    "resolve",
    "shrink",
]

Backend = Literal["auto", "decord", "torchcodec", "pyav"]
"""A decoder; "auto" is PyAV."""

_PACKAGES: dict[Backend, str] = {"pyav": "av", "decord": "decord", "torchcodec": "torchcodec"}
_DECODERS: dict[Backend, decoders.Decode] = {
    "pyav": decoders.pyav,
    "decord": decoders.decord,
    "torchcodec": decoders.torchcodec,
}


class Clip(NamedTuple):
    """Some frames of one clip and where they lie in it."""

    frames: Frames
    indices: tuple[int, ...]
    """0-based positions of the frames in the clip."""
    fps: float
    """The clip's frames per second; an average where its frames are not evenly spaced."""
    n_total: int
    """Number of frames in the clip."""

    def metadata(self) -> dict[str, Any]:
        """What a transformers processor needs as `video_metadata`, together with `do_sample_frames=False`."""
        _, height, width, _ = self.frames.shape
        return {
            "total_num_frames": self.n_total,
            "fps": self.fps,
            "frames_indices": list(self.indices),
            "duration": self.n_total / self.fps,
            "width": width,
            "height": height,
        }


def available() -> list[Backend]:
    """The decoders that can be loaded here; PyAV always can, and comes first."""
    return [backend for backend, package in _PACKAGES.items() if _loads(package)]


def resolve(backend: Backend) -> Backend:
    """The decoder that `backend` means on this machine.

    Raises:
        VtError: it cannot be loaded here.
    """
    if backend == "auto":
        return available()[0]
    if _loads(_PACKAGES[backend]):
        return backend
    if backend == "torchcodec":
        raise VtError("decoder torchcodec cannot be loaded: it needs the package torchcodec and FFmpeg's libraries")
    raise missing_extra(backend, "models", f"decoder {backend}")


@functools.cache
def _loads(package: str) -> bool:
    try:
        importlib.import_module(package)
    except (ImportError, OSError, RuntimeError):  # torchcodec to 0.16 without FFmpeg's libraries raises RuntimeError
        return False
    # torchcodec from 0.17 loads without them all the same, and then has no version of them
    return package != "torchcodec" or importlib.import_module(package).ffmpeg_major_version is not None


def clip_indices(n_total: int, n_frames: int | None) -> tuple[int, ...]:
    """Evenly spread frames as Qwen2.5-VL's processor picks them: every (n_total / n_frames)-th from 0, so 0, 8, ..., 120.

    None, or more frames than there are: all of them.
    """
    if n_frames is None or n_frames >= n_total:
        return tuple(range(n_total))
    return tuple(i * n_total // n_frames for i in range(n_frames))


def probe(path: Path | str, backend: Backend = "auto") -> tuple[float, int]:
    """Frames per second and number of frames of a clip; decodes none.

    Both are the same whichever decoder reads the frames later.

    Raises:
        ClipError: missing, empty, not a video, or cut short.
        VtError: the decoder cannot be loaded here.
    """
    resolve(backend)
    contents = survey(Path(path))
    return contents.fps, contents.n_total


def read_clip(
    path: Path | str,
    *,
    n_frames: int | None = None,
    indices: Sequence[int] | None = None,
    backend: Backend = "auto",
    max_pixels: int | None = None,
    n_expected: int | None = None,
) -> Clip:
    """The frames that `indices` (increasing) name, or `n_frames` evenly spread ones (`clip_indices`), or all.

    `max_pixels` only bounds memory, see `shrink`: sizing a frame for a model is its processor's work. CLEVRER's clips are small
    enough to pass as they are, so training and evaluation see the same pixels.

    n_expected: frames that an annotation says the clip has. Some containers do not say it themselves, and then nothing else
        shows that a clip ends too early.

    Raises:
        ClipError: missing, empty, not a video, cut short, seen to be damaged, of a kind that this decoder is not trusted with,
            of fewer frames than expected, or an index lies outside. Never returns a frame in another's place.
        VtError: the decoder cannot be loaded here.
    """
    path = Path(path)
    decode = _DECODERS[resolve(backend)]
    contents = survey(path)
    n_total = contents.n_total
    if n_expected is not None and n_total < n_expected:
        raise ClipError(f"{path}: has {n_total} frames, expected {n_expected}; it is cut short")
    wanted = clip_indices(n_total, n_frames) if indices is None else tuple(indices)
    if not wanted or wanted[0] < 0 or wanted[-1] >= n_total or list(wanted) != sorted(set(wanted)):
        raise ClipError(f"{path}: has {n_total} frames; asked for {_shortly(wanted)}, expected increasing ones of these")
    blocks = [shrink(block, max_pixels) for block in decode(path, contents, wanted)]
    n_read = sum(map(len, blocks))
    if n_read != len(wanted):
        raise ClipError(f"{path}: only {n_read} of the {len(wanted)} frames asked for could be decoded")
    return Clip(np.concatenate(blocks), wanted, contents.fps, n_total)


def shrink(frames: Frames, max_pixels: int | None) -> Frames:
    """Frames averaged over k x k blocks, k = floor(sqrt(height * width / max_pixels)); the same array where k < 2.

    So what is left has at least `max_pixels` pixels a frame, and fewer than four times as many.
    """
    n, height, width, _ = frames.shape
    k = 1 if max_pixels is None else math.isqrt(height * width // max_pixels)
    if k < 2:
        return frames
    height, width = height // k, width // k
    total = np.zeros((n, height, width, 3), np.uint16 if k <= 16 else np.uint32)
    for row in range(k):  # four times as fast as a mean over axes
        for column in range(k):
            total += frames[:, row : height * k : k, column : width * k : k]
    return np.rint(np.true_divide(total, k * k, dtype=np.float32)).astype(np.uint8)


def _shortly(indices: Sequence[int]) -> str:
    """All of a few numbers, the ends of many."""
    if len(indices) <= 12:
        return str(list(indices))
    return f"[{', '.join(map(str, indices[:6]))}, ..., {', '.join(map(str, indices[-3:]))}]"
