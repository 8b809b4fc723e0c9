"""What the commands print with: two consoles, and progress as a bar or as plain lines."""

import logging
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from videothinker.printable import printable
from videothinker.progress import Pace, Progress, no_progress

if TYPE_CHECKING:
    from videothinker.shards import Shard


class Printable(Console):
    """A console on which no text from outside can act as a control sequence or turn into a picture (":a:" is one to rich),
    wherever it stands in a line or a table.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)  # rich's own controls stay


out = Printable(highlight=False)
"""Results, on stdout."""
err = Printable(stderr=True, highlight=False)
"""Warnings and errors, on stderr."""
notes = Printable(stderr=True, highlight=False)
"""Progress, and what is said on the way, on stderr; nothing under `vt --quiet`."""

LOG = logging.getLogger("videothinker")
"""Its level says whether warnings are shown; below it stand the loggers of our modules."""

LINE_EVERY_S = 15.0
"""Without a terminal, a line of progress comes at most this often."""


@contextmanager
def progress_bar(description: str, total: int | None, unit: str = "it") -> Iterator[Progress]:
    """Show a part of the work on stderr; yields the function that advances it.

    On a terminal a bar that vanishes when done, elsewhere plain lines: the count, the rate over finished batches and the time
    left, or only what is done if `total` is None. Processes other than the first of a launch show nothing, and so does
    `vt --quiet`.
    """
    if os.environ.get("RANK", "0") != "0" or notes.quiet:
        yield no_progress
    elif notes.is_terminal:
        with _bar(description, total, unit) as progress:
            yield progress
    else:
        with _lines(description, total, unit) as progress:
            yield progress


@contextmanager
def _bar(description: str, total: int | None, unit: str) -> Iterator[Progress]:
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    pace = Pace()

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(told(int(task.completed), total, unit, pace, time.monotonic()), style="dim")

    with Bar(
        TextColumn("{task.description}", markup=False), BarColumn(), Count(), TimeElapsedColumn(), console=notes, transient=True
    ) as bar:
        task = bar.add_task(description, total=total)

        def advance(n: int) -> None:
            pace.add(n, time.monotonic())
            bar.advance(task, n)

        yield advance


@contextmanager
def _lines(
    description: str, total: int | None, unit: str, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Progress]:
    """A line at the beginning and one at the end, and between them one whenever it is time, also while nothing is finished."""
    pace, began, over, saying = Pace(), clock(), threading.Event(), threading.Lock()
    done = 0

    def say(extra: str = "") -> None:
        with saying:
            count = told(done, total, unit, pace, clock())
            notes.print(f"{description}{': ' * bool(count)}{count}{extra}", markup=False, soft_wrap=True)

    def advance(n: int) -> None:
        nonlocal done
        done += n
        pace.add(n, clock())

    def now_and_then() -> None:
        while not over.wait(LINE_EVERY_S):
            say("" if total is not None else f" ({duration(clock() - began)})")

    say()
    teller = threading.Thread(target=now_and_then, daemon=True)
    teller.start()
    try:
        yield advance
    finally:
        over.set()
        teller.join()
    if total is not None:  # a phase of no known length is over when the next one begins
        say(f"; took {duration(clock() - began)}")


def told(done: int, total: int | None, unit: str, pace: Pace, now: float) -> str:
    """ "24 of 40 questions, 1.2 questions/s, 13 s left"; the rate and what follows from it only where there is one."""
    if total is None:
        return f"{done:,} {unit}" if done else ""
    words = [f"{done:,} of {total:,} {unit}"]
    if rate := pace.rate(now):
        words.append(f"{rate:,.1f} {unit}/s" if rate >= 1 else f"{1 / rate:,.1f} s each")
    if done < total and (left := pace.seconds_left(total - done, now)) is not None:
        words.append(f"{duration(left)} left")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """ "42 s", "3 min 05 s", "2 h 07 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02} min"


@contextmanager
def quiet_unless(shown: bool, description: str, total: int | None, unit: str = "it") -> Iterator[Progress]:
    """`progress_bar` if `shown`, otherwise no bar, so that only one of several processes draws."""
    if not shown:
        yield no_progress
        return
    with progress_bar(description, total, unit) as progress:
        yield progress


def warn(message: str) -> None:
    """One warning line on stderr, unless `vt --log-level error` asks for errors alone."""
    from rich.markup import escape

    if not LOG.isEnabledFor(logging.WARNING):
        return
    err.print(f"[bold yellow]warning:[/bold yellow] {escape(message)}", soft_wrap=True)


def show_shard(shard: "Shard", what: str, folder: Path, parts: Sequence[Path], then: str | None = None) -> None:
    """Say that a shard is finished, and what is next.

    what: is done. parts: what each shard of `folder` writes a marker for. then: what comes behind the last; None: vt merge.
    """
    from rich.markup import escape

    from videothinker.shards import n_finished

    n_done = n_finished(folder, parts)
    out.print(f"shard {shard}: {what} in [bold]{escape(str(shard.folder(folder)))}[/bold]", soft_wrap=True)
    then = then or f"vt merge {shlex.quote(str(folder))}"
    when = "; now" if n_done == shard.of else "; once all are,"
    out.print(f"{n_done} of {shard.of} shards are finished{when} {escape(then)}", soft_wrap=True)
