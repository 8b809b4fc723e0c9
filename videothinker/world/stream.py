"""Fresh scenes in memory, with questions and both traces of each counterfactual question: for pretraining, and for `make`.

    from videothinker.world.stream import stream
    for scene in stream(seed=1, preset="balanced", workers=2):
        for trace in scene.traces: ...

A *trace* is what one thinks before answering: the observer's lists what happens in the clip (`obs`), the reasoner's what would
happen without the object (`cf`). Both are plain words, e.g.

    red metal cube hits blue rubber cylinder then gray metal sphere hits red metal cube

so that a tiny model can learn them. A scene is a function of (seed, scene index, preset), whatever the number of processes.
Physics depends neither on colour nor on handedness, so `recolour` and `mirror` make new scenes at no cost.
"""

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from random import Random

import msgspec
import numpy as np

from videothinker.observers import log
from videothinker.pool import map_in_order
from videothinker.records import Collision, SceneObject
from videothinker.world.ask import DEFAULT_PRESET, Counterfactual, WorldQuestion, ask, case_of, preset_named
from videothinker.world.simulate import Rollout, Simulation, simulate
from videothinker.world.story import Pair, pairs
from videothinker.world.table import COLORS, MATERIALS, SHAPES

NOTHING = "nothing"
"""The trace of a clip without collisions."""


class OptionTruth(msgspec.Struct, frozen=True):
    """The collision that one option names, and in which roll-outs it happens."""

    object_ids: Pair
    in_factual: bool
    in_counterfactual: bool


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The truth behind one counterfactual question and both ways to think about it: one line of traces.jsonl."""

    question_id: str
    """"SCENE:QID", as in curated data."""
    scene_index: int
    removed_object: int
    negated: bool
    options: tuple[OptionTruth, ...]
    gold: tuple[str, ...]
    """Letters of the correct options."""
    observer: tuple[str, ...]
    """Letters that the observer answers, who only saw the clip."""
    factual: tuple[Collision, ...]
    counterfactual: tuple[Collision, ...]
    obs: str
    """`trace_text` of the factual collisions."""
    cf: str
    """`trace_text` of the counterfactual collisions."""


@dataclass(frozen=True)
class StreamScene:
    """A scene with its questions."""

    simulation: Simulation
    questions: tuple[WorldQuestion, ...]
    """Questions of all types, in the release's fields."""
    counterfactuals: tuple[Counterfactual, ...]
    """What the counterfactual questions among them mean, in the same order."""

    @property
    def scene_index(self) -> int:
        return self.simulation.scene_index

    @property
    def traces(self) -> tuple[Trace, ...]:
        """One trace per counterfactual question, in order."""
        return tuple(_trace(self.simulation, question) for question in self.counterfactuals)


def make_scene(scene_index: int, *, seed: int, preset: str) -> StreamScene:
    """One scene with its questions. The scene itself is the same under every preset."""
    simulation = simulate(seed, scene_index)
    questions, counterfactuals = ask(simulation, preset_named(preset), Random(f"{seed}:{scene_index}:{preset}"))
    return StreamScene(simulation, questions, counterfactuals)


def stream(
    seed: int, preset: str = DEFAULT_PRESET, *, first_scene: int = 0, n_scenes: int | None = None, workers: int = 1
) -> Generator[StreamScene, None, None]:
    """Scenes first_scene, first_scene + 1, ... in order; without end if `n_scenes` is None.

    With more than one worker the scenes come from processes that work ahead; close the generator to end them.

    Raises:
        VtError: there is no such preset.
    """
    preset_named(preset)
    indices: Iterable[int] = count(first_scene) if n_scenes is None else range(first_scene, first_scene + n_scenes)
    yield from map_in_order(partial(make_scene, seed=seed, preset=preset), indices, workers)


def trace_text(collisions: Sequence[Collision], objects: Iterable[SceneObject]) -> str:
    """The collisions in words, by frame: "red metal cube hits blue rubber cylinder then ..."; `NOTHING` if there are none.

    Each object has its full description. Of the two, the one that is earlier in the table's order of colours, materials and
    shapes comes first, so that the text follows from what can be seen, which object_ids cannot.
    """
    things = {thing.object_id: thing for thing in objects}
    events = []
    for collision in collisions:
        first, second = sorted((things[i] for i in collision.object_ids), key=_place)
        events.append((collision.frame, _place(first), _place(second), f"{_look(first)} hits {_look(second)}"))
    return " then ".join(event[-1] for event in sorted(events)) or NOTHING


def _place(thing: SceneObject) -> tuple[int, int, int]:
    return COLORS.index(thing.color), MATERIALS.index(thing.material), SHAPES.index(thing.shape)


def _look(thing: SceneObject) -> str:
    return f"{thing.color} {thing.material} {thing.shape}"


def _trace(simulation: Simulation, question: Counterfactual) -> Trace:
    factual = simulation.factual.collisions
    counterfactual = simulation.without[question.removed_object].collisions
    seen, happens = pairs(factual), pairs(counterfactual)
    case = case_of(question, seen, happens)
    return Trace(
        question_id=f"{simulation.scene_index}:{question.question_id}",
        scene_index=simulation.scene_index,
        removed_object=question.removed_object,
        negated=question.negated,
        options=tuple(OptionTruth(pair, pair in seen, pair in happens) for pair in question.options),
        gold=case.gold,
        observer=log.answer(case),
        factual=factual,
        counterfactual=counterfactual,
        obs=trace_text(factual, simulation.objects),
        cf=trace_text(counterfactual, simulation.objects),
    )


_COLOR = re.compile(rf"\b({'|'.join(COLORS)})\b")


def recolour(scene: StreamScene, rng: Random) -> StreamScene:
    """The same scene with the colours permuted at random, in pictures, questions, programs, answers and traces alike.

    A permutation keeps which objects share a colour, so every name still fits one object and is still a shortest one.
    """
    new = dict(zip(COLORS, rng.sample(COLORS, len(COLORS)), strict=True))
    objects = tuple(SceneObject(o.object_id, new[o.color], o.material, o.shape) for o in scene.simulation.objects)
    simulation = replace(
        scene.simulation,
        factual=replace(scene.simulation.factual, objects=objects),
        without={
            gone: replace(rollout, objects=tuple(o for o in objects if o.object_id != gone))
            for gone, rollout in scene.simulation.without.items()
        },
    )
    return replace(scene, simulation=simulation, questions=tuple(_renamed(question, new) for question in scene.questions))


def _renamed(question: WorldQuestion, new: Mapping[str, str]) -> WorldQuestion:
    """The question with every colour word replaced."""
    # Colours stand in texts, programs and answers; one pass over the JSON reaches them all and replaces each word once.
    text = msgspec.json.encode(question).decode()
    return msgspec.json.decode(_COLOR.sub(lambda match: new[match[0]], text), type=WorldQuestion)


def mirror(scene: StreamScene) -> StreamScene:
    """The scene as seen in a mirror, with left and right exchanged. The words stay the same, because none speaks of sides."""
    simulation = scene.simulation
    without = {gone: _mirrored(rollout) for gone, rollout in simulation.without.items()}
    return replace(scene, simulation=replace(simulation, factual=_mirrored(simulation.factual), without=without))


def _mirrored(rollout: Rollout) -> Rollout:
    # y points to the right on the screen, so y changes its sign, and so does every turn in the plane.
    across = np.array([1, -1, 1], np.float32)
    return replace(
        rollout,
        location=rollout.location * across,
        orientation=-rollout.orientation,
        velocity=rollout.velocity * across,
        angular_velocity=-rollout.angular_velocity,
    )
