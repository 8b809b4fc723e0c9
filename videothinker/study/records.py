"""What a study remembers of each cell, DIR/records/NAME.json, and what that says about a cell today.

A cell is finished when its record says so for the same command and the files that its command writes last are there. So a
study that is killed at any moment goes on with the cells that were not finished, and each of those commands resumes by itself.
"""

import shutil
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from videothinker import store
from videothinker.errors import VtError
from videothinker.study.plan import Cell, Kind, cell_folder


class State(StrEnum):
    """Where a cell stands."""

    WAITING = "waiting"
    RUNNING = "running"
    """In a record of a study that does not run: killed with it."""
    FINISHED = "finished"
    FAILED = "failed"
    BLOCKED = "blocked"
    """A cell that it needs has failed."""
    INTERRUPTED = "interrupted"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """records/NAME.json, written when a cell starts and when it ends."""

    identity: str
    state: State
    command: str
    """As one would type it."""
    gpu: str | None = None
    """Which one it ran on; None: on the CPU."""
    seconds: float = 0.0
    """Of all attempts together."""
    attempts: int = 1
    returncode: int | None = None
    tail: tuple[str, ...] = ()
    """Last lines of stderr, where it failed."""


def record_file(folder: Path, name: str) -> Path:
    """Where the record of a cell of the study in `folder` is."""
    return folder / "records" / f"{name}.json"


def read_records(plan: Sequence[Cell], folder: Path) -> dict[str, Record]:
    """The records of the plan's cells that have one."""
    paths = {cell.name: record_file(folder, cell.name) for cell in plan}
    return {name: store.read_json(path, Record) for name, path in paths.items() if path.is_file()}


def outdated(plan: Sequence[Cell], records: Mapping[str, Record], folder: Path) -> list[str]:
    """Cells that were run with another command, configuration file or input, or whose input has been deleted since."""
    found: list[str] = []
    states = {cell.name: state_of(cell, records.get(cell.name), folder) for cell in plan}
    for cell in plan:
        gone = any(need in found or states[need] is not State.FINISHED for need in cell.needs)
        if (record := records.get(cell.name)) is None:
            continue
        if record.identity != cell.identity or (gone and states[cell.name] is State.FINISHED):
            found.append(cell.name)
    return found


def refuse_outdated(names: Sequence[str], folder: Path) -> None:
    """
    Raises:
        VtError: there are any.
    """
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise VtError(
            f"{folder}: {len(names)} cells were run with another command, configuration file or input than the study has now: "
            f"{shown}. Choose another --out, or --redo, which deletes and runs them again"
        )


def discard(names: Sequence[str], folder: Path) -> None:
    """Delete what the cells have written, and their records."""
    for name in names:
        shutil.rmtree(cell_folder(folder, name), ignore_errors=True)
        record_file(folder, name).unlink(missing_ok=True)


def state_of(cell: Cell, record: Record | None, folder: Path) -> State:
    """Where a cell stands while nothing runs."""
    if record is None:
        return State.WAITING
    if is_complete(cell, cell_folder(folder, cell.name)) and record.state is not State.FAILED:
        return State.FINISHED  # also where the study was killed between the command's last file and the record
    return State.WAITING if record.state is State.FINISHED else record.state


def states_of(plan: Sequence[Cell], records: Mapping[str, Record], folder: Path) -> dict[str, State]:
    """Where every cell stands while nothing runs."""
    states = {cell.name: state_of(cell, records.get(cell.name), folder) for cell in plan}
    block(plan, states)
    return states


def block(plan: Sequence[Cell], states: dict[str, State]) -> None:
    """Mark what waits for a failed cell; the plan's order carries it on to what waits for those."""
    for cell in plan:
        if states[cell.name] is State.WAITING and any(states[need] in (State.FAILED, State.BLOCKED) for need in cell.needs):
            states[cell.name] = State.BLOCKED


def is_complete(cell: Cell, out: Path) -> bool:
    """Has the cell's command written what it writes last?"""
    if cell.kind is Kind.ASK:
        return (out / "report.html").is_file() and any(out.glob("*/metrics.json"))
    if cell.arguments[0] == "train":
        run = out / "run.json"
        if not run.is_file() or not store.read_json(run, dict[str, Any]).get("finished"):
            return False
        return cell.arguments[1] != "bias" or (out / "gate.json").is_file()
    last = {"world": "world.json", "curate": "manifest.json"}.get(cell.arguments[0])
    return out.is_dir() and any(out.iterdir()) if last is None else (out / last).is_file()
