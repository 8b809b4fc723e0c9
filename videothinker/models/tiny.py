"""A tiny Qwen2.5-VL, made from its config with a tokenizer trained on the spot: all that a real checkpoint has, in megabytes.

    folder = tiny.build(Path("tiny"))

It is untaught, so its replies are noise. `pretrain.teach` teaches it a few answers, which is enough for tests; `vt pretrain` is
the real pretraining of a small model.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from videothinker import answers
from videothinker.models.text_positions import FIELD, TextPositions
from videothinker.records import Form

_SETS = answers.FORMS[Form.LETTERS]

Size = Literal["test", "small", "tiny"]
"""test: 0.6 M parameters, 16 frames of 112 x 168 pixels (192 video tokens). small: 6 M parameters and the same frames, of which
every layer of the vision tower sees the whole. tiny: 11 M parameters, 16 frames of 168 x 252 pixels (432 video tokens)."""

_END, _PAD = "<|im_end|>", "<|endoftext|>"
_SPECIAL = (_PAD, "<|im_start|>", _END, "<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|image_pad|>")
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class _Shape(NamedTuple):
    hidden: int
    layers: int
    heads: int
    vision_hidden: int
    vision_layers: int
    n_merged: int
    """Upper limit of 28 x 28 patches per frame: one more than a CLEVRER clip fills, so that rounding does not cost it a row."""
    window: int = 112
    """Side, in pixels, of the windows that the vision tower's layers attend within; its last layer sees the whole frame."""


_SHAPES: dict[Size, _Shape] = {
    "test": _Shape(hidden=128, layers=2, heads=4, vision_hidden=64, vision_layers=2, n_merged=25),
    "small": _Shape(hidden=256, layers=8, heads=4, vision_hidden=128, vision_layers=4, n_merged=25, window=168),
    "tiny": _Shape(hidden=384, layers=6, heads=6, vision_hidden=192, vision_layers=4, n_merged=55),
}


def build(
    out: Path,
    *,
    vocabulary: Sequence[str] | None = None,
    words: Sequence[str] = (),
    seed: int = 0,
    size: Size = "test",
    text_positions: TextPositions = TextPositions.ORIGINAL,
) -> Path:
    """Write a randomly initialised checkpoint with tokenizer and processor into `out`, and return `out`.

    transformers' AutoModelForImageTextToText and AutoProcessor load it. Its processor samples 16 frames by itself.

    vocabulary: texts that the tokenizer learns its merges from; None stands for prompts and replies about CLEVRER's objects.
    words: each becomes one token wherever it stands, as "<think>" is in Qwen3.
    seed: decides on the weights; the tokenizer depends on the vocabulary alone.
    text_positions: the rule that it will be trained and asked by.
    """
    shape = _SHAPES[size]
    tokenizer = _tokenizer(vocabulary if vocabulary is not None else default_vocabulary(), words)
    ids = dict(zip(_SPECIAL, tokenizer.convert_tokens_to_ids(list(_SPECIAL)), strict=True))
    # Small clips stay small: Qwen's own minimum, 128 merged patches a frame, would scale them up.
    pixels = {"shortest_edge": 4 * 28 * 28, "longest_edge": shape.n_merged * 28 * 28}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=pixels, do_sample_frames=True, num_frames=16, cap_pixels_per_frame=False),
        chat_template=_TEMPLATE,
    )
    head = shape.hidden // shape.heads
    time = head // 8  # half of a head's dimensions are split 1 : 1.5 : 1.5 between time, height and width, as in Qwen2.5-VL
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": shape.hidden,
            "intermediate_size": 2 * shape.hidden,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.heads // 2,
            "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [time, (head // 2 - time) // 2, (head // 2 - time) // 2],
            },
            "bos_token_id": None,
            "eos_token_id": ids[_END],
            "pad_token_id": ids[_PAD],
        },
        vision_config={
            "depth": shape.vision_layers,
            "hidden_size": shape.vision_hidden,
            "intermediate_size": 2 * shape.vision_hidden,
            "num_heads": 4,
            "out_hidden_size": shape.hidden,
            "fullatt_block_indexes": [shape.vision_layers - 1],
            "window_size": shape.window,
            "tokens_per_second": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        **{FIELD: text_positions.value},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids[_END]
    model.generation_config.pad_token_id = ids[_PAD]
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out


def _tokenizer(texts: Sequence[str], words: Sequence[str]) -> Any:
    """A byte-level BPE tokenizer, so that any text can be written; frequent words of `texts` become one token each."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=768, special_tokens=list(_SPECIAL), initial_alphabet=alphabet, show_progress=False),
    )
    bpe.add_tokens([AddedToken(word, normalized=False, special=False) for word in words])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=_END,
        pad_token=_PAD,
        padding_side="left",
        additional_special_tokens=list(_SPECIAL[1:]),
        chat_template=_TEMPLATE,
    )


def default_vocabulary() -> list[str]:
    """Prompts about CLEVRER's objects, and replies to them, for a tokenizer to learn their words from."""
    colors = ("gray", "brown", "green", "red", "blue", "purple", "yellow", "cyan")
    things = [" ".join(thing) for thing in product(colors, ("metal", "rubber"), ("cube", "cylinder", "sphere"))]
    texts = []
    for index, thing in enumerate(things):
        other = things[index * 7 % len(things)]
        negation = " not" if index % 2 else ""
        options = (f"The {thing} and the {other} collide", f"The {other} collides with the {thing}")
        problem = f"Without the {thing}, what will{negation} happen?"
        texts.append(answers.render_prompt(problem, options, answers.Style.COT))
        texts.append(
            answers.render_prompt(
                f"If the {thing} is removed, which event will{negation} happen?", options, answers.Style.DIRECT
            )
        )
        letters = [letter for bit, letter in enumerate("ABCD") if index >> bit & 1]  # every subset comes up
        texts.append(f"<|im_start|>assistant\n<think>Without it the {other} moves on.</think>{_SETS.solution(tuple(letters))}")
    return texts
