"""A repulsion whose weight follows the divergence that it causes: an attempt to do without a sweep over weights.

Which weight is right depends on start model, reward and form of the divergence; in the preparatory experiment ten times the
paper's ended some models in junk (docs/training.md). So the divergence is held: it is measured over the first `FIRST_STEPS`
steps, where the policy has hardly left its start, and `hold_at` times that is the target. After every later step the weight
moves towards the target in log space, log weight += GAIN * clip(log(target / measured), -1, 1), and stays within `WEIGHTS`.

It does not hold well: the divergence answers late and does not come back soon, so the weight went near its bound and the
divergence far past the target (docs/training.md).
"""

import math
from pathlib import Path
from typing import Any

import msgspec
from transformers import TrainerCallback

from videothinker import store

GAIN = 0.1
"""Ten steps far from the target change the weight by a factor of e."""
FIRST_STEPS = 10
"""One step is too noisy: between the seeds of a study it differed by a factor of two, the mean of ten steps by a sixth."""
WEIGHTS = (1e-4, 0.2)
"""Least and most repulsion. The most is twice what broke some models of the preparatory experiment when it was constant; a held
weight falls again once the target is passed."""
HELD_FILE = "repulsion.json"


class HeldWeight(msgspec.Struct):
    """The weight and what its target rests on: what a resumed run has to know, repulsion.json of a trainer's checkpoint."""

    weight: float
    """|beta| of the next step."""
    first: list[float] = []
    """Divergences of the first steps, nats per token: at most `FIRST_STEPS`, whose mean the target is a multiple of."""

    def move(self, measured: float, hold_at: float) -> None:
        """Take in a step's divergence, nats per token; one that is no positive number changes nothing."""
        if not (math.isfinite(measured) and measured > 0):
            return
        if len(self.first) < FIRST_STEPS:
            self.first.append(measured)
            return
        target = hold_at * sum(self.first) / FIRST_STEPS
        error = min(max(math.log(target / measured), -1.0), 1.0)
        low, high = WEIGHTS
        self.weight = min(max(self.weight * math.exp(GAIN * error), low), high)


class Hold(TrainerCallback):  # type: ignore[misc]
    """The weight of the divergence in the loss: constant, or held by a target; part of the trainer's checkpoints.

    repulsion: |beta| to begin with. hold_at: target as a multiple of the start's divergence; None: constant.
    """

    def __init__(self, repulsion: float, hold_at: float | None) -> None:
        self.held = HeldWeight(repulsion)
        self._hold_at = hold_at
        self._measured: list[float] = []

    @property
    def weight(self) -> float:
        """|beta| of this step."""
        return self.held.weight

    def measure(self, divergence: float) -> None:
        """Note the divergence of a part of this step's replies: nats per token, mean over the replies of all processes."""
        self._measured.append(divergence)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._hold_at is not None and self._measured:
            self.held.move(sum(self._measured) / len(self._measured), self._hold_at)
        self._measured.clear()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._hold_at is not None and state.is_world_process_zero:
            store.write_json(_file(args, state), self.held)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._hold_at is not None and state.global_step > 0:
            self.held = store.read_json(_file(args, state), HeldWeight)


def _file(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / HELD_FILE
