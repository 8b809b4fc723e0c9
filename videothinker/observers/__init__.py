"""Who answers while looking less, and what follows from such an answer.

An *observer* is anyone who answers a question without all that it takes: the reader of a collision log, who only knows what
the clip shows; a checkpoint that saw one frame, or was asked what happens in place of what would happen. If the observer is
right, looking less was enough. That rule holds for any observer and any question, and is called *oracle*, since it needs the
gold answer:

    >>> oracle(answer=("A",), gold=("A",))
    <Category.OBSERVATIONAL: 'observational'>

`observers.log` has the collision log's observer, and the two rules that only make sense for it.
"""

from videothinker.records import Category


def oracle(answer: tuple[str, ...] | None, gold: tuple[str, ...]) -> Category:
    """Observational iff the observer answers the whole question right; an answer that cannot be read is not right.

    The strict reading of "can be answered from what was seen" (paper, section 3): the one under which looking is enough.
    """
    return category(answer is not None and set(answer) == set(gold))


def category(looking_is_enough: bool) -> Category:
    """What to call it."""
    return Category.OBSERVATIONAL if looking_is_enough else Category.INFERENTIAL
