"""How fast the world is made, and what its questions are like.

    python benchmarks/world.py                        # every section
    python benchmarks/world.py --only scenes          # one of them
    python benchmarks/world.py --only shares --scenes 8000 --seed 1 --out FILE.json
    python benchmarks/world.py --only frames --device cuda
    python benchmarks/world.py --sheet docs/img/world.png

Sections: `scenes` (scenes per second on one core with all roll-outs, questions and JSON, and where the time goes), `shares`
(how many counterfactual questions of each preset are observational under each rule, and how far blind answers get), `clips`
(480x320 clips per second on one core), `compression` (how decoded clips differ from what was drawn, at 480x320 and made
smaller), `frames` (small frames per second for training batches, drawn by numpy or on a device).
"""

import argparse
import io
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import results
import world_drawing
from rich.console import Console
from rich.progress import track
from rich.table import Table

from videothinker import store
from videothinker.records import Category, Rule
from videothinker.world.ask import PRESETS, ask, categories
from videothinker.world.make import annotation
from videothinker.world.simulate import N_UNSEEN_FRAMES, Simulation, draw_scene, roll_out, simulate
from videothinker.world.story import pairs
from videothinker.world.stream import StreamScene

console = Console()
Result = dict[str, Any]


def scenes(n_scenes: int, seed: int) -> Result:
    """Scenes per second on one core, and the share of each step."""
    preset = PRESETS["clevrer74"]
    seconds = Counter[str]()

    def timed(step: str, make: Callable[[], Any]) -> Any:
        start = time.process_time()
        value = make()
        seconds[step] += time.process_time() - start
        return value

    n_rollouts = n_bytes = 0
    for index in range(n_scenes):
        simulation = timed("simulate, all roll-outs", lambda: simulate(seed, index))  # noqa: B023 - called at once
        asked = timed("ask", lambda: ask(simulation, preset, Random(index)))  # noqa: B023
        scene = StreamScene(simulation, *asked)
        n_bytes += len(timed("encode annotation", lambda: annotation(scene)))  # noqa: B023
        timed("encode questions and traces", lambda: msgspec.json.encode([scene.questions, scene.traces]))  # noqa: B023
        n_rollouts += len(simulation.without) + (1 + N_UNSEEN_FRAMES / 128)
    total = seconds.total()
    table = Table("step", "ms per scene", "share", title=f"one core, {n_scenes} scenes, {n_scenes / total:.0f} scenes/s")
    for step, spent in seconds.items():
        table.add_row(step, f"{spent / n_scenes * 1e3:.2f}", f"{spent / total:.0%}")
    console.print(table)
    objects, starts = draw_scene(Random(f"{seed}:0:scene"))
    start = time.process_time()
    for _ in range(50):
        roll_out(objects, starts)
    console.print(
        f"{n_rollouts / n_scenes:.1f} roll-outs per scene; one of {len(objects)} objects takes "
        f"{(time.process_time() - start) / 50 * 1e3:.2f} ms; an annotation has {n_bytes / n_scenes / 1e3:.0f} kB"
    )
    return {"scenes_per_second": n_scenes / total, "ms_per_scene": {k: v / n_scenes * 1e3 for k, v in seconds.items()}}


def shares(n_scenes: int, seed: int) -> Result:
    """What the presets' questions are like."""
    tallies = {name: Tally(name) for name in PRESETS}
    n_collisions = n_matters = n_later = 0
    for index in track(range(n_scenes), "simulating", console=Console(stderr=True), transient=True):
        simulation = simulate(seed, index)
        for tally in tallies.values():
            tally.add(simulation, seed)
        seen = pairs(simulation.factual.collisions)
        n_collisions += len(seen)
        n_later += bool(simulation.unseen)
        n_matters += any(
            pairs(rollout.collisions) != {pair for pair in seen if gone not in pair}
            for gone, rollout in simulation.without.items()
        )
    columns = {name: tally.summary() for name, tally in tallies.items()}
    table = Table("", *PRESETS, title=f"counterfactual questions of scenes 0 to {n_scenes - 1}, seed {seed}")
    for row in next(iter(columns.values())):
        table.add_row(row, *(f"{column[row]:.3f}" for column in columns.values()))
    console.print(table)
    about_scenes = {
        "collisions per scene": n_collisions / n_scenes,
        "scenes where some removal changes what happens among the others": n_matters / n_scenes,
        "scenes with a new collision after the clip": n_later / n_scenes,
    }
    for name, value in about_scenes.items():
        console.print(f"{name}: {value:.3f}")
    return {"n_scenes": n_scenes, "seed": seed, **about_scenes, "presets": columns}


class Tally:
    """Counts over the counterfactual questions of one preset."""

    def __init__(self, preset: str) -> None:
        self.preset = preset
        self.n_scenes = 0
        self.observational, self.by_observer = Counter[Rule](), Counter[Rule]()
        self.answers: dict[tuple[bool, int], Counter[tuple[int, ...]]] = {}
        self.kinds = Counter[str]()

    def add(self, simulation: Simulation, seed: int) -> None:
        self.n_scenes += 1
        seen = pairs(simulation.factual.collisions)
        for question in ask(
            simulation, PRESETS[self.preset], Random(f"{seed}:{simulation.scene_index}:{self.preset}")
        ).counterfactuals:
            happens = pairs(simulation.without[question.removed_object].collisions)
            found = categories(question, seen, happens)
            is_easy = found[Rule.ORACLE] is Category.OBSERVATIONAL
            for rule, category in found.items():
                self.observational[rule] += category is Category.OBSERVATIONAL
                self.by_observer[rule] += category is Category.OBSERVATIONAL and is_easy
            gold = tuple(i for i, pair in enumerate(question.options) if (pair in happens) != question.negated)
            self.answers.setdefault((question.negated, len(question.options)), Counter())[gold] += 1
            for pair in question.options:
                self.kinds[WITH_REMOVED if question.removed_object in pair else KINDS[pair in seen, pair in happens]] += 1

    def summary(self) -> dict[str, float]:
        n = sum(counter.total() for counter in self.answers.values())
        all_answers = sum(self.answers.values(), Counter[tuple[int, ...]]())
        n_correct = Counter[int]()
        for gold, times in all_answers.items():
            n_correct[len(gold)] += times
        return {
            "questions per scene": n / self.n_scenes,
            **{f"observational, {rule}": self.observational[rule] / n for rule in Rule},
            **{
                f"observer's score on {rule}-observational": self.by_observer[rule] / max(self.observational[rule], 1)
                for rule in Rule
            },
            "best answer by wording and number of options": sum(max(c.values()) for c in self.answers.values()) / n,
            "constant answer A": all_answers[0,] / n,
            **{f"{k} correct options": n_correct[k] / n for k in range(5)},
            **{f"options: {kind}": self.kinds[kind] / self.kinds.total() for kind in (*KINDS.values(), WITH_REMOVED)},
        }


KINDS = {
    (True, True): "in both roll-outs",
    (True, False): "prevented",
    (False, True): "new",
    (False, False): "in neither",
}
"""Options by (in the factual, in the counterfactual roll-out)."""
WITH_REMOVED = "with the removed object"

SECTIONS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "scenes": lambda a: scenes(min(a.scenes, 300), a.seed),
    "shares": lambda a: shares(a.scenes, a.seed),
    "clips": lambda a: world_drawing.clips(min(a.scenes, 12), a.seed),
    "compression": lambda a: world_drawing.compression(min(a.scenes, 6), a.seed),
    "frames": lambda a: world_drawing.frames(a.device, a.scenes, a.seed),
}
"""How each section is measured. All but `shares` need few scenes: of a larger --scenes they take the first ones."""


def main() -> None:
    parser = argparse.ArgumentParser(description="speed of the generated world, shares of its questions, fidelity of its clips")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="a section; may be given several times")
    parser.add_argument("--scenes", type=int, default=1000, help="at most so many in each section")
    parser.add_argument("--seed", type=int, default=1, help="of the scenes")
    parser.add_argument("--device", help="torch device of the section `frames`, such as cuda; numpy when not given")
    parser.add_argument("--sheet", type=Path, help="only write a contact sheet to this PNG")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    arguments = parser.parse_args()
    if arguments.sheet:
        buffer = io.BytesIO()
        world_drawing.sheet(arguments.seed).save(buffer, "PNG", optimize=True)
        store.write_bytes(arguments.sheet, buffer.getvalue())
        return
    results.write(arguments.out, {name: SECTIONS[name](arguments) for name in arguments.only or SECTIONS})


if __name__ == "__main__":
    main()
