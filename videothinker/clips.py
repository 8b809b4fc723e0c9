"""Clips decoded ahead of a model, in processes that can be killed, and kept on disk for the next checkpoint.

A decoder may never return from a damaged file, or take its process with it. Here such a clip is a `ClipError` after a time
limit, while the others go on.

    with ClipReader(sample=lambda fps, n_total: clip_indices(n_total, 32)) as reader:
        for path, clip in reader.read(paths):
            ...
"""

import math
import os
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from videothinker import store
from videothinker.errors import VtError
from videothinker.frames import Backend, Clip, ClipError, Frames, clip_indices, probe, read_clip, resolve
from videothinker.progress import Progress, no_progress

R = TypeVar("R")

Sample = Callable[[float, int], Sequence[int]]
"""(frames a second, number of frames) of a clip -> the indices to read, increasing."""

LIMIT = "VIDEOTHINKER_CACHE_GB"
"""Environment variable: gibibytes that decoded clips may take on disk."""

_SHAPE = struct.Struct("<4Q")  # ahead of the frames in a cache entry
_SUFFIX = ".frames"
_INDEX_BYTES = 64 * 2**20  # about 200,000 clips
_START_S = 120.0  # a decoding process has to import numpy; on a busy machine that takes its time


class Seen(NamedTuple):
    """What is known of a clip's file without opening it."""

    digest: str
    """SHA-256 of its bytes."""
    fps: float
    n_total: int


class _Line(msgspec.Struct, array_like=True):
    path: str
    state: tuple[int, int, int]
    seen: Seen


class ClipIndex:
    """Which content the clips had that were read before, by path, size, time of change and inode: a file beside the cache.

    So a clip whose frames are kept is neither opened nor hashed again. Any number of processes and threads may share it; each
    sees what others noted before it began.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, _Line] | None = None
        self._lock = threading.Lock()

    @staticmethod
    def state(path: Path) -> tuple[int, int, int] | None:
        """What tells the file from a later one of the same name; None when it is not there."""
        try:
            stat = path.stat()
        except OSError:
            return None
        return stat.st_size, stat.st_mtime_ns, stat.st_ino

    def find(self, path: Path, state: tuple[int, int, int]) -> Seen | None:
        """What was noted of the clip when it was in this state."""
        with self._lock:
            if self._lines is None:
                self._lines = self._read()
        line = self._lines.get(str(path.absolute()))
        return line.seen if line is not None and line.state == state else None

    def note(self, path: Path, state: tuple[int, int, int], seen: Seen) -> None:
        """Remember it, here and on disk; a disk that cannot be written costs the next run time and this one nothing."""
        line = _Line(str(path.absolute()), state, seen)
        with self._lock, suppress(OSError):
            if self._lines is not None:
                self._lines[line.path] = line
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:  # one write of one line: others append to it as well
                file.write(b"\n" + msgspec.json.encode(line))

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
            with suppress(msgspec.MsgspecError):  # torn, or empty
                line = decoder.decode(row)
                lines[line.path] = line
        return lines


class ClipCache:
    """Decoded frames on disk, the least recently used leaving first. Any number of processes may share a folder.

    Each process looks at the folder's size only after it has written a 32nd of what was left, so many processes together may
    overshoot the limit by a few percent for a while.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self.index = ClipIndex(folder / "seen.jsonl")
        self._unchecked = 0  # bytes that may be written before the next look at the folder

    def __reduce__(self) -> tuple[Any, ...]:
        return ClipCache, (self.folder, self.limit_bytes)

    def has(self, key: str) -> int | None:
        """Bytes of the entry, which now counts as used; None when there is none."""
        path = self.folder / f"{key}{_SUFFIX}"
        try:
            os.utime(path)
            return path.stat().st_size
        except OSError:
            return None

    def get(self, key: str) -> Frames | None:
        """The frames kept under `key`; None when there are none, or they cannot be read back."""
        path = self.folder / f"{key}{_SUFFIX}"
        try:
            with path.open("rb", buffering=0) as file:
                shape = _SHAPE.unpack(file.read(_SHAPE.size))
                if not all(shape) or os.fstat(file.fileno()).st_size != _SHAPE.size + math.prod(shape):
                    return None
                frames = np.empty(shape, np.uint8)
                if file.readinto(frames.reshape(-1).data) != frames.nbytes:
                    return None
            os.utime(path)
        except (OSError, struct.error):  # gone, or damaged on disk: decode again
            return None
        return frames

    def put(self, key: str, frames: Frames) -> None:
        """Keep `frames`; now and then older entries leave until all fit into `limit_bytes`."""
        if frames.nbytes > self.limit_bytes:
            return
        data = _SHAPE.pack(*frames.shape) + frames.tobytes()
        store.write_bytes(self.folder / f"{key}{_SUFFIX}", data, durable=False)
        self._unchecked -= len(data)
        if self._unchecked < 0:
            self._unchecked = self._make_room() // 32

    def _make_room(self) -> int:
        """Bytes that are left under the limit, once older entries have left; then at least a 16th of it."""
        entries = []
        with os.scandir(self.folder) as found:
            for entry in found:
                if entry.name.endswith((_SUFFIX, ".npy")):  # .npy: 0.1's entries
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


def default_cache() -> ClipCache:
    """The user's cache folder: $VIDEOTHINKER_CACHE, else $XDG_CACHE_HOME/videothinker, else ~/.cache/videothinker.

    It holds $VIDEOTHINKER_CACHE_GB gibibytes, 8 where that is not set.

    Raises:
        VtError: $VIDEOTHINKER_CACHE_GB is not a positive number.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get("VIDEOTHINKER_CACHE") or f"{base}/videothinker").expanduser() / "clips"
    text = os.environ.get(LIMIT) or "8"
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise VtError(f"${LIMIT} is {text!r}, expected the gibibytes that decoded clips may take on disk, such as 8")
    return ClipCache(folder, int(limit * 2**30))


class Decoding(NamedTuple):
    """How a decoding process reads a clip. Tests put in functions that hang."""

    backend: Backend
    max_pixels: int | None
    cache: ClipCache | None
    probe: Callable[[Path, Backend], tuple[float, int]] = probe
    read: Callable[..., Clip] = read_clip

    def key(self, digest: str, indices: Sequence[int]) -> str:
        """Content, decoder, frames and pixels: all that the decoded frames depend on."""
        return store.sha256_json([digest, self.backend, list(indices), self.max_pixels])

    def look(self, path: Path, probe: Callable[[Path], Seen]) -> Seen:
        """What the clip is; asks `probe`, which opens its file, only if nothing is known of it."""
        if self.cache is None:
            return probe(path)
        state = ClipIndex.state(path)
        seen = None if state is None else self.cache.index.find(path, state)
        if seen is None:
            seen = probe(path)
            if state is not None:
                self.cache.index.note(path, state, seen)
        return seen

    def open(self, path: Path) -> Seen:
        """What the clip is, read from its file.

        Raises:
            ClipError: the clip cannot be read.
        """
        fps, n_total = self.probe(path, self.backend)
        return Seen(store.sha256_file(path), fps, n_total)

    def kept(self, digest: str, indices: Sequence[int]) -> Frames | None:
        """The frames, if the cache has them."""
        return self.cache.get(self.key(digest, indices)) if self.cache else None

    def fresh(self, path: Path, digest: str, indices: Sequence[int]) -> Frames:
        """The frames, decoded and kept.

        Raises:
            ClipError: the clip cannot be read.
        """
        frames = self.read(path, indices=indices, backend=self.backend, max_pixels=self.max_pixels).frames
        if self.cache:
            with suppress(OSError, VtError):  # a full disk costs the next run time, not this one an answer
                self.cache.put(self.key(digest, indices), frames)
        return frames


class ClipReader:
    """Reads clips ahead of whoever iterates over `read`: from the cache, else in one of `n_workers` processes.

    time_limit_s: the longest that one clip may take; its process is then killed and replaced.
    ahead: clips that may lie decoded and unused, so what memory is taken.
    """

    def __init__(
        self,
        *,
        sample: Sample,
        backend: Backend = "auto",
        max_pixels: int | None = None,
        cache: ClipCache | None = None,
        n_workers: int | None = None,
        ahead: int = 8,
        time_limit_s: float = 60.0,
        decoding: Decoding | None = None,
    ) -> None:
        self.decoding = decoding or Decoding(resolve(backend), max_pixels, cache)
        self._sample = sample
        self._time_limit_s = time_limit_s
        self._ahead = ahead
        self._threads = ThreadPoolExecutor(n_workers or default_workers(), thread_name_prefix="clips")
        self._local = threading.local()
        self._workers: list[_Worker] = []

    def __enter__(self) -> "ClipReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()

    def read(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Clip | ClipError]]:
        """Every path with its clip, or why it has none, in the order given."""
        return self._in_order(self._read, paths)

    def map(self, function: Callable[[Clip], R], paths: Iterable[Path]) -> Iterator[tuple[Path, R | ClipError]]:
        """The same with what `function`, called in several threads, makes of the clips."""

        def read(path: Path) -> R | ClipError:
            clip = self._read(path)
            return clip if isinstance(clip, ClipError) else function(clip)

        return self._in_order(read, paths)

    def keep(self, paths: Iterable[Path]) -> Iterator[tuple[Path, int | ClipError]]:
        """See to it that the cache has every clip: each path with the bytes that its frames take, or why it has none."""
        return self._in_order(self._keep, paths)

    def _in_order(self, function: Callable[[Path], R], paths: Iterable[Path]) -> Iterator[tuple[Path, R]]:
        waiting: deque[tuple[Path, Future[R]]] = deque()
        for path in paths:
            waiting.append((path, self._threads.submit(function, path)))
            if len(waiting) > self._ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        for path, future in waiting:
            yield path, future.result()

    def _read(self, path: Path) -> Clip | ClipError:
        try:
            seen, indices = self._look(path)
            frames = self.decoding.kept(seen.digest, indices)
            if frames is None:
                frames = self._ask(path, ("read", path, seen.digest, indices))
        except ClipError as error:
            return error
        return Clip(frames, indices, seen.fps, seen.n_total)

    def _keep(self, path: Path) -> int | ClipError:
        assert self.decoding.cache is not None
        try:
            seen, indices = self._look(path)
            n_bytes: int | None = self.decoding.cache.has(self.decoding.key(seen.digest, indices))
            return self._ask(path, ("keep", path, seen.digest, indices)) if n_bytes is None else n_bytes
        except ClipError as error:
            return error

    def _look(self, path: Path) -> tuple[Seen, tuple[int, ...]]:
        """What the clip is, and the frames to read."""
        seen = self.decoding.look(path, lambda path: self._ask(path, ("open", path)))
        return seen, tuple(self._sample(seen.fps, seen.n_total))

    def _ask(self, path: Path, request: tuple[Any, ...]) -> Any:
        """Each thread owns one decoding process, once it needs it."""
        worker: _Worker | None = getattr(self._local, "worker", None)
        if worker is None or not worker.is_alive():
            worker = self._local.worker = _Worker(self.decoding)
            self._workers.append(worker)
        return worker.ask(path, request, self._time_limit_s)


def cached_clip(path: Path, *, n_frames: int | None, max_pixels: int | None, cache: ClipCache | None) -> Clip:
    """`frames.read_clip` by way of the cache: the pixels that `vt diagnose` sees with the same frames and pixels.

    Decodes in this process where the cache does not have them, so a decoder that hangs or dies takes the process along.

    Raises:
        ClipError: the clip cannot be read.
    """
    decoding = Decoding(resolve("auto"), max_pixels, cache)
    seen = decoding.look(path, decoding.open)
    indices = clip_indices(seen.n_total, n_frames)
    frames = decoding.kept(seen.digest, indices)
    if frames is None:
        frames = decoding.fresh(path, seen.digest, indices)
    return Clip(frames, indices, seen.fps, seen.n_total)


class Warmed(NamedTuple):
    """What `warm` found."""

    n_clips: int
    n_bytes: int
    """What their frames take on disk."""
    lost: dict[Path, str]
    """Clips that cannot be read, with the reason."""


def warm(
    paths: Iterable[Path],
    *,
    n_frames: int | None,
    max_pixels: int | None,
    cache: ClipCache,
    backend: Backend = "auto",
    n_workers: int | None = None,
    progress: Progress = no_progress,
) -> Warmed:
    """Fill the cache with `n_frames` evenly spread frames of each clip, in `n_workers` processes (None: one a core).

    Raises:
        VtError: the cache is too small for all of them, so that the first would have left before they are used.
    """
    distinct = list(dict.fromkeys(paths))
    n_workers = n_workers or os.cpu_count() or 1
    n_bytes, lost = 0, {}
    with ClipReader(
        sample=lambda _, n_total: clip_indices(n_total, n_frames),
        backend=backend,
        max_pixels=max_pixels,
        cache=cache,
        n_workers=n_workers,
        ahead=4 * n_workers,
    ) as reader:
        for path, kept in reader.keep(distinct):
            if isinstance(kept, ClipError):
                lost[path] = str(kept)
            else:
                n_bytes += kept
                if kept * len(distinct) > cache.limit_bytes:
                    raise VtError(
                        f"{len(distinct):,} clips of {kept / 2**20:.1f} MiB do not fit into the cache of "
                        f"{cache.limit_bytes / 2**30:.3g} GiB; set {LIMIT}={math.ceil(kept * len(distinct) / 2**30) + 1}"
                    )
            progress(1)
    return Warmed(len(distinct), n_bytes, lost)


def default_workers() -> int:
    """Half of this process's share of the machine's cores, 1 to 8."""
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(8, (os.cpu_count() or 1) // (2 * n_local)))


class _Worker:
    """A decoding process and the line to it."""

    def __init__(self, decoding: Decoding) -> None:
        # Not multiprocessing: a fork would take the model's GPU state along, and its spawn imports the user's main module anew.
        self._line, theirs = Pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; from videothinker.clips import serve; serve({theirs.fileno()})"
        command = [sys.executable, "-c", code]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self._line.send(decoding)
        self._ready = False

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, path: Path, request: tuple[Any, ...], time_limit_s: float) -> Any:
        """The answer to one request.

        Raises:
            ClipError: the clip cannot be read, it took longer than `time_limit_s`, or its process died.
        """
        try:
            if not self._ready:
                self._ready = self._line.poll(_START_S) and self._line.recv()
            self._line.send(request)
            if not self._line.poll(time_limit_s):
                self.kill()
                raise ClipError(f"{path}: decoding took longer than {time_limit_s:g} s and was stopped")
            answer = self._line.recv()
        except (EOFError, OSError) as error:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)  # it has closed the line; its own exit code says more than a kill's
            self.kill()
            raise ClipError(f"{path}: its decoder died (exit code {self._process.returncode})") from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def serve(handle: int) -> None:
    """The decoding process: answers requests until the line, an inherited file descriptor, is closed."""
    line = Connection(handle)
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        decoding: Decoding = line.recv()
        line.send(True)
        while True:
            kind, path, *rest = line.recv()
            try:
                if kind == "open":
                    line.send(decoding.open(path))
                else:
                    frames = decoding.fresh(path, *rest)
                    line.send(frames if kind == "read" else frames.nbytes)
            except ClipError as error:
                line.send(error)
