"""A checkpoint as `vt pretrain` makes it, and a few scenes of its world."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoProcessor

from videothinker.models.checkpoint import Checkpoint, load_full
from videothinker.pretrain import fresh
from videothinker.pretrain.course import Course
from videothinker.pretrain.layout import Layout, wording
from videothinker.pretrain.scenes import Scenes, Source
from videothinker.pretrain.settings import ModelSettings, PretrainConfig, SceneSettings
from videothinker.pretrain.vocabulary import WordIds, word_ids


class School(NamedTuple):
    folder: Path
    model: Any
    processor: Any
    layout: Layout
    source: Source
    course: Course
    words: WordIds
    scenes: Scenes


def open_school(folder: Path) -> School:
    config = PretrainConfig(model=ModelSettings(size="test"), world=SceneSettings(seed=5))
    fresh.build(folder, config)
    model = load_full(Checkpoint(folder, None), torch.float32, "sdpa").eval()
    processor = AutoProcessor.from_pretrained(folder)
    layout = Layout.of(model, processor, 168, 112)
    around = wording(processor, folder / "tokenizer.json")
    source = Source(around, seed=5, preset="balanced", n_questions=8)
    course = Course(
        variants_per_scene=2,
        sequences_per_clip=2,
        n_questions=4,
        n_tracks=2,
        without_share=0.5,
        counterfactual_share=0.7,
        length=768,
        beginning=layout.beginning,
        pad=processor.tokenizer.pad_token_id,
    )
    words = word_ids(processor.tokenizer, around)
    return School(folder, model, processor, layout, source, course, words, source.read(range(8)))
