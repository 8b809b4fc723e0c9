"""Further readings of the paper's definition. They are counted, to find the one behind the paper's number, and label nothing.

The paper counts 13,674 of 18,473 questions as observational; its sentence leaves open how. A reading says of a question, and of
the collisions that happen in its clip, whether the question is observational. `READINGS` holds those of this module beside the
three rules of `observers.log`, so that all of them can be counted alike.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf

from videothinker.answers import LETTERS
from videothinker.observers import log
from videothinker.observers.log import Case, Finding, Pair
from videothinker.records import Category, Collision

Reading = Callable[[Case, Sequence[Collision]], bool]
"""Takes a question and its clip's collisions, in any order, of which `Case.log` holds the pairs. Is it observational?"""


def every_happening_option(case: Case, collisions: Sequence[Collision]) -> bool:
    """Some option's event happens without the object, and every one that does is among the collisions.

    Questions of which no option happens are not observational: the sentence speaks of an event that already happened. So this
    reading is narrower than the rule correct-option, which asks for one such event.
    """
    happening = {pair for pair, there in zip(case.pairs, log.happening(case), strict=True) if there}
    return bool(happening) and happening <= case.log


def lettered_correct_option(case: Case, collisions: Sequence[Collision]) -> bool:
    """The event of some option that is marked correct is among the collisions.

    Of "will happen" questions this is the rule correct-option. Of "will not happen" questions it is an event that was seen and
    does not happen any more, so that a question and its negation can differ.
    """
    return any(pair in case.log for letter, pair in zip(LETTERS, case.pairs, strict=False) if letter in case.gold)


def outside_causal_past(case: Case, collisions: Sequence[Collision]) -> bool:
    """The removed object is in no option's causal past (`causal_past`), so that taking it away cannot have changed one."""
    return not any(case.removed in causal_past(pair, collisions) for pair in case.pairs)


def causal_past(pair: Pair, collisions: Sequence[Collision]) -> frozenset[int]:
    """The object_ids of all objects that can have had a part in whether, and how, the two objects of `pair` meet.

    These are the two objects themselves and, going back in time, every object that collided with one already in the set before
    the moment from which that one matters. For the two objects this moment is the frame of their first collision, or the end of
    the clip if they do not collide; for any other object it is the frame of the collision that brought it into the set.
    Collisions at one and the same frame do not lead to one another. Where and when nothing collides, influence does not pass.
    """
    met = min((hit.frame for hit in collisions if hit.object_ids == pair), default=inf)
    matters_until: dict[int, float] = dict.fromkeys(pair, met)
    for hit in sorted(collisions, key=lambda hit: hit.frame, reverse=True):
        for known, other in (hit.object_ids, hit.object_ids[::-1]):
            if hit.frame < matters_until.get(known, -inf):
                # Latest collisions come first, so what is set is the latest moment at which the other object matters.
                matters_until.setdefault(other, hit.frame)
    return frozenset(matters_until)


def _rule(decide: Callable[[Case], Finding], case: Case, collisions: Sequence[Collision]) -> bool:
    return decide(case).category is Category.OBSERVATIONAL


READINGS: Mapping[str, Reading] = {
    **{rule.value: partial(_rule, decide) for rule, decide in log.RULES.items()},
    "every-happening-option": every_happening_option,
    "lettered-correct-option": lettered_correct_option,
    "outside-causal-past": outside_causal_past,
}
"""Every reading by name; the three rules come first."""
