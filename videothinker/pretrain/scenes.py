"""Generated scenes as arrays: what is seen, what would happen without each object, and questions about it.

`Source.read` simulates a scene, asks about it and tokenises its questions, in a worker process. From then on lessons about it
(`lessons.py`) are arithmetic on these arrays.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker import answers
from videothinker.frames import clip_indices
from videothinker.twin import twin
from videothinker.world import camera
from videothinker.world.ask import ask, preset_named
from videothinker.world.simulate import N_OBJECTS, Simulation, simulate
from videothinker.world.stream import StreamScene, Trace
from videothinker.world.table import COLORS, MATERIALS, N_FRAMES, SHAPES

MOST_OBJECTS = max(N_OBJECTS)
MOST_EVENTS = MOST_OBJECTS * (MOST_OBJECTS - 1) // 2
"""Most collisions of a scene, since a pair collides at most once."""
N_CLIP_FRAMES = 16
"""Frames of a clip that a model sees, evenly spread as by `frames.clip_indices`."""
N_POINTS = 8
"""Moments of a track: one per pair of frames, at the later one."""
GRID = (42, 28)
"""Columns and rows in which a track tells a place."""
MOST_PROMPT_TOKENS = 176
MOST_FORM_TOKENS = 352
"""As `MOST_PROMPT_TOKENS`, for the forms below: the prompt of `Style.TWICE` is the longest, by about 160 tokens."""
TWIN, TWICE, DIRECT = range(3)
"""Forms in which a question may be asked beside its usual one, as they lie along an axis of `Scenes.form_prompts`: its factual
twin (`videothinker.twin`), and the question itself in the styles "twice" and "direct"."""
N_FORMS = 3

Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]


class Scenes(NamedTuple):
    """S scenes as arrays, with up to Q questions each.

    Some arrays have an axis of 7 worlds: world 0 is what is seen, world 1 + i is what happens without object i.
    """

    looks: Ints
    """(S, 6, 3): each object's index in COLORS, MATERIALS and SHAPES; 0 where there is no object."""
    n_objects: Ints
    """(S,)."""
    location: NDArray[np.float32]
    """(S, 16, 6, 2): x and y on the table in each frame that is shown, in CLEVRER's units."""
    yaw: NDArray[np.float32]
    """(S, 16, 6): radians."""
    tracks: Ints
    """(S, 7, 6, 8, 2): column and row of `GRID`, by world, object and moment; -1 where it is out of view or absent."""
    events: Ints
    """(S, 7, 15, 3): frame and the two objects of each collision, by world; -1 where there are no more."""
    prompts: Ints
    """(S, Q, `MOST_PROMPT_TOKENS`): the tokens from the clip to the reply."""
    lengths: Ints
    """(S, Q): how many tokens these are; 0 where there is no such question."""
    removed: Ints
    """(S, Q): the object that the question takes away."""
    gold: Bools
    """(S, Q, 4): whether the option is correct."""
    observer: Bools
    """(S, Q, 4): whether the observer picks the option."""
    shown: Bools
    """(S, Q, 4): whether the option is correct of the clip as it is, which the factual twin asks. The observer differs where an
    option names the removed object: taken away it collides with nothing, and in the clip it may."""
    form_prompts: Ints
    """(S, Q, `N_FORMS`, `MOST_FORM_TOKENS`): as `prompts`, in each form; with 0 forms where the source asks in none."""
    form_lengths: Ints
    """(S, Q, `N_FORMS`): as `lengths`."""

    def take(self, chosen: Any) -> "Scenes":
        """The chosen scenes: an index, a mask or a slice."""
        return Scenes(*(field[chosen] for field in self))


class Wording(NamedTuple):
    """What a checkpoint's chat template puts around a prompt. It is plain data, so that it can be sent to worker processes."""

    tokenizer: Path
    """The checkpoint's tokenizer.json."""
    before: str
    """Text between the clip and the prompt."""
    after: str
    """Text between the prompt and the reply."""


class Source(NamedTuple):
    """Where scenes come from. It is plain data, so that it can be sent to worker processes."""

    wording: Wording
    seed: int
    preset: str
    n_questions: int
    """Questions asked about a scene."""
    in_forms: bool = False
    """Whether each question is also put into words in the forms `TWIN`, `TWICE` and `DIRECT`."""

    def read(self, indices: Iterable[int]) -> Scenes:
        """The scenes with these indices. A scene depends on its index alone, however many processes there are."""
        scenes = [_scene(simulate(self.seed, i), self) for i in indices]
        return Scenes(*(np.stack(fields) for fields in zip(*scenes, strict=True)))


def concatenate(parts: Sequence[Scenes]) -> Scenes:
    """All scenes of several parts, in order."""
    return Scenes(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def _scene(simulation: Simulation, source: Source) -> Scenes:
    """One scene: `Scenes` without their first axis."""
    n = len(simulation.objects)
    shown = list(clip_indices(N_FRAMES, N_CLIP_FRAMES))
    looks = np.zeros((MOST_OBJECTS, 3), np.int8)
    looks[:n] = [(COLORS.index(o.color), MATERIALS.index(o.material), SHAPES.index(o.shape)) for o in simulation.objects]
    location = np.zeros((N_CLIP_FRAMES, MOST_OBJECTS, 2), np.float32)
    location[:, :n] = simulation.factual.location[shown, :, :2]
    yaw = np.zeros((N_CLIP_FRAMES, MOST_OBJECTS), np.float32)
    yaw[:, :n] = simulation.factual.orientation[shown]
    tracks, events = _worlds(simulation, shown)
    return Scenes(looks, np.array(n, np.int8), location, yaw, tracks, events, *_questions(simulation, source))


def _worlds(simulation: Simulation, shown: list[int]) -> tuple[Ints, Ints]:
    """`Scenes.tracks` and `Scenes.events` of one scene, of which the frames `shown` are seen."""
    tracks = np.full((1 + MOST_OBJECTS, MOST_OBJECTS, N_POINTS, 2), -1, np.int8)
    events = np.full((1 + MOST_OBJECTS, MOST_EVENTS, 3), -1, np.int16)
    rollouts = {0: simulation.factual} | {1 + i: rollout for i, rollout in simulation.without.items()}
    for world, rollout in rollouts.items():
        present = [thing.object_id for thing in rollout.objects]
        # A roll-out has time before objects; tracks have objects first. Every other frame is the later one of a pair.
        tracks[world, present] = _places(rollout.location[shown[1::2]]).swapaxes(0, 1)
        for row, collision in enumerate(rollout.collisions):
            events[world, row] = collision.frame, *collision.object_ids
    return tracks, events


def _places(location: NDArray[np.float32]) -> Ints:
    """(..., 3) centres as (..., 2) columns and rows of `GRID`, -1 where they are out of view."""
    # From pixels to shares of the picture to cells; the conversion to int8 rounds down, since nothing in view is negative.
    cell = camera.project(location)[..., :2] / (camera.WIDTH, camera.HEIGHT) * GRID
    return np.where(camera.in_view(location)[..., None], cell, -1).astype(np.int8)


def _questions(simulation: Simulation, source: Source) -> tuple[Ints, Ints, Ints, Bools, Bools, Bools, Ints, Ints]:
    """All fields of `Scenes` from `prompts` on, of one scene.

    The scene is asked about again and again, with other random numbers, until there are enough questions. Some scenes have only
    one object to ask about, and a preset may ask nothing at all, so there is a limit.
    """
    n_questions, n_forms = source.n_questions, N_FORMS if source.in_forms else 0
    prompts, lengths = np.zeros((n_questions, MOST_PROMPT_TOKENS), np.uint16), np.zeros(n_questions, np.uint8)
    removed = np.zeros(n_questions, np.uint8)
    gold, observer, shown = np.zeros((3, n_questions, 4), np.bool_)
    form_prompts = np.zeros((n_questions, n_forms, MOST_FORM_TOKENS), np.uint16)
    form_lengths = np.zeros((n_questions, n_forms), np.uint16)
    found = (one for turn in range(n_questions + 1) for one in _asked(simulation, source, turn))
    for row, (trace, text, options) in enumerate(islice(found, n_questions)):
        ids = _tokens(source.wording, answers.render_prompt(text, options, answers.Style.COT))
        prompts[row, : len(ids)], lengths[row], removed[row] = ids, len(ids), trace.removed_object
        gold[row], observer[row] = marks(trace.gold), marks(trace.observer)
        shown[row, : len(trace.options)] = [option.in_factual != trace.negated for option in trace.options]
        for form in range(n_forms):
            ids = _tokens(source.wording, _in_form(form, text, options))
            form_prompts[row, form, : len(ids)], form_lengths[row, form] = ids, len(ids)
    return prompts, lengths, removed, gold, observer, shown, form_prompts, form_lengths


def _asked(simulation: Simulation, source: Source, turn: int) -> Iterator[tuple[Trace, str, list[str]]]:
    """The counterfactual questions of one turn: the truth behind each, its text and its options. Turn 0 is as in
    `stream.make_scene`."""
    seed = f"{source.seed}:{simulation.scene_index}:{source.preset}"
    rng = Random(f"{seed}:{turn}" if turn else seed)
    scene = StreamScene(simulation, *ask(simulation, preset_named(source.preset), rng))
    for trace, meaning in zip(scene.traces, scene.counterfactuals, strict=True):
        question = scene.questions[meaning.question_id]
        assert question.choices is not None
        yield trace, question.question, [choice.choice for choice in question.choices]


def _in_form(form: int, text: str, options: list[str]) -> str:
    """The prompt of a question in one of the forms."""
    if form != TWIN:
        return answers.render_prompt(text, options, answers.Style.TWICE if form == TWICE else answers.Style.DIRECT)
    factual = twin(text, options)
    assert factual.text is not None, f"{text!r} has no twin: {factual.why_not}"  # every template of the world has one
    return answers.render_prompt(factual.text, options, answers.Style.COT)


def _tokens(wording: Wording, prompt: str) -> list[int]:
    """The tokens from the clip to the reply."""
    text = wording.before + prompt + wording.after
    found: list[int] = _tokenizer(wording.tokenizer).encode(text, add_special_tokens=False).ids
    return found


def marks(letters: Iterable[str]) -> list[bool]:
    """Which of the four options the letters pick."""
    return [letter in letters for letter in answers.LETTERS[:4]]


@cache
def _tokenizer(file: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))
