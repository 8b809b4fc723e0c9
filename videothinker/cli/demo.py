"""`vt demo`: the whole tour on a generated world, each step printed as the command that a user would type."""

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from videothinker.cli import options, output
from videothinker.cli.console import out as console
from videothinker.cli.console import progress_bar, warn
from videothinker.cli.curate_display import show_check, show_clevrer
from videothinker.cli.diagnosis_display import percent, show_report
from videothinker.cli.world import show_world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from videothinker.diagnose.runs import Run
    from videothinker.recipes.demo import Look, TourEvent

EPILOG = """[bold]Examples[/bold]

  vt demo

  vt demo --out tour --scenes 1000

  vt demo --models my-models

  vt demo --train
"""


def demo(
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for everything; a demo that was stopped goes on in it.")
    ] = Path("demo"),
    scenes: Annotated[int | None, typer.Option(min=20, help="Scenes of the world. Default: 300.", show_default=False)] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Checkpoints to ask instead of the study's: base/ and NAME.delta of vt checkpoint pack.",
        ),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Also take the base a few steps through all three trainings.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Make fresh scenes, label their questions, and ask a study's checkpoints: base, GRPO, bias model and CDPO, side by side.

    Needs no GPU, no weights and no data. Each step is printed as the command that you would type, and does what that command
    does.
    """
    from videothinker.recipes.demo import SCENES, tour

    output.choose(json)
    begun = time.monotonic()
    for event in tour(folder, scenes=SCENES if scenes is None else scenes, models=models, train=train, bars=progress_bar):
        _show(event, folder, time.monotonic() - begun)
        begun = time.monotonic()


def _show(event: "TourEvent", folder: Path, seconds: float) -> None:
    """Print one event. seconds: time since the event before."""
    from videothinker.curate.check import Checked
    from videothinker.curate.datasets.clevrer.build import ClevrerCuration
    from videothinker.recipes import demo as recipe
    from videothinker.recipes.diagnosis import Report
    from videothinker.world.make import World

    match event:
        case recipe.Step(title):
            console.print(f"\n[bold]{title}[/bold]", soft_wrap=True)
        case recipe.Command(line):
            console.print(f"$ {line}", style="dim", markup=False, soft_wrap=True)
        case recipe.Missing(why):
            warn(why)
        case World():
            show_world(folder / "world", event, seconds)
        case ClevrerCuration():
            show_clevrer(event, folder / "curated")
        case Checked():
            show_check(event, folder / "curated")
        case recipe.Trained(stage, steps, already, where):
            said = "trained already" if already else "trained"
            console.print(f"[bold]{stage}[/bold]: {said}, {steps} steps; in {escape(str(where))}", soft_wrap=True)
        case Report():
            show_report(event)
        case recipe.Look():
            _show_ending(event)
            output.show({"runs": {each.name: each.metrics for each in event.runs}, "page": event.page})


def _show_ending(look: "Look") -> None:
    """The demo's table, and what to open and do next."""
    from videothinker.recipes.demo import shown
    from videothinker.reports.demo import sample_words

    console.print("\n[bold]Look[/bold]", soft_wrap=True)
    console.print(f"[bold]{sample_words(look.runs)}[/bold]; answered exactly right, %, \u00b1 95 % by scene", soft_wrap=True)
    console.print(_table(look.runs))
    console.print(f"  all of it on one page                [bold]{look.page}[/bold]", soft_wrap=True)
    console.print(f"  the bias, explained on examples      [bold]{look.curated / 'report.html'}[/bold]", soft_wrap=True)
    console.print(f"  the diagnosis, question by question  [bold]{look.runs_folder / 'report.html'}[/bold]", soft_wrap=True)
    console.print(_NEXT.format(curated=look.curated, runs=look.runs_folder), soft_wrap=True)
    if shutil.which("vt") is None:  # run by `make demo`
        console.print(f"  ([bold]vt[/bold] is {shown(Path(sys.executable).with_name('vt'))})", soft_wrap=True)


def _table(runs: "Sequence[Run]") -> "Table":
    """The page's table, for a terminal of 80 columns."""
    from rich import box
    from rich.table import Table

    from videothinker.reports.demo import MEASURES, measures

    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("checkpoint", overflow="fold")
    for head in MEASURES:
        table.add_column(head.lower().replace(" ", "\n"), justify="right", no_wrap=True)
    for run in runs:
        table.add_row(escape(run.name), *map(percent, measures(run)))
    return table


_NEXT = """
[bold]Next[/bold]
  your checkpoint on this world:
    vt diagnose --model ours=PATH_OR_HUB_ID --data {curated} --out {runs}
  real CLEVRER (data/README.md says where it is and how its folders lie):
    vt curate clevrer --annotations annotation_train --questions train.json --videos video_train --rule oracle --out clevrer
    vt diagnose --model ours=PATH_OR_HUB_ID --data clevrer --out runs"""
