"""What `vt study` looks at before it shows a plan or spends an hour: its options, its commands, and files from elsewhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from videothinker.cli.console import err
from videothinker.cli.parse import parse
from videothinker.errors import VtError

if TYPE_CHECKING:
    from videothinker.records.study import Claim, Study
    from videothinker.records.study_cells import Record
    from videothinker.study.plan import Cell


def tell_what_is_missing(study: "Study", cells: "Sequence[Cell]", records: "Mapping[str, Record]", out: Path) -> list[str]:
    """What cells that are to run would not find, told in a line for each before any plan is shown or any hour spent: [paths],
    and the start model and bias models where they name a folder. A hub id is not looked for."""
    from videothinker.models.ref import local_folder
    from videothinker.records.study_cells import State
    from videothinker.study.cells import made_again, states_of
    from videothinker.study.config import placeholders
    from videothinker.study.plan import missing_paths

    states = states_of(cells, records, out)
    again = {cell.name for cell in made_again(cells, states, records, out) if cell.arguments}
    owed = [cell for cell in cells if states[cell.name] is not State.FINISHED or cell.name in again]
    lines = missing_paths(study, owed)
    refs = {"model": study.model} if owed else {}
    refs |= {f"arms.{cell.arm}.bias_model": study.arms[cell.arm].bias_model or "" for cell in owed if cell.arm in study.arms}
    for where, ref in refs.items():
        try:
            if ref and not placeholders(ref):
                local_folder(ref)
        except VtError as error:
            lines.append(f"{where}: {error}")
    for line in lines:
        err.print(f"[bold red]error:[/bold red] {escape(line)}", soft_wrap=True)
    return lines


def named_claims(names: str | None, study: "Study") -> "list[Claim]":
    """The claims of `--claims LIST`.

    Raises:
        VtError: the study has no claim of such a name, or LIST names none.
    """
    found = study.named_claims
    return [found[name] for name in _named("claim", names, list(found))]


def named_arms(names: str | None, study: "Study") -> list[str]:
    """The arms of `--arms LIST`.

    Raises:
        VtError: the study has no arm of such a name, or LIST names none.
    """
    from videothinker.records.study import BASE

    return _named("arm", names, [BASE, *study.arms])


def _named(what: str, names: str | None, known: "Sequence[str]") -> list[str]:
    """The names in what `--claims LIST` or `--arms LIST` says; none where it is not given."""
    asked = [name.strip() for name in (names or "").split(",") if name.strip()]
    expected = f"expected some of {', '.join(known) or 'none'}"
    if names is not None and not asked:
        raise VtError(f"--{what}s '{names}': names no {what}, {expected}; to run all, leave the option out")
    if unknown := [name for name in asked if name not in known]:
        raise VtError(f"--{what}s {names}: there is no {what} '{unknown[0]}', {expected}")
    return asked


def given_folders(given: "Sequence[str]", study: "Study") -> dict[str, Path]:
    """The folders of `--given NAME=FOLDER`, by name.

    Raises:
        VtError: one is not of that form, or names no preparation of the study or no folder.
    """
    found: dict[str, Path] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not equals or name not in study.prepare:
            raise VtError(f"--given {one}: expected NAME=FOLDER with NAME one of {', '.join(study.prepare)}")
        if not Path(folder).is_dir():
            raise VtError(f"--given {one}: {folder} is not a folder")
        found[name] = Path(folder)
    return found


def check_commands(plan: "Sequence[Cell]", out: Path, here: Path) -> None:
    """Check that every command parses and every training's settings are valid, before an hour is spent on the first one.

    Raises:
        VtError: some are not; the message names all problems.
    """
    problems: dict[str, str] = {}
    for cell in plan:
        if not cell.awaits and (problem := problem_of(cell, out, here)) is not None:
            problems.setdefault(problem, cell.name)
    if problems:
        raise VtError("; ".join(f"{name}: {words}" for words, name in problems.items()))


def problem_of(cell: "Cell", out: Path, here: Path) -> str | None:
    """Why `vt` would refuse a cell's command or a training's settings; None if it would not, or if its folder was given."""
    from videothinker.pretrain.settings import load_pretraining
    from videothinker.study.plan import Kind, command
    from videothinker.train.stage_files import load_stage
    from videothinker.train.stages import Stage

    if not cell.arguments:
        return None
    arguments = command(cell, out, here)
    try:
        options = parse(arguments)  # as the command line gives them: text, in later versions of typer
        if cell.kind is Kind.TRAIN:
            load_stage(Stage(arguments[1]), Path(options["config"]), options["set_"])
        elif arguments[0] == "pretrain" or [*arguments[:2]] == ["train", "sft"]:  # two names of one command
            load_pretraining(Path(options["config"]), options["set_"] or [])
    except VtError as error:
        return str(error)
    return None
