"""`vt curate agree`: how far label files agree, where nothing says which is right."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from videothinker.cli import options, output
from videothinker.cli.console import out as console
from videothinker.cli.probe import print_grids

AGREE_EPILOG = """[bold]Examples[/bold]

How far do two checkpoints agree, and which questions do they label otherwise?

  vt curate agree --data curated 3b.parquet 7b.parquet --out apart.parquet

A probe beside the three rules of the folder's own collision log, under names of one's own:

  vt curate agree --data curated probe=twin.parquet log=curated/labels/log.parquet
"""


def agree(
    labels: Annotated[list[str], typer.Argument(metavar="[NAME=]FILE...", help="Label files, two or more.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder that vt curate wrote, which they label.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the questions that are not labelled alike, as .parquet or .json.", show_default=False
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """How far label files agree, as of several checkpoints: shares labelled alike, and Cohen's kappa, by pair.

    Intervals are clustered by clip. A question that a file lacks is in no pair with it; how many it lacks is counted.
    """
    from videothinker.curated import open_curated
    from videothinker.recipes import agreement as recipe
    from videothinker.reports.agreement import grids

    output.choose(json)
    found = recipe.agreement(open_curated(data), recipe.named_files(labels), out)
    print_grids(grids(found))
    line = f"{found.n_apart:,} of {found.n_questions:,} questions are not labelled alike by all that label them"
    console.print(line if out is None else f"{line}; they are listed in [bold]{escape(str(out))}[/bold]", soft_wrap=True)
    output.show(found)
