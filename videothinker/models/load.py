"""Checkpoints loaded for asking: a folder, a hub id, or a LoRA folder merged into its base.

    loaded = load("Qwen/Qwen2.5-VL-3B-Instruct")
    loaded.model, loaded.processor, loaded.eos

Only safetensors are loaded. What is said here about a loaded model holds for whoever uses it.
"""

import inspect
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import __version__ as transformers_version
from transformers.utils import is_flash_attn_2_available, logging

from videothinker.errors import VtError
from videothinker.models.adapter import base_of, check_adapter, merge_into
from videothinker.models.checkpoint import download, is_adapter, local_base
from videothinker.models.decoder import can_decode
from videothinker.models.misfit import check_finite
from videothinker.models.positions import rule_of
from videothinker.models.read import check_headers, first_line, read_config, read_model, read_processor
from videothinker.models.ref import local_folder
from videothinker.models.sharpen import sharpen
from videothinker.models.stored import foreign_code
from videothinker.models.text_positions import AFFECTED, TextPositions, known_rule
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
    def text_positions(self) -> TextPositions | None:
        """The rule by which the text behind a clip goes on; None for an architecture of which all rules make the same."""
        return rule_of(self.model.config) if self.model.config.model_type in AFFECTED else None

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
            "text_positions": self.text_positions,
        }


def load(
    ref: str,
    *,
    dtype: str = "auto",
    attention: str = "auto",
    text_positions: TextPositions | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> Loaded:
    """Load the checkpoint in a local folder or of a hub id onto this process's GPU, if it has one; a LoRA folder with its base.

    dtype: of the weights; "auto" is bfloat16 on a GPU and float32 on a CPU. attention: transformers' implementation; "auto" is
    FlashAttention 2 where it is installed and fits the weights, else SDPA. text_positions: the rule by which the text behind a
    clip goes on; None: the one that the checkpoint was trained with. `trust_remote_code` runs Python that comes with the
    checkpoint. revision: commit, tag or branch of a hub id; None: its newest.

    Raises:
        VtError: there is no such checkpoint, it is not a video-language model, its weights do not fit it or are not finite, or
            it does not fit into memory.
    """
    place, config, processor = _checked(ref, trust_remote_code, revision)
    cuda = torch.cuda.is_available()
    dtype = dtype if dtype != "auto" else "bfloat16" if cuda else "float32"
    half = dtype in ("bfloat16", "float16")
    if attention == "auto":
        attention = "flash_attention_2" if cuda and half and is_flash_attn_2_available() else "sdpa"
    model = read_model(
        ref,
        place.base,
        config,
        getattr(torch, dtype),
        attention,
        text_positions=text_positions or known_rule(str(place.adapter or place.base), place.revision),
        trust_remote_code=trust_remote_code,
        revision=place.revision,
    )
    if place.adapter is not None:
        model = merge_into(ref, place.adapter, model)
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
    check_finite(ref, model.named_parameters())
    return Loaded(model.eval(), processor, ref, place.adapter is not None)


def check(ref: str, *, trust_remote_code: bool = False) -> None:
    """Check what can be known of a checkpoint without loading its weights, so that a bad one ends no long run halfway.

    Of a folder that is configuration, processor, and names and shapes of all weights; of a hub id, that it is one.

    Raises:
        VtError: as for `load`, for one of these reasons.
    """
    if local_folder(ref) is not None:
        _checked(ref, trust_remote_code, None)


def load_processor(ref: str, revision: str | None = None) -> Any:
    """The processor of a checkpoint, whose weights are left where they are. revision: as for `load`.

    Raises:
        VtError: there is no such checkpoint, or its processor takes no video or has no chat template.
    """
    logging.disable_progress_bar()
    place = _place(ref, revision)
    return read_processor(ref, place.base, revision=place.revision)


class _Place(NamedTuple):
    """Where a checkpoint's files are."""

    base: str
    """The folder or hub id of configuration, processor and full weights."""
    adapter: Path | None
    """The folder of a LoRA adapter on it."""
    revision: str | None = None
    """Which commit, tag or branch of `base` was asked for, where that is a hub id."""


def _checked(ref: str, trust_remote_code: bool, revision: str | None) -> tuple[_Place, Any, Any]:
    """Where the checkpoint is, its configuration and its processor; what would be loaded or fed wrongly is refused here."""
    logging.disable_progress_bar()
    place = _place(ref, revision)
    config = read_config(ref, place.base, trust_remote_code=trust_remote_code, revision=place.revision)
    if config.model_type == "qwen2_5_vl" and _version(transformers_version) < (5, 18):
        raise VtError(
            f"{ref}: transformers {transformers_version} gives all frames of Qwen2.5-VL the same time; "
            f"install transformers 5.18 or later"
        )
    base = Path(place.base)
    if base.is_dir() and not (trust_remote_code and foreign_code(base)):  # else only that code can build it
        empty = check_headers(ref, base, config)
        if place.adapter is not None:
            check_adapter(ref, place.adapter, empty)
    return place, config, read_processor(ref, place.base, trust_remote_code=trust_remote_code, revision=place.revision)


def _place(ref: str, revision: str | None) -> _Place:
    from transformers.utils.peft_utils import find_adapter_config_file

    folder = local_folder(ref)
    if folder is None:
        try:
            found = find_adapter_config_file(ref, revision=revision)
        except (OSError, ValueError) as error:
            raise VtError(f"{ref}: is neither a folder here nor a checkpoint on the hub: {first_line(error)}") from error
        if found is None:
            return _Place(ref, None, revision)
        folder = download(ref, revision)
    elif not is_adapter(ref, folder):
        return _Place(ref, None)
    base = base_of(ref, folder)
    local_base(ref, base)
    return _Place(base, folder)


def _ids(value: int | Sequence[int] | None) -> list[int]:
    """Token ids as configurations give them, which is one, several or none."""
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)


def _version(text: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int("".join(digits)) for is_digit, digits in groupby(text, str.isdigit) if is_digit)[:2]
