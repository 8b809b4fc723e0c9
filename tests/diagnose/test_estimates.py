"""Intervals by hand, at the edges, and where there are many scenes."""

import math

import numpy as np
import pytest
from curated_factory import labels_of, questions_of, random_questions
from hypothesis import given, settings
from hypothesis import strategies as st

from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.diagnose import metrics
from videothinker.diagnose.estimates import (
    NOTHING,
    Floats,
    Mask,
    clustered_auc,
    clustered_auc_gain,
    clustered_change,
    clustered_gap,
    clustered_gap_change,
    clustered_kappa,
    clustered_macro,
    clustered_mean,
    clustered_share,
    share,
)
from videothinker.diagnose.student import t975
from videothinker.records import AgainstChance, Estimate, Prediction, Status


def column(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.ci95 is not None
    return estimate.ci95


# ---- Student's t ----


@pytest.mark.parametrize("degrees", [*range(1, 41), 60, 120, 1000])
def test_t_holds_95_percent_of_its_own_density(degrees: int) -> None:
    """Simpson's rule over (1 + x^2 / n)^(-(n + 1) / 2), with the constant from gamma functions."""
    x, step = np.linspace(0, t975(degrees), 20_001, retstep=True)
    logs = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    y = np.exp(logs - (degrees + 1) / 2 * np.log1p(x * x / degrees))
    inside = 2 * step / 3 * (y[0] + y[-1] + 4 * y[1:-1:2].sum() + 2 * y[2:-1:2].sum())
    assert inside == pytest.approx(0.95, abs=1e-5)


def test_t_by_hand() -> None:
    assert t975(1) == pytest.approx(math.tan(0.475 * math.pi), abs=1e-4)
    assert t975(2) == pytest.approx(0.95 * math.sqrt(2 / (4 * 0.975 * 0.025)), abs=1e-4)
    assert t975(10**9) == pytest.approx(1.95996, abs=1e-5)
    assert [t975(n) for n in range(1, 50)] == sorted((t975(n) for n in range(1, 50)), reverse=True)


# ---- shares ----


def test_a_share_of_which_all_are_right_counts_its_scenes() -> None:
    """20 scenes of 3: t(19) = 2.0930 and Wilson's lower end is 20 / (20 + t^2) = 20 / 24.3806, as of 20 observations."""
    ones = np.ones(60)
    found = clustered_share(ones, ones, np.repeat(np.arange(20), 3))
    assert (found.value, found.stderr) == (1.0, 0.0)
    assert found.ci95 == pytest.approx((20 / (20 + 2.0930**2), 1.0))
    assert clustered_share(0 * ones, ones, np.repeat(np.arange(20), 3)).ci95 == pytest.approx((0.0, 1 - 20 / (20 + 2.0930**2)))


def test_scenes_of_unequal_size_count_for_fewer() -> None:
    """Scenes of 4, 1, 1: weights 2/3, 1/6, 1/6, whose squares sum to 1/2, so 2 even scenes. t(2)^2 = 18.513."""
    ones = np.ones(6)
    found = clustered_share(ones, ones, np.array([0, 0, 0, 0, 1, 2]))
    assert found.ci95 == pytest.approx((2 / (2 + 4.3027**2), 1.0))


def test_a_share_by_hand() -> None:
    """Four scenes of two, both right, both right, one right, none right: 5 of 8.

    Residuals by scene 2 - 5/4 twice, 1 - 5/4, 0 - 5/4: squares 9/16, 9/16, 1/16, 25/16, so stderr^2 = 4/3 * 44/16 / 64, that
    is 11/192. One scene more that fails: 5/8 / 4 = 5/32. Effective number: (15/64 + 4 * 25/1024) / (11/192 + 25/1024) =
    (340/1024) / (251/3072) = 1020/251 = 4.0637. t(3) = 3.1824, t^2 / n = 2.49222. Middle (0.625 + 1.24611) / 3.49222, that is
    0.535794; reach 3.1824 / 3.49222 * sqrt(0.234375 / 4.0637 + 2.49222 / (4 * 4.0637)) = 0.911283 * 0.459344 = 0.418592.
    """
    found = clustered_share(column(1, 1, 1, 1, 1, 0, 0, 0), np.ones(8), np.repeat(np.arange(4), 2))
    assert found.stderr == pytest.approx(math.sqrt(11 / 192))
    assert found.ci95 == pytest.approx((0.535794 - 0.418592, 0.535794 + 0.418592), abs=2e-5)


@settings(deadline=None)
@given(st.data())
def test_a_shares_interval_lies_within_0_and_1_holds_the_share_and_has_a_width(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 12))
    denominator = column(*data.draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)))
    numerator = column(*(data.draw(st.floats(0, most)) for most in denominator))
    cluster = np.array(data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))
    found = clustered_share(numerator, denominator, cluster)
    if len(set(cluster)) < 2:
        assert (found.stderr, found.ci95) == (None, None)
        return
    low, high = ends(found)
    assert found.value is not None
    assert 0 <= low <= found.value <= high <= 1
    assert high - low > 0.01


# ---- changes ----


def test_a_change_by_hand() -> None:
    """Four scenes of two questions gain 2, 1, 0, 0: mean 3/8. Residuals 5/4, 1/4, -3/4, -3/4, whose squares sum to 44/16, so
    stderr^2 = 4/3 * 44/16 / 64 = 11/192; with one scene more that changed wholly 11/192 + 1/16 = 23/192. t(3) = 3.1824."""
    found = clustered_change(column(1, 1, 1, 0, 0, 0, 0, 0), np.ones(8), np.repeat(np.arange(4), 2))
    assert (found.value, found.stderr) == (pytest.approx(3 / 8), pytest.approx(math.sqrt(11 / 192)))
    assert found.ci95 == pytest.approx((3 / 8 - 3.1824 * math.sqrt(23 / 192), 1.0))  # 1.4765 is more than there is


def test_two_scenes_with_the_same_change_tell_nothing() -> None:
    """Once stderr 0 and [100, 100]: t(1) = 12.7062 times one scene more of two, 1/2, is more than there is."""
    found = clustered_change(np.ones(2), np.ones(2), np.arange(2))
    assert found == Estimate(1.0, 0.0, (-1.0, 1.0))


def test_where_nothing_changed_a_change_is_as_narrow_as_the_scenes_are_many() -> None:
    """Of 20 scenes: t(19) / 20."""
    found = clustered_change(np.zeros(40), np.ones(40), np.repeat(np.arange(20), 2))
    assert found == Estimate(0.0, 0.0, (pytest.approx(-2.0930 / 20), pytest.approx(2.0930 / 20)))


# ---- gaps ----


def test_a_gap_of_shares_that_have_no_scene_in_common_is_newcombes() -> None:
    """16 of 16 right, 4 of 16 right, each in its own scene: each share has Wilson's interval, and the gap 0.75 reaches down by
    the root of the squares of what the first reaches down and the second reaches up."""
    first = np.repeat(column(1, 0), [16, 16])
    right, where = np.repeat(column(1, 1, 0), [16, 4, 12]), np.arange(32)
    whole, part = clustered_share(right * first, first, where), clustered_share(right * (1 - first), 1 - first, where)
    found = clustered_gap((right * first, first), (right * (1 - first), 1 - first), where)
    (low1, high1), (low2, high2) = ends(whole), ends(part)
    assert low1 == pytest.approx(16 / (16 + 2.1314**2))
    assert found.value == pytest.approx(0.75)
    assert found.ci95 == pytest.approx(
        (0.75 - math.hypot(1 - low1, high2 - 0.25), 0.75 + math.hypot(high1 - 1, 0.25 - low2)), abs=1e-12
    )


def test_what_a_scene_does_to_both_cancels_but_for_one_scene_more() -> None:
    """20 scenes of one question each kind, in ten of which both are right: both shares 1/2, the gap 0, and always 0.

    By share: influence +-1/40, squares sum to 20/1600 = 1/80; one scene more 1/40, squared 1/1600; so the correlation is
    (1/80) / (1/80 + 1/1600) = 20/21, and the gap reaches as far as a share, 0.5 - low, times sqrt(2 - 2 * 20/21).
    """
    first = np.tile(column(1, 0), 20)
    right, scene = np.repeat(column(1, 0), 20), np.repeat(np.arange(20), 2)
    low, _ = ends(clustered_share(right * first, first, scene))
    found = clustered_gap((right * first, first), (right * (1 - first), 1 - first), scene)
    assert (found.value, found.stderr) == (0.0, 0.0)
    reach = (0.5 - low) * math.sqrt(2 / 21)
    assert found.ci95 == pytest.approx((-reach, reach))
    assert 0.05 < reach < 0.1


def test_a_gap_with_one_scene_of_a_category_takes_all_that_is_possible_for_it() -> None:
    """Observational 4 of 4 in four scenes, inferential 1 of 1 in one of them: it could be anything from 0 to 1."""
    right, first = np.ones(5), column(1, 1, 1, 1, 0)
    found = clustered_gap((right * first, first), (right * (1 - first), 1 - first), np.array([0, 1, 2, 3, 0]))
    low = 4 / (4 + 3.1824**2)
    assert found.ci95 == pytest.approx((-(1 - low), 1.0))


def test_a_gaps_change_is_the_change_of_one_minus_that_of_the_other() -> None:
    """Ten scenes of one question each: five observational of which none changed, five inferential that all were lost.

    Each change reaches t(4) / 5 = 2.7764 / 5, cut at -1 for the second; no scene is in both, so squares add.
    """
    first, scene = np.repeat(column(1, 0), 5), np.arange(10)
    change = first - 1
    found = clustered_gap_change((change * first, first), (change * (1 - first), 1 - first), scene)
    reach = 2.7764 / 5
    assert found.value == 1.0
    assert found.ci95 == pytest.approx((1 - math.hypot(reach, reach), 1 + math.hypot(reach, 0)))


@settings(deadline=None)
@given(st.data())
def test_a_gap_lies_within_what_its_shares_allow(data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 14))
    right = column(*data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    first = column(1, 0, *data.draw(st.lists(st.integers(0, 1), min_size=n - 2, max_size=n - 2)))
    cluster = np.array(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    found = clustered_gap((right * first, first), (right * (1 - first), 1 - first), cluster)
    if len(set(cluster)) < 2:
        assert found.ci95 is None
        return
    low, high = ends(found)
    assert found.value is not None
    assert -1 - 1e-9 <= low <= found.value <= high <= 1 + 1e-9
    assert high - low > 0.01


# ---- means over pools ----


def test_a_mean_over_pools_without_a_clip_in_common_adds_squares() -> None:
    """Two pools of 16 clips, 16 and 8 right: the mean 3/4 reaches half as far as the two together."""
    right, clip = np.repeat(column(1, 1, 0), [16, 8, 8]), np.arange(32)
    pools: list[Mask] = [clip < 16, clip >= 16]
    (low1, high1), (low2, high2) = (ends(clustered_share(*share(right, pool), clip)) for pool in pools)
    found = clustered_macro(right, pools, clip)
    assert found.value == 0.75
    reaches = math.hypot(1 - low1, 0.5 - low2) / 2, math.hypot(high1 - 1, high2 - 0.5) / 2
    assert found.ci95 == pytest.approx((0.75 - reaches[0], 0.75 + reaches[1]))


def test_a_mean_over_pools_is_no_surer_than_its_smallest_pool() -> None:
    """A thousand clips, half of them right, and one clip: that one alone may move the mean by a half."""
    right, clip = np.append(np.tile(column(1, 0), 500), 1.0), np.arange(1001)
    low, high = ends(clustered_macro(right, [clip < 1000, clip == 1000], clip))
    assert low == pytest.approx(0.75 - math.hypot(1, 0.031) / 2, abs=1e-3)
    assert high == pytest.approx(0.75 + 0.031 / 2, abs=1e-3)


# ---- many scenes ----


def _predictions(questions: list[Labelled], seed: int) -> list[Prediction]:
    rng = np.random.default_rng(seed)
    skill = {one.scene_index: rng.beta(6, 2) for one in questions}
    found = []
    for one in questions:
        asked, right = one.question, rng.random() < skill[one.scene_index]
        chosen = asked.gold if right else tuple(letter for letter in "ABCD"[: len(asked.options)] if rng.random() < 0.5)
        row = Prediction(
            question_id=asked.question_id,
            reply="",
            chosen=chosen,
            gold=asked.gold,
            observer=one.observer,
            status=Status.OK,
        )
        found.append(row)
    return found


def test_of_2000_scenes_every_interval_is_the_normal_one_but_for_its_third_digit() -> None:
    questions = random_questions(range(2000), per_scene=3, seed=1)
    found = metrics.summarize(questions_of(questions), _predictions(questions, 2), labels_of(questions))
    pools = [found.all, found.observational, found.inferential, *found.by_n_options.values()]
    estimates: list[Estimate | AgainstChance] = [found.gap, found.shortcut_reliance, found.shortcut_error_share]
    estimates += [one for pool in pools for one in (pool.per_question, pool.per_option, pool.soft)]
    estimates += [one for letter in found.by_letter.values() for one in (letter.per_option, letter.chosen)]
    for one in estimates:
        assert one.value is not None
        assert one.stderr is not None
        normal = (one.value - 1.96 * one.stderr, one.value + 1.96 * one.stderr)
        assert one.ci95 == pytest.approx(normal, abs=0.001), one


def test_the_auc_counts_pairs_and_half_of_ties() -> None:
    """Positives 0.9, 0.5; negatives 0.5, 0.1: pairs 1, 1, 1/2, 1."""
    score = np.array([0.9, 0.5, 0.5, 0.1])
    positive = np.array([True, True, False, False])
    found = clustered_auc(score, positive, np.arange(4))
    assert found.value == 3.5 / 4
    # Placements: 1 and 3/4 of the positives, 3/4 and 1 of the negatives; each moves by (placement - 7/8) / 2 = +-1/16.
    assert found.stderr == pytest.approx(math.sqrt(4 / 3 * 4 / 256))
    assert found.ci95 is not None
    assert found.ci95[0] < 3.5 / 4 < found.ci95[1] <= 1


def test_a_perfect_auc_has_an_interval_and_one_kind_alone_has_none() -> None:
    score = np.array([1.0, 1.0, 0.0, 0.0])
    found = clustered_auc(score, score > 0.5, np.arange(4))
    assert found.value == 1
    assert found.ci95 is not None
    assert found.ci95[0] < 1
    assert clustered_auc(score, np.ones(4, dtype=bool), np.arange(4)) == NOTHING


# ---- means without bounds, kappa, and gains in AUC ----


def test_the_mean_of_margins_is_clustered() -> None:
    """Clips with values 1, 3 and 8: mean 4; residuals by clip -3 -1 = -4 and 4, over three: variance 2 * (16 + 16) / 9."""
    found = clustered_mean(column(1, 3, 8), np.array([0, 0, 1]))
    assert found.value == 4
    assert found.stderr == pytest.approx(8 / 3)
    assert ends(found) == pytest.approx((4 - t975(1) * 8 / 3, 4 + t975(1) * 8 / 3))
    assert clustered_mean(column(), np.array([], dtype=np.int64)) == NOTHING
    assert clustered_mean(column(2, 4), np.array([0, 0])) == Estimate(3.0, None, None)


def test_kappa_has_the_textbook_standard_error() -> None:
    """Fleiss, Cohen and Everitt (1969), in the formula of Agresti's textbook, on 2 x 2 counts; every item a clip of its own."""
    counts = np.array([[40, 9], [6, 20]])
    one, other = (np.repeat(np.array([0, 0, 1, 1]), counts.ravel()), np.repeat(np.array([0, 1, 0, 1]), counts.ravel()))
    n, p = counts.sum(), counts / counts.sum()
    rows, columns = p.sum(1), p.sum(0)
    po, pe = float(np.trace(p)), float(rows @ columns)
    kappa = (po - pe) / (1 - pe)
    a = sum(p[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in (0, 1))
    b = (1 - kappa) ** 2 * sum(p[i, j] * (columns[i] + rows[j]) ** 2 for i, j in ((0, 1), (1, 0)))
    textbook = math.sqrt((a + b - (kappa - pe * (1 - kappa)) ** 2) / n) / (1 - pe)
    found = clustered_kappa(one, other, np.arange(n))
    assert found.value == pytest.approx(kappa)
    assert found.stderr == pytest.approx(textbook * math.sqrt(n / (n - 1)))
    low, high = ends(found)
    assert low < kappa < high


def test_kappa_at_the_edges() -> None:
    same = np.array([0, 1, 2, 0])
    found = clustered_kappa(same, same, np.arange(4))
    assert found.value == 1
    low, high = ends(found)
    assert low < 0.9
    assert high == 1
    assert clustered_kappa(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64), np.arange(3)) == NOTHING
    opposed = clustered_kappa(np.array([0, 1, 0, 1]), np.array([1, 0, 1, 0]), np.arange(4))
    assert opposed.value == -1
    assert clustered_kappa(np.array([], dtype=np.int64), np.array([], dtype=np.int64), np.array([], dtype=np.int64)) == NOTHING


def test_a_gain_in_auc_is_paired() -> None:
    rng = np.random.default_rng(5)
    positive, cluster = np.arange(200) % 2 == 0, np.arange(200) // 2
    score = rng.normal(size=200) + positive
    noise = rng.normal(size=200)
    same = clustered_auc_gain(score, 2 * score + 1, positive, cluster)
    assert same.value == 0
    assert same.stderr == pytest.approx(0)
    assert ends(same)[0] < 0 < ends(same)[1]
    found = clustered_auc_gain(score, noise, positive, cluster)
    one, other = (clustered_auc(each, positive, cluster).value for each in (score, noise))
    assert one is not None
    assert other is not None
    assert found.value == pytest.approx(one - other)
    assert ends(found)[0] > 0
    assert clustered_auc_gain(score, noise, np.ones(200, dtype=np.bool_), cluster) == NOTHING
