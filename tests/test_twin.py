"""Factual twins: every template of CLEVRER's counterfactual questions, premises elsewhere, and what has to be refused."""

import pytest

from videothinker import twin
from videothinker.world.ask import _WILL, _WILL_NOT

WILL = {
    "Which event will happen if the {} is removed?": "Which event happens in the video?",
    "Which of the following will happen if the {} is removed?": "Which of the following happens in the video?",
    "What will happen if the {} is removed?": "What happens in the video?",
    "What will happen without the {}?": "What happens in the video?",
    "Without the {}, what will happen?": "What happens in the video?",
    "Without the {}, which event will happen?": "Which event happens in the video?",
    "If the {} is removed, which event will happen?": "Which event happens in the video?",
    "If the {} is removed, which of the following will happen?": "Which of the following happens in the video?",
    "Without the {}, which of the following will happen?": "Which of the following happens in the video?",
    "Which of the following will happen without the {}?": "Which of the following happens in the video?",
    "If the {} is removed, what will happen?": "What happens in the video?",
}


@pytest.mark.parametrize("name", ["cube", "red rubber cylinder", "metal object that enters the scene last"])
@pytest.mark.parametrize(("template", "expected"), WILL.items())
def test_clevrer_templates_are_rewritten_and_will_not_stays_not(template: str, expected: str, name: str) -> None:
    assert twin.twin(template.format(name)) == (expected, None)
    negated = template.replace("will happen", "will not happen").format(name)
    assert twin.twin(negated) == (expected.replace("happens", "does not happen"), None)


def test_every_template_of_the_generated_world_has_a_twin() -> None:
    for template in _WILL:
        text = twin.twin(template.format("blue metal cube")).text
        assert text is not None
        assert " happens in the video?" in text
    for template in _WILL_NOT:
        text = twin.twin(template.format("blue metal cube")).text
        assert text is not None
        assert " does not happen in the video?" in text


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("If the boy had not caught the ball, what would have happened?", "What happens in the video?"),
        ("What would happen to the glass if the cat stayed away?", "What happens to the glass in the video?"),
        ("Suppose that the door stays shut. What would happen?", "What happens in the video?"),
        ("Had the driver braked, what would have happened to the bike?", "What happens to the bike in the video?"),
        ("Imagine the red ball is heavier, which event would not occur?", "Which event does not happen in the video?"),
    ],
)
def test_a_premise_clause_elsewhere_is_dropped_where_the_rest_asks_what_happens(asked: str, expected: str) -> None:
    assert twin.twin(asked).text == expected


@pytest.mark.parametrize(
    ("asked", "why_not"),
    [
        ("What color is the cube?", twin.NO_PREMISE),
        ("What will happen next?", twin.NO_PREMISE),
        ("Which of the following is responsible for the collision?", twin.NO_PREMISE),
        ("Who is the man without a hat?", twin.OTHER_CLAUSE),
        ("Can you tell if the ball falls?", twin.OTHER_CLAUSE),
        ("What could happen if the ball is removed?", twin.OTHER_CLAUSE),
        ("If the ball is removed, how many cubes would collide?", twin.OTHER_CLAUSE),
        ("Would the cup fall if the cat jumped?", twin.OTHER_CLAUSE),
        ("If the ball is removed, what will happen? And why?", twin.OTHER_CLAUSE),
        ("What will happen if the ball is removed without the cube?", twin.SEVERAL_PREMISES),
        ("Without the ball, what will happen if the cube is removed?", twin.OTHER_CLAUSE),
        ("", twin.NO_PREMISE),
    ],
)
def test_what_cannot_surely_be_rewritten_has_no_twin(asked: str, why_not: str) -> None:
    assert twin.twin(asked) == (None, why_not)


def test_options_that_suppose_something_leave_no_twin() -> None:
    asked = "What will happen if the cat is removed?"
    assert twin.twin(asked, ["The cup would fall", "Nothing happens"]) == (None, twin.OPTIONS_SUPPOSE)
    assert twin.twin(asked, ["The cup falls", "The cube and the sphere collide"]).text == "What happens in the video?"
