"""Clips decoded ahead of a model, in processes that can be killed, and kept on disk for the next checkpoint.

A decoder may never return from a damaged file, or take its process with it. Here such a clip is a `ClipError` after a time
limit, while the others go on. What a decoder raises about a file is a `ClipError` already (`demux.RAISED`).

    with ClipReader(sample=lambda fps, n_total: clip_indices(n_total, 32)) as reader:
        for path, clip in reader.read(paths):
            ...
"""

import math
import os
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

from videothinker import store
from videothinker.clip_cache import LIMIT, ClipCache, ClipIndex, Seen, default_cache
from videothinker.errors import VtError
from videothinker.frames import Backend, Clip, ClipError, Frames, clip_indices, probe, read_clip, resolve
from videothinker.pool import deaf_to_ctrl_c
from videothinker.progress import Progress, no_progress

__all__ = [
    "ClipCache",
    "ClipIndex",
    "ClipReader",
    "Decoding",
    "Seen",
    "Warmed",
    "cached_clip",
    "default_cache",
    "default_workers",
    "serve",
    "warm",
]

R = TypeVar("R")

Sample = Callable[[float, int], Sequence[int]]
"""(frames per second, number of frames) of a clip -> the indices to read, increasing."""

_KEY = 2  # the version of what a cache entry's key stands for: which frame an index means, and how it is converted
_START_S = 120.0  # a decoding process has to import numpy; on a busy machine that takes its time


class Decoding(NamedTuple):
    """How a decoding process reads a clip. Tests put in functions that hang."""

    backend: Backend
    max_pixels: int | None
    cache: ClipCache | None
    probe: Callable[[Path, Backend], tuple[float, int]] = probe
    read: Callable[..., Clip] = read_clip

    def key(self, digest: str, indices: Sequence[int]) -> str:
        """Content, decoder, frames and pixels: all that the decoded frames depend on."""
        return store.sha256_json([_KEY, digest, self.backend, list(indices), self.max_pixels])

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
        try:
            digest = store.sha256_file(path)
        except OSError as error:
            raise ClipError(f"{path}: cannot be read ({error.strerror})") from error
        return Seen(digest, fps, n_total)

    def kept(self, digest: str, indices: Sequence[int]) -> Frames | None:
        """The frames, if the cache has them."""
        return self.cache.get(self.key(digest, indices)) if self.cache else None

    def fresh(self, path: Path, digest: str, indices: Sequence[int]) -> Frames:
        """The frames, decoded and kept.

        Raises:
            ClipError: the clip cannot be read.
        """
        frames = self._decoded(path, indices)
        if self.cache:
            with suppress(VtError):  # a full disk costs the next run time, not this one an answer
                self.cache.put(self.key(digest, indices), frames)
        return frames

    def keep(self, path: Path, digest: str, indices: Sequence[int]) -> int:
        """Decode the frames and put them into the cache; bytes that they take.

        Raises:
            ClipError: the clip cannot be read.
            VtError: the cache cannot be written.
        """
        assert self.cache is not None
        frames = self._decoded(path, indices)
        self.cache.put(self.key(digest, indices), frames)
        return frames.nbytes

    def _decoded(self, path: Path, indices: Sequence[int]) -> Frames:
        return self.read(path, indices=indices, backend=self.backend, max_pixels=self.max_pixels).frames


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
        """See to it that the cache has every clip: each path with the bytes that its frames take, or why it has none.

        Raises:
            VtError: the cache cannot be written.
        """
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
        try:
            seen, indices = self._look(path)
            frames = self.decoding.kept(seen.digest, indices)
            n_bytes: int = self._ask(path, ("keep", path, seen.digest, indices)) if frames is None else frames.nbytes
        except ClipError as error:
            return error
        return n_bytes

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
        VtError: the cache cannot be written, or is too small for all of them, so that the first would have left before they
            are used.
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
        with deaf_to_ctrl_c():  # it ends when the line to it is closed
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
            VtError: what was asked for cannot be done for any clip.
        """
        try:
            if not self._ready:
                if not self._line.poll(_START_S):
                    self.kill()
                    raise ClipError(f"{path}: its decoding process did not start within {_START_S:g} s")
                self._ready = self._line.recv()
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
                elif kind == "read":
                    line.send(decoding.fresh(path, *rest))
                else:
                    line.send(decoding.keep(path, *rest))
            except (ClipError, VtError) as error:
                line.send(error)
            except MemoryError:  # before anything was sent: a message is pickled whole
                line.send(ClipError(f"{path}: its frames do not fit into memory"))
