"""`vt config`: the configs that come with the package."""

from pathlib import Path
from typing import Annotated

import typer

from videothinker.cli.console import out as console
from videothinker.errors import VtError
from videothinker.shipped import CONFIGS, about, config_names, shipped_config, stage_of

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="List, show and copy the configs that come with the package; --config takes their names.",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a shipped config, such as bias-3b.", show_default=False)]


@app.command(name="list", epilog="[bold]Example[/bold]\n\n  vt config list")
def list_() -> None:
    """List the shipped configs: name, the command that takes it, and what it is for."""
    from rich import box
    from rich.table import Table

    table = Table("name", "stage", "for what", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in config_names():
        table.add_row(name, stage_of(name), about(CONFIGS / f"{name}.toml"))
    console.print(table, markup=False)


@app.command(epilog="[bold]Example[/bold]\n\n  vt config show bias-3b")
def show(name: Name) -> None:
    """Print a shipped config as it is."""
    typer.echo(shipped_config(name).read_text(encoding="utf-8"), nl=False)


@app.command(epilog="[bold]Example[/bold]\n\n  vt config init bias-3b --out mine.toml")
def init(
    name: Name,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: NAME.toml in this folder.", show_default=False)
    ] = None,
) -> None:
    """Write a copy of a shipped config to edit. A file that exists is not overwritten."""
    text = shipped_config(name).read_text(encoding="utf-8")
    file = to or Path(f"{name}.toml")
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except FileExistsError:
        raise VtError(f"{file}: exists and is not overwritten; choose another --out, or remove it first") from None
    except FileNotFoundError:
        raise VtError(f"{file}: its folder does not exist; make it first, or choose another --out") from None
    typer.echo(f"{file}: a copy of {name}; use it with --config {file}")
