"""What a reply earns, on a table: the evaluator's own grades, as TRL asks for them."""

import pytest

from videothinker.answers import Style
from videothinker.answers.twice import FALLBACK
from videothinker.records import Form
from videothinker.train import rewards

THINK = "<think>It hits it.</think>"

REPLIES = [
    # reply, gold, soft accuracy, format, why
    (f"{THINK}<answer>A,C</answer>", ["A", "C"], 1.0, 1.0, "the exact set"),
    (f"{THINK}\n<answer>C, A</answer>\n", ["A", "C"], 1.0, 1.0, "order and space do not count"),
    (f"{THINK}<answer>A</answer>", ["A", "C"], 0.5, 1.0, "a proper subset earns its share"),
    (f"{THINK}<answer>A,B</answer>", ["A", "C"], 0.0, 1.0, "one wrong letter and nothing is earned"),
    (f"{THINK}<answer>A,B,C</answer>", ["A", "C"], 0.0, 1.0, "a superset earns nothing"),
    (f"{THINK}<answer>none</answer>", [], 1.0, 1.0, "none, where no option is correct"),
    (f"{THINK}<answer>none</answer>", ["A"], 0.0, 1.0, "none, where one is"),
    (f"{THINK}<answer></answer>", [], 0.0, 1.0, "an empty answer is no explicit none"),
    (f"{THINK}<answer></answer>", ["A"], 0.0, 1.0, "an empty answer is no subset either"),
    (f"{THINK}<answer>E</answer>", ["A"], 0.0, 1.0, "a letter that is no option is unreadable"),
    ("<answer>A</answer>", ["A"], 1.0, 0.0, "right, but without thinking"),
    (f"{THINK}<answer>A</answer> as said", ["A"], 1.0, 0.0, "right, with something after it"),
    ("I think it is the cube", ["A"], 0.0, 0.0, "prose"),
    ("", [], 0.0, 0.0, "nothing at all"),
]


@pytest.mark.parametrize(("reply", "gold", "soft", "form", "why"), REPLIES)
def test_a_reply_earns(reply: str, gold: list[str], soft: float, form: float, why: str) -> None:
    completions = [reply]
    assert rewards.accuracy(completions, gold=[gold], n_options=[4], form=[Form.LETTERS], style=[Style.COT], prompts=None) == [
        soft
    ], why
    assert rewards.format(completions, style=[Style.COT], completion_ids=None) == [form], why


@pytest.mark.parametrize(
    ("reply", "earned"),
    [
        ("<answer>A</answer>", 1.0),
        ("\n<answer>A</answer>!", 1.0),
        (f"{THINK}<answer>A</answer>", 0.0),
        ("So <answer>A</answer>", 0.0),
        ("<answer>A</answer><answer>A</answer>", 0.0),
    ],
)
def test_format_goes_by_the_style_of_the_prompt(reply: str, earned: float) -> None:
    assert rewards.format([reply, f"{THINK}<answer>A</answer>"], style=[Style.DIRECT, Style.COT]) == [earned, 1.0]


def test_a_reward_a_reply_in_order() -> None:
    completions = [f"{THINK}<answer>{letter}</answer>" for letter in "AB"]
    assert rewards.accuracy(
        completions, gold=[["B"], ["B"]], n_options=[4, 4], form=[Form.LETTERS] * 2, style=[Style.COT] * 2
    ) == [0.0, 1.0]


def test_a_reply_earns_by_the_form_of_its_question() -> None:
    replies = ["<answer>B</answer>", "<answer>A,B</answer>", "<answer>A,B</answer>", "<answer>no</answer>"]
    forms = [Form.CHOICE, Form.CHOICE, Form.LETTERS, Form.YES_NO]
    gold = [["B"], ["B"], ["A", "B", "C"], ["B"]]
    earned = rewards.accuracy(replies, gold=gold, n_options=[4, 4, 4, 2], form=forms, style=[Style.COT] * 4)
    assert earned == [1.0, 0.0, 2 / 3, 1.0]  # two letters are no answer to a single choice


def test_the_papers_sum_is_the_default_and_settings_choose_and_weigh() -> None:
    assert rewards.default_weights() == {"accuracy": 1.0, "format": 1.0}
    both = rewards.chosen({"format": 0.5, "accuracy": 2.0})
    assert [(name, reward.weight) for name, reward in both.items()] == [("accuracy", 2.0), ("format", 0.5)]
    assert both["accuracy"].function is rewards.accuracy
    assert list(rewards.chosen({"format": 1.0})) == ["format"]


@pytest.mark.parametrize(
    ("to_reach", "earned"),
    [
        ((0.5, 0.5), [1.0, 0.0, 1.0, 1.0]),  # means 0.5 and 0.75 reach it; a wrong reply earns nothing
        ((0.51, 0.75), [0.0, 0.0, 1.0, 1.0]),
        ((0.6, 0.8), [0.0] * 4),
        ((0.0, 0.0), [1.0, 0.0, 1.0, 1.0]),
    ],
)
def test_the_bonus_of_order_is_its_questions_and_for_replies_that_are_right_in_part(
    to_reach: tuple[float, float], earned: list[float]
) -> None:
    replies = [f"{THINK}<answer>{letters}</answer>" for letters in ("A", "B", "A,C", "A")]
    bars = [to_reach[0]] * 2 + [to_reach[1]] * 2
    gold = [["A"], ["A"], ["A", "C"], ["A", "C"]]
    names = ["0:0", "0:0", "1:0", "1:0"]
    asked = {"n_options": [4] * 4, "form": [Form.LETTERS] * 4, "style": [Style.COT] * 4}
    found = rewards.ordered(replies, gold, **asked, question_id=names, to_reach=bars, prompts=None)
    assert found == earned


F = f"\\boxed{{{FALLBACK}}}"
R, W = r"\boxed{B}", r"\boxed{D}"
VIDEO_AUTO = {"first": 0.9, "accuracy": 1.1, "format": 1.0, "fallback": 0.3}

TWICE = [
    # reply to a question whose answer is B, what it earns in all with VideoAuto-R1's weights, why
    (f"{R}{THINK}{R}", 3.0, "both right, well laid out"),
    (f"{F}{THINK}{R}", 2.4, "the fallback sentence, then right"),
    (f"{W}{THINK}{R}", 2.1, "wrong, then right"),
    (f"{R}{THINK}{W}", 1.9, "right, then wrong"),
    (f"{F}{THINK}{W}", 1.0, "the fallback sentence, then wrong"),
    (R, 2.0, "one box, right, no thinking"),
    (f"Here: {R}{THINK}{R}", 2.0, "both right, with words before the first box"),
    (f"{R} so {THINK}{R}", 2.0, "both right, with words between"),
    (f"{R}{THINK}{R}<|im_end|>", 2.0, "both right, with a special token behind"),
    (f"{R}<think>It hits it. {R}", 0.9, "both right, thinking never closed"),
    (f"{R}<think></think>{R}", 2.0, "both right, thinking empty: the published rule gives 3"),
    (f"{R}<think> \n </think>{R}", 2.0, "both right, thinking blank: the published rule gives 3"),
]


@pytest.mark.parametrize(("reply", "total", "why"), TWICE)
def test_a_reply_that_answers_twice_earns(reply: str, total: float, why: str) -> None:
    asked = {"gold": [["B"]], "n_options": [4], "form": [Form.CHOICE], "style": [Style.TWICE]}
    earned = {name: one.weight * one.function([reply], **asked)[0] for name, one in rewards.chosen(VIDEO_AUTO).items()}
    assert sum(earned.values()) == pytest.approx(total), (why, earned)


def test_first_answers_that_are_sets_earn_as_sets() -> None:
    replies = [rf"\boxed{{{letters}}}{THINK}\boxed{{none}}" for letters in ("C,A", "A", "A,B", "none")]
    asked = {"gold": [["A", "C"]] * 4, "n_options": [4] * 4, "form": [Form.LETTERS] * 4}
    assert rewards.first(replies, **asked) == [1.0, 0.5, 0.0, 0.0]


def test_the_bonus_of_the_fallback_is_for_the_exact_set() -> None:
    replies = [rf"{F}{THINK}\boxed{{{letters}}}" for letters in ("C, A", "A")]
    asked = {"gold": [["A", "C"]] * 2, "n_options": [4] * 2, "form": [Form.LETTERS] * 2}
    assert rewards.fallback(replies, **asked) == [1.0, 0.0]


def test_no_reward_has_the_name_of_another_column() -> None:
    assert not set(rewards.REWARDS) & {"step", "question_id", "reply", "advantage"}


def test_intervals_and_numbers_earn_their_scores() -> None:
    """4 to 8 said as 2 to 6 shares 2 of 6 s; 9 for 10 is within nine of ten tolerances; 1,200 is right, 8 for 7 wrong."""
    said = ["2 to 6", "8:00 to 4:00", "9", "1,200", "8"]
    gold = [["4", "8"], ["240", "480"], ["10"], ["1200"], ["7"]]
    form = [Form.INTERVAL, Form.INTERVAL, Form.ESTIMATE, Form.NUMBER, Form.NUMBER]
    cot = [f"{THINK}<answer>{one}</answer>" for one in said]
    earned = rewards.accuracy(cot, gold=gold, n_options=[0] * 5, form=form, style=[Style.COT] * 5)
    assert earned == pytest.approx([1 / 3, 1.0, 0.9, 1.0, 0.0])
    twice = [rf"\boxed{{{one}}}<think>so</think>\boxed{{{one}}}" for one in said]
    earned = rewards.accuracy(twice, gold=gold, n_options=[0] * 5, form=form, style=[Style.TWICE] * 5)
    assert earned == pytest.approx([1 / 3, 1.0, 0.9, 1.0, 0.0])
    assert rewards.first(twice, gold=gold, n_options=[0] * 5, form=form) == pytest.approx(earned)


def test_the_fallback_pays_for_half_an_overlap() -> None:
    replies = [rf"\boxed{{{FALLBACK}}}<think>so</think>\boxed{{{one}}}" for one in ("0 to 5", "0 to 4")]
    asked = {"gold": [["0", "10"]] * 2, "n_options": [0] * 2, "form": [Form.INTERVAL] * 2}
    assert rewards.fallback(replies, **asked) == [1.0, 0.0]
