"""What a model is pretrained on: questions, thoughts and tracks of generated scenes, made by arithmetic on arrays.

A scene is simulated and tokenised once (`scenes.py`). From then on a new lesson about it is array arithmetic: another colour
permutation is a look-up over token ids, a mirror a change of sign, another question another row. `pack` lays all lessons about
one clip into one sequence behind it, so that the clip is seen once for all of them.

Four lessons:

    <think>cf red metal cube hits blue rubber sphere</think><answer>A,C</answer>    what would happen, and the true answer
    <think>obs nothing</think><answer>none</answer>                                 what is seen, and the observer's answer
    at 12 07 13 08 out out 20 11 ...                                where one object is, perhaps without another one
    obs red metal cube then blue rubber sphere                                      what there is to see

The first two answer `mcq.render_prompt`'s text, and their thoughts are `world.stream`'s traces. The others (`TRACK`, `LIST`)
serve perception and physics: they say at every moment, of every object, what a collision says of two objects once.
"""

from collections.abc import Generator, Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from videothinker import mcq
from videothinker.pool import map_in_order
from videothinker.pretrain.scenes import GRID, MOST_EVENTS, MOST_OBJECTS, Bools, Ints, Scenes, Source, Wording
from videothinker.records import SceneObject
from videothinker.world.simulate import Rollout
from videothinker.world.stream import NOTHING
from videothinker.world.table import COLORS, HALF_SIZE, MATERIALS, SHAPES

COUNTERFACTUAL, OBSERVED = "cf", "obs"
"""How a thought begins: by its first word one knows what it will be about."""
TRACK = "Track the {}."
TRACK_WITHOUT = "Track the {} without the {}."
OUT_OF_VIEW = "out"
LIST = "List the objects."

CHUNK = 16
"""Scenes a job of a worker process: few enough to start soon, many enough that handing them over costs little."""


class Words(NamedTuple):
    """Token ids of what replies are written in, each one token."""

    colors: Ints
    materials: Ints
    shapes: Ints
    numbers: Ints
    letters: Ints
    hits: int
    then: int
    nothing: int
    modes: Ints
    """obs, cf."""
    think: tuple[int, int]
    """<think>, </think>."""
    answer: tuple[int, int]
    comma: int
    none: int
    at: int
    out: int
    end: int
    """Ends a reply."""
    list: Ints
    """The prompt of a list."""
    track: tuple[Ints, Ints, Ints]
    """The prompt of a track but for its two objects: before, between them, and after."""
    track_alone: Ints
    """What follows the object where no other is taken away."""
    n_tokens: int
    """Size of the vocabulary."""


def vocabulary() -> list[str]:
    """Texts that hold every word of the lessons, for a tokenizer to learn them from."""
    things = [f" {c} {m} {s}" for c in COLORS for m in MATERIALS for s in SHAPES]
    numbers = "".join(f" {i:02}" for i in range(max(GRID)))
    thoughts = [f"{COUNTERFACTUAL}{a} hits{b} then{a}" for a, b in zip(things, reversed(things), strict=True)]
    tracks = [TRACK_WITHOUT.format(a.strip(), b.strip()) for a, b in zip(things, reversed(things), strict=True)]
    return [*thoughts, f"{OBSERVED} {NOTHING}", f"at{numbers} {OUT_OF_VIEW}", LIST, *tracks] * 4


def words(tokenizer: Any, wording: Wording) -> Words:
    """The table for a transformers tokenizer.

    Raises:
        ValueError: a word is not one token, so the checkpoint is not one made for these lessons.
    """

    def ids(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def one(word: str) -> int:
        if len(found := ids(word)) != 1:
            raise ValueError(f"'{word}' is {len(found)} tokens; pretraining needs a tokenizer in which it is one")
        return found[0]

    def all_of(texts: Iterable[str]) -> Ints:
        return np.array([one(text) for text in texts])

    marks = ("\0", "\1")
    before, between, after = (np.array(ids(t)) for t in _split(wording.before + TRACK_WITHOUT.format(*marks) + wording.after))
    _, alone, _ = _split(wording.before + TRACK.format(marks[0]) + wording.after + " \1")
    return Words(
        colors=all_of(f" {color}" for color in COLORS),
        materials=all_of(f" {material}" for material in MATERIALS),
        shapes=all_of(f" {shape}" for shape in SHAPES),
        numbers=all_of(f" {i:02}" for i in range(max(GRID))),
        letters=all_of(mcq.LETTERS[:4]),
        hits=one(" hits"),
        then=one(" then"),
        nothing=one(f" {NOTHING}"),
        modes=all_of((OBSERVED, COUNTERFACTUAL)),
        think=(one("<think>"), one("</think>")),
        answer=(one("<answer>"), one("</answer>")),
        comma=one(","),
        none=one("none"),
        at=one("at"),
        out=one(f" {OUT_OF_VIEW}"),
        list=np.array(ids(wording.before + LIST + wording.after)),
        end=tokenizer.eos_token_id,
        track=(before, between, after),
        track_alone=np.array(ids(alone)),
        n_tokens=len(tokenizer),
    )


def _split(text: str) -> tuple[str, str, str]:
    """At the two marks; the blank before an object belongs to its colour's token."""
    before, _, rest = text.partition(" \0")
    between, _, after = rest.partition(" \1")
    return before, between, after


class Clips(NamedTuple):
    """What is seen in B clips, as `Scenes` has it."""

    looks: Ints
    n_objects: Ints
    location: NDArray[np.float32]
    yaw: NDArray[np.float32]

    def take(self, rows: Any) -> "Clips":
        """Some of them."""
        return Clips(*(field[rows] for field in self))

    def rollouts(self) -> list[Rollout]:
        """For `world.draw`: the 16 frames that a model gets, without speeds, which pictures do not show."""
        location = np.full((*self.location.shape[:-1], 3), HALF_SIZE, np.float32)
        location[..., :2] = self.location
        still = np.empty(0, np.float32)
        rollouts = []
        for i, (looks, n) in enumerate(zip(self.looks.tolist(), self.n_objects.tolist(), strict=True)):
            things = tuple(SceneObject(j, COLORS[c], MATERIALS[m], SHAPES[s]) for j, (c, m, s) in enumerate(looks[:n]))
            rollouts.append(Rollout(things, location[i, :, :n], self.yaw[i, :, :n], still, still, ()))
        return rollouts


class Draws(NamedTuple):
    """B scenes, each in other colours and perhaps mirrored."""

    scenes: Scenes
    colors: Ints
    """(B, 8): the new colour of each colour."""
    mirrored: Bools
    """(B,)."""

    def take(self, rows: Any) -> "Draws":
        """Some of them."""
        return Draws(self.scenes.take(rows), self.colors[rows], self.mirrored[rows])

    def looks(self) -> Ints:
        """(B, 6, 3): of `Scenes.looks`, in the new colours."""
        looks = self.scenes.looks.copy()
        looks[..., 0] = np.take_along_axis(self.colors, looks[..., 0], axis=1)
        return looks

    def clips(self) -> "Clips":
        """What is seen."""
        side = np.where(self.mirrored, -1, 1).astype(np.float32)[:, None, None]
        location = self.scenes.location * np.stack([np.ones_like(side), side], axis=-1)
        return Clips(self.looks(), self.scenes.n_objects, location, self.scenes.yaw * side)


def draw(scenes: Scenes, rng: np.random.Generator) -> Draws:
    """Each scene in colours drawn at random, and mirrored half of the time: physics depends on neither."""
    n = len(scenes.looks)
    colors = rng.permuted(np.tile(np.arange(len(COLORS), dtype=np.int8), (n, 1)), axis=1)
    return Draws(scenes, colors, rng.random(n) < 0.5)


def as_they_are(scenes: Scenes) -> Draws:
    """The scenes in their own colours, not mirrored."""
    n = len(scenes.looks)
    return Draws(scenes, np.tile(np.arange(len(COLORS), dtype=np.int8), (n, 1)), np.zeros(n, np.bool_))


class Lessons(NamedTuple):
    """B x K lessons as tokens with gaps: prompt, then reply."""

    tokens: Ints
    """(B, K, W)."""
    there: Bools
    """(B, K, W): is there a token? None at all: there is no such lesson."""
    is_reply: Bools
    """(B, K, W)."""


def questions(draws: Draws, chosen: Ints, counterfactual: Bools, words: Words) -> Lessons:
    """Questions with a thought and its answer.

    Args:
        chosen: (B, K) rows among each scene's questions.
        counterfactual: (B, K): the true thought and answer, or the observer's.
    """
    row = np.arange(len(chosen))[:, None]
    scenes = draws.scenes
    table = np.tile(np.arange(words.n_tokens), (len(chosen), 1))
    table[:, words.colors] = words.colors[draws.colors]
    prompts = table[row[..., None], scenes.prompts[row, chosen]]
    length = scenes.lengths[row, chosen]
    asked = np.arange(prompts.shape[-1]) < length[..., None]
    k = np.where(counterfactual, 1 + scenes.removed[row, chosen].astype(np.int64), 0)
    picked = np.where(counterfactual[..., None], scenes.gold[row, chosen], scenes.observer[row, chosen])
    thought, thought_there = _thought(scenes.events[row, k], draws.looks(), words)
    answer, answer_there = _answer(picked, words)

    always = np.ones((*chosen.shape, 1), np.bool_)
    mode = words.modes[counterfactual.astype(np.int64)][..., None]
    reply = [
        (words.think[0] * always, always),
        (mode, always),
        (thought, thought_there),
        (words.think[1] * always, always),
        (words.answer[0] * always, always),
        (answer, answer_there),
        (words.answer[1] * always, always),
        (words.end * always, always),
    ]
    tokens = np.concatenate([prompts, *(part[0] for part in reply)], axis=-1)
    there = np.concatenate([asked, *(part[1] for part in reply)], axis=-1) & (length > 0)[..., None]
    is_reply = there.copy()
    is_reply[..., : prompts.shape[-1]] = False
    return Lessons(tokens, there, is_reply)


def _thought(events: Ints, looks: Ints, words: Words) -> tuple[Ints, Bools]:
    """`world.stream.trace_text` of (B, K, 15, 3) events, in tokens (B, K, W) and where there are any."""
    place = place_of(looks)
    row = np.arange(len(looks))[:, None, None, None]
    pair = np.sort(place[row, np.maximum(events[..., 1:], 0)], axis=-1)
    key = (events[..., 0].astype(np.int64) * N_LOOKS + pair[..., 0]) * N_LOOKS + pair[..., 1]
    happens = events[..., 0] >= 0
    order = np.argsort(np.where(happens, key, np.iinfo(np.int64).max), axis=-1)
    pair = np.take_along_axis(pair, order[..., None], axis=-2)
    n = happens.sum(-1)[..., None]
    tokens = np.empty((*events.shape[:-1], 8), np.int64)
    tokens[..., :3], tokens[..., 4:7] = _named(pair[..., 0], words), _named(pair[..., 1], words)
    tokens[..., 3], tokens[..., 7] = words.hits, words.then
    there = np.repeat((np.arange(MOST_EVENTS) < n)[..., None], 8, axis=-1)
    there[..., 7] = np.arange(MOST_EVENTS) < n - 1
    flat = (*events.shape[:2], MOST_EVENTS * 8)
    nothing = np.full((*events.shape[:2], 1), words.nothing)
    return np.concatenate([nothing, tokens.reshape(flat)], axis=-1), np.concatenate([n == 0, there.reshape(flat)], axis=-1)


N_LOOKS = len(COLORS) * len(MATERIALS) * len(SHAPES)


def place_of(looks: Ints) -> Ints:
    """(..., 3) looks as (...) numbers in the order in which objects are named."""
    color, material, shape = np.moveaxis(looks.astype(np.int64), -1, 0)
    place: Ints = (color * len(MATERIALS) + material) * len(SHAPES) + shape
    return place


def _named(place: Ints, words: Words) -> Ints:
    """(..., 3) tokens of `place_of`'s (...) numbers: "red metal cube"."""
    color, material = place // (len(MATERIALS) * len(SHAPES)), place // len(SHAPES) % len(MATERIALS)
    return np.stack([words.colors[color], words.materials[material], words.shapes[place % len(SHAPES)]], axis=-1)


def _answer(picked: Bools, words: Words) -> tuple[Ints, Bools]:
    """What `mcq.solution` puts between its tags for (B, K, 4) options picked or not, in tokens and where there are any."""
    later: Ints = np.cumsum(picked[..., ::-1], axis=-1)[..., ::-1] - picked
    there = np.stack([picked, picked & (later > 0)], axis=-1).reshape(*picked.shape[:-1], 8)
    tokens = np.empty(there.shape, np.int64)
    tokens[..., ::2], tokens[..., 1::2] = words.letters, words.comma
    nothing = ~picked.any(-1, keepdims=True)
    return np.concatenate([np.full(nothing.shape, words.none), tokens], axis=-1), np.concatenate([nothing, there], axis=-1)


def tracks(draws: Draws, thing: Ints, without: Ints, words: Words) -> Lessons:
    """Where an object is over time.

    Args:
        thing: (B, K) objects.
        without: (B, K) the object taken away; -1: none.
    """
    row = np.arange(len(thing))[:, None]
    place = place_of(draws.looks())

    def named(objects: Ints) -> Ints:
        return _named(place[row, np.maximum(objects, 0)], words)

    def fixed(ids: Ints) -> Ints:
        return np.broadcast_to(ids, (*thing.shape, len(ids)))

    points = draws.scenes.tracks[row, 1 + without.astype(np.int64), thing].astype(np.int64)  # (B, K, 8, 2)
    seen = points[..., 0] >= 0
    column = np.where(seen & draws.mirrored[:, None, None], GRID[0] - 1 - points[..., 0], points[..., 0])
    spoken = np.stack([words.numbers[np.maximum(column, 0)], words.numbers[np.maximum(points[..., 1], 0)]], axis=-1)
    spoken = np.where(seen[..., None], spoken, words.out).reshape(*thing.shape, -1)
    spoken_there = np.stack([np.ones_like(seen), seen], axis=-1).reshape(*thing.shape, -1)
    before, between, after = words.track
    always, other, alone = (np.broadcast_to(x[..., None], (*thing.shape, 1)) for x in (thing >= 0, without >= 0, without < 0))
    parts: list[tuple[Ints, Bools, bool]] = [
        (fixed(before), always, False),
        (named(thing), always, False),
        (fixed(between), other, False),
        (named(without), other, False),
        (fixed(after), other, False),
        (fixed(words.track_alone), alone, False),
        (fixed(np.array([words.at])), always, True),
        (spoken, spoken_there, True),
        (fixed(np.array([words.end])), always, True),
    ]
    tokens = np.concatenate([part for part, _, _ in parts], axis=-1)
    there = np.concatenate([np.broadcast_to(is_there, part.shape) for part, is_there, _ in parts], axis=-1)
    reply = np.concatenate([np.full(part.shape, is_reply) for part, _, is_reply in parts], axis=-1)
    return Lessons(tokens, there, there & reply)


def lists(draws: Draws, words: Words) -> Lessons:
    """What is in view at any moment of a track, (B, 1) lessons, in the order of `world.table`'s colours."""
    n = len(draws.colors)
    seen = (draws.scenes.tracks[:, 0, :, :, 0] >= 0).any(-1)  # (B, 6)
    place = np.sort(np.where(seen, place_of(draws.looks()), N_LOOKS), axis=1)
    there = place < N_LOOKS
    things = np.concatenate([_named(place % N_LOOKS, words), np.full((n, MOST_OBJECTS, 1), words.then)], axis=-1)
    things_there = np.repeat(there[..., None], 4, axis=-1)
    things_there[:, :-1, 3] = there[:, 1:]
    things_there[:, -1, 3] = False
    always = np.ones((n, 1), np.bool_)
    prompt = np.tile(words.list, (n, 1))
    tokens = np.concatenate([prompt, words.modes[0] * always, things.reshape(n, -1), words.end * always], axis=1)[:, None]
    spoken = np.concatenate([always, things_there.reshape(n, -1), always], axis=1)[:, None]
    return Lessons(
        tokens,
        np.concatenate([np.ones_like(prompt, np.bool_)[:, None], spoken], axis=-1),
        np.concatenate([np.zeros_like(prompt, np.bool_)[:, None], spoken], axis=-1),
    )


class Packed(NamedTuple):
    """B sequences of L tokens: the clip, and behind it lessons that do not see one another."""

    ids: Ints
    """(B, L) uint16."""
    lesson: Ints
    """(B, L) int8: 0 in the shared beginning, 1 + k in lesson k, -1 behind the last."""
    offset: Ints
    """(B, L) uint16: place within the lesson."""
    is_reply: Bools
    """(B, L): tokens to be predicted, each from the place before it."""

    def take(self, rows: Any) -> "Packed":
        """Some of them."""
        return Packed(self.ids[rows], self.lesson[rows], self.offset[rows], self.is_reply[rows])

    def reshape(self, *shape: int) -> "Packed":
        """The sequences in another order of axes; the last, L, stays."""
        return Packed(*(field.reshape(*shape, field.shape[-1]) for field in self))  # type: ignore[arg-type]


def pack(lessons: Sequence[Lessons], beginning: Ints, length: int, pad: int) -> Packed:
    """Put lessons behind the shared `beginning` (n,), as many as fit into `length` tokens, in order."""
    n_rows, n = len(lessons[0].tokens), len(beginning)
    packed = Packed(
        np.full((n_rows, length), pad, np.uint16),
        np.full((n_rows, length), -1, np.int8),
        np.zeros((n_rows, length), np.uint16),
        np.zeros((n_rows, length), np.bool_),
    )
    packed.ids[:, :n], packed.lesson[:, :n] = beginning, 0
    ends, n_lessons = np.full(n_rows, n), 0
    for tokens, there, is_reply in lessons:
        n_tokens = there.sum(-1)
        stops = ends[:, None] + np.cumsum(n_tokens, axis=1)
        kept = there & (stops <= length)[..., None]
        offset = np.cumsum(there, axis=-1) - 1
        row, number, _ = np.nonzero(kept)
        at = row * length + ((stops - n_tokens)[..., None] + offset)[kept]
        packed.ids.flat[at], packed.lesson.flat[at] = tokens[kept], 1 + n_lessons + number
        packed.offset.flat[at], packed.is_reply.flat[at] = offset[kept], is_reply[kept]
        ends, n_lessons = np.minimum(stops[:, -1], length), n_lessons + tokens.shape[1]
    return packed


class Course(NamedTuple):
    """What is taught about each scene; plain data, for worker processes."""

    draws: int
    """Times that a scene is drawn, each time in other colours."""
    rows: int
    """Sequences of lessons about each drawn clip."""
    n_questions: int
    """Questions a sequence at most."""
    n_tracks: int
    """Tracks a sequence; with any, there is a list too."""
    without_share: float
    """How often a track is one without another object."""
    counterfactual_share: float
    """How often a thought is about what would happen."""
    length: int
    """Tokens a sequence."""
    beginning: Ints
    """(n,) tokens up to the clip's last."""
    pad: int


class Material(NamedTuple):
    """C drawn clips, and sequences of lessons about each: the arrays of `packed` are (C, rows, L)."""

    clips: Clips
    packed: Packed

    def take(self, some: Any) -> "Material":
        """Some of the clips."""
        return Material(self.clips.take(some), self.packed.take(some))

    def put(self, places: Any, other: "Material") -> None:
        """Put other clips in some places."""
        for mine, new in ((self.clips, other.clips), (self.packed, other.packed)):
            for field, values in zip(tuple(mine), tuple(new), strict=True):
                field[places] = values


def join(parts: Sequence[Material]) -> Material:
    """One after the other."""
    clips = Clips(*(np.concatenate(fields) for fields in zip(*(part.clips for part in parts), strict=True)))
    return Material(clips, Packed(*(np.concatenate(fields) for fields in zip(*(part.packed for part in parts), strict=True))))


def material(
    source: Source, course: Course, words: Words, *, first_scene: int, workers: int, rank: int = 0, size: int = 1
) -> Generator[Material, None, None]:
    """Lessons about the scenes first_scene, first_scene + 1, ..., `CHUNK` scenes at a time, without end.

    rank, size: of `size` processes that train together each takes every `size`-th chunk.

    Close the generator to end the worker processes.
    """
    chunks = (range(start, start + CHUNK) for start in count(first_scene + CHUNK * rank, CHUNK * size))
    yield from map_in_order(partial(_teach, source=source, course=course, words=words), chunks, workers)


def kinds(n_tracks: int) -> tuple[int, int]:
    """Numbers in `Packed.lesson` of the first track and of the first question, where `Course.n_tracks` are taught."""
    return (2, 2 + n_tracks) if n_tracks else (1, 1)


def _teach(indices: range, source: Source, course: Course, words: Words) -> Material:
    rng = np.random.default_rng((source.seed, indices.start))
    draws = draw(source.read(indices).take(np.repeat(np.arange(len(indices)), course.draws)), rng)
    each = draws.take(np.repeat(np.arange(len(draws.colors)), course.rows))
    rows = pack(_lessons(each, words, rng, course), course.beginning, course.length, course.pad)
    return Material(draws.clips(), rows.reshape(-1, course.rows))


def _lessons(draws: Draws, words: Words, rng: np.random.Generator, course: Course) -> list[Lessons]:
    """A list, tracks of random objects, some without another, and random questions; in the order that `kinds` tells."""
    n_rows = len(draws.colors)
    last = np.where(draws.scenes.lengths > 0, rng.random(draws.scenes.lengths.shape), 2)
    chosen = np.argsort(last, axis=1)[:, : course.n_questions]
    found = [questions(draws, chosen, rng.random(chosen.shape) < course.counterfactual_share, words)]
    if course.n_tracks:
        n = draws.scenes.n_objects[:, None]
        thing = rng.integers(0, n, (n_rows, course.n_tracks))
        other = (thing + rng.integers(1, n, thing.shape)) % n
        found.insert(0, tracks(draws, thing, np.where(rng.random(other.shape) < course.without_share, other, -1), words))
        found.insert(0, lists(draws, words))
    return found
