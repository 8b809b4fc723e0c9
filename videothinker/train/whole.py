"""Checkpoints to resume from count only once they are whole.

transformers writes a checkpoint file by file under its final name, deletes an older one, and only then runs the callbacks that
add to it. A kill anywhere in between leaves a folder that looks like the newest checkpoint and cannot be loaded. So each gets
a mark, `whole.json`, after everything else is on disk, and only then are older ones deleted.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from transformers import TrainerCallback

from videothinker import store
from videothinker.errors import VtError
from videothinker.records.training import Fed

MARK = "whole.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_CHECKED = (".pt", ".pth", "trainer_state.json")
"""Ends of the names of files whose sizes are compared: weights and adapters are looked at where they are loaded."""


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """whole.json: what the checkpoint holds beside it."""

    step: int
    sizes: dict[str, int]
    """Bytes of each file, by its path in the folder."""
    fed: Fed
    """What the policy was fed up to here, for a run that was killed after its last step."""


def last_whole(out: Path, warn: Callable[[str], None]) -> tuple[Path, Whole] | None:
    """The newest whole checkpoint in `out`; None if there is none. warn: told in one line of newer ones that are not whole."""
    torn: list[Path] = []
    for folder in _checkpoints(out):
        mark = _read(folder)
        if mark is not None:
            if torn:
                warn(f"{_named(torn)} not saved as a whole; going on from {folder}")
            return folder, mark
        torn.append(folder)
    if torn:
        warn(f"{_named(torn)} not saved as a whole; beginning anew")
    return None


def _named(torn: list[Path]) -> str:
    return f"{torn[0]} was" if len(torn) == 1 else f"{', '.join(map(str, torn))} were"


def _checkpoints(out: Path) -> list[Path]:
    """The folders of checkpoints, whole or not, the newest first."""
    found = [(int(match[1]), path) for path in out.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _read(folder: Path) -> Whole | None:
    """The checkpoint's mark; None if it is not whole."""
    if not (folder / MARK).is_file():
        return None
    try:
        mark = store.read_json(folder / MARK, Whole)
    except VtError:
        return None
    return mark if _sizes(folder, _CHECKED) == {n: size for n, size in mark.sizes.items() if n.endswith(_CHECKED)} else None


def _sizes(folder: Path, ends: tuple[str, ...] = ("",)) -> dict[str, int]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MARK]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files if path.name.endswith(ends)}


class MarkWhole(TrainerCallback):  # type: ignore[misc]
    """Marks each checkpoint once every process has written its part; added after all callbacks that write into checkpoints.

    trainer: the trainer, which says what it was fed. keep: how many checkpoints are kept, the latest ones.
    """

    def __init__(self, trainer: Any, keep: int) -> None:
        self._trainer, self._keep = trainer, keep

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.accelerator.wait_for_everyone()
        if not state.is_world_process_zero:
            return
        out = Path(args.output_dir)
        folder = out / f"checkpoint-{state.global_step}"
        for path in folder.rglob("*"):
            if path.is_file():
                store.flush(path)
        sizes = _sizes(folder)
        store.write_json(folder / MARK, Whole(step=state.global_step, sizes=sizes, fed=self._trainer.fed()))
        for old in _checkpoints(out)[self._keep :]:
            unmark(old)
            shutil.rmtree(old)


def unmark(folder: Path) -> None:
    """Take the mark away before a checkpoint is written over or deleted."""
    (folder / MARK).unlink(missing_ok=True)
