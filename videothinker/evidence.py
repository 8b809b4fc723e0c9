"""Where a clip shows what a question's label rests on: the collisions that its options name and the film shows.

Every rule that labels CLEVRER's counterfactual questions asks which of the options' collisions were seen
(`observers.log`), so those moments are the evidence. A question none of whose options was seen to happen has none.
Options are read as `option_pair` reads them, which gives None rather than a guess.
"""

import re

from videothinker.damage import Span
from videothinker.records import Question, Scene
from videothinker.records.scene import FPS

REACH_S = 0.2
"""Seconds before and after a contact that count as evidence: five frames at CLEVRER's rate, in which an object of ordinary
speed moves by about its own width."""

_OBJECT = re.compile(
    r"\b(?:(?P<color>gray|brown|green|red|blue|purple|yellow|cyan) )?(?:(?P<material>metal|rubber) )?"
    r"(?P<shape>cube|cylinder|sphere|object)\b"
)


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


def spans(question: Question, scene: Scene) -> tuple[Span, ...]:
    """The evidence of a question about a scene, in the order of the log: each contact with `REACH_S` before and after it."""
    named = {option_pair(option, scene) for option in question.options}
    seen = (hit for hit in scene.collisions if hit.seen and hit.object_ids in named)
    return tuple((max(hit.frame / FPS - REACH_S, 0.0), hit.frame / FPS + REACH_S) for hit in seen)
