"""Corrections and p-values by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videothinker.diagnose.estimates import holm, p_value
from videothinker.records import Estimate


def test_holm_by_hand() -> None:
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (0.06, level with the one before), 0.5 * 1; None is no test.
    assert holm([0.03, None, 0.01, 0.5, 0.02]) == pytest.approx([0.06, None, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_keeps_the_order_and_only_raises(values: list[float]) -> None:
    corrected = holm(values)
    assert all(c is not None and p <= c <= 1 for p, c in zip(values, corrected, strict=True))
    order = sorted(range(len(values)), key=lambda i: values[i])
    assert [corrected[i] for i in order] == sorted(c for c in corrected if c is not None)


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(0.0, 0.1, (0, 0)), 1.0),
        (Estimate(0.196, 0.1, (0, 0)), 0.05),
        (Estimate(-0.196, 0.1, (0, 0)), 0.05),
        (Estimate(0.0, 0.0, (0, 0)), 1.0),
        (Estimate(1.0, 0.0, (1, 1)), 0.0),
        (Estimate(1.0, None, None), None),
        (Estimate(None, None, None), None),
    ],
)
def test_p_values(estimate: Estimate, expected: float | None) -> None:
    assert p_value(estimate) == (None if expected is None else pytest.approx(expected, abs=1e-4))
