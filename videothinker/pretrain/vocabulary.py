"""The words that lessons are written in: texts to learn them from, and the token that each of them is."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from videothinker import answers
from videothinker.answers import twice
from videothinker.pretrain.scenes import GRID, Ints, Wording
from videothinker.world.stream import NOTHING
from videothinker.world.table import COLORS, MATERIALS, SHAPES

COUNTERFACTUAL, OBSERVED = "cf", "obs"
"""The first word of a thought, which tells what the thought is about."""
TRACK = "Track the {}."
TRACK_WITHOUT = "Track the {} without the {}."
OUT_OF_VIEW = "out"
LIST = "List the objects."


class WordIds(NamedTuple):
    """Token ids of the words of prompts and replies. Each word is one token."""

    colors: Ints
    """(8,), as all of these in the order of `world.table`; so are the next two."""
    materials: Ints
    shapes: Ints
    numbers: Ints
    """(42,): 00, 01, ..., for columns and rows of `scenes.GRID`."""
    letters: Ints
    """(4,): the options A, B, C and D."""
    hits: int
    then: int
    nothing: int
    modes: Ints
    """(2,): obs and cf."""
    think: tuple[int, int]
    """<think> and </think>."""
    answer: tuple[int, int]
    """<answer> and </answer>."""
    comma: int
    none: int
    at: int
    out: int
    end: int
    """The token that ends a reply."""
    list: Ints
    """(n,): the whole prompt of a list, from the clip to the reply."""
    track: tuple[Ints, Ints, Ints]
    """The prompt of a track without its two objects: what stands before, between and after them."""
    track_alone: Ints
    """(n,): what follows the object in the prompt of a track where nothing is taken away."""
    n_tokens: int
    """Size of the vocabulary."""


class FormIds(NamedTuple):
    """Token ids of what the style "twice" puts around answers and thoughts: (n,) each."""

    first: Ints
    """What opens the first box."""
    second: Ints
    """A blank, and what opens the second box."""
    closes: Ints
    fallback: Ints
    """The first box with the fallback in it."""
    blank: Ints
    """What stands between the first box and the thought."""


def form_ids(tokenizer: Any) -> FormIds:
    """Look up what the style "twice" writes.

    Raises:
        ValueError: the tokenizer joins an answer with its box, so a reply cannot be put together from its parts.
    """

    def ids(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    parts = [r"\boxed{", r" \boxed{", "}", rf"\boxed{{{twice.FALLBACK}}}", " "]
    found = FormIds(*(np.array(ids(part)) for part in parts))
    for answer in ("A", "A,C", "none"):
        reply = rf"\boxed{{{answer}}} <think>{COUNTERFACTUAL} {NOTHING}</think> \boxed{{{answer}}}"
        pieces = [parts[0], answer, "}", " ", "<think>", COUNTERFACTUAL, f" {NOTHING}", "</think>", parts[1], answer, "}"]
        if ids(reply) != [token for piece in pieces for token in ids(piece)]:
            raise ValueError(f"'{reply}' is not made of the tokens of its parts; lessons in forms need a tokenizer where it is")
    return found


def texts() -> list[str]:
    """Texts that hold every word of the lessons, for a tokenizer to learn them from."""
    things = [f" {c} {m} {s}" for c in COLORS for m in MATERIALS for s in SHAPES]
    numbers = "".join(f" {i:02}" for i in range(max(GRID)))
    thoughts = [f"{COUNTERFACTUAL}{a} hits{b} then{a}" for a, b in zip(things, reversed(things), strict=True)]
    tracks = [TRACK_WITHOUT.format(a.strip(), b.strip()) for a, b in zip(things, reversed(things), strict=True)]
    return [*thoughts, f"{OBSERVED} {NOTHING}", f"at{numbers} {OUT_OF_VIEW}", LIST, *tracks] * 4


def word_ids(tokenizer: Any, wording: Wording) -> WordIds:
    """Look all words up in a transformers tokenizer.

    Raises:
        ValueError: a word is not one token, so the checkpoint was not made for these lessons.
    """

    def ids(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def one(word: str) -> int:
        if len(found := ids(word)) != 1:
            raise ValueError(f"'{word}' is {len(found)} tokens; pretraining needs a tokenizer in which it is one")
        return found[0]

    def all_of(words: Iterable[str]) -> Ints:
        return np.array([one(word) for word in words])

    marks = ("\0", "\1")
    before, between, after = (np.array(ids(t)) for t in _split(wording.before + TRACK_WITHOUT.format(*marks) + wording.after))
    _, alone, _ = _split(wording.before + TRACK.format(marks[0]) + wording.after + " \1")  # between the object and the end
    return WordIds(
        colors=all_of(f" {color}" for color in COLORS),
        materials=all_of(f" {material}" for material in MATERIALS),
        shapes=all_of(f" {shape}" for shape in SHAPES),
        numbers=all_of(f" {i:02}" for i in range(max(GRID))),
        letters=all_of(answers.LETTERS[:4]),
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
    """Split a text at its two marks. The blank before a mark is dropped: it belongs to the token of the object's colour."""
    before, _, rest = text.partition(" \0")
    between, _, after = rest.partition(" \1")
    return before, between, after
