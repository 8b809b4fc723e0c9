"""What a shard has read of the annotations, on disk: labels are made of it scene by scene, and counted once all are there."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from videothinker import store
from videothinker.curate.datasets.clevrer.annotations import ReadScenes
from videothinker.curate.datasets.clevrer.faults import Fault
from videothinker.errors import VtError
from videothinker.records import Scene

FILE = "read.jsonl"


class _Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One scene as it was read."""

    scene_index: int
    scene: Scene | None = None
    """None if its annotation cannot be used."""
    fault: tuple[str, str] | None = None
    """`faults.Fault`: the file, and why."""
    sha256: str | None = None
    """Of the file's bytes; None if they could not be read."""


def write_read(folder: Path, read: ReadScenes) -> None:
    """Write what was read, so that `read_back` gives the same."""
    rows = []
    for index, found in sorted(read.scenes.items()):
        digest = read.digests.get(index)
        sha256 = None if digest is None else digest.hex()
        if isinstance(found, Fault):
            rows.append(_Row(scene_index=index, fault=(found.file, found.reason), sha256=sha256))
        else:
            rows.append(_Row(scene_index=index, scene=found, sha256=sha256))
    store.write_jsonl(folder / FILE, rows)


def read_back(folders: Sequence[Path], wanted: Sequence[int]) -> ReadScenes:
    """What shards have read, together. wanted: the scenes that there have to be.

    Raises:
        VtError: a file is damaged, or a scene is missing or in two shards.
    """
    scenes: dict[int, Scene | Fault] = {}
    digests: dict[int, bytes] = {}
    for folder in folders:
        for row in store.read_jsonl(folder / FILE, _Row):
            if row.scene_index in scenes:
                raise VtError(f"{folder / FILE}: has scene {row.scene_index}, which another shard has too; {_ADVICE}")
            scenes[row.scene_index] = row.scene if row.scene is not None else Fault(*(row.fault or ("", "")))
            if row.sha256 is not None:
                digests[row.scene_index] = bytes.fromhex(row.sha256)
    if missing := next((index for index in wanted if index not in scenes), None):
        raise VtError(f"{folders[0].parent}: no shard has scene {missing}; {_ADVICE}")
    return ReadScenes(scenes, digests)


_ADVICE = "remove the shards' folder and run them again"
