"""What a study remembers of each cell (DIR/records/NAME.json), and the state of a cell that follows from it.

A cell is finished when its record says so for the same command and the files that its command writes last are there. So a
study that is killed at any moment goes on with the cells that were not finished, and each of those commands resumes by itself.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from videothinker import store
from videothinker.errors import VtError
from videothinker.fingerprint import fingerprint
from videothinker.records.study_cells import Record, State
from videothinker.records.twice import SWEEP_FILE
from videothinker.study.plan import Cell, Kind, cell_folder


def record_file(folder: Path, name: str) -> Path:
    """The file with a cell's record, for the study in `folder`."""
    return folder / "records" / f"{name}.json"


def read_records(plan: Sequence[Cell], folder: Path) -> dict[str, Record]:
    """The records of the plan's cells that have one."""
    paths = {cell.name: record_file(folder, cell.name) for cell in plan}
    return {name: store.read_json(path, Record) for name, path in paths.items() if path.is_file()}


def without_weights(part: Sequence[Cell], records: Mapping[str, Record], folder: Path) -> list[str]:
    """Trainings whose weights, and askings whose replies, stayed on another machine, though a cell of `part` that is not
    finished needs them."""
    states = {cell.name: state_of(cell, records.get(cell.name), folder) for cell in part}
    return [cell.name for cell in left_behind(part, states, records, folder) if cell.kind in (Kind.TRAIN, Kind.ASK)]


def outdated(plan: Sequence[Cell], records: Mapping[str, Record], folder: Path, lost: Sequence[str] = ()) -> list[str]:
    """Cells that were run with another command, configuration file or input, or whose input is not there any more.

    lost: cells to count as such too, with what was made from them, because their weights or replies are wanted and not here.
    """
    found: list[str] = []
    states = {cell.name: state_of(cell, records.get(cell.name), folder) for cell in plan}
    for cell in plan:
        gone = cell.name in lost or any(need in found or states[need] is not State.FINISHED for need in cell.needs)
        if (record := records.get(cell.name)) is None:
            continue
        if record.identity != cell.identity or (gone and states[cell.name] is State.FINISHED):
            found.append(cell.name)
    return found


def left_behind(plan: Sequence[Cell], states: Mapping[str, State], records: Mapping[str, Record], folder: Path) -> list[Cell]:
    """Finished cells whose files did not travel here, though a cell that is not finished needs them."""
    wanted: set[str] = set()
    found = []
    for cell in reversed(plan):
        if states[cell.name] is State.FINISHED:
            if (
                cell.name not in wanted
                or not _travelled(records.get(cell.name))
                or has_output(cell, cell_folder(folder, cell.name))
            ):
                continue
            found.append(cell)
        wanted.update((*cell.needs, *cell.after))
    return found[::-1]


_CHEAP = (Kind.PREPARE, Kind.BLEND, Kind.CHOOSE)
"""Cells that cost little, so that they are run once more where their files did not travel."""


def made_again(plan: Sequence[Cell], states: Mapping[str, State], records: Mapping[str, Record], folder: Path) -> list[Cell]:
    """Of what was left behind, the cells that a run of `plan` makes once more, as it does data and blends; one that was given
    has no command, and has to be given again."""
    return [cell for cell in left_behind(plan, states, records, folder) if cell.kind in _CHEAP]


def _travelled(record: Record | None) -> bool:
    return record is not None and (record.packed or record.given)


def has_output(cell: Cell, out: Path) -> bool:
    """Whether the files that other cells need of this one are there. A training that came in a pack may lack its weights."""
    if cell.kind in (Kind.TRAIN, Kind.BLEND):
        return any(out.glob("*.safetensors"))
    return not cell.leaves_nothing and out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir())


def give(name: str, folder: Path, elsewhere: Path, news: Mapping[str, Record] = {}) -> None:
    """Let a folder that was made elsewhere serve as a preparation: link it, and write a record with its hash.

    A preparation that the study made on another machine keeps the identity that came in the pack, or that is among `news`:
    records that the study is about to get.

    Raises:
        VtError: the folder is not a finished one, or the study has made this preparation here itself.
    """
    record, out = given_record(name, folder, elsewhere, news), cell_folder(folder, name)
    if out.is_symlink():
        out.unlink()
    elif out.exists():
        raise VtError(
            f"--given {name}={elsewhere}: {out} is there already, made by the study; delete it to have another in place"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.symlink_to(elsewhere.resolve(), target_is_directory=True)
    store.write_json(record_file(folder, name), record)


def given_record(name: str, folder: Path, elsewhere: Path, news: Mapping[str, Record] = {}) -> Record:
    """The record that a preparation gets once a folder is given for it, as `give` says.

    Raises:
        VtError: what is given is not a finished folder.
    """
    record = Record(identity=content(elsewhere), state=State.FINISHED, command=f"{_GIVEN}{elsewhere}", attempts=0, given=True)
    path = record_file(folder, name)
    earlier = store.read_json(path, Record) if path.is_file() else news.get(name)
    made_elsewhere = earlier is not None and earlier.packed and not earlier.command.startswith(_GIVEN)
    return msgspec.structs.replace(earlier, given=True) if earlier is not None and made_elsewhere else record


def as_travelled(record: Record) -> Record:
    """The record of a finished cell as it counts on a machine that has none of its files. What the study has made itself, and
    was only given back, can be made there again."""
    given = record.given and record.command.startswith(_GIVEN)
    return msgspec.structs.replace(record, state=State.FINISHED, packed=True, given=given)


def given_cells(folder: Path) -> dict[str, str]:
    """The hash of each preparation that was given, by name."""
    found = {path.stem: store.read_json(path, Record) for path in sorted((folder / "records").glob("*.json"))}
    return given_identities(found)


def given_identities(records: Mapping[str, Record]) -> dict[str, str]:
    """Of these records, the hash of each preparation that was given."""
    return {name: record.identity for name, record in records.items() if record.given}


_LAST = {"world": "world.json", "curate": "manifest.json"}
"""The file that a command writes last; `vt curate probe` writes a single one."""
_GIVEN = "given: "
_MANIFESTS = ("manifest.json", "world.json")
"""Files that hold hashes of all that lies beside them."""
_CONTENT = (*_MANIFESTS, "model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
"""Files whose content tells one given folder from another; a given folder is a curated one, a world or a checkpoint."""


def content(folder: Path) -> str:
    """A hash of what a folder holds, wherever it lies: of a checkpoint all weights, its base's, tokenizer and template.

    Raises:
        VtError: it is neither a curated folder nor a world nor a checkpoint.
    """
    for name in _CONTENT:
        if (folder / name).is_file():
            if name not in _MANIFESTS:
                return str(fingerprint(folder))
            return store.sha256_json([name, store.sha256_file(folder / name)])
    raise VtError(f"{folder}: is neither a curated folder nor a world nor a checkpoint; it has none of {', '.join(_CONTENT)}")


def refuse_outdated(names: Sequence[str], folder: Path) -> None:
    """Refuse to go on with cells that are outdated.

    Raises:
        VtError: `names` is not empty.
    """
    if names:
        raise VtError(
            f"{folder}: {len(names)} cells were run with another command, configuration file or input than the study has now:"
            f" {some(names)}. Choose another --out, or --redo, which deletes and runs them again"
        )


def refuse_without_weights(names: Sequence[str], folder: Path) -> None:
    """Refuse to run what needs weights or replies that stayed on another machine.

    Raises:
        VtError: `names` is not empty.
    """
    if names:
        asked = [name for name in names if "." in name]
        lost = {"weights": [name for name in names if name not in asked], "replies": asked}
        what = " and ".join(f"the {kind} of {some(which)}" for kind, which in lost.items() if which)
        raise VtError(
            f"{folder}: {what} stayed on another machine, and cells that are to run need them. Copy their folders to"
            f" {folder / 'cells'}, run claims that do without them (--claims), or make them again with --redo, which deletes"
            " whatever was made from them too"
        )


def some(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def discard(names: Sequence[str], folder: Path) -> None:
    """Delete what the cells have written, and their records."""
    for name in names:
        shutil.rmtree(cell_folder(folder, name), ignore_errors=True)
        record_file(folder, name).unlink(missing_ok=True)


def state_of(cell: Cell, record: Record | None, folder: Path) -> State:
    """The state of a cell while nothing runs."""
    if record is None:
        return State.WAITING
    if record.state is State.FINISHED and _travelled(record):
        return State.FINISHED
    if cell.leaves_nothing:
        return record.state
    if is_complete(cell, cell_folder(folder, cell.name)) and record.state is not State.FAILED:
        return State.FINISHED  # also where the study was killed between the command's last file and the record
    return State.WAITING if record.state is State.FINISHED else record.state


def states_of(plan: Sequence[Cell], records: Mapping[str, Record], folder: Path) -> dict[str, State]:
    """The state of every cell while nothing runs."""
    states = {cell.name: state_of(cell, records.get(cell.name), folder) for cell in plan}
    block(plan, states)
    return states


def block(plan: Sequence[Cell], states: dict[str, State]) -> None:
    """Mark as blocked the waiting cells that need a failed or blocked one; the plan's order reaches all of them in one pass."""
    for cell in plan:
        if states[cell.name] is State.WAITING and any(states[need] in (State.FAILED, State.BLOCKED) for need in cell.needs):
            states[cell.name] = State.BLOCKED


def is_complete(cell: Cell, out: Path) -> bool:
    """Whether the cell's command has written the files that it writes last."""
    if cell.kind is Kind.ASK:
        return any(out.glob("*/metrics.json"))
    if cell.kind is Kind.CHOOSE:
        return any(out.glob(f"*/{SWEEP_FILE}"))
    if cell.leaves_nothing:
        return True
    if not cell.arguments:  # a folder that was given
        return has_output(cell, out)
    if cell.arguments[0] in ("train", "pretrain"):
        run = out / "run.json"
        if not run.is_file() or not store.read_json(run, dict[str, Any]).get("finished"):
            return False
        return cell.arguments[1] != "bias" or (out / "gate.json").is_file()
    last = None if cell.arguments[1:2] == ("probe",) else _LAST.get(cell.arguments[0])
    return has_output(cell, out) if last is None else (out / last).is_file()
