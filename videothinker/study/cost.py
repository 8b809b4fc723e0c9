"""Predict how long a study will take, from what finished cells took or, where there are none, from what its file expects."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from videothinker.records.study import Needs, Study
from videothinker.records.study_cells import OVER, Record, State
from videothinker.records.training import METRICS
from videothinker.steps import read_steps
from videothinker.study.plan import Cell, Kind, cell_folder, cells_of, heights


class Forecast(NamedTuple):
    """The times that are expected of a plan. A time is None where nothing is known about one of its cells."""

    seconds: dict[str, float | None]
    """For each cell what it took, or what it is expected to take from its start."""
    measured: frozenset[str]
    """Cells whose seconds come from finished cells."""
    gpu_seconds: float | None
    """The sum over all cells that need a GPU."""
    left_seconds: float | None
    """Time until every cell is done: the work that is left, divided by the places for it, but no less than the longest chain
    of cells that wait for each other."""


def forecast(
    plan: Sequence[Cell], states: Mapping[str, State], records: Mapping[str, Record], folder: Path, *, n_gpu: int, n_cpu: int
) -> Forecast:
    """The forecast for a plan.

    n_gpu, n_cpu: how many cells can run at once on GPUs and on the CPU. Without a GPU all cells share the CPU's places.
    """
    done = [cell for cell in plan if states[cell.name] is State.FINISHED and cell.name in records]
    groups: dict[str, list[float]] = {}
    for cell in done:
        for group in (cell.group, cell.kind):  # another stage's training, or way of asking, is a better guess than the file's
            groups.setdefault(group, []).append(records[cell.name].seconds / (cell.steps or 1))
    seconds: dict[str, float | None] = {}
    measured = set()
    for cell in plan:
        if cell in done:
            seconds[cell.name] = records[cell.name].seconds
            measured.add(cell.name)
        elif cell.group in groups:
            seconds[cell.name] = median(groups[cell.group]) * (cell.steps or 1)
            measured.add(cell.name)
        elif (by_own_steps := _from_own_steps(cell, folder)) is not None:
            seconds[cell.name] = by_own_steps
        elif cell.kind in groups and cell.kind is not Kind.PREPARE:
            seconds[cell.name] = median(groups[cell.kind]) * (cell.steps or 1)
        else:
            seconds[cell.name] = cell.expected
    gpu = _sum([seconds[cell.name] for cell in plan if cell.gpu])
    return Forecast(seconds, frozenset(measured), gpu, _left(plan, states, seconds, n_gpu, n_cpu))


class Machine(NamedTuple):
    """What a study takes on a number of GPUs, each of which runs one cell at a time."""

    n_gpu: int
    left_seconds: float | None
    """As in `Forecast`."""
    memory_gib: float
    """Of each GPU."""
    disk_gib: float


def on_gpus(
    study: Study, plan: Sequence[Cell], states: Mapping[str, State], expected: Forecast, n_gpu: int, needs: Needs
) -> Machine:
    """The needs of a plan on `n_gpu` GPUs. Disk is that of all checkpoints at the end, for none is deleted."""
    kept = sum(cell.kind in (Kind.TRAIN, Kind.BLEND) for cell in plan)
    places = n_gpu * study.schedule.jobs_per_gpu
    left = _left(plan, states, expected.seconds, places, study.schedule.cpu_jobs)
    memory = needs.gpu_gib * study.schedule.jobs_per_gpu
    return Machine(n_gpu, left, memory, needs.data_gib + kept * needs.checkpoint_gib)


class Share(NamedTuple):
    """What a claim takes, in seconds of cells that need a GPU; None where a cell's time is not known."""

    seconds: float | None
    """All that it rests on."""
    added: float | None
    """What no claim before it rests on."""
    left: float | None
    """Of `added`, what is not finished."""
    awaits: str
    """What this version of `vt` lacks to run it; empty: nothing."""


def by_claim(study: Study, plan: Sequence[Cell], states: Mapping[str, State], expected: Forecast) -> dict[str, Share]:
    """The cost of each claim, by its name."""
    counted: set[str] = set()
    found = {}
    for name, claim in study.named_claims.items():
        rests_on = cells_of(claim, study, plan)
        cells = [cell for cell in plan if cell.name in rests_on and cell.gpu]
        added = [cell for cell in cells if cell.name not in counted]
        left = [cell for cell in added if states[cell.name] is not State.FINISHED]
        total, beside, owed = (_sum([expected.seconds[cell.name] for cell in some]) for some in (cells, added, left))
        awaits = next((cell.awaits for cell in cells if cell.awaits), "")
        found[name] = Share(total, beside, owed, awaits)
        counted |= rests_on
    return found


def _from_own_steps(cell: Cell, folder: Path) -> float | None:
    """Seconds that a training will take in all, from the steps it has taken so far; None where fewer than six are known.

    The first three steps are left out, because they compile and warm up.
    """
    if cell.steps is None:
        return None
    taken = [row.seconds for row in read_steps(cell_folder(folder, cell.name) / METRICS) if row.seconds is not None]
    return None if len(taken) < 6 else median(taken[3:]) * cell.steps


def _left(
    plan: Sequence[Cell], states: Mapping[str, State], seconds: Mapping[str, float | None], n_gpu: int, n_cpu: int
) -> float | None:
    """Seconds until every cell is done; None where a cell that is owed has no known time."""
    owed = [cell for cell in plan if states[cell.name] not in OVER]
    if any(seconds[cell.name] is None for cell in owed):
        return None
    on_gpu = _sum([seconds[cell.name] for cell in owed if cell.gpu]) or 0.0
    on_cpu = _sum([seconds[cell.name] for cell in owed if not cell.gpu]) or 0.0
    shared = max(on_gpu / n_gpu, on_cpu / n_cpu) if n_gpu else (on_gpu + on_cpu) / n_cpu
    return max(shared, max(heights(owed, seconds).values(), default=0.0))


def _sum(values: Sequence[float | None]) -> float | None:
    """The sum of the values; None if any of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
