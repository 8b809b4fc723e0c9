"""How pure code says how far it is, without knowing who shows it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[[int], None]
"""Called with the number of items finished since the last call. Pure code takes one; only the command line draws a bar."""


def no_progress(_: int) -> None:
    """The silent `Progress`."""


Bars = Callable[[str, int | None, str], AbstractContextManager[Progress]]
"""Called with what is being done, how many items there are (None: not known) and their unit; gives the `Progress` of that part
while it lasts. For work of several parts."""


@contextmanager
def no_bars(what: str, total: int | None, unit: str) -> Iterator[Progress]:
    """The silent `Bars`."""
    yield no_progress
