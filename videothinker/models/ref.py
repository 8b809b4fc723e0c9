"""What REF may be: a checkpoint's folder here, or a hub id. Nothing is loaded or downloaded, and torch is not needed."""

import difflib
import os
import re
from pathlib import Path

from videothinker.errors import VtError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = (".json", ".toml", ".safetensors")
"""Endings of files that somebody may name in place of a folder; no checkpoint on the hub has such a name."""
_HUB_EXAMPLE = "Qwen/Qwen2.5-VL-3B-Instruct"


def local_folder(ref: str) -> Path | None:
    """The folder here that the user names; None if it can only be a hub id. What looks like a path is never asked of the hub.

    Raises:
        VtError: it looks like a path, and there is no folder.
    """
    path = Path(ref)
    # os.path takes any text for a name; Path raises for what is too long.
    if os.path.isdir(path):  # noqa: PTH112
        return path
    if os.path.exists(path):  # noqa: PTH110
        raise VtError(f"{ref}: is a file, expected the folder of a checkpoint")
    if not _HUB_ID.fullmatch(ref) or ref.startswith((".", "~")) or ref.endswith(_FILES):
        raise VtError(f"{ref}: no such folder; it is neither a folder nor a hub id such as {_HUB_EXAMPLE}")
    if os.path.isdir(path.parent):  # noqa: PTH112
        beside = difflib.get_close_matches(path.name, [other.name for other in path.parent.iterdir() if other.is_dir()], n=1)
        meant = f"; is {path.parent / beside[0]} meant?" if beside else ""
        raise VtError(f"{ref}: no such folder in {path.parent}, which is here, so the hub is not asked{meant}")
    return None
