"""Open a question set that `vt curate` wrote: manifest, questions by split, labels beside them, and CLEVRER's scenes.

Evaluation, training and reports all read curated data through this module; it needs neither polars nor torch. The tables
themselves, as they are written and read, are `question_tables`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from videothinker import evidence, store, tables
from videothinker.damage import Span
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.outside import is_name
from videothinker.question_tables import TRAIN, Member, label_table, member, question_table, read_label_sets
from videothinker.records import Category, LabelSet, Manifest, Question, Rule, Scene, clevrer, label, manifest, question, scene

__all__ = [
    "NO_LABELS",
    "TRAIN",
    "Curated",
    "Labels",
    "Member",
    "counterfactual_name",
    "label_table",
    "open_curated",
    "question_table",
    "raw_manifest",
    "read_label_sets",
]


class Labels:
    """All label sets of a question set, in the order of their files."""

    def __init__(self, sets: Iterable[LabelSet], own: LabelSet | None) -> None:
        """own: the set whose categories and observer results use; one of `sets`, or None if there are no own labels."""
        self.own = own
        self.sets = list(sets)

    def under(self, name: str | None) -> "Labels":
        """The same labels with the set of that name as the own one; None keeps the own set.

        Raises:
            VtError: there is no such set; the message names those that exist.
        """
        if name is None or (self.own is not None and name == self.own.name):
            return self
        chosen = next((one for one in self.sets if one.name == name), None)
        if chosen is None:
            known = ", ".join(one.name for one in self.sets) or "none"
            raise VtError(f"there are no labels '{name}' for these questions; there are {known}")
        return Labels(self.sets, chosen)

    @property
    def rule(self) -> str | None:
        """Name of the own set; None if there is none."""
        return None if self.own is None else self.own.name

    def category(self, question_id: str) -> Category | None:
        """The question's category in the own set; None if it has none."""
        found = None if self.own is None else self.own.by_question.get(question_id)
        return None if found is None else found.category

    def observer(self, question_id: str) -> tuple[str, ...] | None:
        """What the own set's observer answers; None if it has no answer."""
        found = None if self.own is None else self.own.by_question.get(question_id)
        return None if found is None else found.answer


NO_LABELS = Labels((), None)


class Curated:
    """An opened question set."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        videos_root: Path | None,
        *,
        is_trusted: bool = True,
        label_files: Sequence[Path] = (),
    ) -> None:
        """videos_root: absolute folder of the clips; None if there are none. label_files: labels from elsewhere.

        is_trusted: whether files have to be those that the manifest tells of. Only a check reads them as they are.
        """
        self.folder = folder
        self.manifest = manifest
        self.videos_root = videos_root
        self.label_files = tuple(label_files)
        self._is_trusted = is_trusted

    @cached_property
    def members(self) -> list[Member]:
        """Every question of the set, in file order, including those that the training set leaves out.

        Raises:
            VtError: the file is damaged or was changed, holds a question twice, or has other counts than the manifest.
        """
        path = self._unchanged(question.FILE)
        found = [member(path, row) for row in tables.read(path, question.COLUMNS, more=True)]
        if self._is_trusted:
            ids = Counter(one.question.question_id for one in found)
            if twice := next((name for name, n in ids.items() if n > 1), None):
                raise VtError(f"{path}: question {twice} is there {ids[twice]} times; curate again")
            if (counts := dict(Counter(one.split for one in found))) != self.manifest.splits:
                raise VtError(f"{path}: has {counts} questions by split, {manifest.FILE} says {self.manifest.splits}")
        return found

    def _unchanged(self, name: str) -> Path:
        """The path of a file of the folder, whose bytes are those that were written with the manifest.

        Raises:
            VtError: they are not.
        """
        path, expected = self.folder / name, self.manifest.files.get(name)
        if self._is_trusted and expected is not None:
            try:
                found = store.sha256_file(path)
            except OSError as error:
                raise VtError(f"{path}: cannot be read ({error.strerror}); curate again") from error
            if found != expected:
                raise VtError(f"{path}: is damaged or was changed, its SHA-256 is not that in {manifest.FILE}; curate again")
        return path

    def questions(self, split: str) -> list[Question]:
        """The questions of one split (for "train": those in the training set), in file order.

        Raises:
            VtError: there is no such split; the message names those that exist.
        """
        if split not in self.manifest.splits:
            known = ", ".join(self.manifest.splits) or "none"
            raise VtError(f"{self.folder}: has no split '{split}'; its splits are {known}")
        return [one.question for one in self.members if one.split == split and one.is_used]

    def default_split(self) -> str:
        """The split that is diagnosed if none is named: "dev", or else the only one.

        Raises:
            VtError: there are several splits and none is "dev".
        """
        splits = list(self.manifest.splits)
        if "dev" in splits:
            return "dev"
        if len(splits) == 1:
            return splits[0]
        raise VtError(f"{self.folder}: has the splits {', '.join(splits)} and no 'dev'; choose one with --split")

    @cached_property
    def labels(self) -> Labels:
        """Every label set in the folder's labels/, and in the label files given, which come last. The own set is the collision
        log's under the manifest's rule: what was asked and answered depends on no file that comes or goes.

        Raises:
            VtError: a file is damaged or none of labels, two hold the same set, a given one holds several sets or labels none
                of the questions, or the manifest's rule has no labels.
        """
        there = {f"{label.FOLDER}/{path.name}" for path in (self.folder / label.FOLDER).glob("*.parquet")}
        told = {name for name in self.manifest.files if name.startswith(f"{label.FOLDER}/")}
        sets = [one for name in sorted(there | told) for one in read_label_sets(self._unchanged(name))]
        names = [one.name for one in sets]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise VtError(f"{self.folder / label.FOLDER}: two files have labels '{twice}'; remove one of them")
        rule = self.manifest.rule
        own = next((one for one in sets if one.observer == label.LOG and one.rule == rule), None)
        if rule is not None and own is None and self.members:
            raise VtError(
                f"{self.folder / label.FOLDER}: lacks the labels of the rule {rule} that {manifest.FILE} names; curate again"
            )
        given: list[LabelSet] = []
        for path in self.label_files:
            given.append(self._given_set(path, [*sets, *given]))
        return Labels([*sets, *given], own)

    def labels_by(self, name: str | None) -> Labels:
        """The labels with the set of that name as the own one; None: that of the first label file given, else the folder's own.

        Raises:
            VtError: there is no such set, or as `labels` does.
        """
        if name is None and self.label_files:
            name = self.labels.sets[-len(self.label_files)].name
        return self.labels.under(name)

    def _given_set(self, path: Path, there: Sequence[LabelSet]) -> LabelSet:
        """The one label set of a file from elsewhere; there: those that are read already."""
        found = read_label_sets(path)
        if len(found) != 1:
            names = ", ".join(one.name for one in found) or "none"
            raise VtError(
                f"{path}: holds {len(found)} label sets ({names}), expected one; among a folder's own, --rule chooses"
            )
        (one,) = found
        if any(one.name == other.name for other in there):
            raise VtError(f"{path}: holds labels '{one.name}', which the folder or a file before it holds too; leave one out")
        if not any(asked.question.question_id in one.by_question for asked in self.members):
            raise VtError(f"{path}: labels none of the {len(self.members)} questions of {self.folder}; it is about other data")
        return one

    @cached_property
    def scores(self) -> dict[str, dict[str, Any]]:
        """The further columns of the label files given: by name, then by question_id. A probe's are its views.

        A name that several files have goes with that of its file: "twin.normal" of twin.parquet.

        Raises:
            VtError: two files of one name have a column of one name.
        """
        columns: list[tuple[Path, str, dict[str, Any]]] = []
        for path in self.label_files:
            rows = tables.read(path, label.COLUMNS, more=True)
            names = [name for name in (rows[0] if rows else {}) if name not in label.COLUMNS]
            columns += [(path, name, {row["question_id"]: row[name] for row in rows}) for name in names]
        n_files = Counter(name for _, name, _ in columns)
        found: dict[str, dict[str, Any]] = {}
        source: dict[str, Path] = {}
        for path, name, values in columns:
            told = name if n_files[name] == 1 else f"{path.stem}.{name}"
            if told in found:
                raise VtError(
                    f"{source[told]} and {path}: both have a column '{name}', which only the names of their files could tell"
                    " apart; rename one of the files"
                )
            found[told], source[told] = values, path
        return found

    @cached_property
    def scenes(self) -> dict[str, Scene]:
        """Objects and collision log of every scene with a label, by the `group` of its questions; empty if not CLEVRER."""
        path = self._unchanged(scene.FILE)
        return {str(one.scene_index): one for one in store.read_jsonl(path, Scene)} if path.is_file() else {}

    @cached_property
    def removed_objects(self) -> dict[str, int]:
        """object_id of what each counterfactual question takes away, by question_id; empty if not CLEVRER."""
        path = self._unchanged(clevrer.FILE)
        rows = tables.read(path, clevrer.COLUMNS) if path.is_file() else []
        return {row["question_id"]: row["removed_object"] for row in rows}

    @cached_property
    def evidence(self) -> dict[str, tuple[Span, ...]]:
        """Where the clip shows what a question's label rests on, by question_id, in seconds; those without are not in it.

        Empty if there are no collision logs.
        """
        scenes = self.scenes
        asked = (one.question for one in self.members if one.question.group in scenes)
        found = {question.question_id: evidence.spans(question, scenes[question.group]) for question in asked}
        return {name: spans for name, spans in found.items() if spans}

    def clip(self, question: Question) -> Footage | None:
        """Where the question's clip should be, and which part of it counts; None if the folder was curated without clips, or
        the question has none."""
        if self.videos_root is None or question.clip is None:
            return None
        return Footage.below(self.videos_root, question.clip)


class _Provenance(msgspec.Struct):
    command: str = "vt curate clevrer ..."


class _EarlierManifest(msgspec.Struct):
    """What tells how an earlier version made a folder."""

    rule: str | None = None
    provenance: _Provenance = msgspec.field(default_factory=_Provenance)


def open_curated(
    folder: Path, videos: Path | None = None, *, is_trusted: bool = True, label_files: Sequence[Path] = ()
) -> Curated:
    """Open a curated folder; `videos` overrides where its clips are.

    is_trusted: refuse files that are not those that the manifest tells of, when they are read. label_files: labels from
    elsewhere, of one set each; the first one's categories count where none are named (`Curated.labels_by`).

    Raises:
        VtError: it is not a finished curated folder, an earlier version wrote it, or `videos` is not a folder.
    """
    if not (folder / manifest.FILE).is_file():
        raise VtError(f"{folder}: has no {manifest.FILE}, so it is not a finished curated folder; make one with `vt curate`")
    if not (folder / question.FILE).is_file():
        told = store.read_json(folder / manifest.FILE, _EarlierManifest)
        made_by = told.provenance.command
        if told.rule == Rule.ANY_OPTION and "--rule" not in made_by:
            made_by += f" --rule {Rule.ANY_OPTION}"  # the default then, and not now
        raise VtError(
            f"{folder}: has no {question.FILE}: an earlier version of vt curated it; make it again in the same place with"
            f" `{made_by}` (runs that asked it stay valid)"
        )
    found = store.read_json(folder / manifest.FILE, Manifest)
    if videos is not None and not videos.is_dir():
        raise VtError(f"--videos {videos}: is not a folder")
    if videos is not None:
        root: Path | None = videos.resolve()
    elif found.videos_root is not None:
        try:
            root = (folder / found.videos_root).resolve()
        except ValueError as error:  # a null character, or half of a surrogate pair
            raise VtError(f"{folder / manifest.FILE}: its videos_root is {found.videos_root!a}, which is no folder") from error
    else:
        root = None
    if strange := next((split for split in found.splits if not is_name(split)), None):
        raise VtError(f"{folder / manifest.FILE}: has a split {strange!a}, expected the name of a file")
    return Curated(folder, found, root, is_trusted=is_trusted, label_files=label_files)


def raw_manifest(folder: Path) -> dict[str, Any]:
    """All of manifest.json, for reports."""
    return store.read_json(folder / manifest.FILE, dict[str, Any])


def counterfactual_name(video: str, removed_object: int) -> str:
    """Name of the clip without one object, beside the factual one: video_00003.mp4, 2 -> video_00003.without_2.mp4."""
    stem, dot, suffix = video.rpartition(".")
    return f"{stem}.without_{removed_object}{dot}{suffix}"
