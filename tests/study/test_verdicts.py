"""Claims judged: p of a part and of a claim, Holm's procedure, gates; and results of earlier versions."""

import math
from pathlib import Path

import pytest

from videothinker import store
from videothinker.diagnose.student import t975, t_beyond, tails
from videothinker.records import Estimate, Rule
from videothinker.records.study import Claim, Stage, Study
from videothinker.records.study_cells import State
from videothinker.records.study_results import Decision, Difference, Part, Results, Spread, Training, Value
from videothinker.records.training import Judged
from videothinker.study.crossed import Crossed, p_value
from videothinker.study.verdicts import holm, judge_claims, sign_test

WORLD = Path(__file__).parents[2] / "reports" / "study-world" / "results.json"


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 11, 19, 30, 500])
def test_five_in_a_hundred_are_beyond_the_975th_percentile(degrees: int) -> None:
    assert tails(t975(degrees), degrees) == pytest.approx(0.05, abs=5e-6)


def test_tails_by_hand_and_at_their_ends() -> None:
    """With one degree of freedom t is a Cauchy variable, 1 - 2/pi * atan(t); with two, 1 - t / sqrt(2 + t^2)."""
    for t in (0.1, 1.0, 5.0, 1e4):
        assert tails(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), rel=1e-8, abs=1e-11)
        assert tails(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-6, abs=1e-11)
    assert tails(0.0, 5) == 1.0


@pytest.mark.parametrize("p", [0.5, 0.05, 0.005, 0.001])
def test_what_is_exceeded_with_probability_p(p: float) -> None:
    for degrees in (19, 60, 10_000):
        assert tails(t_beyond(p, degrees), degrees) == pytest.approx(p, rel=2e-3)


def spread(scenes: float, seeds: float, n_seeds: int = 8) -> Spread:
    return Spread(scenes=scenes, seeds=seeds, interaction=0.0, n_scenes=5000, n_seeds=n_seeds)


def test_p_is_below_five_in_a_hundred_just_where_the_interval_excludes_the_bound() -> None:
    for of in (spread(1e-6, 4e-6), spread(4e-6, 1e-7), spread(1e-6, 1e-6, 2), spread(0.0, 9e-6, 3)):
        interval = Crossed(0.01, of).estimate.ci95
        assert interval is not None
        low, high = interval
        assert p_value(0.01, of, low) == pytest.approx(0.05, rel=1e-3)
        assert p_value(0.01, of, high) == pytest.approx(0.05, rel=1e-3)
        assert p_value(0.01, of, 0.01) == pytest.approx(1.0, abs=1e-4)


def test_p_where_seeds_are_all_that_varies_is_that_of_a_t_test() -> None:
    """Mean 3, standard error 1.08012 (test_seeds.py): t = 2.77746 with 3 degrees of freedom."""
    found = p_value(0.03, spread(0.0, 0.0108012**2, 4))
    assert found == pytest.approx(tails(2.77746, 3), rel=1e-4)


def test_holm_by_hand() -> None:
    """Of four: 0.012 is below 0.05/4, 0.0166 below 0.05/3, 0.026 not below 0.05/2, and so 0.03 is not asked any more."""
    assert holm([0.03, 0.012, 0.026, 0.0166]) == [False, True, False, True]
    assert holm([0.05]) == [True]
    assert holm([0.06, 0.9]) == [False, False]
    assert holm([]) == []


def test_a_sign_test_by_hand() -> None:
    assert sign_test(8, 8) == 2 / 256
    assert sign_test(8, 9) == 2 * 10 / 512
    assert sign_test(5, 8) == pytest.approx(2 * (56 + 28 + 8 + 1) / 256)
    assert sign_test(4, 8) == 1.0


def value(mean: float, stderr: float, n_scenes: int = 1000) -> Value:
    """A difference in points whose uncertainty is all from 9 seeds, t = 2.3060."""
    of = Spread(scenes=0.0, seeds=(stderr / 100) ** 2, interaction=0.0, n_scenes=n_scenes, n_seeds=9)
    found = Crossed(mean / 100, of)
    nothing = Estimate(mean / 100, None, None)
    return Value(per_seed={}, scenes=nothing, seeds=nothing, crossed=found.estimate, spread=of, n_scenes=n_scenes)


def judged(
    claims: list[tuple[str, ...]], trainings: list[Training] | None = None, **values: Value
) -> list[tuple[Decision, Decision]]:
    """Decisions before and after the correction of claims about a, b and c less base."""
    earlier = store.read_json(WORLD, Results).study
    study = Study(
        title="x",
        model="m",
        seeds=earlier.seeds,
        prepare=earlier.prepare,
        train=earlier.train,
        arms=earlier.arms,
        ask=earlier.ask,
        claims=tuple(Claim(text="x", holds=holds) for holds in claims),
    )
    differences = [
        Difference(ask="greedy", after=name, before="base", rule=Rule.ORACLE, measures={"inferential": one})
        for name, one in values.items()
    ]
    found = judge_claims(study, differences, [], trainings or [])
    return [(one.decision, one.corrected or Decision.UNDECIDED) for one in found]


C, R, U = Decision.CONFIRMED, Decision.REFUTED, Decision.UNDECIDED


def test_a_claim_is_as_strong_as_its_weakest_part_and_the_number_of_claims_counts() -> None:
    """t of 3, 2.5 and 10 with 8 degrees of freedom: p = 0.017, 0.037 and 1e-5."""
    a, b, c = value(3, 1), value(2.5, 1), value(10, 1)
    assert judged([("a > base",)], a=a) == [(C, C)]
    assert judged([("a > base", "b > base")], a=a, b=b) == [(C, C)]
    assert judged([("a > base", "b > base"), ("c > base",)], a=a, b=b, c=c) == [(C, C), (C, C)]  # 0.037 is the last one
    assert judged([("a > base",), ("b > base",)], a=a, b=b) == [(C, C), (C, C)]
    three = [("a > base",), ("b > base",), ("b < base",)]
    assert judged(three, a=a, b=b) == [(C, U), (C, U), (R, U)]  # 0.017 is not below 0.05 / 3 = 0.0167
    assert judged([("c > base",), ("a > base",), ("b > base",)], a=a, b=b, c=c) == [(C, C), (C, C), (C, C)]


def test_a_refutation_by_one_of_several_parts_counts_their_number() -> None:
    """p = 0.017 times two is below 0.05, 0.037 times two is not."""
    assert judged([("a < base", "c > base")], a=value(3, 1), c=value(10, 1)) == [(R, R)]
    assert judged([("b < base", "c > base")], b=value(2.5, 1), c=value(10, 1)) == [(R, U)]


def test_bounds_and_turned_comparisons_have_their_own_p() -> None:
    a = value(3, 1)
    assert judged([("a > base + 1",)], a=a) == [(U, U)]
    assert judged([("base > a - 6",)], a=a) == [(C, C)]  # base less a is -3, 3 standard errors above -6
    assert judged([("a < base + 0.5",)], a=a) == [(R, R)]
    assert judged([("a > base",)], a=value(3, 1, n_scenes=19)) == [(U, U)]
    assert judged([("a > base", "b > base")], a=a) == [(U, U)]  # b was not run


def test_gates_decide_by_a_sign_test() -> None:
    def training(seed: int, verdict: Judged) -> Training:
        reasons = () if verdict is Judged.SHORTCUT else ("why",)
        return Training(
            name=f"bias-s{seed}",
            arm="bias",
            seed=seed,
            stage=Stage.BIAS,
            state=State.FINISHED,
            diverged=False,
            gate=reasons,
            judged=verdict,
            seconds=1.0,
        )

    passed, failed, left_open = Judged.SHORTCUT, Judged.NO_SHORTCUT, Judged.UNDECIDED
    for verdicts, expected in (
        ([passed] * 8, C),
        ([passed] * 7 + [left_open], U),  # 9 in 256, twice
        ([failed] * 6, R),
        ([left_open] * 12, U),
        ([], U),
    ):
        trainings = [training(seed, one) for seed, one in enumerate(verdicts)]
        assert judged([("bias is a shortcut model",)], trainings)[0][0] is expected


def test_the_first_studys_results_are_read_and_say_what_they_said() -> None:
    results = store.read_json(WORLD, Results)
    assert [one.decision for one in results.verdicts] == [C] + [U] * 8
    assert all(one.corrected is None and one.p is None for one in results.verdicts)
    part = results.verdicts[0].parts[0]
    assert isinstance(part, Part)
    assert part.name == "grpo \u2212 base"
    assert part.value is not None
    assert part.value.scenes.value == pytest.approx(-0.0212, abs=5e-5)
