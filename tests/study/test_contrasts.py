"""Sums of arms, and an arm against a family at equal observational accuracy, by hand."""

import numpy as np
import pytest

from videothinker.diagnose.estimates import clustered_change
from videothinker.records import Rule
from videothinker.study.contrasts import Point, against_family, contrast, control_at
from videothinker.study.crossed import crossed_change
from videothinker.study.scores import Scored, side_by_side


def run(observational: list[int], inferential: list[int]) -> Scored:
    """Right answers to one question of each category per scene."""
    n = len(observational)
    mask = np.array([True] * n + [False] * n)
    return Scored(
        ids=np.array([f"{scene}:{kind}" for kind in range(2) for scene in range(n)]),
        scene=np.tile(np.arange(n), 2),
        exact=np.array([*observational, *inferential], np.float64),
        like_observer=np.zeros(2 * n),
        asked=np.ones(2 * n, np.bool_),
        observational=dict.fromkeys(Rule, mask),
    )


BY_ARM = {
    "base": {-1: run([1, 1, 0, 0], [1, 1, 1, 1])},
    "grpo": {1: run([1, 1, 1, 1], [1, 1, 0, 0]), 2: run([1, 1, 1, 1], [1, 1, 0, 0])},
    "cdpo": {1: run([1, 1, 1, 0], [1, 1, 1, 1]), 2: run([1, 1, 0, 1], [1, 1, 1, 0])},
}


def test_a_sum_of_arms_is_the_sum_of_its_arms_questions() -> None:
    """Inferential: cdpo 7/8, grpo 4/8, base 8/8, so cdpo less half of each is 7/8 - 6/8."""
    found = contrast((("cdpo", 1.0), ("grpo", -0.5), ("base", -0.5)), BY_ARM, "inferential", Rule.ORACLE)
    assert found.scenes.value == pytest.approx(1 / 8)
    assert {seed: value.value for seed, value in found.per_seed.items()} == pytest.approx({1: 0.25, 2: 0.0})
    assert found.crossed.value == pytest.approx(1 / 8)
    assert found.spread is not None
    assert (found.spread.n_seeds, found.spread.n_scenes) == (2, 4)


def test_an_arm_is_compared_with_what_its_family_has_at_its_own_observational_accuracy() -> None:
    """base (1/2, 1) and grpo (1, 1/2): the slope is -1. cdpo has 3/4 of the observational questions, where the family has 3/4
    of the inferential ones; cdpo has 7/8. Seeds: cdpo's observational mean is 3/4 under both, its inferential one 1 and 3/4."""
    found = against_family("cdpo", ("grpo", "base"), BY_ARM, Rule.ORACLE)
    assert found.reason == ""
    assert found.value is not None
    assert found.value.scenes.value == pytest.approx(1 / 8)
    assert found.value.crossed.value == pytest.approx(1 / 8)
    assert {seed: one.value for seed, one in found.value.per_seed.items()} == pytest.approx({1: 0.25, 2: 0.0})


def test_its_interval_rests_on_both_categories() -> None:
    """With slope -1 the influence of a scene under a seed is that of d's two means added, d = cdpo less half of each neighbour.

    Scenes 0 and 1: d is 0 in both categories, and 1/8 less than the inferential mean. Scene 2: seed 1 has d = (1/2, 1/2),
    seed 2 (-1/2, 1/2); scene 3: (-1/2, 1/2) and (1/2, -1/2). So the sums over seeds, divided by 8: -1/32, -1/32, 1/8 - 1/32,
    -1/32, whose squares come to 12/1024; times 4/3. One scene more: twice (4 / 16)^2, for the two means."""
    found = against_family("cdpo", ("grpo", "base"), BY_ARM, Rule.ORACLE).value
    assert found is not None
    assert found.spread is not None
    assert found.spread.scenes == pytest.approx(4 / 3 * 12 / 1024 + 2 * (1 / 4) ** 2)
    # Influences by seed: 1/2 * (1/4 - 1/8) = 1/16 and -1/16.
    assert found.spread.seeds == pytest.approx(2 * 2 / 16**2)


def test_a_flat_family_leaves_the_inferential_difference() -> None:
    flat = {**BY_ARM, "grpo": {seed: run([1, 1, 1, 1], [1, 1, 1, 1]) for seed in (1, 2)}}
    found = against_family("cdpo", ("base", "grpo"), flat, Rule.ORACLE).value
    plain = contrast((("cdpo", 1.0), ("base", -1.0)), flat, "inferential", Rule.ORACLE)
    assert found is not None
    assert found.crossed == plain.crossed
    assert found.scenes == plain.scenes


def test_beyond_the_family_nothing_is_compared() -> None:
    worse = {**BY_ARM, "cdpo": {seed: run([1, 0, 0, 0], [1, 1, 1, 1]) for seed in (1, 2)}}
    found = against_family("cdpo", ("base", "grpo"), worse, Rule.ORACLE)
    assert found.value is None
    assert found.reason == "its observational accuracy, 25.0 %, is beyond what the family has, 50.0 to 100.0 %"
    assert against_family("cdpo", ("base", "gone"), BY_ARM, Rule.ORACLE) == (None, "")
    # An arm at the family's only accuracy does not lie beyond it; there is no slope.
    point = {**BY_ARM, "grpo": {seed: run([1, 1, 0, 0], [1, 1, 1, 1]) for seed in (1, 2)}}
    level = against_family("cdpo", ("base", "grpo"), point, Rule.ORACLE)
    assert level == (None, "all of the family have one observational accuracy, 50.0 %, so there is no curve")


def test_neighbours_on_the_curve_are_next_to_each_other_by_observational_accuracy() -> None:
    curve = {"a": Point(0.9, 0.6), "b": Point(0.5, 0.8), "c": Point(0.7, 0.7)}
    for accuracy, lower, upper, weight in (
        (0.8, "c", "a", 0.5),
        (0.55, "b", "c", 0.25),
        (0.5, "b", "c", 0.0),
        (0.9, "c", "a", 1),
    ):
        found = control_at(accuracy, curve)
        assert found is not None
        assert (found.lower, found.upper) == (lower, upper)
        assert (found.weight, found.slope) == pytest.approx((weight, -0.5))
    assert control_at(0.95, curve) is None
    assert control_at(0.5, {"a": Point(0.5, 0.1), "b": Point(0.5, 0.3)}) is None  # no curve between them


def test_runs_of_different_questions_are_put_on_their_common_ones() -> None:
    whole, part = BY_ARM["cdpo"][1], BY_ARM["grpo"][1].take(np.array([6, 1, 0]))
    beside = side_by_side(["cdpo", "grpo"], {"cdpo": {1: whole, 2: whole}, "grpo": {1: part}})
    assert [*beside] == [1]
    assert [run.ids.tolist() for run in beside[1].values()] == [["0:0", "1:0", "2:1"]] * 2
    assert beside[1]["grpo"].exact.tolist() == [1, 1, 0]


def test_what_one_of_them_was_not_asked_counts_for_none() -> None:
    lost = BY_ARM["grpo"][1]._replace(asked=np.array([False] + [True] * 7))
    beside = side_by_side(["cdpo", "grpo", "base"], {**BY_ARM, "grpo": {1: lost}})
    assert [run.asked.sum() for run in beside[1].values()] == [7, 7, 7]


def test_a_difference_is_what_it_was_before_there_were_sums() -> None:
    found = contrast((("cdpo", 1.0), ("grpo", -1.0)), BY_ARM, "inferential", Rule.ORACLE)
    columns = {
        seed: (
            BY_ARM["cdpo"][seed].exact - BY_ARM["grpo"][seed].exact,
            BY_ARM["cdpo"][seed].where("inferential", Rule.ORACLE),
            BY_ARM["cdpo"][seed].scene,
        )
        for seed in (1, 2)
    }
    assert found.crossed == crossed_change(columns).estimate
    values, where, scene = columns[1]
    assert found.per_seed[1] == clustered_change(values * where, where.astype(float), scene)
