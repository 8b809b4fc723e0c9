"""Run a study's cells, as many at once as fit, each as a process of its own and after the cells that it needs.

A cell that fails stops nothing but the cells that need it. An interruption (Ctrl-C, SIGTERM) ends every process that was
started, with its own children; the records then say which cells were cut short, and the next `vt study` goes on with them.
"""

import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import msgspec

from videothinker import locks, store
from videothinker.errors import VtError
from videothinker.pool import share_of_cores
from videothinker.records.study_cells import OVER, Record, State
from videothinker.study.cells import block, is_complete, made_again, read_records, record_file, states_of
from videothinker.study.plan import Cell, cell_folder, command, heights

VT = (sys.executable, "-m", "videothinker")
_TAIL = 12
"""Lines of stderr that a failed cell's record keeps."""
_GRACE = 20.0
"""Seconds that an interrupted process has to end by itself."""
_TICK = 0.05
"""Seconds between two looks at the processes."""


class Slots(NamedTuple):
    """The places where cells can run."""

    gpus: tuple[str, ...]
    """One GPU per place, as CUDA_VISIBLE_DEVICES names it: ("0", "0", "1", "1") lets two cells share each of two GPUs."""
    n_cpu: int
    """How many cells run at once without a GPU. Where there is no GPU, these places are for all cells."""


def find_gpus() -> list[str]:
    """The GPUs that this process may use: those of CUDA_VISIBLE_DEVICES if it is set, otherwise all that nvidia-smi lists."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in visible.split(",") if gpu not in ("", "-1")]
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # no driver, no GPU
        return []
    return listed.split()


class Now(NamedTuple):
    """What `watch` is told, about twenty times a second."""

    states: Mapping[str, State]
    began: Mapping[str, float]
    """`time.monotonic()` at which each running cell began."""
    records: Mapping[str, Record]


class _Place(NamedTuple):
    gpu: str | None


class _Job(NamedTuple):
    cell: Cell
    process: subprocess.Popen[bytes]
    began: float


def run_study(
    plan: Sequence[Cell],
    folder: Path,
    here: Path,
    slots: Slots,
    *,
    priorities: Mapping[str, float] | None = None,
    watch: Callable[[Now], None] = lambda _: None,
    program: Sequence[str] = VT,
    max_seconds: float = math.inf,
    expect: Callable[[Mapping[str, State], Mapping[str, Record]], Mapping[str, float | None]] = lambda *_: {},
) -> dict[str, State]:
    """Run every cell that is not finished, and return the state of each at the end.

    here: folder of the study's file. priorities: within a turn, cells with larger values start first; by default those that the
    longest chain of others waits for. program: what runs a cell's arguments. max_seconds: a cell starts only if it is expected
    to end by then, and whatever still runs at that time is interrupted. expect: gives each cell's expected seconds from states
    and records; a cell with None starts.

    Raises:
        VtError: another `vt study`, or a cell of one that was killed, is still at work in `folder`; or a given folder that is
            needed is not on this machine.
        KeyboardInterrupt: after an interruption, once all processes have ended.
    """
    deadline = time.monotonic() + max_seconds
    with alone(folder) as lock, _interruption() as interrupted, _bytecode() as bytecode:
        records = read_records(plan, folder)
        states = {
            name: State.FINISHED if state is State.FINISHED else State.WAITING  # what failed or was cut short is tried again
            for name, state in states_of(plan, records, folder).items()
        }
        _note_finished(states, records, folder)
        _prepare_again(plan, states, records, folder)
        tall = priorities or heights(plan, dict.fromkeys(states))
        order = {cell.name: (cell.turn, -tall[cell.name]) for cell in plan}
        jobs: dict[str, _Job] = {}

        def end(job: _Job) -> None:
            name = job.cell.name
            records[name] = _ended(job, records[name], folder, interrupted=interrupted.is_set())
            states[name] = records[name].state
            store.write_json(record_file(folder, name), records[name])
            del jobs[name]

        try:
            while True:
                for job in [job for job in jobs.values() if job.process.poll() is not None]:
                    end(job)
                block(plan, states)
                seconds: Mapping[str, float | None] | None = None
                for cell in sorted(_ready(plan, states), key=lambda cell: order[cell.name]):
                    if (place := _free(cell, slots, [(job.cell, records[name].gpu) for name, job in jobs.items()])) is None:
                        continue
                    if max_seconds < math.inf:
                        seconds = expect(states, records) if seconds is None else seconds
                        if time.monotonic() + (seconds.get(cell.name) or 0.0) > deadline:
                            continue
                    name, arguments = cell.name, command(cell, folder, here)
                    records[name] = _begun(cell, command(cell, Path(), here), place, records.get(name))
                    store.write_json(record_file(folder, name), records[name])
                    environment = {**_environment(place, slots), **bytecode}
                    jobs[name] = _launch(cell, [*program, *arguments], folder, environment, lock)
                    states[name] = State.RUNNING
                watch(Now(states, {name: job.began for name, job in jobs.items()}, records))
                if not jobs:
                    return states
                if time.monotonic() > deadline:
                    break
                if interrupted.wait(_TICK):
                    raise KeyboardInterrupt
        finally:
            interrupted.set()  # also where this code itself has failed
            _stop([job.process for job in jobs.values()])
            for job in list(jobs.values()):
                end(job)
        return states


def _note_finished(states: Mapping[str, State], records: dict[str, Record], folder: Path) -> None:
    """Say of cells that outlived a killed study, and whose files are complete, that they are finished."""
    for name, record in records.items():
        if states[name] is State.FINISHED and record.state is not State.FINISHED:
            records[name] = msgspec.structs.replace(record, state=State.FINISHED)
            store.write_json(record_file(folder, name), records[name])


def _prepare_again(plan: Sequence[Cell], states: dict[str, State], records: Mapping[str, Record], folder: Path) -> None:
    """Let cells of little cost run again whose files have stayed on another machine and are needed here."""
    while missing := made_again(plan, states, records, folder):
        for cell in missing:
            if not cell.arguments:
                raise VtError(
                    f"'{cell.name}' was given as a folder that is not here; say where it is: --given {cell.name}=FOLDER"
                )
            shutil.rmtree(cell_folder(folder, cell.name), ignore_errors=True)
            states[cell.name] = State.WAITING


def _ready(plan: Sequence[Cell], states: Mapping[str, State]) -> list[Cell]:
    return [
        cell
        for cell in plan
        if states[cell.name] is State.WAITING
        and all(states[need] is State.FINISHED for need in cell.needs)
        and all(states[earlier] in OVER for earlier in cell.after)
    ]


def _free(cell: Cell, slots: Slots, running: Sequence[tuple[Cell, str | None]]) -> _Place | None:
    """A place for the cell, on the GPU that the fewest cells share or on the CPU; None while all places are taken."""
    if cell.gpu and slots.gpus:
        taken = Counter(gpu for _, gpu in running)
        free = [gpu for gpu in dict.fromkeys(slots.gpus) if taken[gpu] < slots.gpus.count(gpu)]
        return _Place(min(free, key=lambda gpu: taken[gpu])) if free else None
    return _Place(None) if sum(gpu is None for _, gpu in running) < slots.n_cpu else None


def _begun(cell: Cell, arguments: Sequence[str], place: _Place, earlier: Record | None) -> Record:
    return Record(
        identity=cell.identity,
        state=State.RUNNING,
        command=shlex.join(["vt", *arguments]),
        gpu=place.gpu,
        seconds=earlier.seconds if earlier else 0.0,
        attempts=earlier.attempts + 1 if earlier else 1,
    )


def _environment(place: _Place, slots: Slots) -> dict[str, str]:
    """The environment of a cell's process: the study's own, with only the cell's GPU visible and its share of the cores."""
    own = {"CUDA_VISIBLE_DEVICES": place.gpu or "", "PYTHONUNBUFFERED": "1"}
    if place.gpu is not None and slots.gpus.count(place.gpu) > 1 and not any(name in os.environ for name in _ALLOCATOR):
        own[_ALLOCATOR[0]] = "expandable_segments:True"
    return {**os.environ, **share_of_cores(max(len(slots.gpus), slots.n_cpu)), **own}


_ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""What PyTorch reads how it keeps a GPU's memory from. Where cells share one, it may grow what it holds in place of holding
blocks that no longer fit: a training of study 2 then held 8.3 GiB and not up to 14."""


@contextmanager
def _bytecode() -> Iterator[dict[str, str]]:
    """What the environment of cells says of compiled modules.

    Images of containers often forbid Python to keep them beside the sources. Then a cell would compile those of torch and
    transformers for itself, which takes 7 s; so cells share a folder that is gone when the study ends.
    """
    if not sys.dont_write_bytecode or sys.pycache_prefix:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="videothinker-bytecode-", ignore_cleanup_errors=True) as folder:
        yield {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder}


def log_file(folder: Path, name: str, stream: str) -> Path:
    """The file that a cell's "stdout" or "stderr" goes to; every attempt is appended."""
    return folder / "logs" / f"{name}.{stream}"


def _launch(cell: Cell, argv: Sequence[str], folder: Path, environment: Mapping[str, str], lock: int) -> _Job:
    log_file(folder, cell.name, "stdout").parent.mkdir(parents=True, exist_ok=True)
    with (
        log_file(folder, cell.name, "stdout").open("ab") as stdout,
        log_file(folder, cell.name, "stderr").open("ab") as stderr,
    ):
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C reaches the study alone, which then ends whole process groups
            pass_fds=(lock,),  # while it lives, no other study starts in this folder, even if this one was killed
        )
    return _Job(cell, process, time.monotonic())


def _ended(job: _Job, record: Record, folder: Path, *, interrupted: bool) -> Record:
    """The record of a process that has ended."""
    _signal(job.process, signal.SIGKILL)  # ends the children that it left behind
    code = job.process.returncode
    complete = code == 0 and is_complete(job.cell, cell_folder(folder, job.cell.name))
    state = State.FINISHED if complete else State.INTERRUPTED if interrupted else State.FAILED
    tail: tuple[str, ...] = ()
    if state is State.FAILED:
        text = log_file(folder, job.cell.name, "stderr").read_text(encoding="utf-8", errors="replace")
        tail = tuple(line.rstrip() for line in text.splitlines() if line.strip())[-_TAIL:]
        if code == 0:
            tail = (*tail, "ended with exit code 0, but without the files that it writes last")
    seconds = record.seconds + time.monotonic() - job.began
    return msgspec.structs.replace(record, state=state, seconds=round(seconds, 1), returncode=code, tail=tail)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the process and its children, which form one process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@contextmanager
def alone(folder: Path) -> Iterator[int]:
    """Lock the study's folder, and yield the lock's file descriptor, which children inherit.

    Raises:
        VtError: another study holds the lock.
    """
    busy = "another `vt study`, or a cell of one that was killed, is still at work there"
    if locks.holds(folder):
        raise VtError(f"{folder}: {busy}")
    lock = locks.take(folder, busy)
    try:
        yield lock
    finally:
        locks.release(folder)


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C, or the SIGTERM of a cluster, sets. An exception could come between the start of a process and
    its entry in the list of jobs, and the process would be lost."""
    come = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        come.set()

    earlier = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield come
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
