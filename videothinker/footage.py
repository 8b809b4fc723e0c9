"""What a question is about, where it lies on this machine: a video file, a folder of frames, a part of either, or one image.

`Footage` crosses every border between a question and its frames (cache, decoding processes, training rows, strips), so that
nobody can read a whole clip where a part of it was meant. A path alone is never passed on.
"""

import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from videothinker.records import Clip
from videothinker.records.question import IMAGE_SUFFIXES

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Endings, in any case, of the pictures of a folder of frames."""

State = tuple[int, int, int]


def parts_of(path: str) -> list[str]:
    """The folders and the file of a path, without what leads to the top.

    Files in Video-R1's form write "./videos/x.mp4", "/owner/SET/videos/x.mp4" and "Evaluation/SET/x.mp4" for one clip.
    """
    return [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", ".")]


class Footage(NamedTuple):
    """A video file or a folder of frames, and the part of it that counts.

    A part is the frames whose time lies in [start, end), in seconds from the beginning; `frames.probe` says how they are
    counted, and what becomes of an end that lies past the clip's own.
    """

    path: Path
    start: float | None = None
    """Where the part begins, in seconds; None for the beginning."""
    end: float | None = None
    """Where the part ends, in seconds; None for the end."""
    fps: float | None = None
    """Frames per second of a folder of frames, which has no clock of its own; None for a file, which has one."""

    @classmethod
    def below(cls, root: Path, clip: Clip) -> "Footage":
        """What a question is about, where `root` is the folder of clips."""
        return cls(root / clip.path, clip.start, clip.end, clip.fps)

    def __str__(self) -> str:
        """The path, and behind it the part: `clips/a.mp4 [3.1 s, 9.8 s)`."""
        if not self.is_part:
            return str(self.path)
        start = 0.0 if self.start is None else self.start
        return f"{self.path} [{start:.15g} s, {'end' if self.end is None else f'{self.end:.15g} s'})"

    @property
    def is_part(self) -> bool:
        """Whether something is left out at either end."""
        return self.start is not None or self.end is not None

    @property
    def is_image(self) -> bool:
        """Whether it is one image."""
        return self.fps is None and self.path.name.lower().endswith(IMAGE_SUFFIXES)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of frames."""
        return self.fps is not None

    def is_there(self) -> bool:
        """Whether the file is there; the folder where a rate makes it a folder of frames."""
        try:
            return self.path.is_dir() if self.is_folder else self.path.is_file()
        except ValueError:  # a null byte in the name
            return False

    def state(self) -> State | None:
        """What tells the file from a later one of the same name; None when it is not there.

        Of a folder it covers every entry: sizes and times of change are added up.
        """
        try:
            stat = self.path.stat()
            if not self.is_folder:
                return stat.st_size, stat.st_mtime_ns, stat.st_ino
            size, changed = 0, stat.st_mtime_ns
            with os.scandir(self.path) as entries:
                for entry in entries:
                    found = entry.stat()
                    size, changed = size + found.st_size, changed + found.st_mtime_ns
        except (OSError, ValueError):
            return None
        return size, changed % 2**63, stat.st_ino


def fault(start: float | None, end: float | None, fps: float | None) -> str | None:
    """Why these three do not say a part or a rate; None if they do. Not a number is out of every bound."""
    if start is not None and not 0 <= start < 1e9:
        return f"its part begins at {start:g} s, expected 0 or more"
    if end is not None and not (start or 0.0) < end < 1e9:
        return f"its part ends at {end:g} s, expected more than its beginning at {start or 0:g} s"
    if fps is not None and not 0.01 <= fps <= 1000:
        return f"its folder of frames has {fps:g} frames per second, expected 0.01 to 1000"
    return None
