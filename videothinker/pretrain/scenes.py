"""Generated scenes as arrays: what is seen and what would be, and questions about it, tokenised once.

A scene is simulated, asked about and tokenised by `Source.read`, in a worker process; from then on lessons about it
(`lessons.py`) are arithmetic on these arrays.
"""

from collections.abc import Iterable
from functools import cache
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker import mcq
from videothinker.frames import clip_indices
from videothinker.world import camera
from videothinker.world.ask import ask, preset_named
from videothinker.world.simulate import N_OBJECTS, Simulation, simulate
from videothinker.world.stream import StreamScene
from videothinker.world.table import COLORS, MATERIALS, N_FRAMES, SHAPES

MOST_OBJECTS = max(N_OBJECTS)
MOST_EVENTS = MOST_OBJECTS * (MOST_OBJECTS - 1) // 2
"""A pair collides at most once."""
N_CLIP_FRAMES = 16
"""Frames of a clip that a model sees, evenly spread as `frames.clip_indices` does."""
N_POINTS = 8
"""Moments of a track: one a pair of frames, at the later one."""
GRID = (42, 28)
"""Columns and rows in which a track tells a place."""
MOST_PROMPT_TOKENS = 176

Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]


class Scenes(NamedTuple):
    """S scenes as arrays, with up to Q questions each. k = 0 is what is seen, k = 1 + i what happens without object i."""

    looks: Ints
    """(S, 6, 3): index in COLORS, MATERIALS and SHAPES; 0 where there is no object."""
    n_objects: Ints
    """(S,)."""
    location: NDArray[np.float32]
    """(S, 16, 6, 2): x and y on the table."""
    yaw: NDArray[np.float32]
    """(S, 16, 6): radians."""
    tracks: Ints
    """(S, 7, 6, 8, 2): column and row of `GRID`; -1 out of view or absent."""
    events: Ints
    """(S, 7, 15, 3): frame and the two objects of each collision; frame -1 where there is no more."""
    prompts: Ints
    """(S, Q, `MOST_PROMPT_TOKENS`): tokens after the clip up to the reply."""
    lengths: Ints
    """(S, Q): how many these are; 0: there is no such question."""
    removed: Ints
    """(S, Q): object taken away."""
    gold: Bools
    """(S, Q, 4): is the option correct?"""
    observer: Bools
    """(S, Q, 4): does the observer think so?"""

    def take(self, rows: Any) -> "Scenes":
        """Some scenes."""
        return Scenes(*(field[rows] for field in self))


class Wording(NamedTuple):
    """How the checkpoint's chat template and tokenizer put a prompt; plain data, for worker processes."""

    tokenizer: Path
    """tokenizer.json."""
    before: str
    """Text between the clip and the prompt."""
    after: str
    """Text between the prompt and the reply."""


class Source(NamedTuple):
    """Where scenes come from; plain data, for worker processes."""

    wording: Wording
    seed: int
    preset: str
    n_questions: int
    """Questions asked about a scene."""

    def read(self, indices: Iterable[int]) -> Scenes:
        """These scenes. A scene is a function of its index alone, whatever the number of processes."""
        scenes = [_scene(simulate(self.seed, i), self) for i in indices]
        return Scenes(*(np.stack(fields) for fields in zip(*scenes, strict=True)))


def _scene(simulation: Simulation, source: Source) -> Scenes:
    """One scene, without the first axis."""
    wording, preset, n_questions = source.wording, source.preset, source.n_questions
    seed = f"{source.seed}:{simulation.scene_index}:{preset}"
    n = len(simulation.objects)
    rollouts = {0: simulation.factual} | {1 + i: rollout for i, rollout in simulation.without.items()}
    shown = list(clip_indices(N_FRAMES, N_CLIP_FRAMES))
    looks = np.zeros((MOST_OBJECTS, 3), np.int8)
    looks[:n] = [(COLORS.index(o.color), MATERIALS.index(o.material), SHAPES.index(o.shape)) for o in simulation.objects]
    location = np.zeros((N_CLIP_FRAMES, MOST_OBJECTS, 2), np.float32)
    location[:, :n] = simulation.factual.location[shown, :, :2]
    yaw = np.zeros((N_CLIP_FRAMES, MOST_OBJECTS), np.float32)
    yaw[:, :n] = simulation.factual.orientation[shown]
    tracks = np.full((1 + MOST_OBJECTS, MOST_OBJECTS, N_POINTS, 2), -1, np.int8)
    events = np.full((1 + MOST_OBJECTS, MOST_EVENTS, 3), -1, np.int16)
    for k, rollout in rollouts.items():
        present = [thing.object_id for thing in rollout.objects]
        tracks[k, present] = _places(rollout.location[shown[1::2]]).swapaxes(0, 1)
        for row, collision in enumerate(rollout.collisions):
            events[k, row] = collision.frame, *collision.object_ids
    prompts = np.zeros((n_questions, MOST_PROMPT_TOKENS), np.uint16)
    lengths, removed = np.zeros((2, n_questions), np.uint8)
    gold, observer = np.zeros((2, n_questions, 4), np.bool_)
    tokenizer = _tokenizer(wording.tokenizer)
    row = 0
    for draw in count():  # the first are those of `world.stream.make_scene`
        asked = StreamScene(simulation, *ask(simulation, preset_named(preset), Random(f"{seed}:{draw}" if draw else seed)))
        for trace, meaning in zip(asked.traces, asked.counterfactuals, strict=True):
            question = asked.questions[meaning.question_id]
            assert question.choices is not None
            prompt = mcq.render_prompt(question.question, [c.choice for c in question.choices], mcq.Prompt.COT)
            ids = tokenizer.encode(wording.before + prompt + wording.after, add_special_tokens=False).ids
            prompts[row, : len(ids)], lengths[row], removed[row] = ids, len(ids), trace.removed_object
            gold[row], observer[row] = _marks(trace.gold), _marks(trace.observer)
            row += 1
            if row == n_questions:
                break
        if row == n_questions or draw == n_questions:  # some scenes have one object to ask about, and presets that ask nothing
            break
    return Scenes(looks, np.array(n, np.int8), location, yaw, tracks, events, prompts, lengths, removed, gold, observer)


def _places(location: NDArray[np.float32]) -> Ints:
    """(..., 3) centres as (..., 2) columns and rows of `GRID`, -1 where out of view."""
    pixel = camera.project(location)[..., :2] / (camera.WIDTH, camera.HEIGHT) * GRID
    return np.where(camera.in_view(location)[..., None], pixel, -1).astype(np.int8)


def _marks(letters: Iterable[str]) -> list[bool]:
    return [letter in letters for letter in mcq.LETTERS[:4]]


@cache
def _tokenizer(file: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))
