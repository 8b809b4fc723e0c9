"""How every benchmark writes down what it measured."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videothinker import store


def write(out: Path | None, result: Mapping[str, Any]) -> None:
    """Write the numbers into a JSON file, with the command, commit and versions that they come from; None: nowhere."""
    if out is not None:
        store.write_json(out, {**result, "provenance": provenance()})


def write_rows(out: Path | None, options: argparse.Namespace, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """`write`, in the one shape that all benchmarks of speed and memory have: `benchmark` (the script), `device`, `settings`
    (its options, of files the name alone) and `rows` (one per thing measured), and what else a script has to say."""
    settings = {
        name: value.name if isinstance(value, Path) else value for name, value in vars(options).items() if name != "out"
    }
    write(out, {"benchmark": script().stem, "device": device(), "settings": settings, "rows": rows, **more})


def device() -> str:
    """What the numbers were measured on."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1)


def script() -> Path:
    """The script that runs."""
    return Path(sys.argv[0])


def provenance() -> dict[str, Any]:
    """`store.provenance`, which takes every command for one of `vt`, with the command that runs this script. Of absolute paths
    it has the name alone, also in NAME=PATH: where a file lay on this machine says nothing elsewhere."""
    arguments = map(_without_folders, sys.argv[1:])
    return store.provenance() | {"command": " ".join(["python", f"benchmarks/{script().name}", *arguments])}


def _without_folders(argument: str) -> str:
    """An argument without the folders of an absolute path."""
    name, equals, path = argument.rpartition("=")
    return f"{name}{equals}{Path(path).name}" if Path(path).is_absolute() else argument
