"""The two rewards, each a call of the evaluator: what earns reward in training is what counts as right in `vt diagnose`.

They are summed (paper, section 4). TRL passes one entry a reply and the dataset's columns by name.
"""

from typing import Any

from videothinker import mcq

Completions = list[list[dict[str, str]]]
"""One conversation a reply, its only message the model's."""


def accuracy(completions: Completions, gold: list[list[str]], n_options: list[int], **_: Any) -> list[float]:
    """Soft accuracy, in [0, 1]: `mcq.soft_score` of what `mcq.parse_reply` reads; 0 for an empty or unreadable answer."""
    replies = [completion[0]["content"] for completion in completions]
    return [mcq.soft_score(mcq.parse_reply(r, n), tuple(right)) for r, n, right in zip(replies, n_options, gold, strict=True)]


def format(completions: Completions, **_: Any) -> list[float]:
    """1.0 for exactly one <think></think> followed by exactly one <answer></answer>, else 0.0."""
    return [mcq.format_score(completion[0]["content"]) for completion in completions]
