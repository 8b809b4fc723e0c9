"""Scenes, collisions and labels in words: "frame 46, 1.84 s: red metal cube hits blue rubber sphere".

Option texts name objects by as few words as tell them apart ("the red cube and the sphere"). `option_pair` finds the two
objects again, so that the page can say at which frame an option's event was seen. It gives None rather than a guess.
"""

import re

from videothinker.records import Category, Collision, CuratedQuestion, Rule, Scene, SceneObject
from videothinker.reports.page import DASH, letters, ticked

FPS = 25.0
"""Frames a second of CLEVRER's clips."""
N_TOTAL = 128
"""Frames of CLEVRER's clips."""

_OBJECT = re.compile(
    r"\b(?:(?P<color>gray|brown|green|red|blue|purple|yellow|cyan) )?(?:(?P<material>metal|rubber) )?"
    r"(?P<shape>cube|cylinder|sphere|object)\b"
)


def object_name(thing: SceneObject) -> str:
    """ "red metal cube"."""
    return f"{thing.color} {thing.material} {thing.shape}"


def removed_name(question: CuratedQuestion, scene: Scene) -> str:
    """The object that the question takes away."""
    return next(object_name(thing) for thing in scene.objects if thing.object_id == question.removed_object)


def collision_text(collision: Collision, scene: Scene) -> str:
    """ "red metal cube hits blue rubber sphere"."""
    names = {thing.object_id: object_name(thing) for thing in scene.objects}
    first, second = collision.object_ids
    return f"{names[first]} hits {names[second]}"


def moment(frame: int) -> str:
    """ "frame 46, 1.84 s"."""
    return f"frame {frame}, {frame / FPS:.2f} s"


def log(scene: Scene) -> list[str]:
    """The collision log, one line a collision."""
    return [f"{moment(hit.frame)}: {collision_text(hit, scene)}" for hit in scene.collisions]


def option_pair(option: str, scene: Scene) -> tuple[int, int] | None:
    """object_ids, smaller first, of the two objects that an option's text names; None unless they are certain."""
    ids = []
    for words in _OBJECT.finditer(option):
        wanted = {key: word for key, word in words.groupdict().items() if word not in (None, "object")}
        fits = [thing.object_id for thing in scene.objects if all(getattr(thing, key) == word for key, word in wanted.items())]
        if len(fits) != 1:
            return None
        ids.append(fits[0])
    if len(ids) != 2 or ids[0] == ids[1]:
        return None
    return min(ids), max(ids)


def seen(question: CuratedQuestion, scene: Scene) -> list[str]:
    """For each option whether its event is in the film: "frame 46" (the first time), "no", or a dash where it is not certain.

    Certain means that the text names two objects and the log agrees with the question's observer about them.
    """
    said = happens(question, question.observer)
    return [_seen(option, scene, question.removed_object, sure) for option, sure in zip(question.options, said, strict=True)]


def _seen(option: str, scene: Scene, removed: int, observer: bool) -> str:
    pair = option_pair(option, scene)
    frame = next((hit.frame for hit in scene.collisions if hit.object_ids == pair), None)
    if pair is None or (frame is not None and removed not in pair) != observer:
        return "yes" if observer else DASH
    return "no" if frame is None else f"frame {frame}"


def happens(question: CuratedQuestion, answer: tuple[str, ...]) -> list[bool]:
    """For each option whether its event takes place without the object, according to who answers `answer`."""
    return [(option[0] in answer) != question.negated for option in question.options]


def why(question: CuratedQuestion, scene: Scene) -> dict[str, str]:
    """For each rule one sentence that says what decides the label."""
    removed = removed_name(question, scene)
    film = {option[0]: where for option, where in zip(question.options, seen(question, scene), strict=True)}
    truth = zip(question.options, happens(question, question.gold), strict=True)
    real = {option[0] for option, takes_place in truth if takes_place}
    said, right = letters(question.observer), letters(question.gold)
    told = {
        Rule.ANY_OPTION: (
            f"In the film: {_named(film, set(film))}.",
            "No option names a collision that is in the film.",
        ),
        Rule.CORRECT_OPTION: (
            f"In the film, and still happening without the {removed}: {_named(film, real)}.",
            f"What would happen without the {removed} is not in the film."
            if real
            else f"None of the collisions named would happen without the {removed}.",
        ),
        Rule.ORACLE: (
            f"Whoever only watched would answer {said}, which is right.",
            f"Whoever only watched would answer {said}; right is {right}.",
        ),
    }
    return {rule: told[rule][getattr(question, rule.column) is Category.INFERENTIAL] for rule in Rule}


def _named(film: dict[str, str], among: set[str]) -> str:
    """ "the collisions of options A (frame 46) and C (frame 80)"."""
    found = [f"{letter} ({where})" for letter, where in film.items() if letter in among and where.startswith("frame")]
    if not found:
        return "a collision that the options name"
    return f"the collision{'s' if len(found) > 1 else ''} of option{'s' if len(found) > 1 else ''} {ticked(found)}"
