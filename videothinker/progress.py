"""How pure code reports its progress without knowing who shows it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[int], None]
"""Called with the number of items finished since the last call. Pure code takes one; only the command line draws a bar."""


def no_progress(_: int) -> None:
    """The silent `Progress`."""


Bars = Callable[[str, int | None, str], AbstractContextManager[Progress]]
"""For work in several parts. Called at the start of a part with what is being done, the number of items (None if not known) and
their unit; returns a context manager that gives the `Progress` of that part."""


@contextmanager
def no_bars(what: str, total: int | None, unit: str) -> Iterator[Progress]:
    """The silent `Bars`."""
    yield no_progress
