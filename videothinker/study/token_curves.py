"""Accuracy against tokens: what an arm that answers twice would have come to at any stop, from replies that had none."""

from collections.abc import Mapping

import numpy as np

from videothinker.diagnose.stop_sweep import Whole, stopped
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
    whole: dict[int, Whole] = {}
    for seed, run in runs.items():
        if (told := _whole(run)) is None:
            return None
        whole[seed] = told
    sure = [told.confidence[runs[seed].asked & (told.confidence >= 0)] for seed, told in whole.items()]
    confidences = np.concatenate(sure) if sure else np.zeros(0)
    if not len(confidences):
        return None
    stops = thresholds(confidences)
    found: dict[str, list[TokenPoint]] = {}
    for pool in _POOLS:
        some = {seed: run.where(pool, rule) for seed, run in runs.items()}
        asked = [(told, some[seed]) for seed, told in whole.items() if some[seed].any()]
        found[pool] = [
            TokenPoint(stop_at, *map(float, np.mean([_values(told, where, stop_at) for told, where in asked], 0)))
            for stop_at in (stops if asked else ())
        ]
    return found


def thresholds(confidences: Floats) -> list[float | None]:
    """Where a curve stops: always (0), at confidences that are spread evenly over the ranks of those given, and never.

    The lowest confidence is left out, because stopping there stops whatever can be stopped, as 0 does.
    """
    spread = np.unique(np.quantile(confidences, np.linspace(0, 1, MOST_POINTS + 1), method="lower"))
    return [0.0, *map(float, spread[1:]), None]


def _whole(run: Scored) -> Whole | None:
    """What tells of a run's stops; None where it does not tell what one would have come to, or tokens were not counted."""
    if run.sure is None or run.first is None or run.first_tokens is None or run.tokens is None:
        return None
    if np.isnan(run.tokens[run.asked]).any():
        return None
    return Whole(confidence=run.sure, first=run.first, second=run.exact, first_tokens=run.first_tokens, tokens=run.tokens)


def _values(whole: Whole, where: Mask, stop_at: float | None) -> tuple[float, float, float]:
    """Share stopped, mean tokens and accuracy of one run on some of its questions."""
    then = stopped(whole, stop_at)
    return float(then.ends[where].mean()), float(then.tokens[where].mean()), float(then.right[where].mean())
