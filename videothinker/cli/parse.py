"""Commands of `vt` as text, such as those of a study or of the documentation, parsed without being run."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import typer

from videothinker.errors import VtError

_USAGE: Any = typer.BadParameter.__bases__[0]
"""click's UsageError, of which newer versions of typer keep a private copy."""


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """The options of a `vt` command, as its function would get them.

    Raises:
        VtError: there is no such command or option, or a value is of the wrong kind.
    """
    words, command = find(arguments)
    try:
        options: dict[str, Any] = command.make_context(command.name, list(arguments[len(words) - 1 :])).params
    except _USAGE as error:
        raise VtError(f"{' '.join(words)}: {error.format_message()}") from error
    return options


def find(arguments: Sequence[str]) -> tuple[list[str], Any]:
    """The words that name a command, `vt` among them, and the command.

    Raises:
        VtError: there is no such command.
    """
    found = _tree()
    words = ["vt"]
    for word in arguments:
        if not hasattr(found, "commands"):
            break
        words.append(word)
        if (found := found.commands.get(word)) is None:
            raise VtError(f"{' '.join(words)}: there is no such command")
    return words, found


@cache
def _tree() -> Any:
    """All commands. Built once, for it takes as long as a few dozen commands take to parse."""
    from videothinker.cli import app

    return typer.main.get_command(app)
