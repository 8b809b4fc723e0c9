"""Curate CLEVRER in memory: read its files, label and split the questions, count."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from videothinker import store, tables
from videothinker.curate.build import Curation, Layout, relative_root
from videothinker.curate.datasets.clevrer.annotations import Annotations, Clips, ReadScenes, find_clips, read_scenes
from videothinker.curate.datasets.clevrer.counts import (
    count,
    count_options,
    count_view,
    observational_shares,
    score_observer,
    training_counts,
    warn_of_observer,
)
from videothinker.curate.datasets.clevrer.faults import Fault
from videothinker.curate.datasets.clevrer.labelled import Labelled, clevrer_row, label_question, label_sets, label_table
from videothinker.curate.datasets.clevrer.paper import compare_with_paper, count_readings
from videothinker.curate.datasets.clevrer.program import ProgramError
from videothinker.curate.datasets.clevrer.questions import ReadRelease, read_questions
from videothinker.curate.datasets.clevrer.settings import Settings
from videothinker.curate.datasets.rows import told_of_missing
from videothinker.curate.export import require_datasets
from videothinker.curate.split import DEV, split_of, training_set
from videothinker.curated import TRAIN, Member
from videothinker.errors import VtError
from videothinker.progress import Bars, Progress, no_bars, no_progress
from videothinker.records import Question, Scene, Unresolved, clevrer, scene


class ClevrerCuration(NamedTuple):
    """A curated release in memory: the question set, and what only CLEVRER has."""

    curation: Curation
    table: pl.DataFrame
    """labels.parquet: one row per labelled question, by scene and qid, with the columns of `records.clevrer`."""
    scenes: dict[str, Scene]
    """Objects and collision log of every scene with a labelled question, by the `group` of its questions."""
    removed_objects: dict[str, int]
    """object_id of the object that each question takes away, by question_id."""


def curate(
    annotations: Annotations,
    questions: Path,
    videos: Path | None,
    out: Path,
    settings: Settings,
    *,
    strict: bool = False,
    workers: int = 1,
    read: ReadScenes | None = None,
    bars: Bars = no_bars,
) -> ClevrerCuration:
    """Label and split the counterfactual questions of a release; nothing is written.

    questions: train.json or validation.json.
    videos: folder of the clips; None takes their paths from the release's layout.
    out: the folder that will be written, which the manifest's `videos_root` is relative to.
    strict: refuse any question that cannot be labelled and any missing clip, instead of reporting and going on.
    workers: processes that read annotations. read: the annotations of all scenes, if they are read already.
    bars: shows two parts, reading annotations and labelling questions.

    Raises:
        VtError: an input cannot be used as a whole, or the settings do not fit it.
    """
    settings.check()
    if settings.save_dataset:
        require_datasets()
    asked = read_questions(questions)
    clips = find_clips(videos)
    if read is None:
        with bars("reading annotations", len(annotations.files), "files") as progress:
            read = read_scenes(annotations, asked.wanted, workers=workers, progress=progress)
    with bars("labelling questions", len(asked.questions), "questions") as progress:
        labelled, unresolved = _label_all(asked, read.scenes, clips, questions.name, progress)
    n_read = len(asked.questions) + len(asked.bad)
    assert n_read == len(labelled) + len(unresolved), "questions were lost between reading and labelling"
    missing = sorted({one.question.path for one in labelled if videos is not None and not _is_there(one.question, clips)})
    if strict:
        _refuse(annotations, unresolved, missing, videos)

    splits = _split(labelled, settings)
    in_training_set = training_set(
        {one.question.question_id: one.category(settings.rule) for one in splits.get(TRAIN, [])},
        settings.seed,
        size=settings.train_size,
        observational_share=settings.observational_share,
    )
    observed = score_observer(labelled)
    readings = count_readings(labelled)
    manifest = {
        "rule": settings.rule,
        "seed": settings.seed,
        "videos_root": relative_root(videos, out),
        "splits": {split: len(members) for split, members in splits.items()},
        "missing_videos": missing,
        "questions": {"n_read": n_read, "n_labelled": len(labelled), "n_unresolved": len(unresolved)},
        "counts": count(splits),
        "shares": observational_shares(labelled),
        "observer": observed,
        "training_set": training_counts(splits.get(TRAIN, []), in_training_set, settings.rule),
        "view": count_view(found for found in read.scenes.values() if isinstance(found, Scene)),
        "options": count_options(labelled),
        "readings": readings,
        "paper": compare_with_paper(asked.scene_indices, n_read, labelled, readings),
        "warnings": _warnings(annotations, unresolved, missing, labelled, splits, settings, observed),
        "settings": settings.as_json(),
        "inputs": {"questions_sha256": asked.sha256, "annotations_sha256": read.sha256, "n_annotations": len(read.digests)},
        "provenance": store.provenance() | {"annotations": str(annotations.path), "questions": str(questions)},
    }
    scenes = {str(one.scene_index): read.scenes[one.scene_index] for one in labelled}
    return _assembled(splits, in_training_set, scenes, unresolved, manifest, settings, videos)


def _assembled(
    splits: Mapping[str, list[Labelled]],
    in_training_set: frozenset[str],
    scenes: Mapping[str, Scene | Fault],
    unresolved: list[Unresolved],
    manifest: dict[str, Any],
    settings: Settings,
    videos: Path | None,
) -> ClevrerCuration:
    """Put the pieces together as the folder will hold them."""
    kept = {group: one for group, one in scenes.items() if isinstance(one, Scene)}
    by_id = {one.question.question_id: one for members in splits.values() for one in members}
    table = label_table(splits, in_training_set, settings.rule)
    members = [
        Member(one.question, split, one.question.question_id in in_training_set)
        for split, labelled in splits.items()
        for one in labelled
    ]
    curation = Curation(
        members,
        label_sets(by_id.values(), settings.rule),
        unresolved,
        manifest,
        None if videos is None else videos.resolve(),
        files={
            clevrer.FILE: tables.to_bytes(table.iter_rows(named=True), clevrer.COLUMNS),
            scene.FILE: b"".join(msgspec.json.encode(kept[group]) + b"\n" for group in sorted(kept, key=int)),
        },
        row=lambda question: clevrer_row(by_id[question.question_id], settings.rule),
    )
    return ClevrerCuration(curation, table, kept, {name: one.removed_object for name, one in by_id.items()})


def layout(settings: Settings) -> Layout:
    """What the folder of a curation with these settings will hold."""
    return Layout(settings.split_names(), settings.exports, settings.save_dataset)


def _label_all(
    asked: ReadRelease,
    scenes: Mapping[int, Scene | Fault],
    clips: Clips,
    file: str,
    progress: Progress = no_progress,
) -> tuple[list[Labelled], list[Unresolved]]:
    """All questions, either labelled or unresolved, both by scene and qid. file: name of the questions file."""
    labelled: list[Labelled] = []
    unresolved = [_unresolved(index, qid, fault) for index, qid, fault in asked.bad]
    for question in sorted(asked.questions, key=lambda question: (question.scene_index, question.qid)):
        progress(1)
        found = scenes[question.scene_index]
        if isinstance(found, Fault):
            unresolved.append(_unresolved(question.scene_index, question.qid, found))
            continue
        try:
            labelled.append(label_question(question, found, clips.path(found.video)))
        except ProgramError as error:
            unresolved.append(_unresolved(question.scene_index, question.qid, Fault(file, str(error))))
    # Entries without a scene or a qid come last among their equals.
    unresolved.sort(key=lambda item: (item.scene_index is None, item.scene_index or 0, item.qid is None, item.qid or 0))
    return labelled, unresolved


def _unresolved(index: int | None, qid: int | None, fault: Fault) -> Unresolved:
    name = f"{'?' if index is None else index}:{'?' if qid is None else qid}"
    return Unresolved(question_id=name, scene_index=index, qid=qid, file=fault.file, reason=fault.reason)


def _is_there(question: Question, clips: Clips) -> bool:
    video = question.path
    return clips.paths.get(video.rpartition("/")[2]) == video


def _refuse(annotations: Annotations, unresolved: list[Unresolved], missing: list[str], videos: Path | None) -> None:
    """Raise the first thing that --strict does not allow, if there is any."""
    if annotations.refused:
        raise VtError(f"{annotations.path}: the zip's entry '{annotations.refused[0]}' points outside the archive (--strict)")
    if unresolved:
        raise VtError(
            f"{len(unresolved)} counterfactual questions cannot be labelled (--strict); the first is {unresolved[0]}; "
            "--no-strict goes on without them and lists them in unresolved.jsonl"
        )
    if missing:
        raise VtError(f"--videos {videos}: lacks {len(missing)} clips (--strict), the first is {missing[0]}")


def _warnings(
    annotations: Annotations,
    unresolved: list[Unresolved],
    missing: list[str],
    labelled: list[Labelled],
    splits: Mapping[str, list[Labelled]],
    settings: Settings,
    observed: Mapping[str, Any],
) -> list[str]:
    """One line for each thing that the user should know before going on."""
    lines = []
    if weak := warn_of_observer(observed, settings.rule):
        lines.append(weak)
    if unresolved:
        n_read = len(labelled) + len(unresolved)
        lines.append(f"{len(unresolved)} of {n_read} questions could not be labelled; the first is {unresolved[0]}")
    if missing:
        lines.append(told_of_missing(missing))
    if refused := annotations.refused:
        lines.append(f"{len(refused)} entries of the zip point outside it and were not read, the first is '{refused[0]}'")
    for split in settings.split_names():
        if labelled and split not in splits and not (split == DEV and settings.dev_share == 0):
            lines.append(f"no scene fell into '{split}': there is no such split")
    return lines


def _split(labelled: list[Labelled], settings: Settings) -> dict[str, list[Labelled]]:
    """The questions by split, without splits that are empty."""
    splits: dict[str, list[Labelled]] = {name: [] for name in settings.split_names()}
    for one in labelled:
        splits[settings.split or split_of(f"scene {one.scene_index}", settings.seed, settings.dev_share)].append(one)
    return {split: members for split, members in splits.items() if members}
