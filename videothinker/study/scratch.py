"""A folder for files that are moved into place once all of them are written, and what a killed process left of one."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from videothinker import locks


@contextmanager
def scratch(folder: Path, kind: str) -> Iterator[Path]:
    """Yield an empty hidden folder in `folder`, which is made if it is missing, and remove it in the end.

    Folders of the same kind that killed processes left there are removed first, and nothing else: a process that is at work
    holds the lock of `folder`.

    Raises:
        VtError: another process is at work there, or the folder cannot be written to.
    """
    prefix = f".vt-{kind}-"
    left = re.compile(re.escape(prefix) + "[a-z0-9_]{8}")  # as tempfile ends its names
    with locks.alone(folder):
        for path in folder.iterdir():
            if left.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
        with TemporaryDirectory(dir=folder, prefix=prefix) as made:
            yield Path(made)
