"""The trainer computes what it says: log-probabilities, objective and gradient, against plain code, on CPU in float32.

Rewards are injected so that advantages differ; clips differ in size and replies in length, so padding and slicing count.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from train import plain_scores
from train.trainers import make_trainer, stage
from train.two_processes import injected
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl import GRPOTrainer

from videothinker.footage import Footage
from videothinker.train.clips import Encoded, PromptEncoder
from videothinker.train.data import ClipPrompt
from videothinker.train.stages import StageConfig

Batches = list[dict[str, Any]]


def recording(trainer: Any, *, snapshots: list[dict[str, torch.Tensor]] | None = None) -> Batches:
    """Every micro-batch that reaches the loss, with the policy log-probabilities that the trainer found for it."""
    seen: Batches = []
    compute = trainer._compute_loss
    score = trainer._get_per_token_logps_and_entropies
    latest: list[torch.Tensor] = []

    def scored(*args: Any, **kwargs: Any) -> Any:
        result = score(*args, **kwargs)
        latest.append(result[0].detach())
        return result

    def kept(model: Any, inputs: dict[str, Any]) -> Any:
        loss = compute(model, inputs)
        step = trainer.state.global_step
        seen.append({**inputs, "policy_logps": latest[-1], "loss": loss.detach(), "step": step})
        return loss

    trainer._get_per_token_logps_and_entropies = scored
    trainer._compute_loss = kept

    class Snapshots(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if snapshots is not None:
                snapshots.append(weights(trainer.model))

    trainer.add_callback(Snapshots())
    return seen


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def sgd(trainer: Any) -> Any:
    """Plain descent at rate 1, unclipped: a step's change of the weights is minus its gradient."""
    optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    trainer.optimizer = optimizer
    trainer.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    trainer.create_optimizer = lambda *_args: optimizer
    return trainer


@pytest.fixture
def train(assets: Path, tmp_path: Path) -> Callable[..., tuple[Any, Batches, list[dict[str, torch.Tensor]]]]:
    def run(config: StageConfig, **arguments: Any) -> tuple[Any, Batches, list[dict[str, torch.Tensor]]]:
        snapshots: list[dict[str, torch.Tensor]] = []
        trainer = sgd(make_trainer(assets, tmp_path / "out", config, max_grad_norm=1e9, save_strategy="no", **arguments))
        batches = recording(trainer, snapshots=snapshots)
        trainer.train()
        snapshots.append(weights(trainer.model))
        return trainer, batches, snapshots

    return run


def plain_rows(assets: Path, model: Any, batch: dict[str, Any], temperature: float = 1.0) -> list[torch.Tensor]:
    processor = AutoProcessor.from_pretrained(assets / "start")
    found = []
    for row in range(len(batch["prompt_ids"])):
        prompt, reply = plain_scores.unpadded(batch, row)
        clip = plain_scores.clip_of(assets, processor, prompt)
        found.append(plain_scores.logps(model, processor, clip, prompt, reply, temperature=temperature))
    return found


def load(folder: Path, values: dict[str, torch.Tensor] | None = None) -> Any:
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    if values is not None:
        model.load_state_dict(values, strict=False)
    return model


MIXED_SIZES = ("rollouts.questions_per_step=3", "rollouts.rows_per_forward=2", "optimizer.steps=1")


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_policy_and_reference_log_probabilities_equal_a_plain_forward(
    assets: Path, train: Callable[..., Any], temperature: float
) -> None:
    _, batches, _ = train(stage("cdpo", *MIXED_SIZES, f"rollouts.temperature={temperature}"))
    assert len(batches) == 6
    assert len({tuple(batch["prompt_mask"].sum(1).tolist()) for batch in batches}) > 1, "no padding was exercised"
    start, bias = load(assets / "start"), load(assets / "bias")
    for batch in batches:
        with torch.no_grad():
            ours, theirs = (plain_rows(assets, model, batch, temperature) for model in (start, bias))
        for row, (policy, reference) in enumerate(zip(ours, theirs, strict=True)):
            n = len(policy)
            assert torch.allclose(batch["policy_logps"][row, :n], policy, atol=1e-5)
            assert torch.allclose(batch["reference_logps"][row, :n], reference, atol=1e-5)
        assert not torch.allclose(batch["policy_logps"], batch["reference_logps"], atol=1e-2)


def test_the_gradient_equals_an_independent_objective_with_accumulation_and_mixed_clips(
    assets: Path, train: Callable[..., Any]
) -> None:
    _, batches, snapshots = train(stage("cdpo", *MIXED_SIZES))
    policy, bias = load(assets / "start"), load(assets / "bias")
    rows = []
    for batch in batches:
        with torch.no_grad():
            references = plain_rows(assets, bias, batch)
        for row, logps in enumerate(plain_rows(assets, policy, batch)):
            rows.append(
                {
                    "policy": logps,
                    "old": logps.detach(),
                    "reference": references[row],
                    "advantage": batch["advantages"][row],
                }
            )
    assert len({round(row["advantage"].item(), 3) for row in rows}) > 3
    plain_scores.objective(rows, repulsion=0.5).backward()
    assert_step_follows(policy, snapshots[0], snapshots[1])


@pytest.mark.parametrize("name", ["grpo", "cdpo"])
def test_rows_at_a_time_change_no_gradient(assets: Path, tmp_path: Path, name: str) -> None:
    """32 replies by fours, whole groups at a time, and all in one pass; replies injected, so that they are the same."""
    ends = []
    for rows in (4, 8, 16, 32):
        config = stage(name, "rollouts.questions_per_step=8", f"rollouts.rows_per_forward={rows}", "optimizer.steps=1")
        trainer = sgd(
            make_trainer(assets, tmp_path / str(rows), config, n_rows=8, max_grad_norm=1e9, save_strategy="no", logging_steps=1)
        )
        trainer._generate_single_turn = injected
        start = weights(trainer.model)
        trainer.train()
        end = weights(trainer.model)
        ends.append(torch.cat([(end[name] - start[name]).flatten() for name in end]).double())
    assert ends[0].norm() > 0.1
    for other in ends[1:]:
        assert ((other - ends[0]).norm() / ends[0].norm()).item() < 1e-5


def test_the_gradient_is_right_off_policy_too(assets: Path, train: Callable[..., Any]) -> None:
    """The second update on the same replies: ratios away from 1, some clipped, the reference scored once."""
    config = stage("cdpo", "rollouts.updates_per_batch=2", "rollouts.questions_per_step=1", "optimizer.steps=2")
    _, batches, snapshots = train(config)
    first, second = [batch for batch in batches if batch["step"] == 0], [batch for batch in batches if batch["step"] == 1]
    start, policy, bias = load(assets / "start"), load(assets / "start", snapshots[1]), load(assets / "bias")
    rows = []
    for batch in second:
        with torch.no_grad():
            old, references = plain_rows(assets, start, batch), plain_rows(assets, bias, batch)
        for row, logps in enumerate(plain_rows(assets, policy, batch)):
            rows.append({"policy": logps, "old": old[row], "reference": references[row], "advantage": batch["advantages"][row]})
    ratios = torch.cat([(row["policy"] - row["old"]).exp().detach() for row in rows])
    assert (ratios < 0.8).any()
    assert (ratios > 1.28).any()
    value = plain_scores.objective(rows, repulsion=0.5)
    assert sum(batch["loss"] for batch in second).item() == pytest.approx(-value.item(), rel=1e-4)
    value.backward()
    assert_step_follows(policy, snapshots[1], snapshots[2])
    assert len(first) == len(second) == 1


def assert_step_follows(policy: Any, before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> None:
    """The weights moved by the gradient of J, relative error at most 1e-5."""
    moved, wanted = [], []
    for name, parameter in policy.named_parameters():
        if parameter.grad is not None:
            moved.append((after[name] - before[name]).flatten())
            wanted.append(parameter.grad.flatten())
    step, gradient = torch.cat(moved).double(), torch.cat(wanted).double()
    assert gradient.norm() > 0.1
    # float32 weights round a step away where it is small beside them, so the two are compared over all weights together
    assert ((step - gradient).norm() / gradient.norm()).item() < 1e-5


def test_without_repulsion_it_is_grpo_bit_for_bit(assets: Path, tmp_path: Path) -> None:
    ends = []
    for plain in (False, True):
        trainer = make_trainer(assets, tmp_path / str(plain), stage("grpo", *MIXED_SIZES[:2]), save_strategy="no")
        if plain:
            trainer._compute_loss = lambda model, inputs, trainer=trainer: GRPOTrainer._compute_loss(trainer, model, inputs)
        trainer.train()
        ends.append(weights(trainer.model))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    start = weights(load(assets / "start"))
    assert any(not torch.equal(start[name], ends[0][name]) for name in start)


def test_the_term_equals_trls_own_kl_with_a_negative_beta(assets: Path, tmp_path: Path) -> None:
    """Two ways to the same step: our signed term, and TRL's penalty given beta = -repulsion and our reference."""
    ends = []
    for native in (False, True):
        trainer = sgd(make_trainer(assets, tmp_path / str(native), stage("cdpo", "optimizer.steps=1"), save_strategy="no"))
        if native:
            trainer.beta, trainer.ref_model = -trainer.objective.repulsion, trainer.reference
            trainer._compute_loss = lambda model, inputs, trainer=trainer: GRPOTrainer._compute_loss(trainer, model, inputs)
        trainer.train()
        ends.append(weights(trainer.model))
    for name in ends[0]:
        assert torch.allclose(ends[0][name], ends[1][name], atol=1e-6), name


@pytest.mark.parametrize("repel_on", ["groups_not_all_right", "correct_rollouts"])
def test_replies_left_out_feel_no_repulsion(assets: Path, tmp_path: Path, repel_on: str) -> None:
    """All right: `groups_not_all_right` repels none. None right: `correct_rollouts` repels none. So nothing moves."""

    def accuracy(completions: list[Any], **_: Any) -> list[float]:
        return [1.0 if repel_on == "groups_not_all_right" else 0.0] * len(completions)

    config = stage("cdpo", f"objective.repel_on={repel_on}", "optimizer.steps=1")
    trainer = make_trainer(assets, tmp_path, config, reward_funcs=[accuracy], save_strategy="no")
    before = weights(trainer.model)
    trainer.train()
    after = weights(trainer.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def two_groups(completions: list[str], **_: Any) -> list[float]:
    """To four replies each: the first question's earn the same, the second's do not."""
    return [0.5] * 4 + [0.0, 1.0, 0.0, 0.25]


def test_dropping_equal_groups_is_training_on_the_others_alone(assets: Path, tmp_path: Path) -> None:
    """Replies injected: two questions of which one is dropped move the weights as the other one would by itself."""
    ends = {}
    for name, dropped in {"kept": False, "dropped": True}.items():
        config = stage("cdpo", "optimizer.steps=1", f"objective.drop_equal_groups={str(dropped).lower()}")
        trainer = sgd(
            make_trainer(assets, tmp_path / name, config, reward_funcs=[two_groups], max_grad_norm=1e9, save_strategy="no")
        )
        trainer._generate_single_turn = injected
        batches = recording(trainer)
        start = weights(trainer.model)
        trainer.train()
        ends[name] = torch.cat([(value - start[key]).flatten() for key, value in weights(trainer.model).items()]).double()
        seen = torch.cat([batch["repelled"] for batch in batches]).sort().values.tolist()
        assert seen == ([0.0] * 4 + [2.0] * 4 if dropped else [1.0] * 8)
        if dropped:
            alone = batches
    policy, bias, rows = load(assets / "start"), load(assets / "bias"), []
    for batch in alone:
        with torch.no_grad():
            references = plain_rows(assets, bias, batch)
        for row, logps in enumerate(plain_rows(assets, policy, batch)):
            if batch["repelled"][row] > 0:
                advantage = batch["advantages"][row] / 2  # as TRL found it; half of the replies count double
                rows.append({"policy": logps, "old": logps.detach(), "reference": references[row], "advantage": advantage})
    assert len(rows) == 4
    plain_scores.objective(rows, repulsion=0.5).backward()
    wanted = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in policy.parameters()]).double()
    assert ((ends["dropped"] - wanted).norm() / wanted.norm()).item() < 1e-4
    assert ((ends["kept"] - wanted).norm() / wanted.norm()).item() > 0.1


def test_where_every_group_is_equal_dropping_them_moves_nothing(assets: Path, tmp_path: Path) -> None:
    config = stage("cdpo", "optimizer.steps=1", "objective.drop_equal_groups=true")
    nothing = [lambda completions, **_: [0.5] * len(completions)]
    trainer = make_trainer(assets, tmp_path, config, reward_funcs=nothing, save_strategy="no")
    before = weights(trainer.model)
    trainer.train()
    assert all(torch.equal(value, before[name]) for name, value in weights(trainer.model).items())


@pytest.mark.parametrize("kl", ["k3", "bounded", "reply", "exact"])
@pytest.mark.parametrize("direction", ["repel", "attract"])
def test_thirty_steps_without_reward_move_the_divergence_as_promised(
    assets: Path, tmp_path: Path, kl: str, direction: str
) -> None:
    config = stage(
        "cdpo",
        f"objective.kl={kl}",
        f"objective.direction={direction}",
        "objective.repulsion=1.0",
        "optimizer.steps=30",
        "optimizer.learning_rate=3e-4",
        "rollouts.questions_per_step=1",
        "saving.save_every=1000",
    )
    trainer = make_trainer(
        assets, tmp_path, config, reward_funcs=[lambda completions, **_: [0.0] * len(completions)], save_strategy="no"
    )
    trainer.train()
    divergences = [row["kl"] for row in trainer.state.log_history if "kl" in row]
    early, late = sum(divergences[:5]) / 5, sum(divergences[-5:]) / 5
    assert len(divergences) == 30
    assert late > 1.5 * early if direction == "repel" else late < 0.95 * early
    assert trainer.state.log_history[0]["frac_reward_zero_std"] == 1.0


class Recording(PromptEncoder):
    """The encoder that it takes the place of, with a record of what it was told and asked."""

    def __init__(self, encode: PromptEncoder) -> None:
        vars(self).update(vars(encode))
        self.announced: list[Footage] = []
        self.asked: list[tuple[set[Footage], set[Footage]]] = []

    def expect(self, footages: Iterable[Footage], at_most: int) -> None:
        footages = list(footages)
        self.announced += footages
        super().expect(footages, at_most)

    def __call__(self, prompts: Sequence[ClipPrompt], device: Any = "cpu") -> Encoded:
        self.asked.append(({prompt.clip for prompt in prompts}, set(self.announced)))
        return super().__call__(prompts, device)


def test_the_next_steps_clips_are_announced_before_a_step_asks_for_its_own(assets: Path, tmp_path: Path) -> None:
    trainer = make_trainer(assets, tmp_path, stage("grpo", "optimizer.steps=3"), n_rows=6, save_strategy="no")
    for i, row in enumerate(trainer.train_dataset):  # six names for three clips, so that questions can be told apart
        clip = shutil.copy(row["prompt"].clip.path, tmp_path / f"clip{i}.mp4")
        row["prompt"] = row["prompt"]._replace(clip=Footage(clip))
    encode = trainer._encode = Recording(trainer._encode)
    trainer.train()
    for (_, announced), (following, _) in pairwise(encode.asked):
        assert following <= announced
    assert set().union(*(clips for clips, _ in encode.asked)) == {Footage(tmp_path / f"clip{i}.mp4") for i in range(6)}
