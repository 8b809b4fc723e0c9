"""What a reply earns: a table of rewards, of which the settings' `[rewards]` names those that count and their weights.

The reward of a reply is the weighted sum; the paper adds accuracy and format with equal weight (section 4). Both call the
evaluator, so what earns reward in training is what counts as right in `vt diagnose`.

A new reward is a function and a line in `REWARDS`. Logs, completions.parquet and reports then show it under its name.
This module loads without torch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from videothinker import answers
from videothinker.records import Form

ACCURACY = "accuracy"
"""The reward that tells which replies are exactly right (1.0), for `objective.repel_on`."""


def accuracy(
    completions: Sequence[str], gold: Sequence[Sequence[str]], n_options: Sequence[int], form: Sequence[Form], **_: Any
) -> list[float]:
    """Soft accuracy, in [0, 1], as the question's form of answer reads and grades it; 0 for an empty or unreadable answer."""
    rows = zip(completions, gold, n_options, form, strict=True)
    return [answers.FORMS[kind].soft(answers.FORMS[kind].parse(reply, n), tuple(right)) for reply, right, n, kind in rows]


def format(completions: Sequence[str], **_: Any) -> list[float]:
    """1.0 for exactly one <think></think> followed by exactly one <answer></answer>, else 0.0."""
    return [answers.format_score(completion) for completion in completions]


class Reward(NamedTuple):
    """One thing that a reply can earn."""

    function: Callable[..., list[float]]
    """Called by TRL with the replies of a batch as `completions` and every column of `data.TrainingRow`, a list each, by name
    (and with more, which `**_` takes); returns one value per reply."""
    weight: float = 0.0
    """Where the settings have no `[rewards]`; 0: it counts only if they name it."""


REWARDS: dict[str, Reward] = {
    ACCURACY: Reward(accuracy, weight=1.0),
    "format": Reward(format, weight=1.0),
}
"""Every reward by its name in settings, `reward/NAME` of metrics.jsonl and the columns of completions.parquet."""


def default_weights() -> dict[str, float]:
    """The rewards of the paper, each with weight 1."""
    return {name: reward.weight for name, reward in REWARDS.items() if reward.weight}


def chosen(weights: Mapping[str, float]) -> dict[str, Reward]:
    """The rewards that `weights` names, so weighted, in the table's order: the order of a file must not move a rounding."""
    return {name: reward._replace(weight=weights[name]) for name, reward in REWARDS.items() if name in weights}
