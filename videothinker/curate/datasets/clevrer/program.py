"""What a CLEVRER program names: the event of an option, or the object that a counterfactual question removes.

Programs are postfix token lists run on a stack. Here they run on *descriptions* ("the metal cube") instead of objects, so that
a program is parsed once and resolved against each scene. Two dialects exist: options begin with `all_events` or, in explanatory
questions, with `events`; the removal is `filter_counterfact`, `get_counterfact` or `counterfact_events`.

    all_events objects metal filter_material cube filter_shape unique filter_collision
        objects sphere filter_shape unique filter_collision unique      -> collision of the metal cube and the sphere
    all_events objects green filter_color unique filter_counterfact belong_to negate
                                                                        -> without the green object, "will not happen"

Source: the modules and their arguments as the CLEVRER release describes them (Yi et al., ICLR 2020, appendix). Modules that
counterfactual questions do not use (counting, order, queries, motion) are known by name, and refused with that reason.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from videothinker.records import SceneObject

Color = Literal["gray", "brown", "green", "red", "blue", "purple", "yellow", "cyan"]
Material = Literal["metal", "rubber"]
Shape = Literal["cube", "cylinder", "sphere"]

_ATTRIBUTES: dict[str, tuple[str, ...]] = {"color": get_args(Color), "material": get_args(Material), "shape": get_args(Shape)}
# Modules of other questions; to follow them one would need the trajectory, and none is part of a counterfactual question.
_OTHER_TOKENS = re.compile(
    r"count|exist|start|end|first|second|last|null|unseen_events|query_\w+|"
    r"filter_(after|ancestor|before|end|moving|order|resting|start|stationary)"
)


class ProgramError(ValueError):
    """A program names neither an event nor a removed object, or does not fit its scene; the message says where and why."""


class Description(NamedTuple):
    """A referring expression: an attribute that is not mentioned is None."""

    color: str | None = None
    material: str | None = None
    shape: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.color, self.material, self.shape or "object")))


class EventKind(StrEnum):
    """What an option may be about."""

    COLLISION = "collision"
    IN = "in"
    """The object enters the scene."""
    OUT = "out"
    """The object leaves the scene."""
    PRESENCE = "presence"
    """The object is there (explanatory questions)."""


class Event(NamedTuple):
    """The event that an option names."""

    kind: EventKind
    objects: tuple[Description, ...]
    """The two of a collision, in program order, or the one of any other event."""


class Removal(NamedTuple):
    """What a counterfactual question asks."""

    removed: Description
    negated: bool
    """True for "what will not happen"."""


class _Objects(NamedTuple):
    """A set of objects on the stack; `unique` makes it a `Description`."""

    description: Description


class _Events(NamedTuple):
    """A set of events on the stack; its kind is None as long as no filter was applied. `unique` makes it an `Event`."""

    kind: EventKind | None = None
    objects: tuple[Description, ...] = ()


class _Attribute(NamedTuple):
    """A word waiting for its filter."""

    word: str


class _Counterfactual(NamedTuple):
    """The events that remain without an object."""

    removed: Description


V = TypeVar("V")
_NEEDS = {
    _Objects: "a set of objects",
    _Events: "events",
    _Attribute: "a word to filter by",
    Description: "one object (after 'unique')",
    _Counterfactual: "counterfactual events",
    Removal: "a statement (after 'belong_to')",
}


class _Stack:
    """The machine that a program runs on. `where` names the current token, for errors."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.where = ""

    def pop(self, kind: type[V]) -> V:
        if not self.values or not isinstance(self.values[-1], kind):
            found = "nothing" if not self.values else f"'{_name(self.values[-1])}'"
            raise ProgramError(f"{self.where} needs {_NEEDS[kind]}, found {found}")
        value: V = self.values.pop()
        return value

    def run(self, token: str) -> None:
        """Apply one token that may stand in an option or in a question."""
        match token:
            case "events" | "all_events":
                self.values.append(_Events())
            case "objects":
                self.values.append(_Objects(Description()))
            case "filter_color" | "filter_material" | "filter_shape":
                attribute = token.removeprefix("filter_")
                word, objects = self.pop(_Attribute).word, self.pop(_Objects)
                if word not in _ATTRIBUTES[attribute]:
                    raise ProgramError(f"{self.where}: '{word}' is no {attribute}")
                if getattr(objects.description, attribute) is not None:
                    raise ProgramError(f"{self.where}: the {attribute} is filtered twice")
                self.values.append(_Objects(objects.description._replace(**{attribute: word})))
            case "unique" if self.values and isinstance(self.values[-1], _Events):
                self.values.append(_event(self.pop(_Events), self.where))
            case "unique":
                self.values.append(self.pop(_Objects).description)
            case "filter_collision" | "filter_in" | "filter_out":
                kind = EventKind(token.removeprefix("filter_"))
                participant, events = self.pop(Description), self.pop(_Events)
                if events.kind not in (None, kind) or len(events.objects) == (2 if kind is EventKind.COLLISION else 1):
                    raise ProgramError(f"{self.where}: these events are already filtered")
                self.values.append(_Events(kind, (*events.objects, participant)))
            case "filter_counterfact":
                removed, _ = self.pop(Description), self.pop(_Events)
                self.values.append(_Counterfactual(removed))
            case "counterfact_events" | "get_counterfact":
                removed = self.pop(Description)
                if self.values and isinstance(self.values[-1], _Events):  # some programs put all_events first here too
                    self.pop(_Events)
                self.values.append(_Counterfactual(removed))
            case "belong_to":
                self.values.append(Removal(self.pop(_Counterfactual).removed, negated=False))
            case "negate":
                statement = self.pop(Removal)
                self.values.append(statement._replace(negated=not statement.negated))
            case _ if any(token in words for words in _ATTRIBUTES.values()):
                self.values.append(_Attribute(token))
            case _ if _OTHER_TOKENS.fullmatch(token):
                raise ProgramError(f"{self.where} is not used by counterfactual questions; only collisions can be looked up")
            case _:
                raise ProgramError(f"{self.where} is unknown")


def _run(tokens: Sequence[str]) -> Any:
    """The one value that a program leaves on the stack."""
    stack = _Stack()
    for position, token in enumerate(tokens):
        stack.where = f"token {position} '{token}'"
        stack.run(token)
    if len(stack.values) != 1:
        left = ", ".join(f"'{_name(value)}'" for value in stack.values) or "nothing"
        raise ProgramError(f"a program of {len(tokens)} tokens leaves {left} on the stack, expected one value")
    return stack.values[0]


def _event(events: _Events, where: str) -> Event:
    if events.kind is None:
        raise ProgramError(f"{where}: no filter says which event is meant")
    if events.kind is EventKind.COLLISION and len(events.objects) == 1:
        raise ProgramError(f"{where}: a collision of {events.objects[0]} with what? 'filter_collision' is there once")
    return Event(events.kind, events.objects)


def _name(value: Any) -> str:
    match value:
        case _Attribute():
            return value.word
        case _Objects():
            return f"objects: {value.description}"
        case Description():
            return str(value)
        case _Events() | Event():
            return f"events: {value.kind or 'all'}"
        case _:
            return "counterfactual"


@lru_cache(maxsize=100_000)
def parse_choice(tokens: tuple[str, ...]) -> Event:
    """The event that an option's program names; a final `unique` may be absent.

    Raises:
        ProgramError: it is no program of a collision, entrance, exit or presence; the message names token and position.
    """
    value = _run(tokens)
    match value:
        case Event():
            return value
        case _Events():
            return _event(value, "the program's end")
        case _Objects():
            return Event(EventKind.PRESENCE, (value.description,))
        case Description():
            return Event(EventKind.PRESENCE, (value,))
        case _:
            raise ProgramError(f"the program names no event, it ends in '{tokens[-1]}'")


@lru_cache(maxsize=100_000)
def parse_question(tokens: tuple[str, ...]) -> Removal:
    """The object that a counterfactual question's program removes, and whether it asks what will not happen.

    Raises:
        ProgramError: it is no program of a counterfactual question; the message names token and position.
    """
    value = _run(tokens)
    if not isinstance(value, Removal):
        raise ProgramError("the program does not end in 'belong_to' or 'negate', so it is no counterfactual question's")
    return value


def resolve(description: Description, objects: Sequence[SceneObject]) -> int:
    """The object_id of the one object that fits a description.

    Raises:
        ProgramError: no object fits, or several do.
    """
    ids = [
        thing.object_id
        for thing in objects
        if description.color in (None, thing.color)
        and description.material in (None, thing.material)
        and description.shape in (None, thing.shape)
    ]
    if not ids:
        raise ProgramError(f"'{description}' fits no object of the scene")
    if len(ids) > 1:
        raise ProgramError(f"'{description}' fits {len(ids)} objects (object_id {', '.join(map(str, ids))}), expected one")
    return ids[0]
