"""A tiny start checkpoint, a bias model that differs from it, and clips of three sizes."""

from pathlib import Path

import pytest
import torch
from train.trainers import CLIP_SIZES, write_adapter, write_clip

from videothinker.models import tiny


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """start/ and bias/ (two seeds of a 0.7 M parameter Qwen2.5-VL), clip0.mp4 ... clip2.mp4."""
    torch.set_num_threads(1)  # two test processes share two cores
    folder = tmp_path_factory.mktemp("train")
    tiny.build(folder / "start", seed=0)
    tiny.build(folder / "bias", seed=1)
    for i, (height, width) in enumerate(CLIP_SIZES):
        write_clip(folder / f"clip{i}.mp4", height, width, 40 * i)
    return folder


@pytest.fixture
def adapter(assets: Path, tmp_path: Path) -> Path:
    """A LoRA bias model on start/, its weights far from nothing."""
    return write_adapter(assets / "start", tmp_path / "adapter")
