"""What a run writes down, and when it raises the alarm: on rows written by hand."""

from typing import Any

import pytest

from videothinker.records.training import StepRecord
from videothinker.train.record import Watch
from videothinker.train.stages import Alarms


def row(step: int, **values: Any) -> StepRecord:
    rewards = {"format": values.pop("format", 1.0)}
    return StepRecord(step=step, tokens=100 * step, rewards=rewards, **({"length": 50.0, "reward": 1.0} | values))


def alarms(rows: list[dict[str, Any]], window: int = 3) -> list[int]:
    """Steps at which an alarm was raised."""
    watch = Watch(Alarms(window=window))
    return [step for step, values in enumerate(rows, 1) if watch.look(row(step, **values))]


def test_a_steady_run_raises_none() -> None:
    assert alarms([{}] * 30) == []


def test_replies_half_as_long_again_as_at_the_start_raise_it() -> None:
    assert alarms([{"length": 50.0}] * 3 + [{"length": 74.0}] * 3) == []
    assert alarms([{"length": 50.0}] * 3 + [{"length": 76.0}] * 3) == [6]


def test_a_format_that_is_lost_raises_it_and_one_that_is_still_being_learnt_does_not() -> None:
    assert alarms([{"format": 1.0}] * 3 + [{"format": 0.9}] * 3) == [6]
    assert alarms([{"format": 0.2}] * 3 + [{"format": 0.9}] * 3) == []
    assert alarms([{"format": 0.2}] * 3 + [{"format": 1.0}] * 3 + [{"format": 0.9}] * 3) == [7, 8, 9]


def test_a_divergence_that_doubles_raises_it_but_not_one_that_is_still_small() -> None:
    assert alarms([{"kl": 0.1}] * 3 + [{"kl": 0.25}] * 3) == [6]
    assert alarms([{"kl": 0.01}] * 3 + [{"kl": 0.05}] * 3) == []
    assert alarms([{"kl": 1.0}] * 3 + [{"kl": 1.5}] * 3) == []
    assert alarms([{"kl": None}] * 12) == []


@pytest.mark.parametrize(("reward", "words"), [(0.0, "every reply has earned 0"), (1.5, "earned the same")])
def test_rewards_that_teach_nothing_are_told_once(reward: float, words: str) -> None:
    watch = Watch(Alarms(idle_steps=4))
    told = []
    for step in range(1, 12):
        watch.look(row(step, reward=reward, zero_advantage_share=1.0))
        if message := watch.idle():
            told.append((step, message))
    assert [step for step, _ in told] == [4]
    assert words in told[0][1]


def test_one_group_that_differs_is_enough_to_go_on() -> None:
    watch = Watch(Alarms(idle_steps=4))
    for step in range(1, 20):
        watch.look(row(step, zero_advantage_share=0.5 if step % 3 == 0 else 1.0))
        assert watch.idle() is None
