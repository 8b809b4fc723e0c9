"""All measurements of one card, the most important first, within so many minutes: one command for a session on a GPU.

    python benchmarks/session.py --minutes 25 --out session                                # on a GPU, at Qwen2.5-VL-3B's shape
    python benchmarks/session.py --minutes 9 --out session --vllm-python ~/vllm/bin/python   # and vLLM, from its environment
    python benchmarks/session.py --minutes 30 --out session --small                        # on a CPU, tiny models, to try it
    python benchmarks/session.py --list                                                    # what it would run, and nothing else

The same command goes on where an earlier one ended: a measurement whose OUT/NAME.json is there is not made again. Each runs in
a process of its own. One that would not end in time is ended and comes first the next time; one that fails is named with its
last words, its whole output is in OUT/NAME.log, and the others go on. OUT/session.md has every table, OUT/session.json what
became of each. Random weights are kept in the folder for temporary files. Ratios are between rows of one session on one card.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import results
import shapes

from videothinker import store

HERE = Path(__file__).parent
_LEAST = 20.0
"""Seconds below which nothing is begun any more."""


class Measurement(NamedTuple):
    """One call of one benchmark."""

    name: str
    """Of its files in OUT."""
    script: str
    arguments: tuple[str, ...]
    """At the large shape."""
    small: tuple[str, ...]
    """On a CPU in a minute, with `--small`."""
    why: str
    needs_vllm: bool = False


_STEP = ("--frames", "16", "--max-pixels", "100352", "--tokens", "768", "--steps", "2")
_SMALL_STEP = ("--frames", "4", "--tokens", "3", "--replies", "2", "--steps", "1")
_ASK = ("--frames", "16", "--tokens", "128", "--scenes", "64")
_SMALL_ASK = ("--frames", "4", "--tokens", "3", "--scenes", "2")
_PLAIN = ("--plain", "2", "--batch-sizes", "128")
_SMALL_PLAIN = ("--plain", "1", "--batch-sizes", "2")

MEASUREMENTS = (
    Measurement("step-lora", "train", ("--variants", "lora", *_STEP), ("--variants", "lora", *_SMALL_STEP), "LoRA's memory"),
    Measurement(
        "step-plain", "train", ("--variants", "plain", *_STEP), ("--variants", "plain", *_SMALL_STEP), "what it is beside"
    ),
    Measurement("step-ours", "train", ("--variants", "ours", *_STEP), ("--variants", "ours", *_SMALL_STEP), "a CDPO step"),
    Measurement(
        "ask",
        "diagnose",
        ("--engine", "graphs", *_ASK, *_PLAIN),
        ("--engine", "graphs", *_SMALL_ASK, *_SMALL_PLAIN),
        "questions a second, beside a plain loop",
    ),
    Measurement("command", "command", _ASK, _SMALL_ASK, "all of vt diagnose, from return to report"),
    Measurement(
        "vllm",
        "beside_vllm",
        ("--frames", "16", "--tokens", "128", "--scenes", "512"),
        ("--frames", "4", "--tokens", "4", "--scenes", "10"),
        "vt diagnose --engine vllm beside vLLM by itself",
        needs_vllm=True,
    ),
    Measurement(
        "vision",
        "vision",
        ("--size", "3b", "--ways", "compiled,varlen", "--clips", "1,8,64"),
        ("--size", "test", "--clips", "1,2", "--frames", "4", "--height", "56", "--width", "84", "--repeats", "1"),
        "milliseconds a clip in the vision tower",
    ),
    Measurement(
        "decode-8", "decode", ("--rows", "8", "--ways", "kernels", "plain"), ("--rows", "2", "--tokens", "4"), "a token"
    ),
    Measurement(
        "ask-watched",
        "diagnose",
        ("--engine", "graphs", "--stop-at", "0.97", *_ASK, *_PLAIN),
        ("--engine", "graphs", "--stop-at", "0.97", *_SMALL_ASK, *_SMALL_PLAIN),
        "what looking out for first answers costs",
    ),
    Measurement(
        "ask-transformers",
        "diagnose",
        ("--engine", "transformers", *_ASK, *_PLAIN),
        ("--engine", "transformers", *_SMALL_ASK, *_SMALL_PLAIN),
        "the engine for every model",
    ),
    Measurement(
        "decode-128",
        "decode",
        ("--rows", "128", "--tokens", "128", "--ways", "kernels", "plain"),
        ("--rows", "3", "--tokens", "4"),
        "a token of 128 replies",
    ),
    Measurement(
        "lengths",
        "lengths",
        ("--seconds", "5", "60", "--clips", "8", "--tokens", "128"),
        ("--seconds", "2", "--clips", "1", "--per-clip", "2", "--frames", "4", "--tokens", "2"),
        "clips of other lengths",
    ),
)
"""What a session measures, the most important first."""


class Session:
    """A folder of results, and the time that is left."""

    def __init__(self, out: Path, minutes: float, *, small: bool, vllm_python: Path | None) -> None:
        self.out, self._small, self._vllm_python = out, small, vllm_python
        self._ends = time.monotonic() + 60 * minutes
        self.became: dict[str, str] = {}
        """By name: done, was done, failed: ..., out of time, no vLLM."""

    def run(self, measurements: Sequence[Measurement]) -> None:
        """Make what is not made yet, in order."""
        self.out.mkdir(parents=True, exist_ok=True)
        for one in measurements:
            print(f"{one.name}: {one.why}", flush=True)
            self.became[one.name] = self._make(one)
            print(f"{one.name}: {self.became[one.name]}", flush=True)
            self._write(measurements)

    def command(self, one: Measurement) -> list[str]:
        """The command of a measurement."""
        shape_name = "test" if self._small else shapes.LARGE
        shape = () if one.script == "vision" else ("--shape", shape_name)
        models = Path(tempfile.gettempdir()) / f"videothinker-session-{shape_name}"
        kept = {
            "train": ("--models", str(models)),
            **dict.fromkeys(("diagnose", "command", "beside_vllm", "lengths"), ("--weights", str(models / "start"))),
        }.get(one.script, ())
        vllm = ("--engine-python", str(self._vllm_python)) if one.needs_vllm and self._vllm_python else ()
        sized = one.small if self._small else one.arguments
        return [sys.executable, str(HERE / f"{one.script}.py"), *shape, *sized, *kept, *vllm, "--out", str(self._part(one))]

    def _part(self, one: Measurement) -> Path:
        return self.out / f"{one.name}.part.json"

    def _make(self, one: Measurement) -> str:
        if (self.out / f"{one.name}.json").is_file():
            return "was done"
        if one.needs_vllm and self._vllm_python is None and find_spec("vllm") is None:
            return "no vLLM here; name the Python of an environment that has it with --vllm-python"
        left = self._ends - time.monotonic()
        if left < _LEAST:
            return "out of time"
        with (self.out / f"{one.name}.log").open("w") as log:
            try:
                done = subprocess.run(
                    self.command(one), stdout=log, stderr=subprocess.STDOUT, timeout=left, check=False, env={**os.environ}
                )
            except subprocess.TimeoutExpired:
                return "out of time"
        if done.returncode:
            words = (self.out / f"{one.name}.log").read_text(errors="replace").split("\n")
            last = next((line for line in reversed(words) if line.strip()), "it said nothing")
            return f"failed ({done.returncode}): {last.strip()[:300]}"
        self._part(one).rename(self.out / f"{one.name}.json")  # only a whole one has this name
        return "done"

    def _write(self, measurements: Sequence[Measurement]) -> None:
        found = {
            one.name: store.read_json(path, dict[str, Any])
            for one in measurements
            if (path := self.out / f"{one.name}.json").is_file()
        }
        store.write_json(
            self.out / "session.json", {"became": self.became, "device": results.device(), "provenance": results.provenance()}
        )
        store.write_text(self.out / "session.md", page(found, self.became))


def page(found: dict[str, dict[str, Any]], became: dict[str, str]) -> str:
    """All that was found, as Markdown: steps beside one another with their ratios, and the rows of the others."""
    parts = ["# What one card measured", results.device()]
    steps = [row for name in ("step-plain", "step-ours", "step-lora") if name in found for row in found[name]["rows"]]
    if steps:
        import train  # as heavy as training is

        parts += ["## A step of CDPO", train.table(steps)]
    for name, result in found.items():
        if not name.startswith("step-"):
            parts += [f"## {name}", _table(result["rows"])]
            parts += [f"ratio {result['ratio']:.2f}"] if "ratio" in result else []
    parts += ["## What became of each", "\n".join(f"- {name}: {word}" for name, word in became.items())]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of any benchmark: the numbers and words that all of them have, nested ones by their path."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(row.get(name, '') for name in columns)} |" for row in flat]
    return "\n".join(lines)


def _flat(row: dict[str, Any], before: str = "") -> dict[str, str]:
    cells: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            cells |= _flat(value, f"{before}{name} ")
        elif value is not None:
            cells[before + name] = f"{value:.3g}" if isinstance(value, float) else str(value)
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25, help="for all of it; nothing goes on longer")
    parser.add_argument("--out", type=Path, default=Path("session"), help="folder of the results, gone on with if it is there")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in MEASUREMENTS], help="these alone")
    parser.add_argument("--small", action="store_true", help="tiny models, to try the whole of it on a CPU")
    parser.add_argument("--vllm-python", type=Path, help="the Python of an environment that has vLLM, if it is not here")
    parser.add_argument("--list", action="store_true", help="print the commands, and end")
    options = parser.parse_args()
    chosen = [one for one in MEASUREMENTS if options.only is None or one.name in options.only]
    session = Session(options.out, options.minutes, small=options.small, vllm_python=options.vllm_python)
    if options.list:
        for one in chosen:
            print(f"# {one.why}\npython benchmarks/{' '.join([Path(session.command(one)[1]).name, *session.command(one)[2:]])}")
        return
    session.run(chosen)
    print(f"\n{(options.out / 'session.md').read_text()}")
    if any(word.startswith(("failed", "out of time")) for word in session.became.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
