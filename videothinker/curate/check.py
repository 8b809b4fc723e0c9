"""Check a curated folder, with no model: every gold answer earns 1.0, and no question is lost between the files."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import answers, curated, store, tables
from videothinker.answers.form import n_options_right
from videothinker.curate.export import video_r1_row
from videothinker.curated import TRAIN, Curated
from videothinker.outside import stays_within
from videothinker.records import DECIDED, Question, Rule, Unresolved, clevrer, label, manifest, question
from videothinker.records.video_r1 import ClevrerRow, VideoR1Row


class _Counted(msgspec.Struct):
    n_read: int
    n_labelled: int
    n_unresolved: int


class _Said(msgspec.Struct):
    """What manifest.json says of the other files, apart from what every reader relies on."""

    questions: _Counted
    counts: dict[str, Any] = {}
    """For CLEVRER: number of questions by rule, split and category."""


class Checked(NamedTuple):
    """What was looked at, and what is wrong with it."""

    n_read: int
    n_labelled: int
    n_unresolved: int
    n_graded: int
    """Questions whose gold answer was graded."""
    problems: list[str]
    """One line per problem; empty if the folder is sound."""


def check_folder(folder: Path) -> Checked:
    """Grade every gold answer and compare the folder's files with each other.

    Raises:
        VtError: it is not a finished curated folder, or a file cannot be read at all.
    """
    data = curated.open_curated(folder, is_trusted=False)
    said = store.read_json(folder / manifest.FILE, _Said)
    members = data.members
    unresolved = store.read_jsonl(folder / manifest.UNRESOLVED, Unresolved)
    problems = _check_questions(data)
    n_read, n_labelled, n_unresolved = msgspec.structs.astuple(said.questions)
    for part, n, found in (("n_labelled", n_labelled, len(members)), ("n_unresolved", n_unresolved, len(unresolved))):
        if n != found:
            problems.append(f"{manifest.FILE}: questions.{part} is {n}, the files have {found}")
    if n_read != len(members) + len(unresolved):
        problems.append(f"{manifest.FILE}: {n_read} questions read, but {len(members)} usable + {len(unresolved)} unresolved")
    problems += _check_labels(data)
    table: dict[str, tables.Row] = {}
    if data.manifest.rule is not None:
        table = {row["question_id"]: row for row in tables.read(folder / clevrer.FILE, clevrer.COLUMNS)}
        problems += _check_clevrer(data, said.counts, table)
    problems += _check_exports(data, table)
    problems += [
        f"{name}: is not the file that {manifest.FILE} tells of"
        for name, digest in data.manifest.files.items()
        if not _is_there(folder, name) or store.sha256_file(folder / name) != digest
    ]
    return Checked(n_read, len(members), len(unresolved), len(members), problems)


def _is_there(folder: Path, name: str) -> bool:
    """Whether the folder has a file of that name, which may be any text."""
    return stays_within(name) and os.path.isfile(folder / name)  # noqa: PTH113  Path.is_file raises for what is too long


def grade_gold(asked: Question) -> str | None:
    """Why the question's own solution does not earn full marks from the grader; None if it does."""
    form, n_options, written = answers.form_of(asked), len(asked.options), answers.solution(asked)
    chosen = form.parse(f"<think></think>{written}", n_options)
    if chosen != asked.gold:
        return f"solution {written} reads as {chosen}, expected gold {asked.gold}"
    if not answers.is_exact(chosen, asked.gold) or form.soft(chosen, asked.gold) != 1.0:
        return f"gold answer {asked.gold} does not earn 1.0"
    if n_options_right(chosen, asked.gold, n_options) != n_options:
        return f"gold answer {asked.gold} has wrong options"
    return None


def _check_questions(data: Curated) -> list[str]:
    """Where questions.parquet contradicts itself or the manifest's counts."""
    problems = []
    where: dict[str, set[str]] = {}
    for asked, split, _ in data.members:
        where.setdefault(asked.group, set()).add(split)
        if (reason := grade_gold(asked)) is not None:
            problems.append(f"{question.FILE}: question {asked.question_id}: {reason}")
    ids = Counter(one.question.question_id for one in data.members)
    problems += [f"{question.FILE}: question {name} is there {n} times" for name, n in ids.items() if n > 1]
    problems += [
        f"{question.FILE}: questions about {group} are in the splits {', '.join(sorted(splits))}"
        for group, splits in where.items()
        if len(splits) > 1
    ]
    if (found := dict(Counter(one.split for one in data.members))) != data.manifest.splits:
        problems.append(f"{manifest.FILE}: splits are {data.manifest.splits}, {question.FILE} has {found}")
    return problems


def _check_labels(data: Curated) -> list[str]:
    """Where labels do not fit the questions: each has to be of one of them, and the collision log has to label them all."""
    ids = {one.question.question_id for one in data.members}
    problems = []
    for each in data.labels.sets:
        labelled = each.by_question.keys()
        problems += [
            f"labels {each.name}: question {strange} is not in {question.FILE}" for strange in sorted(labelled - ids)[:1]
        ]
        if each.observer == label.LOG and (lacking := sorted(ids - labelled)):
            problems.append(f"labels {each.name}: lack {len(lacking)} questions, {lacking[0]} among them")
    return problems


def _check_clevrer(data: Curated, said: Mapping[str, Any], table: dict[str, tables.Row]) -> list[str]:
    """Where labels.parquet (`table`, by question_id), label files, scenes and the manifest's counts (`said`) disagree."""
    sets = {each.rule: each.by_question for each in data.labels.sets if each.observer == label.LOG}
    problems = [f"labels: lack those of the rule {rule}" for rule in Rule if data.members and rule not in sets]
    if table.keys() != {one.question.question_id for one in data.members}:
        problems.append(
            f"{clevrer.FILE}: has {len(table)} questions, {question.FILE} {len(data.members)}, or not the same ones"
        )
        return problems
    for asked, split, in_train_set in data.members:
        row = table[asked.question_id]
        told: list[tuple[str, Any]] = [
            ("split", split),
            ("in_train_set", in_train_set),
            ("gold", tables.joined(asked.gold)),
            ("video", asked.path),
            ("category", data.labels.category(asked.question_id)),
        ]
        for rule in Rule:
            if (found := sets.get(rule, {}).get(asked.question_id)) is not None:
                told += [(rule.column, found.category), ("observer", tables.joined(found.answer))]
        problems += [
            f"{clevrer.FILE}: question {asked.question_id}: {key} is {row[key]}, elsewhere {value}"
            for key, value in told
            if row[key] != value
        ]
        scene = data.scenes.get(asked.group)
        if scene is None or row["removed_object"] not in {thing.object_id for thing in scene.objects}:
            problems.append(
                f"{clevrer.FILE}: question {asked.question_id}: removed object {row['removed_object']} is not in scene"
                f" {asked.group}"
            )
    for rule in Rule:
        cells = Counter((row["split"], row[rule.column]) for row in table.values())
        counts = {split: {kind: cells[split, kind] for kind in DECIDED} for split in data.manifest.splits}
        if said.get(rule) != counts:
            problems.append(f"{manifest.FILE}: counts of {rule} are not those of {clevrer.FILE}, {counts}")
    return problems


def _check_exports(data: Curated, table: dict[str, tables.Row]) -> list[str]:
    """Where a split's Video-R1 rows are not its questions with the same answers and labels, numbered from 1."""
    problems = []
    kind: Any = VideoR1Row if data.manifest.rule is None else ClevrerRow
    for split in data.manifest.splits:
        rows = store.read_json(data.folder / f"{split}.json", list[kind])
        problems += _check_export(f"{split}.json", rows, data.questions(split), data, table)
        if split == TRAIN and data.labels.own is not None:
            for category in DECIDED:
                name = f"{TRAIN}_{category}.json"
                part = store.read_json(data.folder / name, list[kind])
                members = [asked for asked in data.questions(TRAIN) if data.labels.category(asked.question_id) is category]
                problems += _check_export(name, part, members, data, table)
    return problems


_NOT_COMPARED = ("problem_id", "problem_type", "process", "original_question_type")
"""Fields of a Video-R1 row that do not depend on its question."""
_FROM_TABLE = ("scene_index", "removed_object", "negated", *(rule.column for rule in Rule))
"""Fields of CLEVRER's rows that labels.parquet has as well."""


def _check_export(
    name: str,
    rows: list[VideoR1Row | ClevrerRow],
    questions: list[Question],
    data: Curated,
    table: dict[str, tables.Row],
) -> list[str]:
    problems = []
    if [row.problem_id for row in rows] != list(range(1, len(rows) + 1)):
        problems.append(f"{name}: problem_id does not count the rows from 1")
    if [row.question_id for row in rows] != [asked.question_id for asked in questions]:
        problems.append(
            f"{name}: has {len(rows)} questions, {question.FILE} has {len(questions)} for it, and not the same ones"
        )
        return problems
    for row, asked in zip(rows, questions, strict=True):
        here = msgspec.structs.asdict(row)
        there = msgspec.structs.asdict(video_r1_row(asked, data.labels))
        if (more := table.get(asked.question_id)) is not None:
            there |= {key: more[key] for key in _FROM_TABLE}
        problems += [
            f"{name}: question {asked.question_id}: {key} is {here[key]}, elsewhere {value}"
            for key, value in there.items()
            if key in here and key not in _NOT_COMPARED and here[key] != value  # CLEVRER's rows have no parts
        ]
    return problems
