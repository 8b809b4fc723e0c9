"""The same quantities once more, as plainly as possible: one unpadded row at a time, one forward, no trainer, no sharing."""

from pathlib import Path
from typing import Any

import torch

from videothinker.frames import read_clip


def logps(
    model: Any, processor: Any, clip: Path, prompt_ids: list[int], reply_ids: list[int], *, temperature: float = 1.0
) -> torch.Tensor:
    """Log-probability of every reply token, (T,), with the clip at 4 frames of at most 12 * 784 pixels."""
    inputs = video_inputs(processor, clip)
    ids = torch.tensor([prompt_ids + reply_ids])
    kinds = 2 * (ids == model.config.video_token_id).int()
    logits = model(input_ids=ids, mm_token_type_ids=kinds, **inputs).logits[0, len(prompt_ids) - 1 : -1]
    table = torch.log_softmax(logits.float() / temperature, dim=-1)
    return table.gather(1, torch.tensor(reply_ids)[:, None]).squeeze(1)


def video_inputs(processor: Any, clip: Path) -> dict[str, torch.Tensor]:
    film = read_clip(clip, n_frames=4)
    size = {"shortest_edge": 4 * 784, "longest_edge": 12 * 784}
    found = processor.video_processor(
        videos=[film.frames], video_metadata=[film.metadata()], do_sample_frames=False, size=size, return_tensors="pt"
    )
    seconds = 2 * film.n_total / film.fps / 4  # a temporal patch is two of the four frames
    return {
        "pixel_values_videos": found["pixel_values_videos"],
        "video_grid_thw": found["video_grid_thw"],
        "second_per_grid_ts": torch.tensor([seconds]),
    }


def unpadded(batch: dict[str, Any], row: int) -> tuple[list[int], list[int]]:
    """Prompt and reply tokens of one row of a trainer's batch."""
    prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()].tolist()
    reply = batch["completion_ids"][row][batch["completion_mask"][row].bool()].tolist()
    return prompt, reply


def clip_of(assets: Path, processor: Any, prompt_ids: list[int]) -> Path:
    """Which clip a prompt asks about: row i of `conftest.rows` ends its text with i exclamation marks."""
    n_marks = processor.tokenizer.decode(prompt_ids).count("!")
    return assets / f"clip{n_marks % 3}.mp4"


def objective(
    rows: list[dict[str, torch.Tensor]], *, repulsion: float, clamp: float = 11.0, low: float = 0.2, high: float = 0.28
) -> torch.Tensor:
    """J, to be maximised: the mean over replies of the mean over tokens of the clipped GRPO term plus repulsion * k3.

    rows: one dict a reply with `policy`, `old`, `reference` (T,) and `advantage` ().
    """
    total = torch.zeros(())
    for row in rows:
        ratio = (row["policy"] - row["old"]).exp()
        surrogate = torch.min(ratio * row["advantage"], ratio.clamp(1 - low, 1 + high) * row["advantage"])
        d = (row["reference"] - row["policy"]).clamp(-clamp, clamp)
        total = total + (surrogate + repulsion * (d.exp() - d - 1)).mean()
    return total / len(rows)
