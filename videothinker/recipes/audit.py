"""Judge labels by eye: a page with drawn questions, and what its verdicts say about the labels' precision."""

import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from videothinker import store
from videothinker.curate.audit import drawn
from videothinker.curated import Curated, read_label_sets
from videothinker.diagnose.estimates import NOTHING, clustered_share
from videothinker.errors import VtError
from videothinker.records import Category, Estimate, Verdicts
from videothinker.reports.page import render


class Judged(NamedTuple):
    """What verdicts say of the labels of one category."""

    category: Category
    n_judged: int
    """Questions judged one way or the other."""
    n_unclear: int
    """Questions of which the person could not tell; they count as neither right nor wrong."""
    precision: Estimate
    """Of the judged ones, the share that the person puts into the same category."""


def write_sheet(curated: Curated, labels: Path, out: Path, *, n: int = 50, seed: int = 42) -> int:
    """Write the page; how many questions are on it.

    Raises:
        VtError: `out` is no .html, `n` is less than 1, or the label file is none, or not one about this data.
    """
    if out.suffix != ".html":
        raise VtError(f"--out {out}: expected the name of a page that ends in .html")
    if n < 1:
        raise VtError(f"--questions is {n}, expected 1 or more")
    sets = read_label_sets(labels)
    if len(sets) != 1:
        raise VtError(f"{labels}: holds {len(sets)} label sets, expected one")
    (one,) = sets
    asked = {member.question.question_id: member.question for member in curated.members}
    there = {key: label for key, label in one.by_question.items() if key in asked}
    if not there:
        raise VtError(f"{labels}: labels none of the {len(asked)} questions of {curated.folder}; it is about other data")
    chosen = drawn(there, n, seed)
    rows: list[dict[str, Any]] = []
    for label in chosen:
        question = asked[label.question_id]
        footage = curated.clip(question)
        path = None if footage is None or footage.is_image else quote(os.path.relpath(footage.path, out.resolve().parent))
        part = (
            ""
            if question.clip is None or question.clip.start is None
            else f"#t={question.clip.start:g}" + _end(question.clip.end)
        )
        rows.append(
            {
                "question_id": question.question_id,
                "group": question.group,
                "category": label.category.value,
                "reason": label.reason or "",
                "text": question.text,
                "options": list(question.options),
                "gold": list(question.gold),
                "clip": None if path is None else path + part,
            }
        )
    store.write_bytes(
        out, render("audit.html", sheet={"observer": one.observer, "rule": one.rule, "questions": rows}, n=len(rows))
    )
    return len(rows)


def read_verdicts(path: Path) -> tuple[Verdicts, list[Judged]]:
    """A sheet's verdicts, and the precision of each category with its interval, clustered by clip.

    Raises:
        VtError: the file is no sheet's, holds a question twice, or an unknown category or verdict.
    """
    found = store.read_json(path, Verdicts)
    known = {kind.value for kind in Category}
    ids = [one.question_id for one in found.verdicts]
    for one in found.verdicts:
        if one.category not in known or one.verdict not in known:
            raise VtError(
                f"{path}: question {one.question_id}: category {one.category!r} with verdict {one.verdict!r}, expected two of "
                f"{', '.join(sorted(known))}; save the sheet again"
            )
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise VtError(f"{path}: judges question {twice} twice; save the sheet again")
    if not ids:
        raise VtError(f"{path}: holds no verdict yet; judge questions on the sheet and save it again")
    return found, [_judged(found, kind) for kind in (Category.OBSERVATIONAL, Category.INFERENTIAL)]


def _judged(found: Verdicts, kind: Category) -> Judged:
    rows = [one for one in found.verdicts if one.category == kind.value]
    told = [one for one in rows if one.verdict != Category.UNSURE.value]
    groups: dict[str, int] = {}
    codes = np.array([groups.setdefault(one.group, len(groups)) for one in told], dtype=np.int64)
    right = np.array([one.verdict == kind.value for one in told], dtype=np.float64)
    precision = clustered_share(right, np.ones(len(told)), codes) if told else NOTHING
    return Judged(kind, len(told), len(rows) - len(told), precision)


def _end(end: float | None) -> str:
    return "" if end is None else f",{end:g}"
