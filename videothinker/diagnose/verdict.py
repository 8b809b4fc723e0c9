"""What a checkpoint's metrics show of it, in one line.

A sentence says what an interval shows. That an interval reaches over zero, or over chance, shows nothing, so no sentence says
that there is no gap, no reasoning or no shortcut: it says that none was shown.
"""

from videothinker.diagnose.estimates import FEWEST_GROUPS
from videothinker.records import Metrics, Pool

UNLABELLED = "no labels, so nothing says whether it looks or reasons"
"""The verdict on a checkpoint that is better than guessing, where nobody has labelled the questions."""
_GUESSING = "not shown to be better than guessing"


def verdict(metrics: Metrics) -> str:
    """One line on a checkpoint, for the end of its row; docs/metrics.md says where each wording begins."""
    if metrics.all.n_questions == 0:
        return "nothing was answered"
    if metrics.all.n_unparsed > metrics.all.n_questions / 2:
        return "mostly unreadable: says nothing about reasoning"
    if metrics.all.n_scenes < FEWEST_GROUPS:
        return f"too few clips to tell: {metrics.all.n_scenes}, {FEWEST_GROUPS} or more are needed"
    if metrics.rule is None:
        return UNLABELLED if _is_above_chance(metrics.all) else _GUESSING
    return _by_category(metrics)


def _by_category(metrics: Metrics) -> str:
    """The verdict on answers that can be held against labels."""
    seen, needed = metrics.observational, metrics.inferential
    if not seen.n_questions or not needed.n_questions:
        return "too few questions of both categories to tell"
    for kind, pool in (("observational", seen), ("inferential", needed)):
        if pool.n_scenes < FEWEST_GROUPS:
            return f"too few clips with {kind} questions to tell: {pool.n_scenes}, {FEWEST_GROUPS} or more are needed"
    if not _is_above_chance(seen) and not _is_above_chance(needed):
        return _GUESSING
    assert metrics.gap.ci95 is not None  # there are clips enough
    low, high = metrics.gap.ci95
    if low > 0:
        return _of_a_gap(metrics)
    return "better on inferential than on observational questions" if high < 0 else "no gap shown between looking and reasoning"


def _of_a_gap(metrics: Metrics) -> str:
    """The verdict on a checkpoint that is worse on inferential questions: are its errors the observer's?"""
    errors = metrics.shortcut_error_share
    if errors.ci95 is None or errors.chance is None or errors.ci95[0] <= errors.chance <= errors.ci95[1]:
        return "worse on inferential questions; that its errors are the observer's is not shown"
    if errors.ci95[1] < errors.chance:
        return "worse on inferential questions; its errors are the observer's less often than by chance"
    if _is_above_chance(metrics.inferential):
        return "reasons in part; where it fails, it looks"
    if _is_at_most_chance(metrics.inferential):
        return "looks rather than reasons"
    return "looks; that it also reasons is not shown"


def _is_above_chance(pool: Pool) -> bool:
    """Is it shown to be better than guessing?"""
    return pool.chance is not None and pool.per_question.ci95 is not None and pool.per_question.ci95[0] > pool.chance


def _is_at_most_chance(pool: Pool) -> bool:
    """Is it shown to be no better than guessing?"""
    return pool.chance is not None and pool.per_question.ci95 is not None and pool.per_question.ci95[1] <= pool.chance
