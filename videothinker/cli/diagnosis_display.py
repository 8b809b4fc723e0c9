"""How `vt diagnose` and `vt report` tell on a terminal what they found, and which presets and protocols there are."""

from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from videothinker.cli.console import Printable, warn
from videothinker.cli.console import out as console
from videothinker.cli.views_display import show_views
from videothinker.diagnose.protocols import PROTOCOLS
from videothinker.records import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from videothinker.diagnose.runs import Run
    from videothinker.recipes.diagnosis import Report
    from videothinker.records import Estimate, Metrics

_DASH = "\u2013"
_CAPTION = """\
\u00b1: the longer side of the 95 % interval, clustered by scene.
gap: observational minus inferential.
reliance: inferential answers that are the observer's.
unread: no answer found; cut: at the token limit; lost: clip could not be read.
"""
_UNLABELLED = """\
\u00b1: the longer side of the 95 % interval, clustered by clip.
chance: what a random answer of each question's form is worth.
unread: no answer found; cut: at the token limit; lost: clip could not be read.
"""


def list_protocols(wanted: bool) -> None:
    """Print every protocol with its source and faults, and stop, if that is wanted."""
    if not wanted:
        return
    from videothinker.diagnose.protocols import all_protocols

    for each in all_protocols():
        known = "any question set" if each.benchmarks is None else ", ".join(each.benchmarks)
        console.print(f"[bold]{each.name}[/bold]: {escape(PROTOCOLS[each.name])}", soft_wrap=True)
        console.print(f"  from {escape(each.source)}; for {escape(known)}", soft_wrap=True)
        for fault in each.faults:
            console.print(f"  - {escape(fault)}", style="dim", soft_wrap=True)
    raise typer.Exit


def list_presets(wanted: bool) -> None:
    """Print the presets and end, if that is wanted."""
    if not wanted:
        return
    from rich import box
    from rich.table import Table

    from videothinker.diagnose.presets import PRESETS

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("preset", "checkpoint", "frames", "pixels", "tokens", "prompt", "protocol"):
        table.add_column(column, overflow="fold")
    for each in PRESETS:
        pinned = "not pinned" if each.revision is None else f"revision {each.revision[:12]}"
        positions = "" if each.text_positions is None else f"; text positions {each.text_positions.value}"
        told = (
            f"{each.ref} ({each.architecture}, {pinned}{positions})\n[dim]{escape(each.note)}; by {escape(each.source)}[/dim]"
        )
        limits = ("its own" if n is None else f"{n:,}" for n in (each.n_frames, each.max_pixels, each.max_new_tokens))
        table.add_row(f"[bold]{each.name}[/bold]", told, *limits, each.prompt.value, each.protocol)
    wide = console if console.is_terminal else Printable(highlight=False, width=160, stderr=console.stderr)
    wide.print(table)
    console.print(
        "protocol: whose way of asking and reading the published numbers rest on; --protocol with that name asks and reads so.",
        style="dim",
        soft_wrap=True,
    )
    raise typer.Exit


def show_report(report: "Report") -> None:
    """Print a report's table and verdicts, say where its pages are, and what damaged clips change where some were shown."""
    from videothinker.diagnose.runs import prompts as prompts_of
    from videothinker.diagnose.verdict import verdict
    from videothinker.observers.log import OBSERVER_FLOOR
    from videothinker.reports.scored import right_words

    rule = report.runs[0].labels.rule
    rows = [*report.references, *report.runs]
    by = "these questions have no labels" if rule is None else f"by category under the rule {rule}"
    said = right_words(question for each in report.runs for question in each.questions)
    what = "mean score (intervals: IoU, estimates: mean relative accuracy)" if said.by_score else "answers exactly right"
    console.print(f"{what}, %, {by}", soft_wrap=True)
    wide = (
        console if console.is_terminal else Printable(highlight=False, width=160, stderr=console.stderr)
    )  # no terminal: a file has room
    wide.print(diagnosis_table(rows))
    console.print(_CAPTION if rule else _UNLABELLED, style="dim", soft_wrap=True)
    if told := prompts_of(report.runs):
        console.print(
            "asked with the prompts: " + "; ".join(f"{name} {words}" for name, words in told), soft_wrap=True, markup=False
        )
    observer = next((each for each in report.references if each.name == "observer"), None)
    watched = None if observer is None else observer.metrics.observational.per_question.value
    if watched is not None and watched < OBSERVER_FLOOR:
        warn(
            f"by the rule {rule}, watching answers only {100 * watched:.0f} % of the observational questions, so the gap says "
            f"little about the shortcut; score the same replies again with `vt report ... --rule oracle`"
        )
    for each in report.runs:
        pool = each.metrics.all
        if pool.n_decode_error:
            asked = pool.n_questions + pool.n_decode_error
            warn(
                f"{each.name}: {pool.n_decode_error:,} of {asked:,} questions left out: clip not readable{_first_lost(each)};"
                " mend what it names and run again"
            )
        console.print(f"[bold]{escape(each.name)}[/bold]: {verdict(each.metrics)}", soft_wrap=True)
    console.print(f"report: [bold]{escape(str(report.folder / 'report.html'))}[/bold]", soft_wrap=True)
    show_views(report.views)


def _first_lost(run: "Run") -> str:
    """Which clip could not be read, and why, of the first question that was lost; empty where an import does not tell."""
    why = next((each.error for each in run.predictions if each.status is Status.DECODE_ERROR and each.error), None)
    return f", the first is {why}" if why else ""


def show_readings(report: "Report") -> None:
    """Print how every protocol reads the same replies."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for column in ("checkpoint", "questions of", "read by"):
        table.add_column(column, overflow="fold")
    for column in ("right", "unread", "guessed", "right\nunread", "left\nout", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report.readings:
        numbers = (row.n_unread, row.n_guessed, row.n_right_unread, row.n_left_out, row.n_questions)
        who = map(escape, (row.run, row.source, row.protocol))
        table.add_row(*who, percent(row.per_question), *(f"{n:,}" for n in numbers))
    console.print("one set of replies, read in different ways; report.html lists those that change", soft_wrap=True)
    wide = console if console.is_terminal else Printable(highlight=False, width=160, stderr=console.stderr)
    wide.print(table)


def diagnosis_table(rows: "Sequence[Run]") -> "Table":
    """The runs in lines, references dimmed and first.

    Columns: accuracy by category, gap and shortcut reliance with their 95 % intervals; counts of what could not be read.
    Without labels: accuracy on all questions, and chance.
    """
    from rich import box
    from rich.table import Table

    solvers = {each.record.model for each in rows if not each.reference}
    rows = [each for each in rows if not (each.reference and each.record.model in solvers)]
    partial = {each.name: each.record.partial for each in rows if each.record.partial}
    asked = {name: f"{part.asked:,} of {part.of:,} questions" for name, part in partial.items()}
    alike = len(asked) == sum(not each.reference for each in rows) and len(set(asked.values())) == 1
    told = next(iter(asked.values())) if alike else ", ".join(f"{name} {part}" for name, part in asked.items())
    table = Table(
        title=escape(f"partial: {told}") if asked else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("checkpoint", overflow="fold")
    labelled = any(each.metrics.rule is not None for each in rows)
    by_category = ("observa-\ntional", "inferential", "gap", "reliance")
    for column in (*(by_category if labelled else ("right", "chance")), "unread/\ncut/lost", "n"):  # 80 columns for all
        table.add_column(column, justify="right", no_wrap=True)
    for number, each in enumerate(rows):
        pool = each.metrics.all
        table.add_row(
            escape(each.name),
            *_scores(each.metrics, labelled),
            "" if each.reference else f"{pool.n_unparsed}/{pool.n_truncated}/{pool.n_decode_error}",
            f"{pool.n_questions:,}",
            style="dim" if each.reference else None,
            end_section=each.reference and not rows[min(number + 1, len(rows) - 1)].reference,
        )
    return table


def _scores(metrics: "Metrics", labelled: bool) -> list[str]:
    """The cells that say how well a run did."""
    if not labelled:
        chance = metrics.chance
        return [percent(metrics.all.per_question), _DASH if chance is None else f"{100 * chance:.1f}"]
    pools = (metrics.observational, metrics.inferential)
    return [
        *(percent(pool.per_question) for pool in pools),
        percent(metrics.gap, signed=True),
        percent(metrics.shortcut_reliance),
    ]


def percent(value: "Estimate", *, signed: bool = False) -> str:
    """ "84.1 ±5.8": in percent, with the longer side of the 95 % interval; the pages have both ends."""
    if value.value is None:
        return _DASH
    middle = f"{100 * value.value:{'+' if signed else ''}.1f}"
    if value.ci95 is None:
        return middle
    low, high = value.ci95
    return f"{middle} \u00b1{100 * max(value.value - low, high - value.value):.1f}"
