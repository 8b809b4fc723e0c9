"""t-intervals over seeds against hand calculation and a table; when a claim is confirmed, refuted, undecided."""

import math
import random

import pytest

from videothinker.records import Estimate
from videothinker.records.study_results import Decision
from videothinker.study.seeds import decide, over_seeds, side


def test_four_seeds_by_hand() -> None:
    """Values 1, 2, 3, 6 (points): mean 3, sd sqrt((4 + 1 + 0 + 9) / 3) = 2.16025, stderr 1.08012, t(3) = 3.1824."""
    found = over_seeds([0.01, 0.02, 0.03, 0.06])
    assert found.value == pytest.approx(0.03)
    assert found.stderr == pytest.approx(0.0108012, abs=1e-7)
    assert found.ci95 == pytest.approx((0.03 - 0.0343743, 0.03 + 0.0343743), abs=1e-6)


def test_two_seeds_have_the_wide_interval_of_one_degree_of_freedom() -> None:
    """Values 0 and 2: stderr 1, t(1) = 12.7062, which is tan(0.475 pi)."""
    found = over_seeds([0.0, 2.0])
    assert found.ci95 == pytest.approx((1 - math.tan(0.475 * math.pi), 1 + math.tan(0.475 * math.pi)), abs=1e-4)


def test_what_was_not_measured_does_not_count() -> None:
    assert over_seeds([]) == Estimate(None, None, None)
    assert over_seeds([None, 0.4]) == Estimate(0.4, None, None)
    assert over_seeds([0.1, None, 0.3]) == over_seeds([0.1, 0.3])


@pytest.mark.parametrize("n", [2, 3, 5, 12, 31])
def test_the_interval_covers_the_truth_in_95_of_100_draws(n: int) -> None:
    rng = random.Random(n)
    draws = [over_seeds([rng.gauss(0.5, 2) for _ in range(n)]).ci95 for _ in range(4000)]
    hits = sum(low < 0.5 < high for low, high in filter(None, draws))
    assert hits / 4000 == pytest.approx(0.95, abs=0.014)  # four standard errors of a share of 0.95


def interval(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, 0.01, (low, high))


@pytest.mark.parametrize(
    ("crossed", "expected"),
    [
        (interval(0.01, 0.03), 1),
        (interval(-0.03, -0.01), -1),
        (interval(-0.01, 0.03), 0),
        (interval(0.0, 0.03), 0),  # touching zero is not beyond it
        (Estimate(0.3, None, None), 0),  # one seed
    ],
)
def test_a_comparison_holds_only_if_its_interval_is_beyond_zero(crossed: Estimate, expected: int) -> None:
    assert side(crossed, 20) == expected
    assert side(crossed, 19) == 0


def test_a_bound_takes_the_place_of_zero() -> None:
    found = interval(0.004, 0.012)
    assert [side(found, 20, bound) for bound in (-0.01, 0.0, 0.003, 0.004, 0.01, 0.02)] == [1, 1, 1, 0, 0, -1]


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([1], Decision.CONFIRMED),
        ([1, 1], Decision.CONFIRMED),
        ([1, 0], Decision.UNDECIDED),
        ([0], Decision.UNDECIDED),
        ([1, -1], Decision.REFUTED),
        ([0, -1], Decision.REFUTED),
        ([], Decision.UNDECIDED),
    ],
)
def test_a_claim_needs_all_of_its_comparisons(sides: list[int], expected: Decision) -> None:
    assert decide(sides) is expected
