"""The reference of all commands, in Markdown, from what their `--help` says."""

import html
import re
from collections.abc import Iterator
from typing import Any

import typer

from videothinker.cli import app


def top_level() -> list[str]:
    """The words that can stand behind `vt`, in the order of its help."""
    return list(_root().commands)


def page_of(name: str) -> str:
    """The page of one of these words, with everything under it."""
    return "\n".join(_section(_root().commands[name], ("vt", name), 1)) + "\n"


def _root() -> Any:
    return typer.main.get_command(app)


def _section(command: Any, words: tuple[str, ...], level: int) -> Iterator[str]:
    """A command's heading, help, usage, arguments, options and examples, and then those of the commands under it."""
    context = command.context_class(command, info_name=" ".join(words))
    yield f"{'#' * level} {' '.join(words)}\n"
    yield f"{_markdown(command.help or '')}\n"
    parameters = [one for one in command.get_params(context) if one.name != "help" and not getattr(one, "hidden", False)]
    if not hasattr(command, "commands"):
        pieces = " ".join(command.collect_usage_pieces(context))
        yield f"```text\n{' '.join(words)} {pieces}\n```\n"
        yield from _table(parameters, context)
    yield f"{_markdown(command.epilog or '')}\n"
    for name, below in getattr(command, "commands", {}).items():
        yield from _section(below, (*words, name), level + 1)


def _table(parameters: list[Any], context: Any) -> Iterator[str]:
    panels: dict[str, list[Any]] = {}
    for parameter in parameters:
        panels.setdefault(getattr(parameter, "rich_help_panel", None) or "", []).append(parameter)
    for panel, inside in panels.items():
        if panel:
            yield f"**{panel}**\n"
        yield "| option | what it says |\n|---|---|"
        for names, words in (one.get_help_record(context) for one in inside):
            yield f"| {_code(names)} | {_cell(_markdown(words))} |"
        yield ""


def _code(names: str) -> str:
    """The ways to write an option as code, such as `--report` / `--no-report`; as HTML, for a bar in it would end the cell."""
    return " / ".join(f"<code>{html.escape(name).replace('|', '&#124;')}</code>" for name in names.split(" / "))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _markdown(text: str) -> str:
    """A help text's Rich markup as Markdown; what is set in becomes a block of code."""
    blocks = (_paragraph(part) for part in re.split(r"\n\s*\n", text) if part.strip())
    return "\n\n".join(blocks).replace("\n```\n\n```text\n", "\n")


def _paragraph(text: str) -> str:
    lines = re.sub(r"\[/?\w*\]", "", text).strip("\n").splitlines()
    if lines[0].startswith("  "):
        return "```text\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```"
    plain = text.strip("\n").replace("*", "\\*").replace("<", "&lt;")
    return re.sub(r"\[bold\](.*?)\[/(?:bold)?\]", r"**\1**", plain)
