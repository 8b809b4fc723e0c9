"""Accuracy against tokens: what an arm that answers twice would have come to at any stop, from replies that had none."""

from collections.abc import Mapping

import numpy as np

from videothinker.diagnose.stop_sweep import stopped
from videothinker.records import Rule
from videothinker.records.study_results import TokenPoint
from videothinker.study.scores import Floats, Mask, Scored

MOST_POINTS = 40
"""Confidences of a curve, beside always and never stopping."""
_POOLS = ("all", "observational", "inferential")


def curve(runs: Mapping[int, Scored], rule: Rule) -> dict[str, list[TokenPoint]] | None:
    """The points of an arm's runs by pool, from always stopping to never.

    Every seed has its own confidences, and all are stopped at the same ones, so that a point is one setting of `--stop-at`.
    None if some run does not tell what a stop would have come to, if some reply's tokens were not counted, or if no reply
    could be stopped at all.
    """
    sure = []
    for run in runs.values():
        if run.sure is None or run.tokens is None or np.isnan(run.tokens[run.asked]).any():
            return None
        sure.append(run.sure[run.asked & (run.sure >= 0)])
    confidences = np.concatenate(sure) if sure else np.zeros(0)
    if not len(confidences):
        return None
    stops = thresholds(confidences)
    found: dict[str, list[TokenPoint]] = {}
    for pool in _POOLS:
        some = {seed: run.where(pool, rule) for seed, run in runs.items()}
        asked = [(run, some[seed]) for seed, run in runs.items() if some[seed].any()]
        found[pool] = [
            TokenPoint(stop_at, *(float(value) for value in np.mean([_values(run, where, stop_at) for run, where in asked], 0)))
            for stop_at in (stops if asked else ())
        ]
    return found


def thresholds(confidences: Floats) -> list[float | None]:
    """Where a curve stops: always (0), at confidences that are spread evenly over the ranks of those given, and never.

    The lowest confidence is left out, because stopping there stops whatever can be stopped, as 0 does.
    """
    spread = np.unique(np.quantile(confidences, np.linspace(0, 1, MOST_POINTS + 1), method="lower"))
    return [0.0, *map(float, spread[1:]), None]


def _values(run: Scored, where: Mask, stop_at: float | None) -> tuple[float, float, float]:
    """Share stopped, mean tokens and accuracy of one run on some of its questions."""
    assert run.sure is not None
    assert run.first is not None
    assert run.first_tokens is not None
    assert run.tokens is not None
    then = stopped(
        stop_at,
        confidence=run.sure,
        first=run.first,
        second=run.exact,
        first_tokens=run.first_tokens,
        tokens=run.tokens,
    )
    return float(then.ends[where].mean()), float(then.tokens[where].mean()), float(then.right[where].mean())
