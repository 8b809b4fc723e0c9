"""The steps of `vt study`: what is brought, what is planned, what stands against it, what a dry run shows, what is run.

    brought = bring(study, out, given=[], earlier=[], unpack=[], dry_run=False)
    planned = plan_study(study, here, out, brought, claims=None, arms=None, gpus=None, dry_run=False)
    against = look(planned, brought, report_only=False, dry_run=False)
    settle(planned, brought, against, redo=False)
    run_part(planned, packing=None, max_minutes=None)

A dry run writes nothing, so it stops before `settle`. Nothing here is imported before a study has to be read.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from videothinker.cli import output
from videothinker.cli.console import err, warn
from videothinker.cli.interrupt import exit_code
from videothinker.cli.study_checks import (
    check_commands,
    given_folders,
    named_arms,
    named_claims,
    problem_of,
    tell_what_is_missing,
)
from videothinker.cli.study_display import display, forecast_of, plan_record, show_claims, show_needs, show_plan
from videothinker.cli.study_packs import Packing, grow, pack_study, packed_meanwhile
from videothinker.errors import VtError
from videothinker.records.study import Study
from videothinker.records.study_cells import Record, State
from videothinker.study import pack as packs
from videothinker.study import run
from videothinker.study.cells import (
    discard,
    give,
    given_cells,
    given_identities,
    given_record,
    made_again,
    outdated,
    read_records,
    refuse_outdated,
    some,
    states_of,
    without_weights,
)
from videothinker.study.cost import Forecast
from videothinker.study.earlier import Piece, keep, news, read_piece, refuse_strangers
from videothinker.study.plan import Cell, cells_of, cells_of_arm, chosen, heights, make_plan, settled


class Brought(NamedTuple):
    """What comes to a study from elsewhere and is not in its folder yet."""

    pieces: list[Piece]
    """The reports of earlier pieces."""
    ahead: dict[str, Record]
    """Records that the study will have, once it is known that they fit: those of the pieces and, in a dry run, of what is
    given; otherwise that is in the folder already."""
    given: dict[str, Path]
    """The folders of `--given`, by name."""
    unread: list[Path]
    """Packs that a dry run does not look into."""


class Planned(NamedTuple):
    """What a study consists of, and where it runs."""

    study: Study
    here: Path
    """The folder of the study's file."""
    out: Path
    plan: tuple[Cell, ...]
    """All cells."""
    part: tuple[Cell, ...]
    """Those that are to be run: what the chosen claims and arms rest on, or all that `vt` has the commands for."""
    by_choice: bool
    """Whether claims or arms were chosen."""
    slots: run.Slots

    @property
    def shown(self) -> tuple[Cell, ...]:
        """The cells that a plan tells of: also those that await a command, unless some were chosen."""
        return self.part if self.by_choice else self.plan

    def forecast(self, cells: Sequence[Cell], states: Mapping[str, State], records: Mapping[str, Record]) -> Forecast:
        """What these cells are expected to take."""
        return forecast_of(cells, states, records, self.out, self.slots)

    def owed(self, cells: Sequence[Cell], states: Mapping[str, State], records: Mapping[str, Record]) -> dict[str, State]:
        """The states, where finished cells wait whose files are elsewhere, so that a run of these cells makes them again."""
        again = made_again(cells, states, records, self.out)
        return {**states, **{cell.name: State.WAITING for cell in again if cell.arguments}}

    def now(self) -> tuple[dict[str, Record], dict[str, State]]:
        """The records and states of all cells, as the folder has them."""
        records = read_records(self.plan, self.out)
        return records, states_of(self.plan, records, self.out)


class Against(NamedTuple):
    """What stands against running a plan as it is."""

    records: dict[str, Record]
    """Those of the folder, and those that are ahead."""
    changed: list[str]
    """Cells that were run with another command or input."""
    weightless: list[str]
    """Finished cells whose weights or replies are wanted and not here."""
    stale: list[str]
    """Both, with all that was made from them: what `--redo` deletes and runs again."""
    missing: list[str]
    """What commands would not find elsewhere, a line each, told already."""


def bring(
    study: Study, out: Path, *, given: Sequence[str], earlier: Sequence[Path], unpack: Sequence[Path], dry_run: bool
) -> Brought:
    """Read the reports of `--earlier`, and put into the folder what `--unpack` and `--given` bring; a dry run does not.

    Raises:
        VtError: something of it cannot be read, or is not what its option takes.
    """
    folders = given_folders(given, study)
    if out.resolve() in [folder.resolve() for folder in earlier]:
        raise VtError(f"--earlier {out}: is --out itself, which counts what it holds anyway; leave it out")
    pieces = [read_piece(folder) for folder in earlier]
    if not dry_run:
        with run.alone(out):
            for away in unpack:
                packs.unpack(out, away)
            for name, folder in folders.items():
                give(name, out, folder, news(pieces, out))
    ahead = news(pieces, out)
    if dry_run:
        ahead |= {name: given_record(name, out, folder, ahead) for name, folder in folders.items()}
    return Brought(pieces, ahead, folders, unread=list(unpack) if dry_run else [])


def plan_study(
    study: Study,
    here: Path,
    out: Path,
    brought: Brought,
    *,
    claims: str | None,
    arms: str | None,
    gpus: str | None,
    dry_run: bool,
) -> Planned:
    """Plan all cells and choose those to run; weights that came as differences are made whole, except in a dry run.

    claims, arms, gpus: what `--claims`, `--arms` and `--gpus` say; None where they are not given.

    Raises:
        VtError: an earlier piece is of another study; there is no such claim or arm, or it awaits a command; or a command or
            a training's settings would be refused.
    """
    given = given_cells(out) | given_identities(brought.ahead)
    plan = settled(make_plan(study, here, given), lambda cell: problem_of(cell, out, here) is None)
    refuse_strangers(brought.pieces, study, plan)
    if not dry_run and (waiting := packs.restore_weights(study, plan, out, grow)):
        warn(f"{len(waiting)} trained checkpoints came without their start model: give it (--given NAME=FOLDER), or leave them")
    wanted = [cells_of(claim, study, plan) for claim in named_claims(claims, study)]
    wanted += [cells_of_arm(arm, plan) for arm in named_arms(arms, study)]
    part = chosen(wanted, plan) if wanted else tuple(cell for cell in plan if not cell.awaits)
    if late := [cell for cell in part if cell.awaits]:
        said = " ".join(f"{option} {names}" for option, names in (("--claims", claims), ("--arms", arms)) if names)
        raise VtError(f"{said}: {late[0].name} awaits {late[0].awaits}; leave out what needs it until then")
    check_commands(part if wanted else plan, out, here)
    return Planned(study, here, out, plan, part, bool(wanted), _slots(study, gpus))


def _slots(study: Study, gpus: str | None) -> run.Slots:
    """The places where cells run: on the GPUs that are named, or on all that are visible."""
    ids = run.find_gpus() if gpus is None else [gpu.strip() for gpu in gpus.split(",") if gpu.strip()]
    return run.Slots(tuple(gpu for gpu in ids for _ in range(study.schedule.jobs_per_gpu)), study.schedule.cpu_jobs)


def look(planned: Planned, brought: Brought, *, report_only: bool, dry_run: bool) -> Against:
    """Find what stands against the plan, and tell at once what is missing elsewhere; a report alone needs nothing of that."""
    plan, part, out = planned.plan, planned.part, planned.out
    records = {cell.name: brought.ahead[cell.name] for cell in plan if cell.name in brought.ahead} | read_records(plan, out)
    changed, weightless = outdated(plan, records, out), without_weights(part, records, out)
    stale = outdated(plan, records, out, weightless) if weightless else changed
    looked_for = planned.shown if dry_run else part
    missing = [] if report_only else tell_what_is_missing(planned.study, looked_for, records, out)
    return Against(records, changed, weightless, stale, missing)


def show(planned: Planned, brought: Brought, against: Against) -> None:
    """Print the plan, what its claims and machines take, and what would be refused."""
    if brought.unread:
        warn("--dry-run writes nothing, so it does not look into what --unpack would bring")
    study, plan, shown, slots = planned.study, planned.plan, planned.shown, planned.slots
    records = against.records
    before = states_of(plan, records, planned.out) | dict.fromkeys(against.stale, State.WAITING)
    states = planned.owed(planned.part, before, records)
    show_plan(shown, states, planned.forecast(shown, states, records), slots, needs_gpu=study.needs is not None)
    forecast = planned.forecast(plan, states, records)
    each = planned.owed([cell for cell in plan if not cell.awaits], before, records)
    show_claims(study, plan, each, planned.forecast(plan, each, records), slots)  # also of claims that were not chosen
    show_needs(study, shown, states, forecast)
    output.show(plan_record(shown, states, forecast))
    again = made_again(planned.part, before, records, planned.out)
    if names := [cell.name for cell in again if cell.arguments]:
        where = "if they are at hand, give data and start models with --given NAME=FOLDER"
        warn(f"finished elsewhere, not here and needed, so made again: {some(names)}; {where}")
    for name in (cell.name for cell in again if not cell.arguments and cell.name not in brought.given):
        warn(f"'{name}' was given as a folder that is not here: vt study wants it with --given {name}=FOLDER")
    if n_changed := len(against.changed):
        warn(f"{n_changed} cells were run with another command or input: vt study refuses them, or runs them with --redo")
    if n_lost := len(against.weightless):
        gone = f"the weights or replies of {n_lost} finished cells are not here"
        warn(f"{gone}: vt study wants them, or runs these cells again with --redo")


def settle(planned: Planned, brought: Brought, against: Against, *, redo: bool) -> None:
    """Keep what earlier pieces have finished, and delete what is to be made again.

    Raises:
        VtError: cells were run with another command or input, and are not to be made again.
    """
    if not redo:
        refuse_outdated(against.changed, planned.out)
    with run.alone(planned.out):
        for piece in brought.pieces:
            keep(planned.out, piece)
        discard(against.stale if redo else [], planned.out)


def run_part(planned: Planned, packing: Packing | None, max_minutes: float | None) -> None:
    """Run the cells that are to be run, in no more than `max_minutes`; packs are written meanwhile, and if interrupted.

    Raises:
        typer.Exit: it was interrupted.
    """
    study, plan, part, out, slots = planned.study, planned.plan, planned.part, planned.out, planned.slots
    records, states = planned.now()
    expected = planned.forecast(part, states, records).seconds
    limit: dict[str, Any] = {}
    if max_minutes is not None:
        limit["max_seconds"] = 60 * max_minutes
        limit["expect"] = lambda states, records: planned.forecast(part, states, records).seconds
    try:
        with display(part, out, slots) as watch, packed_meanwhile(study, plan, out, packing):
            priorities = heights(part, expected)
            run.run_study(part, out, planned.here, slots, priorities=priorities, watch=watch, program=run.VT, **limit)
    except KeyboardInterrupt:
        err.print("interrupted: all processes have ended, and the same command goes on where they stopped", soft_wrap=True)
        pack_study(study, plan, out, packing)
        raise typer.Exit(exit_code()) from None
