"""Options of the commands that train, each written once; what `vt train` and `vt pretrain` share is here.

An alias is one option: its type, its words and its place in --help. Its default stands where the command is.
"""

from pathlib import Path
from typing import Annotated

import typer

from videothinker.records import Rule
from videothinker.shipped import config_file

Config = Annotated[
    Path,
    typer.Option("--config", metavar="FILE|NAME", help="TOML, or a name that vt config list shows.", callback=config_file),
]
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder that vt curate wrote.")]
Model = Annotated[str, typer.Option("--model", metavar="REF", help="Checkpoint to train: a folder or a hub id.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The same one with the same settings is resumed.")]
Videos = Annotated[
    Path | None, typer.Option("--videos", metavar="DIR", help="Where the clips are, if not where curation found them.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. optimizer.steps=100. Repeatable."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Load everything, take one step, say memory, tokens and time; keep nothing.")
]
Force = Annotated[bool, typer.Option("--force", help="Go on although the bias model has not passed its gate.")]
TheRule = Annotated[
    Rule | None, typer.Option("--rule", help="Whose observational questions are taken; default the curated folder's own rule.")
]
RuleOfWhere = Annotated[
    Rule | None, typer.Option("--rule", help="Whose category --where means; default the curated folder's own rule.")
]
Labels = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Labels from elsewhere, such as a probe's; the first file's categories count. Repeatable.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="EXPR", help="""Train where this SQL is true, e.g. "category = 'inferential'"."""),
]
BiasModel = Annotated[
    str | None,
    typer.Option(
        "--bias-model",
        metavar="REF",
        help="What vt train bias wrote: frozen, and repelled from; not with objective.reference start or self.",
    ),
]
BiasModelToo = Annotated[
    str | None,
    typer.Option("--bias-model", metavar="REF", help="Repel from this checkpoint too; set objective.repulsion with it."),
]
Fast = Annotated[
    bool, typer.Option("--fast", help="Gate by one greedy look, without intervals. The default samples as training does.")
]
