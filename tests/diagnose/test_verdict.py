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


def pairs(n_scenes: int) -> list[Labelled]:
    """An inferential and an observational question in each scene; a guess has one in 16 right, and gold and observer differ in
    one option of four."""
    return [
        a_question(f"{scene}:{qid}", gold="A", observer="A" if qid else "AB") for scene in range(n_scenes) for qid in (0, 1)
    ]


@pytest.mark.parametrize(
    ("observational", "inferential", "expected"),
    [
        ("g", "g", "no gap shown between looking and reasoning"),
        ("g", "o", "looks rather than reasons"),
        ("g", "w", "worse on inferential questions; its errors are the observer's less often than by chance"),
        ("w", "g", "better on inferential than on observational questions"),
        ("w", "w", "not shown to be better than guessing"),
        ("?", "?", "mostly unreadable: says nothing about reasoning"),
    ],
)
def test_the_verdict_says_what_the_numbers_do(observational: str, inferential: str, expected: str) -> None:
    """80 scenes: none right of 80 reaches up to t(79)^2 / (80 + t^2) = 4.7 %, below chance, 6.25 %."""
    assert verdict(answered(pairs(80), (inferential + observational) * 80)) == expected


def test_who_answers_half_of_the_inferential_questions_does_not_only_look() -> None:
    assert verdict(answered(pairs(20), "ggog" * 10)) == "reasons in part; where it fails, it looks"


def test_what_an_interval_does_not_exclude_is_not_said_to_be_absent() -> None:
    """None right of 20 reaches up to 18 %, beyond chance. Of four wrong options of two scenes one is the observer's, which is
    the chance of 1/4."""
    assert verdict(answered(pairs(20), "og" * 20)) == "looks; that it also reasons is not shown"
    words = "worse on inferential questions; that its errors are the observer's is not shown"
    assert verdict(answered(pairs(20), "ogwg" * 10)) == words


@pytest.mark.parametrize("letters", ["gg", "og", "wg", "gw", "ww"])
def test_there_is_no_verdict_on_fewer_than_20_clips(letters: str) -> None:
    assert verdict(answered(pairs(19), letters * 19)) == "too few clips to tell: 19, 20 or more are needed"
    assert verdict(answered(pairs(20), letters * 20)) != "too few clips to tell: 20, 20 or more are needed"


def test_there_is_no_verdict_on_three_scenes_of_random_answers() -> None:
    """Once `better on inferential questions`; the interval of a gap of three scenes is nearly all that is possible."""
    found = answered(pairs(3), "gwgwgw")
    assert verdict(found) == "too few clips to tell: 3, 20 or more are needed"
    assert found.gap.ci95 is not None
    assert found.gap.ci95[1] > -0.05


def test_each_category_needs_20_clips() -> None:
    questions = [a_question(f"{scene}:0", gold="A", observer="B" if scene < 19 else "A") for scene in range(60)]
    words = "too few clips with inferential questions to tell: 19, 20 or more are needed"
    assert verdict(answered(questions, "g" * 60)) == words


def test_there_is_no_verdict_without_both_categories() -> None:
    questions = [a_question(f"{scene}:0") for scene in range(20)]
    assert verdict(answered(questions, "g" * 20)) == "too few questions of both categories to tell"
    assert verdict(summarize([], [])) == "nothing was answered"


def test_without_labels_it_says_no_more_than_better_than_guessing() -> None:
    questions = [a_choice(str(number)) for number in range(40)]

    def of(n_right: int) -> str:
        rows = [
            Prediction(question_id=q.question_id, reply="", chosen=chosen, gold=q.gold, observer=None, status=Status.OK)
            for q, chosen in zip(questions, [("A",)] * n_right + [("B",)] * (40 - n_right), strict=True)
        ]
        return verdict(metrics.summarize(questions, rows, NO_LABELS))

    # 20 of 40 reaches down to 0.35, more than 1/4; 14 of 40 to 0.22.
    assert of(20) == "no labels, so nothing says whether it looks or reasons"
    assert of(14) == "not shown to be better than guessing"
