"""The layout of a reply: one thought, then one answer."""

import pytest

from videothinker.answers import format_score


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("<think>a</think><answer>A</answer>", 1.0),
        ("<think>a\nb</think>\n\n<answer>A</answer>\n", 1.0),
        ("<think>a</think> ! <answer>A</answer>!!", 1.0),
        ("<think></think><answer></answer>", 1.0),  # the form alone; what it says is the other reward's business
        ("<answer>A</answer>", 0.0),
        ("<think>a</think>", 0.0),
        ("<answer>A</answer><think>a</think>", 0.0),
        ("Well: <think>a</think><answer>A</answer>", 0.0),
        ("<think>a</think> so <answer>A</answer>", 0.0),
        ("<think>a</think><answer>A</answer>.", 0.0),
        ("<think>a</think><think>b</think><answer>A</answer>", 0.0),
        ("<think>a</think><answer>A</answer><answer>A</answer>", 0.0),
        ("<think>a <answer>A</answer></think><answer>A</answer>", 0.0),
        ("<think>a<answer>A</answer></think>", 0.0),
        ("<think>a</think><answer>A", 0.0),
        ("", 0.0),
    ],
)
def test_the_format_is_one_thought_then_one_answer_and_nothing_else(reply: str, score: float) -> None:
    assert format_score(reply) == score
