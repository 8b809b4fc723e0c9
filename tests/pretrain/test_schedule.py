"""The learning rate rises, stays and falls, and a run is over by its steps or by the clock."""

import pytest

from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.schedule import Clock, learning_rate
from videothinker.pretrain.settings import OptimizerSettings


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    plan = OptimizerSettings(learning_rate=1.0, warmup_steps=4, decay_share=0.2)
    rates = [learning_rate(plan, step, step / 100) for step in range(100)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[80] == pytest.approx(1.0)
    assert rates[90] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.05)
    assert learning_rate(plan, 1000, 1.5) == 0


def test_a_rate_that_settles_falls_earlier_and_stays() -> None:
    plan = OptimizerSettings(learning_rate=2.0, warmup_steps=0, decay_share=0.5, settle_share=0.25, settle_rate=0.1)
    assert learning_rate(plan, 0, 0.25) == pytest.approx(2.0)
    assert learning_rate(plan, 0, 0.5) == pytest.approx(1.0)
    assert [learning_rate(plan, 0, gone) for gone in (0.75, 0.9, 1.0)] == pytest.approx([0.2, 0.2, 0.2])
    at_once = OptimizerSettings(learning_rate=2.0, warmup_steps=0, decay_share=0, settle_share=0.25, settle_rate=0.1)
    assert [learning_rate(at_once, 0, gone) for gone in (0.74, 0.76)] == pytest.approx([2.0, 0.2])


class Time:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_run_by_minutes_goes_on_at_its_latest_pace_between_two_looks() -> None:
    time = Time()
    clock = Clock(OptimizerSettings(steps=1000, schedule="minutes"), Ranks(0, 1, "cpu"), time)
    clock.start(time.now - 60, 10.0, 7)  # one minute of ten was used before the run was resumed
    assert (clock.minutes, clock.is_over) == (1.0, False)
    assert clock.gone(7) == pytest.approx(0.1)
    assert clock.gone(9) == pytest.approx(0.1)  # no pace is known yet
    time.now += 240
    clock.look(20, seconds_per_step=6.0)
    assert clock.gone(20) == pytest.approx(0.5)
    assert clock.gone(25) == pytest.approx(0.5 + 5 * 6 / 600)
    assert clock.gone(19) == pytest.approx(0.49)
    assert clock.gone(900) == 1.0  # never more
    time.now += 300
    clock.look(60, seconds_per_step=6.0)
    assert (clock.minutes, clock.is_over) == (10.0, True)


def test_steps_measure_a_run_unless_minutes_do_and_end_it_at_the_latest() -> None:
    time = Time()
    by_steps = Clock(OptimizerSettings(steps=8), Ranks(0, 1, "cpu"), time)
    by_steps.start(time.now, 1.0, 0)
    time.now += 45
    by_steps.look(2, seconds_per_step=20.0)
    assert (by_steps.gone(2), by_steps.is_over) == (0.25, False)
    time.now += 15
    by_steps.look(3, seconds_per_step=20.0)
    assert (by_steps.gone(3), by_steps.is_over) == (0.375, True)  # stopped, to go on another time
    by_minutes = Clock(OptimizerSettings(steps=8, schedule="minutes"), Ranks(0, 1, "cpu"), time)
    by_minutes.start(time.now, 100.0, 0)
    assert by_minutes.gone(6) == 0.75  # its steps are used up before its minutes
    endless = Clock(OptimizerSettings(steps=8), Ranks(0, 1, "cpu"), time)
    endless.start(time.now - 1e9, None, 0)
    assert not endless.is_over
