"""Films: a roll-out as an H.264 clip like CLEVRER's (480x320, 128 frames, 25 per second).

The encoder runs on one thread with fixed settings, and without AVX-512, so the same roll-out gives the same bytes with the same
versions of numpy and PyAV.
"""

import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core._multiarray_umath import __cpu_features__ as cpu  # type: ignore[import-not-found]

from videothinker import store
from videothinker.errors import VtError
from videothinker.world import draw
from videothinker.world.camera import HEIGHT, WIDTH
from videothinker.world.simulate import Rollout
from videothinker.world.table import FPS, N_FRAMES

CRF = 24
"""x264's constant rate factor: `docs/world.md` says what it costs in bytes and in pixels."""


def write_clip(
    rollout: Rollout,
    path: Path,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    n_frames: int = N_FRAMES,
    crf: int = CRF,
) -> None:
    """Film a roll-out, factual or counterfactual, and put the mp4 at `path` in one step.

    Args:
        width, height: pixels, both even.
        n_frames: a divisor of `table.N_FRAMES`. The film has every so many-th frame from the first one on, each shown when it
            is shown in the whole film, and these are the frames that a model is shown of that if it is shown as many.
        crf: x264's quality, 0 (lossless) to 51.

    Raises:
        VtError: a side is odd, or `path` cannot be written.
    """
    if width % 2 or height % 2:
        raise VtError(f"--size {width}x{height}: H.264 needs an even width and height")
    every = N_FRAMES // n_frames
    pictures = draw.stream([rollout], width=width, height=height, indices=range(0, N_FRAMES, every))
    store.write_bytes(path, encode(pictures, width, height, rate=Fraction(FPS, every), crf=crf))


def encode(pictures: Iterable[Any], width: int, height: int, *, rate: int | Fraction = FPS, crf: int = CRF) -> bytes:
    """The mp4 file of pictures that arrive in batches of (F, 3, height, width) uint8 RGB, `rate` of them a second."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        # The plainest search for motion saves a sixth of the time and costs a tenth of the size, which crf 24 makes up for.
        x264 = "subme=1:me=dia"
        if cpu.get("AVX512F"):
            # With AVX-512 x264's look-ahead gives other bytes from one call to the next: with B frames in half of the calls,
            # without them once in a while. With AVX2, which every processor with AVX-512 has, it does not.
            x264 += ":asm=avx2"
        options = {"preset": "veryfast", "x264-params": x264, "crf": str(crf), "threads": "1", "bf": "0"}
        video = container.add_stream("libx264", rate=rate, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for some in pictures:
            for picture in some:
                frame = av.VideoFrame(width, height, "gbrp")
                # gbrp keeps green, blue and red in planes of their own, whose lines are padded to line_size bytes.
                for plane, channel in zip(frame.planes, (picture[1], picture[2], picture[0]), strict=True):
                    np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)[:, :width] = channel
                container.mux(video.encode(frame))
        container.mux(video.encode())
    return file.getvalue()
