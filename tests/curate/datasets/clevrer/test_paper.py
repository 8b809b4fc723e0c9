"""Every reading counted by hand on three questions, and which of them would give the paper's number."""

from typing import Any

import pytest
from curated_factory import a_question

from videothinker.curate.datasets.clevrer.counts import count_options, count_view
from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.curate.datasets.clevrer.paper import compare_with_paper, count_readings, matches_paper
from videothinker.observers.log import Pair
from videothinker.observers.readings import READINGS
from videothinker.records import Collision, Scene

LOG = (Collision(5, (0, 1), seen=False), Collision(50, (0, 2)))
"""0 and 1 meet out of view, then 0 and 2 in view."""


def question(name: str, removed: int, pairs: tuple[Pair, ...], gold: str, *, negated: bool = False) -> Labelled:
    one = a_question(name, n_options=len(pairs), gold=gold, negated=negated)
    return one._replace(removed_object=removed, pairs=pairs, collisions=LOG)


QUESTIONS = [
    # seen: B stays, all of it. As logged the observer says A, B, since A was logged, and is wrong.
    question("7:1", 3, ((0, 1), (0, 2)), "B"),
    # seen: 0-1 never meet, so that 2, which meets 0, may have kept them apart; B happens, and nothing of it was seen. As logged
    # they meet before, and A, which is correct since it does not happen any more, was seen.
    question("7:2", 2, ((0, 1), (1, 3)), "A", negated=True),
    # Its only option names the removed object, and none is correct.
    question("7:3", 2, ((0, 2),), ""),
]


def cells(*numbers: int) -> dict[str, dict[str, int]]:
    """All, "will" and "will not" of all questions, then of those with a correct option."""
    kinds = ("all", "will", "will not")
    return {
        "all_questions": dict(zip(kinds, numbers[:3], strict=True)),
        "with_a_correct_option": dict(zip(kinds, numbers[3:], strict=True)),
    }


def test_every_reading_is_counted_both_ways() -> None:
    assert count_readings(QUESTIONS) == {
        "n_questions": cells(3, 2, 1, 2, 1, 1),
        "observational": {
            "any-option": {"seen": cells(2, 2, 0, 1, 1, 0), "as_logged": cells(3, 2, 1, 2, 1, 1)},
            "correct-option": {"seen": cells(1, 1, 0, 1, 1, 0), "as_logged": cells(1, 1, 0, 1, 1, 0)},
            "oracle": {"seen": cells(2, 2, 0, 1, 1, 0), "as_logged": cells(1, 1, 0, 0, 0, 0)},
            "every-happening-option": {"seen": cells(1, 1, 0, 1, 1, 0), "as_logged": cells(1, 1, 0, 1, 1, 0)},
            "lettered-correct-option": {"seen": cells(1, 1, 0, 1, 1, 0), "as_logged": cells(2, 1, 1, 2, 1, 1)},
            "outside-causal-past": {"seen": cells(1, 1, 0, 1, 1, 0), "as_logged": cells(2, 1, 1, 2, 1, 1)},
        },
        "moved": {
            "any-option": 1,
            "correct-option": 0,
            "oracle": 1,
            "every-happening-option": 0,
            "lettered-correct-option": 1,
            "outside-causal-past": 1,
        },
    }  # fmt: skip


def test_options_are_counted() -> None:
    assert count_options(QUESTIONS) == {
        "n_options": 5,
        "n_naming_removed_object": 1,
        "questions_by_n_options": {"1": 1, "2": 2},
        "questions_by_n_correct": {"0": 1, "1": 2},
    }


def test_what_the_film_does_not_show_is_counted_and_so_is_what_nobody_says() -> None:
    scenes = [Scene(7, "a.mp4", (), LOG), Scene(8, "b.mp4", (), (Collision(9, (0, 1)),), is_view_known=False)]
    counted = {"n_annotations": 2, "n_annotations_without_view": 1, "n_collisions": 3, "n_collisions_out_of_view": 1}
    assert count_view(scenes) == counted


def made_up(**found: tuple[int, int]) -> dict[str, Any]:
    """Counts of a train split by reading, as (seen, as logged), the same over all questions and over those of the paper."""
    sizes = {"all_questions": {"all": 18_642}, "with_a_correct_option": {"all": 18_473}}
    return {
        "n_questions": sizes,
        "observational": {
            name: {
                log: {pool: {"all": n} for pool in sizes}
                for log, n in zip(("seen", "as_logged"), found.get(name.replace("-", "_"), (0, 0)), strict=True)
            }
            for name in READINGS
        },
    }


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        (made_up(any_option=(13_673, 13_675), oracle=(10_000, 10_200)), []),
        (made_up(correct_option=(13_600, 13_674)), [("correct-option", "as_logged")]),
        (made_up(any_option=(13_674, 14_000), lettered_correct_option=(13_674, 13_674)),
         [("any-option", "seen"), ("lettered-correct-option", "seen"), ("lettered-correct-option", "as_logged")]),
    ],
)  # fmt: skip
def test_the_readings_that_give_exactly_the_papers_number(readings: Any, expected: list[tuple[str, str]]) -> None:
    """The paper counts 18,473 questions: 13,674 of 18,642 would be another number."""
    found = [{"reading": reading, "log": log, "questions": "with_a_correct_option"} for reading, log in expected]
    assert matches_paper(readings) == found
    compared = compare_with_paper(frozenset(range(10_000)), 18_642, QUESTIONS, readings)
    assert compared is not None
    assert compared["matches_paper"] == found
    assert compare_with_paper(frozenset(range(9_999)), 18_642, QUESTIONS, readings) is None
