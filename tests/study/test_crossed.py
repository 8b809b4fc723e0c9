"""The interval over scenes and seeds at once: by hand, at its limits, and how often it errs."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videothinker.diagnose.estimates import clustered_change
from videothinker.diagnose.student import t975
from videothinker.study.crossed import Columns, crossed_change

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def seed(*values: float, scene: list[int] | None = None, counts: list[bool] | None = None) -> Columns:
    """One seed's changes; each question has a scene of its own unless they are given."""
    scenes = np.arange(len(values)) if scene is None else np.array(scene)
    where = np.ones(len(values), np.bool_) if counts is None else np.array(counts)
    return np.array(values), where, scenes


def test_two_seeds_and_two_scenes_by_hand() -> None:
    """Changes 1, 0 and 1, 1: the mean is 3/4, and influences are 1/16, -3/16 and 1/16, 1/16.

    Scenes: 2 (1/8^2 + 1/8^2) = 1/16, and 1/4 for one scene more. Seeds: 2 (1/8^2 + 1/8^2) = 1/16. What is left of each
    influence is +-1/16, so the interaction is 4 * 4/16^2 = 1/16. Together 5/16 + 1/16 - 1/16.
    """
    found = crossed_change({0: seed(1, 0), 1: seed(1, 1)}).estimate
    assert found.value == 0.75
    assert found.stderr == pytest.approx((5 / 16) ** 0.5)
    assert found.ci95 == (-1.0, 1.0)


def test_seeds_that_agree_in_every_question_leave_the_interval_over_scenes() -> None:
    rng = np.random.default_rng(3)
    values, scene = rng.choice([-1.0, 0.0, 1.0], 200), rng.integers(0, 60, 200)
    one = (values, np.ones(200, np.bool_), scene)
    found, alone = crossed_change({7: one, 8: one, 9: one}).estimate, clustered_change(values, np.ones(200), scene)
    assert found.value == pytest.approx(alone.value)
    assert found.ci95 == pytest.approx(alone.ci95)


def test_seeds_that_move_every_question_alike_leave_the_t_interval_over_seeds() -> None:
    """Shifts of 0.1, 0.2, 0.3 over 10,000 scenes: t(2) * 0.1 / sqrt(3) to both sides."""
    found = crossed_change({i: seed(*[0.1 * (i + 1)] * 10_000) for i in range(3)}).estimate
    reach = t975(2) * 0.1 / 3**0.5
    assert found.ci95 == pytest.approx((0.2 - reach, 0.2 + reach), abs=1e-4)


def test_questions_that_do_not_count_are_left_out_and_seeds_may_have_other_ones() -> None:
    whole = {0: seed(1, 0, 1, scene=[4, 4, 9]), 1: seed(0, 1, scene=[4, 9])}
    masked = {
        0: seed(1, 0, 1, -1, scene=[4, 4, 9, 12], counts=[True, True, True, False]),
        1: seed(0, 1, -1, scene=[4, 9, 9], counts=[True, True, False]),
        2: seed(1, counts=[False]),
    }
    assert crossed_change(masked) == crossed_change(whole)
    assert crossed_change(whole).value == 0.6


@pytest.mark.parametrize(
    ("columns", "value"),
    [({}, None), ({0: seed(1, counts=[False])}, None), ({0: seed(1, 0)}, 0.5), ({0: seed(1), 1: seed(0)}, 0.5)],
)
def test_nothing_one_seed_or_one_scene_has_no_interval(columns: dict[int, Columns], value: float | None) -> None:
    found = crossed_change(columns).estimate
    assert (found.value, found.stderr, found.ci95) == (value, None, None)


@pytest.fixture(scope="module")
def false_positives() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return runpy.run_path(str(BENCHMARKS / "crossed.py"))["false_positives"]


@pytest.mark.parametrize("spread", [(0.03, 0.0), (0.0, 0.15), (0.03, 0.15), (0.1, 0.02)])
@pytest.mark.parametrize("n_seeds", [3, 8])
def test_an_effect_is_seen_where_there_is_none_at_most_at_the_nominal_rate(
    false_positives: Any, n_seeds: int, spread: tuple[float, float]
) -> None:
    """2.5 % to each side. Of 500 simulations, both sides counted, the rate has a standard error of 0.5 points."""
    assert false_positives(500, 1, n_seeds, 300, *spread).crossed <= 2.5 + 3 * 0.5


def test_the_nominal_rate_is_reached_where_seeds_are_what_varies(false_positives: Any) -> None:
    """Or the interval would be wider than it need be, and decide less than it could."""
    assert false_positives(500, 1, 3, 300, 0.1, 0.02).crossed >= 2.5 - 3 * 0.5
