"""The processes that torchrun started to share one diagnosis."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple


class Worker(NamedTuple):
    """This process among those that share the work."""

    rank: int
    world_size: int
    barrier: Callable[[], object]
    """Returns once every process has called it."""


ALONE = Worker(0, 1, lambda: None)
"""The place of a process that shares the work with no other."""


@contextmanager
def worker() -> Iterator[Worker]:
    """Yield this process's place under torchrun, and `ALONE` without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # WORLD_SIZE alone may be a cluster's, around a process that is alone
        yield ALONE
        return
    from torch import distributed

    # The processes share files, not tensors; and one may wait hours for another that got the longer clips.
    distributed.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        yield Worker(distributed.get_rank(), distributed.get_world_size(), distributed.barrier)
    finally:
        distributed.destroy_process_group()
