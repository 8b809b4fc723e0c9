"""Apply a function to jobs in several processes and get the results in order, with bounded look-ahead.

The processes are started afresh (spawn), since forking a process with threads or a GPU context may hang; they never see Ctrl-C
and end with the process that started them, even if that is killed. Each is told its share of the cores, because without that
numerical libraries start one thread per core of the machine in every process.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

J = TypeVar("J")
R = TypeVar("R")

_AHEAD = 8
"""Jobs in hand per process: enough that no process waits, few enough that an endless `jobs` does not fill the memory."""
_THREADS = "OMP_NUM_THREADS"


def n_cores() -> int:
    """Cores that this process may use, which a cluster's job has fewer of than its machine."""
    return len(os.sched_getaffinity(0))


def share_of_cores(n_at_once: int) -> dict[str, str]:
    """What to add to the environment of each of `n_at_once` processes that run side by side, for its share of the cores.

    torch and numpy's BLAS follow OMP_NUM_THREADS. Where that is set already it stays as it is, and one process alone is told
    nothing.
    """
    if _THREADS in os.environ or n_at_once <= 1:
        return {}
    return {_THREADS: str(max(1, n_cores() // n_at_once))}


def map_in_order(function: Callable[[J], R], jobs: Iterable[J], workers: int) -> Generator[R, None, None]:
    """Yield `function(job)` for each job in order; `jobs` may be endless. Close the generator to stop early.

    function: has to be importable by name, unless workers is 1, because then everything happens in this process.
    """
    if workers <= 1:
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context("spawn")
    todo = iter(jobs)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            with deaf_to_ctrl_c(), _sharing_cores(workers):
                pending: deque[Future[R]] = deque(pool.submit(function, job) for job in islice(todo, _AHEAD * workers))
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, job) for job in islice(todo, 1))
                yield result
        except BaseException:  # also GeneratorExit, when the caller closes the generator
            pool.shutdown(wait=True, cancel_futures=True)
            raise


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that start within it never see a terminal's Ctrl-C: a signal that is blocked stays blocked in them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _sharing_cores(n_at_once: int) -> Iterator[None]:
    """Processes that multiprocessing starts within it have `share_of_cores`: they inherit this process's environment."""
    added = share_of_cores(n_at_once)
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a started process

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
