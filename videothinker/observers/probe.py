"""The observer who is a checkpoint asked so that it sees or is told less, and the category that its replies make.

It is asked several times. A reply is right, wrong or unread; a pass rate is the share of right ones among all that came, so an
unread one counts as neither right nor wrong, and moves a question towards unsure:

    >>> Asked(right=3, wrong=1, unread=0).category(Band())
    <Category.OBSERVATIONAL: 'observational'>
    >>> Asked(right=0, wrong=2, unread=2).category(Band())
    <Category.UNSURE: 'unsure'>
"""

from typing import NamedTuple

from videothinker.records import Category


class Band(NamedTuple):
    """Between which pass rates an observer's replies do not tell."""

    observational_from: float = 0.75
    """Least share of right replies of an observational question, in (inferential_up_to, 1]."""
    inferential_up_to: float = 0.25
    """Most that the share of wrong replies may lack of 1 for an inferential question, in [0, observational_from)."""

    @property
    def fault(self) -> str | None:
        """What is wrong with these bounds; None if nothing is."""
        if 0 <= self.inferential_up_to < self.observational_from <= 1:
            return None
        return (
            f"--observational-from {self.observational_from:g} with --inferential-up-to {self.inferential_up_to:g}: expected "
            "0 <= inferential-up-to < observational-from <= 1"
        )


class Asked(NamedTuple):
    """How often a question was answered how, under one view."""

    right: int
    wrong: int
    """Read, and not the gold answer."""
    unread: int

    @property
    def n(self) -> int:
        """Replies that came."""
        return self.right + self.wrong + self.unread

    @property
    def pass_rate(self) -> float | None:
        """Share of right replies among all that came, in [0, 1]; None if none did."""
        return self.right / self.n if self.n else None

    def category(self, band: Band) -> Category:
        """Observational if enough replies are right, inferential if enough are wrong, else unsure."""
        if self.n and self.right >= band.observational_from * self.n - _ROUNDING:
            return Category.OBSERVATIONAL
        if self.n and self.wrong >= (1 - band.inferential_up_to) * self.n - _ROUNDING:
            return Category.INFERENTIAL
        return Category.UNSURE


_ROUNDING = 1e-9
"""That 0.7 of 10 is not quite 7 to a computer must not decide a category."""
