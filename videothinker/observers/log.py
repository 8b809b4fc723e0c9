"""The observer who reads CLEVRER's collision log, and three readings of the paper's definition, which rests on that log.

The paper (arXiv 2605.01324, data curation) calls a question *observational* when, by the collision log, an event named by its
options already happened in the unmodified video, so that one can answer from what was seen, and *inferential* when it needs the
counterfactual; 13,674 of CLEVRER's 18,473 counterfactual training questions (74.0 %) are observational. The sentence leaves
open which options count, so each reading is a rule here, and all three are computed for every question.

Example: the log holds one collision, of the cube (0) and the sphere (1). "Without the cylinder (2), what will happen?" with the
options "cube hits sphere" (correct) and "cube hits cylinder" (wrong) is observational under all three rules.

Events are compared as unordered pairs of objects, whatever the frame: an option says that two objects collide, not when.
CLEVRER logs contacts out of view as well. Nobody can see those in the film, so neither the observer nor a rule counts them:
`is_seen` says which ones count. The generated world (`world.ask`) and the curation of files use these definitions.

`observers.readings` has further readings, which are counted and label nothing.
"""

from collections.abc import Iterable
from typing import NamedTuple

from videothinker import observers
from videothinker.answers import LETTERS
from videothinker.records import Category, Rule

OBSERVER_FLOOR = 0.9
"""Below this share an observer answers the questions badly that a rule calls observational, so that training on them rewards
reasoning rather than the shortcut. Under any-option an observer answers 54 to 70 % of them (docs/world.md), and the model
trained on them was hardly a shortcut model (docs/training.md)."""

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
    """Pairs that are seen to collide in the factual video."""


class Finding(NamedTuple):
    """What a rule makes of a case."""

    category: Category
    reason: str


def is_seen(now: tuple[bool, bool], later: Iterable[tuple[bool, bool]]) -> bool:
    """Can a logged contact be seen in the film?

    now: is each of the two objects in view at the frame of contact? later: the same at each later frame, in order; it is only
    read when one object is in view and the other is not.

    Both in view: it is seen. Neither: it is not, even if they come into view together afterwards. One of the two: it is seen
    iff both are in view together at some later frame, which is the first that shows what has happened. This is the
    convention of the release's own questions: CausalSight, a public project, derived it from the released answers, where it
    resolved all of the 17 scenes on which the bare log disagreed with them.
    """
    return any(now) and (all(now) or any(map(all, later)))


def believes(pair: Pair, removed: int, log: Iterable[Pair]) -> bool:
    """True if the observer thinks that the two objects collide once `removed` is gone.

    For the observer a collision happens iff it is in `log`, that is, it was seen, and does not involve the removed object: it
    takes no reasoning about the scene to know that a removed object collides with nothing.
    """
    return pair in log and removed not in pair


def answer(case: Case) -> tuple[str, ...]:
    """The letters that the observer answers: options it believes, or for "will not happen" those it does not believe."""
    return _letters(believes(pair, case.removed, case.log) != case.negated for pair in case.pairs)


def any_option(case: Case) -> Finding:
    """Observational iff *some option's* event was seen, whether the option is right or wrong.

    This is the paper's sentence word for word. An event of the removed object counts, as it was seen too.
    """
    seen = _letters(pair in case.log for pair in case.pairs)
    return _finding(bool(seen), f"the clip shows the collision of {_named(seen)}")


def correct_option(case: Case) -> Finding:
    """Observational iff some option's event *happens in the counterfactual* and was seen.

    In this reading, seeing the event yields a true statement. A question and its negation get the same label.
    """
    seen = _letters(there and pair in case.log for there, pair in zip(happening(case), case.pairs, strict=True))
    return _finding(bool(seen), f"the clip shows, and it still happens, the collision of {_named(seen)}")


def oracle(case: Case) -> Finding:
    """Observational iff the observer answers the whole question right (`observers.oracle`). The default.

    It is the only one of the three under which watching is enough for every observational question.
    """
    said = answer(case)
    reason = f"the observer answers {','.join(said) or 'none'}, gold is {','.join(case.gold) or 'none'}"
    return Finding(observers.oracle(said, case.gold), reason)


def happening(case: Case) -> list[bool]:
    """For each option whether its event happens without the removed object.

    Of "will happen" questions those of the correct options do, of "will not happen" questions those of the wrong ones.
    """
    return [(letter in case.gold) != case.negated for letter in LETTERS[: len(case.pairs)]]


RULES = {Rule.ANY_OPTION: any_option, Rule.CORRECT_OPTION: correct_option, Rule.ORACLE: oracle}


def _letters(marks: Iterable[bool]) -> tuple[str, ...]:
    """Letters of the marked options. A question has at most as many options as there are letters."""
    return tuple(letter for letter, marked in zip(LETTERS, marks, strict=False) if marked)


def _named(letters: tuple[str, ...]) -> str:
    return f"option {letters[0]}" if len(letters) == 1 else f"options {', '.join(letters)}" if letters else "no option"


def _finding(looking_is_enough: bool, reason: str) -> Finding:
    return Finding(observers.category(looking_is_enough), reason)
