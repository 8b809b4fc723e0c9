"""Pack a study for another machine: a few files of bounded size hold what is needed to continue it and to draw its report.

A pack holds the records, the ends of the logs, and from every finished cell its answers and the files that describe it. Weights
travel as differences from the start model, exact or rounded to bfloat16, for bias models, for the first seed, and for whatever
an unfinished cell needs. Data, clips, optimiser states and weights that nothing will ask again stay behind; a record is enough
for their cells to count as finished.

    pack(study, plan, folder, Path("away"), shrink)   # away/study-1.tar, away/study-2.tar, ...
    unpack(folder, Path("away"))                      # on the other machine
    restore_weights(study, plan, folder, grow)        # once the start model is there
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from videothinker import store
from videothinker.errors import VtError
from videothinker.pool import n_cores
from videothinker.records.study import Stage, Study
from videothinker.records.study_cells import Record, State
from videothinker.records.study_results import ANSWERS, EARLIER, RESULTS, Results
from videothinker.study.cells import as_travelled, read_records, states_of
from videothinker.study.config import fill, placeholders
from videothinker.study.differences import EXACT, FILES, WEIGHTS, Grow, Shrink, difference, has_weights, restore, waits
from videothinker.study.parts import PART_BYTES, Item, compressed, fits, joined, read, spread, tar
from videothinker.study.plan import Cell, Kind, cell_folder
from videothinker.study.scratch import scratch

_Read = TypeVar("_Read")
_LOG_LINES = 200
_NOT_SAID = (WEIGHTS, ".html", ".svg", ".png", ".pdf", ".pt", ".pth", ".bin", ".parquet")
"""Endings of the files in a cell's folder that neither describe it nor hold its answers."""


class Packed(NamedTuple):
    """What `pack` wrote."""

    files: list[Path]
    n_bytes: int
    left_out: list[str]
    """Cells whose files did not fit, weights before answers. Their records travel all the same."""
    not_exact: list[str]
    """Trainings whose weights came here rounded, or from a version that did not say, and travel so though exact ones were
    wanted."""


def pack(
    study: Study,
    plan: Sequence[Cell],
    folder: Path,
    out: Path,
    shrink: Shrink,
    *,
    n_parts: int | None = None,
    rounded: bool = False,
) -> Packed:
    """Write the study in `folder` into `out`, files of at most `PART_BYTES`; an older pack there is replaced.

    shrink: does what `vt checkpoint pack` does, or writes nothing, and then these weights stay behind.
    n_parts: how many files there may be; None for as many as it takes.
    rounded: whether weights are rounded to bfloat16.

    Raises:
        VtError: the records alone do not fit, or a cell has more than `unpack` accepts.
    """
    records = read_records(plan, folder)
    states = states_of(plan, records, folder)
    notes = [
        Item(f"records/{name}.json", msgspec.json.encode(msgspec.structs.replace(record, packed=True)))
        for name, record in records.items()
    ]
    notes += _logs(folder)
    base = base_folder(study, folder)
    weighty = _with_weights(study, plan, states)

    def said(cell: Cell, *, weights: bool = False) -> list[Item]:
        files = _said(cell_folder(folder, cell.name), weights=weights)
        return [Item(f"cells/{cell.name}/{name}", content) for name, content in files]

    def weights(cell: Cell) -> Path | None:
        return difference(cell_folder(folder, cell.name), base, shrink, rounded=rounded)

    done = [cell for cell in plan if states[cell.name] is State.FINISHED]
    trained = [cell for cell in done if cell.kind is Kind.TRAIN]
    own_base = [
        cell for cell in done if cell.kind is Kind.PREPARE and cell.name in placeholders(study.model) and cell.arguments
    ]
    asked = sorted((cell for cell in done if cell.kind is Kind.ASK), key=lambda cell: (cell.turn, cell.ask != study.first_ask))
    stops = [cell for cell in done if cell.kind is Kind.CHOOSE]
    carried = sorted((cell for cell in trained if cell.name in weighty), key=lambda cell: (weighty[cell.name], cell.turn))
    kept = [Item(file.relative_to(folder).as_posix(), file.read_bytes()) for file in _of_earlier_pieces(folder)]
    with ThreadPoolExecutor(n_cores()) as pool:
        told = [*trained, *stops, *asked]  # what was answered is worth more than weights
        batches = joined([("records", notes), *zip((cell.name for cell in told), pool.map(said, told), strict=True)])
        batches = [(["records"], [item]) for item in kept] + batches  # records of cells that left no other trace here
        batches += [([cell.name], said(cell, weights=True)) for cell in own_base]
        files = {cell.name: file for cell, file in zip(carried, pool.map(weights, carried), strict=True) if file is not None}
        too_large = [name for name, file in files.items() if not fits(file.stat().st_size)]
        batches += [
            ([name], [Item(f"cells/{name}/{file.name}", file.read_bytes())])
            for name, file in files.items()
            if name not in too_large
        ]
        blobs = list(pool.map(compressed, [items for _, items in batches]))
    parts, left_out = spread([(names, blob) for (names, _), blob in zip(batches, blobs, strict=True)], n_parts)
    if "records" in left_out:
        raise VtError(f"the records alone do not fit into {n_parts} files of {PART_BYTES / 2**20:.0f} MiB")
    written = _write(out, parts)
    not_exact = [] if rounded else [name for name, file in files.items() if file.name != EXACT and name not in too_large]
    return Packed(
        written,
        sum(file.stat().st_size for file in written),
        sorted([*left_out, *too_large]),
        sorted({*not_exact} - {*left_out}),
    )


def _write(out: Path, parts: Sequence[Sequence[Item]]) -> list[Path]:
    """Write the files of a pack, and remove those of an older one."""
    files = [out / f"study-{index}.tar" for index in range(1, len(parts) + 1)]
    with scratch(out, "pack") as whole:  # who copies meanwhile gets files of one pack
        for file, members in zip(files, parts, strict=True):
            store.write_bytes(whole / file.name, tar(members), durable=False)
        for file in files:
            (whole / file.name).replace(file)
        for stale in {*out.glob("study-*.tar")} - {*files}:
            stale.unlink()
    return files


@contextmanager
def every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Call `act` in a thread after so many seconds, and so many seconds after it has returned, until this is left, which waits
    for it. It may pack a study that runs: a cell that is not finished stays out, and is begun again elsewhere."""
    left = threading.Event()

    def turns() -> None:
        while not left.wait(min(seconds, threading.TIMEOUT_MAX)):
            act()

    with ThreadPoolExecutor(1, thread_name_prefix="pack") as thread:
        over = thread.submit(turns)
        try:
            yield
        finally:
            left.set()
        over.result()


def unpack(folder: Path, away: Path) -> None:
    """Put the pack in `away` into `folder`. Weights come as differences, from which `restore_weights` makes checkpoints.

    Packs of several machines, each of which ran a part, go into one folder one after the other: a cell that is finished there
    stays so, whatever a later pack says of it, and if it was run again since an earlier piece (`study/earlier.py`), a pack that
    knows the piece's run alone does not bring that back.

    Raises:
        VtError: `away` holds no pack, or one that is damaged or lacks a file, or `folder` has weights of another training under
            the name of one in the pack.
    """
    if not any(away.glob("study-*.tar")):
        raise VtError(f"{away}: holds no study-1.tar, as `vt study --pack` writes")
    records: dict[Path, Record] = {}
    pieces: list[Results] = []
    for place, content in read(away, folder):  # all of it is read once before anything is written
        if place.is_dir():
            raise VtError(f"{place}: is a folder, where a file of {away} belongs; remove it")
        _refuse_other_training(place, content, folder, away)
        if place.parent == folder / "records":
            records[place] = _decoded(content, Record, f"{away}: its records/{place.name} is no record of a cell")
        elif place.name == RESULTS and place.parent.parent == folder / EARLIER:
            pieces.append(_decoded(content, Results, f"{away}: its {EARLIER}/{place.parent.name}/{RESULTS} is no study's"))
    behind = {place for place, record in records.items() if place.is_file() and _is_behind(record, place, pieces)}
    for place, content in read(away, folder):
        if place not in behind:
            store.write_bytes(place, content, durable=False)


def _decoded(content: bytes, kind: type[_Read], said: str) -> _Read:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise VtError(f"{said} ({error}); pack the study again") from error


def _is_behind(packed: Record, place: Path, pieces: Sequence[Results]) -> bool:
    """Whether the record in `place` tells of more than the packed one: its cell is finished, and the pack tells of one that is
    not, or only repeats what an earlier piece's report says of it.

    pieces: the reports that the packed study went on from.
    """
    if store.read_json(place, Record).state is not State.FINISHED:
        return False
    name = place.stem
    return packed.state is not State.FINISHED or any(
        name in piece.records and as_travelled(piece.records[name]) == as_travelled(packed) for piece in pieces
    )


def _refuse_other_training(place: Path, content: bytes, folder: Path, away: Path) -> None:
    """Weights would lie beside the record, the curves and the answers of others."""
    cell = place.parent
    tells_of_one = place.name == "run.json" and cell.parent == folder / "cells" and place.is_file()
    if tells_of_one and (has_weights(cell) or waits(cell)) and place.read_bytes() != content:
        raise VtError(
            f"{cell}: holds the weights of another training than {away} tells of under that name; unpack into another --out, or"
            " remove this folder to take what the pack has"
        )


def restore_weights(study: Study, plan: Sequence[Cell], folder: Path, grow: Grow) -> list[str]:
    """Make checkpoints of the weights that came as differences. Returns the trainings that wait for a start model.

    grow: called with (start model, file, checkpoint folder to make); it does what `vt checkpoint unpack` does.
    """
    base = base_folder(study, folder)
    waiting = []
    for cell in (cell for cell in plan if cell.kind is Kind.TRAIN):
        out = cell_folder(folder, cell.name)
        if base is not None:
            restore(out, base, grow)
        elif waits(out):
            waiting.append(cell.name)
    return waiting


def base_folder(study: Study, folder: Path) -> Path | None:
    """The start model's folder; None if it is not on this machine, or on a hub."""
    path = Path(fill(study.model, {name: str(cell_folder(folder, name)) for name in placeholders(study.model)}))
    return path if has_weights(path) else None


class _Worth(IntEnum):
    """How much is lost with a training's weights; what fits into no file is of the last kind that travels."""

    UNASKED = 0
    """All of the training: nobody has asked it yet."""
    NEEDED = 1
    """What other cells start from or may come to, as they may from a bias model."""
    FIRST = 2
    """One checkpoint of each arm, to look at."""


def _with_weights(study: Study, plan: Sequence[Cell], states: Mapping[str, State]) -> dict[str, _Worth]:
    """The trainings whose weights travel, and what for."""
    needed: set[str] = set()
    to_ask: set[str] = set()
    asked: set[str] = set()
    for cell in reversed(plan):  # a blend stays here, and is made anew from the weights that it lies between
        if states[cell.name] is not State.FINISHED or (cell.kind is Kind.BLEND and cell.name in needed):
            needed.update(cell.needs)
        if cell.kind is Kind.ASK:
            (asked if states[cell.name] is State.FINISHED else to_ask).update(cell.needs)
    trainings = [cell for cell in plan if cell.kind is Kind.TRAIN]
    repelled_from = {cell.name for cell in trainings if study.arms[cell.arm or ""].stage is Stage.BIAS}
    first = {cell.name for cell in trainings if cell.seed == study.seeds[0]}
    worth = dict.fromkeys(first, _Worth.FIRST) | dict.fromkeys(needed | repelled_from, _Worth.NEEDED)
    return worth | dict.fromkeys(to_ask - asked, _Worth.UNASKED)


def _said(out: Path, *, weights: bool) -> Iterator[tuple[str, bytes]]:
    """Yield a finished cell's files, but no pictures, no checkpoints to resume from, nothing hidden, which is what killed
    processes leave, and weights only if they are wanted."""
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        wanted = not path.name.endswith(_NOT_SAID) or (weights and path.name.endswith(WEIGHTS))
        aside = name.parts[0].startswith("checkpoint-") or any(part.startswith(".") for part in name.parts)
        if path.is_file() and wanted and path.name not in FILES and not aside:
            yield name.as_posix(), path.read_bytes()


def _of_earlier_pieces(folder: Path) -> Iterator[Path]:
    """The files of the reports that the study goes on from (`study/earlier.py`), of each the sheets first."""
    for results in sorted((folder / EARLIER).glob(f"[!.]*/{RESULTS}")):
        yield from sorted((results.parent / ANSWERS).glob("[!.]*.parquet"))
        yield results


def _logs(folder: Path) -> list[Item]:
    found = []
    for path in sorted((folder / "logs").glob("*.std*")):
        lines = path.read_bytes().splitlines(keepends=True)[-_LOG_LINES:]
        found.append(Item(f"logs/{path.name}", b"".join(lines)))
    return found
