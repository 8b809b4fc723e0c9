"""From CLEVRER's files to a curated folder: read, label, split, count, and write with the manifest last.

`curate` does everything in memory and touches no output; `write` puts a `Curation` on disk. Between the two the command line
draws the report page from the same `Curation`, so that page, manifest and data files cannot disagree.
"""

import os
import re
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from videothinker import curated, mcq, store
from videothinker.curate.clevrer import Annotations, Clips, Fault, find_clips, read_scenes
from videothinker.curate.export import require_datasets, save_dataset
from videothinker.curate.label import RULES, observer, resolve_case
from videothinker.curate.manifest import (
    compare_with_paper,
    count,
    observational_shares,
    score_observer,
    training_counts,
    warn_of_observer,
)
from videothinker.curate.program import ProgramError
from videothinker.curate.questions import Asked, Question, read_questions
from videothinker.curate.settings import Settings
from videothinker.curate.split import DEV, TRAIN, split_of, training_set
from videothinker.errors import VtError
from videothinker.records import Category, CuratedQuestion, Progress, Rule, Scene, no_progress

DATASET = "dataset"
"""Folder of the saved DatasetDict."""
_FIXED_NAMES = frozenset({curated.MANIFEST, curated.SCENES, curated.LABELS, curated.UNRESOLVED, DATASET})
_PAGES = re.compile(r"report\.(html|md)|.*\.(png|svg)")


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """One counterfactual question that could not be labelled: a line of unresolved.jsonl."""

    question_id: str
    """"SCENE:QID"; "?" stands for what the file does not give."""
    scene_index: int | None
    """None when the file does not give one."""
    qid: int | None
    file: str
    """Name of the file at fault: the annotation's or the questions'."""
    reason: str
    """What was found, in which field, and what was expected."""

    def __str__(self) -> str:
        return f"question {self.question_id}: {self.file}: {self.reason}"


class Curation(NamedTuple):
    """A curated data set in memory."""

    labels: pl.DataFrame
    """labels.parquet: one row a labelled question, by scene and qid, with the contract's columns (`category` is the chosen
    rule's; `gold` and `observer` are letters joined by ","; `in_train_set` is False for what was left out)."""
    questions: dict[str, list[CuratedQuestion]]
    """Every labelled question by split, by scene and qid; of "train" also those left out of the training set. Splits without
    a question are absent."""
    scenes: dict[int, Scene]
    """Objects and collision log of every scene with a labelled question."""
    unresolved: list[Unresolved]
    """Questions read = rows of `labels` + these."""
    manifest: dict[str, Any]
    """manifest.json: the fields of `curated.Manifest`; `questions` (n_read, n_labelled, n_unresolved); `counts` by rule, split
    and category; `shares` (observational, by rule); `observer` by rule and category; `training_set`; `paper` (None unless this
    is the real train split); `warnings`; `settings`; `inputs` (sha256); `provenance`. See `manifest.py`."""
    videos_root: Path | None
    """Absolute folder of the clips; None: curated without clips."""


def curate(
    annotations: Annotations,
    questions: Path,
    videos: Path | None,
    out: Path,
    settings: Settings,
    *,
    strict: bool = False,
    workers: int = 1,
    progress: Progress = no_progress,
) -> Curation:
    """Label and split the counterfactual questions of a release; nothing is written.

    questions: train.json or validation.json.
    videos: folder of the clips; None: their paths are those of the release's layout.
    out: the folder that will be written, which the manifest's `videos_root` is relative to.
    strict: refuse any question that cannot be labelled and any missing clip, instead of reporting and going on.
    workers: processes that read annotations.
    progress: told of every annotation that was read.

    Raises:
        VtError: an input cannot be used as a whole, or the settings do not fit it.
    """
    settings.check()
    if settings.save_dataset:
        require_datasets()
    asked = read_questions(questions)
    clips = find_clips(videos)
    wanted = sorted({question.scene_index for question in asked.questions})
    read = read_scenes(annotations, wanted, workers=workers, progress=progress)

    labelled, unresolved = _label_all(asked, read.scenes, clips, settings.rule, questions.name)
    n_read = len(asked.questions) + len(asked.bad)
    assert n_read == len(labelled) + len(unresolved), "questions were lost between reading and labelling"
    missing = sorted({question.video for question in labelled if videos is not None and not _is_there(question, clips)})
    if strict:
        _refuse(annotations, unresolved, missing, videos)

    splits = _split(labelled, settings)
    in_training_set = training_set(
        {question.question_id: question.category for question in splits.get(TRAIN, [])},
        settings.seed,
        size=settings.train_size,
        observational_share=settings.observational_share,
    )
    scenes = {index: scene for index in wanted if isinstance(scene := read.scenes[index], Scene)}
    observed = score_observer(labelled)
    manifest = {
        "rule": settings.rule,
        "seed": settings.seed,
        "videos_root": None if videos is None else Path(os.path.relpath(videos.resolve(), out.resolve())).as_posix(),
        "splits": {split: len(members) for split, members in splits.items()},
        "missing_videos": missing,
        "questions": {"n_read": n_read, "n_labelled": len(labelled), "n_unresolved": len(unresolved)},
        "counts": count(splits),
        "shares": observational_shares(labelled),
        "observer": observed,
        "training_set": training_counts(splits.get(TRAIN, []), in_training_set),
        "paper": compare_with_paper(asked.scene_indices, n_read, labelled),
        "warnings": _warnings(annotations, unresolved, missing, labelled, splits, settings, observed),
        "settings": settings.as_json(),
        "inputs": {"questions_sha256": asked.sha256, "annotations_sha256": read.sha256, "n_annotations": read.n_files},
        "provenance": store.provenance() | {"annotations": str(annotations.path), "questions": str(questions)},
    }
    labelled_scenes = {question.scene_index for question in labelled}
    return Curation(
        _labels(splits, in_training_set),
        splits,
        {index: scene for index, scene in scenes.items() if index in labelled_scenes},
        unresolved,
        manifest,
        None if videos is None else videos.resolve(),
    )


def _label_all(
    asked: Asked, scenes: Mapping[int, Scene | Fault], clips: Clips, rule: Rule, file: str
) -> tuple[list[CuratedQuestion], list[Unresolved]]:
    """Every question either labelled or unresolved, each by scene and qid. `file`: name of the questions file."""
    labelled: list[CuratedQuestion] = []
    unresolved = [_unresolved(index, qid, fault) for index, qid, fault in asked.bad]
    for question in sorted(asked.questions, key=lambda question: (question.scene_index, question.qid)):
        scene = scenes[question.scene_index]
        if isinstance(scene, Fault):
            unresolved.append(_unresolved(question.scene_index, question.qid, scene))
            continue
        try:
            labelled.append(label_question(question, scene, clips.path(scene.video), rule))
        except ProgramError as error:
            unresolved.append(_unresolved(question.scene_index, question.qid, Fault(file, str(error))))
    unresolved.sort(key=lambda item: (item.scene_index is None, item.scene_index or 0, item.qid is None, item.qid or 0))
    return labelled, unresolved


def label_question(question: Question, scene: Scene, video: str, rule: Rule) -> CuratedQuestion:
    """The record of a question, with its category under every rule and the observer's answer.

    video: the clip's path relative to the folder of clips. `problem_id` is 0: rows are numbered when they are written.

    Raises:
        ProgramError: what the question or an option names cannot be resolved to objects and collisions of the scene.
    """
    case = resolve_case(question.program, question.choice_programs, question.gold, scene)
    categories: dict[Rule, Category] = {rule: decide(case) for rule, decide in RULES.items()}
    return CuratedQuestion(
        problem_id=0,
        problem=question.problem,
        options=tuple(mcq.option_line(index, text) for index, text in enumerate(question.options)),
        solution=mcq.solution(question.gold),
        video=video,
        path=video,
        question_id=f"{question.scene_index}:{question.qid}",
        scene_index=question.scene_index,
        category=categories[rule],
        observer=observer(case),
        gold=question.gold,
        removed_object=case.removed,
        negated=case.negated,
        **{rule.column: category for rule, category in categories.items()},
    )


def _unresolved(index: int | None, qid: int | None, fault: Fault) -> Unresolved:
    name = f"{'?' if index is None else index}:{'?' if qid is None else qid}"
    return Unresolved(question_id=name, scene_index=index, qid=qid, file=fault.file, reason=fault.reason)


def _is_there(question: CuratedQuestion, clips: Clips) -> bool:
    return clips.paths.get(question.video.rpartition("/")[2]) == question.video


def _refuse(annotations: Annotations, unresolved: list[Unresolved], missing: list[str], videos: Path | None) -> None:
    """Raise what --strict does not let pass, if there is anything."""
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
    labelled: list[CuratedQuestion],
    splits: Mapping[str, list[CuratedQuestion]],
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
        lines.append(f"{len(missing)} clips are missing, the first is {missing[0]}")
    if refused := annotations.refused:
        lines.append(f"{len(refused)} entries of the zip point outside it and were not read, the first is '{refused[0]}'")
    for split in settings.split_names():
        if labelled and split not in splits and not (split == DEV and settings.dev_share == 0):
            lines.append(f"no scene fell into '{split}': there is no such split")
    return lines


def _split(labelled: list[CuratedQuestion], settings: Settings) -> dict[str, list[CuratedQuestion]]:
    """The questions by split; only splits that have any."""
    splits: dict[str, list[CuratedQuestion]] = {name: [] for name in settings.split_names()}
    for question in labelled:
        splits[settings.split or split_of(question.scene_index, settings.seed, settings.dev_share)].append(question)
    return {split: members for split, members in splits.items() if members}


def _labels(splits: Mapping[str, list[CuratedQuestion]], in_training_set: frozenset[str]) -> pl.DataFrame:
    rows = [
        {
            "question_id": question.question_id,
            "scene_index": question.scene_index,
            "qid": int(question.question_id.partition(":")[2]),
            "video": question.video,
            "removed_object": question.removed_object,
            "negated": question.negated,
            "n_choices": len(question.options),
            "n_correct": len(question.gold),
            "any_option": question.any_option.value,
            "correct_option": question.correct_option.value,
            "oracle": question.oracle.value,
            "category": question.category.value,
            "split": split,
            "in_train_set": question.question_id in in_training_set,
            "gold": ",".join(question.gold),
            "observer": ",".join(question.observer),
        }
        for split, members in splits.items()
        for question in members
    ]
    return pl.DataFrame(rows, schema=LABEL_COLUMNS).sort("scene_index", "qid")


LABEL_COLUMNS = pl.Schema(
    {
        "question_id": pl.String,
        "scene_index": pl.Int64,
        "qid": pl.Int64,
        "video": pl.String,
        "removed_object": pl.Int64,
        "negated": pl.Boolean,
        "n_choices": pl.Int64,
        "n_correct": pl.Int64,
        "any_option": pl.String,
        "correct_option": pl.String,
        "oracle": pl.String,
        "category": pl.String,
        "split": pl.String,
        "in_train_set": pl.Boolean,
        "gold": pl.String,
        "observer": pl.String,
    }
)
"""Columns of labels.parquet."""


def read_labels(folder: Path) -> pl.DataFrame:
    """labels.parquet of a curated folder.

    Raises:
        VtError: it is missing, damaged, or has other columns.
    """
    path = folder / curated.LABELS
    try:
        labels = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise VtError(f"{path}: cannot be read: {error}") from error
    if labels.schema != LABEL_COLUMNS:
        raise VtError(f"{path}: has the columns {', '.join(labels.columns)}, expected {', '.join(LABEL_COLUMNS)}")
    return labels


def check_out(out: Path, settings: Settings, questions: Path) -> None:
    """See, before work starts, that `out` is new, empty, or the folder of an earlier run with the same settings.

    Raises:
        VtError: it holds another run or other files, or the questions file itself would be overwritten.
    """
    names = _file_names(settings)
    if questions.resolve().parent == out.resolve() and questions.name in names:
        raise VtError(f"--out {out}: {questions.name} would overwrite the questions file; choose another folder")
    if out.exists() and not out.is_dir():
        raise VtError(f"--out {out}: is a file, expected a folder")
    if (out / curated.MANIFEST).is_file():
        _refuse_other_run(out, curated.raw_manifest(out), {"settings": settings.as_json()})
        return
    others = [path.name for path in sorted(out.iterdir()) if not path.name.startswith(".")] if out.is_dir() else []
    strange = [name for name in others if name not in names and not _PAGES.fullmatch(name)]
    if strange:
        raise VtError(
            f"--out {out}: is not empty and no curated folder with these settings (it has {strange[0]}); choose another"
        )


def _refuse_other_run(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if not isinstance(before.get("settings"), dict):
        raise VtError(f"--out {out}: its {curated.MANIFEST} is not of a curated folder; choose another folder")
    for part, value in now.items():
        old = before.get(part)
        if old == value:
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            key = next(key for key in {**value, **old} if old.get(key) != value.get(key))
            part, old, value = f"{part}.{key}", old.get(key), value.get(key)
        raise VtError(
            f"--out {out}: holds another run ({part} is {old!r} there, {value!r} now); choose another folder or delete it"
        )


def _file_names(settings: Settings) -> set[str]:
    """Names of the data files and folders that a run writes."""
    splits = settings.split_names()
    names = {*_FIXED_NAMES, *(f"{split}.json" for split in splits)}
    if TRAIN in splits:
        names |= {f"{TRAIN}_{category}.json" for category in Category}
    return names | {export.file_name(split) for export in settings.exports for split in splits}


def write(curation: Curation, out: Path, pages: Mapping[str, bytes]) -> None:
    """Write a curated folder, the manifest last; a folder that an earlier run with the same settings wrote is redone.

    pages: the report's files, by name.

    Raises:
        VtError: the folder holds another run, or cannot be written to.
    """
    settings = msgspec.convert(curation.manifest["settings"], Settings)
    if (out / curated.MANIFEST).is_file():
        now = {part: curation.manifest[part] for part in ("settings", "inputs", "videos_root")}
        _refuse_other_run(out, curated.raw_manifest(out), now)
        (out / curated.MANIFEST).unlink()

    buffer = BytesIO()
    curation.labels.write_parquet(buffer)
    store.write_bytes(out / curated.LABELS, buffer.getvalue())
    store.write_jsonl(out / curated.UNRESOLVED, curation.unresolved)
    store.write_jsonl(out / curated.SCENES, curation.scenes.values())

    chosen = set(curation.labels.filter("in_train_set")["question_id"])
    written: dict[str, list[CuratedQuestion]] = {}
    for split in settings.split_names():
        members = curation.questions.get(split, [])
        if split == TRAIN:
            members = [question for question in members if question.question_id in chosen]
            for category in Category:
                part = [question for question in members if question.category is category]
                store.write_json(out / f"{TRAIN}_{category}.json", _numbered(part))
        written[split] = _numbered(members)
        store.write_json(out / f"{split}.json", written[split])
        for export in settings.exports:
            store.write_jsonl(out / export.file_name(split), map(export.row, written[split]))
    if settings.save_dataset:
        filled = {split: members for split, members in written.items() if members}
        store.write_folder(out / DATASET, lambda folder: save_dataset(filled, folder))
    for name, page in pages.items():
        store.write_bytes(out / name, page)
    store.write_json(out / curated.MANIFEST, curation.manifest)


def _numbered(questions: Iterable[CuratedQuestion]) -> list[CuratedQuestion]:
    """The questions with their rows as `problem_id`."""
    return [msgspec.structs.replace(question, problem_id=row) for row, question in enumerate(questions, start=1)]
