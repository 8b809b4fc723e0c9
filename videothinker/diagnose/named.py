"""What options such as `--model NAME=REF` name: checkpoints, data sets, and files that are of one of them.

What stands before "=" is a name unless it looks like a path, or the whole names something that exists.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from videothinker import shards
from videothinker.diagnose import solvers
from videothinker.errors import VtError


def model_names(models: Sequence[str]) -> dict[str, str]:
    """REF by name from `--model [NAME=]REF` options, in order.

    The default name is a solver's name or the last part of a path or hub id. What stands before "=" is a name unless it looks
    like a path, or the whole names an existing folder.

    Raises:
        VtError: two checkpoints of one name, or a name that cannot be that of a folder.
    """
    return _named(models, "--model", _model_name, "checkpoints")


def data_names(data: Sequence[str]) -> dict[str, Path]:
    """Curated folder by name from `--data [NAME=]DIR` options, in order; the default name is the folder's.

    Raises:
        VtError: two data sets of one name, or a name that cannot be that of a folder.
    """
    return {name: Path(folder) for name, folder in _named(data, "--data", _folder_name, "data sets").items()}


def import_files(values: Sequence[str]) -> dict[str, list[Path]]:
    """Files by checkpoint from `--import [NAME=]FILE` options, in order; those of one name are of one checkpoint.

    Raises:
        VtError: a name cannot be that of a folder.
    """
    found: dict[str, list[Path]] = {}
    for given in values:
        ((name, file),) = _named([given], "--import", _last_part, "checkpoints").items()
        found.setdefault(name, []).append(Path(file))
    return found


def _named(values: Sequence[str], option: str, name_of: Callable[[str], str], what: str) -> dict[str, str]:
    """Values by name from options NAME=VALUE; without a name it is that of `name_of`. what: the noun for messages."""
    named: dict[str, str] = {}
    for given in values:
        name, equals, value = given.partition("=")
        if not equals or "/" in name or Path(given).exists():
            name, value = name_of(given), given
        if not value:
            raise VtError(f"{option} {given}: names nothing; expected NAME=VALUE")
        if not re.fullmatch(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*", name) or name == shards.FOLDER:
            raise VtError(f"{option} {given}: '{name}' cannot be the name of a folder; give one as NAME={value}")
        if name in named and _place(named[name]) == _place(value):
            also = "" if named[name] == value else f", first as {named[name]}"
            raise VtError(
                f"{option} {given}: is given twice{also}; name it once, or tell the two apart with {option} NAME={value}"
            )
        if name in named:
            raise VtError(
                f"two {what} are named '{name}': {named[name]} and {value}; tell them apart with {option} NAME={value}"
            )
        named[name] = value
    return named


def _place(value: str) -> str:
    """What a value is known again by: where it leads to on this machine, or, of a hub id or a solver, its words."""
    return str(Path(value).resolve()) if Path(value).exists() else value


def of_each(values: Sequence[str], names: Sequence[str], option: str) -> dict[str, str]:
    """What an option that may be given as NAME=VALUE for single data sets says for each of `names`; VALUE alone is for all.

    Raises:
        VtError: a NAME is none of the data sets.
    """
    found: dict[str, str] = {}
    for given in values:
        name, equals, value = given.partition("=")
        if not equals or "/" in name or Path(given).exists():
            found |= dict.fromkeys(names, given)
        elif name not in names:
            raise VtError(f"{option} {given}: there is no data set '{name}'; there are {', '.join(names)}")
        else:
            found[name] = value
    return found


def label_files(values: Sequence[str], names: Sequence[str]) -> dict[str, list[Path]]:
    """Files of `--labels [NAME=]FILE` by data set, in order; which of several data sets a file is of has to be said.

    Raises:
        VtError: it is not said which of several data sets a file is of, or a NAME is none of them.
    """
    found: dict[str, list[Path]] = {}
    for given in values:
        name, equals, file = given.partition("=")
        if not equals or "/" in name or Path(given).exists():
            if len(names) > 1:
                raise VtError(f"--labels {given}: of which data set? write NAME={given}, with NAME one of {', '.join(names)}")
            name, file = names[0], given
        if name not in names:
            raise VtError(f"--labels {given}: there is no data set '{name}'; there are {', '.join(names)}")
        found.setdefault(name, []).append(Path(file))
    return found


def _model_name(ref: str) -> str:
    """A solver's name, or the last part of a path or hub id."""
    return ref.removeprefix(solvers.PREFIX) if ref.startswith(solvers.PREFIX) else _last_part(ref)


def _folder_name(folder: str) -> str:
    return Path(folder).resolve().name


def _last_part(ref: str) -> str:
    path = Path(ref)
    return path.resolve().name if path.exists() else path.name
