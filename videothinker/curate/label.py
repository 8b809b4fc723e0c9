"""Can a counterfactual question be answered from the video as shown? Three readings of the paper's definition.

The paper (arXiv 2605.01324, data curation) calls a question *observational* when, by the collision log, an event named by its
options already happened in the unmodified video, so that one can answer from what was seen, and *inferential* when it needs the
counterfactual; 13,674 of CLEVRER's 18,473 counterfactual training questions (74.0 %) are observational. The sentence leaves
open which options count, so each reading is a rule here, and all three are computed for every question.

Example: the log holds one collision, of the cube (0) and the sphere (1). "Without the cylinder (2), what will happen?" with the
options "cube hits sphere" (correct) and "cube hits cylinder" (wrong) is observational under all three rules.

Events are compared as unordered pairs of objects, whatever the frame: an option says that two objects collide, not when.
"""

from typing import NamedTuple

from videothinker.curate.program import EventKind, ProgramError, parse_choice, parse_question, resolve
from videothinker.mcq import LETTERS
from videothinker.records import Category, Rule, Scene

Pair = tuple[int, int]
"""Two different object_ids, smaller first."""


class Case(NamedTuple):
    """A counterfactual question, resolved against its scene: all that the rules look at."""

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


def any_option(case: Case) -> Category:
    """Observational iff *some option's* event is in the factual log, be the option right or wrong.

    The paper's sentence word for word, and the default. An event of the removed object counts: it was seen, too.
    """
    return _observational(any(pair in case.log for pair in case.pairs))


def correct_option(case: Case) -> Category:
    """Observational iff some option's event *happens in the counterfactual* and is in the factual log.

    The reading in which seeing the event yields a true statement. Of "will happen" questions the correct options happen, of
    "will not happen" questions the wrong ones, so a question and its negation get the same label.
    """
    happens = [(letter in case.gold) != case.negated for letter in LETTERS[: len(case.pairs)]]
    return _observational(any(there and pair in case.log for there, pair in zip(happens, case.pairs, strict=True)))


def oracle(case: Case) -> Category:
    """Observational iff the observer (see `observer`) answers the whole question right.

    The strict reading of "can answer from what was seen": it is the one under which looking is enough.
    """
    return _observational(observer(case) == case.gold)


def observer(case: Case) -> tuple[str, ...]:
    """The letters that one would answer who only saw the factual video, and knows that a removed object collides with nothing.

    To the observer an event happens iff it is in the factual log and does not involve the removed object; of "will not happen"
    questions the observer chooses the other options.
    """
    return tuple(
        letter
        for letter, pair in zip(LETTERS, case.pairs, strict=False)
        if (pair in case.log and case.removed not in pair) != case.negated
    )


RULES = {Rule.ANY_OPTION: any_option, Rule.CORRECT_OPTION: correct_option, Rule.ORACLE: oracle}


def resolve_case(
    question_program: tuple[str, ...], choice_programs: tuple[tuple[str, ...], ...], gold: tuple[str, ...], scene: Scene
) -> Case:
    """A question's programs, with every description replaced by the one object of the scene that fits it.

    Raises:
        ProgramError: a program is not understood, a description fits no object or several, or an option is not about a
            collision of two objects. Entrances and exits are refused, not guessed: the annotation logs collisions only.
    """
    try:
        removal = parse_question(question_program)
        removed = resolve(removal.removed, scene.objects)
    except ProgramError as error:
        raise ProgramError(f"question program: {error}") from error
    pairs = []
    for letter, program in zip(LETTERS, choice_programs, strict=False):
        try:
            pairs.append(_pair(program, scene))
        except ProgramError as error:
            raise ProgramError(f"option {letter}: {error}") from error
    log = frozenset(collision.object_ids for collision in scene.collisions)
    return Case(tuple(pairs), gold, removed, removal.negated, log)


def _pair(program: tuple[str, ...], scene: Scene) -> Pair:
    event = parse_choice(program)
    if event.kind is not EventKind.COLLISION:
        raise ProgramError(f"is about '{event.kind}', and the annotation logs collisions only")
    first, second = sorted(resolve(description, scene.objects) for description in event.objects)
    if first == second:
        raise ProgramError(f"'{event.objects[0]}' and '{event.objects[1]}' are the same object (object_id {first})")
    return first, second


def _observational(yes: bool) -> Category:
    return Category.OBSERVATIONAL if yes else Category.INFERENTIAL
