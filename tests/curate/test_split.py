"""Splits and training sets: by hash, so that nobody is moved by what else is there, and exact in size and share."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videothinker.curate.split import fraction, split_of, training_set
from videothinker.errors import VtError
from videothinker.records import Category

OBS, INF = Category.OBSERVATIONAL, Category.INFERENTIAL


def pool(n_observational: int, n_inferential: int) -> dict[str, Category]:
    kinds = [OBS] * n_observational + [INF] * n_inferential
    return {f"{number // 2}:{number % 2}": kind for number, kind in enumerate(kinds)}


def test_a_fraction_is_the_same_on_every_machine() -> None:
    # printf '42:scene 0' | sha256sum
    assert fraction(42, "scene 0") == 0x66CFA3E7E57B58C3 / 2**64


def test_dev_holds_about_its_share_and_depends_on_the_seed() -> None:
    scenes = [f"scene {index}" for index in range(10_000)]
    splits = [split_of(scene, 42, 0.1) for scene in scenes]
    # binomial: 1,000 +- 30 at one standard deviation
    assert 850 < splits.count("dev") < 1150
    assert splits != [split_of(scene, 43, 0.1) for scene in scenes]
    assert {split_of(scene, 42, 0.0) for scene in scenes[:100]} == {"train"}


@given(st.integers(0, 20_000).map("scene {}".format), st.integers(), st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_larger_share_only_adds_to_dev(scene: str, seed: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if split_of(scene, seed, low) == "dev":
        assert split_of(scene, seed, high) == "dev"


def test_without_wishes_the_training_set_is_everything() -> None:
    questions = pool(30, 10)
    assert training_set(questions, 42) == frozenset(questions)


def test_size_and_share_are_met_exactly() -> None:
    questions = pool(300, 100)
    chosen = training_set(questions, 42, size=200, observational_share=0.74)
    assert Counter(questions[question] for question in chosen) == {OBS: 148, INF: 52}
    assert len(training_set(questions, 42, size=33)) == 33
    # 386 questions: 285.64 observational, rounded to 286, and 100 inferential; 387 would need 286 and 101
    chosen = training_set(questions, 42, observational_share=0.74)
    assert Counter(questions[question] for question in chosen) == {OBS: 286, INF: 100}
    assert training_set(questions, 42, observational_share=1.0) == {q for q, kind in questions.items() if kind is OBS}


def test_a_smaller_training_set_is_part_of_a_larger_one_and_others_move_nobody() -> None:
    questions = pool(300, 100)
    small = training_set(questions, 42, size=50, observational_share=0.5)
    large = training_set(questions, 42, size=120, observational_share=0.5)
    assert small < large
    fewer = {question: kind for question, kind in questions.items() if question in large or int(question.split(":")[0]) % 2}
    assert training_set(fewer, 42, size=50, observational_share=0.5) == small
    assert training_set(questions, 43, size=50, observational_share=0.5) != small


@pytest.mark.parametrize(
    ("size", "share", "message"),
    [
        (2000, 0.74, "--train-size 2000 --observational-share 0.74: the train split has 30 observational and 8 inferential "
         "questions; at most --train-size 32"),  # 23.68 -> 24 and 8; of 33, 24.42 -> 24 and 9
        (39, None, "--train-size 39: the train split has 38 labelled questions; at most --train-size 38"),
        (31, 1.0, "at most --train-size 30"),
    ],
)  # fmt: skip
def test_too_few_questions_say_what_is_possible(size: int, share: float | None, message: str) -> None:
    with pytest.raises(VtError) as error:
        training_set(pool(30, 8), 42, size=size, observational_share=share)
    assert message in str(error.value)
    largest = int(str(error.value).rpartition(" ")[2])
    assert len(training_set(pool(30, 8), 42, size=largest, observational_share=share)) == largest


def test_a_share_that_nothing_can_meet_is_an_error() -> None:
    with pytest.raises(VtError, match="the train split has 5 observational and 0 inferential questions; choose another share"):
        training_set(pool(5, 0), 42, observational_share=0.1)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60), st.floats(0, 1))
def test_a_training_set_is_exact_or_refused(n_observational: int, n_inferential: int, size: int, share: float) -> None:
    questions = pool(n_observational, n_inferential)
    try:
        chosen = training_set(questions, 1, size=size, observational_share=share)
    except VtError:
        assert n_observational < size * share + 0.5 or n_inferential < size * (1 - share) + 0.5
    else:
        assert len(chosen) == size
        assert sum(questions[question] is OBS for question in chosen) == int(size * share + 0.5)
