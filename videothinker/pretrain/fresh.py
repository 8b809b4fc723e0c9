"""A fresh checkpoint, whose tokenizer has a token for every word of the world and of the lessons."""

from pathlib import Path

from videothinker import answers
from videothinker.models import tiny
from videothinker.models.text_positions import TextPositions
from videothinker.pretrain import vocabulary
from videothinker.pretrain.settings import PretrainConfig
from videothinker.world.stream import make_scene

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_N_SCENES = 24
"""Scenes whose prompts the tokenizer learns its words from."""


def build(out: Path, config: PretrainConfig) -> None:
    """Write an untaught checkpoint of `config.model.size` into the folder `out`."""
    texts = tiny.default_vocabulary() + vocabulary.texts()
    for index in range(_N_SCENES):
        scene = make_scene(index, seed=config.world.seed, preset=config.world.preset)
        for question in scene.questions:
            if question.question_type == "counterfactual" and question.choices is not None:
                options = [choice.choice for choice in question.choices]
                styles = answers.Style if config.forms else (answers.Style.COT,)
                texts += [answers.render_prompt(question.question, options, style) for style in styles]
    tiny.build(
        out,
        vocabulary=texts,
        words=TAGS,
        seed=config.seed,
        size=config.model.size,
        text_positions=config.model.text_positions or TextPositions.ORIGINAL,
    )
