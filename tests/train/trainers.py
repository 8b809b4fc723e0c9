"""Clips of three sizes, dataset rows about them, and trainers with injected rewards, for the tests of this folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from videothinker import answers
from videothinker.footage import Footage
from videothinker.models.checkpoint import find_checkpoint
from videothinker.train.arguments import grpo_arguments
from videothinker.train.build import build_trainer
from videothinker.train.data import ClipPrompt, TrainingRow
from videothinker.train.objective import Reference
from videothinker.train.rewards import Reward
from videothinker.train.stage_files import make_stage
from videothinker.train.stages import Stage, StageConfig

CLIP_SIZES = ((56, 84), (84, 84), (84, 112))
QUESTION = ("Without the red metal cube, what will happen?", ("the ball falls", "the cylinder stops", "the cube turns"))


def write_clip(path: Path, height: int, width: int, shade: int, n_frames: int = 8, fps: int = 5) -> Path:
    """A square that crosses a grey table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(n_frames):
            frame = np.full((height, width, 3), 120, np.uint8)
            x = (width - 16) * t // n_frames
            frame[height // 3 : height // 3 + 16, x : x + 16] = (255 - shade, shade, 60)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_adapter(start: Path, out: Path) -> Path:
    """A LoRA of rank 4 on a checkpoint, its weights far from nothing."""
    torch.manual_seed(2)
    targets = r".*language_model.*\.(q_proj|v_proj|up_proj)"
    model = get_peft_model(
        AutoModelForImageTextToText.from_pretrained(start, dtype=torch.float32),
        LoraConfig(r=4, lora_alpha=16, lora_dropout=0.5, target_modules=targets),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(out)
    return out


def rows(assets: Path, n: int = 6) -> list[TrainingRow]:
    """Rows as `data.training_rows` makes them, the clips in turn."""
    text = answers.render_prompt(*QUESTION, answers.Style.COT)
    return [
        {
            "prompt": ClipPrompt(clip=Footage(assets / f"clip{i % 3}.mp4"), text=text + "!" * i),
            "question_id": f"{i}:0",
            "gold": ["A"] if i % 2 else [],
            "n_options": 3,
            "style": answers.Style.COT,
        }
        for i in range(n)
    ]


TINY = {
    "data": {"n_frames": 4, "max_pixels": 12 * 784},
    "rollouts": {"n_replies": 4, "questions_per_step": 2, "max_new_tokens": 8},
    "optimizer": {"steps": 2, "learning_rate": 1e-3, "max_grad_norm": 1.0},
    "model": {"precision": "fp32", "gradient_checkpointing": False},
    "saving": {"save_every": 2},
}
"""Settings that a test adds to: small clips, short replies, float32."""


def stage(name: str, *overrides: str) -> StageConfig:
    """A tiny stage; CDPO repels with 0.5 unless overridden."""
    raw = {section: dict(values) for section, values in TINY.items()}
    if name == "cdpo":
        raw["objective"] = {"repulsion": 0.5}
    return make_stage(Stage(name), raw, overrides)


def mixed(completions: list[str], **_: Any) -> list[float]:
    """Rewards that differ within a group whatever an untaught model writes: vowels a character."""
    return [sum(c in "aeiou" for c in text) / max(len(text), 1) + (i % 3) / 2 for i, text in enumerate(completions)]


def make_trainer(
    assets: Path,
    out: Path,
    config: StageConfig,
    *,
    start: Path | None = None,
    reference: Path | None = None,
    n_rows: int = 6,
    reward_funcs: Any = (mixed,),
    rewards: Mapping[str, Reward] | None = None,
    **arguments: Any,
) -> Any:
    """The trainer that `run.train` would make, on given rows and rewards; `arguments` replace TRL's."""
    args = grpo_arguments(config, out)
    for name, value in arguments.items():
        setattr(args, name, value)
    named = config.needs_reference and config.objective.reference is not Reference.SELF
    found = find_checkpoint(str(reference or assets / "bias")) if named else None
    first = find_checkpoint(str(start or assets / "start"))
    if rewards is None:
        rewards = {function.__name__: Reward(function, weight=1.0) for function in reward_funcs}
    return build_trainer(config, args, first, found, rows(assets, n_rows), rewards=rewards)
