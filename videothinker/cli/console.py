"""What the commands print with: two consoles and the progress bar."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from videothinker.printable import printable
from videothinker.progress import Progress, no_bars


class Printable(Console):
    """A console on which no text from outside can act as a control sequence, wherever it stands in a line or a table."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)  # rich's own controls stay


out = Printable(highlight=False)
"""Results, on stdout."""
err = Printable(stderr=True, highlight=False)
"""Progress, warnings and errors, on stderr."""


@contextmanager
def progress_bar(description: str, total: int | None, unit: str = "it") -> Iterator[Progress]:
    """A bar on stderr that vanishes when done; yields the function that advances it.

    It shows the count, the rate in `unit` per second and the time left, or only a pulse if `total` is None.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.1f} {unit}/s", style="dim")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda n: bar.advance(task, n)


@contextmanager
def quiet_unless(shown: bool, description: str, total: int | None, unit: str = "it") -> Iterator[Progress]:
    """`progress_bar` if `shown`, otherwise no bar, so that only one of several processes draws."""
    with progress_bar(description, total, unit) if shown else no_bars(description, total, unit) as progress:
        yield progress


def warn(message: str) -> None:
    """One warning line on stderr."""
    from rich.markup import escape

    err.print(f"[bold yellow]warning:[/bold yellow] {escape(message)}", soft_wrap=True)
