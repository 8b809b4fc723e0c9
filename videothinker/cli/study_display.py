"""What `vt study` shows while it runs, and its plan."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from videothinker.cli.console import err, notes
from videothinker.cli.console import out as console

if TYPE_CHECKING:
    from rich.console import Group

    from videothinker.records.study import Study
    from videothinker.records.study_cells import Record, State
    from videothinker.records.study_results import Verdict
    from videothinker.study.cost import Forecast
    from videothinker.study.plan import Cell
    from videothinker.study.run import Now, Slots


def forecast_of(
    plan: "Sequence[Cell]", states: "Mapping[str, State]", records: "Mapping[str, Record]", out: Path, slots: "Slots"
) -> "Forecast":
    from videothinker.study.cost import forecast

    return forecast(plan, states, records, out, n_gpu=len(slots.gpus), n_cpu=slots.n_cpu)


def show_plan(
    plan: "Sequence[Cell]", states: "Mapping[str, State]", forecast: "Forecast", slots: "Slots", *, needs_gpu: bool = False
) -> None:
    """Print the cells with their minutes, and the sum. needs_gpu: there is no use in running it without one."""
    from rich import box
    from rich.table import Table

    from videothinker.study.plan import Kind

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("cell", "vt", "after"):
        table.add_column(column, overflow="fold")
    table.add_column("minutes", justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    for cell in plan:
        seconds = forecast.seconds[cell.name]
        mark = " *" if cell.name in forecast.measured else ""
        minutes = "not measured" if seconds is None else f"{seconds / 60:.1f}{mark}"
        where = "GPU" if cell.gpu else "CPU"
        words = " ".join(cell.arguments[: 1 if cell.kind is Kind.ASK else 2]) or "given"
        state = f"awaits {escape(cell.awaits)}" if cell.awaits else str(states[cell.name])
        table.add_row(cell.name, words, ", ".join((*cell.needs, *cell.after)), f"{minutes} {where}", state)
    console.print(table)
    counts = Counter(cell.group for cell in plan)
    console.print("; ".join(f"{n} {group}" for group, n in counts.items()), style="dim", soft_wrap=True)
    n_gpus = len(set(slots.gpus))
    sharing = len(slots.gpus) // n_gpus if n_gpus else 1
    total = "not measured, and for some cells the file expects no time"
    if forecast.gpu_seconds is not None:
        total = f"{forecast.gpu_seconds / 60 / sharing:,.0f}" + (f", {sharing} cells sharing a GPU" if sharing > 1 else "")
    console.print(
        f"[bold]GPU minutes[/bold]: {total}  [dim](* measured on finished cells; the others as the file expects)[/dim]"
    )
    for line in _bases(plan, forecast):
        console.print(escape(line), style="dim", soft_wrap=True)
    places = (
        f"{len(slots.gpus)} at once, GPUs {', '.join(dict.fromkeys(slots.gpus))}"
        if n_gpus
        else f"{slots.n_cpu} at once on the CPU"
    )
    left = "unknown" if forecast.left_seconds is None else f"{duration(forecast.left_seconds)} at best"
    if not n_gpus and needs_gpu:
        left, places = "not measured", "the cells need a GPU, and none is visible here"
    console.print(f"[bold]time left[/bold]: {left}, {places}")


def _bases(plan: "Sequence[Cell]", forecast: "Forecast") -> "Iterator[str]":
    """What the file's expectations of cells rest on, a line for each basis; finished cells need none."""
    groups: dict[str, dict[str, None]] = {}
    for cell in plan:
        if cell.name not in forecast.measured and cell.arguments:
            groups.setdefault(cell.basis, {})[cell.group] = None
    for basis, names in groups.items():
        yield f"{', '.join(names)}: {basis or 'not measured; the minutes are the guess of the file'}"


def show_needs(study: "Study", plan: "Sequence[Cell]", states: "Mapping[str, State]", forecast: "Forecast") -> None:
    """Memory, time and disk on one GPU, on two and on eight, where the file says what its cells need."""
    from rich import box
    from rich.table import Table

    from videothinker.study.cost import on_gpus

    needs = study.needs
    if needs is None:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("GPUs", "memory of each", "time left", "disk"):
        table.add_column(column, justify="right", no_wrap=True)
    for n_gpu in (1, 2, 8):
        one = on_gpus(study, plan, states, forecast, n_gpu, needs)
        left = "not measured" if one.left_seconds is None else long_duration(one.left_seconds)
        table.add_row(str(n_gpu), f"{one.memory_gib:.1f} GiB", left, f"{one.disk_gib:,.0f} GiB")
    console.print(table)
    for what, basis in (("memory", needs.gpu_basis), ("disk", needs.disk_basis)):
        console.print(f"{what}: {escape(basis or 'not measured; the guess of the file')}", style="dim", soft_wrap=True)


def long_duration(seconds: float) -> str:
    """In days from two days on."""
    days = seconds / 86_400
    return f"{days:.1f} days" if days >= 2 else duration(seconds)


def show_claims(
    study: "Study", plan: "Sequence[Cell]", states: "Mapping[str, State]", forecast: "Forecast", slots: "Slots"
) -> None:
    """What each claim costs, and what of it the claims before it have paid already."""
    from rich import box
    from rich.table import Table

    from videothinker.study.cost import by_claim

    if not study.claims:
        return
    n_gpus = len(set(slots.gpus))
    sharing = len(slots.gpus) // n_gpus if n_gpus else 1

    def minutes(seconds: float | None) -> str:
        return "not measured" if seconds is None else f"{seconds / 60 / sharing:.1f}"

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("claim", "GPU minutes", "beside those above", "left"):
        table.add_column(column, justify="left" if column == "claim" else "right", no_wrap=column != "claim")
    table.add_column("", overflow="fold")
    for name, share in by_claim(study, plan, states, forecast).items():
        awaits = f"awaits {share.awaits}" if share.awaits else ""
        table.add_row(escape(name), *(minutes(one) for one in (share.seconds, share.added, share.left)), escape(awaits))
    console.print(table)
    console.print("Each claim by itself is run with --claims NAME.", style="dim")


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min" if minutes else f"{seconds:.0f} s"


@contextmanager
def display(plan: "Sequence[Cell]", out: Path, slots: "Slots") -> "Iterator[Callable[[Now], None]]":
    """Yield what `run_study` tells its progress to: it prints each cell that ends, and on a terminal a live table."""
    from rich.live import Live

    from videothinker.records.study_cells import State

    shown: dict[str, Any] = {}
    drawn = 0.0
    with Live(console=notes, auto_refresh=False, transient=True) as live:

        def watch(now: "Now") -> None:
            nonlocal drawn
            for name, state in now.states.items():
                before, shown[name] = shown.get(name), state
                if before is not state and (before is not None or state is State.RUNNING):
                    _tell(name, state, now.records.get(name), out)
            if notes.is_terminal and time.monotonic() - drawn > 1:
                drawn = time.monotonic()
                live.update(_running(plan, now, out, slots), refresh=True)

        yield watch


def _tell(name: str, state: "State", record: "Record | None", out: Path) -> None:
    from videothinker.records.study_cells import State
    from videothinker.study.run import log_file

    if state is State.FINISHED and record is not None:
        notes.print(f"[green]finished[/green] {name}  [dim]{duration(record.seconds)}[/dim]")
    elif state is State.FAILED and record is not None:
        last = escape(record.tail[-1]) if record.tail else f"exit code {record.returncode}"
        err.print(f"[red]failed[/red]   {name}: {last}  [dim]{log_file(out, name, 'stderr')}[/dim]", soft_wrap=True)
    elif state is State.BLOCKED:
        err.print(f"[yellow]blocked[/yellow]  {name}")
    elif state is State.RUNNING and not notes.is_terminal:
        notes.print(f"started  {name}")


def _running(plan: "Sequence[Cell]", now: "Now", out: Path, slots: "Slots") -> "Group":
    """The number of cells in each state, the time that is left, and a line for each running cell."""
    from rich.console import Group
    from rich.table import Table

    from videothinker.records.training import METRICS
    from videothinker.steps import read_steps
    from videothinker.study.plan import cell_folder

    counts = Counter(now.states.values())
    told = ", ".join(f"{counts[state]} {state}" for state in dict.fromkeys(now.states.values()))
    left = forecast_of(plan, now.states, now.records, out, slots).left_seconds
    head = f"[bold]{len(plan)} cells[/bold]: {told}" + ("" if left is None else f"; about {duration(left)} left")
    table = Table(box=None, pad_edge=False, show_header=False)
    for cell in plan:
        if (began := now.began.get(cell.name)) is not None:
            steps = read_steps(cell_folder(out, cell.name) / METRICS) if cell.steps else []
            step = f"step {steps[-1].step} of {cell.steps}" if steps else ""
            gpu = now.records[cell.name].gpu
            table.add_row(cell.name, "CPU" if gpu is None else f"GPU {gpu}", duration(time.monotonic() - began), step)
    return Group(head, table)


def tell_what_is_left(
    plan: "Sequence[Cell]", states: "Mapping[str, State]", records: "Mapping[str, Record]", out: Path, slots: "Slots"
) -> None:
    """Print which cells time has not sufficed for, and how long they are expected to take."""
    from videothinker.records.study_cells import OVER

    left = [cell for cell in plan if states[cell.name] not in OVER]
    if left:
        seconds = forecast_of(plan, states, records, out, slots).left_seconds
        time_left = "" if seconds is None else f", about {duration(seconds)}"
        names = ", ".join(cell.name for cell in left[:8]) + (f" and {len(left) - 8} more" if len(left) > 8 else "")
        err.print(f"time is up: {len(left)} cells are left{time_left}; the same command goes on with {names}", soft_wrap=True)


def show_verdicts(verdicts: "Sequence[Verdict]") -> None:
    """Print what the study says of each claim."""
    colours = {"confirmed": "green", "refuted": "red", "undecided": "yellow"}
    for one in verdicts:
        name = f"({one.claim.name}) " if one.claim.name else ""
        left = "" if one.corrected in (None, one.decision) else f"  [dim]after correction {one.corrected}[/dim]"
        left += f"  [dim]so far: {one.open} of its cells are open[/dim]" if one.open else ""
        console.print(f"[{colours[one.decision]}]{one.decision:<10}[/] {escape(name + one.claim.text)}{left}", soft_wrap=True)


def plan_record(cells: "Sequence[Cell]", states: "Mapping[str, State]", forecast: "Forecast") -> dict[str, Any]:
    """The cells of a plan with their states and expected times, for --json."""
    return {
        "cells": [
            {"name": cell.name, "state": states[cell.name], "seconds": forecast.seconds.get(cell.name)} for cell in cells
        ],
        "gpu_seconds": forecast.gpu_seconds,
        "left_seconds": forecast.left_seconds,
    }
