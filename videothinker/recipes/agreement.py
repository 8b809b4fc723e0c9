"""How far label files agree, where nothing says which is right: by pairs, and the questions about which they do not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from videothinker import store, tables
from videothinker.curated import Curated, read_label_sets
from videothinker.diagnose.estimates import NOTHING, Codes, clustered_kappa, clustered_share
from videothinker.errors import VtError
from videothinker.records import Category, LabelSet, Question
from videothinker.records.agreement import Agreement, Pair, Rater

_COLUMNS = {"question_id": "string", "group": "string", "text": "string", "n_labels": "int64"}


def named_files(given: Sequence[str]) -> dict[str, Path]:
    """Label files by name: the one given, as NAME=FILE, else the file's own without .parquet.

    Raises:
        VtError: there are fewer than two, or two have one name.
    """
    found: dict[str, Path] = {}
    for each in given:
        name, equals, file = each.partition("=")
        if not equals or "/" in name or Path(each).exists():
            name, file = Path(each).stem, each
        if name in found:
            raise VtError(f"{found[name]} and {file}: both are called '{name}'; name one of them, as NAME={file}")
        found[name] = Path(file)
    if len(found) < 2:
        raise VtError(f"{', '.join(given) or 'no label file'}: expected two label files or more to hold against each other")
    return found


def agreement(curated: Curated, files: Mapping[str, Path], out: Path | None = None) -> Agreement:
    """How far label files agree about a data set's questions; intervals are clustered by clip.

    A file with several label sets, as the folder's own, counts as several, named NAME/RULE. Questions that a file lacks are
    counted by file, and are in no pair with it. out: a .parquet or .json file for the questions that are not labelled alike.

    Raises:
        VtError: a file is none of labels or labels none of the questions, or `out` ends otherwise or is one of them.
    """
    if out is not None and out.suffix not in (".parquet", ".json"):
        raise VtError(f"--out {out}: expected the name of a file that ends in .parquet or .json")
    if out is not None and out.resolve() in {path.resolve() for path in files.values()}:
        raise VtError(f"--out {out}: is one of the label files, which the list would replace; name another file")
    asked = {one.question.question_id: one.question for one in curated.members}
    sets = {name: one for each, path in files.items() for name, one in _sets(each, path, asked, curated).items()}
    if clash := next((name for name in sets if name in _COLUMNS), None):
        raise VtError(f"{clash}: is a column of the list of disagreements; name that file otherwise, as NAME=FILE")
    labelled = {key for one in sets.values() for key in one.by_question if key in asked}
    questions = [question for key, question in asked.items() if key in labelled]
    raters = [_rater(name, one, asked, len(questions)) for name, one in sets.items()]
    apart = [question for question in questions if len(_kinds(question, sets)) > 1]
    found = Agreement(
        n_questions=len(questions),
        raters=raters,
        pairs=[_pair(one, other, sets, questions) for one, other in combinations(sets, 2)],
        n_all=sum(all(one.question_id in each.by_question for each in sets.values()) for one in questions),
        n_apart=len(apart),
        provenance={**store.provenance(), "data": str(curated.folder), "labels": {name: str(p) for name, p in files.items()}},
    )
    if out is not None:
        _write(out, apart, sets)
    return found


def _sets(name: str, path: Path, asked: Mapping[str, Question], curated: Curated) -> dict[str, LabelSet]:
    sets = read_label_sets(path)
    if not any(key in asked for one in sets for key in one.by_question):
        raise VtError(f"{path}: labels none of the {len(asked):,} questions of {curated.folder}; it is about other data")
    return {name if len(sets) == 1 else f"{name}/{one.rule}": one for one in sets}


def _rater(name: str, labels: LabelSet, asked: Mapping[str, Question], n_questions: int) -> Rater:
    kinds = Counter(label.category for key, label in labels.by_question.items() if key in asked)
    return Rater(
        name=name,
        observer=labels.observer,
        rule=labels.rule,
        n_labels=kinds.total(),
        n_lacking=n_questions - kinds.total(),
        n_strange=sum(key not in asked for key in labels.by_question),
        categories={kind.value: kinds[kind] for kind in Category},
    )


def _kinds(question: Question, sets: Mapping[str, LabelSet]) -> set[Category]:
    """The categories that a question was put into."""
    labels = (one.by_question.get(question.question_id) for one in sets.values())
    return {label.category for label in labels if label is not None}


def _pair(one: str, other: str, sets: Mapping[str, LabelSet], questions: Sequence[Question]) -> Pair:
    first, second = sets[one].by_question, sets[other].by_question
    both = [question for question in questions if question.question_id in first and question.question_id in second]
    kinds = [(first[question.question_id].category, second[question.question_id].category) for question in both]
    clips: dict[str, int] = {}
    cluster: Codes = np.array([clips.setdefault(question.group, len(clips)) for question in both], dtype=np.int64)
    order = list(Category)
    codes: tuple[Codes, Codes] = (
        np.array([order.index(kind) for kind, _ in kinds], dtype=np.int64),
        np.array([order.index(kind) for _, kind in kinds], dtype=np.int64),
    )
    alike = (codes[0] == codes[1]).astype(np.float64)
    decided = np.array([Category.UNSURE not in pair for pair in kinds], dtype=np.float64)
    found = Counter(kinds)
    return Pair(
        one=one,
        other=other,
        n_questions=len(both),
        n_clips=len(clips),
        alike=clustered_share(alike, np.ones(len(both)), cluster) if both else NOTHING,
        kappa=clustered_kappa(*codes, cluster),
        n_decided=int(decided.sum()),
        alike_decided=clustered_share(alike * decided, decided, cluster) if decided.any() else NOTHING,
        counts={kind.value: {each.value: found[kind, each] for each in Category} for kind in Category},
    )


def _write(out: Path, apart: Sequence[Question], sets: Mapping[str, LabelSet]) -> None:
    """The questions that are not labelled alike, with what each file says of them; null where it says nothing."""
    rows: list[tables.Row] = []
    for question in apart:
        labels = {name: one.by_question.get(question.question_id) for name, one in sets.items()}
        said = {name: None if label is None else label.category.value for name, label in labels.items()}
        about = {"question_id": question.question_id, "group": question.group, "text": question.text}
        rows.append({**about, "n_labels": sum(each is not None for each in said.values()), **said})
    if out.suffix == ".json":
        store.write_json(out, rows)
    else:
        store.write_bytes(out, tables.to_bytes(rows, _COLUMNS | dict.fromkeys(sets, "string")))
