"""Read TOML files into typed settings: unknown keys are refused, and all violations are reported at once.

problems: list[str] = []
settings = read(Settings, load_toml(path), problems)      # None if anything is wrong
"""

import reprlib
import tomllib
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from videothinker.errors import VtError

S = TypeVar("S", bound=msgspec.Struct)


def load_toml(path: Path) -> dict[str, Any]:
    """The file's tables as plain values.

    Raises:
        VtError: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise VtError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise VtError(f"{path}: is not TOML: it is nested too deeply") from error
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise VtError(f"{path}: is not TOML: {error}") from error


def override(raw: dict[str, Any], assignment: str) -> None:
    """Put "section.key=value" into `raw`, where the value is in TOML or a plain word without quotes.

    Raises:
        VtError: the assignment is not of that form, or names a section where `raw` has a value.
    """
    name, equals, text = assignment.partition("=")
    *outer, last = (key.strip() for key in name.split("."))
    if not equals or not all((*outer, last)):
        raise VtError(f"--set {assignment}: is not KEY=VALUE or SECTION.KEY=VALUE")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    for key in outer:
        section = raw.get(key, {})
        if not isinstance(section, dict):
            raise VtError(f"--set {assignment}: {key} is no section")
        raw[key] = raw = dict(section)  # a copy: a section may be shared with the settings it came from
    raw[last] = value


def read(kind: type[S], raw: Any, problems: list[str], where: str = "") -> S | None:
    """Convert `raw` to a `kind`, whose fields may be plain, structs (or None), dicts of structs or tuples of structs.

    A field that msgspec writes by another name (`msgspec.field(name=...)`) is read by that name.

    Every violation is appended to `problems` with its dotted place under `where`; the result is None if there is one.
    """
    before = len(problems)
    if not isinstance(raw, dict):
        problems.append(f"{where or 'the file'}: is not a section")
        return None
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    prefix = f"{where}." if where else ""
    for name in (name for name in raw if name not in fields):
        problems.append(f"{prefix}{name}: unknown setting; known here: {', '.join(fields)}")
    for name, field in fields.items():
        if field.required and name not in raw:
            problems.append(f"{prefix}{name}: is missing")
    values = {
        fields[name].name: _value(fields[name].type, value, problems, f"{prefix}{name}")
        for name, value in raw.items()
        if name in fields
    }
    return kind(**values) if len(problems) == before else None


def _value(kind: Any, raw: Any, problems: list[str], where: str) -> Any:
    if _is_struct(kind):
        return read(kind, raw, problems, where)
    parts = get_args(kind)
    if isinstance(kind, UnionType) and _is_struct(parts[0]):  # a section that may be left out
        return read(parts[0], raw, problems, where)
    if get_origin(kind) is dict and _is_struct(parts[1]) and isinstance(raw, dict):
        return {name: read(parts[1], value, problems, f"{where}.{name}") for name, value in raw.items()}
    if get_origin(kind) is tuple and _is_struct(parts[0]) and isinstance(raw, Sequence) and not isinstance(raw, str):
        return tuple(read(parts[0], value, problems, f"{where}[{index}]") for index, value in enumerate(raw))
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        problems.append(f"{where} = {reprlib.repr(raw)}: {error}{_choices(kind)}")
        return None


def _choices(kind: Any) -> str:
    """What a setting of a few fixed words may be, as the end of a message; empty for any other."""
    parts = (part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, Enum))
    words = [one.value for part in parts for one in part]
    return f", expected one of {', '.join(map(str, words))}" if words else ""


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
