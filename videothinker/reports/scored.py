"""What a report says where answers are graded by score: a mean score is no share of right answers, and is not called one."""

from collections.abc import Iterable, Mapping, Sequence
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
    gained: str
    """Which questions a comparison counts as gained and as lost."""
    by_score: bool


RIGHT = RightWords(
    "Questions whose whole answer is right",
    "Questions answered exactly right",
    "questions answered exactly right (%)",
    "Right",
    "questions that only the second, or only the first, has right",
    False,
)
SCORE = RightWords(
    "Mean score: 1 or 0 for an answer that is right or wrong, an interval's IoU, an estimate's mean relative accuracy",
    "Mean score of the answers",
    "mean score (%)",
    "Score",
    "questions on which the second, or the first, has the higher score",
    True,
)


def right_words(questions: Iterable[Question]) -> RightWords:
    """The words for accuracy over these questions."""
    return SCORE if any(form_of(question).by_score for question in questions) else RIGHT


class WordsOfSets(NamedTuple):
    """How accuracy over several question sets is called, some of which may be graded by score."""

    what: str
    """As the beginning of a caption."""
    axis: str
    """What a figure's axis or a terminal's table shows."""
    gained: str


def words_of_sets(sets: Mapping[str, Sequence[Run]]) -> WordsOfSets:
    """The words for accuracy over the questions of each set, by the runs that answered them, by its name."""
    by_set = {name: right_words(question for run in runs for question in run.questions) for name, runs in sets.items()}
    scored = [name for name, said in by_set.items() if said.by_score]
    if not scored:
        return WordsOfSets("Answered exactly right", "answered exactly right", RIGHT.gained)
    if len(scored) == len(by_set):
        return WordsOfSets(SCORE.what, "mean score", SCORE.gained)
    of = ", ".join(scored)
    return WordsOfSets(
        f"Answered exactly right; of {of} the {SCORE.what[0].lower()}{SCORE.what[1:]}",
        f"answered exactly right; of {of} the mean score",
        f"{RIGHT.gained}; of {of}, {SCORE.gained}",
    )


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
