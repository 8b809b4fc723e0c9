"""Policies with adapters that change what is written, and their weights, for tests of LoRA."""

import shutil
from pathlib import Path
from typing import Any

import torch
from train.trainers import make_trainer, rows, stage
from transformers import AutoModelForImageTextToText

from videothinker.train.sampling import ReplySampler

BF16 = ("model.precision=bf16", "lora.rank=4")


def lora_trainer(assets: Path, out: Path, *overrides: str, name: str = "grpo", **arguments: Any) -> Any:
    """A trainer of adapters that change what is written."""
    torch.manual_seed(5)
    trainer = make_trainer(assets, out, stage(name, *BF16, "rollouts.engine=graphs", *overrides), **arguments)
    move(trainer)
    trainer.model.train()
    return trainer


def with_two_weights(start: Path, out: Path) -> Path:
    """The checkpoint with output embeddings of their own, as Qwen2.5-VL has them from 7B on."""
    shutil.copytree(start, out)
    model = AutoModelForImageTextToText.from_pretrained(start, dtype=torch.float32)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    model.save_pretrained(out)
    return out


def move(trainer: Any) -> None:
    """Change the policy's adapter, as an optimizer's step does."""
    torch.manual_seed(6)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))


def write(trainer: Any, assets: Path, one: ReplySampler | None = None) -> list[list[int]]:
    ids, _, _ = trainer._tokenize_prompts([row["prompt"] for row in rows(assets, 5)])
    torch.manual_seed(7)
    return (one or trainer.sampler).sample(trainer.model, ids, trainer._clips["train"], trainer._rows[:, 0].tolist())


def all_weights(trainer: Any) -> dict[str, torch.Tensor]:
    """Copies of all weights of the policy, adapters and base."""
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}


def same_bits(before: dict[str, torch.Tensor], trainer: Any) -> bool:
    now = dict(trainer.model.named_parameters())
    return before.keys() == now.keys() and all(torch.equal(now[name], weight) for name, weight in before.items())
