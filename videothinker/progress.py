"""How pure code reports its progress without knowing who shows it, and what an honest rate is."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

Progress = Callable[[int], None]
"""Called with the number of items finished since the last call. Pure code takes one; only the command line draws a bar."""


def no_progress(_: int) -> None:
    """The silent `Progress`."""


def silent(_: object) -> None:
    """A listener that does nothing with what it is told."""


Bars = Callable[[str, int | None, str], AbstractContextManager[Progress]]
"""For work in several parts. Called at the start of a part with what is being done, the number of items (None if not known) and
their unit; returns a context manager that gives the `Progress` of that part."""


@contextmanager
def no_bars(what: str, total: int | None, unit: str) -> Iterator[Progress]:
    """The silent `Bars`."""
    yield no_progress


@contextmanager
def once_begun(bars: Bars, first: str, what: str, total: int | None, unit: str) -> Iterator[Progress]:
    """Show the phase `first`, such as loading, until the first item is finished, and from then on the part `what`."""
    with ExitStack() as shown:
        shown.enter_context(bars(first, None, unit))
        part: list[Progress] = []

        def advance(n: int) -> None:
            if not part:
                shown.close()
                part.append(shown.enter_context(bars(what, total, unit)))
            part[0](n)

        yield advance


_TOGETHER_S = 0.5
"""Items that come within this time of the first one of a batch belong to it: a model's answers come in bursts."""
_AVERAGED_S = 60.0
_AVERAGED = 8


class Pace:
    """The rate of finished batches: a moving average over the last minute, and over eight batches at least.

    The first batch only starts the clock. What it took includes loading, and it may hold items of an earlier, resumed run.
    """

    def __init__(self) -> None:
        self._batches: deque[tuple[float, int]] = deque()  # when the first item of each came, and how many came with it

    def add(self, n: int, now: float) -> None:
        """Note that n items were finished at `now`, in seconds of any steady clock."""
        if self._batches and now - self._batches[-1][0] < _TOGETHER_S:
            begun, before = self._batches[-1]
            self._batches[-1] = (begun, before + n)
            return
        self._batches.append((now, n))
        # One batch more than are averaged, since the clock of the first averaged one starts with the batch before it.
        while len(self._batches) > _AVERAGED + 2 and now - self._batches[1][0] > _AVERAGED_S:
            self._batches.popleft()

    def rate(self, now: float) -> float | None:
        """Items per second; None until two batches are finished. A batch is finished when none of its items can still come."""
        done = [batch for batch in self._batches if now - batch[0] >= _TOGETHER_S]
        if len(done) < 2:
            return None
        return sum(n for _, n in done[1:]) / (done[-1][0] - done[0][0])

    def seconds_left(self, n_left: int, now: float) -> float | None:
        """Seconds until `n_left` more items are finished at this rate, counted from the last batch; None without a rate."""
        rate = self.rate(now)
        return None if not rate else max(0.0, n_left / rate - (now - self._batches[-1][0]))
