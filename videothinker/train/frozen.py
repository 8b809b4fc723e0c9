"""Frozen models beside a policy, which only score: its start, and the reference that it is repelled from."""

from pathlib import Path
from typing import Any

from torch import nn
from trl.models.utils import prepare_deepspeed, prepare_fsdp
from trl.trainer.utils import add_fused_lm_head

from videothinker.models.adapter import put_beside
from videothinker.models.norms import quicken_norms
from videothinker.models.vision import quicken_vision
from videothinker.train.clips import see_clips, share_vision
from videothinker.train.seen import VisionCache


def placed_frozen(trainer: Any, model: Any, vision: VisionCache | None) -> Any:
    """A model that only scores, placed as TRL places its reference: sharded where the policy is, else on its device.

    trainer: the policy's, TRL's or a subclass. vision: keeps what a frozen tower makes of clips.
    """
    model.requires_grad_(False).eval()
    quicken(model, vision)
    add_fused_lm_head(model, temperature=trainer.temperature)
    if trainer.is_deepspeed_enabled:
        return prepare_deepspeed(model, trainer.accelerator)
    if trainer.is_fsdp_enabled:
        return prepare_fsdp(model, trainer.accelerator)
    return trainer.accelerator.prepare_model(model, evaluation_mode=True)


def put_frozen_adapter(policy: Any, folder: Path, name: str) -> None:
    """Put the LoRA adapter of a folder beside the policy's own, under a name by which it is used to score."""
    put_beside(str(folder), folder, policy, name)
    for module in policy.modules():  # an adapter's dropout follows the policy's train mode; a frozen one has none
        if name in getattr(module, "lora_dropout", {}):
            module.lora_dropout[name] = nn.Identity()


def drop_adapter(policy: Any, name: str) -> None:
    """Forget a frozen adapter, so that saving the policy does not save it too; nothing if there is none of the name."""
    if name in getattr(policy, "peft_config", {}):
        policy.delete_adapter(name)


def quicken(model: Any, vision: VisionCache | None = None) -> None:
    """Let a Qwen2.5-VL compute the same numbers faster; called before PEFT or a parallel wrapper goes around it.

    vision: keeps what a frozen tower makes of clips.
    """
    share_vision(model, see_clips if vision is None else vision.see)
    quicken_vision(model)
    quicken_norms(model)
