"""Replies about shuffled clips, beside which those about the clips themselves are held: T-GRPO's bonus (`rewards.ordered`)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from videothinker.train.data import TrainingRow
from videothinker.train.rewards import accuracy


class Shuffled(NamedTuple):
    """How questions are asked about shuffled clips."""

    n_replies: int
    """To each question."""
    margin: float
    """How much of their accuracy has to be reached."""
    seed: int
    """What the orders are drawn from, together with the question."""

    def accuracies(self, questions: Sequence[TrainingRow], replies: Sequence[str]) -> torch.Tensor:
        """(Q,): the mean soft accuracy of the replies to each of Q questions, which lie side by side."""
        rows = [question for question in questions for _ in range(self.n_replies)]
        earned = accuracy(
            replies,
            gold=[row["gold"] for row in rows],
            n_options=[row["n_options"] for row in rows],
            form=[row["form"] for row in rows],
            style=[row["style"] for row in rows],
        )
        return torch.tensor(earned).view(-1, self.n_replies).mean(dim=1)


def first_rows(numbers: Sequence[int]) -> dict[int, int]:
    """For each number the first row that has it, in the order of these rows."""
    first: dict[int, int] = {}
    for row, number in enumerate(numbers):
        first.setdefault(number, row)
    return first
