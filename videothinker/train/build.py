"""From settings and checkpoints to a trainer with its models loaded."""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from videothinker.clips import default_cache
from videothinker.errors import VtError
from videothinker.models.adapter import put_on
from videothinker.models.checkpoint import Checkpoint, find_checkpoint, load_full, load_processor
from videothinker.models.text_positions import TextPositions, own_rule
from videothinker.train.arguments import in_bf16, shares_prompts
from videothinker.train.clips import PromptEncoder, bare
from videothinker.train.data import TrainingRow
from videothinker.train.lora import check_scored, check_written, fresh, put_fresh
from videothinker.train.loss import DIVERGENCES
from videothinker.train.objective import Objective, Reference
from videothinker.train.rewards import Reward, chosen
from videothinker.train.sampling import ReplySampler
from videothinker.train.seen import GIB, VisionCache, is_frozen, vision_disk
from videothinker.train.shuffled import Shuffled
from videothinker.train.stages import Engine, StageConfig

if TYPE_CHECKING:
    from videothinker.train.clip_grpo import ClipGRPOTrainer


def check_packages(config: StageConfig) -> None:
    """Raise VtError if a tracker of `saving.report_to` is not installed: transformers would say so after loading the models."""
    for name in config.saving.report_to:
        if importlib.util.find_spec(name) is None:
            raise VtError(f"saving.report_to: the package '{name}' is not installed: pip install {name}")


def find_reference(config: StageConfig, start: Checkpoint, bias: str | None) -> Checkpoint | None:
    """The checkpoint that the policy is repelled from; None where there is none, or the policy is its own reference.

    Raises:
        VtError: it needs a bias model and there is none, or none at that place; or it needs none and there is one.
    """
    if not config.needs_reference:
        if bias is not None:
            raise VtError(
                f"--bias-model {bias}: with objective.repulsion = 0 nothing would read it; leave it out, or set"
                " objective.repulsion, such as 0.01"
            )
        return None
    reference = config.objective.reference
    if bias is not None and reference is not Reference.BIAS:
        raise VtError(
            f"--bias-model {bias}: with objective.reference = '{reference}' nothing would read it; leave it out, or set"
            " objective.reference = 'bias'"
        )
    if reference is Reference.SELF:
        return None
    if reference is Reference.START:
        return start
    if bias is None:
        raise VtError(
            f"{_weight(config.objective)} needs a bias model: train one with `vt train bias` and name it with --bias-model"
        )
    return find_checkpoint(bias)


def _weight(objective: Objective) -> str:
    """The setting that gives the divergence its weight."""
    share = objective.gradient_share
    return f"objective.repulsion = {objective.repulsion}" if share is None else f"objective.gradient_share = {share}"


def rule_for(config: StageConfig, start: Checkpoint) -> TextPositions:
    """The rule of text positions that a training goes by: the settings', or the one that its start was trained with."""
    return config.model.text_positions or own_rule(start.folder)


def build_trainer(
    config: StageConfig,
    args: Any,
    start: Checkpoint,
    reference: Checkpoint | None,
    rows: Sequence[TrainingRow],
    *,
    rewards: Mapping[str, Reward] | None = None,
) -> "ClipGRPOTrainer":
    """The trainer of a stage, models loaded: a `CDPOTrainer` if its loss has a divergence, else a `ClipGRPOTrainer`.

    args: from `grpo_arguments`; made before any model is loaded, because ZeRO-3 shards weights as they load. rewards: in place
    of those that the settings choose.

    Raises:
        VtError: the settings ask for what sharded parameters cannot give.
    """
    from transformers import PrinterCallback

    from videothinker.models.decoder import can_decode
    from videothinker.train.cdpo import CDPOTrainer
    from videothinker.train.clip_grpo import ClipGRPOTrainer

    _check_apart(config, args)
    _check_texts(config, args, rows)
    sharded = _is_sharded(args)
    if sharded:
        _check_sharded(config)
    policy, peft_config = _load_policy(config, start)
    processor, unseen = load_processor(start), _unseen(policy)
    vision = _vision_cache(config, policy, sharded=sharded)
    args.generation_kwargs = {"suppress_tokens": unseen}
    common: dict[str, Any] = {
        "model": policy,
        "args": args,
        "rows": rows,
        "rewards": chosen(config.rewards) if rewards is None else rewards,
        "processing_class": processor,
        "peft_config": peft_config,
        "encode": _encoder(config, processor, policy, keyed=vision is not None),
        "asked": config.data.asked,
        "shuffled": _shuffled(config),
        "vision": vision,
        "drop_equal_groups": config.objective.drop_equal_groups,
        "anchor": config.objective.anchor,
        "start": _load_start(config, start),
        "shared_prompts": shares_prompts(config) and not sharded and can_decode(bare(policy)),
    }
    if config.needs_reference:
        frozen = None if reference is None else _load_reference(config, start, reference, sharded=sharded)
        trainer = CDPOTrainer(objective=config.objective, reference=frozen, seed=config.seed, **common)
    else:
        trainer = ClipGRPOTrainer(**common)
    trainer.remove_callback(PrinterCallback)  # what a run says goes through `Recorder`
    engine = config.rollouts.engine
    if engine is Engine.GRAPHS or (engine is Engine.AUTO and torch.cuda.is_available() and not sharded):
        trainer.sampler = _sampler(config, trainer, processor, unseen, vision)
    return trainer


def _unseen(policy: Any) -> list[int]:
    """The tokens that stand for pictures. TRL's own list leaves video tokens in, and one drawn would end the run."""
    return [policy.config.image_token_id, policy.config.video_token_id]


def _encoder(config: StageConfig, processor: Any, policy: Any, *, keyed: bool) -> PromptEncoder:
    """What makes prompts of questions and their clips. keyed: whether it names clips for the cache of their embeddings."""
    return PromptEncoder(
        processor,
        n_frames=config.data.n_frames,
        max_pixels=config.data.max_pixels,
        video_token=policy.config.video_token_id,
        image_max_pixels=config.data.image_max_pixels,
        cache=default_cache(),
        keyed=keyed,
    )


def _shuffled(config: StageConfig) -> Shuffled | None:
    """How questions are asked about shuffled clips too; None where the settings do not ask for it."""
    rollouts = config.rollouts
    return Shuffled(rollouts.shuffled, rollouts.shuffled_margin, config.seed) if rollouts.shuffled else None


def _sampler(
    config: StageConfig, trainer: "ClipGRPOTrainer", processor: Any, unseen: list[int], vision: VisionCache | None
) -> ReplySampler:
    """What writes replies with our own engine. unseen: tokens that it never draws."""
    return ReplySampler(
        eos=trainer.eos_token_ids,
        pad=processor.tokenizer.pad_token_id,
        suppress=unseen,
        max_new_tokens=config.rollouts.max_new_tokens,
        temperature=config.rollouts.temperature,
        vision=vision,
    )


def check_policy(config: StageConfig, start: Checkpoint, empty: Any) -> None:
    """Check that replies can be written and scored with the adapters that [lora] trains; nothing without that section.

    empty: the start without weights, as `check_fit` returns it; without an adapter it gets the fresh one's modules.

    Raises:
        VtError: they cannot, or `lora.targets` names no layer.
    """
    if config.lora is None:
        return
    if start.base is not None:
        instead = "leave the section [lora] out, so that the adapter is merged and all weights are trained"
        check_written(f"{start.folder}: under [lora] this adapter is trained on", empty, instead)
        return
    subject = f"lora.targets = '{config.lora.targets}'"
    put_fresh(subject, config.lora, empty)
    check_written(subject, empty, "expected a pattern that leaves these layers out")


def check_beside(config: StageConfig, start: Checkpoint, reference: Checkpoint, empty: Any) -> None:
    """Check that a frozen adapter beside the policy's own can score replies; nothing where the reference is a model of its own.

    empty: the reference without weights, as `check_fit` returns it.

    Raises:
        VtError: it cannot.
    """
    if config.lora is not None and reference.base == start.full:
        instead = "merge it into its base and save that, then name the result"
        check_scored(f"{reference.folder}: is scored as an adapter beside the policy's", empty, instead)


def _vision_cache(config: StageConfig, policy: Any, *, sharded: bool) -> VisionCache | None:
    """What keeps the embeddings of a frozen vision tower; None where it is trained, or only a part of it is here."""
    model = config.model
    if sharded or not (model.vision_cache_gib or model.vision_spill_gib) or not is_frozen(bare(policy).model.visual):
        return None
    return VisionCache(int(model.vision_cache_gib * GIB), vision_disk(model.vision_spill_gib))


def _load_policy(config: StageConfig, start: Checkpoint) -> tuple[Any, Any]:
    """The model to train, and for fresh adapters their configuration, which TRL puts on it; else None.

    Weights that are trained are float32; with LoRA the others are in the precision that the model computes with. A start that
    is an adapter is trained on as that adapter if the settings have LoRA, else merged into its base.
    """
    peft_config = None
    rule = rule_for(config, start)
    if config.lora is None:
        model = load_full(start, torch.float32, config.model.attention, rule)
    else:
        model = load_full(Checkpoint(start.full, None), _half(config), config.model.attention, rule)
        if start.base is not None:
            model = put_on(str(start.folder), start.folder, model, trainable=True)
        else:
            peft_config = fresh(config.lora)
    if not config.model.train_vision:
        bare(model).model.visual.requires_grad_(False)
    return model, peft_config


def _load_reference(config: StageConfig, start: Checkpoint, reference: Checkpoint, *, sharded: bool) -> Any:
    """The frozen model; of an adapter on the very base that a LoRA policy has only the path, to be a second adapter there."""
    if config.lora is not None and reference.base == start.full and not sharded:
        return reference.folder
    return load_full(reference, _half(config), config.model.attention, config.model.text_positions)


def _load_start(config: StageConfig, start: Checkpoint) -> Any:
    """What keeps the policy near its start: the start itself, frozen; with LoRA the adapter that training goes on from, or None
    for fresh adapters, without which the policy is its start. None where there is no anchor."""
    if not config.objective.anchor:
        return None
    if config.lora is not None:
        return None if start.base is None else start.folder
    return load_full(start, _half(config), config.model.attention, rule_for(config, start))


def _half(config: StageConfig) -> torch.dtype:
    return torch.bfloat16 if in_bf16(config) else torch.float32


def _check_sharded(config: StageConfig) -> None:
    if config.needs_reference and DIVERGENCES[config.objective.kl].needs_hidden:
        raise VtError(
            f"objective.kl = '{config.objective.kl}' needs the whole output layer on each GPU; under FSDP or ZeRO-3 choose"
            " another form"
        )
    if config.rollouts.engine is Engine.GRAPHS:
        raise VtError("rollouts.engine = 'graphs' needs whole parameters on each GPU; under FSDP or ZeRO choose 'transformers'")


def _check_texts(config: StageConfig, args: Any, rows: Sequence[TrainingRow]) -> None:
    """Questions that show nothing leave the vision tower out, where other processes may wait for its gradients or parts."""
    n = sum(row["prompt"].clip is None for row in rows)
    if n and (_is_sharded(args) or (args.world_size > 1 and config.model.train_vision and config.lora is None)):
        raise VtError(
            f"{n} of {len(rows)} training questions show nothing, and in several processes each needs the vision tower in every"
            " step; set model.train_vision = false and launch with DDP, or leave them out with --where"
        )


def _check_apart(config: StageConfig, args: Any) -> None:
    """Two gradients are kept apart only where each process has whole ones in `.grad` (`apart.py`)."""
    if args.deepspeed_plugin is None and not _is_sharded(args):
        return
    objective = config.objective
    asked = {
        "gradient_share": objective.gradient_share is not None,
        "log_gradient_ratio_every": objective.log_gradient_ratio_every,
    }
    for name in (name for name, wanted in asked.items() if wanted):
        raise VtError(
            f"objective.{name} = {getattr(objective, name)}: needs whole gradients on each GPU; under FSDP or DeepSpeed leave"
            " it out, or launch with DDP"
        )


def _is_sharded(args: Any) -> bool:
    """Does each process hold only a part of the parameters? `accelerate launch` says so by environment, not in `args.fsdp`."""
    zero_3 = args.deepspeed_plugin is not None and args.deepspeed_plugin.zero_stage == 3
    return zero_3 or bool(args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
