"""The command `vt`: a command parses its options, calls one function and prints the result.

It is a package because all commands with their help texts would make a file of over a thousand lines. Nothing else imports it.
Heavy imports (polars, torch, matplotlib) stand inside the command bodies, so that every `--help` answers at once.
"""

import errno
import sys
import traceback
from types import TracebackType
from typing import Annotated, NoReturn

import typer

from videothinker import locks
from videothinker.cli import (
    checkpoint,
    clips,
    config,
    curate,
    demo,
    diagnose,
    doctor,
    merge,
    pretrain,
    report,
    study,
    train,
    world,
)
from videothinker.cli.console import err
from videothinker.cli.interrupt import stopping
from videothinker.cli.logs import LEVEL, Level, set_up, without_these
from videothinker.cli.parse import USAGE, usage_line
from videothinker.errors import EXTRAS, VtError, missing_extra
from videothinker.printable import printable

app = typer.Typer(
    name="vt",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Does my video-language model reason, or does it just look? Start with [bold]vt demo[/bold].",
)
app.command(name="demo", epilog=demo.EPILOG)(demo.demo)
app.add_typer(world.app, name="world")
app.add_typer(curate.app, name="curate")
app.add_typer(clips.app, name="clips")
app.command(name="diagnose", epilog=diagnose.EPILOG)(diagnose.diagnose)
app.command(name="merge", epilog=merge.EPILOG)(merge.merge)
app.command(name="report", epilog=report.EPILOG)(report.report)
app.command(name="pretrain", epilog=pretrain.EPILOG)(pretrain.pretrain)
train.app.command(name="sft", epilog=pretrain.EPILOG, help=pretrain.ALIAS_HELP)(pretrain.pretrain)
app.add_typer(train.app, name="train")
app.add_typer(checkpoint.app, name="checkpoint")
app.add_typer(config.app, name="config")
app.command(name="study", epilog=study.EPILOG)(study.study)
app.command(name="doctor", epilog=doctor.EPILOG)(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        from videothinker import __version__

        typer.echo(f"videothinker {__version__}")
        raise typer.Exit


LogLevel = Annotated[
    Level | None,
    typer.Option(envvar=LEVEL, help="What is logged at least, by libraries too; error also hides warnings."),
]


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", callback=_show_version, is_eager=True),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress and no notes; results, warnings and errors stay."),
    log_level: LogLevel = None,
) -> None:
    """Holds the options of `vt` itself."""
    set_up(log_level, quiet=quiet)


_UNWRITABLE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "choose a place that you may write to",
}
"""What to do where the system refuses to write, by errno."""


def main() -> None:
    """Run `vt`. A command that cannot be parsed or a `VtError` becomes one line on stderr and exit code 2; a bug keeps its
    traceback and exits 1.

    Ctrl-C and SIGTERM end it at once with one line that says how to go on, and exit code 130 or 143. A disk that is full or
    may not be written to is no bug either.
    """
    try:
        with stopping(without_these(sys.argv[1:])):
            code = app(prog_name="vt", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # a group by itself: its help is printed by now
            sys.exit(2)
        _fail(VtError(usage_line(error, sys.argv[1:])))
    except typer.Abort:
        sys.exit(1)
    except VtError as error:
        _fail(error)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _fail(VtError(f"{where}{error.strerror}; {_UNWRITABLE[error.errno]}, and run the same command again to go on"))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = (
            "train" if without_these(sys.argv[1:])[:1] == ["train"] else EXTRAS[package]
        )  # the extra "train" includes "models"
        _fail(missing_extra(package, extra, "this command"))
    finally:
        locks.release_all()
        sys.excepthook = _show_bug  # only now: typer puts its own there when it runs


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's own traceback, without control characters that came with the input."""
    sys.stderr.write(printable("".join(traceback.format_exception(kind, error, trace))))


def _fail(error: VtError) -> NoReturn:
    err.print(f"[bold red]error:[/bold red] {_plain(str(error))}", soft_wrap=True, highlight=False)
    sys.exit(2)


def _plain(text: str) -> str:
    """The text on one line, escaped so that no part of a user's file names is read as rich markup."""
    from rich.markup import escape

    return escape(" ".join(text.split()))
