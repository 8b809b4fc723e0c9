"""How fast and how lean is `vt curate clevrer`?

    python benchmarks/curate.py [--scenes 10000] [--workers 2] [--rounds 2] [--out FILE.json]

Makes annotations of 230 kB and their questions in the release's format in a temporary folder, then measures, on warm files,

- decoding one annotation on one core: ours (read, check, build the scene) against a `json.load` loop and against a plain read;
- the whole command as a user runs it, report page included: wall time and the summed memory of its processes.

Absolute figures hold for the machine and the moment; what is claimed elsewhere is only the ratios within one run. The clips are
left out: curation looks up their names, and the report's film strips do not depend on the number of scenes.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import results
from rich.console import Console
from rich.progress import track
from rich.table import Table

from videothinker.curate.datasets.clevrer.annotations import decode_annotation
from videothinker.curate.datasets.clevrer.program import Description
from videothinker.records import Scene

COLORS = ["gray", "brown", "green", "red", "blue", "purple", "yellow", "cyan"]
MATERIALS = ("metal", "rubber")
SHAPES = ("cube", "cylinder", "sphere")
N_OBJECTS = 5
N_TRAJECTORIES = 16  # several scenes share one: reading skips hardly less than all of it, so that it need not differ

Thing = dict[str, Any]


def trajectory(rng: random.Random) -> str:
    """128 frames with full-precision numbers, as JSON: 225 kB."""

    def vector() -> list[float]:
        return [rng.gauss(0, 2) for _ in range(3)]

    def state(object_id: int) -> Thing:
        return {
            "object_id": object_id,
            "location": vector(),
            "orientation": vector(),
            "velocity": vector(),
            "angular_velocity": vector(),
            "inside_camera_view": rng.random() < 0.9,
        }

    return json.dumps([{"frame_id": frame, "objects": [state(i) for i in range(N_OBJECTS)]} for frame in range(128)])


def describe(thing: Thing) -> Description:
    return Description(thing["color"], thing["material"], thing["shape"])


def reference(thing: Thing) -> list[str]:
    """The tokens of a program that single the object out."""
    color, material, shape = thing["color"], thing["material"], thing["shape"]
    return ["objects", color, "filter_color", material, "filter_material", shape, "filter_shape", "unique"]


def collision(a: Thing, b: Thing) -> tuple[str, list[str]]:
    """Text and program of an option."""
    program = ["all_events", *reference(a), "filter_collision", *reference(b), "filter_collision", "unique"]
    return f"The {describe(a)} collides with the {describe(b)}", program


def counterfactual(qid: int, things: Sequence[Thing], rng: random.Random) -> Thing:
    """A question about what happens without one of the objects, its answers drawn at random."""
    removed, *others = rng.sample(things, N_OBJECTS)
    negate = rng.random() < 0.5
    pairs = [(a, b) for position, a in enumerate(others) for b in others[position + 1 :]]
    choices = []
    for choice_id, pair in enumerate(rng.sample(pairs, rng.choice([2, 3, 3, 4]))):
        text, program = collision(*pair)
        choices.append({"choice_id": choice_id, "choice": text, "program": program, "answer": rng.choice(["correct", "wrong"])})
    return {
        "question_id": qid,
        "question": f"Without the {describe(removed)}, what will {'not ' if negate else ''}happen?",
        "question_type": "counterfactual",
        "program": ["all_events", *reference(removed), "filter_counterfact", "belong_to", *(["negate"] if negate else [])],
        "choices": choices,
    }


def descriptive(qid: int, things: Sequence[Thing], rng: random.Random) -> Thing:
    """A question about what is seen, which curation leaves out."""
    thing = rng.choice(things)
    return {
        "question_id": qid,
        "question": f"How many {thing['color']} {thing['shape']}s are moving when the {describe(thing)} enters the scene?",
        "question_type": "descriptive",
        "program": ["objects", "events", *reference(thing), "filter_in", "unique", "query_frame", "filter_moving", "count"],
        "answer": str(rng.randrange(4)),
    }


def make_release(folder: Path, n_scenes: int) -> None:
    """Write `n_scenes` annotations in the nested layout, and train.json with about 11 questions per scene, 1.85 of them
    counterfactual."""
    rng = random.Random(0)
    trajectories = [trajectory(rng) for _ in range(N_TRAJECTORIES)]
    asked = []
    for index in track(range(n_scenes), "making files", console=Console(stderr=True), transient=True):
        looks = rng.sample([(c, m, s) for c in COLORS for m in MATERIALS for s in SHAPES], N_OBJECTS)
        things = [{"object_id": i, "color": c, "material": m, "shape": s} for i, (c, m, s) in enumerate(looks)]
        log = [
            {"frame_id": frame, "object_ids": rng.sample(range(N_OBJECTS), 2), "location": [0.5, -1.25, 0.2]}
            for frame in sorted(rng.sample(range(128), 4))
        ]
        head = json.dumps({"scene_index": index, "video_filename": f"video_{index:05d}.mp4", "object_property": things})
        text = f'{head[:-1]}, "motion_trajectory": {trajectories[index % N_TRAJECTORIES]}, "collision": {json.dumps(log)}}}'
        start = index // 1000 * 1000
        path = folder / f"annotation_train/annotation_{start:05d}-{start + 1000:05d}/annotation_{index:05d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        n = rng.choices([1, 2, 3], [0.3, 0.55, 0.15])[0]
        questions = [descriptive(qid, things, rng) for qid in range(9)]
        questions += [counterfactual(9 + i, things, rng) for i in range(n)]
        asked.append({"scene_index": index, "video_filename": f"video_{index:05d}.mp4", "questions": questions})
    (folder / "train.json").write_text(json.dumps(asked))


def seconds_per_file(read: Callable[[Path], object], paths: Sequence[Path], rounds: int = 5) -> float:
    """CPU time per file, the best mean of a few rounds over all files. The files are warm, so that nothing waits for a disk."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        for path in paths:
            read(path)
        times.append((time.process_time() - start) / len(paths))
    return min(times)


def load_json(path: Path) -> None:
    with path.open() as file:
        json.load(file)


def read_scene(path: Path) -> None:
    assert isinstance(decode_annotation(path.read_bytes(), path.name), Scene)


def measure_decoding(folder: Path) -> dict[str, float]:
    """Our reading of the first 100 annotations, beside a `json.load` loop and a plain read."""
    paths = sorted((folder / "annotation_train").rglob("*.json"))[:100]
    kilobytes = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    plain = seconds_per_file(Path.read_bytes, paths)
    ours = seconds_per_file(read_scene, paths)
    theirs = seconds_per_file(load_json, paths)
    return {
        "kilobytes": kilobytes,
        "plain_read_ms": plain * 1000,
        "ours_ms": ours * 1000,
        "json_load_ms": theirs * 1000,
        "times_faster_than_json_load": theirs / ours,
        "times_slower_than_plain_read": ours / plain,
    }


def tree_megabytes(pid: int) -> float:
    """Memory of a process and its descendants, with shared pages counted once (Linux's PSS)."""
    total = 0.0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) / 1000
        children = [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return total
    return total + sum(tree_megabytes(int(child)) for child in children)


def measure_command(folder: Path, out: Path, workers: int) -> dict[str, float]:
    """Run `vt curate clevrer` once, with the files just read."""
    paths = sorted((folder / "annotation_train").rglob("*.json"))
    start = time.perf_counter()
    n_bytes = sum(len(path.read_bytes()) for path in paths)
    plain = time.perf_counter() - start
    command = [
        "curate",
        "clevrer",
        "--annotations",
        str(folder / "annotation_train"),
        "--questions",
        str(folder / "train.json"),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "videothinker", *command, "--out", str(out), "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    before = os.times()
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, tree_megabytes(process.pid))
        time.sleep(0.1)
    seconds = time.perf_counter() - start
    assert process.returncode == 0, "the command failed; run it by hand to see why"
    after = os.times()
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["questions"]["n_unresolved"] == 0
    return {
        "n_annotations": len(paths),
        "n_questions": manifest["questions"]["n_read"],
        "gigabytes": n_bytes / 1e9,
        "plain_read_s": plain,
        "seconds": seconds,
        "cpu_seconds": after.children_user + after.children_system - before.children_user - before.children_system,
        "peak_megabytes": peak,
        "times_plain_read": seconds / plain,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=10_000, help="annotations to make")
    parser.add_argument("--workers", type=int, default=2, help="processes of the command")
    parser.add_argument("--rounds", type=int, default=2, help="runs of the command; the fastest is shown")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_release(folder, options.scenes)
        decoding = measure_decoding(folder)
        runs = [measure_command(folder, folder / f"curated{number}", options.workers) for number in range(options.rounds)]
        command = min(runs, key=lambda run: run["seconds"])

    table = Table(title=f"one annotation of {decoding['kilobytes']:.0f} kB, warm, one core", title_justify="left")
    for heading in ("", "ms", "against ours"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, key in (("json.load", "json_load_ms"), ("read and decode (ours)", "ours_ms"), ("plain read", "plain_read_ms")):
        table.add_row(name, f"{decoding[key]:.3f}", f"{decoding[key] / decoding['ours_ms']:.2f} x")
    console = Console()
    console.print(table)
    console.print(
        f"vt curate clevrer --workers {options.workers}: {command['n_annotations']:,} annotations, "
        f"{command['gigabytes']:.2f} GB, and {command['n_questions']:,} questions in {command['seconds']:.1f} s "
        f"({command['cpu_seconds']:.1f} s of CPU), "
        f"{command['peak_megabytes']:.0f} MB at most; a plain read of the files takes one core {command['plain_read_s']:.1f} s",
        soft_wrap=True,
    )
    results.write(options.out, {"decoding": decoding, "command": command, "rounds": runs, "workers": options.workers})


if __name__ == "__main__":
    main()
