"""How every benchmark writes down what it measured."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videothinker import store


def write(out: Path | None, result: Mapping[str, Any]) -> None:
    """Write the numbers into a JSON file, with the command, commit and versions that they come from; None: nowhere."""
    if out is not None:
        store.write_json(out, {**result, "provenance": provenance()})


def provenance() -> dict[str, Any]:
    """`store.provenance`, which takes every command for one of `vt`, with the command that runs this script."""
    return store.provenance() | {"command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])}
