"""A tiny Qwen2.5-VL, made from its config with a tokenizer trained on the spot: all that a real checkpoint has, in megabytes.

`build` writes an untaught one, whose replies are noise; `teach` trains it by plain supervision until it answers in the form
that `mcq` reads. It serves tests, the demo and benchmarks on a CPU; the serious pretraining of a small model is `vt train sft`.

    folder = tiny.build(Path("tiny"))
    tiny.teach(folder, lessons)
"""

import random
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from videothinker import mcq
from videothinker.frames import read_clip
from videothinker.progress import Progress, no_progress

Size = Literal["test", "small", "tiny"]
"""test: 0.6 M parameters, 16 frames of 112 x 168 (192 video tokens); small: 6 M, the same frames, seen whole by every layer of
the vision tower; tiny: 11 M, 16 frames of 168 x 252 (432 video tokens)."""

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
    """Most 28 x 28 patches a frame; one more than a CLEVRER clip fills, so that rounding does not cost it a row."""
    window: int = 112
    """Pixels that a layer of the vision tower attends over, but for its last, which sees the whole frame."""


_SHAPES: dict[Size, _Shape] = {
    "test": _Shape(hidden=128, layers=2, heads=4, vision_hidden=64, vision_layers=2, n_merged=25),
    "small": _Shape(hidden=256, layers=8, heads=4, vision_hidden=128, vision_layers=4, n_merged=25, window=168),
    "tiny": _Shape(hidden=384, layers=6, heads=6, vision_hidden=192, vision_layers=4, n_merged=55),
}


def build(
    out: Path, *, vocabulary: Sequence[str] | None = None, words: Sequence[str] = (), seed: int = 0, size: Size = "test"
) -> Path:
    """Write a randomly initialised checkpoint with tokenizer and processor into `out`, and return `out`.

    transformers' AutoModelForImageTextToText and AutoProcessor load it. Its processor samples 16 frames by itself.

    vocabulary: texts that the tokenizer's merges are learnt from; None: prompts and replies about CLEVRER's objects.
    words: each is one token wherever it stands, as "<think>" is to Qwen3.
    seed: of the weights. The tokenizer depends on the vocabulary alone.
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
    time = head // 8  # a head's rotary dimensions, split 1 : 1.5 : 1.5 between time, height and width as in Qwen2.5-VL
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
    """Byte-level BPE, so that any text can be written; frequent words of `texts` become one token each."""
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
    """Prompts about CLEVRER's objects, and replies to them."""
    colors = ("gray", "brown", "green", "red", "blue", "purple", "yellow", "cyan")
    things = [" ".join(thing) for thing in product(colors, ("metal", "rubber"), ("cube", "cylinder", "sphere"))]
    texts = []
    for index, thing in enumerate(things):
        other = things[index * 7 % len(things)]
        negation = " not" if index % 2 else ""
        options = (f"The {thing} and the {other} collide", f"The {other} collides with the {thing}")
        problem = f"Without the {thing}, what will{negation} happen?"
        texts.append(mcq.render_prompt(problem, options, mcq.Prompt.COT))
        texts.append(
            mcq.render_prompt(f"If the {thing} is removed, which event will{negation} happen?", options, mcq.Prompt.DIRECT)
        )
        letters = [letter for bit, letter in enumerate("ABCD") if index >> bit & 1]
        texts.append(f"<|im_start|>assistant\n<think>Without it the {other} moves on.</think>{mcq.solution(tuple(letters))}")
    return texts


class Lesson(NamedTuple):
    """One example of a right reply."""

    clip: Path
    prompt: str
    """What the model is asked, `mcq.render_prompt`'s text."""
    reply: str


def teach(
    checkpoint: Path,
    lessons: Sequence[Lesson],
    *,
    n_steps: int = 60,
    batch_size: int = 8,
    learning_rate: float = 3e-3,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[float]:
    """Train the checkpoint in place by supervision on the lessons' replies, and return the loss (nats a token) of every step.

    AdamW with linear decay over `n_steps` steps of `batch_size` lessons, drawn in shuffled passes; fp32 on the CPU. Every clip
    is decoded once. The defaults bring `size="test"` to a readable reply in well under a minute on two cores.

    Raises:
        ClipError: a lesson's clip cannot be read.
    """
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32).train()
    processor = AutoProcessor.from_pretrained(checkpoint)
    n_frames = processor.video_processor.num_frames
    clips = {path: read_clip(path, n_frames=n_frames) for path in dict.fromkeys(lesson.clip for lesson in lessons)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=n_steps)
    losses = []
    for _, batch in zip(range(n_steps), _batches(lessons, batch_size, seed), strict=False):
        films = [clips[lesson.clip] for lesson in batch]
        inputs = _supervised(processor, batch, films)
        loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        progress(1)
    model.save_pretrained(checkpoint)
    return losses


def _batches(lessons: Sequence[Lesson], batch_size: int, seed: int) -> Iterator[list[Lesson]]:
    rng = random.Random(seed)
    pool: list[Lesson] = []
    while True:
        while len(pool) < batch_size:
            pool.extend(rng.sample(lessons, len(lessons)))
        yield [pool.pop() for _ in range(batch_size)]


def _supervised(processor: Any, batch: Sequence[Lesson], films: Sequence[Any]) -> dict[str, torch.Tensor]:
    """Model inputs with labels on the replies alone: prompts padded on the left, replies on the right."""
    texts = [chat(processor, lesson.prompt) for lesson in batch]
    inputs = dict(
        processor(
            text=texts,
            videos=[film.frames for film in films],
            video_metadata=[film.metadata() for film in films],
            do_sample_frames=False,
            padding=True,
            return_tensors="pt",
        )
    )
    replies = processor.tokenizer(
        [lesson.reply + _END for lesson in batch], padding=True, padding_side="right", return_tensors="pt"
    )
    prompt_ids, reply_ids, reply_mask = inputs["input_ids"], replies["input_ids"], replies["attention_mask"]
    inputs["labels"] = torch.cat([torch.full_like(prompt_ids, -100), reply_ids.masked_fill(reply_mask == 0, -100)], dim=1)
    inputs["input_ids"] = torch.cat([prompt_ids, reply_ids], dim=1)
    inputs["attention_mask"] = torch.cat([inputs["attention_mask"], reply_mask], dim=1)
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(reply_ids)], dim=1)
    return inputs


def chat(processor: Any, prompt: str) -> str:
    """The text of a conversation that shows one clip, asks `prompt` and waits for the reply."""
    content = [{"type": "video"}, {"type": "text", "text": prompt}]
    text: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return text
