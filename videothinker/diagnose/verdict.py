"""What a checkpoint's metrics say of it, in one line."""

from videothinker.records import Metrics, Pool

UNLABELLED = "no labels, so nothing says whether it looks or reasons"
"""The verdict on a checkpoint that is better than guessing, where nobody has labelled the questions."""


def verdict(metrics: Metrics) -> str:
    """One line on a checkpoint, for the end of its row; docs/metrics.md says where each wording begins."""
    seen, needed = metrics.observational, metrics.inferential
    if metrics.all.n_questions == 0:
        return "nothing was answered"
    if metrics.all.n_unparsed > metrics.all.n_questions / 2:
        return "mostly unreadable: says nothing about reasoning"
    if metrics.rule is None:
        return "no better than guessing" if _is_guessing(metrics.all) else UNLABELLED
    if metrics.gap.ci95 is None:
        return "too few questions of both categories to tell"
    if _is_guessing(seen) and _is_guessing(needed):
        return "no better than guessing"
    low, high = metrics.gap.ci95
    share = metrics.shortcut_error_share
    if low > 0 and share.ci95 is not None and share.chance is not None and share.ci95[0] > share.chance:
        return "looks rather than reasons" if _is_guessing(needed) else "reasons in part; where it fails, it looks"
    if low > 0:
        return "worse on inferential questions, but not with the observer's errors"
    if high < 0:
        return "better on inferential than on observational questions"
    return "no gap shown between looking and reasoning"


def _is_guessing(pool: Pool) -> bool:
    return pool.chance is not None and pool.per_question.ci95 is not None and pool.per_question.ci95[0] <= pool.chance
