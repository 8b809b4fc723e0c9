"""Stands in for `python -m videothinker`: writes what the command writes last, after doing what the file `orders` says.

`orders` lies beside the study's cells and holds JSON {cell: "fail" | "lie" | seconds to sleep | ...}; every start and end is
appended to `diary`. Standard library alone, so that a cell takes some hundredths of a second.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[0] == "clips":  # fills a cache, and writes nothing of its own
        note(Path(arguments[arguments.index("--data") + 1]).parent.parent, "start", "warm")
        return
    out = Path(arguments[arguments.index("--out") + 1])
    study = out.parent.parent
    order = json.loads((study / "orders").read_text()).get(out.name) if (study / "orders").exists() else None
    out.mkdir(parents=True, exist_ok=True)
    note(study, "start", out.name)
    if isinstance(order, int | float):
        time.sleep(order)
    if order == "fail":
        (out / "half").touch()
        sys.stderr.write("first line\n\nValueError: as ordered\n")
        sys.exit(3)
    if order == "lie":
        sys.exit(0)
    match arguments[:2]:
        case ["curate", _]:
            (out / "manifest.json").write_text("{}")
        case ["train", stage]:
            (out / "run.json").write_text('{"finished": true}')
            (out / "metrics.jsonl").write_text('{"step": 40, "loss": 0.1, "seconds": 0.01}\n')
            if stage == "bias":
                (out / "gate.json").write_text('{"reasons": []}')
        case _:
            (out / "model").mkdir(exist_ok=True)
            (out / "model" / "metrics.json").write_text("{}")
            (out / "report.html").write_text("<html>")
    note(study, "end", out.name)


def note(study: Path, what: str, name: str) -> None:
    with (study / "diary").open("a") as file:
        file.write(json.dumps([what, name, os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()]) + "\n")


main()
