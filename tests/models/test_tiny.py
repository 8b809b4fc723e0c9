"""The tiny checkpoint is a real one: transformers loads it, its clips keep their time, and any text survives its tokenizer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from videothinker.models import tiny
from videothinker.models.chat import chat


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    one, two, other = (tiny.build(tmp_path / name, seed=seed) for name, seed in [("one", 0), ("two", 0), ("other", 1)])
    names = sorted(path.name for path in one.iterdir())
    assert {"config.json", "model.safetensors", "tokenizer.json", "processor_config.json"} <= set(names)
    assert [name for name in names if (one / name).read_bytes() != (two / name).read_bytes()] == []
    assert [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()] == ["model.safetensors"]


def test_building_leaves_the_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    tiny.build(tmp_path, seed=0)
    assert torch.rand(1) == expected


@pytest.mark.parametrize(("size", "grid"), [("test", [8, 8, 12]), ("tiny", [8, 12, 18])])
def test_a_clevrer_clip_fills_the_budget_and_keeps_its_time(tmp_path: Path, size: tiny.Size, grid: list[int]) -> None:
    processor = AutoProcessor.from_pretrained(tiny.build(tmp_path, size=size))
    frames = np.zeros((128, 320, 480, 3), np.uint8)
    metadata = {"total_num_frames": 128, "fps": 25.0}
    inputs = processor(text=[chat(processor, "?")], videos=[frames], video_metadata=[metadata], return_tensors="pt")
    assert inputs["video_grid_thw"].tolist() == [grid]  # 16 frames in pairs, as documented for Size
    assert inputs["second_per_grid_ts"] == pytest.approx([0.64])  # 2 of 16 frames in 5.12 s
    assert int((inputs["input_ids"] == processor.video_token_id).sum()) == np.prod(grid) // 4


def test_any_text_survives_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = AutoProcessor.from_pretrained(tiny.build(tmp_path)).tokenizer
    text = "Without the purple metal cylinder, what will not happen? é 漢字\n\tA. <think>none</think>"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer(" metal cylinder")["input_ids"]) == 2


def test_a_vocabulary_of_ones_own(tmp_path: Path) -> None:
    tokenizer = AutoProcessor.from_pretrained(tiny.build(tmp_path, vocabulary=["zebra crossing"] * 9)).tokenizer
    assert len(tokenizer("zebra")["input_ids"]) == 1
