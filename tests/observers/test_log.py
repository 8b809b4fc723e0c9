"""The collision log's observer and its three rules: what must hold for any case, and what they say decided it.

Questions worked out by hand, from their programs on, are in tests/curate/datasets/clevrer/test_resolve.py.
"""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videothinker import observers
from videothinker.answers import LETTERS
from videothinker.observers.log import RULES, Case, Finding, answer, any_option, correct_option, oracle
from videothinker.records import Category, Rule

OBS, INF = Category.OBSERVATIONAL, Category.INFERENTIAL


@st.composite
def cases(draw: st.DrawFn) -> Case:
    pairs = st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] < pair[1])
    options = draw(st.lists(pairs, min_size=1, max_size=5, unique=True))
    gold = tuple(letter for letter in LETTERS[: len(options)] if draw(st.booleans()))
    return Case(
        tuple(options), gold, draw(st.integers(0, 5)), draw(st.booleans()), frozenset(draw(st.lists(pairs, max_size=6)))
    )


def others(case: Case, letters: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(letter for letter in LETTERS[: len(case.pairs)] if letter not in letters)


@given(cases())
def test_a_question_and_its_negation_get_the_same_labels(case: Case) -> None:
    opposite = case._replace(negated=not case.negated, gold=others(case, case.gold))
    assert answer(opposite) == others(case, answer(case))
    for rule in (any_option, correct_option, oracle):
        assert rule(opposite).category is rule(case).category


@given(cases())
def test_the_rules_imply_each_other_as_they_should(case: Case) -> None:
    if correct_option(case).category is OBS:
        assert any_option(case).category is OBS
    assert (oracle(case).category is OBS) == (answer(case) == case.gold)
    if any_option(case).category is INF and not case.negated:
        assert answer(case) == ()
    if any_option(case).category is INF:  # nothing was seen: watching is right exactly if nothing happens
        assert (oracle(case).category is OBS) == (case.gold == (others(case, ()) if case.negated else ()))


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_options_does_not_matter(case: Case, rng: random.Random) -> None:
    order = list(range(len(case.pairs)))
    rng.shuffle(order)
    gold = tuple(LETTERS[new] for new, old in enumerate(order) if LETTERS[old] in case.gold)
    shuffled = case._replace(pairs=tuple(case.pairs[old] for old in order), gold=gold)
    for rule in (any_option, correct_option, oracle):
        assert rule(shuffled).category is rule(case).category


def test_every_finding_says_what_decided_it() -> None:
    case = Case(((0, 1), (0, 3), (1, 2)), ("A",), 2, False, frozenset({(0, 1), (1, 2)}))
    assert {rule: decide(case) for rule, decide in RULES.items()} == {
        Rule.ANY_OPTION: Finding(OBS, "the clip shows the collision of options A, C"),
        Rule.CORRECT_OPTION: Finding(OBS, "the clip shows, and it still happens, the collision of option A"),
        Rule.ORACLE: Finding(OBS, "the observer answers A, gold is A"),
    }
    unseen = case._replace(log=frozenset(), gold=("B", "C"))
    assert {rule: decide(unseen) for rule, decide in RULES.items()} == {
        Rule.ANY_OPTION: Finding(INF, "the clip shows the collision of no option"),
        Rule.CORRECT_OPTION: Finding(INF, "the clip shows, and it still happens, the collision of no option"),
        Rule.ORACLE: Finding(INF, "the observer answers none, gold is B,C"),
    }


@pytest.mark.parametrize(
    ("said", "gold", "kind"),
    [
        (("A", "C"), ("A", "C"), OBS),
        (("C", "A"), ("A", "C"), OBS),
        (("A",), ("A", "C"), INF),
        ((), (), OBS),
        (None, (), INF),  # it said nothing that could be read, and not that no option is correct
    ],
)
def test_the_rule_oracle_is_for_any_observer(said: tuple[str, ...] | None, gold: tuple[str, ...], kind: Category) -> None:
    assert observers.oracle(said, gold) is kind
