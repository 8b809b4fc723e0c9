"""Folders of frames: one picture per frame, numbered, as TVQA's clips come.

Such a folder has no clock, so its rate comes with the question. Its frames are its numbered pictures, in the order of their
numbers; whatever makes it doubtful which frame is the i-th is refused.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from videothinker.demux import ClipError, Frames, said
from videothinker.footage import FRAME_SUFFIXES

_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)", re.DOTALL)
_MODES = ("RGB", "L", "P", "RGBA", "LA", "PA", "CMYK", "YCbCr", "1")
"""Kinds of pixels, by Pillow's names, of which RGB of 8 bits can be made without a choice of range."""


def pictures(folder: Path) -> list[Path]:
    """The folder's pictures in the order of their numbers; files whose name begins with a dot are no part of it.

    Raises:
        ClipError: it cannot be read, is empty or holds something else, names differ, or a number is missing or there twice.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except (OSError, ValueError) as error:
        raise ClipError(f"{folder}: cannot be read as a folder of frames ({said(error)})") from error
    numbered: list[tuple[int, str]] = []
    kinds: dict[str, str] = {}  # what stands before the number -> an example
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        found = _NUMBERED.fullmatch(stem)
        if f"{dot}{suffix}".lower() not in FRAME_SUFFIXES or found is None:
            raise ClipError(f"{folder}: holds {name!a}, expected only pictures with a number at the end, such as 00001.jpg")
        numbered.append((int(found["number"]), name))
        kinds.setdefault(found["before"], name)
    if not numbered:
        raise ClipError(f"{folder}: holds no picture, expected numbered ones, such as 00001.jpg")
    if len(kinds) > 1:
        first, second, *_ = kinds.values()
        raise ClipError(f"{folder}: holds {first!a} and {second!a}, expected the frames of one clip, named alike")
    numbered.sort()
    for (number, name), (following, next_name) in pairwise(numbered):
        if following == number:
            raise ClipError(f"{folder}: holds {name!a} and {next_name!a}, two pictures of one number")
        if following != number + 1:
            raise ClipError(f"{folder}: lacks the picture of number {number + 1}, between {name!a} and {next_name!a}")
    return [folder / name for _, name in numbered]


def read(paths: list[Path], wanted: tuple[int, ...]) -> Iterator[Frames]:
    """The pictures with these indices, upright, one by one.

    Raises:
        ClipError: one is missing, damaged, of a kind that has no plain colours, or of another size than those before.
    """
    size = None
    for index in wanted:
        frame = _picture(paths[index])
        if size not in (None, frame.shape):
            _, height, width, _ = frame.shape
            raise ClipError(f"{paths[index]}: has {width} x {height} pixels, the frames before it {size[2]} x {size[1]}")
        size = frame.shape
        yield frame


def _picture(path: Path) -> Frames:
    """(1, height, width, 3)"""
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            if picture.mode not in _MODES:
                raise ClipError(f"{path}: has pixels of the kind {picture.mode}, expected 8 bits per colour")
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))[None]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises about a file
        raise ClipError(f"{path}: cannot be read as a picture ({said(error)})") from error
