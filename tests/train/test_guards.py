"""Nothing goes wrong in silence: the reference is the named one, clips are seen, what cannot be right is refused in a line."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from train.trainers import make_trainer, mixed, rows, stage
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl.trainer.utils import add_fused_lm_head

from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.models.checkpoint import find_checkpoint, load_full, weights_hash
from videothinker.train.cdpo import CDPOTrainer
from videothinker.train.clip_grpo import CLIP_SLOT, ClipGRPOTrainer
from videothinker.train.clips import share_vision
from videothinker.train.objective import Objective
from videothinker.train.reference import check_reference
from videothinker.train.rewards import Reward


def score(trainer: Any, assets: Path, n: int = 4) -> tuple[Any, dict[str, Any]]:
    """One generation batch with what the trainer found for it."""
    trainer.model.train()
    inputs = [row for row in rows(assets, n) for _ in range(4)][: trainer.args.generation_batch_size]
    return trainer, trainer._generate_and_score_completions(inputs)


def rescored(trainer: Any, batch: dict[str, Any], model: Any) -> torch.Tensor:
    """The batch's log-probabilities under another model, with the trainer's clips."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    add_fused_lm_head(model, temperature=trainer.temperature)
    share_vision(model)
    with torch.no_grad():
        clips = {CLIP_SLOT: batch[CLIP_SLOT]}
        found = trainer._get_per_token_logps_and_entropies(model, ids, mask, batch["completion_ids"].size(1), **clips)
    logps: torch.Tensor = found[0]
    return logps


def load(folder: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)


def test_the_bias_models_weights_are_the_ones_that_score(assets: Path, tmp_path: Path) -> None:
    trainer, batch = score(make_trainer(assets, tmp_path, stage("cdpo")), assets)
    reference = batch["reference_logps"]
    assert torch.allclose(reference, rescored(trainer, batch, load(assets / "bias")), atol=1e-6)
    assert not torch.allclose(reference, rescored(trainer, batch, load(assets / "start")), atol=1e-2)


def test_the_reference_stays_frozen_while_the_policy_moves(assets: Path, tmp_path: Path) -> None:
    trainer = make_trainer(assets, tmp_path, stage("cdpo"), save_strategy="no")
    before = {name: value.clone() for name, value in trainer.reference.state_dict().items()}
    policy = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert all(torch.equal(before[name], value) for name, value in trainer.reference.state_dict().items())
    assert not any(parameter.requires_grad for parameter in trainer.reference.parameters())
    moved = [name for name, value in trainer.model.state_dict().items() if not torch.equal(policy[name], value)]
    assert set(moved) == set(policy), "every weight of the policy is trained"


@pytest.mark.parametrize("policy", ["adapter", "full"])
def test_a_lora_bias_model_scores_as_its_merged_weights(assets: Path, tmp_path: Path, adapter: Path, policy: str) -> None:
    """Beside a LoRA policy as a second adapter on one base, beside a full policy as a model of its own; dropout never acts."""
    overrides = ["lora.rank=4"] if policy == "adapter" else []
    trainer, batch = score(make_trainer(assets, tmp_path, stage("cdpo", *overrides), reference=adapter), assets)
    assert (trainer.reference is None) is (policy == "adapter")
    merged = PeftModel.from_pretrained(load(assets / "start"), adapter).merge_and_unload()
    assert torch.allclose(batch["reference_logps"], rescored(trainer, batch, merged), atol=1e-5)


def test_a_full_bias_model_beside_a_lora_policy(assets: Path, tmp_path: Path) -> None:
    trainer, batch = score(make_trainer(assets, tmp_path, stage("cdpo", "lora.rank=4")), assets)
    assert torch.allclose(batch["reference_logps"], rescored(trainer, batch, load(assets / "bias")), atol=1e-6)
    trained = [name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


def test_a_lora_run_saves_its_adapter_without_the_reference(assets: Path, tmp_path: Path, adapter: Path) -> None:
    trainer = make_trainer(assets, tmp_path / "out", stage("cdpo", "lora.rank=4"), reference=adapter, save_strategy="no")
    trainer.train()
    trainer.save_policy(tmp_path / "out")
    assert not (tmp_path / "out" / "reference").exists()
    found = find_checkpoint(str(tmp_path / "out"))
    assert found.base == (assets / "start").resolve()
    assert load_full(found, torch.float32, "sdpa").num_parameters() == load(assets / "start").num_parameters()


def test_swapping_the_clip_changes_policy_old_and_reference_scores(assets: Path, tmp_path: Path) -> None:
    """Updates on old replies make TRL ask for old log-probabilities too; each of the three must have seen the clip."""
    config = stage("cdpo", "rollouts.updates_per_batch=2")
    trainer, batch = score(make_trainer(assets, tmp_path, config), assets, n=2)
    assert torch.allclose(batch["old_per_token_logps"], rescored(trainer, batch, load(assets / "start")), atol=1e-6)
    clips = trainer._clips["train"]
    size = clips[0].patches
    trainer._clips["train"] = [clip._replace(patches=torch.flip(clip.patches, dims=(0,)) + 1) for clip in clips]
    with torch.no_grad():
        swapped = {
            "policy": rescored(trainer, batch, load(assets / "start")),
            "reference": trainer._score_with_reference(batch, None, batch[CLIP_SLOT])["reference_logps"],
        }
    assert size.shape == trainer._clips["train"][0].patches.shape
    for found, unswapped in ((swapped["policy"], "old_per_token_logps"), (swapped["reference"], "reference_logps")):
        assert (found - batch[unswapped]).abs().max() > 1e-3


def test_evaluating_in_between_leaves_the_training_batchs_clips_alone(assets: Path, tmp_path: Path) -> None:
    trainer, batch = score(make_trainer(assets, tmp_path, stage("cdpo")), assets, n=2)
    before = rescored(trainer, batch, load(assets / "start"))
    trainer.model.eval()
    trainer._generate_and_score_completions(rows(assets, 6)[4:6] * 4)
    trainer.model.train()
    assert torch.equal(before, rescored(trainer, batch, load(assets / "start")))


def test_a_reference_makes_it_cdpo_and_without_one_there_is_nothing_of_it(assets: Path, tmp_path: Path) -> None:
    cdpo = make_trainer(assets, tmp_path, stage("cdpo"))
    assert type(cdpo) is CDPOTrainer
    assert (cdpo.objective.repulsion, cdpo.hold.weight) == (0.5, 0.5)
    for name in ("bias", "grpo"):
        plain = make_trainer(assets, tmp_path, stage(name))
        assert type(plain) is ClipGRPOTrainer
        assert plain.ref_model is None
        assert plain.beta == 0
    with pytest.raises(TypeError, match="'reference'"):
        CDPOTrainer(objective=Objective(repulsion=0.1), encode=None)


def test_the_policys_own_start_is_refused_as_bias_model_however_it_is_saved(assets: Path, tmp_path: Path) -> None:
    start = find_checkpoint(str(assets / "start"))
    model = load(assets / "start")
    model.save_pretrained(tmp_path / "again", max_shard_size="1MB")
    AutoProcessor.from_pretrained(assets / "start").save_pretrained(tmp_path / "again")
    again = find_checkpoint(str(tmp_path / "again"))
    assert len(list((tmp_path / "again").glob("*.safetensors"))) > 1
    assert weights_hash(start) == weights_hash(again) != weights_hash(find_checkpoint(str(assets / "bias")))
    with pytest.raises(VtError, match=r"very weights.*objective\.reference = 'start'"):
        check_reference(start, weights_hash(start), again, may_be_start=False)
    assert check_reference(start, weights_hash(start), again, may_be_start=True) == weights_hash(start)


def test_a_reference_that_scores_as_the_policy_is_caught_at_the_first_batch(assets: Path, tmp_path: Path) -> None:
    """Other bytes, same numbers: the hash cannot see it, the first divergence does."""
    trainer = make_trainer(assets, tmp_path, stage("cdpo"), reference=assets / "start", save_strategy="no")
    with pytest.raises(VtError, match="it is the policy"):
        trainer.train()
    differences, mask = torch.tensor([[1e-6, -3e-6, 0.5]]), torch.tensor([[1, 1, 0]])  # the last token is no reply's
    with pytest.raises(VtError, match="it is the policy"):
        trainer._compare_once(differences, mask)
    trainer._compare_once(differences, torch.ones_like(mask))
    allowed = stage("cdpo", "objective.reference=start")
    make_trainer(assets, tmp_path, allowed, reference=assets / "start", save_strategy="no").train()


def test_another_vocabulary_is_refused(assets: Path, tmp_path: Path) -> None:
    tiny.build(tmp_path / "other", vocabulary=["quite other words"] * 3)
    start = find_checkpoint(str(assets / "start"))
    with pytest.raises(VtError, match="another vocabulary"):
        check_reference(start, weights_hash(start), find_checkpoint(str(tmp_path / "other")), may_be_start=False)


def test_what_is_no_checkpoint_is_refused(assets: Path, tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"neither config\.json nor adapter_config\.json"):
        find_checkpoint(str(tmp_path))
    bare = tmp_path / "bare"
    shutil.copytree(assets / "start", bare)
    (bare / "model.safetensors").unlink()
    with pytest.raises(VtError, match=r"has no \.safetensors file"):
        weights_hash(find_checkpoint(str(bare)))


def test_rewards_are_what_the_group_was_given(assets: Path, tmp_path: Path) -> None:
    """Advantages are the injected rewards, normalised within each question's replies (with 1e-4 beside the deviation)."""
    trainer, batch = score(make_trainer(assets, tmp_path, stage("grpo")), assets, n=2)
    replies = [completion.reply for completion in trainer.completions]
    given = torch.tensor(mixed(replies)).view(-1, 4)
    expected = (given - given.mean(1, keepdim=True)) / (given.std(1, keepdim=True) + 1e-4)
    assert torch.allclose(batch["advantages"], expected.flatten(), atol=1e-4)
    assert [completion.question_id for completion in trainer.completions] == ["0:0"] * 4 + ["1:0"] * 4


def test_the_weighted_sum_is_what_counts_and_each_reward_is_kept_unweighted(assets: Path, tmp_path: Path) -> None:
    """3 times the place in the group (0, 1, 2, 3) and half of 1 for the first reply: 0.5, 3, 6, 9, of mean 4.625."""
    rewards = {
        "place": Reward(lambda completions, **_: [float(i % 4) for i in range(len(completions))], weight=3.0),
        "first": Reward(lambda completions, **_: [float(i % 4 == 0) for i in range(len(completions))], weight=0.5),
    }
    trainer, batch = score(make_trainer(assets, tmp_path, stage("grpo"), rewards=rewards), assets, n=2)
    given = torch.tensor([0.5, 3.0, 6.0, 9.0])
    expected = (given - 4.625) / (given.std() + 1e-4)
    assert torch.allclose(batch["advantages"], expected.repeat(2), atol=1e-4)
    kept = [completion.rewards for completion in trainer.completions]
    assert kept == [{"place": float(i % 4), "first": float(i % 4 == 0)} for i in range(8)]
    assert trainer._metrics["train"]["rewards/place/mean"] == [1.5]
