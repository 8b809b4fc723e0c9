"""A LoRA adapter merged into its base, as a checkpoint that stands alone."""

import shutil
from pathlib import Path

from videothinker.models.checkpoint import find_checkpoint, load_full, stored_weights
from videothinker.models.saved_prompt import PROMPT, own_prompt, save_prompt
from videothinker.models.saving import writing

_COPIED = ("*.json", "*.jinja", "*.txt", "*.model")
"""Tokenizer and processor."""
_NOT_COPIED = (PROMPT, "config.json", "generation_config.json", "model.safetensors.index.json", "run.json", "gate.json")
"""What is about the base's own weights, or is written anew."""


def write_merged(ref: str, out: Path) -> None:
    """Write into the folder `out` the weights of an adapter and its base in one, in the type that the base is stored in.

    Raises:
        VtError: the adapter or its base cannot be loaded.
    """
    found = find_checkpoint(ref)
    dtype = next(stored_weights(found.full))[1].dtype
    model = load_full(found, dtype, "sdpa")
    with writing(out):
        model.save_pretrained(out)
        for path in (path for pattern in _COPIED for path in found.full.glob(pattern)):
            if path.name not in _NOT_COPIED:
                shutil.copy(path, out)
        if (asked := own_prompt(found.folder)) is not None:
            save_prompt(out, asked)
