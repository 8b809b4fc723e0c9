"""Lessons that ask the same questions otherwise: as facts, for an answer before and behind a thought, or without a thought.

    <think>obs nothing</think><answer>none</answer>            the factual twin: what is seen (`twin`)
    \\boxed{A} <think>cf red metal cube ...</think> \\boxed{C}     the style "twice": a quick look, a thought, and its answer
    <answer>A</answer>                                         the style "direct": the quick look alone

A quick look says what the observer says, or what is true, by chance and whatever the question is; or, in the style "twice", it
says by chance that it will not say anything (`twice.FALLBACK`). So where the two answers are the same the first box becomes
sure, and where they differ it stays split between them: its confidence tells something before any reinforcement, and no reply
that a reward could prefer (the observer's at once, the true one at once, the fallback) is rarer than its share. The thought is
"cf" as often as in the lessons without forms, so that a comparison of the two begins with one habit.
"""

from typing import NamedTuple

import numpy as np

from videothinker.pretrain.lessons import Lessons, Part, answered, listed, picked, recoloured, tagged, thinking
from videothinker.pretrain.scenes import DIRECT, TWICE, TWIN, Bools, Ints
from videothinker.pretrain.variants import Variants
from videothinker.pretrain.vocabulary import FormIds, WordIds


class FormCourse(NamedTuple):
    """How many lessons in each form a sequence has, and what they answer. It is plain data, as `course.Course`."""

    n_twins: int
    n_twice: int
    n_direct: int
    observer_share: float
    """How often a quick look says what the observer says, of those that say anything."""
    fallback_share: float
    """How often the first box of the style "twice" holds the fallback."""
    counterfactual_share: float
    """How often the thought of the style "twice" is about what would happen; its answer is then the true one."""
    ids: FormIds


def choose(variants: Variants, words: WordIds, rng: np.random.Generator, course: FormCourse) -> list[Lessons]:
    """Random questions in the style "twice", as facts, and in the style "direct"; each kind draws questions of its own."""

    def some(n: int) -> Ints:
        lengths = variants.scenes.lengths
        order = np.where(lengths > 0, rng.random(lengths.shape), 2)  # those that do not exist come last
        return np.argsort(order, axis=1)[:, :n]

    def often(share: float, chosen: Ints) -> Bools:
        hit: Bools = rng.random(chosen.shape) < share
        return hit

    found = []
    if course.n_twice:
        chosen = some(course.n_twice)
        looks, counterfactual = often(course.observer_share, chosen), often(course.counterfactual_share, chosen)
        falls_back = often(course.fallback_share, chosen)
        found.append(twice(variants, chosen, ~looks, falls_back, counterfactual, words, course.ids))
    if course.n_twins:
        found.append(twins(variants, some(course.n_twins), words))
    if course.n_direct:
        chosen = some(course.n_direct)
        found.append(direct(variants, chosen, ~often(course.observer_share, chosen), words))
    return found


def twins(variants: Variants, chosen: Ints, words: WordIds) -> Lessons:
    """The factual twins of (B, K) questions, each answered with what is seen."""
    row = np.arange(len(chosen))[:, None]
    seen = np.zeros(chosen.shape, np.bool_)
    reply = [*thinking(variants, chosen, seen, words), *tagged(variants.scenes.shown[row, chosen], words)]
    return _in_form(TWIN, variants, chosen, reply, words)


def direct(variants: Variants, chosen: Ints, true: Bools, words: WordIds) -> Lessons:
    """(B, K) questions answered at once: with the true answer, or where not `true` with the observer's."""
    return _in_form(DIRECT, variants, chosen, tagged(picked(variants, chosen, true), words), words)


def twice(
    variants: Variants, chosen: Ints, true: Bools, falls_back: Bools, counterfactual: Bools, words: WordIds, ids: FormIds
) -> Lessons:
    """(B, K) questions answered twice.

    Args:
        chosen: rows among each scene's questions.
        true: whether the first answer is the true one or the observer's.
        falls_back: whether the first box says nothing of the kind, but the fallback.
        counterfactual: whether the thought and the second answer are the true ones or the observer's.
    """
    answers_first = ~falls_back[..., None]
    first = [(tokens, there & answers_first) for tokens, there in _boxed(picked(variants, chosen, true), ids.first, words, ids)]
    second = _boxed(picked(variants, chosen, counterfactual), ids.second, words, ids)
    fallback = _fixed(ids.fallback, chosen)
    reply = [
        (fallback[0], fallback[1] & falls_back[..., None]),
        *first,
        _fixed(ids.blank, chosen),
        *thinking(variants, chosen, counterfactual, words),
        *second,
    ]
    return _in_form(TWICE, variants, chosen, reply, words)


def _boxed(options: Bools, opens: Ints, words: WordIds, ids: FormIds) -> list[Part]:
    """(B, K, 4) picked options in a box that begins with the tokens `opens`."""
    return [_fixed(opens, options[..., 0]), listed(options, words), _fixed(ids.closes, options[..., 0])]


def _fixed(ids: Ints, like: Ints | Bools) -> Part:
    """The same tokens in each of (B, K) replies."""
    return np.broadcast_to(ids, (*like.shape, len(ids))), np.ones((*like.shape, len(ids)), np.bool_)


def _in_form(form: int, variants: Variants, chosen: Ints, reply: list[Part], words: WordIds) -> Lessons:
    """Lessons on the prompts of a form."""
    row, scenes = np.arange(len(chosen))[:, None], variants.scenes
    prompts = recoloured(variants, scenes.form_prompts[row, chosen, form], words)
    return answered(prompts, scenes.form_lengths[row, chosen, form], reply, words)
