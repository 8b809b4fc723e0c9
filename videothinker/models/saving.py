"""Saving checkpoints: each file whole or not at all, and a full disk told as one.

safetensors and torch write files in place, and know no OSError for a full disk.
"""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from videothinker import store

_BY_SAFETENSORS = re.compile(r"\(os error (\d+)\)")
_BY_TORCH = re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs \d+")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what safetensors and torch raise where the disk is full or read-only into the OSError that it is.

    folder: where they write, for the message.
    """
    try:
        yield
    except SafetensorError as error:
        if (found := _BY_SAFETENSORS.search(str(error))) is None:
            raise
        raise _refused(int(found[1]), folder) from error
    except RuntimeError as error:
        if _BY_TORCH.search(str(error)) is None:
            raise
        raise _refused(errno.ENOSPC, folder) from error  # torch does not say why; hardly anything else happens while writing


def save_whole(out: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write files into an empty folder, and put each in its place in `out` in one step, the weights last.

    A kill leaves the old file or the new one under every name.
    """
    out.mkdir(parents=True, exist_ok=True)
    beside = out / ".saving"
    shutil.rmtree(beside, ignore_errors=True)  # of a killed run
    beside.mkdir()
    try:
        with writing(out):
            fill(beside)
        for path in sorted(beside.iterdir(), key=lambda path: (path.suffix == ".safetensors", path.name)):
            store.put(path, out / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _refused(number: int, folder: Path) -> OSError:
    return OSError(number, os.strerror(number), str(folder))
