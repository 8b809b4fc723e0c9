"""Questions about what really happens: descriptive, explanatory and predictive, with answers read off the factual roll-out.

"Responsible" follows CLEVRER's causal graph. Entrances, exits and collisions are linked to the next event of each object that
takes part; an event is responsible for all that it leads to along the links, and an object is responsible for an event if it
takes part in one that is.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from random import Random
from typing import NamedTuple

from videothinker.records import Collision
from videothinker.world.story import Event, Story, collision_program, filters, noun, pairs
from videothinker.world.table import COLORS, MATERIALS, N_FRAMES, SHAPES

MOVING = 0.05
"""Speed above which an object is said to move, in units per second. Nothing is asked where a speed is within a factor of 3 of
it."""

_VALUES = {"color": COLORS, "material": MATERIALS, "shape": SHAPES}


class Description(NamedTuple):
    """A descriptive question and its answer."""

    text: str
    program: list[str]
    answer: str


class Option(NamedTuple):
    """One option of a multiple-choice question."""

    text: str
    program: list[str]
    is_correct: bool


class Choosing(NamedTuple):
    """A multiple-choice question."""

    text: str
    program: list[str]
    options: list[Option]


def describe(story: Story, n: int, rng: Random) -> list[Description]:
    """At most `n` different descriptive questions."""
    found: dict[tuple[str, ...], Description] = {}  # by program, since the same question in other words is not another one
    for _ in range(3 * n):
        question = rng.choice(_TEMPLATES)(story, rng)
        if question is not None:
            found.setdefault(tuple(question.program), question)
        if len(found) == n:
            break
    return list(found.values())


def _count_collisions(story: Story, rng: Random) -> Description | None:
    collisions = story.of_kind("collision")
    marks = story.once("in") + story.once("out")
    if not marks or rng.random() < 0.3:
        return Description(
            "How many collisions happen?", ["events", "objects", "filter_collision", "count"], str(len(collisions))
        )
    mark, side = rng.choice(marks), rng.choice(("before", "after"))
    counted = [c for c in collisions if (c.frame < mark.frame if side == "before" else c.frame > mark.frame)]
    text, program = _moment(story, mark, rng)
    program = ["events", *program, f"filter_{side}", "objects", "filter_collision", "count"]
    return Description(f"How many collisions happen {side} {text}?", program, str(len(counted)))


def _count_crossings(story: Story, rng: Random) -> Description | None:
    kind, verb = rng.choice((("in", "enter"), ("out", "exit")))
    look = _look(rng)
    n = sum(_fits(story, event.objects[0], look) for event in story.of_kind(kind))
    program = ["events", "objects", *filters(look), f"filter_{kind}", "count"]
    return Description(f"How many {noun(look).strip()}s {verb} the scene?", program, str(n))


def _motion(story: Story, rng: Random) -> Description | None:
    """How many moving or stationary objects there are at some moment, or whether there are any; None if a speed is in doubt."""
    entrances = story.once("in")
    choice = rng.random()
    if entrances and choice < 0.5:
        mark = rng.choice(entrances)
        frame, (when, at) = mark.frame, _moment(story, mark, rng)
        when = f"when {when}"
    elif choice < 0.6:
        frame, when, at = 0, "when the video begins", ["events", "start"]
    else:
        frame, when, at = N_FRAMES - 1, "when the video ends", ["events", "end"]
    speed = story.speed[frame][story.seen[frame]]
    if ((speed > MOVING / 3) & (speed < MOVING * 3)).any():
        return None
    state = rng.choice(("moving", "stationary"))
    moves = story.speed[frame] > MOVING
    there = story.seen[frame] & (moves if state == "moving" else ~moves)
    found = [thing.object_id for thing, is_there in zip(story.objects, there, strict=True) if is_there]
    look = _look(rng)
    n = sum(_fits(story, object_id, look) for object_id in found)
    program = ["objects", *filters(look), *at, "get_frame", f"filter_{state}"]
    things = f"{state} {noun(look).strip()}s"
    if rng.random() < 0.5:
        return Description(f"How many {things} are there {when}?", [*program, "count"], str(n))
    return Description(f"Are there any {things} {when}?", [*program, "exist"], "yes" if n else "no")


def _query_crossing(story: Story, rng: Random) -> Description | None:
    """The colour, material or shape of the first or last object to enter or exit."""
    kind, verb = rng.choice((("in", "enter"), ("out", "exit")))
    order = rng.choice(("first", "last"))
    event = _extreme(story.of_kind(kind), order)
    if event is None:
        return None
    program = ["events", "objects", f"filter_{kind}", order, "filter_order", "get_object"]
    return _query(story, f"the {order} object to {verb} the scene", program, event.objects[0], rng)


def _query_partner(story: Story, rng: Random) -> Description | None:
    """The colour, material or shape of the only, first or last object that hits a named one."""
    named = rng.choice(story.objects).object_id
    collisions = [event for event in story.of_kind("collision") if named in event.objects]
    order = rng.choice(("first", "last")) if len(collisions) > 1 else "unique"
    event = _extreme(collisions, order)
    if event is None:
        return None
    (partner,) = set(event.objects) - {named}
    name = story.name(named, rng)
    picked = ["unique"] if order == "unique" else [order, "filter_order"]
    program = ["events", *name.program, "filter_collision", *picked, *name.program, "get_col_partner"]
    which = "the object" if order == "unique" else f"the {order} object"
    return _query(story, f"{which} to collide with the {name.text}", program, partner, rng)


_TEMPLATES: tuple[Callable[[Story, Random], Description | None], ...] = (
    _count_collisions,
    _count_crossings,
    _motion,
    _motion,
    _query_crossing,
    _query_partner,
    _query_partner,
)


def _query(story: Story, which: str, program: list[str], object_id: int, rng: Random) -> Description:
    attribute = rng.choice(tuple(_VALUES))
    text = rng.choice((f"What is the {attribute} of {which}?", f"What {attribute} is {which}?"))
    return Description(text, [*program, f"query_{attribute}"], getattr(story.objects[object_id], attribute))


def _moment(story: Story, event: Event, rng: Random) -> tuple[str, list[str]]:
    """An entrance or exit in words and as a program: ("the red cube enters the scene", [...])."""
    name = story.name(event.objects[0], rng)
    verb = "enters" if event.kind == "in" else "exits"
    return f"the {name.text} {verb} the scene", ["events", *name.program, f"filter_{event.kind}", "unique"]


def _look(rng: Random) -> dict[str, str]:
    """A value of one attribute, such as {"color": "red"}, or of none: {}."""
    attribute = rng.choice(("", "", "color", "material", "shape"))
    return {attribute: rng.choice(_VALUES[attribute])} if attribute else {}


def _fits(story: Story, object_id: int, look: dict[str, str]) -> bool:
    return all(getattr(story.objects[object_id], attribute) == value for attribute, value in look.items())


def _extreme(events: list[Event], order: str) -> Event | None:
    """The first, last or only event; None if there is none, or if another one is at the same frame."""
    if not events:
        return None
    event = events[-1] if order == "last" else events[0]
    return event if sum(other.frame == event.frame for other in events) == 1 else None


def explain(story: Story, n: int, rng: Random) -> list[Choosing]:
    """At most `n` explanatory questions, each about a different event that has a cause."""
    targets = story.of_kind("collision") + story.once("out")
    rng.shuffle(targets)
    questions = [question for target in targets if (question := _explain(story, target, rng)) is not None]
    return questions[:n]


def _explain(story: Story, target: Event, rng: Random) -> Choosing | None:
    ancestors = story.ancestors(target)
    if not ancestors:
        return None
    causes = {object_id for event in ancestors for object_id in event.objects}
    is_negated = rng.random() < 0.5
    options = []
    for thing in story.objects:
        if thing.object_id not in target.objects:  # that a participant must be present goes without saying
            name = story.name(thing.object_id, rng)
            options.append(Option(f"the presence of the {name.text}", name.program, (thing.object_id in causes) != is_negated))
    for event in story.once("in") + story.of_kind("collision"):
        if event != target:
            text, program = _event(story, event, rng)
            options.append(Option(text, program, (event in ancestors) != is_negated))
    if len(options) < 3:
        return None
    rng.shuffle(options)
    # Sorted by truth, the two ends hold both answers wherever there are both.
    options.sort(key=lambda option: option.is_correct, reverse=rng.random() < 0.5)
    picked = [*options[:2], *options[-2:]] if len(options) > 3 else options
    rng.shuffle(picked)
    text, program = _event(story, target, rng)
    asked = f"Which of the following is {'not ' if is_negated else ''}responsible for {text}?"
    return Choosing(asked, ["events", *program, "filter_ancestor", "belong_to", *["negate"][: int(is_negated)]], picked)


def _event(story: Story, event: Event, rng: Random) -> tuple[str, list[str]]:
    """An event in words and as a program: ("the red cube's entrance", [...])."""
    first, *second = rng.sample([story.name(object_id, rng) for object_id in event.objects], len(event.objects))
    if event.kind == "collision":
        text = rng.choice(
            (
                f"the collision between the {first.text} and the {second[0].text}",
                f"the {first.text}'s colliding with the {second[0].text}",
            )
        )
        return text, collision_program("events", first, second[0])
    words = ("entrance", "entering the scene") if event.kind == "in" else ("exit", "exiting the scene")
    return f"the {first.text}'s {rng.choice(words)}", ["events", *first.program, f"filter_{event.kind}", "unique"]


def predict(story: Story, unseen: Sequence[Collision], rng: Random) -> Choosing | None:
    """A question about what comes after the clip, with the next collision and one that does not come as its options.

    unseen: the collisions after the clip, by frame. None if there are none, or if every other pair collides, too.
    """
    ids = [thing.object_id for thing in story.objects]
    met = {event.objects for event in story.of_kind("collision")}
    others = [pair for pair in combinations(ids, 2) if pair not in met | pairs(unseen)]
    if not unseen or not others:
        return None
    options = [
        collision_option(story, pair, pair == unseen[0].object_ids, rng) for pair in (unseen[0].object_ids, rng.choice(others))
    ]
    rng.shuffle(options)
    text = rng.choice(("What will happen next?", "Which event will happen next?"))
    return Choosing(text, ["unseen_events", "belong_to"], options)


def collision_option(story: Story, pair: tuple[int, int], is_correct: bool, rng: Random) -> Option:
    """An option that says that these two objects collide."""
    first, second = rng.sample([story.name(object_id, rng) for object_id in pair], 2)
    text = rng.choice((f"The {first.text} collides with the {second.text}", f"The {first.text} and the {second.text} collide"))
    return Option(text, collision_program("all_events", first, second), is_correct)
