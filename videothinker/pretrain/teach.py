"""Plain supervision on a handful of clips in files, until a tiny checkpoint answers in the form that `answers` reads.

    folder = tiny.build(Path("tiny"))
    teach(folder, [Example(Footage(Path("clip.mp4")), prompt, "<think>I look.</think><answer>A</answer>")])

It serves tests and benchmarks on a CPU; `run.pretrain` is the real pretraining of a small model.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from videothinker.footage import Footage
from videothinker.frames import Clip, read_clip
from videothinker.models.chat import chat
from videothinker.models.read import read_config, read_model, read_processor
from videothinker.progress import Progress, no_progress


class Example(NamedTuple):
    """One example of a right reply."""

    clip: Footage
    prompt: str
    """What the model is asked, in the words of `answers.render_prompt`."""
    reply: str


def teach(
    checkpoint: Path,
    examples: Sequence[Example],
    *,
    n_steps: int = 60,
    batch_size: int = 8,
    learning_rate: float = 3e-3,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[float]:
    """Train the checkpoint in place on the examples' replies, and return the loss of every step in nats per token.

    AdamW in float32 on the CPU, with linear decay over `n_steps` steps of `batch_size` examples, which are drawn in shuffled
    passes. Every clip is decoded once. The defaults bring `size="test"` to a readable reply in well under a minute on two
    cores.

    Raises:
        ClipError: the clip of an example cannot be read.
    """
    ref = str(checkpoint)
    model = read_model(ref, checkpoint, read_config(ref, checkpoint), torch.float32, "sdpa").train()
    processor = read_processor(ref, checkpoint)
    n_frames = processor.video_processor.num_frames
    clips = {clip: read_clip(clip, n_frames=n_frames) for clip in dict.fromkeys(example.clip for example in examples)}
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=n_steps)
    losses = []
    for _, batch in zip(range(n_steps), _batches(examples, batch_size, seed), strict=False):
        inputs = _supervised(processor, batch, [clips[example.clip] for example in batch])
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


def _batches(examples: Sequence[Example], batch_size: int, seed: int) -> Iterator[list[Example]]:
    rng = random.Random(seed)
    pool: list[Example] = []
    while True:
        while len(pool) < batch_size:
            pool.extend(rng.sample(examples, len(examples)))
        yield [pool.pop() for _ in range(batch_size)]


def _supervised(processor: Any, batch: Sequence[Example], clips: Sequence[Clip]) -> dict[str, torch.Tensor]:
    """Model inputs with labels on the replies alone: prompts are padded on the left, replies on the right."""
    inputs = dict(
        processor(
            text=[chat(processor, example.prompt) for example in batch],
            videos=[clip.frames for clip in clips],
            video_metadata=[clip.metadata() for clip in clips],
            do_sample_frames=False,
            padding=True,
            return_tensors="pt",
        )
    )
    end = processor.tokenizer.eos_token
    replies = processor.tokenizer(
        [example.reply + end for example in batch], padding=True, padding_side="right", return_tensors="pt"
    )
    prompt_ids, reply_ids, reply_mask = inputs["input_ids"], replies["input_ids"], replies["attention_mask"]
    # The model's own loss ignores labels of -100: prompts and padding.
    inputs["labels"] = torch.cat([torch.full_like(prompt_ids, -100), reply_ids.masked_fill(reply_mask == 0, -100)], dim=1)
    inputs["input_ids"] = torch.cat([prompt_ids, reply_ids], dim=1)
    inputs["attention_mask"] = torch.cat([inputs["attention_mask"], reply_mask], dim=1)
    # 0 marks text: a reply shows no clip.
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(reply_ids)], dim=1)
    return inputs
