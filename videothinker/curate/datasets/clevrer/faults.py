"""Why a file, an entry or a question of CLEVRER cannot be used, in words."""

from typing import NamedTuple, get_args

import msgspec

from videothinker.curate.datasets.clevrer.program import Color, Material, Shape


class Fault(NamedTuple):
    """Why a file, an entry or a question cannot be used."""

    file: str
    """Name of the file at fault."""
    reason: str
    """What was found, in which field, and what was expected."""


def explain(error: msgspec.MsgspecError | RecursionError) -> str:
    """A decoder's error as "field: what was found", with the field's path first where there is one."""
    message, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    message = message[:1].lower() + message[1:]
    if "truncated" in message:
        message += " (the file is cut; download it again)"
    if words := _WORDS.get(path.rpartition(".")[2]):
        message += f", expected {', '.join(words)}"
    return f"{path}: {message}" if path else message


_WORDS = {"color": get_args(Color), "material": get_args(Material), "shape": get_args(Shape), "answer": ("correct", "wrong")}
