"""A second reading of CLEVRER's programs, for tests: answers questions from an annotation file.

It shares no code with the package. Postfix tokens on a stack; the choice's program runs first, then the question's. What no
annotation holds (what comes after the clip, what would have happened) is handed in as pairs of object_ids.
"""

import itertools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

LOOKS = ("color", "material", "shape")
MOVING = 0.05


class Seen(NamedTuple):
    kind: str
    frame: int
    who: frozenset[int]


class Executor:
    def __init__(self, annotation: dict[str, Any], unseen: Iterable[Any] = (), counterfactual: Any = None) -> None:
        self.looks = {thing["object_id"]: thing for thing in annotation["object_property"]}
        self.frames = [{state["object_id"]: state for state in f["objects"]} for f in annotation["motion_trajectory"]]
        self.unseen = [Seen("collision", 128, frozenset(pair)) for pair in unseen]
        self.counterfactual = counterfactual or {}
        self.events = []
        for frame in range(1, len(self.frames)):
            for who in self.looks:
                before, now = (self.frames[f][who]["inside_camera_view"] for f in (frame - 1, frame))
                if before != now:
                    self.events.append(Seen("in" if now else "out", frame, frozenset([who])))
        self.events += [Seen("collision", c["frame_id"], frozenset(c["object_ids"])) for c in annotation["collision"]]
        self.events.sort(key=lambda event: event.frame)

    def run(self, *programs: list[str]) -> str:
        stack: list[Any] = []
        for token in itertools.chain(*programs):
            self.step(token, stack)
        (answer,) = stack
        return str(answer)

    def step(self, token: str, stack: list[Any]) -> None:
        pop, push = stack.pop, stack.append
        match token:
            case "objects":
                push(list(self.looks))
            case "events":
                push(self.events)
            case "all_events":
                push([Seen("collision", -1, frozenset(pair)) for pair in itertools.combinations(self.looks, 2)])
            case "unseen_events":
                push(self.unseen)
            case "filter_color" | "filter_material" | "filter_shape":
                value, things = pop(), pop()
                push([who for who in things if self.looks[who][token.removeprefix("filter_")] == value])
            case "unique":
                (only,) = pop()
                push(only)
            case "filter_collision" | "filter_in" | "filter_out":
                who, events = pop(), pop()
                wanted = {who} if isinstance(who, int) else set(who)
                push([e for e in events if e.kind == token.removeprefix("filter_") and e.who & wanted])
            case "filter_before" | "filter_after":
                mark, events = pop(), pop()
                push([e for e in events if (e.frame < mark.frame if token == "filter_before" else e.frame > mark.frame)])
            case "filter_order":
                order, events = pop(), pop()
                push(events[0 if order == "first" else -1])
            case "start" | "end":
                pop()
                push(Seen(token, 0 if token == "start" else 127, frozenset()))
            case "get_frame":
                push(pop().frame)
            case "get_object":
                (who,) = pop().who
                push(who)
            case "get_col_partner":
                who, event = pop(), pop()
                (partner,) = event.who - {who}
                push(partner)
            case "filter_moving" | "filter_stationary":
                frame, things = pop(), pop()
                push([who for who in things if self.is_in(frame, who, moving=token == "filter_moving")])
            case "count":
                push(len(pop()))
            case "exist":
                push("yes" if pop() else "no")
            case "query_color" | "query_material" | "query_shape":
                push(self.looks[pop()][token.removeprefix("query_")])
            case "filter_ancestor":
                event, events = pop(), pop()
                push(causes(event, events))
            case "filter_counterfact" | "get_counterfact":
                who, _ = pop(), pop()
                push([Seen("collision", -1, frozenset(pair)) for pair in self.counterfactual[who]])
            case "belong_to":
                events, thing = pop(), pop()
                if isinstance(thing, int):
                    push("yes" if any(thing in e.who for e in events) else "no")
                else:
                    push("yes" if any((e.kind, e.who) == (thing.kind, thing.who) for e in events) else "no")
            case "negate":
                push({"yes": "no", "no": "yes"}[pop()])
            case _:
                push(token)

    def is_in(self, frame: int, who: int, *, moving: bool) -> bool:
        state = self.frames[frame][who]
        return state["inside_camera_view"] and (math.hypot(*state["velocity"]) > MOVING) == moving


def causes(event: Seen, events: list[Seen]) -> list[Seen]:
    """Fixed point of: the last event before a known one that shares an object with it is a cause, for each such object."""
    known = {event}
    while True:
        grown = set(known)
        for later in known:
            for who in later.who:
                earlier = [e for e in events if who in e.who and e.frame < later.frame]
                grown |= set(earlier[-1:])
        if grown == known:
            return sorted(known - {event}, key=lambda e: e.frame)
        known = grown
