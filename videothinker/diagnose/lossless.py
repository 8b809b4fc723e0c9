"""Frames as one clip that any decoder reads back bit for bit, at a rate that puts each of them where it was.

H.264 in RGB without loss (x264's `libx264rgb` at quantiser 0, profile High 4:4:4 Predictive): no conversion to YUV and back,
which costs 8-bit frames up to 2 levels a channel at full chroma and 19 at half (measured on a clip of data/sample, PyAV 19).
"""

import io
from fractions import Fraction

import av
import numpy as np

from videothinker.errors import VtError
from videothinker.frames import Clip

CODEC = "libx264rgb"
_OPTIONS = {"qp": "0", "preset": "veryfast"}
_MOST_TICKS = 1_000_000
"""Largest denominator of a rate: a millionth of a frame per second is nowhere seen."""


def rate(clip: Clip) -> Fraction:
    """Frames per second of a clip of these frames `alone`: the frames shown, over the seconds that the whole clip takes.

    Qwen2.5-VL's processor puts `n` frames of a clip of `n_total` at `fps` n_total / (n fps) seconds apart, whichever they are,
    and all `n` frames of a clip at this rate as well.
    """
    return Fraction(len(clip.frames) * clip.fps / clip.n_total).limit_denominator(_MOST_TICKS)


def alone(clip: Clip) -> Clip:
    """The clip's frames as a clip of their own, at `rate`.

    An odd number of frames gets its last one twice, as Qwen's processors would do to make pairs of them: some servers drop it
    instead.
    """
    frames = np.concatenate([clip.frames, clip.frames[-1:]]) if len(clip.frames) % 2 else clip.frames
    return Clip(frames, tuple(range(len(frames))), float(rate(clip)), len(frames))


def encode(clip: Clip) -> bytes:
    """An mp4 of the clip's frames, in RGB without loss, at `rate`.

    Raises:
        VtError: this build of PyAV has no x264.
    """
    if CODEC not in av.codecs_available:
        raise VtError(
            f"frames go to a server as one clip, for which PyAV needs {CODEC}; install its wheel, or use --send images"
        )
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as container:
        stream = container.add_stream(CODEC, rate=rate(clip), options=_OPTIONS)
        stream.height, stream.width = clip.frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        stream.thread_count = 1  # the same bytes on every machine
        for frame in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return held.getvalue()
