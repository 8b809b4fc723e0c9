"""Go on from the report of an earlier piece of a study: results.json and answer sheets are all that its numbers rest on.

    piece = read_piece(Path("reports/study-2"))
    keep(folder, piece)                         # its finished cells count in `folder`, and folder/earlier has what numbers need
    complete(study, "greedy", sheet, done, records, pieces_in(folder))    # with the answers that no cell in `folder` has

A folder may keep several pieces. What a cell was said to have done counts where the record that the study has of it is the
piece's: of two pieces that ran the same cell that of the one which was given first, and none once the study has run it itself.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker import store
from videothinker.errors import VtError
from videothinker.outside import is_name
from videothinker.records import Category, Estimate
from videothinker.records.study import BASE, Stage, Study
from videothinker.records.study_cells import Record, State
from videothinker.records.study_results import ANSWERS, EARLIER, NO_SEED, RESULTS, Results, Training
from videothinker.study.cells import as_travelled, record_file
from videothinker.study.plan import Cell
from videothinker.study.sheets import Beside, Sheet, Words, read_sheet, sheet_files


class Piece(NamedTuple):
    """The report of an earlier piece."""

    folder: Path
    results: Results
    sheets: dict[str, Sheet]
    """By way of asking."""
    finished: dict[str, Record]
    """By name of its finished cells, of askings those whose answers the sheets have, as they count on another machine."""
    digest: str
    """Hash of the files that were read."""

    def ran(self, name: str, records: Mapping[str, Record]) -> bool:
        """Whether `records` has this piece's run of the cell: another piece, or the study itself, may have run the same command
        and come to other answers."""
        return name in self.finished and name in records and self.finished[name] == as_travelled(records[name])


def read_piece(folder: Path) -> Piece:
    """The report in a folder, as `vt study` writes it, checked.

    Raises:
        VtError: results.json or a sheet that its numbers rest on is missing, damaged, or not as a study writes it, as where a
            finished cell has no record or a finished training no entry.
    """
    path = folder / RESULTS
    if not path.is_file():
        lacks = f"has no {RESULTS}" if folder.is_dir() else "is no folder"
        raise VtError(f"{folder}: {lacks}; expected the folder of a report that `vt study` wrote")
    results = store.read_json(path, Results)
    if bad := next((name for name in (*results.states, *results.study.ask) if not is_name(name)), None):
        raise VtError(f"{path}: has a cell or a way of asking named {bad!a}, which no study writes; take it out")
    _check_finished(path, results)
    paths = sheet_files(folder, results, "on which its numbers rest; copy it there as well")
    sheets = {name: read_sheet(sheet) for name, sheet in paths.items()}
    answered = {_asking(name, run) for name, sheet in sheets.items() for run in sheet.answers}
    finished = {
        name: as_travelled(results.records[name])
        for name, state in results.states.items()
        if state is State.FINISHED and (not _asks(name) or name in answered)
    }
    digest = store.sha256_json([store.sha256_file(each) for each in (path, *paths.values())])
    return Piece(folder, results, sheets, finished, digest)


def _check_finished(path: Path, results: Results) -> None:
    """Check that the results in `path` tell of all that they say is finished.

    Raises:
        VtError: a finished cell has no record, or a finished training no entry among the trainings; names the first one.
    """
    finished = [name for name, state in results.states.items() if state is State.FINISHED]
    study, told = results.study, {one.name for one in results.trainings}
    arms = [arm for arm, one in study.arms.items() if one.stage is not Stage.BLEND]
    trained = {f"{arm}-s{seed}" for arm in arms for seed in study.seeds_of(arm)}
    for field, lacking in (
        ("records", [name for name in finished if name not in results.records]),
        ("trainings", [name for name in finished if name in trained and name not in told]),
    ):
        if lacking:
            raise VtError(
                f"{path}: {field}: has nothing of '{lacking[0]}', expected an entry, for states says that it is finished; put"
                " it back, or draw the report again where its cells are (--report-only)"
            )


def refuse_strangers(pieces: Sequence[Piece], study: Study, plan: Sequence[Cell]) -> None:
    """Refuse reports of which nothing that was trained or asked is a cell of the study's plan: a report of another study, or of
    this one with other settings throughout.

    Raises:
        VtError: there is one.
    """
    ours = {cell.name: cell.identity for cell in plan}
    for piece in pieces:
        made = [name for name in piece.finished if name not in piece.results.study.prepare] or list(piece.finished)
        if made and not any(ours.get(name) == piece.finished[name].identity for name in made):
            raise VtError(
                f"--earlier {piece.folder}: {RESULTS}: study: is '{piece.results.study.title}', of whose {len(made)} finished"
                f" trainings and askings none has the command, configuration file and input of one of '{study.title}'; expected"
                " a piece of that; name its report, repeat the settings (--set) and data (--given) that it had, or leave"
                " --earlier out"
            )


def pieces_in(folder: Path) -> list[Piece]:
    """The pieces that the study in `folder` keeps, always in the same order.

    Raises:
        VtError: one of them cannot be read.
    """
    return [read_piece(path.parent) for path in sorted((folder / EARLIER).glob(f"[!.]*/{RESULTS}"))]


def news(pieces: Iterable[Piece], folder: Path) -> dict[str, Record]:
    """The records of finished cells that the study in `folder` would have from these pieces beside its own, by name. One that
    it keeps already says nothing new: what was deleted of it since (`--redo`) is to be run again."""
    found: dict[str, Record] = {}
    for piece in pieces:
        if not _is_kept(folder, piece):
            found = piece.finished | found
    return {name: record for name, record in found.items() if not record_file(folder, name).is_file()}


def keep(folder: Path, piece: Piece) -> None:
    """Let the piece's finished cells count as finished in the study in `folder`, where it has none of its own, and copy there
    what their numbers rest on."""
    for name, record in news([piece], folder).items():
        store.write_json(record_file(folder, name), record)

    def copy(there: Path) -> None:
        (there / ANSWERS).mkdir()
        for file in (*(f"{ANSWERS}/{name}.parquet" for name in piece.sheets), RESULTS):
            shutil.copyfile(piece.folder / file, there / file)

    if not _is_kept(folder, piece):  # after all records, because it says that they are there
        store.write_folder(_place(folder, piece), copy)


def complete(
    study: Study,
    ask: str,
    sheet: Sheet | None,
    done: Sequence[Cell],
    records: Mapping[str, Record],
    pieces: Sequence[Piece],
) -> Sheet | None:
    """The sheet with the answers of finished askings that it lacks and a piece has; its runs in the order of `done`.

    sheet: the answers that lie in the study's own cells, which count before others; None if there are none, and then the
    pieces' sheets say what the questions are. Returns None if there are no answers at all.

    Raises:
        VtError: a piece was asked other questions; names the first one that differs.
    """
    runs = {_run(cell): cell.name for cell in done}
    for piece in pieces:
        have = {} if sheet is None else sheet.answers
        lacking = [run for run, name in runs.items() if run not in have and piece.ran(name, records)]
        if not lacking:
            continue
        if (theirs := piece.sheets.get(ask)) is None:
            continue  # it says that it was asked so, and has no answers to it
        if sheet is None:
            sheet = Sheet(theirs.ids.tolist(), theirs.scenes.tolist(), theirs.gold, theirs.observer, theirs.observational)
        _check_same(piece.folder / ANSWERS / f"{ask}.parquet", theirs, sheet)
        for run in lacking:
            sheet.answers[run] = theirs.answers[run]
            if study.answers_twice:
                sheet.beside[run] = theirs.beside.get(run) or _uncounted(theirs.answers[run])
    if sheet is not None:
        sheet.answers = {run: sheet.answers[run] for run in runs if run in sheet.answers}
        sheet.beside = {run: sheet.beside[run] for run in runs if run in sheet.beside}
    return sheet


def training_of(name: str, records: Mapping[str, Record], pieces: Sequence[Piece]) -> Training | None:
    """What the first piece that ran the very training says of it, without its steps; None if none ran it."""
    told = (one for piece in pieces if piece.ran(name, records) for one in piece.results.trainings if one.name == name)
    return next(told, None)


def references_of(
    study: Study, done: Sequence[Cell], records: Mapping[str, Record], pieces: Sequence[Piece]
) -> dict[str, dict[str, Estimate]]:
    """The references of the first piece whose first way of asking and rule are the study's; none if no piece ran one of `done`,
    its finished askings."""
    for piece in pieces:
        theirs = piece.results
        alike = theirs.study.first_ask == study.first_ask and theirs.study.rule is study.rule
        if alike and theirs.references and any(piece.ran(cell.name, records) for cell in done):
            return theirs.references
    return {}


def _place(folder: Path, piece: Piece) -> Path:
    return folder / EARLIER / piece.digest[:12]


def _is_kept(folder: Path, piece: Piece) -> bool:
    return (_place(folder, piece) / RESULTS).is_file()


def _run(cell: Cell) -> tuple[str, int]:
    """The arm and seed of an asking, as sheets have them."""
    return cell.arm or BASE, NO_SEED if cell.seed is None else cell.seed


def _asking(ask: str, run: tuple[str, int]) -> str:
    """The name of the cell that asked a run."""
    arm, seed = run
    return f"{ask}.{arm}" if arm == BASE else f"{ask}.{arm}-s{seed}"


def _asks(name: str) -> bool:
    """Whether a cell of this name asks: others have no dot in theirs."""
    return "." in name


def _uncounted(answers: Words) -> Beside:
    """What stands beside the answers of a run whose study had no arm that answers twice: tokens that nobody counted."""
    return Beside(None, None, np.array([None if said is None else "" for said in answers], dtype=np.object_))


def _check_same(path: Path, theirs: Sheet, ours: Sheet) -> None:
    """Check that the sheet of `path` is about the questions of `ours`.

    Raises:
        VtError: it is not; names the first question that differs.
    """
    apart = sorted({*theirs.ids.tolist()} ^ {*ours.ids.tolist()})
    only = "only pieces that were asked the same questions go together"
    if apart:
        where = "is not among those of this study" if apart[0] in theirs.ids else "is missing, which this study asks"
        raise VtError(f"{path}: question {apart[0]} {where}; {only}")
    for (name, found), expected in zip(_columns(theirs).items(), _columns(ours).values(), strict=True):
        if len(rows := np.flatnonzero(found != expected)):
            said, wanted = (ascii(str(column[rows[0]])) for column in (found, expected))
            raise VtError(f"{path}: question {theirs.ids[rows[0]]}: {name} is {said}, and in this study {wanted}; {only}")


def _columns(sheet: Sheet) -> dict[str, NDArray[Any]]:
    """All that a sheet says of its questions."""
    rules = {
        rule.column: np.where(mask, Category.OBSERVATIONAL.value, Category.INFERENTIAL.value)
        for rule, mask in sheet.observational.items()
    }
    return {"question_id": sheet.ids, "scene": sheet.scenes, "gold": sheet.gold, "observer": sheet.observer, **rules}
