"""Options moved round, and letters moved back, by hand."""

import pytest

from videothinker.answers.rotation import rotated, turned_back
from videothinker.records import Clip, Form, Question


def question(
    form: Form = Form.LETTERS, options: tuple[str, ...] = ("x", "y", "z"), gold: tuple[str, ...] = ("A", "C")
) -> Question:
    return Question(
        question_id="q", text="?", options=options, clip=Clip(path="a.mp4"), gold=gold, form=form, group="g", source="s"
    )


def test_moved_by_one_the_second_option_comes_first() -> None:
    moved = rotated(question(), 1)
    assert moved.options == ("y", "z", "x")
    assert moved.gold == ("B", "C")  # z is now B, x is now C


def test_letters_are_moved_back() -> None:
    assert turned_back(question(), ("A",), 1) == ("B",)  # A was y, which is B
    assert turned_back(question(), ("B", "C"), 1) == ("A", "C")
    assert turned_back(question(), (), 1) == ()
    assert turned_back(question(), None, 1) is None


@pytest.mark.parametrize("by", range(7))
def test_gold_of_the_moved_question_is_gold_moved_back(by: int) -> None:
    assert turned_back(question(), rotated(question(), by).gold, by) == question().gold


def test_yes_and_no_are_not_moved() -> None:
    asked = question(Form.YES_NO, ("yes", "no"), ("B",))
    assert rotated(asked, 1) == asked
    assert turned_back(asked, ("B",), 1) == ("B",)


def test_numbers_and_intervals_are_not_moved() -> None:
    asked = question(Form.INTERVAL, (), ("3", "5"))
    assert rotated(asked, 1) == asked
    assert turned_back(asked, ("3", "5"), 1) == ("3", "5")
