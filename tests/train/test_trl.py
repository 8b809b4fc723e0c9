"""What we override and rely on in TRL 1.16 and transformers: a new version that changes any of it fails here, not in a run."""

import inspect
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from train.trainers import make_trainer, rows, stage
from transformers import Qwen2_5_VLForConditionalGeneration
from trl import GRPOConfig, GRPOTrainer
from trl.data_utils import is_conversational
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

from videothinker.footage import Footage
from videothinker.train.cdpo import CDPOTrainer
from videothinker.train.clip_grpo import CLIP_SLOT, ClipGRPOTrainer
from videothinker.train.data import ClipPrompt

SIGNATURES: dict[str, list[str]] = {
    "_tokenize_prompts": ["self", "prompts"],
    "_generate_single_turn": ["self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
    "_get_per_token_logps_and_entropies": ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_compute_loss": ["self", "model", "inputs"],
    "_load_from_checkpoint": ["self", "resume_from_checkpoint", "model"],
}


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(inspect.unwrap(function)).parameters)


def test_trl_is_the_minor_version_that_was_read() -> None:
    assert metadata.version("trl").startswith("1.16.")


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_overridden_methods_take_what_they_took(name: str) -> None:
    found = parameters(getattr(GRPOTrainer, name))
    assert found[: len(SIGNATURES[name])] == SIGNATURES[name]
    assert name in vars(CDPOTrainer if name == "_compute_loss" else ClipGRPOTrainer)


def test_the_slot_that_carries_clips_is_handed_on_and_free() -> None:
    assert CLIP_SLOT in parameters(GRPOTrainer._get_per_token_logps_and_entropies)
    assert f'{CLIP_SLOT}=inputs.get("{CLIP_SLOT}")' in inspect.getsource(GRPOTrainer._compute_loss)
    assert CLIP_SLOT not in parameters(Qwen2_5_VLForConditionalGeneration.forward)


def test_a_prompt_that_is_no_list_of_messages_passes_unread_and_replies_come_as_text() -> None:
    """The whole of what TRL asks of a training row's prompt; see `data.TrainingRow`."""
    assert not is_conversational({"prompt": ClipPrompt(Footage(Path("clip.mp4")), "What happens?")})
    assert 'prompts = [x["prompt"] for x in inputs]' in inspect.getsource(GRPOTrainer._generate_and_score_completions)
    generate = inspect.getsource(GRPOTrainer._generate)
    assert "completions = self.processing_class.batch_decode(completion_ids, skip_special_tokens=True)" in generate


def test_a_replys_clip_stays_with_it_through_shuffle_and_split() -> None:
    batch = {"completion_ids": torch.arange(12)[:, None] * torch.ones(1, 5), CLIP_SLOT: torch.arange(12)[:, None]}
    torch.manual_seed(0)
    for part in split_tensor_dict(shuffle_sequence_dict(batch), 3):
        assert torch.equal(part["completion_ids"][:, :1], part[CLIP_SLOT].float())


def test_the_trainer_keeps_the_names_that_are_read() -> None:
    source = inspect.getsource(GRPOTrainer)
    for name in ("self._metrics", "self.reward_func_names", "self.ref_model", "self.temperature", "self.eos_token_ids"):
        assert name in source
    assert '"frac_reward_zero_std"' in source
    assert '"completions/mean_length"' in source
    assert '"step_time"' in source


def test_the_defaults_that_would_change_the_objective_are_set(tmp_path: Path) -> None:
    """TRL's defaults: another loss normalisation, and a factor on k3 whose gradient is another divergence's."""
    from videothinker.train.arguments import grpo_arguments

    theirs, ours = GRPOConfig(str(tmp_path), use_cpu=True, bf16=False), grpo_arguments(stage("grpo"), tmp_path)
    assert (theirs.loss_type, ours.loss_type) == ("dapo", "grpo")
    assert (theirs.use_bias_correction_kl, ours.use_bias_correction_kl) == (True, False)
    assert (ours.beta, ours.epsilon, ours.epsilon_high) == (0.0, 0.2, 0.28)


def test_a_video_token_is_never_sampled(assets: Path, tmp_path: Path) -> None:
    """TRL suppresses the image token alone; a drawn video token would make the reply impossible to score."""
    trainer = make_trainer(assets, tmp_path, stage("grpo", "rollouts.max_new_tokens=64"))
    config = trainer.model.config
    assert set(trainer.generation_config.suppress_tokens) == {config.image_token_id, config.video_token_id}
    with torch.no_grad():  # make it the likeliest token by far
        hidden = trainer.model.get_output_embeddings().weight
        hidden[config.video_token_id] = 50 * hidden.std(dim=0)
    ids, _, fields = trainer._tokenize_prompts([row["prompt"] for row in rows(assets, 2)])
    replies, _ = trainer._generate_single_turn(ids, None, fields, 2)
    assert config.video_token_id not in {token for reply in replies for token in reply}


def test_stock_trl_still_scores_without_the_clip() -> None:
    """The reason for `ClipGRPOTrainer`. If this fails, TRL has learnt to carry clips, and much of ours can go."""
    for method in (GRPOTrainer._generate_and_score_completions, GRPOTrainer._compute_loss):
        assert "pixel_values_videos" not in inspect.getsource(method)
