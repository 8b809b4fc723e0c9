"""What replies that answer twice come to: how often each answer is right, and what thinking changes.

>>> from videothinker.answers.letters import Letters
>>> from videothinker.answers.twice import read_twice
>>> replies = ["\\\\boxed{A}<think>No.</think>\\\\boxed{B}", "\\\\boxed{B}<think> </think>\\\\boxed{B}"]
>>> tally([Answered(read_twice(Letters(), reply, 2), ("B",), Letters()) for reply in replies])._asdict()["fix_rate"]
1.0
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from videothinker.answers.form import AnswerForm
from videothinker.answers.twice import Twice


class Answered(NamedTuple):
    """A reply in the style "twice" and the answer it should have given."""

    said: Twice
    gold: Sequence[str]
    form: AnswerForm
    """That of the question, which says what is right."""

    @property
    def right(self) -> tuple[bool, bool]:
        """Whether the first answer is right, and the second."""
        first, second = (
            said is not None and self.form.soft(said, tuple(self.gold)) >= self.form.right_from
            for said in (self.said.first, self.said.second)
        )
        return first, second


class Tally(NamedTuple):
    """Shares in [0, 1] over replies; None over nothing."""

    n: int
    """Replies."""
    first_right: float | None
    """Of all replies, those whose first answer is right; the fallback sentence is no answer."""
    second_right: float | None
    """Of all replies, those whose second answer is right: what the model's accuracy is."""
    fix_rate: float | None
    """Of the replies with a first answer that is wrong, those whose second is right."""
    break_rate: float | None
    """Of the replies with a first answer that is right, those whose second is not."""
    fallback_share: float | None
    """Of all replies, those that begin with the fallback sentence in place of an answer."""
    blank_thought_share: float | None
    """Of all replies, those with a <think></think> that holds nothing."""


def tally(replies: Iterable[Answered]) -> Tally:
    """The shares over the replies."""
    rows = list(replies)
    first = [row.right[0] for row in rows]
    second = [row.right[1] for row in rows]
    committed = [row.said.first is not None for row in rows]
    return Tally(
        n=len(rows),
        first_right=_share(first),
        second_right=_share(second),
        fix_rate=_share([after for before, after, said in zip(first, second, committed, strict=True) if said and not before]),
        break_rate=_share([not after for before, after in zip(first, second, strict=True) if before]),
        fallback_share=_share([row.said.falls_back for row in rows]),
        blank_thought_share=_share([row.said.thinking == "" for row in rows]),
    )


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
