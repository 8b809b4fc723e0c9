"""Where a checkpoint's weights are, what identifies them, and how they are loaded.

A checkpoint is a folder that transformers loads, or a LoRA adapter folder that names its base. Its identity is the content of
the weights: `weights_hash` gives the same value however a checkpoint is split into files.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from videothinker.errors import VtError
from videothinker.models.adapter import base_of, check_adapter, merge_into
from videothinker.models.misfit import check_finite
from videothinker.models.read import check_headers, read_config, read_model, read_processor
from videothinker.models.ref import local_folder
from videothinker.models.stored import ADAPTER, CONFIG, foreign_code, opened
from videothinker.models.text_positions import TextPositions, own_rule

TRAINED = "qwen2_5_vl"
"""The only family whose positions and clips our training code handles."""


class Checkpoint(NamedTuple):
    """Weights on disk."""

    folder: Path
    base: Path | None
    """The folder of the checkpoint that an adapter was trained on; None if these weights are not an adapter."""

    @property
    def full(self) -> Path:
        """The folder that holds configuration, tokenizer and full weights."""
        return self.base or self.folder


def find_checkpoint(ref: str) -> Checkpoint:
    """The checkpoint that a folder or a hub id names, to be trained or learnt from; a hub id is downloaded first.

    Raises:
        VtError: there is no checkpoint of that name, it is an adapter whose base is missing, or it brings Python of its own.
    """
    folder = _folder(ref)
    if not is_adapter(ref, folder):
        found = Checkpoint(folder, None)
    else:
        base = base_of(ref, folder)
        here = local_base(ref, base)
        found = Checkpoint(folder, here.resolve() if here else download(base))
    if name := foreign_code(found.full):
        raise VtError(
            f"{ref}: {name} names Python code to be run with it (auto_map), and training runs none; if transformers has the"
            " architecture, remove auto_map from that file"
        )
    return found


def is_adapter(ref: str, folder: Path) -> bool:
    """Whether a folder holds an adapter; else it holds a checkpoint.

    Raises:
        VtError: it holds neither.
    """
    if (folder / ADAPTER).is_file():
        return True
    if (folder / CONFIG).is_file():
        return False
    within = sorted(path.parent.name for name in (CONFIG, ADAPTER) for path in folder.glob(f"*/{name}"))
    hint = f"; the folder {within[-1]} in it is one" if within else ""
    raise VtError(f"{ref}: has neither {CONFIG} nor {ADAPTER}, so it is no checkpoint{hint}")


def local_base(ref: str, base: str) -> Path | None:
    """The folder here of the checkpoint that an adapter was trained on; None if that can only be a hub id.

    Raises:
        VtError: it looks like a path, and there is no folder; or it is an adapter in turn, which transformers would put on
            a base of its own.
    """
    try:
        here = local_folder(base)
    except VtError as error:
        raise VtError(f"{ref}: its base is gone: {error}; correct base_model_name_or_path in {ADAPTER}") from error
    if here is not None and is_adapter(base, here):
        raise VtError(
            f"{ref}: its base {base} is an adapter itself; merge that one and save it, then name the result in {ADAPTER}"
        )
    return here


def download(ref: str, revision: str | None = None) -> Path:
    """The local copy of what the hub has of that name, without Python and pickles. revision: None is the newest.

    Raises:
        VtError: the hub has nothing of that name, or cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        wanted = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
        return Path(snapshot_download(ref, revision=revision, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise VtError(f"{ref}: is not a folder here, and the hub gave no checkpoint of that name") from error


def _folder(ref: str) -> Path:
    here = local_folder(ref)
    return download(ref) if here is None else here.resolve()


def check_fit(checkpoint: Checkpoint) -> Any:
    """Check, from configurations and the headers of weight files, that a checkpoint can be loaded for training.

    Returns the model without weights, on torch's device "meta", an adapter's modules in it. Takes well under a second whatever
    the size of the weights, of which only an adapter's are read.

    Raises:
        VtError: it is of another family, a weight is missing, unknown or of another shape, an adapter changes nothing or holds
            NaN, or a file is damaged.
    """
    ref = str(checkpoint.full)
    config = _config(checkpoint)
    read_processor(ref, checkpoint.full)
    empty = check_headers(ref, checkpoint.full, config)
    if checkpoint.base is not None:
        check_adapter(str(checkpoint.folder), checkpoint.folder, empty)
    return empty


def weights_hash(checkpoint: Checkpoint) -> str:
    """Hex SHA-256 over the names, shapes, types and bytes of all tensors, including those of an adapter's base.

    Raises:
        VtError: the folder has no safetensors file.
    """
    digest = hashlib.sha256()
    for folder in (checkpoint.base, checkpoint.folder):
        for name, tensor in stored_weights(folder) if folder else ():
            add_to_hash(digest, name, tensor)
    return digest.hexdigest()


def stored_weights(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name, tensor) from a folder's safetensors files in the order of the names, with one tensor in memory at a time.

    Raises:
        VtError: the folder has no safetensors file.
    """
    where: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with opened(str(folder), file) as tensors:
            where.update(dict.fromkeys(tensors.keys(), file))
    if not where:
        raise VtError(f"{folder}: has no .safetensors file; save the checkpoint with save_pretrained")
    for name in sorted(where):
        with opened(str(folder), where[name]) as tensors:
            yield name, tensors.get_tensor(name).contiguous()


def add_to_hash(digest: "hashlib._Hash", name: str, tensor: torch.Tensor) -> None:
    """Add a contiguous tensor to the digest of a `weights_hash`; call it in the order of the names."""
    digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)


def load_full(checkpoint: Checkpoint, dtype: torch.dtype, attention: str, text_positions: TextPositions | None = None) -> Any:
    """Load the model; an adapter is merged into its base.

    text_positions: the rule by which the text behind a clip goes on; None: the one that it was trained with.

    Raises:
        VtError: the checkpoint is not a Qwen2.5-VL, its weights do not fit or are not finite, or a file is damaged.
    """
    model = read_model(
        str(checkpoint.full),
        checkpoint.full,
        _config(checkpoint),
        dtype,
        attention,
        text_positions=text_positions or own_rule(checkpoint.folder),
    )
    check_finite(str(checkpoint.full), model.named_parameters())
    if checkpoint.base is None:
        return model
    return merge_into(str(checkpoint.folder), checkpoint.folder, model)


def load_saved(folder: Path, dtype: torch.dtype) -> Any:
    """Load the weights that a trainer saved in a folder to go on from.

    Raises:
        VtError: they do not fit or are not finite, or a file is damaged.
    """
    ref = str(folder)
    model = read_model(ref, folder, read_config(ref, folder), dtype, "sdpa")
    check_finite(ref, model.named_parameters())
    return model


def load_processor(checkpoint: Checkpoint) -> Any:
    """Load the tokenizer and video processor, set to pad on the left."""
    return read_processor(str(checkpoint.full), checkpoint.full, padding_side="left")


def _config(checkpoint: Checkpoint) -> Any:
    config = read_config(str(checkpoint.full), checkpoint.full)
    if config.model_type != TRAINED:
        raise VtError(f"{checkpoint.full}: is a {config.model_type} checkpoint; `vt train` handles {TRAINED}")
    return config
