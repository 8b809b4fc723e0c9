"""How long the command `vt diagnose` takes, from pressing return to its report, and what of that goes into what.

    python benchmarks/command.py                                                   # on a CPU, a tiny model
    python benchmarks/command.py --shape 3b --frames 16 --tokens 128 --scenes 64   # on a GPU
    python benchmarks/command.py --engine vllm --engine-python ~/vllm/bin/python   # vLLM in an environment of its own

Random weights whose replies never end by themselves, about two questions a clip of 480 x 320. The command runs twice, each time
in a process of its own: into an empty cache of clips, and with the clips of the first time in it. `seconds_by_stage` is what
run.json says, and `rest` is what is left: Python and torch starting, loading the weights, reading and drawing.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import results
import shapes
from worlds import made_world

from videothinker import store
from videothinker.diagnose.engines import ENGINES
from videothinker.models.text_positions import TextPositions


def asked(curated: Path, model: Path, out: Path, options: argparse.Namespace) -> list[str]:
    """The command."""
    pixels = options.max_pixels or (256 if options.shape == shapes.LARGE else 25) * 28 * 28
    return [
        *(sys.executable, "-m", "videothinker", "diagnose", "--data", str(curated), "--model", f"timed={model}"),
        *("--out", str(out), "--frames", str(options.frames), "--max-pixels", str(pixels)),
        *("--max-new-tokens", str(options.tokens), "--engine", options.engine),
        *("--text-positions", TextPositions.ORIGINAL),
        *(("--engine-python", str(options.engine_python)) if options.engine_python else ()),
    ]


def run(command: list[str], out: Path, cache: Path) -> dict[str, Any]:
    """One row.

    Raises:
        SystemExit: the command failed.
    """
    began = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, "VIDEOTHINKER_CACHE": str(cache)}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"error: vt diagnose ended with {done.returncode}: {done.stderr[-2000:]}")
    fed = store.read_json(out / "timed" / "run.json", dict[str, Any])["fed"]
    stages = fed["seconds"]
    n_questions = len((out / "timed" / "predictions.jsonl").read_text().splitlines())
    return {
        "engine": fed["engine"],
        "n_questions": n_questions,
        "seconds": seconds,
        "questions_per_second": n_questions / seconds,
        "seconds_by_stage": {**stages, "rest": seconds - sum(stages.values())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=shapes.SHAPES, default="test", help="of the model, whose weights are random")
    parser.add_argument("--engine", choices=ENGINES, default="auto")
    parser.add_argument("--engine-python", type=Path, help="for vllm: the Python of an environment that has it")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--max-pixels", type=int, help="of one frame; default 256*28*28 for 3b, else 25*28*28")
    parser.add_argument("--tokens", type=int, default=32, help="length of every reply")
    parser.add_argument("--scenes", type=int, default=8, help="generated clips to ask about, with some two questions each")
    parser.add_argument("--weights", type=Path, help="folder in which to keep the random weights, used again if they are there")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as held:
        scratch = Path(held)
        curated = made_world(scratch, options.scenes).folder
        model = shapes.build(options.weights or scratch / "model", options.shape)
        for clips in ("decoded", "cached"):
            out = scratch / clips
            rows.append({"clips": clips, **run(asked(curated, model, out, options), out, scratch / "cache")})
            print(f"clips {clips}: {rows[-1]['seconds']:.1f} s, {rows[-1]['questions_per_second']:.2f} questions/s", flush=True)
    results.write_rows(options.out, options, rows)


if __name__ == "__main__":
    main()
