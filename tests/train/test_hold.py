"""The held repulsion: its steps by hand, and a trainer that keeps its state."""

import math
from pathlib import Path
from typing import Any

import pytest
from train.trainers import make_trainer, stage

from videothinker import store
from videothinker.errors import VtError
from videothinker.records.training import StepRecord
from videothinker.steps import read_steps
from videothinker.train import hold
from videothinker.train.hold import HELD_FILE, HeldWeight
from videothinker.train.record import Recorder
from videothinker.train.stages import Alarms


def test_the_first_ten_steps_set_the_target_and_then_the_weight_follows_the_error() -> None:
    """Five steps at 0.01 and five at 0.03 nats: target 0.04. 0.02: error log 2; 0.08: error -log 2; 0.04: on target."""
    held = HeldWeight(0.01)
    for _ in range(5):
        held.move(0.01, 2.0)
        held.move(0.03, 2.0)
        assert held.weight == 0.01
    held.move(0.02, 2.0)
    assert held.weight == pytest.approx(0.01 * 2**0.1)
    held.move(0.08, 2.0)
    assert held.weight == pytest.approx(0.01)
    held.move(0.04, 2.0)
    assert held.weight == pytest.approx(0.01)
    assert held.first == [0.01, 0.03] * 5


def test_errors_are_clipped_and_the_weight_stays_within_its_bounds() -> None:
    """A hundred times too little moves it by e^0.1 a step and no more; 0.2 and 0.0001 are the ends."""
    held = HeldWeight(0.01, first=[0.5] * 10)
    held.move(0.01, 2.0)
    assert held.weight == pytest.approx(0.01 * math.exp(0.1))
    for _ in range(100):
        held.move(0.01, 2.0)
    assert held.weight == 0.2
    for _ in range(100):
        held.move(100.0, 2.0)
    assert held.weight == 0.0001


@pytest.mark.parametrize("measured", [0.0, float("nan"), float("inf")])
def test_what_is_no_divergence_moves_nothing(measured: float) -> None:
    held = HeldWeight(0.01)
    held.move(measured, 2.0)
    assert held == HeldWeight(0.01)


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("grpo", ["objective.hold_at=2.0"], "only a repulsion is adapted"),
        ("cdpo", ["objective.hold_at=2.0", "objective.direction=attract"], "only a repulsion is adapted"),
        ("cdpo", ["objective.hold_at=2.0", "objective.reference=start"], "does not diverge from itself"),
        ("cdpo", ["objective.hold_at=0"], "objective.hold_at"),
    ],
)
def test_it_is_refused_where_it_means_nothing(name: str, overrides: list[str], said: str) -> None:
    with pytest.raises(VtError, match=said):
        stage(name, *overrides)


def train(assets: Path, out: Path, *overrides: str, **arguments: Any) -> list[StepRecord]:
    config = stage("cdpo", "objective.repulsion=0.01", "optimizer.steps=4", *overrides)
    trainer = make_trainer(assets, out, config, **arguments)
    trainer.add_callback(Recorder(trainer, out, Alarms(), lambda _: None, lambda _: None))
    trainer.train(resume_from_checkpoint=str(out / "checkpoint-2") if (out / "checkpoint-2").is_dir() else None)
    return read_steps(out / "metrics.jsonl")


@pytest.mark.parametrize("first_steps", [1, 3])
def test_the_trainer_uses_logs_and_resumes_the_weight(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_steps: int
) -> None:
    """Each step's weight follows from the divergences logged before it; a run that was killed after step 2 goes on with it,
    be that before its target was set (3) or after."""
    monkeypatch.setattr(hold, "FIRST_STEPS", first_steps)
    rows = train(assets, tmp_path / "run", "objective.hold_at=2.0")
    held = HeldWeight(0.01)
    for row in rows:
        assert row.repulsion == pytest.approx(held.weight, rel=1e-9)
        assert row.kl is not None
        held.move(row.kl, 2.0)
    assert [row.repulsion == 0.01 for row in rows] == [True] * (first_steps + 1) + [False] * (3 - first_steps)
    saved = store.read_json(tmp_path / "run" / "checkpoint-4" / HELD_FILE, HeldWeight)
    assert saved.weight == pytest.approx(held.weight)

    (tmp_path / "run" / "checkpoint-4").rename(tmp_path / "gone")
    again = train(assets, tmp_path / "run", "objective.hold_at=2.0")
    assert [row.repulsion for row in again] == [row.repulsion for row in rows]
    assert [row.loss for row in again] == [row.loss for row in rows]


def test_without_a_target_the_weight_is_the_setting(assets: Path, tmp_path: Path) -> None:
    rows = train(assets, tmp_path / "run")
    assert {row.repulsion for row in rows} == {0.01}
    assert not (tmp_path / "run" / "checkpoint-4" / HELD_FILE).exists()
