"""How one clip is decoded, and a process that does it and can be killed.

A decoder may never return from a damaged file, or take its process with it. Here such a clip is a `ClipError` after a time
limit. What a decoder raises about a file is a `ClipError` already (`demux.RAISED`).
"""

import functools
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple

from videothinker import store
from videothinker.clip_cache import ClipCache, Seen
from videothinker.errors import VtError
from videothinker.footage import Footage, State
from videothinker.frames import Backend, Clip, ClipError, Extent, Frames, probe, read_clip
from videothinker.pool import deaf_to_ctrl_c, n_cores, share_of_cores

_KEY = 2  # the version of what a cache entry's key stands for: which frame an index means, and how it is converted
_START_S = 120.0  # a decoding process has to import numpy; on a busy machine that takes its time


class Decoding(NamedTuple):
    """How a decoding process reads a clip. Tests put in functions that hang."""

    backend: Backend
    max_pixels: int | None
    cache: ClipCache | None
    probe: Callable[[Footage, Backend], Extent] = probe
    read: Callable[..., Clip] = read_clip

    def key(self, digest: str, there: Sequence[int]) -> str:
        """Content, decoder, frames and pixels: all that the decoded frames depend on.

        there: where the frames lie in the file, so that a part shares its entries with whoever reads the same frames of the
            whole, and with nobody else.
        """
        return store.sha256_json([_KEY, digest, self.backend, list(there), self.max_pixels])

    def look(self, footage: Footage, probe: Callable[[Footage], Seen]) -> Seen:
        """What the footage is; asks `probe`, which opens its file, only if nothing is known of it."""
        if self.cache is None:
            return probe(footage)
        state = footage.state()
        seen = None if state is None else self.cache.index.find(footage, state)
        if seen is None:
            seen = probe(footage)
            if state is not None:
                self.cache.index.note(footage, state, seen)
        return seen

    def open(self, footage: Footage) -> Seen:
        """What the footage is, read from its file or folder.

        Raises:
            ClipError: the clip cannot be read.
        """
        extent = self.probe(footage, self.backend)
        state = footage.state()
        if state is None:
            raise ClipError(f"{footage.path}: is gone, or holds a link that leads nowhere")
        return Seen(_digest(footage.path, footage.is_folder, state), *extent)

    def kept(self, seen: Seen, indices: Sequence[int]) -> Frames | None:
        """The frames, if the cache has them."""
        return self.cache.get(self.key(seen.digest, seen.there(indices))) if self.cache else None

    def fresh(self, footage: Footage, seen: Seen, indices: Sequence[int]) -> Frames:
        """The frames, decoded and kept.

        Raises:
            ClipError: the clip cannot be read.
        """
        frames = self._decoded(footage, indices)
        if self.cache:
            with suppress(VtError):  # a full disk costs the next run time, not this one an answer
                self.cache.put(self.key(seen.digest, seen.there(indices)), frames)
        return frames

    def keep(self, footage: Footage, seen: Seen, indices: Sequence[int]) -> int:
        """Decode the frames and put them into the cache; bytes that they take.

        Raises:
            ClipError: the clip cannot be read.
            VtError: the cache cannot be written.
        """
        assert self.cache is not None
        frames = self._decoded(footage, indices)
        self.cache.put(self.key(seen.digest, seen.there(indices)), frames)
        return frames.nbytes

    def _decoded(self, footage: Footage, indices: Sequence[int]) -> Frames:
        return self.read(footage, indices=indices, backend=self.backend, max_pixels=self.max_pixels).frames


@functools.lru_cache(maxsize=64)
def _digest(path: Path, is_folder: bool, state: State) -> str:
    """SHA-256 of a file, or of a folder's names and files; the last ones are remembered, because films have many parts.

    state: tells the file from a later one of the same name.

    Raises:
        ClipError: it cannot be read.
    """
    try:
        if not is_folder:
            return store.sha256_file(path)
        whole = hashlib.sha256()
        for each in sorted(each for each in path.iterdir() if not each.name.startswith(".")):
            whole.update(f"{store.sha256_file(each)} ".encode() + os.fsencode(each.name) + b"\0")
        return whole.hexdigest()
    except OSError as error:
        raise ClipError(f"{path}: cannot be read ({error.strerror})") from error


class Worker:
    """A decoding process and the line to it."""

    def __init__(self, decoding: Decoding) -> None:
        # Not multiprocessing: a fork would take the model's GPU state along, and its spawn imports the user's main module anew.
        self._line, theirs = Pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; from videothinker.clip_process import serve; serve({theirs.fileno()})"
        command = [sys.executable, "-c", code]
        with deaf_to_ctrl_c():  # it ends when the line to it is closed
            # One thread: several of these processes run side by side, beside what the frames are for.
            told = os.environ | share_of_cores(n_cores())
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=told)
        theirs.close()
        self._line.send(decoding)
        self._ready = False

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, footage: Footage, request: tuple[Any, ...], time_limit_s: float) -> Any:
        """The answer to one request.

        Raises:
            ClipError: the clip cannot be read, it took longer than `time_limit_s`, or its process died.
            VtError: what was asked for cannot be done for any clip.
        """
        try:
            if not self._ready:
                if not self._line.poll(_START_S):
                    self.kill()
                    raise ClipError(f"{footage}: its decoding process did not start within {_START_S:g} s")
                self._ready = self._line.recv()
            self._line.send(request)
            if not self._line.poll(time_limit_s):
                self.kill()
                raise ClipError(f"{footage}: decoding took longer than {time_limit_s:g} s and was stopped")
            answer = self._line.recv()
        except (EOFError, OSError) as error:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)  # it has closed the line; its own exit code says more than a kill's
            self.kill()
            raise ClipError(f"{footage}: its decoder died (exit code {self._process.returncode})") from error
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
            kind, footage, *rest = line.recv()
            try:
                if kind == "open":
                    line.send(decoding.open(footage))
                elif kind == "read":
                    line.send(decoding.fresh(footage, *rest))
                else:
                    line.send(decoding.keep(footage, *rest))
            except (ClipError, VtError) as error:
                line.send(error)
            except MemoryError:  # before anything was sent: a message is pickled whole
                line.send(ClipError(f"{footage}: its frames do not fit into memory"))
