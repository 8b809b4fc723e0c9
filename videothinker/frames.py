"""A clip's frames, whichever decoder reads them: frames, their indices, the frame rate and the clip's length, together.

A video-language model places a frame in time by its index and the clip's frame rate. Without them Qwen2.5-VL takes 16 frames
of a 5 s clip for 0.7 s at 24 frames per second, silently; so `read_clip` always returns them and `Clip.metadata` hands them to
a processor.

A part of a clip is read as if it had been cut out beforehand: frames are numbered and timed from the part's own beginning.

The frames are those that were asked for, or there is a `ClipError`: docs/reliability.md says what is promised, what is not, and
which tests hold it. `demux` tells which frames there are, `decoders` decode them.
"""

import functools
import importlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker import decoders, frame_folder
from videothinker.demux import ClipError, Contents, Frames, survey
from videothinker.errors import VtError, missing_extra
from videothinker.footage import Footage, fault

__all__ = [
    "Backend",
    "Clip",
    "ClipError",
    "Extent",
    "Footage",
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


END_SLACK_S = 1.0
"""Seconds by which a part may end after its clip: releases round, and take the sound's length for the picture's."""


class Extent(NamedTuple):
    """Which frames of a file or folder its footage is."""

    fps: float
    """Frames per second of the part; an average where they are not evenly spaced."""
    n_total: int
    """Number of frames of the part."""
    first: int = 0
    """0-based position of the part's first frame in the file or folder."""
    past_end_s: float = 0.0
    """Seconds by which the part was said to end after the clip does, and which are left out; at most 1."""


class Clip(NamedTuple):
    """Some frames of one clip, or of a part of one, and where they lie in it."""

    frames: Frames
    indices: tuple[int, ...]
    """0-based positions of the frames in the clip; in a part, from the part's first frame."""
    fps: float
    """Frames per second of the clip or part; an average where its frames are not evenly spaced."""
    n_total: int
    """Number of frames in the clip or part."""

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
        return "pyav"  # always here, and asking whether the others are would import torch
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


def probe(footage: Footage | Path | str, backend: Backend = "auto") -> Extent:
    """Which frames the footage is, and how many per second; decodes none. The same whichever decoder reads them later.

    A part is the frames shown at `start` or later and before `end`, to the microsecond. Times count from the clip's beginning,
    which is second 0 of a player: the earliest timestamp of picture and sound. Frame i of a container without timestamps, or of
    a folder, is shown at i / fps. An `end` up to a second after the end of the clip's last frame means that end.

    Raises:
        ClipError: missing, empty, not a video or not a folder of numbered pictures, cut short; or the part has no frame, begins
            after the clip's end, or ends more than a second after it.
        VtError: the decoder cannot be loaded here.
    """
    resolve(backend)
    return _opened(_footage(footage))[1]


def read_clip(
    footage: Footage | Path | str,
    *,
    n_frames: int | None = None,
    indices: Sequence[int] | None = None,
    backend: Backend = "auto",
    max_pixels: int | None = None,
    n_expected: int | None = None,
) -> Clip:
    """The frames that `indices` (increasing) name, or `n_frames` evenly spread ones (`clip_indices`), or all.

    footage: a path stands for all of its file. Indices count from the part's first frame.

    `max_pixels` only bounds memory, see `shrink`: sizing a frame for a model is its processor's work. CLEVRER's clips are small
    enough to pass as they are, so training and evaluation see the same pixels.

    n_expected: frames that an annotation says the footage has. Some containers do not say it themselves, and then nothing else
        shows that a clip ends too early.

    Raises:
        ClipError: what `probe` raises, or seen to be damaged, of a kind that this decoder is not trusted with, of fewer frames
            than expected, or an index lies outside. Never returns a frame in another's place.
        VtError: the decoder cannot be loaded here.
    """
    footage = _footage(footage)
    decode = _DECODERS[resolve(backend)]
    contents, extent = _opened(footage)
    n_total = extent.n_total
    if n_expected is not None and n_total < n_expected:
        raise ClipError(f"{footage}: has {n_total} frames, expected {n_expected}; it is cut short")
    wanted = clip_indices(n_total, n_frames) if indices is None else tuple(indices)
    if not wanted or wanted[0] < 0 or wanted[-1] >= n_total or list(wanted) != sorted(set(wanted)):
        raise ClipError(f"{footage}: has {n_total} frames; asked for {_shortly(wanted)}, expected increasing ones of these")
    there = tuple(extent.first + index for index in wanted)
    blocks = frame_folder.read(contents, there) if isinstance(contents, list) else decode(footage.path, contents, there)
    frames, n_read = _gathered((shrink(block, max_pixels) for block in blocks), len(wanted))
    if frames is None or n_read != len(wanted):
        raise ClipError(f"{footage}: only {n_read} of the {len(wanted)} frames asked for could be decoded")
    return Clip(frames, wanted, extent.fps, n_total)


def _footage(footage: Footage | Path | str) -> Footage:
    return footage if isinstance(footage, Footage) else Footage(Path(footage))


def _gathered(blocks: Iterable[Frames], n: int) -> tuple[Frames | None, int]:
    """The blocks' frames in one array with room for `n`, and how many there were; the blocks are held one at a time."""
    frames, n_read = None, 0
    for block in blocks:
        if frames is None:
            frames = np.empty((n, *block.shape[1:]), np.uint8)
        frames[n_read : n_read + len(block)] = block
        n_read += len(block)
    return frames, n_read


def _opened(footage: Footage) -> tuple[Contents | list[Path], Extent]:
    """What a file holds, or a folder's pictures; and the part of it."""
    if (wrong := fault(footage.start, footage.end, footage.fps)) is not None:
        raise ClipError(f"{footage.path}: {wrong}")
    if footage.fps is not None:
        if footage.path.is_file():
            raise ClipError(f"{footage.path}: is a file, expected a folder of frames, as its frames per second (fps) are given")
        paths = frame_folder.pictures(footage.path)
        whole = Extent(footage.fps, len(paths))
        return paths, _part(footage, np.arange(len(paths)) / footage.fps, whole) if footage.is_part else whole
    if footage.path.is_dir():
        raise ClipError(f"{footage.path}: is a folder, expected a file; a folder of frames needs its frames per second (fps)")
    if footage.is_image and footage.path.is_file():
        return [footage.path], Extent(1.0, 1)
    contents = survey(footage.path)
    whole = Extent(contents.fps, contents.n_total)
    if not footage.is_part:
        return contents, whole
    part = _part(footage, contents.seconds(), whole)
    return contents, part._replace(fps=contents.rate(part.first, part.n_total))


def _part(footage: Footage, seconds: NDArray[np.float64], whole: Extent) -> Extent:
    """The part of a clip whose frames are shown at these seconds."""
    # Compared in whole microseconds, so that 0.1 s is the frame at 1/10 s, however either number is rounded.
    shown = np.rint(seconds * 1e6).astype(np.int64)
    clip_end = float(seconds[-1]) + 1 / whole.fps
    start = 0.0 if footage.start is None else footage.start
    end = clip_end if footage.end is None else footage.end
    if start >= clip_end:
        raise ClipError(f"{footage.path}: its part begins at {start:.15g} s, and the clip ends at {clip_end:.3f} s")
    if (past_end_s := max(0.0, end - clip_end)) > END_SLACK_S:
        raise ClipError(
            f"{footage.path}: its part ends at {end:.15g} s, and the clip at {clip_end:.3f} s, more than a second earlier;"
            " is it another clip, or cut short?"
        )
    first = int(np.searchsorted(shown, round(start * 1e6)))
    last = len(shown) if footage.end is None else int(np.searchsorted(shown, round(end * 1e6)))
    if first >= last:
        raise ClipError(f"{footage.path}: shows no frame from {start:.15g} s to before {end:.15g} s ({whole.fps:g} per second)")
    # Beginnings and ends are rounded in releases, often to hundredths; a frame's length more is nothing to tell.
    return Extent(whole.fps, last - first, first, past_end_s if past_end_s > 1 / whole.fps else 0.0)


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
