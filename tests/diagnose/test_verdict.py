"""The verdict's wording follows the numbers."""

from collections.abc import Sequence

import pytest
from answered import summarize
from curated_factory import a_choice, a_prediction, a_question

from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.curated import NO_LABELS
from videothinker.diagnose import metrics
from videothinker.diagnose.verdict import verdict
from videothinker.records import Metrics, Prediction, Status


def answered(questions: Sequence[Labelled], letters: str) -> Metrics:
    """`letters`: "g" gold, "o" the observer's answer, "w" wrong in another way, "?" unreadable; one for each question."""
    choose = {
        "g": lambda q: "".join(q.question.gold),
        "o": lambda q: "".join(q.observer),
        "w": lambda q: "".join(set("ABCD") - set(q.question.gold) ^ (set(q.observer) ^ set(q.question.gold))),
        "?": lambda _: None,
    }
    rows = [a_prediction(q, choose[letter](q)) for q, letter in zip(questions, letters, strict=True)]
    return summarize(questions, rows)


@pytest.mark.parametrize(
    ("observational", "inferential", "expected"),
    [
        ("g", "g", "no gap shown between looking and reasoning"),
        ("g", "o", "looks rather than reasons"),
        ("g", "w", "worse on inferential questions, but not with the observer's errors"),
        ("w", "g", "better on inferential than on observational questions"),
        ("w", "w", "no better than guessing"),
        ("?", "?", "mostly unreadable: says nothing about reasoning"),
    ],
)
def test_the_verdict_says_what_the_numbers_do(observational: str, inferential: str, expected: str) -> None:
    questions = [
        a_question(f"{scene}:{qid}", gold="A", observer="A" if qid else "AB") for scene in range(20) for qid in range(2)
    ]
    assert verdict(answered(questions, (inferential + observational) * 20)) == expected


def test_who_answers_half_of_the_inferential_questions_does_not_only_look() -> None:
    questions = [
        a_question(f"{scene}:{qid}", gold="A", observer="A" if qid else "AB") for scene in range(20) for qid in range(2)
    ]
    assert verdict(answered(questions, "ggog" * 10)) == "reasons in part; where it fails, it looks"


def test_there_is_no_verdict_without_both_categories() -> None:
    questions = [a_question(f"{scene}:0") for scene in range(5)]
    assert verdict(answered(questions, "ggggg")) == "too few questions of both categories to tell"
    assert verdict(summarize([], [])) == "nothing was answered"


def test_without_labels_it_says_no_more_than_better_than_guessing() -> None:
    questions = [a_choice(str(number)) for number in range(40)]

    def of(n_right: int) -> str:
        rows = [
            Prediction(question_id=q.question_id, reply="", chosen=chosen, gold=q.gold, observer=None, status=Status.OK)
            for q, chosen in zip(questions, [("A",)] * n_right + [("B",)] * (40 - n_right), strict=True)
        ]
        return verdict(metrics.summarize(questions, rows, NO_LABELS))

    # 0.5 -+ 1.96 sqrt(40/39 * 40 * 0.25) / 40 = 0.34 and more than 1/4; 0.35 -+ 0.15 is not.
    assert of(20) == "no labels, so nothing says whether it looks or reasons"
    assert of(14) == "no better than guessing"
