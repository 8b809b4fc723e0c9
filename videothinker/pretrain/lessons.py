"""What a model is pretrained on: prompts and replies about generated scenes, made by arithmetic on arrays.

A scene is simulated and tokenised once (`scenes.py`). From then on a new lesson about it is array arithmetic: another colour
permutation is a look-up over token ids, a mirror is a change of sign, another question is another row.

There are four kinds of lessons:

    <think>cf red metal cube hits blue rubber sphere</think><answer>A,C</answer>    what would happen, and the true answer
    <think>obs nothing</think><answer>none</answer>                                 what is seen, and the observer's answer
    at 12 07 13 08 out out 20 11 ...                                where one object is, perhaps without another one
    obs red metal cube then blue rubber sphere                                      what there is to see

The first two answer the text of `answers.render_prompt`, and their thoughts are the traces of `world.stream`. The others have
prompts of their own (`vocabulary.TRACK` and `LIST`) and serve perception and physics: they say of every object at every moment
what a collision says of two objects once.

Every function here takes B scenes and makes K lessons about each. Their tokens have gaps: each part of a reply has as many
places as its longest case needs, and a mask says which places hold a token.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from videothinker.pretrain.scenes import GRID, MOST_EVENTS, MOST_OBJECTS, Bools, Ints
from videothinker.pretrain.variants import N_LOOKS, Variants, look_number, look_of
from videothinker.pretrain.vocabulary import WordIds


class Lessons(NamedTuple):
    """K lessons about each of B scenes as tokens with gaps: a prompt, then a reply."""

    tokens: Ints
    """(B, K, W)."""
    there: Bools
    """(B, K, W): whether a place holds a token. A lesson without any does not exist."""
    is_reply: Bools
    """(B, K, W): whether it is a token of the reply."""


def questions(variants: Variants, chosen: Ints, counterfactual: Bools, words: WordIds) -> Lessons:
    """Questions, each answered with a thought and the options that it leads to.

    Args:
        chosen: (B, K) rows among each scene's questions.
        counterfactual: (B, K): whether the thought and answer are the true ones or the observer's.
    """
    row = np.arange(len(chosen))[:, None]  # pairs each scene with its own choices when indexing
    scenes = variants.scenes
    prompts = recoloured(variants, scenes.prompts[row, chosen], words)
    reply = [*thinking(variants, chosen, counterfactual, words), *tagged(picked(variants, chosen, counterfactual), words)]
    return answered(prompts, scenes.lengths[row, chosen], reply, words)


Part = tuple[Ints, Bools]
"""Part of a reply to (B, K) lessons: tokens (B, K, w), and at which of these places there is one."""


def recoloured(variants: Variants, prompts: Ints, words: WordIds) -> Ints:
    """Prompts (B, K, W) in the variants' colours."""
    # For each scene a table from token to token: the identity except for the words of colours. Looking all tokens of a prompt
    # up in it renames the colours, wherever they stand.
    table = np.tile(np.arange(words.n_tokens), (len(prompts), 1))
    table[:, words.colors] = words.colors[variants.colors]
    found: Ints = table[np.arange(len(prompts))[:, None, None], prompts]
    return found


def picked(variants: Variants, chosen: Ints, counterfactual: Bools) -> Bools:
    """(B, K, 4): the options that are correct, or, where not `counterfactual`, that the observer picks."""
    row = np.arange(len(chosen))[:, None]
    scenes = variants.scenes
    found: Bools = np.where(counterfactual[..., None], scenes.gold[row, chosen], scenes.observer[row, chosen])
    return found


def thinking(variants: Variants, chosen: Ints, counterfactual: Bools, words: WordIds) -> list[Part]:
    """The thought about each question, with its tags: what would happen, or what is seen."""
    row = np.arange(len(chosen))[:, None]
    scenes = variants.scenes
    # Along the axis of worlds in `Scenes.events` 0 is what is seen, and 1 + i is what happens without object i.
    world = np.where(counterfactual, 1 + scenes.removed[row, chosen].astype(np.int64), 0)
    always = np.ones((*chosen.shape, 1), np.bool_)
    return [
        (words.think[0] * always, always),
        (words.modes[counterfactual.astype(np.int64)][..., None], always),
        _thought(scenes.events[row, world], variants.looks(), words),
        (words.think[1] * always, always),
    ]


def tagged(options: Bools, words: WordIds) -> list[Part]:
    """(B, K, 4) picked options as `Letters.solution` writes them, between their tags."""
    always = np.ones((*options.shape[:-1], 1), np.bool_)
    return [(words.answer[0] * always, always), listed(options, words), (words.answer[1] * always, always)]


def answered(prompts: Ints, length: Ints, reply: Sequence[Part], words: WordIds) -> Lessons:
    """Lessons of prompts (B, K, W), of which `length` (B, K) tokens are there, and of replies in parts, which then end.

    Where `length` is 0 there is no lesson.
    """
    always = np.ones((*length.shape, 1), np.bool_)
    parts = [(prompts, np.arange(prompts.shape[-1]) < length[..., None]), *reply, (words.end * always, always)]
    tokens = np.concatenate([part for part, _ in parts], axis=-1)
    there = np.concatenate([part for _, part in parts], axis=-1) & (length > 0)[..., None]
    is_reply = there.copy()
    is_reply[..., : prompts.shape[-1]] = False
    return Lessons(tokens, there, is_reply)


def _thought(events: Ints, looks: Ints, words: WordIds) -> tuple[Ints, Bools]:
    """`world.stream.trace_text` of (B, K, 15, 3) events: tokens (B, K, W) and where there are any."""
    number = look_number(looks)
    row = np.arange(len(looks))[:, None, None, None]
    # Absent events have objects -1: any index will do for them, they are masked below. Of two objects the earlier one in the
    # table's order is named first.
    pair = np.sort(number[row, np.maximum(events[..., 1:], 0)], axis=-1)
    # Events are told by frame, then by their first object, then by their second: one number that sorts like these three.
    key = (events[..., 0].astype(np.int64) * N_LOOKS + pair[..., 0]) * N_LOOKS + pair[..., 1]
    happens = events[..., 0] >= 0
    order = np.argsort(np.where(happens, key, np.iinfo(np.int64).max), axis=-1)  # absent events come last
    pair = np.take_along_axis(pair, order[..., None], axis=-2)
    n = happens.sum(-1)[..., None]
    # Eight places per event: three words for an object, "hits", three words for the other, and "then" before a next event.
    tokens = np.empty((*events.shape[:-1], 8), np.int64)
    tokens[..., :3], tokens[..., 4:7] = _name(pair[..., 0], words), _name(pair[..., 1], words)
    tokens[..., 3], tokens[..., 7] = words.hits, words.then
    there = np.repeat((np.arange(MOST_EVENTS) < n)[..., None], 8, axis=-1)
    there[..., 7] = np.arange(MOST_EVENTS) < n - 1
    flat = (*events.shape[:2], MOST_EVENTS * 8)
    nothing = np.full((*events.shape[:2], 1), words.nothing)
    return np.concatenate([nothing, tokens.reshape(flat)], axis=-1), np.concatenate([n == 0, there.reshape(flat)], axis=-1)


def _name(number: Ints, words: WordIds) -> Ints:
    """(..., 3) tokens of the (...) numbers of looks: "red metal cube"."""
    color, material, shape = look_of(number)
    return np.stack([words.colors[color], words.materials[material], words.shapes[shape]], axis=-1)


def listed(options: Bools, words: WordIds) -> tuple[Ints, Bools]:
    """What `Letters.solution` puts between its tags for (B, K, 4) options picked or not: tokens and where there are any."""
    # How many picked options follow each one: a cumulative sum from the right, without the option itself.
    later: Ints = np.cumsum(options[..., ::-1], axis=-1)[..., ::-1] - options
    # Two places per option: its letter, and a comma if another one follows. Stacking last and flattening interleaves them.
    there = np.stack([options, options & (later > 0)], axis=-1).reshape(*options.shape[:-1], 8)
    tokens = np.empty(there.shape, np.int64)
    tokens[..., ::2], tokens[..., 1::2] = words.letters, words.comma
    nothing = ~options.any(-1, keepdims=True)
    return np.concatenate([np.full(nothing.shape, words.none), tokens], axis=-1), np.concatenate([nothing, there], axis=-1)


def tracks(variants: Variants, thing: Ints, without: Ints, words: WordIds) -> Lessons:
    """Where an object is over time.

    Args:
        thing: (B, K) objects to track.
        without: (B, K) the object that is taken away; -1 for none.
    """
    row = np.arange(len(thing))[:, None]
    number = look_number(variants.looks())

    def named(objects: Ints) -> Ints:
        return _name(number[row, np.maximum(objects, 0)], words)

    def fixed(ids: Ints) -> Ints:
        return np.broadcast_to(ids, (*thing.shape, len(ids)))

    # Without an object (-1) this is world 0, the one that is seen.
    points = variants.scenes.tracks[row, 1 + without.astype(np.int64), thing].astype(np.int64)  # (B, K, 8, 2)
    seen = points[..., 0] >= 0
    # A mirror exchanges the first column with the last one. Points that are out of view stay -1.
    column = np.where(seen & variants.mirrored[:, None, None], GRID[0] - 1 - points[..., 0], points[..., 0])
    spoken = np.stack([words.numbers[np.maximum(column, 0)], words.numbers[np.maximum(points[..., 1], 0)]], axis=-1)
    # A point in view is two numbers; one out of view is a single "out" in the first of the two places.
    spoken = np.where(seen[..., None], spoken, words.out).reshape(*thing.shape, -1)
    spoken_there = np.stack([np.ones_like(seen), seen], axis=-1).reshape(*thing.shape, -1)
    before, between, after = words.track
    always, other, alone = (np.broadcast_to(x[..., None], (*thing.shape, 1)) for x in (thing >= 0, without >= 0, without < 0))
    # Parts as (tokens, where they are, whether they belong to the reply). A prompt has either `between`, the other object and
    # `after`, or `track_alone`.
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


def lists(variants: Variants, words: WordIds) -> Lessons:
    """The objects that are in view at any moment of a track, in the order of `look_number`: (B, 1) lessons."""
    n = len(variants.colors)
    seen = (variants.scenes.tracks[:, 0, :, :, 0] >= 0).any(-1)  # (B, 6)
    # What is not seen, or no object at all, gets a number behind all others, so sorting puts it last.
    number = np.sort(np.where(seen, look_number(variants.looks()), N_LOOKS), axis=1)
    there = number < N_LOOKS
    # Four places per object: its three words, and "then" if another one follows.
    things = np.concatenate([_name(number % N_LOOKS, words), np.full((n, MOST_OBJECTS, 1), words.then)], axis=-1)
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
