"""Scenes, collisions and labels in words: "frame 46, 1.84 s: red metal cube hits blue rubber sphere".

Option texts name objects by as few words as tell them apart ("the red cube and the sphere"). `evidence.option_pair` finds the
two objects again, so that the page can say at which frame an option's event was seen. It gives None rather than a guess.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from videothinker.answers import LETTERS
from videothinker.curated import Labels
from videothinker.evidence import option_pair
from videothinker.records import Category, Collision, Question, Rule, Scene, SceneObject, label
from videothinker.records.scene import FPS
from videothinker.reports.page import letters, ticked
from videothinker.reports.tables import DASH

N_TOTAL = 128
"""Number of frames in each of CLEVRER's clips."""


class Explained(NamedTuple):
    """A counterfactual question of CLEVRER with all that is needed to explain it."""

    question: Question
    scene: Scene
    removed_object: int
    """object_id of the object taken away."""
    negated: bool
    """True for "what will not happen"."""
    observer: tuple[str, ...]
    """What the collision log's observer answers."""
    categories: dict[Rule, Category]

    @property
    def options(self) -> list[tuple[str, str]]:
        """(letter, bare text) of every option."""
        return list(zip(LETTERS, self.question.options, strict=False))


def explained(
    questions: Iterable[Question], labels: Labels, scenes: Mapping[str, Scene], removed_objects: Mapping[str, int]
) -> dict[str, Explained]:
    """What explains the questions whose scene is at hand, by question_id; other questions are left out."""
    by_rule = {each.rule: each.by_question for each in labels.sets if each.observer == label.LOG}
    found = {}
    for question in questions:
        name = question.question_id
        scene, removed = scenes.get(question.group), removed_objects.get(name)
        rows = {rule: by_rule[rule][name] for rule in Rule if name in by_rule.get(rule, {})}
        if scene is None or removed is None or len(rows) < len(Rule):
            continue
        kinds = {rule: row.category for rule, row in rows.items()}
        said = rows[Rule.ORACLE].answer or ()
        negated = question.facets.get("polarity") == "will not"
        found[name] = Explained(question, scene, removed, negated, said, kinds)
    return found


def object_name(thing: SceneObject) -> str:
    """An object in words: "red metal cube"."""
    return f"{thing.color} {thing.material} {thing.shape}"


def removed_name(one: Explained) -> str:
    """The object that the question takes away, in words."""
    return next(object_name(thing) for thing in one.scene.objects if thing.object_id == one.removed_object)


def collision_text(collision: Collision, scene: Scene) -> str:
    """A collision in words: "red metal cube hits blue rubber sphere"."""
    names = {thing.object_id: object_name(thing) for thing in scene.objects}
    first, second = collision.object_ids
    return f"{names[first]} hits {names[second]}"


def moment(frame: int) -> str:
    """A frame and its time in words: "frame 46, 1.84 s"."""
    return f"frame {frame}, {frame / FPS:.2f} s"


def log(scene: Scene) -> list[str]:
    """The collision log, one line per collision; it says which ones the film does not show."""
    return [
        f"{moment(hit.frame)}: {collision_text(hit, scene)}{'' if hit.seen else ', out of view'}" for hit in scene.collisions
    ]


def seen(one: Explained) -> list[str]:
    """For each option whether its event is in the film: "frame 46" (the first time), "no", or a dash where it is not certain.

    Collisions out of view are not in the film.
    Certain means that the text names two objects and the log agrees with the observer about them.
    """
    said = happens(one, one.observer)
    return [_seen(text, one, sure) for (_, text), sure in zip(one.options, said, strict=True)]


def _seen(option: str, one: Explained, observer: bool) -> str:
    pair = option_pair(option, one.scene)
    frame = next((hit.frame for hit in one.scene.collisions if hit.seen and hit.object_ids == pair), None)
    if pair is None or (frame is not None and one.removed_object not in pair) != observer:
        return "yes" if observer else DASH
    return "no" if frame is None else f"frame {frame}"


def happens(one: Explained, answer: tuple[str, ...]) -> list[bool]:
    """For each option whether its event takes place without the object, if `answer` is right."""
    return [(letter in answer) != one.negated for letter, _ in one.options]


def why(one: Explained) -> dict[str, str]:
    """For each rule a sentence that says what decides the label."""
    removed = removed_name(one)
    film = {letter: where for (letter, _), where in zip(one.options, seen(one), strict=True)}
    truth = zip(one.options, happens(one, one.question.gold), strict=True)
    real = {letter for (letter, _), takes_place in truth if takes_place}
    said, right = letters(one.observer), letters(one.question.gold)
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
            f"Whoever only watched would answer {said}; the right answer is {right}.",
        ),
    }
    return {rule: told[rule][one.categories[rule] is Category.INFERENTIAL] for rule in Rule}


def _named(film: dict[str, str], among: set[str]) -> str:
    """The seen collisions of the options `among`: "the collisions of options A (frame 46) and C (frame 80)"."""
    found = [f"{letter} ({where})" for letter, where in film.items() if letter in among and where.startswith("frame")]
    if not found:
        return "a collision that the options name"
    return f"the collision{'s' if len(found) > 1 else ''} of option{'s' if len(found) > 1 else ''} {ticked(found)}"
