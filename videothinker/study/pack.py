"""Pack a study for another machine: a few files of bounded size hold what is needed to continue it and to draw its report.

A pack holds the records, the ends of the logs, and from every finished cell its answers and the files that describe it. Weights
travel as differences from the start model, exact or rounded to bfloat16, for bias models, for the first seed, and for whatever
an unfinished cell needs. Data, clips, optimiser states and weights that nothing will ask again stay behind; a record is enough
for their cells to count as finished.

    pack(study, plan, folder, Path("away"), shrink)   # away/study-1.tar, away/study-2.tar, ...
    unpack(folder, Path("away"))                      # on the other machine
    restore_weights(study, plan, folder, grow)        # once the start model is there
"""

import io
import lzma
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import msgspec

from videothinker import outside, store
from videothinker.errors import VtError
from videothinker.pool import n_cores
from videothinker.records.study import Stage, Study
from videothinker.records.study_cells import State
from videothinker.records.study_results import ANSWERS, EARLIER, RESULTS
from videothinker.study.cells import has_output, read_records, states_of
from videothinker.study.config import fill, placeholders
from videothinker.study.plan import Cell, Kind, cell_folder

Grow = Callable[[Path, Path, Path], object]
"""Turns a difference back into a checkpoint. It is passed in, because this room does not import models/."""


class Shrink(Protocol):
    """Turns a checkpoint into its difference from another. It is passed in for the same reason."""

    def __call__(self, base: Path, other: Path, out: Path, /, *, exact: bool) -> object:
        """Write the difference of `other` from `base` into the file `out`, exactly or rounded to bfloat16; or write nothing."""


PART_BYTES = 15 * 2**20
"""Largest size of one file of a pack."""
_BATCH = 24 * 2**20
"""Bytes that are compressed together: replies of several checkpoints to the same questions are much alike."""
_LOG_LINES = 200
_DELTA = "weights.delta"
_ROUNDED = "rounded.delta"
"""What `_DELTA` is called until it travels, if weights are rounded: the next pack may be an exact one."""
_WEIGHTS = ".safetensors"
_NOT_SAID = (_WEIGHTS, ".html", ".svg", ".png", ".pdf", ".pt", ".pth", ".bin", ".parquet")
"""Endings of the files in a cell's folder that neither describe it nor hold its answers."""

_PLACES = ("cells", EARLIER, "logs", "records")
"""Folders of a study that a pack has files in."""
_DAMAGED = (tarfile.TarError, lzma.LZMAError, outside.TooLargeError, EOFError, OSError, ValueError, OverflowError)
"""What tarfile and lzma are known to raise for damaged archives."""


class Packed(NamedTuple):
    """What `pack` wrote."""

    files: list[Path]
    n_bytes: int
    left_out: list[str]
    """Cells whose files did not fit, weights before answers. Their records travel all the same."""


class _Item(NamedTuple):
    name: str
    content: bytes


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
        _Item(f"records/{name}.json", msgspec.json.encode(msgspec.structs.replace(record, packed=True)))
        for name, record in records.items()
    ]
    notes += _logs(folder)
    base = base_folder(study, folder)
    weighty = _with_weights(study, plan, states)

    def said(cell: Cell, *, weights: bool = False) -> list[_Item]:
        files = _said(cell_folder(folder, cell.name), weights=weights)
        return [_Item(f"cells/{cell.name}/{name}", content) for name, content in files]

    def weights(cell: Cell) -> list[_Item]:
        found = _weights(cell_folder(folder, cell.name), base, shrink, rounded=rounded)
        return [] if found is None else [_Item(f"cells/{cell.name}/{_DELTA}", found)]

    done = [cell for cell in plan if states[cell.name] is State.FINISHED]
    trained = [cell for cell in done if cell.kind is Kind.TRAIN]
    own_base = [
        cell for cell in done if cell.kind is Kind.PREPARE and cell.name in placeholders(study.model) and cell.arguments
    ]
    asked = sorted((cell for cell in done if cell.kind is Kind.ASK), key=lambda cell: (cell.turn, cell.ask != study.first_ask))
    stops = [cell for cell in done if cell.kind is Kind.CHOOSE]
    carried = sorted((cell for cell in trained if cell.name in weighty), key=lambda cell: (weighty[cell.name], cell.turn))
    kept = [_Item(file.relative_to(folder).as_posix(), file.read_bytes()) for file in _of_earlier_pieces(folder)]
    with ThreadPoolExecutor(n_cores()) as pool:
        told = [*trained, *stops, *asked]  # what was answered is worth more than weights
        batches = _joined([("records", notes), *zip((cell.name for cell in told), pool.map(said, told), strict=True)])
        batches = [(["records"], [item]) for item in kept] + batches  # records of cells that left no other trace here
        batches += [([cell.name], said(cell, weights=True)) for cell in own_base]
        batches += [([cell.name], items) for cell, items in zip(carried, pool.map(weights, carried), strict=True) if items]
        blobs = list(pool.map(_compressed, [items for _, items in batches]))
    parts, left_out = _parts([(names, blob) for (names, _), blob in zip(batches, blobs, strict=True)], n_parts)
    if "records" in left_out:
        raise VtError(f"the records alone do not fit into {n_parts or 'any'} files of {PART_BYTES / 2**20:.0f} MiB")
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"study-{index}.tar" for index in range(1, len(parts) + 1)]
    with TemporaryDirectory(dir=out, prefix=".") as whole:  # who copies meanwhile gets files of one pack
        for file, members in zip(files, parts, strict=True):
            store.write_bytes(Path(whole) / file.name, _tar(members), durable=False)
        for file in files:
            (Path(whole) / file.name).replace(file)
    for stale in {*out.glob("study-*.tar")} - {*files}:
        stale.unlink()
    return Packed(files, sum(file.stat().st_size for file in files), sorted(left_out))


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

    Raises:
        VtError: `away` holds no pack, or one that is damaged.
    """
    files = sorted(away.glob("study-*.tar"))
    if not files:
        raise VtError(f"{away}: holds no study-1.tar, as `vt study --pack` writes")
    for file in files:  # all of it is read once before anything is written
        try:
            for place, _ in _read_part(file, folder):
                if place.is_dir():
                    raise VtError(f"{place}: is a folder, where {file} has a file; remove it")
        except _DAMAGED as error:
            raise VtError(f"{file}: is damaged ({error}); copy it again") from error
    for file in files:
        for place, content in _read_part(file, folder):
            store.write_bytes(place, content, durable=False)


def _read_part(file: Path, folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield where in `folder` each file in one file of a pack belongs, and its content."""
    if file.stat().st_size > PART_BYTES:
        raise outside.TooLargeError(f"it has more than {PART_BYTES:,} bytes")
    with tarfile.open(file, "r:") as outer:
        for member in _members(outer):
            blob = outside.unpack_xz(_content(outer, member), outside.PACK_BYTES)
            with tarfile.open(fileobj=io.BytesIO(blob), mode="r:") as inner:
                for one in _members(inner):
                    place = folder / one.name
                    if one.name.partition("/")[0] not in _PLACES or not place.resolve().is_relative_to(folder.resolve()):
                        raise tarfile.TarError(f"{ascii(one.name)[1:-1]} is no file of a study")
                    yield place, _content(inner, one)


def _members(archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """The archive's files, after a check that it holds nothing but files within a folder."""
    found = archive.getmembers()
    for member in found:
        if not member.isreg() or member.issparse() or not outside.stays_within(member.name):
            raise tarfile.TarError(f"{ascii(member.name)[1:-1]} is no file of a study")
    # tarfile takes a header that it cannot read, and a block of zeros, for the end. The true end is followed by zeros alone.
    last = found[-1] if found else None
    end = 0 if last is None else last.offset_data + -(-last.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    assert archive.fileobj is not None
    archive.fileobj.seek(end)
    rest = archive.fileobj.read(-1)
    if len(rest) < 2 * tarfile.BLOCKSIZE or any(rest):
        raise tarfile.TarError(f"it is cut or damaged after {len(found)} files")
    return found


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """A file's bytes, all of them."""
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if len(content) != member.size:
        raise tarfile.TarError(f"it is cut within {ascii(member.name)[1:-1]}")
    return content


def restore_weights(study: Study, plan: Sequence[Cell], folder: Path, grow: Grow) -> list[str]:
    """Make checkpoints of the weights that came as differences. Returns the trainings that wait for a start model.

    grow: called with (start model, file, checkpoint folder to make); it does what `vt checkpoint unpack` does.
    """
    base = base_folder(study, folder)
    waiting = []
    for cell in plan:
        out = cell_folder(folder, cell.name)
        if cell.kind is not Kind.TRAIN or not (out / _DELTA).is_file() or has_output(cell, out):
            continue
        if base is None:
            waiting.append(cell.name)
            continue
        with TemporaryDirectory(dir=out) as made:  # `unpack` makes whole folders; records and curves lie in this one
            grow(base, out / _DELTA, Path(made) / "checkpoint")
            for path in (Path(made) / "checkpoint").iterdir():
                path.replace(out / path.name)
    return waiting


def base_folder(study: Study, folder: Path) -> Path | None:
    """The start model's folder; None if it is not on this machine, or on a hub."""
    path = Path(fill(study.model, {name: str(cell_folder(folder, name)) for name in placeholders(study.model)}))
    return path if any(path.glob(f"*{_WEIGHTS}")) else None


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
    """Yield a finished cell's files, but no pictures, no checkpoints to resume from, and weights only if they are wanted."""
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        wanted = not path.name.endswith(_NOT_SAID) or (weights and path.name.endswith(_WEIGHTS))
        if path.is_file() and wanted and path.name not in (_DELTA, _ROUNDED) and not name.parts[0].startswith("checkpoint-"):
            yield name.as_posix(), path.read_bytes()


def _weights(out: Path, base: Path | None, shrink: Shrink, *, rounded: bool) -> bytes | None:
    """The weights' difference from the start model, as a file's bytes; None where there is none to be had. It is kept for the
    next pack."""
    kept = out / (_ROUNDED if rounded else _DELTA)
    if not kept.is_file() and base is not None and any(out.glob(f"*{_WEIGHTS}")):
        shrink(base, out, kept, exact=not rounded)
    there = next((file for file in (kept, out / _DELTA) if file.is_file()), None)  # the second came in a pack
    return None if there is None else there.read_bytes()


def _of_earlier_pieces(folder: Path) -> Iterator[Path]:
    """The files of the reports that the study goes on from (`study/earlier.py`), of each the sheets first."""
    for results in sorted((folder / EARLIER).glob(f"[!.]*/{RESULTS}")):
        yield from sorted((results.parent / ANSWERS).glob("[!.]*.parquet"))
        yield results


def _logs(folder: Path) -> list[_Item]:
    found = []
    for path in sorted((folder / "logs").glob("*.std*")):
        lines = path.read_bytes().splitlines(keepends=True)[-_LOG_LINES:]
        found.append(_Item(f"logs/{path.name}", b"".join(lines)))
    return found


def _joined(batches: Sequence[tuple[str, list[_Item]]]) -> list[tuple[list[str], list[_Item]]]:
    """Join neighbouring batches up to `_BATCH` bytes. Returns for each the names of its cells, and their files."""
    joined = []
    names: list[str] = []
    items: list[_Item] = []
    size = 0
    for name, more in batches:
        n_bytes = sum(len(item.content) for item in more)
        if items and size + n_bytes > _BATCH:
            joined.append((names, items))
            names, items, size = [], [], 0
        names, items, size = [*names, name], [*items, *more], size + n_bytes
    return [*joined, (names, items)]


def _compressed(items: Sequence[_Item]) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 4, "dict_size": 2 * _BATCH}]
    archive = _tar(items)
    if len(archive) > outside.PACK_BYTES:  # `unpack` would refuse it, on another machine and perhaps too late
        largest = max(items, key=lambda item: len(item.content))
        raise VtError(
            f"{largest.name}: has {len(largest.content):,} bytes, and a study's pack takes {outside.PACK_BYTES:,} at most for"
            " what belongs together; move it out of the study's folder, and pack again"
        )
    return lzma.compress(archive, filters=filters)


def _tar(items: Sequence[_Item]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for item in items:
            info = tarfile.TarInfo(item.name)
            info.size = len(item.content)
            archive.addfile(info, io.BytesIO(item.content))
    return buffer.getvalue()


_MEMBER = 2 * tarfile.BLOCKSIZE
"""Most bytes that a tar archive adds to a member: a block of header, and less than a block to fill up the last one."""


def _parts(blobs: Sequence[tuple[list[str], bytes]], n_parts: int | None) -> tuple[list[list[_Item]], list[str]]:
    """Put each blob, the most important first, into the first file that has room for it.

    Returns the members of every file, and the cells whose blobs fit into none.
    """
    parts: list[list[_Item]] = []
    room: list[int] = []
    left_out: list[str] = []
    for index, (names, blob) in enumerate(blobs):
        size = len(blob) + _MEMBER
        place = next((place for place, free in enumerate(room) if size <= free), None)
        # tarfile fills an archive up to a whole record, so that much of a file is not for members.
        if place is None and (n_parts is None or len(parts) < n_parts) and size <= PART_BYTES - tarfile.RECORDSIZE:
            place = len(parts)
            parts.append([])
            room.append(PART_BYTES - tarfile.RECORDSIZE)
        if place is None:
            left_out += names
            continue
        parts[place].append(_Item(f"{index:04}.tar.xz", blob))
        room[place] -= size
    return parts, left_out
