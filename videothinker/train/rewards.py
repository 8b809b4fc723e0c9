"""What a reply earns: a table of rewards, of which the settings' `[rewards]` names those that count and their weights.

The reward of a reply is the weighted sum; the paper adds accuracy and format with equal weight (section 4). Both call the
evaluator, so what earns reward in training is what counts as right in `vt diagnose`.

A new reward is a function and a line in `REWARDS`. Logs, completions.parquet and reports then show it under its name.
This module loads without torch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from videothinker import answers
from videothinker.answers.twice import Twice
from videothinker.records import Form

ACCURACY = "accuracy"
"""The reward that tells which replies are exactly right (1.0), for `objective.repel_on`."""


FIRST, FALLBACK = "first", "fallback"
"""The rewards that need replies in the style "twice"; VideoAuto-R1's weights are 0.9 and 0.3, beside 1.1 for `accuracy`."""

ORDERED = "ordered"
"""The reward that needs replies about shuffled clips, `rollouts.shuffled`."""

RIGHT_IN_PART = 0.1
"""Soft accuracy above which a reply can earn `ordered`; Video-R1's code."""


def accuracy(
    completions: Sequence[str],
    gold: Sequence[Sequence[str]],
    n_options: Sequence[int],
    form: Sequence[Form],
    style: Sequence[answers.Style],
    **_: Any,
) -> list[float]:
    """Soft accuracy, in [0, 1], as the question's form of answer reads and grades it; 0 for an empty or unreadable answer.

    For sets of letters that is the paper's, for intervals temporal IoU, for estimates mean relative accuracy, else 1 or 0.

    In the style "twice" that is the accuracy of the second answer.
    """
    rows = zip(completions, gold, n_options, form, style, strict=True)
    return [
        answers.FORMS[kind].soft(answers.read(kind, reply, n, asked), tuple(right)) for reply, right, n, kind, asked in rows
    ]


def format(completions: Sequence[str], style: Sequence[answers.Style], **_: Any) -> list[float]:
    """1.0 for a reply that is laid out as its prompt's style asks for, else 0.0.

    That is exactly one <think></think> followed by exactly one <answer></answer>, or the answer alone (style "direct"), or a
    box, a <think></think> that is not blank and another box (style "twice").
    """
    return [answers.format_score(completion, kind) for completion, kind in zip(completions, style, strict=True)]


def first(
    completions: Sequence[str], gold: Sequence[Sequence[str]], n_options: Sequence[int], form: Sequence[Form], **_: Any
) -> list[float]:
    """Soft accuracy, in [0, 1], of the answer that is given before thinking (style "twice"); 0 for the fallback sentence."""
    rows = zip(_read_twice(completions, n_options, form), gold, form, strict=True)
    return [answers.FORMS[kind].soft(said.first, tuple(right)) for said, right, kind in rows]


def fallback(
    completions: Sequence[str], gold: Sequence[Sequence[str]], n_options: Sequence[int], form: Sequence[Form], **_: Any
) -> list[float]:
    """1.0 for a reply that first says that it has to think, and then is right (style "twice"); else 0.0."""
    rows = zip(_read_twice(completions, n_options, form), gold, form, strict=True)
    return [float(said.falls_back and answers.is_right(kind, said.second, tuple(right))) for said, right, kind in rows]


def _read_twice(completions: Sequence[str], n_options: Sequence[int], form: Sequence[Form]) -> list[Twice]:
    rows = zip(completions, n_options, form, strict=True)
    return [answers.read_twice(answers.FORMS[kind], reply, n) for reply, n, kind in rows]


def ordered(
    completions: Sequence[str],
    gold: Sequence[Sequence[str]],
    n_options: Sequence[int],
    form: Sequence[Form],
    style: Sequence[answers.Style],
    question_id: Sequence[str],
    to_reach: Sequence[float],
    **_: Any,
) -> list[float]:
    """1.0 for a reply that is right at least in part, to a question whose replies are on average as accurate as `to_reach`,
    else 0.0: the bonus of T-GRPO (Video-R1, arXiv 2503.21776), for doing as well on a clip as on its frames in another order.

    to_reach: the accuracy of replies about the question's shuffled clip, times `rollouts.shuffled_margin`; it comes with
    `rollouts.shuffled`. All replies to a question have to be among `completions`.
    """
    earned = accuracy(completions, gold, n_options, form, style)
    by_question: dict[str, list[float]] = {}
    for name, value in zip(question_id, earned, strict=True):
        by_question.setdefault(name, []).append(value)
    means = {name: sum(values) / len(values) for name, values in by_question.items()}
    rows = zip(question_id, earned, to_reach, strict=True)
    return [float(means[name] >= bar and value > RIGHT_IN_PART) for name, value, bar in rows]


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
    ORDERED: Reward(ordered),
    FIRST: Reward(first),
    FALLBACK: Reward(fallback),
}
"""Every reward by its name in settings, `reward/NAME` of metrics.jsonl and the columns of completions.parquet."""


def default_weights() -> dict[str, float]:
    """The rewards of the paper, each with weight 1."""
    return {name: reward.weight for name, reward in REWARDS.items() if reward.weight}


def weights_for_twice() -> dict[str, float]:
    """VideoAuto-R1's rewards and weights, for replies that answer twice; `accuracy` is that of the second answer."""
    return {ACCURACY: 1.1, "format": 1.0, FIRST: 0.9, FALLBACK: 0.3}


def chosen(weights: Mapping[str, float]) -> dict[str, Reward]:
    """The rewards that `weights` names, so weighted, in the table's order: the order of a file must not move a rounding."""
    return {name: reward._replace(weight=weights[name]) for name, reward in REWARDS.items() if name in weights}
