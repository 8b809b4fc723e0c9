"""A checkpoint as `vt train sft` makes it, and a few scenes of its world."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.pretrain import lessons, packed, run, scenes
from videothinker.pretrain.settings import SftConfig, Shape, World


class School(NamedTuple):
    folder: Path
    model: Any
    processor: Any
    layout: packed.Layout
    source: scenes.Source
    course: lessons.Course
    words: lessons.Words
    scenes: scenes.Scenes


def open_school(folder: Path) -> School:
    config = SftConfig(model=Shape(size="test"), world=World(seed=5))
    run.build(folder, config)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    layout = packed.Layout.of(model, processor, 168, 112)
    wording = packed.wording(processor, folder / "tokenizer.json")
    source = scenes.Source(wording, seed=5, preset="balanced", n_questions=8)
    course = lessons.Course(
        draws=2,
        rows=2,
        n_questions=4,
        n_tracks=2,
        without_share=0.5,
        counterfactual_share=0.7,
        length=768,
        beginning=layout.beginning,
        pad=processor.tokenizer.pad_token_id,
    )
    words = lessons.words(processor.tokenizer, wording)
    return School(folder, model, processor, layout, source, course, words, source.read(range(8)))
