"""Clips decoded ahead of a model, in processes that can be killed, and kept on disk for the next checkpoint.

A decoder may never return from a damaged file, or take its process with it. Here such a clip is a `ClipError` after a time
limit, while the others go on.

    with ClipReader(sample=lambda fps, n_total: clip_indices(n_total, 32)) as reader:
        for path, clip in reader.read(paths):
            ...
"""

import io
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
from typing import Any, NamedTuple

import numpy as np

from videothinker import store
from videothinker.errors import VtError
from videothinker.frames import Backend, Clip, ClipError, Frames, probe, read_clip, resolve

Sample = Callable[[float, int], Sequence[int]]
"""(frames a second, number of frames) of a clip -> the indices to read, increasing."""

_START_S = 120.0  # a decoding process has to import numpy; on a busy machine that takes its time


class ClipCache(NamedTuple):
    """Decoded frames on disk, the least recently used leaving first. Any number of processes may share a folder."""

    folder: Path
    limit_bytes: int

    def get(self, key: str) -> Frames | None:
        """The frames kept under `key`; None when there are none, or they cannot be read back."""
        path = self.folder / f"{key}.npy"
        try:
            frames: Frames = np.load(path)
            os.utime(path)
        except (OSError, ValueError, EOFError):  # gone, or damaged on disk: decode again
            return None
        return frames

    def put(self, key: str, frames: Frames) -> None:
        """Keep `frames`; older entries leave until all fit into `limit_bytes`."""
        if frames.nbytes > self.limit_bytes:
            return
        buffer = io.BytesIO()
        np.save(buffer, frames)
        store.write_bytes(self.folder / f"{key}.npy", buffer.getvalue(), durable=False)
        entries = []
        for path in self.folder.glob("*.npy"):
            with suppress(FileNotFoundError):  # another process makes room too
                stat = path.stat()
                entries.append((stat.st_mtime_ns, stat.st_size, path))
        excess = sum(size for _, size, _ in entries) - self.limit_bytes
        for _, size, path in sorted(entries):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


def default_cache(limit_bytes: int = 8 * 2**30) -> ClipCache:
    """The user's cache folder: $VIDEOTHINKER_CACHE, else $XDG_CACHE_HOME/videothinker, else ~/.cache/videothinker."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return ClipCache(Path(os.environ.get("VIDEOTHINKER_CACHE") or f"{base}/videothinker").expanduser() / "clips", limit_bytes)


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


class ClipReader:
    """Reads clips ahead of whoever iterates over `read`, each in one of `n_workers` processes.

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
        self._threads = ThreadPoolExecutor(n_workers or _default_workers(), thread_name_prefix="clips")
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
        waiting: deque[tuple[Path, Future[Clip | ClipError]]] = deque()
        for path in paths:
            waiting.append((path, self._threads.submit(self._read, path)))
            if len(waiting) > self._ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        for path, future in waiting:
            yield path, future.result()

    def _read(self, path: Path) -> Clip | ClipError:
        """Runs in a thread that owns one decoding process."""
        worker: _Worker | None = getattr(self._local, "worker", None)
        if worker is None or not worker.is_alive():
            worker = self._local.worker = _Worker(self.decoding)
            self._workers.append(worker)
        try:
            digest, fps, n_total = worker.ask(path, ("probe", path), self._time_limit_s)
            indices = tuple(self._sample(fps, n_total))
            frames = worker.ask(path, ("read", path, digest, indices), self._time_limit_s)
        except ClipError as error:
            return error
        return Clip(frames, indices, fps, n_total)


def _default_workers() -> int:
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
                if kind == "probe":
                    fps, n_total = decoding.probe(path, decoding.backend)
                    line.send((store.sha256_file(path), fps, n_total))
                else:
                    digest, indices = rest
                    line.send(_frames(path, digest, indices, decoding))
            except ClipError as error:
                line.send(error)


def _frames(path: Path, digest: str, indices: Sequence[int], decoding: Decoding) -> Frames:
    key = decoding.key(digest, indices)
    frames = decoding.cache.get(key) if decoding.cache else None
    if frames is None:
        frames = decoding.read(path, indices=indices, backend=decoding.backend, max_pixels=decoding.max_pixels).frames
        if decoding.cache:
            with suppress(OSError, VtError):  # a full disk costs the next run time, not this one an answer
                decoding.cache.put(key, frames)
    return frames
