"""What stopping behind a sure first answer would save, and cost, found without asking anything again.

A run whose replies were all written to their ends says what it would have come to at any `--stop-at`, because a stopped reply
is the same one, cut: where the confidence is high enough the first answer counts and the tokens up to it, elsewhere the second
answer and all tokens.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec import UNSET

from videothinker import store
from videothinker.answers import form_of
from videothinker.diagnose.estimates import Floats, Mask, clustered_share, share
from videothinker.diagnose.grading import counts
from videothinker.diagnose.metrics import by_category
from videothinker.diagnose.runs import Run
from videothinker.diagnose.twice import Columns, answers_twice, columns
from videothinker.errors import VtError
from videothinker.records.twice import SWEEP_FILE, StopPoint, StopSweep

MOST_POINTS = 100
"""Confidences that a sweep tries, spread evenly over the ranks of those that occur."""


def sweep(run: Run) -> StopSweep:
    """What a run would have come to at every `--stop-at`.

    Raises:
        VtError: its replies do not answer twice, were stopped, or come without log-probabilities or numbers of tokens.
    """
    _check(run)
    found = columns(run.questions, run.predictions)
    every = by_category(run.questions, run.labels)
    sure = np.unique(found.confidence[found.asked & (found.confidence >= 0)])
    tried = sure if len(sure) <= MOST_POINTS else np.unique(np.quantile(sure, np.linspace(0, 1, MOST_POINTS), method="lower"))
    stops: list[float | None] = [*map(float, tried), None]
    points = sorted((point(found, every["all"], stop) for stop in stops), key=lambda one: (one.mean_tokens, one.stopped == 0))
    best = best_of(points)
    return StopSweep(
        run=run.name,
        split=str(run.record.settings.get("split", "")),
        n_questions=int(found.asked.sum()),
        n_scenes=len(np.unique(found.group[found.asked])),
        points=points,
        best=best,
        by_category={name: [point(found, where, stop) for stop in (0.0, best.stop_at, None)] for name, where in every.items()},
        by_score=any(form_of(question).by_score for question in run.questions),
        confirm=confirming(run, best.stop_at),
    )


class Whole(NamedTuple):
    """Replies that were written to their ends, as columns of shape (n_questions,): what tells what any stop would come to."""

    confidence: Floats
    """How sure the first answer was; -1 where there is none to stop behind."""
    first: Floats
    """The score of the first answer."""
    second: Floats
    """The same of the answer that the reply is graded by."""
    first_tokens: Floats
    """Tokens up to the end of the first answer; NaN where there is none to stop behind."""
    tokens: Floats
    """Tokens that were written; NaN where that is not known."""


class Stopped(NamedTuple):
    """Replies as they would have been with a stop, as columns of shape (n_questions,)."""

    ends: Mask
    """True where the reply ends behind its first answer."""
    right: Floats
    """The score of the answer that then counts."""
    tokens: Floats
    """The tokens that are then written; NaN where that is not known."""


def stopped(whole: Whole, stop_at: float | None) -> Stopped:
    """What whole replies would have been with this stop."""
    ends = np.zeros(whole.confidence.shape, np.bool_) if stop_at is None else whole.confidence >= stop_at
    return Stopped(ends, np.where(ends, whole.first, whole.second), np.where(ends, whole.first_tokens, whole.tokens))


def point(found: Columns, where: Mask, stop_at: float | None) -> StopPoint:
    """What the run would have come to with this stop, on some of the questions."""
    where = where & found.asked
    whole = Whole(
        confidence=found.confidence,
        first=found.first,
        second=found.second,
        first_tokens=found.first_tokens,
        tokens=found.tokens,
    )
    then = stopped(whole, stop_at)
    n = int(where.sum())
    return StopPoint(
        stop_at=stop_at,
        stopped=float(then.ends[where].mean()) if n else 0.0,
        mean_tokens=float(then.tokens[where].mean()) if n else 0.0,
        accuracy=clustered_share(*share(then.right, where), found.group),
    )


def best_of(points: Sequence[StopPoint]) -> StopPoint:
    """The point of fewest tokens whose accuracy is at least the highest one less that one's standard error.

    Where no standard error is known, with fewer than two groups, it is taken as 0. Of points with equal tokens it is the more
    accurate one.
    """
    highest = max(points, key=lambda one: (_value(one), -one.mean_tokens))
    enough = _value(highest) - (highest.accuracy.stderr or 0.0)
    return min((one for one in points if _value(one) >= enough), key=lambda one: (one.mean_tokens, -_value(one)))


def _value(one: StopPoint) -> float:
    return -1.0 if one.accuracy.value is None else one.accuracy.value


def confirming(run: Run, stop_at: float | None) -> str:
    """The command that asks the checkpoint other questions, with this stop."""
    asked = run.record
    words = ["vt", "diagnose", "--data", str(asked.provenance.get("data", "DATA")), "--split", "ANOTHER"]
    words += ["--model", f"{run.name}={asked.model}"]
    words += [word for url in (asked.endpoint or "").split(", ") if url for word in ("--endpoint", url)]
    words += ["--prompt", "twice", *([] if stop_at is None else ["--stop-at", f"{stop_at:.6g}"]), "--out", "STOPPED"]
    return shlex.join(words)


def stop_named(said: str) -> float | None:
    """The confidence that `--stop-at` names: a number, or what was found best in a stop-sweep.json. None never stops.

    Raises:
        VtError: it is neither.
    """
    try:
        return float(said)
    except ValueError:
        pass
    if not (file := Path(said)).is_file():
        raise VtError(
            f"--stop-at {said}: is no number and no file; expected a confidence from 0 to 1, or a {SWEEP_FILE} that `vt report "
            "--stop-sweep` wrote"
        )
    return store.read_json(file, StopSweep).best.stop_at


def _check(run: Run) -> None:
    name = run.name
    if not answers_twice(run.predictions):
        raise VtError(f"--stop-sweep: {name} was not asked to answer twice; ask it with `vt diagnose --prompt twice`")
    if run.record.settings.get("stop_at") is not None:
        raise VtError(
            f"--stop-sweep: {name} was stopped at {run.record.settings['stop_at']:g}, which cut its replies off; ask it "
            "without --stop-at"
        )
    rows = [row for row in run.predictions if counts(row)]
    if not any(row.first for row in rows):
        raise VtError(
            f"--stop-sweep: no reply of {name} begins with an answer that could be read, so there is none to stop behind; has"
            " it learnt to answer twice (vt train auto)?"
        )
    if not any(row.confidence is not UNSET for row in rows):
        raise VtError(
            f"--stop-sweep: no reply of {name} says how sure its first answer was; ask it anew, with log-probabilities"
        )
    lost = next((row.question_id for row in rows if row.tokens is None), None)
    if lost is not None:
        raise VtError(f"--stop-sweep: {name} does not say how many tokens its reply to {lost} has; ask it anew")
