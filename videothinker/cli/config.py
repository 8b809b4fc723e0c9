"""`vt config`: the configs that come with the package."""

from pathlib import Path
from typing import Annotated

import typer

from videothinker.cli import options, output
from videothinker.cli.console import out as console
from videothinker.errors import VtError
from videothinker.shipped import about, companions, config_files, shipped_config, stage_of

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="List, show and copy the configs that come with the package; --config takes their names.",
)
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A name that vt config list shows, such as bias-3b.", show_default=False)
]


@app.command(name="list", epilog="[bold]Example[/bold]\n\n  vt config list")
def list_(json: options.Json = False) -> None:
    """List the shipped configs: name, what takes it (a stage of vt train, pretrain, study, accelerate), and what it is for."""
    from rich import box
    from rich.table import Table

    output.choose(json)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("name", "stage"):
        table.add_column(head, no_wrap=True)
    table.add_column("for what")
    rows = [{"name": name, "stage": stage_of(file), "about": about(file)} for name, file in config_files().items()]
    for row in rows:
        table.add_row(*row.values())
    console.print(table, markup=False)
    output.show({"configs": rows})


@app.command(epilog="[bold]Example[/bold]\n\n  vt config show bias-3b")
def show(name: Name) -> None:
    """Print a shipped config as it is."""
    typer.echo(shipped_config(name).read_text(encoding="utf-8"), nl=False)


@app.command(epilog="[bold]Example[/bold]\n\n  vt config init bias-3b --out mine.toml")
def init(
    name: Name,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: its own name, in this folder.", show_default=False)
    ] = None,
) -> None:
    """Write a copy of a shipped config to edit, and with a study's the configs that it names. Nothing is overwritten."""
    source = shipped_config(name)
    target = to or Path(source.name)
    copies = {target: source} | {target.with_name(file.name): file for file in companions(source)}
    for file in copies:
        if file.exists():
            raise VtError(f"{file}: exists and is not overwritten; choose another --out, or remove it first")
    for file, shipped in copies.items():
        _copy(shipped, file)
        typer.echo(f"{file}: a copy of {shipped.stem}")


def _copy(shipped: Path, file: Path) -> None:
    try:
        with file.open("xb") as handle:
            handle.write(shipped.read_bytes())
    except OSError as error:
        raise VtError(f"{file}: cannot be written ({error.strerror}); choose another --out") from None
