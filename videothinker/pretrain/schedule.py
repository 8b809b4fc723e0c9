"""How much of a run is over, by its steps or by the clock, and the learning rate that belongs there."""

import math
import time
from collections.abc import Callable

from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.settings import OptimizerSettings


def learning_rate(plan: OptimizerSettings, step: int, gone: float) -> float:
    """The learning rate of step 0, 1, ..., when the share `gone` of the run is over."""
    rise = (step + 1) / plan.warmup_steps if plan.warmup_steps else 1.0
    left = 1 - plan.settle_share - gone
    fall = left / plan.decay_share if plan.decay_share else float(left > 0)
    lowest = plan.settle_rate if plan.settle_share else 0.0
    return plan.learning_rate * min(1.0, rise, max(lowest, fall))


class Clock:
    """How much of a run is over. All processes are told the first one's time, so that they agree on every rate.

    Reading the time together makes GPUs wait, so it is not done at every step. In between, a run that is measured by minutes is
    taken to go on at its latest pace.
    """

    def __init__(self, plan: OptimizerSettings, ranks: Ranks, now: Callable[[], float] = time.monotonic) -> None:
        """now: the present in seconds, on any scale."""
        self._plan, self._ranks, self._now = plan, ranks, now
        self.minutes = 0.0
        """Time since the beginning, as of the last `look`."""
        self.is_over = False
        """Whether the time limit had come, as of the last `look`."""
        self._begins, self._seconds = 0.0, math.inf
        self._looked, self._gone, self._pace = 0, 0.0, 0.0

    @property
    def by_minutes(self) -> bool:
        """Whether minutes and not steps measure the run."""
        return self._plan.schedule == "minutes"

    def start(self, begins: float, max_minutes: float | None, step: int) -> None:
        """Run from `begins`, a time of `now`, for `max_minutes`, or without a limit; `step` is the number of steps taken."""
        self._begins = begins
        self._seconds = math.inf if max_minutes is None else max_minutes * 60
        self.look(step, 0.0)

    def look(self, step: int, seconds_per_step: float) -> None:
        """Read the time, together with all other processes, after `step` steps."""
        passed = self._now() - self._begins
        gone = passed / self._seconds if self.by_minutes else 0.0
        pace = seconds_per_step / self._seconds if self.by_minutes else 0.0
        self.minutes, over, self._gone, self._pace = self._ranks.agree(passed / 60, passed >= self._seconds, gone, pace)
        self.is_over, self._looked = bool(over), step

    def gone(self, step: int) -> float:
        """Share of the run that is over after `step` steps, at or near the last `look`; the same in all processes."""
        by_steps = step / self._plan.steps
        if not self.by_minutes:
            return by_steps
        return min(1.0, max(by_steps, self._gone + (step - self._looked) * self._pace))
