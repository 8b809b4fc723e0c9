"""metrics.jsonl as users and studies read it: keys, their order, and rewards by name."""

import json
from pathlib import Path

import pytest

from videothinker.errors import VtError
from videothinker.records.training import StepRecord
from videothinker.steps import append_step, measure, read_steps, write_steps

STEP = StepRecord(step=3, loss=0.5, reward=1.25, rewards={"accuracy": 0.5, "format": 0.75}, kl=None, seconds=2.0, tokens=900)


def test_a_line_has_the_keys_that_the_contract_names_and_each_reward_beside_the_sum(tmp_path: Path) -> None:
    append_step(tmp_path / "metrics.jsonl", STEP)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    first = "step loss reward reward/accuracy reward/format kl anchor_kl repulsion repulsion_gradient_ratio reward_grad_norm"
    second = "divergence_grad_norm clamped_share zero_advantage_share shuffled_accuracy ordered_share entropy"
    shown = ["replies_about", "vision_kept_share"]
    second += " sampler_difference length first_right second_right fix_rate break_rate fallback_share blank_thought_share"
    assert list(json.loads(line)) == [*first.split(), *second.split(), "grad_norm", *shown, "seconds", "tokens", "alarms"]
    assert json.loads(line)["reward/format"] == 0.75
    assert json.loads(line)["kl"] is None


def test_what_is_written_is_read_back_with_rewards_that_differ_from_step_to_step(tmp_path: Path) -> None:
    steps = [STEP, StepRecord(step=4, rewards={"brevity": None}, alarms=("too long",))]
    write_steps(tmp_path / "metrics.jsonl", steps)
    assert read_steps(tmp_path / "metrics.jsonl") == steps
    assert read_steps(tmp_path / "none.jsonl") == []


def test_a_number_is_found_by_its_key() -> None:
    assert [measure(STEP, name) for name in ("reward/format", "reward", "seconds", "kl", "reward/brevity")] == [
        *(0.75, 1.25, 2.0, None, None)
    ]


@pytest.mark.parametrize("line", ['{"loss": 0.1}', '{"step": 2, "reward/accuracy": "high"}', "[]"])
def test_a_line_that_is_no_step_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n' + line + "\n")
    with pytest.raises(VtError, match=r"metrics\.jsonl: line 2 is not a"):
        read_steps(tmp_path / "metrics.jsonl")
