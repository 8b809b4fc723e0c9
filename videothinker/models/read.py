"""What transformers reads of a checkpoint: configuration, processor and weights, each in one place.

Weights come from safetensors alone, and Python that lies beside a checkpoint runs only where a caller says `trust_remote_code`;
nothing ever asks on the terminal whether it may. Weights that do not fit the model are refused (`misfit.py`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from videothinker.errors import VtError
from videothinker.models.misfit import Misfit, refuse
from videothinker.models.positions import follow
from videothinker.models.stored import Shape, check_files, foreign_code, read_config_file, shapes, weight_files
from videothinker.models.text_positions import TextPositions, known_rule

Where = str | Path
"""A folder or a hub id."""

RAISED = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ImportError, ArithmeticError, RuntimeError, AssertionError),
    *(SafetensorError, StrictDataclassError),
)
"""What transformers and torch are known to raise for files that are damaged or do not go together."""


def read_config(ref: str, where: Where, *, trust_remote_code: bool = False, revision: str | None = None) -> Any:
    """The configuration of a checkpoint, its folder's small files having been checked if it is a folder.

    ref: what the user called the checkpoint, for messages. revision: commit, tag or branch on the hub.

    Raises:
        VtError: transformers cannot read it, a file is not what its name says, or the architecture is Python of its own.
    """
    folder = Path(where)
    if folder.is_dir():
        check_files(ref, folder)
        kernel = _kernel(read_config_file(ref, folder))
        if kernel and not trust_remote_code:
            raise VtError(
                f"{ref}: its config.json asks for code from the hub, the kernel {kernel}; remove _attn_implementation"
            )
    try:
        return AutoConfig.from_pretrained(where, trust_remote_code=trust_remote_code, **_at(revision))
    except RAISED as error:
        _refuse_code(ref, folder, trust_remote_code)
        raise VtError(f"{ref}: is no checkpoint that transformers can load: {first_line(error)}") from error


def read_processor(
    ref: str, where: Where, *, trust_remote_code: bool = False, revision: str | None = None, **settings: Any
) -> Any:
    """Tokenizer and processors of a checkpoint. revision: commit, tag or branch on the hub. settings: of the tokenizer.

    Raises:
        VtError: they cannot be loaded, take no video, or have no chat template, without which nobody knows how to ask.
    """
    try:
        processor = AutoProcessor.from_pretrained(where, trust_remote_code=trust_remote_code, **_at(revision), **settings)
    except RAISED as error:
        _refuse_code(ref, Path(where), trust_remote_code)
        raise VtError(f"{ref}: its processor cannot be loaded: {first_line(error)}") from error
    if getattr(processor, "video_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise VtError(f"{ref}: its {type(processor).__name__} takes no video; expected a video-language model")
    if not (getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)):
        raise VtError(f"{ref}: has no chat template; copy chat_template.jinja from the checkpoint that it was trained from")
    return processor


def read_model(
    ref: str,
    where: Where,
    config: Any,
    dtype: torch.dtype,
    attention: str,
    *,
    text_positions: TextPositions | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> Any:
    """The model with its weights, on the CPU.

    config: what `read_config` gave. text_positions: the rule by which the text behind a clip goes on; None: the checkpoint's
    own. revision: commit, tag or branch on the hub.

    Raises:
        VtError: the weights cannot be loaded, or do not fit the model that config.json describes.
    """
    stored = _stored(ref, Path(where), config) if Path(where).is_dir() else {}
    try:
        with _quiet():
            model, info = AutoModelForImageTextToText.from_pretrained(
                where,
                dtype=dtype,
                attn_implementation=attention,
                trust_remote_code=trust_remote_code,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are refused below, together with the others
                output_loading_info=True,
                **_at(revision),
            )
    except RAISED as error:
        raise VtError(f"{ref}: cannot be loaded as a video-language model: {first_line(error)}") from error
    refuse(ref, Misfit.of(info), stored)
    follow(model, text_positions or known_rule(str(where)) or TextPositions.ORIGINAL)
    return model


def read_eos(where: Where, config: Any, tokenizer: Any) -> list[int]:
    """Tokens that end a reply, of a checkpoint that is not loaded: those of `load.Loaded.eos`.

    config: what `read_config` gave.
    """
    try:
        generation = GenerationConfig.from_pretrained(where)
    except OSError:  # it has no such file
        generation = GenerationConfig.from_model_config(config)
    said = generation.eos_token_id
    said = tokenizer.eos_token_id if said is None or said == [] else said  # a token may be number 0
    return [said] if isinstance(said, int) else list(said)


def check_headers(ref: str, folder: Path, config: Any) -> Any:
    """Check the weights in a folder against the model that its configuration describes, and return that model without weights.

    Only the headers of the files are read: both sides have names and shapes, and no numbers. transformers itself matches
    them, so the layouts of earlier versions that it converts are converted here too. The returned model is on torch's device
    "meta".

    Raises:
        VtError: a weight is missing, unknown to the model or of another shape, or a file is missing, cut or damaged.
    """
    stored = _stored(ref, folder, config)
    try:
        with torch.device("meta"):  # "eager" is what every architecture has
            empty = AutoModelForImageTextToText.from_config(config, attn_implementation="eager", trust_remote_code=False)
        if getattr(config, "quantization_config", None) is not None:  # its weights have other names and shapes
            return empty
        state = {name: torch.empty(shape, device="meta") for name, shape in stored.items()}
        with _quiet():
            _, info = type(empty).from_pretrained(
                None,
                config=config,
                state_dict=state,
                device_map={"": "meta"},
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except RAISED as error:
        raise VtError(
            f"{ref}: its {config.model_type} cannot be loaded as a video-language model: {first_line(error)}"
        ) from error
    refuse(ref, Misfit.of(info), stored)
    return empty


def _stored(ref: str, folder: Path, config: Any) -> dict[str, Shape]:
    return shapes(ref, weight_files(ref, folder, getattr(config, "transformers_weights", None)))


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, with the next one where the first only announces it."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):
        return " ".join(lines[:2])
    return lines[0] if lines else type(error).__name__


def _at(revision: str | None) -> dict[str, str]:
    """The argument by which transformers takes a revision; a folder here has none."""
    return {} if revision is None else {"revision": revision}


def _kernel(told: Any) -> str | None:
    """The attention kernel of the hub that a configuration names at any depth, if any; it overrides what a caller asks for."""
    if not isinstance(told, dict):
        return None
    named = (told.get(key) for key in ("_attn_implementation", "attn_implementation"))
    found = (str(name) for name in named if name and "/" in str(name))
    return next(found, None) or next(filter(None, map(_kernel, told.values())), None)


def _refuse_code(ref: str, folder: Path, trust_remote_code: bool) -> None:
    """Say what is wrong if the reason may be that the checkpoint's own Python was not run."""
    if not trust_remote_code and folder.is_dir() and (name := foreign_code(folder)):
        raise VtError(
            f"{ref}: {name} names Python code to be run with it (auto_map), and none is run; read that code, and let"
            " `vt diagnose` run it with --trust-remote-code"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing its table of weights that do not fit: they are refused in one line.

    A filter, not a level: at some levels transformers checks more, and prints that.
    """
    logger = logging.getLogger("transformers.modeling_utils")

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    logger.addFilter(is_error)
    try:
        yield
    finally:
        logger.removeFilter(is_error)
