"""From a stage's settings to TRL's arguments: how many replies are scored at a time, and what TRL's defaults would change."""

from pathlib import Path
from typing import Any

import torch

from videothinker.errors import VtError
from videothinker.train.process import n_processes
from videothinker.train.stages import Precision, Schedule, StageConfig

_ACTIVATIONS = 12 * 2**30
"""Bytes of activations that a forward pass may keep for its backward pass before it is cut into smaller ones."""

_SCHEDULES = {Schedule.LINEAR: "linear", Schedule.CONSTANT: "constant_with_warmup"}
"""transformers' names."""

_PROMPT_TOKENS = 128
"""About how many tokens a prompt has beside its clip."""


def rows_at_once(config: StageConfig, model: Any) -> int:
    """Replies to score at a time on a GPU where the settings leave it open: as many whole questions as keep activations small.

    model: the checkpoint's configuration. A small model's GPU waits for Python, so it gets all replies in one pass or two; with
    billions of parameters it gets one question, which is the least.
    """
    group, world = config.rollouts.n_replies, n_processes()
    questions = max(1, config.rollouts.questions_per_step // world)
    text, vision = model.get_text_config(), model.vision_config
    layer = 2 * (16 * text.hidden_size + 5 * text.intermediate_size)  # bytes per token, bf16, nothing recomputed
    fit = _ACTIVATIONS // (text.num_hidden_layers * layer)  # how many tokens a pass may have
    pixels = (vision.patch_size * vision.spatial_merge_size) ** 2  # of a frame that one video token stands for
    n_video = config.data.n_frames // vision.temporal_patch_size * config.data.max_pixels // pixels
    n_prompt, n_replies = n_video + _PROMPT_TOKENS, group * config.rollouts.max_new_tokens
    if shares_prompts(config) and questions * (n_prompt + n_replies) <= fit:
        return group * questions  # all or none: TRL shuffles what it cuts into passes, and then no two rows share a prompt
    each = group * n_prompt + n_replies
    return group * max((n for n in range(1, questions + 1) if questions % n == 0 and n * each <= fit), default=1)


def shares_prompts(config: StageConfig) -> bool:
    """Are replies scored behind one copy of their prompt, as far as the settings go?"""
    model = config.model
    return config.rollouts.shared_prompts and model.attention == "sdpa" and not model.gradient_checkpointing


def grpo_arguments(config: StageConfig, out: Path, rows: int | None = None) -> Any:
    """TRL's arguments for the stage on the processes that were launched.

    rows: replies scored at a time where the settings leave it open; None: rollouts.n_replies.

    Raises:
        VtError: the questions of a step cannot be shared evenly among the processes.
    """
    from trl import GRPOConfig

    world = n_processes()
    group = config.rollouts.n_replies
    rows = config.rollouts.rows_per_forward or rows or group
    n_replies = config.rollouts.questions_per_step * group
    if n_replies % (rows * world):
        raise VtError(
            f"{n_replies} replies per step (rollouts.questions_per_step x n_replies) cannot be shared among {world} processes"
            f" {rows} at a time; set rollouts.questions_per_step to a multiple of {world}, or rollouts.rows_per_forward"
        )
    if config.rollouts.shuffled and config.rollouts.questions_per_step % world:
        raise VtError(
            f"rollouts.shuffled = {config.rollouts.shuffled}: compares all replies to a question, so each of {world} processes"
            f" needs whole questions; set rollouts.questions_per_step to a multiple of {world}"
        )
    accumulation = n_replies // (rows * world)
    on_gpu = torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(out),
        seed=config.seed,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation,
        num_generations=group,
        num_iterations=config.rollouts.updates_per_batch,
        max_completion_length=config.rollouts.max_new_tokens,
        temperature=config.rollouts.temperature,
        max_steps=config.optimizer.steps,
        learning_rate=config.optimizer.learning_rate,
        weight_decay=config.optimizer.weight_decay,
        max_grad_norm=config.optimizer.max_grad_norm,
        lr_scheduler_type=_SCHEDULES[config.optimizer.schedule],
        warmup_steps=config.optimizer.warmup_steps,
        loss_type="grpo",  # mean over replies of the mean over tokens; TRL's default is another
        scale_rewards="group",
        epsilon=config.objective.clip_low,
        epsilon_high=config.objective.clip_high,
        beta=0.0,  # the divergence term is ours, signed and clamped; `objective.anchor` is set once the trainer has its model
        use_bias_correction_kl=False,  # TRL's default changes the gradient of k3 to another divergence's
        bf16=in_bf16(config),
        use_cpu=not on_gpu,
        gradient_checkpointing=config.model.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,  # rows hold no tensors
        logging_steps=config.saving.log_every,
        save_strategy="steps",
        save_steps=config.saving.save_every,
        save_total_limit=None,  # `whole.MarkWhole` deletes older checkpoints, once the new one is whole
        report_to=list(config.saving.report_to) or "none",
        disable_tqdm=True,
    )


def in_bf16(config: StageConfig) -> bool:
    """Does the model compute in bfloat16?"""
    return config.model.precision is Precision.BF16 or (config.model.precision is Precision.AUTO and torch.cuda.is_available())
