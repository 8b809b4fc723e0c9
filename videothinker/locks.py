"""One writer per folder: a lock that ends with its process, however that process ends.

    with locks.alone(Path("report")):
        ...

The lock is `flock` on the file `.lock` in the folder. `store.claim` takes it for a whole run. A process may take a lock that it
holds already; the processes of one launch leave it to the main one. A lock file that a killed process left behind is empty and
locks nobody out.
"""

import atexit
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from videothinker.errors import VtError

FILE = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems say that know no locks, such as Lustre mounted without them; there a folder is not guarded."""


_held: dict[Path, IO[bytes]] = {}
"""The locked file of each folder."""
_made: set[Path] = set()
"""Folders that were made for a lock. Several locks may share one of them, and the last to go removes it."""


def take(
    folder: Path, busy: str = "another process is writing there; wait until it has ended, or choose another folder"
) -> int:
    """Lock the folder, made if it is missing, until `release` or the end of this process. Returns the lock's file descriptor.

    busy: what the message says if another process holds the lock.

    Raises:
        VtError: another process holds the lock, or the folder cannot be written to.
    """
    folder = folder.resolve()
    if folder in _held:
        return _held[folder].fileno()
    try:
        for path in (folder, *folder.parents):
            if path.exists():
                break
            _made.add(path)
        folder.mkdir(parents=True, exist_ok=True)
        file = _locked(folder / FILE)
    except OSError as error:
        _remove(folder)
        raise VtError(f"{folder}: cannot be written ({error.strerror}); choose a folder that you may write to") from error
    if file is None:
        raise VtError(f"{folder}: {busy}")
    _held[folder] = file
    return file.fileno()


def _locked(path: Path) -> IO[bytes] | None:
    """The file, locked; None if another process holds it."""
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return file
            file.close()
            raise
        # Its last holder may have removed the file between opening and locking: then this lock is on a file without a name.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def holds(folder: Path) -> bool:
    """Does this process hold the folder's lock?"""
    return folder.resolve() in _held


def release(folder: Path) -> None:
    """Give the folder up, and remove it if it was made for the lock and nothing was written."""
    folder = folder.resolve()
    file = _held.pop(folder, None)
    if file is None:
        return
    with suppress(OSError):  # the disk may have become read-only, and then the file stays
        (folder / FILE).unlink(missing_ok=True)
    file.close()
    _remove(folder)


def release_all() -> None:
    """Give every folder up that this process holds; done by itself at the process's end."""
    for folder in list(_held):
        release(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock for a while, unless this process holds it anyway.

    Raises:
        VtError: as `take` does.
    """
    held = holds(folder)
    take(folder)
    try:
        yield
    finally:
        if not held:
            release(folder)


def _remove(folder: Path) -> None:
    """Remove the folder and those above it, as far as they were made for a lock and are empty."""
    with suppress(OSError):  # not empty, or never made
        while folder in _made:
            folder.rmdir()
            _made.discard(folder)
            folder = folder.parent


def _forget() -> None:
    """A forked child holds nothing: its copies of the descriptors would keep a killed parent's folders locked."""
    for file in _held.values():
        file.close()
    _held.clear()


atexit.register(release_all)
os.register_at_fork(after_in_child=_forget)
