"""What is taught about each scene, and the endless stream of it that worker processes make. This module loads without torch."""

from collections.abc import Generator, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from videothinker.pool import map_in_order
from videothinker.pretrain import forms
from videothinker.pretrain.lessons import Lessons, lists, questions, tracks
from videothinker.pretrain.packing import PackedLessons, pack
from videothinker.pretrain.scenes import Ints, Source
from videothinker.pretrain.variants import DrawnClips, Variants, at_random
from videothinker.pretrain.vocabulary import WordIds

CHUNK = 16
"""Scenes per job of a worker process: few enough to start soon, enough that handing them over costs little."""


class Course(NamedTuple):
    """What is taught about each scene. It is plain data, so that it can be sent to worker processes."""

    variants_per_scene: int
    sequences_per_clip: int
    n_questions: int
    """Questions per sequence at most."""
    n_tracks: int
    """Tracks per sequence. With any, there is a list, too."""
    without_share: float
    """How often a track is of a world without another object."""
    counterfactual_share: float
    """How often a thought is about what would happen."""
    length: int
    """Tokens per sequence."""
    beginning: Ints
    """(n,) tokens up to the clip's last."""
    pad: int
    """The token that fills what is behind the last lesson."""
    in_forms: forms.FormCourse | None = None
    """Lessons in further forms, behind all others; None for none."""


class Material(NamedTuple):
    """C drawn clips, and sequences of lessons about each of them."""

    clips: DrawnClips
    packed: PackedLessons
    """With arrays of (C, `Course.sequences_per_clip`, L)."""

    def take(self, chosen: Any) -> "Material":
        """The chosen clips and their sequences."""
        return Material(self.clips.take(chosen), self.packed.take(chosen))

    def put(self, places: Any, other: "Material") -> None:
        """Replace the clips at some places by those of `other`, in place."""
        for mine, new in ((self.clips, other.clips), (self.packed, other.packed)):
            for field, values in zip(tuple(mine), tuple(new), strict=True):
                field[places] = values


def join(parts: Sequence[Material]) -> Material:
    """Concatenate along the axis of clips."""
    clips = (np.concatenate(fields) for fields in zip(*(part.clips for part in parts), strict=True))
    packed = (np.concatenate(fields) for fields in zip(*(part.packed for part in parts), strict=True))
    return Material(DrawnClips(*clips), PackedLessons(*packed))


def material(
    source: Source, course: Course, words: WordIds, *, first_scene: int, workers: int, rank: int = 0, size: int = 1
) -> Generator[Material, None, None]:
    """Lessons about the scenes first_scene, first_scene + 1, ..., `CHUNK` scenes at a time, without end.

    rank, size: this is process `rank` of `size` that train together; each of them takes every `size`-th chunk.

    Close the generator to end the worker processes.
    """
    chunks = (range(start, start + CHUNK) for start in count(first_scene + CHUNK * rank, CHUNK * size))
    yield from map_in_order(partial(_teach, source=source, course=course, words=words), chunks, workers)


def kinds(n_tracks: int) -> tuple[int, int]:
    """The numbers in `PackedLessons.lesson` of the first track and of the first question, in a course with `n_tracks` tracks.

    With tracks, lesson 1 is the list, 2 to 1 + n_tracks are the tracks, and questions follow; without, all are questions.
    """
    return (2, 2 + n_tracks) if n_tracks else (1, 1)


def _teach(indices: range, source: Source, course: Course, words: WordIds) -> Material:
    rng = np.random.default_rng((source.seed, indices.start))
    # Each scene is repeated for its variants, and each variant for its sequences: neighbours along the first axis, so that the
    # reshape at the end brings a clip's sequences together.
    scenes = source.read(indices).take(np.repeat(np.arange(len(indices)), course.variants_per_scene))
    variants = at_random(scenes, rng)
    each = variants.take(np.repeat(np.arange(len(variants.colors)), course.sequences_per_clip))
    rows = pack(choose(each, words, rng, course), course.beginning, course.length, course.pad)
    return Material(variants.clips(), rows.reshape(-1, course.sequences_per_clip))


def choose(variants: Variants, words: WordIds, rng: np.random.Generator, course: Course) -> list[Lessons]:
    """A list, tracks of random objects, some without another one, and random questions, in the order that `kinds` tells.

    Lessons in further forms count as questions there. What they draw at random is drawn last.
    """
    n_rows = len(variants.colors)
    # Questions in a random order: sorting by random numbers below 1 puts those that do not exist, at 2, last.
    order = np.where(variants.scenes.lengths > 0, rng.random(variants.scenes.lengths.shape), 2)
    chosen = np.argsort(order, axis=1)[:, : course.n_questions]
    found = [questions(variants, chosen, rng.random(chosen.shape) < course.counterfactual_share, words)]
    if course.n_tracks:
        n = variants.scenes.n_objects[:, None]
        thing = rng.integers(0, n, (n_rows, course.n_tracks))
        other = (thing + rng.integers(1, n, thing.shape)) % n  # a step of 1 to n - 1 around the circle never ends at itself
        found.insert(0, tracks(variants, thing, np.where(rng.random(other.shape) < course.without_share, other, -1), words))
        found.insert(0, lists(variants, words))
    return [*found, *(forms.choose(variants, words, rng, course.in_forms) if course.in_forms else ())]
