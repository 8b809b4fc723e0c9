"""What a stop behind the first answer saved and cost: the same checkpoint asked the same with and without it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from videothinker.diagnose.estimates import clustered_change, clustered_share, share
from videothinker.diagnose.identity import identity
from videothinker.diagnose.metrics import by_category
from videothinker.diagnose.runs import Run
from videothinker.diagnose.twice import answers_twice, columns
from videothinker.records.metrics import Estimate

ALIKE = ("device", "dtype", "attention", "engine", "batch_size", "endpoint", "versions")
"""What `fed` of two run.json has to say alike for their seconds to be held against each other."""


class Pair(NamedTuple):
    """Two runs that differ in the stop alone."""

    whole: Run
    """The one whose replies were all written to their ends."""
    stopped: Run

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Seconds in which `whole` and `stopped` wrote; None where one does not say, or they were not asked alike."""
        first, second = ((run.record.fed or {}) for run in self)
        if any(first.get(name) != second.get(name) for name in ALIKE):
            return None
        found = [seconds_of_writing(run) for run in self]
        return None if found[0] is None or found[1] is None else (found[0], found[1])


class Saved(NamedTuple):
    """Both runs on the questions of one category that both were asked."""

    n_questions: int
    n_scenes: int
    whole: Estimate
    """Share that is right without the stop."""
    stopped: Estimate
    """Share that is right with it."""
    change: Estimate
    """`stopped` minus `whole`, paired by question."""
    tokens: tuple[float, float] | None
    """Mean tokens per reply without and with the stop; None where a reply's are not known."""


def seconds_of_writing(run: Run) -> float | None:
    """Seconds in which replies were written, of all sessions and processes together; None where a run does not say."""
    seconds = (run.record.fed or {}).get("seconds")
    found = seconds.get("generate") if isinstance(seconds, dict) else None
    return float(found) if isinstance(found, int | float) else None


def pairs(runs: Sequence[Run]) -> list[Pair]:
    """Every run with a stop beside one of the same checkpoint, asked the same without one; runs that have none are left out."""
    wholes = {_but_for_the_stop(run): run for run in reversed(runs) if _is_whole(run)}
    stopped = [run for run in runs if answers_twice(run.predictions) and not _is_whole(run)]
    return [Pair(wholes[key], run) for run in stopped if (key := _but_for_the_stop(run)) in wholes]


def saved(pair: Pair) -> dict[str, Saved]:
    """By "all" and category of the labels, on the questions that both runs were asked."""
    rows = [{row.question_id: row for row in run.predictions} for run in pair]
    questions = [one for one in pair.whole.questions if all(one.question_id in each for each in rows)]
    found = [columns(questions, [each[one.question_id] for one in questions]) for each in rows]
    whole, stopped = found
    both = whole.asked & stopped.asked
    by: dict[str, Saved] = {}
    for name, pool in by_category(questions, pair.whole.labels).items():
        where = pool & both
        means = [each.tokens[where].mean() for each in found] if where.any() else [np.nan]
        by[name] = Saved(
            n_questions=int(where.sum()),
            n_scenes=len(np.unique(whole.group[where])),
            whole=clustered_share(*share(whole.second, where), whole.group),
            stopped=clustered_share(*share(stopped.second, where), whole.group),
            change=clustered_change(*share(stopped.second - whole.second, where), whole.group),
            tokens=None if np.isnan(means).any() else (float(means[0]), float(means[1])),
        )
    return by


def _is_whole(run: Run) -> bool:
    return answers_twice(run.predictions) and run.record.settings.get("stop_at") is None


def _but_for_the_stop(run: Run) -> str:
    """What is equal for two runs that differ in the stop, and in their names, alone."""
    said: dict[str, Any] = identity(run.record)
    settings = {name: value for name, value in said["settings"].items() if name != "stop_at"}
    return repr({**said, "name": None, "settings": sorted(settings.items())})
