"""Categories from a probed checkpoint's replies, by hand."""

import pytest

from videothinker.observers.probe import Asked, Band
from videothinker.records import Category

OBSERVATIONAL, INFERENTIAL, UNSURE = Category.OBSERVATIONAL, Category.INFERENTIAL, Category.UNSURE


@pytest.mark.parametrize(
    ("right", "wrong", "unread", "expected"),
    [
        (3, 1, 0, OBSERVATIONAL),
        (3, 0, 1, OBSERVATIONAL),
        (1, 3, 0, INFERENTIAL),
        (0, 3, 1, INFERENTIAL),
        (2, 2, 0, UNSURE),
        (2, 0, 2, UNSURE),  # two of two read are right, but half could not be read
        (0, 2, 2, UNSURE),
        (0, 0, 4, UNSURE),
        (1, 0, 0, OBSERVATIONAL),
        (0, 1, 0, INFERENTIAL),
        (0, 0, 1, UNSURE),
        (0, 0, 0, UNSURE),
    ],
)
def test_unread_replies_count_towards_unsure(right: int, wrong: int, unread: int, expected: Category) -> None:
    assert Asked(right, wrong, unread).category(Band()) is expected


def test_bounds_are_met_in_spite_of_rounding() -> None:
    assert Asked(7, 3, 0).category(Band(0.7, 0.3)) is OBSERVATIONAL
    assert Asked(3, 7, 0).category(Band(0.7, 0.3)) is INFERENTIAL


def test_pass_rates_are_of_all_replies() -> None:
    assert Asked(1, 1, 2).pass_rate == 0.25
    assert Asked(0, 0, 0).pass_rate is None


@pytest.mark.parametrize("band", [Band(0.5, 0.5), Band(1.1, 0.2), Band(0.8, -0.1)])
def test_bounds_that_overlap_or_are_no_shares_are_at_fault(band: Band) -> None:
    assert band.fault is not None
    assert Band().fault is None
