"""Six questions of three scenes with one checkpoint's answers, few enough to work every number out by hand."""

from collections.abc import Sequence

from curated_factory import a_prediction, a_question, labels_of, questions_of

from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.diagnose import metrics
from videothinker.records import Category, Metrics, Prediction, Rule, Status

OBS, INF = Category.OBSERVATIONAL, Category.INFERENTIAL

# Under oracle, 0:0, 0:1 and 1:0 are observational, 1:1, 2:0 and 2:1 inferential.
QUESTIONS = [
    a_question("0:0", gold="A", observer="A"),
    a_question("0:1", gold="AB", observer="AB", any_option=INF),
    a_question("1:0", n_options=2, gold="", observer="", negated=True),
    a_question("1:1", gold="A", observer="B"),
    a_question("2:0", n_options=3, gold="ABC", observer="AB"),
    a_question("2:1", gold="D", observer="AD", any_option=INF),
]
PREDICTIONS = [
    a_prediction(QUESTIONS[0], "A"),  # right
    a_prediction(QUESTIONS[1], "A"),  # a subset: 3 of 4 options, soft 1/2
    a_prediction(QUESTIONS[2], None),  # unreadable: no option right
    a_prediction(QUESTIONS[3], "B"),  # the observer's answer: 2 of 4 options right, both errors the observer's
    a_prediction(QUESTIONS[4], "B"),  # wrong in A and C; the observer only in C; soft 1/3
    a_prediction(QUESTIONS[5], "D", Status.TRUNCATED),  # cut, but readable, and right
]


def summarize(asked: Sequence[Labelled], predictions: Sequence[Prediction], rule: Rule = Rule.ORACLE) -> Metrics:
    """The metrics of the answers, with the labels of `rule` at the top."""
    return metrics.summarize(questions_of(asked), predictions, labels_of(asked, rule))
