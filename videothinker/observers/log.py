"""The observer who reads CLEVRER's collision log, and three readings of the paper's definition, which rests on that log.

The paper (arXiv 2605.01324, data curation) calls a question *observational* when, by the collision log, an event named by its
options already happened in the unmodified video, so that one can answer from what was seen, and *inferential* when it needs the
counterfactual; 13,674 of CLEVRER's 18,473 counterfactual training questions (74.0 %) are observational. The sentence leaves
open which options count, so each reading is a rule here, and all three are computed for every question.

Example: the log holds one collision, of the cube (0) and the sphere (1). "Without the cylinder (2), what will happen?" with the
options "cube hits sphere" (correct) and "cube hits cylinder" (wrong) is observational under all three rules.

Events are compared as unordered pairs of objects, whatever the frame: an option says that two objects collide, not when.
The generated world (`world.ask`) and the curation of files use this one definition.
"""

from collections.abc import Iterable
from typing import NamedTuple

from videothinker import observers
from videothinker.answers import LETTERS
from videothinker.records import Category, Rule

Pair = tuple[int, int]
"""Two different object_ids, smaller first."""


class Case(NamedTuple):
    """A counterfactual question, resolved against its scene: all that the observer and the rules look at."""

    pairs: tuple[Pair, ...]
    """The collision that each option names, in file order."""
    gold: tuple[str, ...]
    """Letters of the correct options."""
    removed: int
    """object_id of the object taken away."""
    negated: bool
    """True for "what will not happen"."""
    log: frozenset[Pair]
    """Pairs that collide in the factual video."""


class Finding(NamedTuple):
    """What a rule makes of a case."""

    category: Category
    reason: str


def believes(pair: Pair, removed: int, log: Iterable[Pair]) -> bool:
    """True if the observer thinks that the two objects collide once `removed` is gone.

    For the observer a collision happens iff it is in `log` and does not involve the removed object: it takes no reasoning about
    the scene to know that a removed object collides with nothing.
    """
    return pair in log and removed not in pair


def answer(case: Case) -> tuple[str, ...]:
    """The letters that the observer answers: options it believes, or for "will not happen" those it does not believe."""
    return _letters(believes(pair, case.removed, case.log) != case.negated for pair in case.pairs)


def any_option(case: Case) -> Finding:
    """Observational iff *some option's* event is in the factual log, whether the option is right or wrong.

    This is the paper's sentence word for word, and the default. An event of the removed object counts, as it was seen too.
    """
    seen = _letters(pair in case.log for pair in case.pairs)
    return _finding(bool(seen), f"the clip shows the collision of {_named(seen)}")


def correct_option(case: Case) -> Finding:
    """Observational iff some option's event *happens in the counterfactual* and is in the factual log.

    In this reading, seeing the event yields a true statement. In "will happen" questions the correct options happen, in "will
    not happen" questions the wrong ones, so a question and its negation get the same label.
    """
    happens = [(letter in case.gold) != case.negated for letter in LETTERS[: len(case.pairs)]]
    seen = _letters(there and pair in case.log for there, pair in zip(happens, case.pairs, strict=True))
    return _finding(bool(seen), f"the clip shows, and it still happens, the collision of {_named(seen)}")


def oracle(case: Case) -> Finding:
    """Observational iff the observer answers the whole question right (`observers.oracle`)."""
    said = answer(case)
    reason = f"the observer answers {','.join(said) or 'none'}, gold is {','.join(case.gold) or 'none'}"
    return Finding(observers.oracle(said, case.gold), reason)


RULES = {Rule.ANY_OPTION: any_option, Rule.CORRECT_OPTION: correct_option, Rule.ORACLE: oracle}


def _letters(marks: Iterable[bool]) -> tuple[str, ...]:
    """Letters of the marked options. A question has at most as many options as there are letters."""
    return tuple(letter for letter, marked in zip(LETTERS, marks, strict=False) if marked)


def _named(letters: tuple[str, ...]) -> str:
    return f"option {letters[0]}" if len(letters) == 1 else f"options {', '.join(letters)}" if letters else "no option"


def _finding(looking_is_enough: bool, reason: str) -> Finding:
    return Finding(observers.category(looking_is_enough), reason)
