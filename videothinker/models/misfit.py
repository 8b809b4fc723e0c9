"""Refusing weights that do not fit their model, in one line that names a few of them and says what to do.

transformers and PEFT only warn: they give random numbers to a weight that a file does not hold, and drop what the model has no
place for. A model like this answers, and its answers mean nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch

from videothinker.errors import VtError
from videothinker.models.stored import Shape, some

_WRAPPERS = {
    "_fsdp_wrapped_module.": "FSDP gives; gather the whole state dict and save it with save_pretrained",
    "_checkpoint_wrapped_module.": "activation checkpointing gives; save the model beneath with save_pretrained",
    "_orig_mod.": "torch.compile gives; save model._orig_mod with save_pretrained",
    "module.": "DataParallel and DeepSpeed give; save model.module with save_pretrained",
    "base_model.model.": "PEFT gives; save model.merge_and_unload() with save_pretrained",
}
"""Parts of a tensor's name that come from what a model was wrapped in when it was saved."""


class Misfit(NamedTuple):
    """How weights differ from what the model has a place for. All names are the model's own."""

    missing: Collection[str]
    unexpected: Collection[str]
    mismatched: Collection[tuple[str, Shape, Shape]] = ()
    """Name, shape in the file, shape in the model."""

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "Misfit":
        """From what `from_pretrained(..., output_loading_info=True)` returns; tied weights are not among its missing ones."""
        return cls(info["missing_keys"], info["unexpected_keys"], info["mismatched_keys"])

    @classmethod
    def between(cls, stored: Mapping[str, Shape], expected: Mapping[str, Shape]) -> "Misfit":
        """From the shapes in a file and those of the model, by the same names."""
        both = stored.keys() & expected.keys()
        shapes = [(name, stored[name], expected[name]) for name in both if stored[name] != expected[name]]
        return cls(expected.keys() - both, stored.keys() - both, shapes)


def refuse(ref: str, misfit: Misfit, stored: Collection[str] = (), *, fitting: str = "its config.json") -> None:
    """Do nothing if there is no misfit.

    stored: the tensors' names in the files, which is how unexpected ones are then named. fitting: what the weights should fit.

    Raises:
        VtError: there is one; says how many weights are concerned, names some, and gives advice where the cause is known.
    """
    unexpected = sorted(_as_stored(name, stored) for name in misfit.unexpected)
    shapes = [f"{name} is {tuple(here)}, expected {tuple(there)}" for name, here, there in misfit.mismatched]
    kinds = [(misfit.missing, "missing"), (unexpected, "unknown to the model"), (shapes, "of another shape")]
    found = [f"{len(names):,} {'is' if len(names) == 1 else 'are'} {what} ({some(names)})" for names, what in kinds if names]
    if found:
        raise VtError(f"{ref}: the weights do not fit {fitting}: {'; '.join(found)}; {_advice(unexpected, misfit.missing)}")


def check_finite(ref: str, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Check that no weight is NaN or infinite.

    Raises:
        VtError: one is; names its tensor.
    """
    for name, tensor in tensors:
        here = getattr(tensor, "ds_tensor", tensor)  # under ZeRO-3, this process's share of it
        if not is_finite(here):
            raise VtError(
                f"{ref}: {name} holds NaN or infinite numbers, so the training that saved it diverged or the file is damaged;"
                " take an earlier checkpoint"
            )


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether all numbers of a tensor are finite; integers always are, and so is a tensor on "meta", which has no numbers."""
    if tensor.is_meta or not tensor.is_floating_point():
        return True
    if tensor.element_size() == 1:  # torch neither adds 8-bit floats nor has isfinite for them
        tensor = tensor.to(torch.bfloat16)
    tensor = tensor.detach()
    # NaN and infinity survive every sum, and on a CPU adding is twenty times faster than testing each number. A sum of large
    # numbers may overflow, so that only a finite one settles the matter.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def _as_stored(name: str, stored: Collection[str]) -> str:
    """The file's name of a tensor that transformers has renamed while loading: the one with the longest common end."""
    if not stored or name in stored:
        return name
    return max(sorted(stored), key=lambda other: _n_shared(other.split("."), name.split(".")))


def _advice(unexpected: Sequence[str], missing: Collection[str]) -> str:
    if not missing:
        return "the files are of different models"
    for part, advice in _WRAPPERS.items():
        wrapped, as_they_should_be = (any(f".{part}" in f".{name}" for name in names) for names in (unexpected, missing))
        if wrapped and not as_they_should_be:
            return f"'{part}' is what {advice}, or rename the tensors without it"
    if renamed := _renaming(unexpected, missing):
        old, new = renamed
        return f"rename the tensors: '{old}' to '{new}' at the beginning" if old else f"put '{new}' before the names"
    return "save the whole of it with save_pretrained"


def _renaming(unexpected: Sequence[str], missing: Collection[str]) -> tuple[str, str] | None:
    """What to put in place of what at the beginning of names, so that unexpected ones become missing ones; None: no such pair.

    The pair is taken from the first unexpected name and the missing one that shares most parts at its end, and holds if it is
    right for all names that begin so.
    """
    if not unexpected:
        return None
    first = unexpected[0].split(".")
    best = max((name.split(".") for name in sorted(missing)), key=lambda parts: _n_shared(first, parts))
    if not (shared := _n_shared(first, best)):
        return None
    old, new = (".".join([*parts[:-shared], ""]) for parts in (first, best))
    renamed = {new + name.removeprefix(old) for name in unexpected if name.startswith(old)}
    return (old, new) if renamed <= set(missing) else None


def _n_shared(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many parts at their ends two dotted names have in common."""
    pairs = zip(reversed(ours), reversed(theirs), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
