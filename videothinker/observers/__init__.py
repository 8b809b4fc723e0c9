"""Observers, who answer while looking less, and what follows from their answers.

An *observer* is anyone who answers a question without all that it takes. Examples are the reader of a collision log, who only
knows what the clip shows, and a checkpoint that saw one frame or was asked what happens instead of what would happen. If the
observer is right, looking less was enough. That rule holds for any observer and any question; it is called *oracle*, because it
needs the gold answer:

    >>> oracle(answer=("A",), gold=("A",))
    <Category.OBSERVATIONAL: 'observational'>

`observers.log` has the observer who reads the collision log, and two rules that make sense for that one only.
"""

from videothinker.records import Category


def oracle(answer: tuple[str, ...] | None, gold: tuple[str, ...]) -> Category:
    """Observational iff the observer answers the whole question right; an answer that cannot be read is not right.

    This is the strict reading of "can be answered from what was seen" (paper, section 3): under it, looking really is enough.
    """
    return category(answer is not None and set(answer) == set(gold))


def category(looking_is_enough: bool) -> Category:
    """Observational if looking is enough, otherwise inferential."""
    return Category.OBSERVATIONAL if looking_is_enough else Category.INFERENTIAL
