"""A curated folder in memory, and how it is written, whatever the data set.

A data set's reader makes a `Curation` and touches no output; `write` puts it on disk with the manifest last. Between the two
the command line draws the report page from the same `Curation`, so that page, manifest and data files cannot disagree.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from videothinker import curated, locks, shards, store
from videothinker.curate.export import Export, save_dataset, video_r1_row
from videothinker.curated import TRAIN, Labels, Member
from videothinker.errors import VtError
from videothinker.records import DECIDED, Question, Unresolved, clevrer, label, manifest, question, scene
from videothinker.records.video_r1 import ClevrerRow, VideoR1Row

DATASET = "dataset"
"""Folder of the saved DatasetDict."""
_FIXED_NAMES = frozenset(
    {manifest.FILE, manifest.UNRESOLVED, question.FILE, label.FOLDER, scene.FILE, clevrer.FILE, DATASET, shards.FOLDER}
)
_PAGES = re.compile(r"report\.(html|md)|tables|.*\.(png|svg)")


class Curation(NamedTuple):
    """A question set in memory."""

    members: list[Member]
    """Every usable question, in the order of the files."""
    labels: Labels
    """Its own labels; empty if the data set has nothing to label by."""
    unresolved: list[Unresolved]
    """Every question that cannot be used: questions read = members + unresolved."""
    manifest: dict[str, Any]
    """manifest.json: the fields of `records.Manifest`; `questions` (n_read, n_labelled, n_unresolved), `settings`, `inputs`
    (sha256), `provenance`, and what the data set adds."""
    videos_root: Path | None
    """Absolute folder of the clips; None if curated without clips."""
    files: Mapping[str, bytes] = MappingProxyType({})
    """Further data files that only this data set has, by name."""
    row: Callable[[Question], VideoR1Row | ClevrerRow] | None = None
    """How a question becomes a Video-R1 row, if the data set adds fields; `problem_id` is set when rows are written."""

    def by_split(self) -> dict[str, list[Question]]:
        """The questions of every split that has any, without those that the training set leaves out."""
        found: dict[str, list[Question]] = {}
        for member in self.members:
            if member.is_used:
                found.setdefault(member.split, []).append(member.question)
        return found


class Layout(NamedTuple):
    """What a curated folder will hold beside the files that every one has, as the settings decide it."""

    splits: Sequence[str]
    exports: Sequence[Export] = ()
    save_dataset: bool = False

    def file_names(self) -> set[str]:
        """Names of all data files and folders."""
        names = {*_FIXED_NAMES, *(f"{split}.json" for split in self.splits)}
        if TRAIN in self.splits:
            names |= {f"{TRAIN}_{category}.json" for category in DECIDED}
        return names | {export.file_name(split) for export in self.exports for split in self.splits}


def relative_root(videos: Path | None, out: Path) -> str | None:
    """The manifest's `videos_root` of clips in `videos`, for a curated folder `out`."""
    return None if videos is None else Path(os.path.relpath(videos.resolve(), out.resolve())).as_posix()


def check_out(out: Path, settings: Mapping[str, Any], layout: Layout, source: Path) -> None:
    """Check, before work starts, that `out` is new, empty, or the folder of an earlier run with the same settings.

    settings: as the manifest will hold them. source: the file or folder that will be read, which must not be overwritten.

    Raises:
        VtError: it holds another run or other files, or the source itself would be overwritten.
    """
    names = layout.file_names()
    if source.resolve() == out.resolve():
        raise VtError(f"--out {out}: is the folder that is read; choose another folder")
    if source.resolve().parent == out.resolve() and source.name in names:
        raise VtError(f"--out {out}: {source.name} would overwrite the questions file; choose another folder")
    _claim(out, {"settings": settings}, may_hold=lambda name: name in names or bool(_PAGES.fullmatch(name)))


def _claim(out: Path, identity: Mapping[str, Any], may_hold: Callable[[str], bool] = lambda _: True) -> None:
    advice = "choose another folder for --out, or delete it"
    store.claim(out, manifest.FILE, identity, what="a curated folder", advice=advice, may_hold=may_hold)


def write(curation: Curation, out: Path, layout: Layout, pages: Mapping[str, bytes]) -> None:
    """Write a curated folder, the manifest last; a folder that an earlier run with the same settings wrote is redone.

    pages: the report's files, by name.

    Raises:
        VtError: the folder holds another run, or cannot be written to; or a question cannot be told in an export's format.
    """
    for export in layout.exports:  # before anything is written
        for member in curation.members:
            export.check(member.question)
    _claim(out, {part: curation.manifest[part] for part in ("settings", "inputs", "videos_root")})
    (out / manifest.FILE).unlink(missing_ok=True)

    files = {question.FILE: curated.question_table(curation.members), **curation.files}
    if curation.labels.own is not None:
        files[f"{label.FOLDER}/{curation.labels.own.observer}.parquet"] = curated.label_table(curation.labels.sets)
    for name, content in files.items():
        store.write_bytes(out / name, content)
    store.write_jsonl(out / manifest.UNRESOLVED, curation.unresolved)
    _write_exports(curation, out, layout)
    store.write_report(out, pages)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    store.write_json(out / manifest.FILE, curation.manifest | {"files": hashes})
    locks.release(out)


def _write_exports(curation: Curation, out: Path, layout: Layout) -> None:
    """Write what other programs read: Video-R1 rows of every split, rows for trainers, and a saved dataset."""
    labels = curation.labels
    row = curation.row or (lambda asked: video_r1_row(asked, labels))
    splits = curation.by_split()
    written = {}
    for split in layout.splits:
        rows = [row(asked) for asked in splits.get(split, [])]
        if split == TRAIN and labels.own is not None:
            for category in DECIDED:
                part = [one for one in rows if one.category is category]
                store.write_json(out / f"{TRAIN}_{category}.json", _numbered(part))
        written[split] = _numbered(rows)
        store.write_json(out / f"{split}.json", written[split])
        for export in layout.exports:
            lines = [export.row(asked, labels) for asked in splits.get(split, [])]
            store.write_jsonl(out / export.file_name(split), lines)
    if layout.save_dataset:
        filled = {split: rows for split, rows in written.items() if rows}
        store.write_folder(out / DATASET, lambda folder: save_dataset(filled, folder))


def _numbered(rows: Sequence[VideoR1Row | ClevrerRow]) -> list[VideoR1Row | ClevrerRow]:
    """The rows with their 1-based place in the file as `problem_id`."""
    return [msgspec.structs.replace(row, problem_id=number) for number, row in enumerate(rows, start=1)]
