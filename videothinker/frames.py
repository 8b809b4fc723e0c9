"""A clip's frames, whichever decoder reads them: frames, their indices, the frame rate and the clip's length, together.

A video-language model places a frame in time by its index and the clip's frame rate. Lose them and Qwen2.5-VL takes 16 frames
of a 5 s clip for 0.7 s at 24 frames a second, silently; so `read_clip` always returns them and `Clip.metadata` hands them to a
processor. PyAV, decord and torchcodec return the same pixels (tests/test_frames.py).
"""

import functools
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker.errors import VtError, missing_extra

Backend = Literal["auto", "decord", "torchcodec", "pyav"]
"""A decoder; "auto" is the first of `available()`."""

Frames = NDArray[np.uint8]
"""(n, height, width, 3) RGB."""

_PACKAGES: dict[Backend, str] = {"decord": "decord", "torchcodec": "torchcodec", "pyav": "av"}  # fastest first
_BLOCK = 16  # frames held at full size at a time


class Clip(NamedTuple):
    """Some frames of one clip and where they lie in it."""

    frames: Frames
    indices: tuple[int, ...]
    """0-based positions of the frames in the clip."""
    fps: float
    """The clip's frames a second."""
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


class ClipError(Exception):
    """A clip cannot be read; the message names the file and says why. Costs that clip's questions, never a run."""


def available() -> list[Backend]:
    """The decoders that can be loaded here, the fastest first; PyAV always can."""
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
    """Frames a second and number of frames of a clip; decodes none.

    Raises:
        ClipError: missing, empty, or not a video.
        VtError: the decoder cannot be loaded here.
    """
    source = _open(Path(path), resolve(backend))
    return source.fps, source.n_total


def read_clip(
    path: Path | str,
    *,
    n_frames: int | None = None,
    indices: Sequence[int] | None = None,
    backend: Backend = "auto",
    max_pixels: int | None = None,
) -> Clip:
    """The frames that `indices` (increasing) name, or `n_frames` evenly spread ones (`clip_indices`), or all.

    `max_pixels` only bounds memory, see `shrink`: sizing a frame for a model is its processor's work. CLEVRER's clips are small
    enough to pass as they are, so training and evaluation see the same pixels.

    Raises:
        ClipError: missing, empty, not a video, cut short, or an index lies outside. Never returns a frame in another's place.
        VtError: the decoder cannot be loaded here.
    """
    path = Path(path)
    source = _open(path, resolve(backend))
    wanted = clip_indices(source.n_total, n_frames) if indices is None else tuple(indices)
    if not wanted or wanted[0] < 0 or wanted[-1] >= source.n_total or list(wanted) != sorted(set(wanted)):
        raise ClipError(f"{path}: has {source.n_total} frames; asked for {list(wanted)}, expected increasing ones of these")
    blocks = [shrink(block, max_pixels) for block in source.decode(wanted)]
    n_read = sum(map(len, blocks))
    if n_read != len(wanted):
        raise ClipError(f"{path}: only {n_read} of the {len(wanted)} frames asked for could be decoded; it is cut short")
    return Clip(np.concatenate(blocks), wanted, source.fps, source.n_total)


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


class _Source(NamedTuple):
    """An opened clip."""

    fps: float
    n_total: int
    decode: Callable[[tuple[int, ...]], Iterator[Frames]]
    """The frames with these indices, a few at a time; fewer than asked for when the file is cut short."""


def _open(path: Path, backend: Backend) -> _Source:
    try:
        empty = path.stat().st_size == 0
    except OSError as error:
        raise ClipError(f"{path}: cannot be read ({error.strerror})") from error
    if empty:
        raise ClipError(f"{path}: is an empty file")
    source = {"pyav": _pyav, "decord": _decord, "torchcodec": _torchcodec}[backend](path)
    if source.n_total < 1 or not source.fps > 0:
        raise ClipError(f"{path}: has {source.n_total} frames at {source.fps} a second")
    return source


def _pyav(path: Path) -> _Source:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ClipError(f"{path}: has no video stream")
            stream = container.streams.video[0]
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            n_total = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
    except av.error.FFmpegError as error:
        raise ClipError(f"{path}: cannot be opened ({error.strerror})") from error

    def decode(indices: tuple[int, ...]) -> Iterator[Frames]:
        wanted = set(indices)
        try:
            with av.open(str(path)) as container:
                for index, frame in enumerate(container.decode(video=0)):  # counting is exact where seeking to a time is not
                    if index in wanted:
                        yield frame.to_ndarray(format="rgb24")[None]
                    if index == indices[-1]:
                        return
        except av.error.FFmpegError as error:
            raise ClipError(f"{path}: cannot be decoded ({error.strerror})") from error

    return _Source(fps, n_total, decode)


def _decord(path: Path) -> _Source:
    import decord

    decord.logging.set_level(decord.logging.FATAL)  # what is wrong with a file is in the error, not also on stderr
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
    except (RuntimeError, decord.DECORDError) as error:
        raise ClipError(f"{path}: cannot be opened ({_first_line(error)})") from error

    def decode(indices: tuple[int, ...]) -> Iterator[Frames]:
        try:
            for start in range(0, len(indices), _BLOCK):
                yield reader.get_batch(list(indices[start : start + _BLOCK])).asnumpy()
        except (RuntimeError, decord.DECORDError) as error:
            raise ClipError(f"{path}: cannot be decoded ({_first_line(error)})") from error

    return _Source(float(reader.get_avg_fps()), len(reader), decode)


def _torchcodec(path: Path) -> _Source:
    from torchcodec.decoders import VideoDecoder

    try:
        reader = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    except (RuntimeError, ValueError) as error:
        raise ClipError(f"{path}: cannot be opened ({_first_line(error)})") from error

    said, found = reader.metadata.num_frames_from_header, reader.metadata.num_frames_from_content
    if said is not None and found is not None and found < said:  # torchcodec itself would take it for a shorter clip
        raise ClipError(f"{path}: has {found} of its {said} frames; it is cut short")

    def decode(indices: tuple[int, ...]) -> Iterator[Frames]:
        try:
            for start in range(0, len(indices), _BLOCK):
                yield reader.get_frames_at(list(indices[start : start + _BLOCK])).data.numpy()
        except RuntimeError as error:
            raise ClipError(f"{path}: cannot be decoded ({_first_line(error)})") from error

    return _Source(float(reader.metadata.average_fps), int(reader.metadata.num_frames), decode)


def _first_line(error: BaseException) -> str:
    """What a decoder said, without the C++ stack trace it adds."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
