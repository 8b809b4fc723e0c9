"""Corrections and p-values by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videothinker.diagnose.significance import holm, sign_flip_p


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
    ("changes", "expected"),
    [
        ([1, 1], 2 / 4),  # ++ and -- of four: two clips cannot be convincing
        ([2, -1], 4 / 4),  # every way leads as far as 1
        ([2, 1, 1, 0], 2 / 8),  # +++ and ---; the clip in which nothing changed says nothing
        ([2, 1, -1], 6 / 8),  # 2 or more away from 0: all but -++ and +--, which make 0
        ([1] * 6, 2 / 64),  # the sign test
        ([1] * 5 + [-1], 14 / 64),  # one of six the other way round, or none: 2 (1 + 6)
        ([35, -14, 21], 4 / 8),  # sevens of 5, -2 and 3, together 6: +++, +-+ and their mirror images
        ([0, 0, 0], 1.0),
        ([3, -3], 1.0),
        ([5], None),
        ([], None),
    ],
)
def test_signs_are_flipped_by_hand(changes: list[int], expected: float | None) -> None:
    found = sign_flip_p(np.array(changes, dtype=np.int64))
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


@settings(deadline=None)
@given(st.lists(st.integers(-60, 60), min_size=2, max_size=9))
def test_the_transform_counts_what_trying_every_sign_counts(changes: list[int]) -> None:
    found = sign_flip_p(np.array(changes, dtype=np.int64))
    sums = [abs(sum(sign * change for sign, change in zip(signs, changes, strict=True))) for signs in _all_signs(len(changes))]
    assert found == pytest.approx(sum(one >= abs(sum(changes)) for one in sums) / len(sums), abs=1e-9)


def _all_signs(n: int) -> list[tuple[int, ...]]:
    return list(itertools.product((1, -1), repeat=n))


def test_whole_numbers_that_do_not_fit_are_rounded_or_taken_for_normal() -> None:
    """Weights of many digits, as the gap has them: few groups by a fine grid, many by the normal distribution."""
    rng = np.random.default_rng(0)
    few = rng.integers(-(10**6), 10**6, size=10)
    sums = [abs(int(np.dot(signs, few))) for signs in _all_signs(10)]
    assert sign_flip_p(few) == pytest.approx(np.mean([one >= abs(int(few.sum())) for one in sums]), abs=0.004)
    many = rng.integers(-(10**6), 10**6, size=900) + 40_000
    z = abs(many.sum()) / math.sqrt((many.astype(float) ** 2).sum())
    assert sign_flip_p(many) == pytest.approx(math.erfc(z / math.sqrt(2)))


def test_of_many_groups_it_is_nearly_the_z_test() -> None:
    """300 gained and 245 lost, one a clip: z = 55 / sqrt(545) = 2.356, p = 0.0185; exact, a step of 2 is 0.086 of z wide."""
    found = sign_flip_p(np.array([1] * 300 + [-1] * 245, dtype=np.int64))
    assert found == pytest.approx(math.erfc((55 - 1) / math.sqrt(545) / math.sqrt(2)), abs=2e-4)  # half a step nearer to 0
    assert found == pytest.approx(0.0185, abs=0.003)
