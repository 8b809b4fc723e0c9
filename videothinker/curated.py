"""Read a folder that `vt curate clevrer` wrote: manifest, questions by split, scenes.

Evaluation, training and reports all read curated data through this module, and it needs neither polars nor torch: on a GPU
machine a curated folder is plain JSON.
"""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import store
from videothinker.errors import VtError
from videothinker.records import CuratedQuestion, Rule, Scene

MANIFEST = "manifest.json"
SCENES = "scenes.jsonl"
LABELS = "labels.parquet"
UNRESOLVED = "unresolved.jsonl"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The part of manifest.json that other rooms rely on; further fields are kept in the file for people and reports."""

    rule: Rule
    """The rule that `category` follows."""
    seed: int
    videos_root: str | None
    """Folder that the questions' `video` paths are relative to, relative to the curated folder; None: curated without clips."""
    splits: dict[str, int]
    """Number of labelled questions by split, those left out of the training set included."""
    missing_videos: list[str] = []
    """Clips that were not there at curation, as the questions' `video`."""


class Curated(NamedTuple):
    """An opened curated folder."""

    folder: Path
    manifest: Manifest
    videos_root: Path | None
    """Absolute folder of the clips: `--videos` if given, else the manifest's; None when there are none."""

    def questions(self, split: str) -> list[CuratedQuestion]:
        """The questions of one split's file (for "train": those in the training set), in file order.

        Raises:
            VtError: no such split; names those that exist.
        """
        if split not in self.manifest.splits:
            known = ", ".join(self.manifest.splits) or "none"
            raise VtError(f"{self.folder}: has no split '{split}'; its splits are {known}")
        return store.read_json(self.split_file(split), list[CuratedQuestion])

    def split_file(self, split: str) -> Path:
        """The file that holds a split's questions."""
        return self.folder / f"{split}.json"

    def default_split(self) -> str:
        """The split that is diagnosed when none is named: "dev", else the only one.

        Raises:
            VtError: several splits and none is "dev".
        """
        splits = list(self.manifest.splits)
        if "dev" in splits:
            return "dev"
        if len(splits) == 1:
            return splits[0]
        raise VtError(f"{self.folder}: has the splits {', '.join(splits)} and no 'dev'; choose one with --split")

    def scenes(self) -> dict[int, Scene]:
        """Objects and collision log of every scene with a label, by scene index."""
        return {scene.scene_index: scene for scene in store.read_jsonl(self.folder / SCENES, Scene)}

    def clip(self, question: CuratedQuestion) -> Path | None:
        """Where the question's clip should be; None when the folder was curated without clips."""
        return None if self.videos_root is None else self.videos_root / question.video


def counterfactual_name(video: str, removed_object: int) -> str:
    """Name of the clip without one object, beside the factual one: video_00003.mp4, 2 -> video_00003.without_2.mp4."""
    stem, dot, suffix = video.rpartition(".")
    return f"{stem}.without_{removed_object}{dot}{suffix}"


def open_curated(folder: Path, videos: Path | None = None) -> Curated:
    """Open a curated folder; `videos` overrides where its clips are.

    Raises:
        VtError: not a finished curated folder, or `videos` is not a folder.
    """
    if not (folder / MANIFEST).is_file():
        raise VtError(f"{folder}: has no {MANIFEST}, so it is not a finished curated folder; make one with `vt curate clevrer`")
    manifest = store.read_json(folder / MANIFEST, Manifest)
    if videos is not None and not videos.is_dir():
        raise VtError(f"--videos {videos}: is not a folder")
    if videos is not None:
        root: Path | None = videos.resolve()
    elif manifest.videos_root is not None:
        root = (folder / manifest.videos_root).resolve()
    else:
        root = None
    return Curated(folder, manifest, root)


def raw_manifest(folder: Path) -> dict[str, Any]:
    """All of manifest.json, for reports."""
    return store.read_json(folder / MANIFEST, dict[str, Any])
