"""A checkpoint whose weights lie between those of two others.

    blend("runs/base", "runs/grpo", 0.5, Path("runs/half"))     # half of what GRPO has changed

Of two checkpoints that one training leads from one to the other, this undoes a part of it without any further training.
"""

import json
import math
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import torch

from videothinker import store
from videothinker.errors import VtError
from videothinker.fingerprint import fingerprint
from videothinker.models.checkpoint import find_checkpoint, stored_weights
from videothinker.models.companions import copy_companions
from videothinker.models.misfit import check_finite
from videothinker.models.saved_prompt import PROMPT, own_prompt, save_prompt
from videothinker.models.stored import CONFIG, WEIGHTS, read_config_file
from videothinker.models.text_positions import FIELD, TextPositions, is_affected, own_rule
from videothinker.prompts import Asked

BLEND = "blend.json"
_TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "added_tokens.json", "special_tokens_map.json")
_NOT_OF_ARCHITECTURE = (
    *("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"),
    *("_attn_implementation", "_attn_implementation_autoset", "attn_implementation"),
    FIELD,
)
"""Entries of a configuration, at any depth, that may differ between checkpoints of one architecture: training, for one, saves
`use_cache` as it needed it, and names a rule that its start may have without a name; `_rule` compares what they come to."""


class Blended(NamedTuple):
    """What `blend` wrote."""

    n_weights: int
    n_apart: int
    """How many of them differ between the two."""


def blend(first: str, second: str, weight: float, out: Path) -> Blended:
    """Write the checkpoint (1 - weight) * first + weight * second into the folder `out`, computed and stored in float32.

    first, second: folders or hub ids. weight: from 0 to 1. Configuration, tokenizer and processor are copied from `first`, and
    `BLEND` holds both fingerprints and the weight. `out` appears whole or not at all; a checkpoint that lies there is replaced.

    Raises:
        VtError: one of the two is no checkpoint or an adapter, their architectures, text positions, tokenizers or weights do
            not fit, a weight is not finite, or something else lies at `out`.
    """
    if not (math.isfinite(weight) and 0 <= weight <= 1):
        raise VtError(f"weight {weight}: expected a share from 0 to 1")
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]) and not (out / CONFIG).is_file():
        raise VtError(f"{out}: is there and no checkpoint; choose another folder")
    ours, theirs = (_folder(ref) for ref in (first, second))
    if out.resolve() in (ours.resolve(), theirs.resolve()):
        raise VtError(f"{out}: is one of the two checkpoints; choose another folder")
    _check_alike(first, ours, second, theirs)
    rule, asked = _rule(first, ours, second, theirs), _prompt(first, ours, second, theirs)
    tensors, n_apart = _between(first, ours, second, theirs, weight)
    parents = [{"ref": ref, "fingerprint": fingerprint(folder)} for ref, folder in ((first, ours), (second, theirs))]
    told = {"first": parents[0], "second": parents[1], "weight": weight, "provenance": store.provenance()}

    def fill(folder: Path) -> None:
        from safetensors.torch import save_file

        copy_companions(ours, folder, but=(BLEND,))
        config = _in_float32(read_config_file(first, ours)) | ({} if rule is None else {FIELD: rule.value})
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        if asked is not None:
            save_prompt(folder, asked)
        (folder / BLEND).write_text(json.dumps(told, indent=2) + "\n")
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    store.write_folder(out, fill)
    return Blended(sum(tensor.numel() for tensor in tensors.values()), n_apart)


def _folder(ref: str) -> Path:
    """The folder of a checkpoint with full weights."""
    found = find_checkpoint(ref)
    if found.base is not None:
        raise VtError(f"{ref}: is a LoRA adapter; merge it into its base and save that, then blend the whole checkpoints")
    return found.folder


def _prompt(first: str, ours: Path, second: str, theirs: Path) -> Asked | None:
    """How the one or both of two checkpoints were asked while they were trained; None if neither says so."""
    here, there = own_prompt(ours), own_prompt(theirs)
    if here is not None and there is not None and here != there:
        raise VtError(
            f"{second}: was trained with the prompt {there.told()}, and {first} with {here.told()}, so nothing says how to ask"
            f" what lies between; blend checkpoints of one training, or delete {PROMPT} in one of them"
        )
    return here or there


def _rule(first: str, ours: Path, second: str, theirs: Path) -> TextPositions | None:
    """Where the text behind a clip goes on in both checkpoints; one of an earlier version does not say it itself.

    None for an architecture of which both rules make the same.
    """
    if not is_affected(str(ours)):
        return None
    here, there = own_rule(ours), own_rule(theirs)
    if here is not there:
        raise VtError(
            f"{second}: was trained with {FIELD} '{there}', and {first} with '{here}', so nothing says how to ask what lies"
            " between; blend checkpoints of one training"
        )
    return here


def _check_alike(first: str, ours: Path, second: str, theirs: Path) -> None:
    here, there = (_architecture(read_config_file(ref, folder)) for ref, folder in ((first, ours), (second, theirs)))
    if here != there:
        keys = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
        raise VtError(
            f"{second}: its architecture is not that of {first}: {CONFIG} differs in {', '.join(keys[:3])}; blend checkpoints"
            " of one training"
        )
    for name in _TOKENIZER:
        one, other = (folder / name for folder in (ours, theirs))
        if one.is_file() != other.is_file() or (one.is_file() and one.read_bytes() != other.read_bytes()):
            raise VtError(
                f"{second}: its tokenizer is not that of {first}: {name} differs, so a weight of one would mean something else"
                " in the other"
            )


def _architecture(config: Any) -> dict[str, Any]:
    """A configuration without what may differ."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items() if key not in _NOT_OF_ARCHITECTURE}
        return value

    found: dict[str, Any] = plain(config)
    return found


def _in_float32(config: Any) -> Any:
    """A configuration that says that the weights are float32, wherever it says what they are."""
    if not isinstance(config, dict):
        return config
    return {key: "float32" if key in ("dtype", "torch_dtype") else _in_float32(value) for key, value in config.items()}


def _between(first: str, ours: Path, second: str, theirs: Path, weight: float) -> tuple[dict[str, torch.Tensor], int]:
    """The tensors between those of two folders by name, and how many numbers differ."""
    tensors: dict[str, torch.Tensor] = {}
    n_apart = 0
    for one, other in zip_longest(stored_weights(ours), stored_weights(theirs)):
        if one is None or other is None or (one[0], one[1].shape) != (other[0], other[1].shape):
            here, there = ("nothing" if each is None else f"{each[0]} {tuple(each[1].shape)}" for each in (one, other))
            raise VtError(f"{second}: has {there} where {first} has {here}; blend checkpoints of one training")
        (name, before), (_, after) = one, other
        for ref, tensor in ((first, before), (second, after)):
            if not tensor.is_floating_point():
                raise VtError(f"{ref}: {name} is {tensor.dtype}, expected float32 or bfloat16")
            check_finite(ref, [(name, tensor)])
        before, after = before.float(), after.float()
        n_apart += int(torch.count_nonzero(before != after))
        # Exact at both ends, which before + weight * (after - before) would not be.
        tensors[name] = (1 - weight) * before + weight * after
    return tensors, n_apart
