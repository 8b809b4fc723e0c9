"""The two gradients of a CDPO step, kept apart: by hand on two parameters, and in the trainer against plain descent."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from train.trainers import make_trainer, stage
from train.two_processes import injected, length

from videothinker.errors import VtError
from videothinker.records.training import StepRecord
from videothinker.steps import read_steps
from videothinker.train.apart import Apart, Norms
from videothinker.train.build import _check_apart
from videothinker.train.record import Recorder
from videothinker.train.stage_files import load_stage, make_stage
from videothinker.train.stages import Alarms, Stage

CONFIGS = Path(__file__).parents[2] / "configs"


def pair() -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(2.0))]


def grads(parameters: list[nn.Parameter]) -> list[float]:
    return [parameter.grad.item() for parameter in parameters if parameter.grad is not None]


def test_a_constant_weight_by_hand() -> None:
    """Reward 3a + 4b: norm 5. Divergence 5a - 12b: norm 13, at weight 0.1 a ratio of 0.26 and a sum of (3.5, 2.8)."""
    a, b = parameters = pair()
    apart = Apart()
    apart.add(5 * a - 12 * b, parameters)
    assert apart.value == 5 - 24
    assert a.grad is None
    (3 * a + 4 * b).backward()
    norms, weight = apart.combine(parameters, lambda _: 0.1)
    assert (norms.reward, norms.divergence, weight) == pytest.approx((5.0, 13.0, 0.1))
    assert norms.ratio(weight) == pytest.approx(0.26)
    assert grads(parameters) == pytest.approx([3.5, 2.8])
    assert apart.value == 0


def test_a_share_by_hand() -> None:
    """0.26 of the reward's norm is the weight 0.1 of the case above."""
    a, b = parameters = pair()
    apart = Apart()
    apart.add(5 * a - 12 * b, parameters)
    (3 * a + 4 * b).backward()
    norms, weight = apart.combine(parameters, lambda norms: norms.weight_for(0.26))
    assert weight == pytest.approx(0.1)
    assert norms.ratio(weight) == pytest.approx(0.26)
    assert grads(parameters) == pytest.approx([3.5, 2.8])


def test_accumulated_norms_are_those_of_the_mean_gradient_and_not_a_mean_of_norms() -> None:
    """Micro-batches (6, 0) and (0, 8), halved: (3, 4) has norm 5, the norms' mean is 7. A parameter may be missing in one."""
    a, b = parameters = pair()
    apart = Apart()
    for reward, term in ((6 * a, 8 * b), (8 * b, 6 * a)):
        apart.add(term / 2, parameters)
        (reward / 2).backward()
    norms, _ = apart.combine(parameters, lambda _: 1.0)
    assert norms == pytest.approx((5.0, 5.0))
    assert grads(parameters) == pytest.approx([6.0, 8.0])
    apart.add(a * 2, parameters)
    assert apart.combine(parameters, lambda _: 0.0)[0].divergence == 2.0, "the next window begins with nothing"


def test_a_frozen_parameter_counts_in_neither_norm() -> None:
    a, b = parameters = pair()
    b.requires_grad_(False)
    apart = Apart()
    apart.add(5 * a - 12 * b, parameters)
    (3 * a + 4 * b).backward()
    assert apart.combine(parameters, lambda _: 1.0)[0] == pytest.approx((3.0, 5.0))
    assert b.grad is None


@pytest.mark.parametrize(("norms", "ratio"), [(Norms(0.0, 2.0), None), (Norms(2.0, 0.0), 0.0), (Norms(0.0, 0.0), None)])
def test_without_one_of_the_gradients_nothing_repels(norms: Norms, ratio: float | None) -> None:
    assert norms.weight_for(0.2) == 0.0
    assert norms.ratio(0.5) == ratio


def one_step(assets: Path, out: Path, *overrides: str, reward: Any = length, **arguments: Any) -> tuple[torch.Tensor, Any]:
    """Minus the gradient of one step on injected replies, over all trained parameters, and what was logged."""
    config = stage("cdpo", "optimizer.steps=1", *overrides)
    trainer = make_trainer(
        assets, out, config, reward_funcs=[reward], max_grad_norm=1e9, save_strategy="no", logging_steps=1, **arguments
    )
    trainer._generate_single_turn = injected
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    optimizer = trainer.optimizer = torch.optim.SGD(trained, lr=1.0)
    trainer.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    trainer.create_optimizer = lambda *_args: optimizer
    before = [p.detach().clone() for p in trained]
    trainer.train()
    moved = torch.cat([(p.detach() - old).flatten() for p, old in zip(trained, before, strict=True)]).double()
    return moved, trainer.state.log_history[0]


LORA = ("lora.rank=4", "lora.alpha=8", "lora.targets=.*language_model.*q_proj")


@pytest.mark.parametrize(
    "overrides",
    [
        ("rollouts.rows_per_forward=2",),
        (
            "model.gradient_checkpointing=true",
            "rollouts.rows_per_forward=8",
            "objective.kl=exact",
            "objective.direction=attract",
        ),
        LORA,
    ],
)
def test_the_trainer_measures_and_weighs_what_plain_steps_show(
    assets: Path, adapter: Path, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    """Plain steps at the weights 0.5 and 1 differ by half the divergence's gradient, and so give both gradients."""
    common = {"reference": adapter} if overrides == LORA else {}
    if overrides == LORA:
        common["start"] = adapter  # fresh adapters are 0 in one of their two matrices

    def run(*more: str) -> tuple[torch.Tensor, Any]:
        return one_step(assets, tmp_path / "out", *overrides, *more, **common)

    half, silent = run("objective.repulsion=0.5", "objective.log_gradient_ratio_every=0")
    whole, _ = run("objective.repulsion=1.0", "objective.log_gradient_ratio_every=0")
    divergence, reward = (whole - half) * 2, half * 2 - whole
    assert "repulsion_gradient_ratio" not in silent

    measured, logged = run("objective.repulsion=0.5", "objective.log_gradient_ratio_every=1")
    assert logged["reward_grad_norm"] == pytest.approx(reward.norm().item(), rel=1e-4)
    assert logged["divergence_grad_norm"] == pytest.approx(divergence.norm().item(), rel=1e-4)
    assert logged["repulsion_gradient_ratio"] == pytest.approx((divergence.norm() / reward.norm()).item() / 2, rel=1e-4)
    assert ((measured - half).norm() / half.norm()).item() < 1e-5
    for name in ("loss", "kl", "repulsion", "grad_norm"):
        assert logged[name] == pytest.approx(silent[name], rel=1e-5)

    shared, told = run("objective.gradient_share=0.2")
    weight = 0.2 * reward.norm() / divergence.norm()
    expected = reward + weight * divergence
    assert told["repulsion_gradient_ratio"] == pytest.approx(0.2, rel=1e-6)
    assert told["repulsion"] == pytest.approx(weight.item(), rel=1e-4)
    assert ((shared - expected).norm() / expected.norm()).item() < 1e-4
    fixed, plain = run(f"objective.repulsion={told['repulsion']}", "objective.log_gradient_ratio_every=0")
    assert ((shared - fixed).norm() / fixed.norm()).item() < 1e-5
    for name in ("loss", "grad_norm"):
        assert told[name] == pytest.approx(plain[name], rel=1e-5)


def test_without_any_advantage_a_share_moves_nothing_and_a_weight_has_no_ratio(assets: Path, tmp_path: Path) -> None:
    def nothing(completions: list[str], **_: Any) -> list[float]:
        return [0.0] * len(completions)

    moved, logged = one_step(assets, tmp_path, "objective.gradient_share=0.2", reward=nothing)
    assert moved.abs().max() == 0
    assert logged["repulsion"] == logged["reward_grad_norm"] == 0
    assert logged["divergence_grad_norm"] > 0
    assert "repulsion_gradient_ratio" not in logged
    moved, logged = one_step(assets, tmp_path, reward=nothing)
    assert moved.abs().max() > 0
    assert "repulsion_gradient_ratio" not in logged


def train(assets: Path, out: Path, *overrides: str) -> list[StepRecord]:
    trainer = make_trainer(assets, out, stage("cdpo", "optimizer.steps=4", *overrides))
    trainer.add_callback(Recorder(trainer, out, Alarms(), lambda _: None, lambda _: None))
    trainer.train(resume_from_checkpoint=str(out / "checkpoint-2") if (out / "checkpoint-2").is_dir() else None)
    return read_steps(out / "metrics.jsonl")


def test_a_resumed_share_goes_on_in_the_same_bits(assets: Path, tmp_path: Path) -> None:
    rows = train(assets, tmp_path / "run", "objective.gradient_share=0.2")
    assert [row.repulsion_gradient_ratio for row in rows] == pytest.approx([0.2] * 4, rel=1e-6)
    assert len({row.repulsion for row in rows}) == 4
    (tmp_path / "run" / "checkpoint-4").rename(tmp_path / "gone")
    again = train(assets, tmp_path / "run", "objective.gradient_share=0.2")
    assert [(row.repulsion, row.loss) for row in again] == [(row.repulsion, row.loss) for row in rows]


def test_the_ratio_is_measured_at_every_third_step_if_so_asked(assets: Path, tmp_path: Path) -> None:
    rows = train(assets, tmp_path / "run", "objective.log_gradient_ratio_every=3")
    assert [row.repulsion_gradient_ratio is not None for row in rows] == [True, False, False, True]
    assert [row.reward_grad_norm is not None for row in rows] == [True, False, False, True]


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("cdpo", ["objective.gradient_share=0.2", "objective.repulsion=0.1"], "both set the weight"),
        ("cdpo", ["objective.gradient_share=0.2", "objective.hold_at=2.0"], "both adapt the weight"),
        ("cdpo", ["objective.gradient_share=0.2", "objective.reference=start"], "does not diverge from itself"),
        ("cdpo", ["objective.gradient_share=1.5"], "objective.gradient_share"),
        ("cdpo", ["objective.gradient_share=-0.1"], "objective.gradient_share"),
        ("grpo", ["objective.gradient_share=0.2"], "only `vt train cdpo` and `vt train auto` have a reference"),
        ("bias", ["objective.log_gradient_ratio_every=1"], "only `vt train cdpo` and `vt train auto` have a divergence"),
    ],
)
def test_a_share_is_refused_where_it_means_nothing(name: str, overrides: list[str], said: str) -> None:
    with pytest.raises(VtError, match=said):
        stage(name, *overrides)


def test_set_replaces_the_files_weight_and_a_file_may_not_have_both() -> None:
    shared = load_stage(Stage.CDPO, CONFIGS / "cdpo-tiny.toml", ["objective.gradient_share=0.2"])
    assert (shared.objective.repulsion, shared.objective.gradient_share) == (0.0, 0.2)
    assert shared.needs_reference
    back = make_stage(Stage.CDPO, {"objective": {"gradient_share": 0.2}}, ["objective.repulsion=0.03"])
    assert (back.objective.repulsion, back.objective.gradient_share) == (0.03, None)
    with pytest.raises(VtError, match="both set the weight"):
        make_stage(Stage.CDPO, {"objective": {"gradient_share": 0.2, "repulsion": 0.1}})


def test_where_gradients_are_sharded_it_is_refused_if_asked_for_and_left_out_if_not() -> None:
    whole = SimpleNamespace(deepspeed_plugin=None, fsdp=[])
    zero_2 = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=2), fsdp=[])
    fsdp = SimpleNamespace(deepspeed_plugin=None, fsdp=["full_shard"])
    for setting in ("gradient_share=0.0", "gradient_share=0.2", "log_gradient_ratio_every=1"):
        config = stage("cdpo", f"objective.{setting}")
        _check_apart(config, whole)
        for args in (zero_2, fsdp):
            with pytest.raises(VtError, match=f"objective.{setting.replace('=', ' = ')}: needs whole gradients"):
                _check_apart(config, args)
    for plain in (stage("cdpo"), stage("cdpo", "objective.log_gradient_ratio_every=0")):
        _check_apart(plain, fsdp)
