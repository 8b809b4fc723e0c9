"""The tiny checkpoint is a real one: transformers loads it, its clips keep their time, and it can be taught to answer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker import answers
from videothinker.curated import Curated
from videothinker.frames import read_clip
from videothinker.train import tiny


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
    inputs = processor(text=[tiny.chat(processor, "?")], videos=[frames], video_metadata=[metadata], return_tensors="pt")
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


def test_teaching_trains_the_replies_and_every_weight(tmp_path: Path, colours: Curated) -> None:
    checkpoint = tiny.build(tmp_path / "model")
    before = AutoModelForImageTextToText.from_pretrained(checkpoint).state_dict()
    question = colours.questions("dev")[0]
    clip = colours.clip(question)
    assert clip is not None
    lesson = tiny.Lesson(clip, answers.render(question, answers.Style.DIRECT), answers.solution(question))
    steps: list[int] = []
    losses = tiny.teach(
        checkpoint,
        [lesson, lesson._replace(reply="<answer>none</answer>, I think")],
        n_steps=3,
        batch_size=2,
        progress=steps.append,
    )
    assert steps == [1, 1, 1]
    assert losses[0] == pytest.approx(np.log(447), rel=0.1)  # an untaught model: every token is as likely
    assert losses[-1] < losses[0]
    after = AutoModelForImageTextToText.from_pretrained(checkpoint).state_dict()
    assert [name for name, weight in before.items() if torch.equal(weight, after[name])] == []


def test_a_taught_checkpoint_answers_by_looking(taught: Path, colours: Curated) -> None:
    model, processor = AutoModelForImageTextToText.from_pretrained(taught), AutoProcessor.from_pretrained(taught)
    for question in colours.questions("dev"):
        path = colours.clip(question)
        assert path is not None
        clip = read_clip(path, n_frames=16)
        inputs = processor(
            text=[tiny.chat(processor, answers.render(question, answers.Style.COT))],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            return_tensors="pt",
        )
        ids = model.generate(**inputs, max_new_tokens=40, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        assert processor.batch_decode(ids, skip_special_tokens=True) == ["<think>I look.</think>" + answers.solution(question)]
