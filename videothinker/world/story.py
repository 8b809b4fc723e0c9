"""What a scene's film shows, ready to be asked about: its events in order, what led to what, and how to name the objects."""

from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise
from random import Random
from typing import NamedTuple

import numpy as np

from videothinker.records import Collision, SceneObject
from videothinker.world.camera import in_view
from videothinker.world.simulate import Rollout

Pair = tuple[int, int]
"""The object_ids of two objects that collide, smaller first."""


class Event(NamedTuple):
    """Something that is seen to happen."""

    kind: str
    """"in" (it comes into view), "out" (it leaves the view) or "collision"."""
    frame: int
    """First frame after the change."""
    objects: tuple[int, ...]
    """object_ids: the one that comes or goes, or the two that collide."""


class Name(NamedTuple):
    """A referring expression."""

    text: str
    """Without article: "red cube", "metal object"."""
    program: list[str]
    """A program that leaves this one object on the stack."""


class Story:
    """One roll-out as its film tells it."""

    def __init__(self, rollout: Rollout) -> None:
        self.objects = rollout.objects
        self.seen = in_view(rollout.location)
        """(T, n) bool: True where the centre is in view."""
        self.speed = np.hypot(rollout.velocity[..., 0], rollout.velocity[..., 1])
        """(T, n): units per second."""
        # Row t is 1 where an object comes into view between frames t and t + 1, and -1 where it leaves.
        changes = np.diff(self.seen.astype(np.int8), axis=0)
        crossings = [
            Event("in" if changes[frame, i] > 0 else "out", int(frame) + 1, (self.objects[i].object_id,))
            for frame, i in np.argwhere(changes)
        ]
        contacts = [Event("collision", c.frame, c.object_ids) for c in rollout.collisions]
        self.events = sorted(crossings + contacts, key=lambda event: event.frame)
        """By frame; at the same frame entrances and exits before collisions."""
        self._names = {thing.object_id: shortest_names(thing, self.objects) for thing in self.objects}

    def of_kind(self, kind: str) -> list[Event]:
        """All events of a kind, by frame."""
        return [event for event in self.events if event.kind == kind]

    def once(self, kind: str) -> list[Event]:
        """Entrances ("in") or exits ("out") of the objects that do so exactly once."""
        events = self.of_kind(kind)
        return [event for event in events if sum(other.objects == event.objects for other in events) == 1]

    def name(self, object_id: int, rng: Random) -> Name:
        """One of the object's shortest names."""
        return rng.choice(self._names[object_id])

    def ancestors(self, event: Event) -> list[Event] | None:
        """All events that led to this one, by frame; None where two events of one object share a frame and have no order."""
        chains = {thing.object_id: [e for e in self.events if thing.object_id in e.objects] for thing in self.objects}
        if any(a.frame == b.frame for chain in chains.values() for a, b in pairwise(chain)):
            return None
        found: set[Event] = set()
        pending = [event]
        while pending:
            last = pending.pop()
            for chain in (chains[object_id] for object_id in last.objects):
                before = chain[: chain.index(last)][-1:]  # the last event before this one, if there is one
                pending += [e for e in before if e not in found]
                found.update(before)
        return sorted(found, key=lambda e: e.frame)


def shortest_names(thing: SceneObject, objects: Iterable[SceneObject]) -> list[Name]:
    """The expressions with the fewest attributes that fit this object and no other; never empty, for triples are unique."""
    looks = {"color": thing.color, "material": thing.material, "shape": thing.shape}
    others = [other for other in objects if other.object_id != thing.object_id]
    for n_attributes in range(1, 4):
        kept = [
            {attribute: looks[attribute] for attribute in attributes}
            for attributes in combinations(looks, n_attributes)
            if not any(all(getattr(other, a) == looks[a] for a in attributes) for other in others)
        ]
        if kept:
            return [Name(noun(chosen), ["objects", *filters(chosen), "unique"]) for chosen in kept]
    raise AssertionError(f"two objects look the same: {thing}")


def noun(attributes: dict[str, str]) -> str:
    """{"color": "red"} -> "red object"; attributes in the order color, material, shape."""
    return " ".join(attributes.values()) + ("" if "shape" in attributes else " object")


def filters(attributes: dict[str, str]) -> list[str]:
    """{"color": "red"} -> ["red", "filter_color"]."""
    return [token for attribute, value in attributes.items() for token in (value, f"filter_{attribute}")]


def collision_program(source: str, first: Name, second: Name) -> list[str]:
    """The collision of two objects among the events of `source` (events, or all_events for one that may not happen)."""
    return [source, *first.program, "filter_collision", *second.program, "filter_collision", "unique"]


def pairs(collisions: Sequence[Collision]) -> set[Pair]:
    """The pairs that collide."""
    return {collision.object_ids for collision in collisions}
