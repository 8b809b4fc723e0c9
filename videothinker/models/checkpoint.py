"""Where a checkpoint's weights are, what identifies them, and how they are loaded.

A checkpoint is a folder that transformers loads, or a LoRA adapter folder that names its base. Its identity is the content of
the weights: `weights_hash` gives the same value however a checkpoint is split into files.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from videothinker import store
from videothinker.errors import VtError

ADAPTER = "adapter_config.json"
"""The file by which a LoRA adapter's folder is recognised."""


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
    """The checkpoint that a folder or a hub id names; a hub id is downloaded first.

    Raises:
        VtError: there is no checkpoint of that name, or it is an adapter whose base is missing.
    """
    folder = _folder(ref)
    if not (folder / ADAPTER).is_file():
        if not (folder / "config.json").is_file():
            raise VtError(f"{ref}: has neither config.json nor {ADAPTER}, so it is no checkpoint")
        return Checkpoint(folder, None)
    base = store.read_json(folder / ADAPTER, dict[str, Any]).get("base_model_name_or_path")
    if not base:
        raise VtError(f"{folder / ADAPTER}: names no base_model_name_or_path")
    return Checkpoint(folder, _folder(base))


def _folder(ref: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if Path(ref).is_dir():
        return Path(ref).resolve()
    try:
        wanted = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
        return Path(snapshot_download(ref, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise VtError(f"{ref}: is not a folder here, and the hub gave no checkpoint of that name") from error


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
    from safetensors import safe_open

    where: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            where.update(dict.fromkeys(tensors.keys(), file))
    if not where:
        raise VtError(f"{folder}: has no .safetensors file; save the checkpoint with save_pretrained")
    for name in sorted(where):
        with safe_open(where[name], framework="pt") as tensors:
            yield name, tensors.get_tensor(name).contiguous()


def add_to_hash(digest: "hashlib._Hash", name: str, tensor: torch.Tensor) -> None:
    """Add a contiguous tensor to the digest of a `weights_hash`; call it in the order of the names."""
    digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)


def load_full(checkpoint: Checkpoint, dtype: torch.dtype, attention: str) -> Any:
    """Load the model; an adapter is merged into its base.

    Raises:
        VtError: the checkpoint is not a Qwen2.5-VL, the only family whose positions and clips our training code handles.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    kind = AutoConfig.from_pretrained(checkpoint.full).model_type
    if kind != "qwen2_5_vl":
        raise VtError(f"{checkpoint.full}: is a {kind} checkpoint; `vt train` handles qwen2_5_vl")
    model = AutoModelForImageTextToText.from_pretrained(checkpoint.full, dtype=dtype, attn_implementation=attention)
    if checkpoint.base is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, checkpoint.folder).merge_and_unload()


def load_processor(checkpoint: Checkpoint) -> Any:
    """Load the tokenizer and video processor, set to pad on the left."""
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(checkpoint.full, padding_side="left")
