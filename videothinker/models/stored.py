"""The files of a checkpoint's folder, looked at before anything of them is loaded.

A safetensors file begins with a header that gives the name, type, shape and place of every tensor. A cut file, a missing shard
or a placeholder that stands for a file therefore shows at once, however large the weights are.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from videothinker.errors import VtError
from videothinker.outside import is_name

CONFIG = "config.json"
"""The file by which a checkpoint with full weights is recognised."""
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
"""Which shard holds which tensor, where the weights are split into several files."""
ADAPTER = "adapter_config.json"
"""The file by which a LoRA adapter's folder is recognised."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_PICKLED = ("pytorch_model*.bin", "adapter_model*.bin", "consolidated*.pth")
"""Names that weights have where they are pickles."""
_READ = (".json", ".jinja", ".safetensors", ".txt", ".model")
"""Suffixes of what transformers and PEFT read."""

Shape = tuple[int, ...]


def check_files(ref: str, folder: Path) -> None:
    """Check that the small files are what their names say: no placeholder of git-lfs, and JSON where the name ends in .json.

    ref: what the user called the checkpoint, for the message.

    Raises:
        VtError: one of them is not; names it.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix not in _READ or not path.is_file():
            continue
        if path.suffix == ".json":
            _json(ref, path)
        else:
            _refuse_placeholder(ref, path)


def read_config_file(ref: str, folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """The JSON object in one of the folder's configuration files.

    Raises:
        VtError: it is missing or is no JSON object.
    """
    if not (folder / name).is_file():
        raise VtError(f"{ref}: has no {name}")
    found = _json(ref, folder / name)
    if not isinstance(found, dict):
        raise VtError(f"{ref}: its {name} holds a {type(found).__name__}, expected a JSON object")
    return found


def foreign_code(folder: Path) -> str | None:
    """The name of a configuration file that names Python code to be run with the checkpoint (`auto_map`); None if none does."""
    for path in sorted(folder.glob("*config.json")):
        found = _json(str(folder), path)
        if isinstance(found, dict) and found.get("auto_map"):
            return path.name
    return None


def _refuse_placeholder(ref: str, path: Path) -> None:
    """git-lfs leaves a few lines of text, by its specification under 1024 bytes, in place of a file that was not fetched."""
    if path.stat().st_size < 1024 and path.read_bytes().startswith(b"version https://git-lfs"):
        raise VtError(f"{ref}: {path.name} is a placeholder of git-lfs, not the file itself; fetch it with `git lfs pull`")


def _json(ref: str, path: Path) -> Any:
    _refuse_placeholder(ref, path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VtError(f"{ref}: its {path.name} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise VtError(f"{ref}: its {path.name} is not JSON ({error}); get the file again") from error


def weight_files(ref: str, folder: Path, chosen: str | None = None) -> list[Path]:
    """The safetensors files that transformers loads from a checkpoint's folder.

    chosen: the file or index that config.json names in place of the usual ones (`transformers_weights`).

    Raises:
        VtError: there is none, or the index names a file that is not there.
    """
    name = chosen or (INDEX if not (folder / WEIGHTS).is_file() and (folder / INDEX).is_file() else WEIGHTS)
    if not name.endswith(".index.json"):
        return [_present(ref, folder / name)]
    placed = read_config_file(ref, folder, name).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise VtError(f"{ref}: its {name} has no weight_map, so it does not say where the weights are; get the file again")
    shards = sorted(set(map(str, placed.values())))
    if strange := [shard for shard in shards if not is_name(shard)]:
        raise VtError(f"{ref}: {name} names {strange[0]!a}, expected the name of a file in the same folder")
    lost = [shard for shard in shards if not (folder / shard).is_file()]
    if lost:
        raise VtError(f"{ref}: {name} names {len(shards)} files, of which {some(lost)} is not there; get the missing ones")
    return [folder / shard for shard in shards]


def adapter_file(ref: str, folder: Path) -> Path:
    """The safetensors file that PEFT loads from an adapter's folder.

    Raises:
        VtError: there is none.
    """
    return _present(ref, folder / ADAPTER_WEIGHTS)


def _present(ref: str, path: Path) -> Path:
    if path.is_file():
        return path
    pickled = [file.name for pattern in _PICKLED for file in path.parent.glob(pattern)]
    if pickled:
        raise VtError(
            f"{ref}: has {some(pickled)} and no {path.name}; a pickle can run code and is not loaded: save the weights as"
            " safetensors, which save_pretrained does"
        )
    raise VtError(f"{ref}: has no {path.name}; save the checkpoint with save_pretrained")


def shapes(ref: str, files: Iterable[Path]) -> dict[str, Shape]:
    """The shape of every tensor by its name, from the headers of safetensors files.

    Raises:
        VtError: a file is cut or damaged.
    """
    found: dict[str, Shape] = {}
    for file in files:
        with opened(ref, file) as tensors:
            found.update((name, tuple(tensors.get_slice(name).get_shape())) for name in tensors.keys())  # noqa: SIM118
    return found


@contextmanager
def opened(ref: str, file: Path) -> Iterator[Any]:
    """An open safetensors file; its header has been checked against the file's length.

    Raises:
        VtError: it is cut or damaged.
    """
    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except SafetensorError as error:
        _refuse_placeholder(ref, file)
        size = file.stat().st_size
        raise VtError(f"{ref}: {file.name} ({size:,} bytes) is cut or damaged ({error}); get the file again") from error


def some(names: Iterable[str], at_most: int = 2) -> str:
    """A few of the names in order, and how many more there are."""
    every = sorted(names)
    more = len(every) - at_most
    return ", ".join(every[:at_most]) + (f" and {more} more" if more > 0 else "")
