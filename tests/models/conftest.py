"""A tiny Qwen2.5-VL, clips of three sizes, and prompts about them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train.trainers import CLIP_SIZES, write_clip
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.footage import Footage
from videothinker.models import tiny
from videothinker.models.vision import SeenClip, see
from videothinker.train.clips import Encoded, PromptEncoder
from videothinker.train.data import ClipPrompt


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """start/, a Qwen2.5-VL of 0.7 M parameters, and clip0.mp4 ... clip2.mp4."""
    torch.set_num_threads(1)  # two test processes share two cores
    folder = tmp_path_factory.mktemp("models")
    tiny.build(folder / "start", seed=0)
    for i, (height, width) in enumerate(CLIP_SIZES):
        write_clip(folder / f"clip{i}.mp4", height, width, 40 * i)
    return folder


@pytest.fixture(scope="session")
def model(assets: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def processor(assets: Path) -> Any:
    return AutoProcessor.from_pretrained(assets / "start", padding_side="left")


@pytest.fixture(scope="session")
def encoded(assets: Path, model: Any, processor: Any) -> Encoded:
    """Four prompts of different lengths about three clips, two sizes among them."""
    encode = PromptEncoder(processor, n_frames=4, max_pixels=12 * 784, video_token=model.config.video_token_id)
    return encode([ClipPrompt(Footage(assets / f"clip{i % 3}.mp4"), "what" + " happens then" * 3 * i) for i in range(4)])


@pytest.fixture(scope="session")
def clips(model: Any, encoded: Encoded) -> list[SeenClip]:
    with torch.no_grad():
        found = see(
            model,
            [clip.patches for clip in encoded.clips],
            [clip.grid for clip in encoded.clips],
            [clip.seconds_per_pair for clip in encoded.clips],
        )
    return [found[row] for row in encoded.rows]
