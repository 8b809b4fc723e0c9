"""Film strips: a few frames of a clip, at the collisions, as small JPEGs inside the page.

A page carries only so many bytes of pictures (`BUDGET`); `Strips` hands them out in the order it is asked and then stops, so
that the same call order gives the same page. What has no strip is linked instead, and the page says so.
"""

import base64
import io
from collections.abc import Sequence
from itertools import pairwise

from PIL import Image

from videothinker.footage import Footage
from videothinker.frames import ClipError, probe, read_clip
from videothinker.records.scene import FPS

BUDGET = 8_000_000
"""Bytes of pictures in one page: some 400 strips, and still small enough to send around."""
N_FRAMES = 8
"""Frames of one strip."""
_WIDTH = 240
_QUALITY = 70


def strip_frames(collisions: Sequence[int], n_total: int) -> tuple[int, ...]:
    """Which frames a strip shows: the first, the last, those of the collisions, and what fills the longest gaps between.

    collisions: frames of contact. Where they are more than a strip holds, the earliest ones are shown.
    n_total: number of frames in the clip, at least 2. Returns at most `N_FRAMES` frames, increasing.
    """
    last = n_total - 1
    # Frames between two shown ones make a gap; `parts` counts the equal steps that each is cut into. Every frame that is left
    # goes to the gap with the longest steps.
    inner = sorted({frame for frame in collisions if 0 < frame < last})[: N_FRAMES - 2]
    gaps = list(pairwise((0, *inner, last)))
    parts = [1] * len(gaps)
    for _ in range(min(N_FRAMES, n_total) - len(gaps) - 1):
        widest = max(range(len(gaps)), key=lambda i: (gaps[i][1] - gaps[i][0]) / parts[i])
        parts[widest] += 1
    filled = [start + k * (end - start) // n for (start, end), n in zip(gaps, parts, strict=True) for k in range(n)]
    return (*filled, last)


class Strips:
    """Reads strips until the page's budget is used up."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.left = budget
        self.n_unreadable = 0

    def read(self, clip: Footage, frames: Sequence[int]) -> list[str] | None:
        """The frames as JPEG data URIs; None when the budget is used up, or the clip cannot be read up to them.

        frames: increasing, as a log counts them, from the beginning of the clip or of its part. A film that has only every
            so many-th frame of the log (`world.film`) shows each until the next, so that several may have one picture.
        """
        if self.left <= 0:
            return None
        try:
            every = max(1, round(FPS / probe(clip).fps))
            shown = [frame // every for frame in frames]
            indices = sorted(set(shown))
            pictures = dict(zip(indices, read_clip(clip, indices=indices).frames, strict=True))
        except ClipError:
            self.n_unreadable += 1
            return None
        uris = [_uri(Image.fromarray(pictures[index])) for index in shown]
        self.left -= sum(map(len, uris))
        return uris


def _uri(picture: Image.Image) -> str:
    picture.thumbnail((_WIDTH, _WIDTH), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
