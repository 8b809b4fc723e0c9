"""`vt train curves`: the step logs of trainings as one page of curves."""

from pathlib import Path
from typing import Annotated

import typer

from videothinker.cli import options, output
from videothinker.cli.console import out as printed

EPILOG = """
[bold]Examples[/bold]

  vt train curves runs/cdpo                          writes runs/cdpo/curves.html, while the training goes on too

  vt train curves runs/grpo runs/cdpo --out both.html

  vt train curves study/cells/cdpo-s* --out seeds.html --window 20
"""


def curves(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Folders that vt train writes to.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Default: RUN_DIR/curves.html for one training, for several curves.html here."
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Logged steps that the moving average is over; default: a twentieth of the longest training, at least 5.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw [bold]what trainings logged[/bold], step by step, as a page: one training, or several together.

    Reward with its parts, divergence, gradients, length, entropy and time, with a moving average; alarms are marked. A training
    need not have finished.
    """
    from videothinker.recipes.curves import CURVES, draw

    output.choose(json)
    to = out or (runs[0] / CURVES if len(runs) == 1 else Path(CURVES))
    draw(runs, to, window=window)
    printed.print(f"curves: {to}", soft_wrap=True, markup=False, highlight=False)
    output.show({"curves": to})
