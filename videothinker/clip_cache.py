"""Decoded frames on disk, so that the next checkpoint need not decode them again, and what is known of clips read before.

What cannot be read back exactly as it was written does not count as kept: an entry and a line of the index each carry a
checksum, a damaged one is thrown away, and the clip is decoded again.
"""

import math
import os
import struct
import threading
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec
import numpy as np

from videothinker import store
from videothinker.errors import VtError
from videothinker.footage import Footage, State
from videothinker.frames import Frames

FOLDER = "VIDEOTHINKER_CACHE"
"""Environment variable: the folder that holds the cache."""
LIMIT = "VIDEOTHINKER_CACHE_GB"
"""Environment variable: gibibytes that decoded clips may take on disk."""

_MAGIC = b"VTclip2\n"
_SHAPE = struct.Struct("<8s4I")  # ahead of the frames in a cache entry: what and which version it is, and their shape
_SUM = struct.Struct("<Q")  # then the CRC-32 of all that stands before and behind it
_HEAD = _SHAPE.size + _SUM.size
_SUFFIX = ".frames"
_OLD = (".npy", "seen.jsonl")  # what earlier versions left; nobody reads it any more, and it leaves with the oldest entries
_INDEX = "seen-2.jsonl"
_INDEX_BYTES = 64 * 2**20  # about 200,000 clips


class Seen(NamedTuple):
    """What is known of a clip, or of a part of one, without opening its file."""

    digest: str
    """SHA-256 of the file's bytes, or of a folder's names and pictures; a part has that of its whole."""
    fps: float
    n_total: int
    first: int = 0
    past_end_s: float = 0.0
    """These four are those of `frames.Extent`."""

    def there(self, indices: Sequence[int]) -> list[int]:
        """Where the part's frames with these indices lie in the file or folder."""
        return [self.first + index for index in indices]


class _Line(msgspec.Struct, array_like=True):
    name: str
    state: State
    seen: Seen


class ClipIndex:
    """What the clips were that were read before, by path, part, rate, size, time of change and inode: a file beside the cache.

    So a clip whose frames are kept is neither opened nor hashed again. Any number of processes and threads may share it; each
    sees what others noted before it began.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, _Line] | None = None
        self._lock = threading.Lock()

    def find(self, footage: Footage, state: State) -> Seen | None:
        """What was noted of the footage when its file was in this state."""
        with self._lock:
            if self._lines is None:
                self._lines = self._read()
        line = self._lines.get(_name(footage))
        return line.seen if line is not None and line.state == state else None

    def note(self, footage: Footage, state: State, seen: Seen) -> None:
        """Remember it, here and on disk; a disk that cannot be written costs the next run time and this one nothing."""
        line = _Line(_name(footage), state, seen)
        with self._lock, suppress(OSError):
            if self._lines is not None:
                self._lines[line.name] = line
            self.path.parent.mkdir(parents=True, exist_ok=True)
            row = msgspec.json.encode(line)
            with self.path.open("ab", buffering=0) as file:  # one write of one line: others append to it as well
                file.write(b"\n%08x %s" % (zlib.crc32(row), row))

    def _read(self) -> dict[str, _Line]:
        try:
            data = self.path.read_bytes()
        except OSError:
            return {}
        if len(data) > _INDEX_BYTES:  # mostly of clips that are gone
            self.path.unlink(missing_ok=True)
            return {}
        decoder = msgspec.json.Decoder(_Line)
        lines = {}
        for row in data.splitlines():
            checksum, _, row = row.partition(b" ")
            if checksum != b"%08x" % zlib.crc32(row):  # torn, damaged or empty
                continue
            with suppress(msgspec.MsgspecError):
                line = decoder.decode(row)
                lines[line.name] = line
        return lines


def _name(footage: Footage) -> str:
    """The path as JSON can hold it, since a file's name need not be UTF-8; of a part, or a folder, with part and rate."""
    path = str(footage.path.absolute()).encode("utf-8", "backslashreplace").decode()
    if not footage.is_part and not footage.is_folder:
        return path
    return msgspec.json.encode([path, *footage[1:]]).decode()  # begins with [, and a path with /


class ClipCache:
    """Decoded frames on disk, the least recently used leaving first. Any number of processes may share a folder.

    Each process looks at the folder's size only after it has written a 32nd of what was left, so many processes together may
    overshoot the limit by a few percent for a while.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self.index = ClipIndex(folder / _INDEX)
        self._unchecked = 0  # bytes that may be written before the next look at the folder

    def __reduce__(self) -> tuple[Any, ...]:
        return ClipCache, (self.folder, self.limit_bytes)

    def get(self, key: str) -> Frames | None:
        """The frames kept under `key`, which now count as used; None when there are none. A damaged entry leaves the cache."""
        path = self.folder / f"{key}{_SUFFIX}"
        try:
            with path.open("rb") as file:
                frames = _read(file)
            if frames is None:
                path.unlink(missing_ok=True)
        except OSError:  # gone, or it cannot be read: decode again
            return None
        with suppress(OSError):  # who may only read the cache does not count as a user
            os.utime(path)
        return frames

    def put(self, key: str, frames: Frames) -> None:
        """Keep `frames`, whole or not at all; now and then older entries leave until all fit into `limit_bytes`.

        Raises:
            VtError: the folder cannot be written to.
        """
        if frames.nbytes > self.limit_bytes:
            return
        shape = _SHAPE.pack(_MAGIC, *frames.shape)
        content = frames.tobytes()
        data = b"".join((shape, _SUM.pack(_checksum(shape, content)), content))
        try:
            store.write_bytes(self.folder / f"{key}{_SUFFIX}", data, durable=False)
            self._unchecked -= len(data)
            if self._unchecked < 0:
                self._unchecked = self._make_room() // 32
        except (OSError, VtError) as error:
            reason = error if isinstance(error, OSError) else error.__cause__
            raise VtError(
                f"{self.folder}: decoded clips cannot be kept here ({getattr(reason, 'strerror', None) or error}); "
                f"free some space, or set ${FOLDER} to a folder that can be written to"
            ) from error

    def _make_room(self) -> int:
        """Bytes that are left under the limit, once older entries have left; then at least a 16th of it."""
        entries = []
        with os.scandir(self.folder) as found:
            for entry in found:
                if entry.name.endswith((_SUFFIX, *_OLD)):
                    with suppress(FileNotFoundError):  # another process makes room too
                        stat = entry.stat()
                        entries.append((stat.st_mtime_ns, stat.st_size, entry.path))
        taken = sum(size for _, size, _ in entries)
        if taken > self.limit_bytes:
            for _, size, path in sorted(entries):
                Path(path).unlink(missing_ok=True)
                taken -= size
                if taken <= self.limit_bytes * 15 // 16:
                    break
        return self.limit_bytes - taken


def _read(file: BinaryIO) -> Frames | None:
    """The frames of an entry; None when they are not those that were written."""
    head = file.read(_HEAD)
    if len(head) < _HEAD:
        return None
    magic, *shape = _SHAPE.unpack_from(head)
    (checksum,) = _SUM.unpack_from(head, _SHAPE.size)
    if magic != _MAGIC or not all(shape) or os.fstat(file.fileno()).st_size != _HEAD + math.prod(shape):
        return None
    frames = np.empty(shape, np.uint8)
    content = frames.reshape(-1).data
    if file.readinto(content) != frames.nbytes or _checksum(head[: _SHAPE.size], content) != checksum:  # type: ignore[attr-defined]
        return None
    return frames


def _checksum(shape: bytes, content: bytes | memoryview) -> int:
    return zlib.crc32(content, zlib.crc32(shape))


def default_cache() -> ClipCache:
    """The user's cache folder: $VIDEOTHINKER_CACHE, else $XDG_CACHE_HOME/videothinker, else ~/.cache/videothinker.

    It holds $VIDEOTHINKER_CACHE_GB gibibytes, 8 where that is not set.

    Raises:
        VtError: $VIDEOTHINKER_CACHE_GB is not a positive number.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get(FOLDER) or f"{base}/videothinker").expanduser() / "clips"
    text = os.environ.get(LIMIT) or "8"
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise VtError(f"${LIMIT} is {text!r}, expected the gibibytes that decoded clips may take on disk, such as 8")
    return ClipCache(folder, int(limit * 2**30))
