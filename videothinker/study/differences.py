"""The weights of a training as their difference from the start model: a file in the training's folder, exact or rounded.

Each kind has a name of its own, so that neither takes the other's place when a pack is unpacked. Beside weights that were made
from a rounded one lies a note. They give way to exact ones as soon as those come, and are never packed as if they were exact;
weights without a note were trained here or made from an exact difference, and nothing takes their place.
"""

import filecmp
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from videothinker import store
from videothinker.errors import VtError
from videothinker.study.scratch import scratch

EXACT = "exact.delta"
ROUNDED = "rounded.delta"
_UNSAID = "weights.delta"
"""What earlier versions called both; only the file itself says which it is."""
_NOTE = "rounded.json"
"""The note."""
FILES = (EXACT, ROUNDED, _UNSAID, _NOTE)
"""What is no part of a checkpoint, and of which a pack takes one difference at most."""
WEIGHTS = ".safetensors"

Grow = Callable[[Path, Path, Path], bool]
"""Turns a difference back into a checkpoint: (start model, file, checkpoint folder to make). True if the file is an exact one.
It is passed in, because this room does not import models/."""


class Shrink(Protocol):
    """Turns a checkpoint into its difference from another. It is passed in for the same reason."""

    def __call__(self, base: Path, other: Path, out: Path, /, *, exact: bool) -> object:
        """Write the difference of `other` from `base` into the file `out`, exactly or rounded to bfloat16; or write nothing."""


def difference(out: Path, base: Path | None, shrink: Shrink, *, rounded: bool) -> Path | None:
    """The file with the difference of the weights in a training's folder, of the kind that is wanted if it can be had; None if
    there is none. What is made is kept for the next pack.

    base: the start model's folder, None if it is not on this machine.
    """
    wanted = out / (ROUNDED if rounded else EXACT)
    if not wanted.is_file() and base is not None and has_weights(out) and not (out / _NOTE).is_file():
        shrink(base, out, wanted, exact=not rounded)
    others = (EXACT, _UNSAID, ROUNDED)
    return next((file for file in (wanted, *(out / name for name in others)) if file.is_file()), None)


def restore(out: Path, base: Path, grow: Grow) -> None:
    """Make a checkpoint of the best difference in a training's folder, unless weights as good as that are there.

    Raises:
        VtError: as `grow` does.
    """
    have, noted = has_weights(out), (out / _NOTE).is_file()
    useful = [name for name, is_useful in ((EXACT, noted or not have), (_UNSAID, True), (ROUNDED, not have)) if is_useful]
    file = next((out / name for name in useful if (out / name).is_file()), None)
    if file is None:
        return
    with scratch(out, "restored") as folder:  # `grow` makes whole folders; records and curves lie in this one
        made = folder / "checkpoint"
        try:
            says_exact = grow(base, file, made)
        except VtError:
            if have and not noted:  # nothing is wanted of it but its kind
                return
            raise
        kind = file.name if file.name != _UNSAID else EXACT if says_exact else ROUNDED
        if not have or (noted and kind == EXACT):
            _put(made, out, kind)
        elif kind == ROUNDED and _same_weights(made, out):  # an earlier version made them, and kept no note
            _note(out)
        file.replace(out / kind)


def has_weights(out: Path) -> bool:
    """Whether full weights lie in the folder."""
    return any(out.glob(f"*{WEIGHTS}"))


def waits(out: Path) -> bool:
    """Whether a training's folder has a difference and no weights."""
    return not has_weights(out) and any((out / name).is_file() for name in (EXACT, ROUNDED, _UNSAID))


def _put(made: Path, out: Path, kind: str) -> None:
    """Move a checkpoint into the training's folder. If this process is killed, no rounded weights stay without their note."""
    if kind == ROUNDED:
        _note(out)
    for path in sorted(made.iterdir(), key=lambda path: path.suffix == WEIGHTS):  # weights last: with them it is there
        path.replace(out / path.name)
    if kind == EXACT:
        (out / _NOTE).unlink(missing_ok=True)


def _note(out: Path) -> None:
    store.write_json(out / _NOTE, {"weights_made_from": ROUNDED})


def _same_weights(ours: Path, theirs: Path) -> bool:
    files = [sorted(path for path in folder.iterdir() if path.suffix == WEIGHTS) for folder in (ours, theirs)]
    names = [[path.name for path in found] for found in files]
    return names[0] == names[1] and all(filecmp.cmp(one, other, shallow=False) for one, other in zip(*files, strict=True))
