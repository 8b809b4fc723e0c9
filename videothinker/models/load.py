"""Checkpoints loaded for asking: a folder, a hub id, or a LoRA folder merged into its base.

    loaded = load("Qwen/Qwen2.5-VL-3B-Instruct")
    loaded.model, loaded.processor, loaded.eos

Only safetensors are loaded. What is said here about a loaded model holds for whoever uses it.
"""

import inspect
import os
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers import __version__ as transformers_version
from transformers.utils import is_flash_attn_2_available, logging

from videothinker.errors import VtError, missing_extra
from videothinker.models.checkpoint import ADAPTER
from videothinker.models.decoder import can_decode
from videothinker.models.sharpen import sharpen
from videothinker.models.vision import batch_windows, quicken_vision

TESTED = ("qwen2_5_vl", "qwen3_vl")
"""Architectures that are tested to give the plain loop's replies when questions share a clip's vision features. Others are fed
pixels for every question, and keep transformers' own kind of cache."""


class Loaded(NamedTuple):
    """A model in memory with its processor."""

    model: Any
    processor: Any
    ref: str
    """What the user called it: a folder or a hub id."""
    adapter: bool
    """True for a LoRA folder, which has been merged into its base."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        device: torch.device = self.model.device
        return device

    @property
    def attention(self) -> str:
        """transformers' name of the attention implementation that is in use."""
        name: str = self.model.config._attn_implementation
        return name

    @property
    def is_tested(self) -> bool:
        """Whether the architecture is one of `TESTED`."""
        return self.model.config.model_type in TESTED

    @property
    def shares_vision(self) -> bool:
        """Whether the model can be given a clip's vision features in place of its pixels."""
        return self.is_tested and "mm_encoder_outputs" in inspect.signature(self.model.forward).parameters

    @property
    def eos(self) -> list[int]:
        """Tokens that end a reply."""
        return _ids(self.model.generation_config.eos_token_id) or _ids(self.processor.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        """The token that fills up a batch; an end token where the tokenizer has none of its own."""
        return (_ids(self.processor.tokenizer.pad_token_id) or self.eos)[0]

    @property
    def placeholders(self) -> list[int]:
        """Tokens that stand for an image or a clip. In a reply one would stand for a clip that is not there."""
        return [*_ids(getattr(self.model.config, "image_token_id", None)), *self.video_tokens]

    @property
    def video_tokens(self) -> list[int]:
        """The token that stands for a part of a clip, where the architecture has one."""
        return _ids(getattr(self.model.config, "video_token_id", None))

    def describe(self) -> dict[str, Any]:
        """The model's facts for a run's record."""
        return {
            "architecture": type(self.model).__name__,
            "n_parameters": sum(weight.numel() for weight in self.model.parameters()),
            "adapter": self.adapter,
            "device": "cpu" if self.device.type == "cpu" else torch.cuda.get_device_name(self.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "attention": self.attention,
        }


def load(ref: str, *, dtype: str = "auto", attention: str = "auto", trust_remote_code: bool = False) -> Loaded:
    """Load the checkpoint in a local folder or of a hub id onto this process's GPU, if it has one; a LoRA folder with its base.

    dtype: of the weights; "auto" is bfloat16 on a GPU and float32 on a CPU. attention: transformers' implementation; "auto" is
    FlashAttention 2 where it is installed and fits the weights, else SDPA. `trust_remote_code` runs Python that comes with the
    checkpoint.

    Raises:
        VtError: there is no such checkpoint, it is not a video-language model, or it does not fit into memory.
    """
    if not Path(ref).is_dir() and not re.fullmatch(r"[\w.-]+/[\w.-]+", ref):  # the hub would be asked for it
        raise VtError(f"{ref}: is neither a folder nor a hub id such as Qwen/Qwen2.5-VL-3B-Instruct")
    logging.disable_progress_bar()
    base, adapter = _base(ref)
    common = {"trust_remote_code": trust_remote_code}
    _check_architecture(ref, base, common)
    cuda = torch.cuda.is_available()
    dtype = dtype if dtype != "auto" else "bfloat16" if cuda else "float32"
    half = dtype in ("bfloat16", "float16")
    if attention == "auto":
        attention = "flash_attention_2" if cuda and half and is_flash_attn_2_available() else "sdpa"
    try:
        processor = AutoProcessor.from_pretrained(base, **common)
        model = AutoModelForImageTextToText.from_pretrained(
            base, dtype=getattr(torch, dtype), attn_implementation=attention, use_safetensors=True, **common
        )
    except (OSError, ValueError, ImportError) as error:
        raise VtError(f"{ref}: cannot be loaded as a video-language model: {_first_line(error)}") from error
    if getattr(processor, "video_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise VtError(f"{ref}: its {type(processor).__name__} takes no video; expected a video-language model")
    if adapter:
        model = _merge(model, ref)
    if can_decode(model):
        quicken_vision(model)
    else:
        batch_windows(model)
    sharpen(model)
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    try:
        model = model.to(device)
    except torch.OutOfMemoryError as error:
        raise VtError(
            f"{ref}: does not fit into the memory of {device}; serve it on several GPUs and use --endpoint"
        ) from error
    return Loaded(model.eval(), processor, ref, adapter)


def _check_architecture(ref: str, base: str, common: dict[str, Any]) -> None:
    """Refuse, before any weights are read, what transformers cannot load or would feed wrongly."""
    try:
        config = AutoConfig.from_pretrained(base, **common)
    except (OSError, ValueError) as error:
        raise VtError(f"{ref}: is no checkpoint that transformers can load: {_first_line(error)}") from error
    if config.model_type == "qwen2_5_vl" and _version(transformers_version) < (5, 18):
        raise VtError(
            f"{ref}: transformers {transformers_version} gives all frames of Qwen2.5-VL the same time; "
            f"install transformers 5.18 or later"
        )


def _base(ref: str) -> tuple[str, bool]:
    """What to load first, the checkpoint itself or the base that a LoRA adapter names, and whether it is an adapter."""
    from transformers.utils.peft_utils import find_adapter_config_file

    if Path(ref).is_dir():
        found = Path(ref) / ADAPTER if (Path(ref) / ADAPTER).is_file() else None
    else:
        try:
            hub = find_adapter_config_file(ref)
        except (OSError, ValueError) as error:
            raise VtError(f"{ref}: is neither a folder here nor a checkpoint on the hub: {_first_line(error)}") from error
        found = None if hub is None else Path(hub)
    if found is None:
        return ref, False
    base = msgspec.json.decode(found.read_bytes()).get("base_model_name_or_path")
    if not base:
        raise VtError(f"{ref}: {ADAPTER} does not say which checkpoint it adapts (base_model_name_or_path)")
    return base, True


def _merge(model: Any, ref: str) -> Any:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise missing_extra("peft", "train", f"the LoRA adapter {ref}") from error
    return PeftModel.from_pretrained(model, ref).merge_and_unload()


def _ids(value: int | Sequence[int] | None) -> list[int]:
    """Token ids as configurations give them, which is one, several or none."""
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)


def _version(text: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int("".join(digits)) for is_digit, digits in groupby(text, str.isdigit) if is_digit)[:2]


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
