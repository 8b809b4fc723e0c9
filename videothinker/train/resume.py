"""How a training that goes on gets its weights back from one of its checkpoints."""

from enum import Enum, auto
from pathlib import Path
from typing import Any

from videothinker.errors import VtError
from videothinker.models.adapter import check_resumed
from videothinker.models.checkpoint import load_saved
from videothinker.models.stored import ADAPTER


class Kept(Enum):
    """What a checkpoint holds of the model in training."""

    WEIGHTS = auto()
    ADAPTERS = auto()


def load_or_check(folder: Path, model: Any) -> Kept:
    """Load a checkpoint's weights into the model in training; of adapters, which PEFT loads, check that they are the model's.

    Raises:
        VtError: they are not those of this model, or damaged.
    """
    try:
        if (folder / ADAPTER).is_file():
            _check_adapters(folder, model)
            return Kept.ADAPTERS
        model.load_state_dict(load_saved(folder, model.dtype).state_dict())
    except VtError as error:
        raise VtError(f"{error}; or delete {folder}, and training goes on from the one before it") from error
    return Kept.WEIGHTS


def _check_adapters(folder: Path, model: Any) -> None:
    """Of the adapters in training the first is saved in the folder itself, and any other in a folder of its name."""
    for path in (folder, *sorted(path.parent for path in folder.glob(f"*/{ADAPTER}"))):
        name = "default" if path == folder else path.name
        if name not in model.peft_config:
            raise VtError(f"{path}: holds an adapter that this training does not have; delete it")
        check_resumed(str(path), path, model, name)
