"""The small files beside a checkpoint's weights: configuration, tokenizer, processor and chat template."""

import shutil
from collections.abc import Collection
from pathlib import Path

from videothinker.models.saved_prompt import PROMPT

_COPIED = ("*.json", "*.jinja", "*.txt", "*.model")
_ABOUT_ITS_WEIGHTS = (PROMPT, "run.json", "gate.json", "model.safetensors.index.json")
"""Files that describe the checkpoint's own weights, and would be wrong beside others."""


def copy_companions(checkpoint: Path, out: Path, *, but: Collection[str] = ()) -> None:
    """Copy them from a checkpoint's folder into another one, but for those about its own weights, and those named in `but`."""
    for path in (path for pattern in _COPIED for path in checkpoint.glob(pattern)):
        if path.name not in _ABOUT_ITS_WEIGHTS and path.name not in but:
            shutil.copy(path, out)
