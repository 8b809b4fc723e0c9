"""Commands of `vt` as text, such as those of a study: parsed without being run, and what is wrong with one in one line."""

import difflib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import typer

from videothinker.cli.logs import without_these
from videothinker.errors import VtError

USAGE: Any = typer.BadParameter.__bases__[0]
"""click's UsageError, of which newer versions of typer keep a private copy."""

_EXPECTED = (
    (r"is not one of (.+?)\.?$", "one of {}"),
    (r"valid integer", "a whole number"),
    (r"valid (?:number|float)", "a number"),
    (r"valid boolean", "yes or no"),
    (r"greater than or equal to (\S+)", "{} or more"),
    (r"less than or equal to (\S+)", "{} or less"),
    (r"not in the range (.+?)\.?$", "{}"),
)
"""What a value should have been, from how click and the versions of typer put it that it is not."""


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """The options of a `vt` command, as its function would get them; those of `vt` itself before it are passed over.

    Raises:
        VtError: there is no such command or option, or a value is of the wrong kind.
    """
    arguments = without_these(arguments)
    words, command = find(arguments)
    try:
        options: dict[str, Any] = command.make_context(command.name, list(arguments[len(words) - 1 :])).params
    except USAGE as error:
        raise VtError(usage_line(error, arguments)) from error
    return options


def usage_line(error: Any, arguments: Sequence[str]) -> str:
    """What is wrong with the command `vt ARGUMENTS`, and where its help is, in one line.

    error: what click raised when it parsed them.
    """
    path = "" if error.ctx is None else error.ctx.command_path
    command = path if path.partition(" ")[0] == "vt" else " ".join(["vt", *_command_words(arguments)])
    return f"{command}: {_told(error, arguments)}; see {command} --help"


def _command_words(arguments: Sequence[str]) -> list[str]:
    """Those of the words that name groups and the command in them; options may stand before them."""
    found, words = _tree(), []
    for word in arguments:
        if word in getattr(found, "commands", {}):
            found = found.commands[word]
            words.append(word)
    return words


def _told(error: Any, arguments: Sequence[str]) -> str:
    kind, message = type(error).__name__, " ".join(error.format_message().split()).rstrip(".")
    parameter = getattr(error, "param", None)
    if kind == "NoSuchOption":
        nearest = difflib.get_close_matches(error.option_name, error.possibilities or (), n=1, cutoff=0)
        likely = f"; did you mean {nearest[0]}?" if nearest else ""
        return f"there is no option {error.option_name}{likely}"
    if parameter is None:
        return message[:1].lower() + message[1:]
    name = _name(parameter)
    if kind == "MissingParameter":
        return f"{name} is missing"
    return f"{name}: {_expected(error.message)}{_got(parameter, arguments)}"


def _name(parameter: Any) -> str:
    """ "--rule", or "OUT" as --help calls an argument."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper())


def _expected(message: str) -> str:
    for pattern, words in _EXPECTED:
        if found := re.search(pattern, message):
            return "expected " + words.format(*(group.replace("'", "") for group in found.groups()))
    return message.rstrip(".")


def _got(parameter: Any, arguments: Sequence[str]) -> str:
    """ ", got 'warm'": the option's last value; nothing where that is not to be told from the arguments."""
    got = None
    for place, word in enumerate(arguments):
        name, given, value = word.partition("=")
        if name in parameter.opts:
            got = value if given else next(iter(arguments[place + 1 : place + 2]), None)
    return "" if got is None else f", got {got!r}"


def find(arguments: Sequence[str]) -> tuple[list[str], Any]:
    """The words that name a command, `vt` among them, and the command.

    Raises:
        VtError: there is no such command.
    """
    found = _tree()
    words = ["vt"]
    for word in without_these(arguments):
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
