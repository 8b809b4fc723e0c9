"""Apply a function to jobs in several processes and get the results in order, with bounded look-ahead.

The processes are started afresh (spawn), since forking a process with threads or a GPU context may hang; they never see Ctrl-C
and end with the process that started them, even if that is killed.
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


def n_cores() -> int:
    """Cores that this process may use, which a cluster's job has fewer of than its machine."""
    return len(os.sched_getaffinity(0))


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
            with deaf_to_ctrl_c():
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


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a started process

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
