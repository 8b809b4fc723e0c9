"""Check a curated folder, with no model: every gold answer earns 1.0, and no question is lost between the files."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from videothinker import curated, mcq, store
from videothinker.curate.build import Unresolved, read_labels
from videothinker.curate.split import TRAIN
from videothinker.records import Category, CuratedQuestion, Rule


class Checked(NamedTuple):
    """What was looked at, and what is wrong with it."""

    n_read: int
    n_labelled: int
    n_unresolved: int
    n_graded: int
    """Questions in split files whose gold answer was graded."""
    problems: list[str]
    """One line each; empty: the folder is sound."""


def check_folder(folder: Path) -> Checked:
    """Grade every gold answer and compare the folder's files with each other.

    Raises:
        VtError: not a finished curated folder, or a file cannot be read at all.
    """
    data = curated.open_curated(folder)
    manifest = curated.raw_manifest(folder)
    labels = read_labels(folder)
    unresolved = store.read_jsonl(folder / curated.UNRESOLVED, Unresolved)
    questions = {split: data.questions(split) for split in data.manifest.splits}
    scenes = data.scenes()

    problems = _check_labels(labels, data, manifest)
    for part, found in (("n_labelled", labels.height), ("n_unresolved", len(unresolved))):
        if (said := manifest["questions"][part]) != found:
            problems.append(f"manifest.json: questions.{part} is {said}, the files have {found}")
    if (n_read := manifest["questions"]["n_read"]) != labels.height + len(unresolved):
        problems.append(f"manifest.json: {n_read} questions read, but {labels.height} labelled + {len(unresolved)} unresolved")
    for split, members in questions.items():
        name = f"{split}.json"
        rows = labels.filter(pl.col("split") == split)
        problems += _check_split(name, members, rows.filter("in_train_set") if split == TRAIN else rows)
        problems += [
            f"{name}: question {q.question_id}: removed object {q.removed_object} is not in scene {q.scene_index}"
            for q in members
            if q.scene_index not in scenes or q.removed_object not in {o.object_id for o in scenes[q.scene_index].objects}
        ]
    problems += _check_training_parts(folder, questions.get(TRAIN, []))
    n_graded = sum(map(len, questions.values()))
    return Checked(n_read, labels.height, len(unresolved), n_graded, problems)


def grade_gold(question: CuratedQuestion) -> str | None:
    """Why the question's own solution does not earn full marks from the grader; None if it does."""
    n_options = len(question.options)
    chosen = mcq.parse_reply(f"<think></think>{question.solution}", n_options)
    if chosen != question.gold:
        return f"solution {question.solution} reads as {chosen}, expected gold {question.gold}"
    if not mcq.is_exact(chosen, question.gold) or mcq.soft_score(chosen, question.gold) != 1.0:
        return f"gold answer {question.gold} does not earn 1.0"
    if mcq.n_options_right(chosen, question.gold, n_options) != n_options:
        return f"gold answer {question.gold} has wrong options"
    return None


def _check_labels(labels: pl.DataFrame, data: curated.Curated, manifest: dict[str, Any]) -> list[str]:
    """labels.parquet against itself and the manifest's counts."""
    problems = []
    if labels["question_id"].is_duplicated().any():
        problems.append(f"{curated.LABELS}: a question_id is there twice")
    scattered = labels.group_by("scene_index").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
    if scattered.height:
        problems.append(f"{curated.LABELS}: scene {scattered['scene_index'][0]} is in more than one split")
    rule = data.manifest.rule
    if (labels["category"] != labels[rule.column]).any():
        problems.append(f"{curated.LABELS}: category is not what {rule} says")
    if (found := dict(Counter(labels["split"]))) != data.manifest.splits:
        problems.append(f"manifest.json: splits are {data.manifest.splits}, {curated.LABELS} has {found}")
    for each in Rule:
        cells = Counter(labels.select("split", each.column).iter_rows())
        counts = {split: {kind: cells[split, kind] for kind in Category} for split in data.manifest.splits}
        if manifest["counts"][each] != counts:
            problems.append(f"manifest.json: counts of {each} are not those of {curated.LABELS}, {counts}")
    return problems


def _check_split(name: str, questions: list[CuratedQuestion], rows: pl.DataFrame) -> list[str]:
    """One split file: gold answers, row numbers, and the same questions with the same labels as in labels.parquet."""
    problems = [
        f"{name}: question {question.question_id}: {reason}"
        for question in questions
        if (reason := grade_gold(question)) is not None
    ]
    if [question.problem_id for question in questions] != list(range(1, len(questions) + 1)):
        problems.append(f"{name}: problem_id does not count the rows from 1")
    here = {question.question_id: _label(question) for question in questions}
    there = {row.pop("question_id"): row for row in rows.select("question_id", *_COMPARED).iter_rows(named=True)}
    if here.keys() != there.keys() or len(here) != len(questions):
        problems.append(
            f"{name}: has {len(questions)} questions, {curated.LABELS} has {len(there)} for it, and not the same ones"
        )
    else:
        problems += [
            f"{name}: question {question_id} differs from {curated.LABELS}: {label} there {there[question_id]}"
            for question_id, label in here.items()
            if label != there[question_id]
        ]
    return problems


_COMPARED = ("category", "any_option", "correct_option", "oracle", "gold", "observer", "removed_object", "negated", "video")


def _label(question: CuratedQuestion) -> dict[str, object]:
    """What labels.parquet says of a question, from its record."""
    fields = msgspec.to_builtins(question)
    return {name: ",".join(fields[name]) if name in ("gold", "observer") else fields[name] for name in _COMPARED}


def _check_training_parts(folder: Path, training: list[CuratedQuestion]) -> list[str]:
    """train_observational.json and train_inferential.json: together train.json, each of its category."""
    problems = []
    for category in Category if training else ():
        name = f"{TRAIN}_{category}.json"
        part = {question.question_id for question in store.read_json(folder / name, list[CuratedQuestion])}
        if part != {question.question_id for question in training if question.category is category}:
            problems.append(f"{name}: is not the {category} part of {TRAIN}.json")
    return problems
