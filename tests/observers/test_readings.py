"""The readings that are only counted, worked out by hand, and how they lie to the rules whatever the case."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videothinker.answers import LETTERS
from videothinker.observers.log import RULES, Case, Pair
from videothinker.observers.readings import (
    READINGS,
    causal_past,
    every_happening_option,
    lettered_correct_option,
    outside_causal_past,
)
from videothinker.records import Category, Collision

CHAIN = (Collision(10, (0, 1)), Collision(20, (1, 2)), Collision(30, (3, 4)), Collision(40, (2, 3)))


@pytest.mark.parametrize(
    ("pair", "log", "past"),
    [
        ((0, 1), CHAIN, {0, 1}),  # nothing before
        ((1, 2), CHAIN, {0, 1, 2}),
        ((3, 4), CHAIN, {3, 4}),  # 2 meets 3 only afterwards
        ((2, 3), CHAIN, {0, 1, 2, 3, 4}),
        ((0, 4), CHAIN, {0, 1, 3, 4}),  # never meet: to the clip's end; 2 met 1 and 3 after they had met 0 and 4
        ((0, 4), (), {0, 4}),
        ((0, 1), (Collision(10, (0, 1)), Collision(20, (1, 2)), Collision(30, (0, 1))), {0, 1}),  # the first time counts
        ((0, 1), (Collision(10, (1, 2)), Collision(10, (0, 1))), {0, 1}),  # at the same frame
        ((0, 3), (Collision(10, (1, 2)), Collision(10, (0, 1))), {0, 1, 3}),
    ],
)
def test_a_causal_past_worked_out_by_hand(pair: Pair, log: Sequence[Collision], past: set[int]) -> None:
    assert causal_past(pair, log) == past
    assert causal_past(pair, log[::-1]) == past


LOG = (Collision(20, (0, 1)), Collision(50, (0, 2)))


# removed, negated, options, gold -> every-happening-option, lettered-correct-option, outside-causal-past
BY_HAND = {
    "the seen collision stays, and was there before the removed object": (2, False, [(0, 1)], "A", True, True, True),
    "the same, negated: it is marked wrong": (2, True, [(0, 1)], "", True, False, True),
    "one stays, one is new": (2, False, [(0, 1), (3, 4)], "AB", False, True, True),
    "0-3 never meet, and the removed object met 0": (2, False, [(0, 1), (0, 3)], "A", True, True, False),
    "seen, prevented, none happens": (2, False, [(0, 1), (1, 3)], "", False, False, True),
    "seen, prevented, negated: all are correct": (2, True, [(0, 1), (1, 3)], "AB", False, True, True),
    "nothing of it was seen": (3, False, [(1, 4), (2, 4)], "A", False, False, True),
    "the removed object came before": (1, False, [(0, 2)], "", False, False, False),
    "an option names the removed object": (4, False, [(0, 1), (3, 4)], "A", True, True, False),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_case_worked_out_by_hand(name: str) -> None:
    removed, negated, pairs, gold, *told = BY_HAND[name]
    case = Case(tuple(pairs), tuple(gold), removed, negated, frozenset({(0, 1), (0, 2)}))
    assert [reading(case, LOG) for reading in (every_happening_option, lettered_correct_option, outside_causal_past)] == told


@st.composite
def cases(draw: st.DrawFn) -> tuple[Case, tuple[Collision, ...]]:
    pairs = st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] < pair[1])
    options = draw(st.lists(pairs, min_size=1, max_size=4, unique=True))
    gold = tuple(letter for letter in LETTERS[: len(options)] if draw(st.booleans()))
    log = tuple(Collision(frame, pair) for frame, pair in draw(st.lists(st.tuples(st.integers(0, 127), pairs), max_size=6)))
    seen = frozenset(hit.object_ids for hit in log)
    return Case(tuple(options), gold, draw(st.integers(0, 5)), draw(st.booleans()), seen), log


@given(cases())
def test_the_readings_lie_to_the_rules_as_they_should(drawn: tuple[Case, tuple[Collision, ...]]) -> None:
    case, log = drawn
    told = {name: reading(case, log) for name, reading in READINGS.items()}
    assert {rule: told[rule] for rule in RULES} == {
        rule: decide(case).category is Category.OBSERVATIONAL for rule, decide in RULES.items()
    }
    assert told["correct-option"] or not told["every-happening-option"]
    if not case.negated:
        assert told["lettered-correct-option"] == told["correct-option"]
    others = tuple(letter for letter in LETTERS[: len(case.pairs)] if letter not in case.gold)
    opposite = case._replace(negated=not case.negated, gold=others)
    for name in ("every-happening-option", "outside-causal-past"):
        assert READINGS[name](opposite, log) == told[name]


@given(cases(), st.randoms(use_true_random=False))
def test_a_causal_past_holds_the_pair_and_no_stranger(drawn: tuple[Case, tuple[Collision, ...]], rng: random.Random) -> None:
    case, log = drawn
    pair = case.pairs[0]
    past = causal_past(pair, log)
    met = {object_id for hit in log for object_id in hit.object_ids}
    assert set(pair) <= past <= set(pair) | met
    assert causal_past(pair, rng.sample(log, len(log))) == past
    earlier = tuple(hit for hit in log if hit.frame < min((h.frame for h in log if h.object_ids == pair), default=128))
    assert causal_past(pair, (*earlier, *(hit for hit in log if hit.object_ids == pair))) == past
