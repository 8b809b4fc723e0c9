"""What a report says where answers are graded by score: a mean score is no share of right answers, and is not called one."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import UNSET

from videothinker.answers import form_of
from videothinker.diagnose.runs import Run
from videothinker.records import Question
from videothinker.reports.page import count, estimate
from videothinker.reports.tables import Table


class RightWords(NamedTuple):
    """How accuracy is called."""

    what: str
    """What a table shows, as the beginning of its caption."""
    figure: str
    """The same of a figure."""
    axis: str
    column: str
    by_score: bool


RIGHT = RightWords(
    "Questions whose whole answer is right",
    "Questions answered exactly right",
    "questions answered exactly right (%)",
    "Right",
    False,
)
SCORE = RightWords(
    "Mean score: 1 or 0 for an answer that is right or wrong, an interval's IoU, an estimate's mean relative accuracy",
    "Mean score of the answers",
    "mean score (%)",
    "Score",
    True,
)


def right_words(questions: Iterable[Question]) -> RightWords:
    """The words for accuracy over these questions."""
    return SCORE if any(form_of(question).by_score for question in questions) else RIGHT


def intervals_table(runs: Sequence[Run], cluster: str) -> Table | None:
    """Temporal grounding by category; None where no run was asked such a question. cluster: what intervals cluster by."""
    rows = [
        (
            run.name,
            name,
            count(score.n_questions),
            estimate(score.miou),
            *(estimate(share) for share in score.recall.values()),
        )
        for run in runs
        if run.metrics.intervals is not UNSET
        for name, score in run.metrics.intervals.items()
    ]
    if not rows:
        return None
    return Table(
        "intervals",
        "Temporal grounding: mean IoU of the interval said and the right one, and the share of questions whose IoU is at least "
        f"0.3, 0.5 and 0.7, with 95 % intervals clustered by {cluster}. An unreadable reply has IoU 0.",
        ("Checkpoint", "Of", "Questions", "mIoU", "R@0.3", "R@0.5", "R@0.7"),
        rows,
    )
