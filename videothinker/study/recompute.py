"""Compute a study's numbers again from its answer sheets, and compare them with those of its results.json."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import store
from videothinker.errors import VtError
from videothinker.records.study_results import RESULTS, Level, Results, Verdict
from videothinker.study.collect import findings
from videothinker.study.sheet_columns import column_of
from videothinker.study.sheets import Sheet, read_sheet, sheet_files

TOLERANCE = 1e-9
"""Largest difference that rounding explains: sums may run in another order under another version of numpy."""


class Recomputed(NamedTuple):
    """What came out the second time."""

    n_numbers: int
    """Numbers of levels, differences, contrasts, thinking and curves that were compared."""
    differing: list[str]
    """Where a number is not the same, in words: all of them, in the order of the file."""
    verdicts: list[Verdict]
    """Those of the numbers that were computed again."""


def recompute(folder: Path) -> Recomputed:
    """Every value and interval of the study whose report lies in `folder`, from `folder`/answers.

    Raises:
        VtError: there are no results or no answers, or they cannot be read, or a sheet lacks a run that the results are about.
    """
    results = store.read_json(folder / RESULTS, Results)
    paths = sheet_files(folder, results, "so its numbers cannot be computed again")
    sheets = {name: read_sheet(path) for name, path in paths.items()}
    for level in results.levels:
        _check_runs(paths[level.ask], sheets[level.ask], level)
    found = findings(results.study, sheets, results.trainings)
    differing, n_numbers = [], 0
    for name in ("levels", "differences", "contrasts", "thinking", "curves"):
        told, anew = (dict(_leaves(msgspec.to_builtins(getattr(one, name)), (name,))) for one in (results, found))
        n_numbers += sum(isinstance(value, float) for value in anew.values())
        differing += [".".join(map(str, place)) for place in (told | anew) if not _same(told.get(place), anew.get(place))]
    before = {one.claim.text: one for one in results.verdicts}
    differing += [
        f"verdict of: {text}"
        for text, decision in ((one.claim.text, one.decision) for one in found.verdicts)
        if text not in before or before[text].decision != decision
    ]
    n_open = {text: one.open for text, one in before.items()}  # which no sheet says
    verdicts = [msgspec.structs.replace(one, open=n_open.get(one.claim.text, 0)) for one in found.verdicts]
    return Recomputed(n_numbers, differing, verdicts)


def _check_runs(path: Path, sheet: Sheet, level: Level) -> None:
    """Check that the sheet has every run that the arm's numbers rest on.

    Raises:
        VtError: it lacks one.
    """
    seeds = dict.fromkeys(seed for value in level.measures.values() for seed in value.per_seed)
    if lacking := [column_of(level.arm, seed) for seed in seeds if (level.arm, seed) not in sheet.answers]:
        raise VtError(
            f"{path}: has no column {lacking[0]!a}, and {RESULTS} has numbers of that run; put its columns back, or draw the"
            " report again (--report-only)"
        )


def _leaves(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every number and text inside, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*place, index))
    else:
        yield place, value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)
