"""Which physics library suits the world, pymunk (Chipmunk) or MuJoCo? The measurement behind the choice in docs/world.md.

    pip install mujoco            # only for this script; without it pymunk alone is measured
    python benchmarks/physics_choice.py [--scenes 100] [--out FILE.json]

Both get the initial states of the same scenes and run the 128 frames on one core: pymunk as `videothinker.world.simulate` uses
it (seen from above, 100 steps a second), MuJoCo with free bodies on a plane by its own native roll-out loop, with as many steps
and pyramidal friction cones, and with twice as many and elliptic ones. Friction is set to the same deceleration in all; MuJoCo
has no elasticity, its bounce comes from contact stiffness and damping. An object is left out by making it a ghost. Measured are

- roll-outs per second of CPU time, building the model included;
- how far a cylinder slides that is pushed at 1 unit/s: 1 unit by Coulomb's law with 0.5 units/s^2;
- the share of their relative speed that two spheres keep in a head-on collision: 0.5625 is wanted (elasticity 0.75 each);
- the deepest overlap of two round objects in any scene, in units (an object is 0.4 wide);
- the largest change of any path when an object is left out that never came near the others: 0 is wanted, for a counterfactual
  must differ by the removed object alone.
"""

import argparse
import importlib
import importlib.util
import math
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import results
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from videothinker.records import SceneObject
from videothinker.world.simulate import DECELERATION, Start, draw_scene, roll_out
from videothinker.world.table import FPS, HALF_SIZE, N_FRAMES

GRAVITY = 9.81
Objects, Starts = tuple[SceneObject, ...], tuple[Start, ...]
RollOut = Callable[[Objects, Starts, int | None], NDArray[np.float64]]
"""(objects, starts, object left out) -> (T, n, 2): where all objects are, the one left out included or not a number."""


def with_pymunk(objects: Objects, starts: Starts, without: int | None) -> NDArray[np.float64]:
    """A `RollOut` by the world's own simulation."""
    rollout = roll_out(objects, starts, without=without)
    path = np.full((N_FRAMES, len(objects), 2), np.nan)
    path[:, [thing.object_id for thing in rollout.objects]] = rollout.location[..., :2]
    return path


def mujoco_roll_out(mujoco: Any, steps: int, contacts: str) -> RollOut:
    """A `RollOut` by MuJoCo.

    steps: simulated steps per frame. contacts: attributes of MuJoCo's option element.
    """
    native = importlib.import_module("mujoco.rollout")

    def run(objects: Objects, starts: Starts, without: int | None) -> NDArray[np.float64]:
        model = mujoco.MjModel.from_xml_string(_xml([thing.shape for thing in objects], without, steps, contacts))
        data = mujoco.MjData(model)
        for i, (x, y, yaw, vx, vy) in enumerate(starts):
            data.qpos[7 * i : 7 * i + 7] = x, y, HALF_SIZE, math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)
            spin = (-vy / HALF_SIZE, vx / HALF_SIZE) if objects[i].shape == "sphere" else (0, 0)  # it rolls
            data.qvel[6 * i : 6 * i + 6] = vx, vy, 0, *spin, 0
        kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
        state = np.zeros(mujoco.mj_stateSize(model, kind))
        mujoco.mj_getState(model, data, state, kind)
        states, _ = native.rollout(model, data, state[None], nstep=(N_FRAMES - 1) * steps)
        frames = np.vstack([state, states[0, steps - 1 :: steps]])
        path = frames[:, 1 : 1 + 7 * len(objects)].reshape(N_FRAMES, -1, 7)[..., :2].copy()  # after the time, before speeds
        if without is not None:
            path[:, without] = np.nan
        return path

    return run


def _xml(shapes: list[str], ghost: int | None, steps: int, contacts: str) -> str:
    kinds = {"cube": "box", "cylinder": "cylinder", "sphere": "sphere"}
    sizes = {"cube": f"{HALF_SIZE} {HALF_SIZE} {HALF_SIZE}", "cylinder": f"{HALF_SIZE} {HALF_SIZE}", "sphere": f"{HALF_SIZE}"}
    grip = f"{DECELERATION['cube'] / GRAVITY} 0.005 {DECELERATION['sphere'] / GRAVITY * HALF_SIZE}"
    bodies = "".join(
        f'<body pos="0 0 {HALF_SIZE}"><freejoint/><geom type="{kinds[shape]}" size="{sizes[shape]}" mass="1" '
        f'contype="{0 if i == ghost else 1}" conaffinity="{2 if i == ghost else 1}"/></body>'  # a ghost touches the plane alone
        for i, shape in enumerate(shapes)
    )
    return (
        f'<mujoco><option timestep="{1 / FPS / steps}" gravity="0 0 -{GRAVITY}" {contacts}/>'
        # Negative solref: stiffness and damping given directly; little damping makes contacts bounce.
        f'<default><geom solref="-4000 -8" condim="6" friction="{grip}"/></default><worldbody>'
        f'<geom type="plane" size="50 50 1" solref="0.02 1" priority="1" contype="3"/>{bodies}</worldbody></mujoco>'
    )


def measure(run: RollOut, n_scenes: int) -> dict[str, float]:
    """What the docstring of this script lists, for one library."""
    scenes = [draw_scene(Random(f"1:{index}:scene")) for index in range(n_scenes)]
    start = time.process_time()
    paths = [run(objects, starts, None) for objects, starts in scenes]
    seconds = time.process_time() - start

    def things(*shapes: str) -> Objects:
        return tuple(SceneObject(i, "red", "metal", shape) for i, shape in enumerate(shapes))

    stop = run(things("cylinder"), (Start(0, 0, 0, 1, 0),), None)[-1, 0, 0]
    path = run(things("sphere", "sphere"), (Start(-0.6, 0, 0, 2, 0), Start(0, 0, 0, 0, 0)), None)[:, :, 0]
    speed = np.diff(path, axis=0) * FPS
    hit = int(np.argmax(speed[:, 1] > 0.1)) + 2
    overlaps, changes = [0.0], [0.0]
    for (objects, starts), path in zip(scenes, paths, strict=True):
        apart = np.linalg.norm(path[:, :, None] - path[:, None], axis=-1)
        for a, b in combinations(range(len(objects)), 2):
            if "cube" not in (objects[a].shape, objects[b].shape):
                overlaps.append(2 * HALF_SIZE - float(apart[:, a, b].min()))
        lone = [i for i in range(len(objects)) if (np.delete(apart[:, i], i, axis=1) > 1).all()]
        for gone in lone:
            changes.append(float(np.nanmax(np.abs(run(objects, starts, gone) - path))))
    return {
        "roll-outs per second": n_scenes / seconds,
        "how far a cylinder slides, 1 wanted": float(stop),
        "speed kept in a collision, 0.5625 wanted": float((speed[hit, 1] - speed[hit, 0]) / speed[hit - 3, 0]),
        "deepest overlap": max(overlaps),
        "change by an object that touched nothing": max(changes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="pymunk against MuJoCo on the world's scenes")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    arguments = parser.parse_args()
    columns = {"pymunk": measure(with_pymunk, arguments.scenes)}
    if importlib.util.find_spec("mujoco"):
        mujoco = importlib.import_module("mujoco")
        for steps, contacts in ((4, 'cone="pyramidal"'), (8, 'cone="elliptic" impratio="10"')):
            name = f"MuJoCo, {steps * FPS} steps/s, {contacts}"
            columns[name] = measure(mujoco_roll_out(mujoco, steps, contacts), arguments.scenes)
    table = Table("", *columns, title=f"{arguments.scenes} scenes, one core")
    for name in columns["pymunk"]:
        table.add_row(name, *(f"{column[name]:.4g}" for column in columns.values()))
    Console().print(table)
    results.write(arguments.out, {"results": columns})


if __name__ == "__main__":
    main()
