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
            weights, data = {"ref": "base", "sha256": ""}, {"folder": "", "sha256": "", "rule": None, "n_questions": 1}
            rollouts = {"n_replies": 1, "questions_per_step": 1}
            told = {"stage": stage, "settings": {"rollouts": rollouts}, "model": weights, "bias_model": None, "data": data}
            (out / "run.json").write_text(json.dumps(told | {"finished": True}))
            (out / "metrics.jsonl").write_text('{"step": 40, "loss": 0.1, "seconds": 0.01}\n')
            if stage == "bias":
                scores = ("observational", "inferential", "shortcut_reliance")
                asked = {**dict.fromkeys(scores), "n_observational": 0, "n_inferential": 0}
                told = {"start": asked, "bias": asked, "margins": {}, "split": "dev", "rule": None}
                (out / "gate.json").write_text(json.dumps(told | {"passed": True, "reasons": []}))
        case _:
            (out / "model").mkdir(exist_ok=True)
            (out / "model" / "metrics.json").write_text("{}")
            (out / "report.html").write_text("<html>")
    note(study, "end", out.name)


def note(study: Path, what: str, name: str) -> None:
    with (study / "diary").open("a") as file:
        file.write(json.dumps([what, name, os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()]) + "\n")


main()
