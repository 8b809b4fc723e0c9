"""Ctrl-C and SIGTERM: the command stops at once, with all its processes, and one line says how to go on.

A signal raises `Interrupted` in the main thread, so that files are closed as after any error. Where Python may not pass it on,
in a destructor or a callback of C code, it is raised again until it gets through. Whatever does not end within `GRACE_S` is
cut off, which loses no more than a kill would: files are written in one step, or line by line.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

GRACE_S = 2.0
"""How long a command may take to close what it has open."""
_LOOK_S = 0.02
"""How soon a signal whose exception was lost is raised again."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_ending = threading.Lock()
_seen: list[int] = []


class Interrupted(BaseException):
    """A signal asked this process to stop. Not a `KeyboardInterrupt`, for which typer has an exit code of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_code() -> int:
    """128 plus the first signal that came, as shells count: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (_seen[0] if _seen else signal.SIGINT)


def how_to_go_on(arguments: Sequence[str]) -> str:
    """What is kept of the command `vt ARGUMENTS` when it is stopped, and how to go on."""
    name = arguments[0] if arguments else ""
    if "--dry-run" in arguments:
        return "a dry run keeps nothing; give the same command again"
    if name in ("train", "pretrain"):
        return "what was saved is kept, and the same command goes on from the last saved step"
    if name == "diagnose" and "--no-resume" in arguments:
        return "what is done is kept, and the same command without --no-resume goes on from there"
    if name in ("clips", "demo", "diagnose", "merge", "study", "world"):
        return "what is done is kept, and the same command goes on from there"
    return "nothing half-written is left; give the same command again, which begins anew"


_SILENCE = "ignore:resource_tracker:UserWarning"
"""For the interpreters that multiprocessing starts: its tracker tidies up what a stopped command leaves, and would tell of it
after the line that says how to go on."""


@contextmanager
def stopping(arguments: Sequence[str]) -> Iterator[None]:
    """Within it, SIGINT and SIGTERM end the command `vt ARGUMENTS`. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _SILENCE not in sys.warnoptions:
        sys.warnoptions.append(_SILENCE)
    _seen.clear()
    watched = _Watched(arguments)
    earlier_hook, sys.unraisablehook = sys.unraisablehook, watched.unraisable
    earlier_pipe = signal.set_wakeup_fd(watched.wakeup, warn_on_full_buffer=False)
    earlier = {number: signal.signal(number, watched.stop) for number in _NUMBERS}
    threading.Thread(target=watched.watch, daemon=True).start()
    try:
        yield
    except Interrupted as interrupted:
        _end(interrupted.number, arguments)
    finally:
        watched.over.set()
        for number, handler in earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(earlier_pipe)
        sys.unraisablehook = earlier_hook
        os.close(watched.wakeup)  # ends the thread


class _Watched:
    """A command that can be stopped: the handler of its signals, and the thread that sees to its end.

    Python runs a handler only between two instructions of the main thread, which may be deep in a library, and drops what is
    raised where it may not pass an exception on: in a destructor, or in C code that has called back, as cffi's does under
    pymunk. The number of each signal therefore also goes into a pipe, at once, and the thread that reads it raises the signal
    again for every exception that was dropped, until the command ends or has had its time.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._owner, self._main = os.getpid(), threading.get_ident()
        self._n_come = 0
        self._dropped, self._reminded = threading.Event(), threading.Event()
        self._reading, self.wakeup = os.pipe()
        os.set_blocking(self.wakeup, False)
        self._earlier_hook = sys.unraisablehook
        self.over = threading.Event()

    def stop(self, number: int, _: FrameType | None) -> None:
        """The handler.

        Raises:
            Interrupted: at the first signal, and at each reminder of it.
        """
        if os.getpid() != self._owner:  # a forked child, which inherits this handler
            os._exit(128 + number)
        if self._reminded.is_set():  # by `_ends`, and no second press
            self._reminded.clear()
            raise Interrupted(number)
        self._n_come += 1
        # Several processes wait for each other's collectives, which no exception ends; a second press will not wait either.
        if self._n_come > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
            _end(number, self._arguments)
        raise Interrupted(number)

    def unraisable(self, dropped: "sys.UnraisableHookArgs") -> None:
        """In place of `sys.unraisablehook`, which would print our own exception with a traceback."""
        if dropped.exc_type is Interrupted:
            self._dropped.set()
        else:
            self._earlier_hook(dropped)

    def watch(self) -> None:
        """What the thread does: read signals' numbers until the pipe is closed."""
        while number := os.read(self._reading, 1):
            if number[0] not in _NUMBERS:
                continue
            _seen.append(number[0])
            if signal.getsignal(number[0]) == self.stop and not self._ends(number[0]):
                _end(number[0], self._arguments)
        os.close(self._reading)

    def _ends(self, number: int) -> bool:
        """Whether the command ends within its time, reminded of the signal whenever that was dropped."""
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline:
            if self.over.wait(_LOOK_S):
                return True
            if self._dropped.is_set():
                self._dropped.clear()
                self._reminded.set()
                signal.pthread_kill(self._main, number)
        return False


def _end(number: int, arguments: Sequence[str]) -> None:
    """Say how to go on and end this process with its descendants.

    The interpreter is not shut down, since threads of torch and of its process groups sometimes abort then.
    """
    _ending.acquire()  # for good: only one thread ends the process
    if os.environ.get("RANK", "0") == "0":
        with suppress(OSError, ValueError):
            word = "interrupted" if number == signal.SIGINT else "terminated"
            sys.stderr.write(f"{word}: {how_to_go_on(arguments)}\n")
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    # Between the first of these signals and the exit no other thread may run, else it would note a clip's decoder as dead.
    for child in _descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)  # not SIGKILL: multiprocessing's tracker ignores this one, and tidies up afterwards
    os._exit(128 + number)


def _descendants(parent: int) -> list[int]:
    """Children of a process and theirs, from /proc. Where there is none, children notice that their parent is gone."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # "pid (name) state parent ...", where the name may hold blanks and parentheses
            after = path.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(after[1]), []).append(int(path.parent.name))
    found = list(children.get(parent, ()))
    for child in found:  # grows while it is read
        found += children.get(child, ())
    return found
