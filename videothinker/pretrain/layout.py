"""How a checkpoint sees a clip of the world, and what its chat template puts around clip and prompt."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from videothinker.frames import Clip, clip_indices
from videothinker.models.chat import chat
from videothinker.models.positions import rule_of, token_positions
from videothinker.pretrain.scenes import N_CLIP_FRAMES, Ints, Wording
from videothinker.world.table import FPS, N_FRAMES


class Layout(NamedTuple):
    """The shape of a clip to the model, and the tokens and positions up to the clip's end, which all sequences share."""

    width: int
    height: int
    """Size of the clips in pixels; the processor leaves this size as it is."""
    grid: tuple[int, int, int]
    """(t, h, w): t pairs of frames, each of h x w patches of 14 x 14 pixels. Four patches make one token."""
    beginning: Ints
    """(n,) token ids up to the clip's last."""
    clip_start: int
    """Place of the clip's first token in `beginning`."""
    positions: torch.Tensor
    """(3, n): time, row and column of each token of `beginning`."""
    next_position: int
    """Position of the first token behind the clip, the same on all three axes."""
    seconds_per_grid: float
    """Seconds from one pair of frames to the next, as the processor tells the model."""

    @classmethod
    def of(cls, model: Any, processor: Any, width: int, height: int) -> "Layout":
        """Ask the processor and the model.

        Raises:
            ValueError: the processor would scale clips of this size.
        """
        clip = blank_clip(width, height)
        inputs = processor(
            text=[chat(processor, "?")],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            return_tensors="pt",
        )
        t, h, w = inputs["video_grid_thw"][0].tolist()
        patch = processor.video_processor.patch_size
        if (h * patch, w * patch) != (height, width):
            raise ValueError(f"the processor makes {w * patch}x{h * patch} of clips of {width}x{height}")
        at = (inputs["input_ids"][0] == model.config.video_token_id).nonzero()[:, 0]
        n = int(at[-1]) + 1
        seconds = float(inputs["second_per_grid_ts"][0])
        positions, _ = token_positions(
            model.config,
            inputs["input_ids"],
            inputs["attention_mask"],
            inputs["video_grid_thw"][None],
            torch.tensor([[seconds]]),
            rule_of(model.config),
        )
        return cls(
            width=width,
            height=height,
            grid=(t, h, w),
            beginning=inputs["input_ids"][0, :n].numpy(),
            clip_start=int(at[0]),
            positions=positions[:, 0, :n],
            next_position=int(positions[0, 0, n]),
            seconds_per_grid=seconds,
        )


def blank_clip(width: int, height: int) -> Clip:
    """A clip of the world's length and frame rate, as `frames.read_clip` returns it."""
    frames = np.zeros((N_CLIP_FRAMES, height, width, 3), np.uint8)
    return Clip(frames, clip_indices(N_FRAMES, N_CLIP_FRAMES), float(FPS), N_FRAMES)


def wording(processor: Any, tokenizer_file: Path) -> Wording:
    """What the checkpoint's chat template puts between the clip and the prompt, and between the prompt and the reply."""
    _, _, text = chat(processor, "\0").partition(processor.video_token)
    before, _, after = text.partition("\0")
    return Wording(tokenizer_file, before, after)
