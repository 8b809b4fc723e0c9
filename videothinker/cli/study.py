"""`vt study`: a grid of trainings and diagnoses, resumable cell by cell, and one report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from videothinker.cli import options, output
from videothinker.cli.console import out as console
from videothinker.cli.console import progress_bar, warn
from videothinker.cli.study_display import plan_record, show_verdicts, tell_what_is_left
from videothinker.cli.study_packs import pack_study, packing_of
from videothinker.errors import VtError
from videothinker.shipped import config_file

if TYPE_CHECKING:
    from videothinker.records.study import Study
    from videothinker.records.study_cells import Record, State
    from videothinker.study.plan import Cell

EPILOG = """[bold]Examples[/bold]

All of the machinery, in a few minutes on a CPU; the numbers mean nothing:

  vt study configs/study-cpu.toml --out runs/study-cpu

What the study of the generated world would run, and how long that would take:

  vt study configs/study-world.toml --out runs/study-world --dry-run

On two GPUs of a machine, from another start model:

  vt study configs/study-world.toml --out runs/study-world --gpus 0,1 --set model=runs/my-base

What two of its claims need, and nothing else:

  vt study configs/study-2.toml --out runs/study-2 --claims a,b

A claim with longer trainings, and fewer of them:

  vt study configs/study-2.toml --out runs/longer --claims b --set train.steps=500 --seeds 3

The next piece, where nothing but the report of an earlier one is at hand:

  vt study configs/study-2.toml --out runs/piece --earlier reports/study-2 --arms grpo-ordered

On a machine that is taken away after ten minutes, with data and start model made before, and then on the next machine:

  vt study configs/study-world.toml --out s --given base=b --given curated=c --max-minutes 8 --no-report --pack away

  vt study configs/study-world.toml --out s --given base=b --given curated=c --unpack away

[bold]What lies in OUT[/bold]

  cells/NAME/           what each command wrote: data, checkpoints, answers

  logs/, records/       what each command printed, and how it ended

  report.html           claims with their verdicts, accuracy, ablations, curves, every run; report.md, figures

  results.json          the same numbers

  answers/NAME.parquet  what every checkpoint answered, in letters: --recompute gets every number back from these

  earlier/              reports that --earlier named, as far as numbers rest on them

What commands read from elsewhere is looked for before anything runs: a line for each that is missing, and exit code 2.
--dry-run then shows its plan all the same.

Kill it anywhere and run it again: finished cells stay, failed ones are tried again.
"""


_AWAY = "On a machine that does not last"


def study(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="The study's TOML file, or a shipped name: study-cpu, study-world, study-clevrer.",
            callback=config_file,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the study; give the same one again to resume.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and how long it will take; run nothing.")] = False,
    gpus: Annotated[
        str | None, typer.Option(metavar="LIST", help="GPUs to use, such as 0,1; by default all that are visible.")
    ] = None,
    claims: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Run what these claims rest on and nothing else, such as a,b; all that is finished counts in the report.",
        ),
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Run these arms, what they need and are asked, and nothing else, such as base,grpo; behind --claims.",
        ),
    ] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Go on from the report of an earlier piece: what it trained and asked counts as finished; repeat for several.",
        ),
    ] = None,
    redo: Annotated[
        bool, typer.Option("--redo", help="Delete and run again the cells whose command or input has changed.")
    ] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Draw the report of the finished cells; run nothing.")
    ] = False,
    recompute: Annotated[
        bool,
        typer.Option("--recompute", help="Only compute every number of OUT's report again, from the answers beside it."),
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the study; repeat for several."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Run the first N seeds of each arm and no others."),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="Use data or a start model that was made elsewhere; repeat for several."),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="M",
            help="Start no cell that is not expected to end within M minutes, and interrupt what still runs then.",
            rich_help_panel=_AWAY,
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Draw the report at the end.", rich_help_panel=_AWAY)
    ] = True,
    pack: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="At the end, write into a few files what another machine needs to go on.",
            rich_help_panel=_AWAY,
        ),
    ] = None,
    pack_every: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="M",
            help="And every M minutes while the study runs, for a machine that may be taken away.",
            rich_help_panel=_AWAY,
        ),
    ] = None,
    pack_rounded: Annotated[
        bool,
        typer.Option(
            "--pack-rounded",
            help="Weights rounded to bfloat16, which is what a GPU asks them in, in a few bits each.",
            rich_help_panel=_AWAY,
        ),
    ] = False,
    pack_files: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="At most so many files of 15 MiB, what was answered before weights; by default as many as it takes.",
            rich_help_panel=_AWAY,
        ),
    ] = None,
    unpack: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Begin with the files that --pack wrote elsewhere; repeat for machines that each ran a part.",
            rich_help_panel=_AWAY,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Train and diagnose a whole [bold]grid[/bold] over seeds, as many runs at once as fit, and draw one report.

    Every cell of the grid is one vt command in a folder of its own.
    A cell that fails is a row of the report and stops only the cells that need it; the exit code is then 1.
    """
    from videothinker.cli.study_steps import bring, look, plan_study, run_part, settle, show
    from videothinker.records.study_cells import State
    from videothinker.study.cells import refuse_without_weights
    from videothinker.study.config import load_study, with_seeds

    output.choose(json)
    packing = packing_of(pack, n_files=pack_files, rounded=pack_rounded, every=pack_every)
    if recompute:
        _recompute(out)
        return
    redo = redo and not report_only
    wanted = load_study(config, set_ or [])
    wanted = wanted if seeds is None else with_seeds(wanted, seeds)
    brought = bring(wanted, out, given=given or [], earlier=earlier or [], unpack=unpack or [], dry_run=dry_run)
    planned = plan_study(wanted, config.parent, out, brought, claims=claims, arms=arms, gpus=gpus, dry_run=dry_run)
    against = look(planned, brought, report_only=report_only, dry_run=dry_run)
    if dry_run:
        show(planned, brought, against)
    if against.missing:
        raise typer.Exit(2)
    if dry_run:
        return
    settle(planned, brought, against, redo=redo)
    if not report_only:
        refuse_without_weights([] if redo else against.weightless, out)
        run_part(planned, packing, max_minutes)
    records, states = planned.now()
    if max_minutes is not None:
        owed = planned.owed(planned.part, states, records)
        tell_what_is_left(planned.part, owed, records, out, planned.slots)
    pack_study(wanted, planned.plan, out, packing)
    if report:
        _report(wanted, planned.plan, out, states, records)
    else:
        output.show(plan_record(planned.part, states, planned.forecast(planned.plan, states, records)))
    if any(states[cell.name] is State.FAILED for cell in planned.part):
        raise typer.Exit(1)


def _report(
    study: "Study", plan: "Sequence[Cell]", out: Path, states: "Mapping[str, State]", records: "Mapping[str, Record]"
) -> None:
    """Collect what is finished, write the report, the results and the answers they rest on, and print the verdicts."""
    import msgspec

    from videothinker import store
    from videothinker.records.study_cells import State
    from videothinker.records.study_results import ANSWERS, RESULTS
    from videothinker.reports.study import study_pages
    from videothinker.study.cells import some
    from videothinker.study.collect import collect, unanswered
    from videothinker.study.sheets import to_bytes

    n_asked = sum(cell.ask is not None and states[cell.name] is State.FINISHED for cell in plan)
    with progress_bar("reading answers", n_asked, "cells") as progress:
        results, sheets = collect(study, plan, out, states, records, progress)
    if silent := unanswered(plan, states, sheets):
        warn(f"the answers of {len(silent)} finished askings are not here, so no number rests on them: {some(silent)}")
    store.write_report(out, study_pages(results))
    briefly = [msgspec.structs.replace(training, steps=[]) for training in results.trainings]
    for name, sheet in sheets.items():
        store.write_bytes(out / ANSWERS / f"{name}.parquet", to_bytes(sheet))
    store.write_bytes(out / RESULTS, msgspec.json.encode(msgspec.structs.replace(results, trainings=briefly)) + b"\n")
    show_verdicts(results.verdicts)
    output.show({"verdicts": results.verdicts, "states": states, "report": out / "report.html"})
    counts = Counter(states.values())
    console.print(f"{len(plan)} cells: " + ", ".join(f"{n} {state}" for state, n in counts.items()), soft_wrap=True)
    console.print(f"report: [bold]{escape(str(out / 'report.html'))}[/bold]", soft_wrap=True)


def _recompute(out: Path) -> None:
    """Compute the numbers of a study's report again from the answers beside it.

    Raises:
        VtError: some number is another one now.
    """
    from videothinker.study.recompute import recompute

    found = recompute(out)
    show_verdicts(found.verdicts)
    if found.differing:
        raise VtError(
            f"{out}: {len(found.differing):,} numbers or words of its results are not what its answers give, the first is "
            f"{found.differing[0]}; the report was drawn from other answers, or by another version"
        )
    output.show({"verdicts": found.verdicts, "n_numbers": found.n_numbers, "differing": found.differing})
    console.print(f"all {found.n_numbers:,} values and ends of intervals follow from the answers in {escape(str(out))}")
