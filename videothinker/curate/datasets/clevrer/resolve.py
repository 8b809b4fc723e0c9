"""A counterfactual question's programs, resolved to objects and collisions of its scene, as observer and rules need them."""

from videothinker.answers import LETTERS
from videothinker.curate.datasets.clevrer.program import EventKind, ProgramError, parse_choice, parse_question, resolve
from videothinker.observers.log import Case, Pair
from videothinker.records import Scene


def resolve_case(
    question_program: tuple[str, ...], choice_programs: tuple[tuple[str, ...], ...], gold: tuple[str, ...], scene: Scene
) -> Case:
    """A question's programs, with every description replaced by the one object of the scene that fits it.

    Raises:
        ProgramError: a program is not understood, a description fits no object or several, or an option is not about a
            collision of two objects. Entrances and exits are refused, because the annotation logs collisions only.
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
    log = frozenset(collision.object_ids for collision in scene.collisions if collision.seen)
    return Case(tuple(pairs), gold, removed, removal.negated, log)


def _pair(program: tuple[str, ...], scene: Scene) -> Pair:
    event = parse_choice(program)
    if event.kind is not EventKind.COLLISION:
        raise ProgramError(f"is about '{event.kind}', and the annotation logs collisions only")
    first, second = sorted(resolve(description, scene.objects) for description in event.objects)
    if first == second:
        raise ProgramError(f"'{event.objects[0]}' and '{event.objects[1]}' are the same object (object_id {first})")
    return first, second
