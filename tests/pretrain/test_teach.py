"""Plain supervision teaches a tiny checkpoint to answer, and trains every weight."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker import answers
from videothinker.curated import Curated
from videothinker.frames import read_clip
from videothinker.models import tiny
from videothinker.models.chat import chat
from videothinker.pretrain.teach import Example, teach


def test_teaching_trains_the_replies_and_every_weight(tmp_path: Path, colours: Curated) -> None:
    checkpoint = tiny.build(tmp_path / "model")
    before = AutoModelForImageTextToText.from_pretrained(checkpoint).state_dict()
    question = colours.questions("dev")[0]
    clip = colours.clip(question)
    assert clip is not None
    example = Example(clip, answers.render(question, answers.Style.DIRECT), answers.solution(question))
    steps: list[int] = []
    losses = teach(
        checkpoint,
        [example, example._replace(reply="<answer>none</answer>, I think")],
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
            text=[chat(processor, answers.render(question, answers.Style.COT))],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            return_tensors="pt",
        )
        ids = model.generate(**inputs, max_new_tokens=40, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        assert processor.batch_decode(ids, skip_special_tokens=True) == ["<think>I look.</think>" + answers.solution(question)]
