"""Curate a data set in memory: read its files, split the questions, count. CLEVRER, which also has labels, has its own way."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import store
from videothinker.curate.build import Curation, Layout, relative_root
from videothinker.curate.datasets import Dataset
from videothinker.curate.split import DEV, split_of
from videothinker.curated import NO_LABELS, TRAIN, Member
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.records import Question


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What changes the curated data. It is written to the manifest, and curating into the same folder again needs the same."""

    dataset: str
    """Name of the data set's command."""
    seed: int = 42
    """Seed of the hash that decides which groups are "dev"."""
    dev_share: float | None = None
    """Share of the groups that becomes "dev", 0 < share < 1, while the others become "train"; None puts all into one split."""
    split: str
    """Name of the one split, where `dev_share` is None."""

    def check(self) -> None:
        """Raise a VtError that names what is out of bounds."""
        if self.dev_share is not None and not 0 < self.dev_share < 1:
            raise VtError(f"--dev-share {self.dev_share:g} is not between 0 and 1")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.split):
            raise VtError(f"--split '{self.split}' is no file name: use letters, digits, _ and -")
        if self.split.startswith("train_") or self.split in ("manifest", "report"):
            raise VtError(f"--split '{self.split}' is the name of another file of the folder")

    def as_json(self) -> dict[str, Any]:
        """The settings as the manifest holds them."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def split_names(self) -> tuple[str, ...]:
        """The splits that questions may fall into."""
        return (self.split,) if self.dev_share is None else (TRAIN, DEV)


class Counted(NamedTuple):
    """A curated question set, and what to tell about it."""

    curation: Curation
    warnings: list[str]


def layout(settings: Settings) -> Layout:
    """What the folder of a curation with these settings will hold."""
    return Layout(settings.split_names())


def curate(
    dataset: Dataset, source: Path, videos: Path | None, out: Path, settings: Settings, *, strict: bool = False
) -> Counted:
    """Read and split a data set; nothing is written.

    source: what --from names. videos: folder of the clips; None does not look for them.
    out: the folder that will be written, which the manifest's `videos_root` is relative to.
    strict: refuse any question that cannot be used and any missing clip, instead of reporting and going on.

    Raises:
        VtError: the source cannot be used as a whole, or holds no usable question.
    """
    settings.check()
    if videos is not None and not videos.is_dir():
        raise VtError(f"--videos {videos}: is not a folder")
    questions, unresolved, inputs = dataset.read(source)
    if not questions:
        first = f"; the first is {unresolved[0]}" if unresolved else ""
        raise VtError(f"--from {source}: has no question that can be used{first}")
    clips = {question.clip for question in questions}
    missing = sorted({clip.path for clip in clips if videos is not None and not Footage.below(videos, clip).is_there()})
    if strict and unresolved:
        raise VtError(f"{len(unresolved)} questions cannot be used (--strict); the first is {unresolved[0]}")
    if strict and missing:
        raise VtError(f"--videos {videos}: lacks {len(missing)} clips (--strict), the first is {missing[0]}")
    members = [Member(question, _split_of(question, settings), True) for question in questions]
    splits = {name: n for name in settings.split_names() if (n := sum(one.split == name for one in members))}
    n_read = len(questions) + len(unresolved)
    warnings = []
    if dataset.n_published not in (None, n_read):
        warnings.append(f"{dataset.name} has {dataset.n_published:,} questions as published, {source} has {n_read:,}")
    if unresolved:
        warnings.append(f"{len(unresolved)} of {n_read} questions cannot be used; the first is {unresolved[0]}")
    if missing:
        warnings.append(f"{len(missing)} clips are missing, the first is {missing[0]}")
    manifest = {
        "rule": None,
        "seed": settings.seed,
        "videos_root": relative_root(videos, out),
        "splits": splits,
        "missing_videos": missing,
        "benchmark": dataset.benchmark,
        "questions": {"n_read": n_read, "n_labelled": len(questions), "n_unresolved": len(unresolved)},
        "warnings": warnings,
        "settings": settings.as_json(),
        "inputs": inputs,
        "provenance": store.provenance() | {"source": str(source)},
    }
    root = None if videos is None else videos.resolve()
    return Counted(Curation(members, NO_LABELS, unresolved, manifest, root), warnings)


def _split_of(question: Question, settings: Settings) -> str:
    if settings.dev_share is None:
        return settings.split
    return split_of(f"group {question.group}", settings.seed, settings.dev_share)
