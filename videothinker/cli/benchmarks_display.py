"""What `vt diagnose` and `vt report` print of several data sets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from videothinker.cli.console import Printable, warn
from videothinker.cli.console import out as console
from videothinker.cli.diagnosis_display import percent
from videothinker.cli.views_display import show_views_of_sets

if TYPE_CHECKING:
    from rich.table import Table

    from videothinker.recipes.benchmarks import BenchmarksReport
    from videothinker.records.benchmarks import Benchmarks, Score

_DASH = "\u2013"
_CAPTION = """\
\u00b1: the longer side of the 95 % interval, clustered by clip.
average: unweighted, over all data sets.
"""
_WIDE = 100
"""Columns of the widest table; a narrower terminal has what fits it."""


def show_benchmarks(report: "BenchmarksReport") -> None:
    """Print the table of all data sets, verdicts where there are labels, where the pages are, and what damaged clips change."""
    from videothinker.diagnose.verdict import verdict
    from videothinker.reports.scored import words_of_sets

    summary = report.summary
    read = f", read by the protocol {summary.read_by}" if summary.read_by else ""
    said = words_of_sets({name: each.runs for name, each in report.sets.items()})
    console.print(f"{said.axis}, %, as each data set is averaged{read}", markup=False, soft_wrap=True)
    for line in _partial(summary):
        console.print(line, markup=False, soft_wrap=True)
    width = min(console.width, _WIDE) if console.is_terminal else _WIDE
    Printable(highlight=False, width=width, stderr=console.stderr).print(benchmarks_table(summary, width))
    console.print(_CAPTION, style="dim", soft_wrap=True)
    for name, each in report.sets.items():
        for one in each.runs:
            pool = one.metrics.all
            if pool.n_decode_error:
                asked = pool.n_questions + pool.n_decode_error
                warn(f"{name}: {one.name}: {pool.n_decode_error:,} of {asked:,} questions left out: clip not readable")
            if pool.n_unparsed or pool.n_truncated:
                counts = f"{pool.n_unparsed:,} unreadable, {pool.n_truncated:,} cut, of {pool.n_questions:,}"
                console.print(f"{name}: {one.name}: {counts}", markup=False, soft_wrap=True)
            if one.metrics.rule is not None:
                told = f"{escape(name)}: [bold]{escape(one.name)}[/bold]: {verdict(one.metrics)}"
                console.print(told, soft_wrap=True)
    console.print(f"report: [bold]{escape(str(report.folder / 'report.html'))}[/bold]", soft_wrap=True)
    show_views_of_sets({name: each.views for name, each in report.sets.items()})


def _partial(summary: "Benchmarks") -> list[str]:
    """Which checkpoints were asked a part of a data set: "partial: mmvu 30 of 200 questions", for all or with their names."""
    asked: dict[tuple[str, str], list[str]] = {}
    for name, scores in summary.checkpoints.items():
        for dataset, score in scores.items():
            if score.partial is not None:
                part = f"{score.partial.asked:,} of {score.partial.of:,} questions"
                asked.setdefault((dataset, part), []).append(name)
    everyone = list(summary.checkpoints)
    return [
        f"partial: {dataset} {part}" + ("" if names == everyone else f" ({', '.join(names)})")
        for (dataset, part), names in asked.items()
    ]


def benchmarks_table(summary: "Benchmarks", width: int) -> "Table":
    """Checkpoints and references in lines and data sets in columns; where that is too wide, the other way round; and where that
    is too wide as well, a line for every pair."""
    from rich.console import Console

    shapes = [_table_of_sets(summary), _turned(_table_of_sets(summary)), _in_lines(summary)]
    measured = Console(width=10_000)
    for cells in shapes[:-1]:
        table = _plain_table(cells)
        if table.__rich_measure__(measured, measured.options).maximum <= width:
            return table
    return _plain_table(shapes[-1])


def _table_of_sets(summary: "Benchmarks") -> list[list[str]]:
    """The head and a line for each checkpoint and reference."""
    everyone = {**summary.checkpoints, **summary.references}
    average = bool(summary.averages)
    lines = [["checkpoint", *summary.datasets, *(["average"] if average else [])]]
    for name, scores in everyone.items():
        mean = summary.averages.get(name) if name in summary.checkpoints else None
        cells = [_score_text(scores.get(dataset)) for dataset in summary.datasets]
        lines.append([name, *cells, *([_DASH if mean is None else f"{100 * mean:.1f}"] if average else [])])
    return lines


def _turned(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    return [["data set" if cell == "checkpoint" else cell for cell in column] for column in zip(*lines, strict=True)]


def _in_lines(summary: "Benchmarks") -> list[list[str]]:
    everyone = {**summary.checkpoints, **summary.references}
    return [["data set", "checkpoint", "right"]] + [
        [dataset, name, _score_text(scores[dataset])]
        for dataset in summary.datasets
        for name, scores in everyone.items()
        if dataset in scores
    ]


def _score_text(score: "Score | None") -> str:
    """A score with the longer side of its interval."""
    from videothinker.records import Estimate

    return _DASH if score is None else percent(Estimate(score.value, None, score.ci95))


def _plain_table(lines: Sequence[Sequence[str]]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    head, *rows = lines
    for place, name in enumerate(head):
        number = place > 0 and name != "checkpoint"
        table.add_column(escape(name), justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table
