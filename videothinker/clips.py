"""Clips decoded ahead of a model, in processes that can be killed, and kept on disk for the next checkpoint.

A clip that cannot be decoded, or takes too long, is a `ClipError`, and the others go on (`clip_process`).

    with ClipReader(sample=lambda fps, n_total: clip_indices(n_total, 32)) as reader:
        for footage, clip in reader.read(footages):
            ...
"""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from videothinker.clip_cache import LIMIT, ClipCache, ClipIndex, Seen, default_cache
from videothinker.clip_process import Decoding, Worker
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import Backend, Clip, ClipError, clip_indices, resolve
from videothinker.pool import n_cores
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
    "warm",
]

R = TypeVar("R")

Sample = Callable[[float, int], Sequence[int]]
"""(frames per second, number of frames) of a clip or part -> the indices to read, from its first frame on, increasing."""

_BYTES_PER_S = 20e6  # that a file is read with at least, on a busy network drive; its clip has that much more time


class Tally:
    """What readers were asked for, counted as it is looked at by several threads."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(("files", "folders", "parts", "past_end"), 0)
        self._lock = threading.Lock()

    def add(self, footage: Footage, seen: Seen) -> None:
        """Count one."""
        what = "folders" if footage.is_folder else "files"
        with self._lock:
            for name, counts in ((what, True), ("parts", footage.is_part), ("past_end", seen.past_end_s > 0)):
                self._counts[name] += counts

    def told(self) -> dict[str, int]:
        """Clips that lie in `files` and in `folders`, how many of them are `parts` of theirs, and of these, how many were
        said to end after their clip, at whose end they then end."""
        with self._lock:
            return dict(self._counts)


class ClipReader:
    """Reads clips or parts of them ahead of whoever iterates over `read`: from the cache, else in one of `n_workers` processes.

    time_limit_s: the longest that one clip may take, and a second more for every 20 MB of its file; its process is then killed
    and replaced.
    ahead: clips that may lie decoded and unused, so what memory is taken.
    tally: counts what is read.
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
        tally: Tally | None = None,
    ) -> None:
        self.decoding = decoding or Decoding(resolve(backend), max_pixels, cache)
        self._tally = tally or Tally()
        self._sample = sample
        self._time_limit_s = time_limit_s
        self._ahead = ahead
        self._threads = ThreadPoolExecutor(n_workers or default_workers(), thread_name_prefix="clips")
        self._local = threading.local()
        self._workers: list[Worker] = []

    def __enter__(self) -> "ClipReader":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()

    def read(self, footages: Iterable[Footage]) -> Iterator[tuple[Footage, Clip | ClipError]]:
        """Each with its clip, or why it has none, in the order given."""
        return self._in_order(self._read, footages)

    def map(
        self, function: Callable[[Footage, Clip], R], footages: Iterable[Footage]
    ) -> Iterator[tuple[Footage, R | ClipError]]:
        """The same with what `function`, called in several threads, makes of each and its clip."""

        def read(footage: Footage) -> R | ClipError:
            clip = self._read(footage)
            return clip if isinstance(clip, ClipError) else function(footage, clip)

        return self._in_order(read, footages)

    def keep(self, footages: Iterable[Footage]) -> Iterator[tuple[Footage, int | ClipError]]:
        """See to it that the cache has every clip: each with the bytes that its frames take, or why it has none.

        Raises:
            VtError: the cache cannot be written.
        """
        return self._in_order(self._keep, footages)

    def _in_order(self, function: Callable[[Footage], R], footages: Iterable[Footage]) -> Iterator[tuple[Footage, R]]:
        waiting: deque[tuple[Footage, Future[R]]] = deque()
        for footage in footages:
            waiting.append((footage, self._threads.submit(function, footage)))
            if len(waiting) > self._ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:  # let go of each as it is handed on
            first, future = waiting.popleft()
            yield first, future.result()

    def _read(self, footage: Footage) -> Clip | ClipError:
        try:
            seen, indices = self._look(footage)
            frames = self.decoding.kept(seen, indices)
            if frames is None:
                frames = self._ask(footage, ("read", footage, seen, indices))
        except ClipError as error:
            return error
        return Clip(frames, indices, seen.fps, seen.n_total)

    def _keep(self, footage: Footage) -> int | ClipError:
        try:
            seen, indices = self._look(footage)
            frames = self.decoding.kept(seen, indices)
            n_bytes: int = self._ask(footage, ("keep", footage, seen, indices)) if frames is None else frames.nbytes
        except ClipError as error:
            return error
        return n_bytes

    def _look(self, footage: Footage) -> tuple[Seen, tuple[int, ...]]:
        """What the clip is, and the frames to read."""
        seen = self.decoding.look(footage, lambda footage: self._ask(footage, ("open", footage)))
        self._tally.add(footage, seen)
        return seen, tuple(self._sample(seen.fps, seen.n_total))

    def _ask(self, footage: Footage, request: tuple[Any, ...]) -> Any:
        """Each thread owns one decoding process, once it needs it."""
        worker: Worker | None = getattr(self._local, "worker", None)
        if worker is None or not worker.is_alive():
            worker = self._local.worker = Worker(self.decoding)
            self._workers.append(worker)
        n_bytes, *_ = footage.state() or (0,)
        return worker.ask(footage, request, self._time_limit_s + n_bytes / _BYTES_PER_S)


def cached_clip(footage: Footage, *, n_frames: int | None, max_pixels: int | None, cache: ClipCache | None) -> Clip:
    """`frames.read_clip` by way of the cache: the pixels that `vt diagnose` sees with the same frames and pixels.

    Decodes in this process where the cache does not have them, so a decoder that hangs or dies takes the process along.

    Raises:
        ClipError: the clip cannot be read.
    """
    decoding = Decoding(resolve("auto"), max_pixels, cache)
    seen = decoding.look(footage, decoding.open)
    indices = clip_indices(seen.n_total, n_frames)
    frames = decoding.kept(seen, indices)
    if frames is None:
        frames = decoding.fresh(footage, seen, indices)
    return Clip(frames, indices, seen.fps, seen.n_total)


class Warmed(NamedTuple):
    """What `warm` found."""

    n_clips: int
    n_bytes: int
    """What their frames take on disk."""
    lost: dict[Footage, str]
    """Clips that cannot be read, with the reason."""


def warm(
    footages: Iterable[Footage],
    *,
    sample: Sample,
    max_pixels: int | None,
    cache: ClipCache,
    backend: Backend = "auto",
    n_workers: int | None = None,
    n_all: int | None = None,
    progress: Progress = no_progress,
) -> Warmed:
    """Fill the cache with the frames of each clip that `sample` names, in `n_workers` processes (None: one a core).

    n_all: number of clips that the cache has to hold, if other machines fill it with more of them.

    Raises:
        VtError: the cache cannot be written, or is too small for all of them, so that the first would have left before they
            are used.
    """
    distinct = list(dict.fromkeys(footages))
    n_workers = n_workers or n_cores()
    n_bytes, n_kept, lost = 0, 0, {}
    with ClipReader(
        sample=sample,
        backend=backend,
        max_pixels=max_pixels,
        cache=cache,
        n_workers=n_workers,
        ahead=4 * n_workers,
    ) as reader:
        for footage, kept in reader.keep(distinct):
            if isinstance(kept, ClipError):
                lost[footage] = str(kept)
            else:
                n_bytes += kept
                n_kept += 1
                _check_room(n_bytes, n_kept, n_all or len(distinct), cache)
            progress(1)
    return Warmed(len(distinct), n_bytes, lost)


def _check_room(n_bytes: int, n_kept: int, n_clips: int, cache: ClipCache) -> None:
    """Check that clips fit into the cache: those so far and, by the mean of 64 of them or more, all with a quarter to spare.

    Raises:
        VtError: they do not.
    """
    expected = n_bytes / n_kept * n_clips
    if n_bytes > cache.limit_bytes or (n_kept >= 64 and expected > 1.25 * cache.limit_bytes):
        raise VtError(
            f"{n_clips:,} clips of {n_bytes / n_kept / 2**20:.1f} MiB on average do not fit into the cache of "
            f"{cache.limit_bytes / 2**30:.3g} GiB; set {LIMIT}={math.ceil(expected / 2**30) + 1}"
        )


def default_workers() -> int:
    """Half of this process's share of the cores, 1 to 8."""
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(8, n_cores() // (2 * n_local)))
