"""The verdict between the stages: on numbers written by hand, and what `vt train cdpo` makes of it."""

from pathlib import Path

import msgspec
import pytest

from videothinker import store
from videothinker.errors import VtError
from videothinker.records import Estimate, Rule
from videothinker.records.training import GATE, Changes, GateMargins, GateVerdict, Judged, Measured
from videothinker.train.gate import judge, require_pass

START = Measured(observational=0.93, inferential=0.78, shortcut_reliance=0.06, n_observational=2000, n_inferential=4000)
SHORTCUT = Measured(observational=0.97, inferential=0.49, shortcut_reliance=0.32, n_observational=2000, n_inferential=4000)


def changes(bias: Measured, start: Measured = START, *, reach: float = 0.02, n_clips: int = 500) -> Changes:
    """What changed, each with an interval of so much to both sides."""

    def change(of: str) -> Estimate:
        after, before = getattr(bias, of), getattr(start, of)
        if after is None or before is None:
            return Estimate(None, None, None)
        return Estimate(after - before, reach / 1.96, (after - before - reach, after - before + reach))

    return Changes(
        observational=change("observational"),
        inferential=change("inferential"),
        shortcut_reliance=change("shortcut_reliance"),
        n_clips=n_clips,
    )


def verdict(bias: Measured, start: Measured = START, *, fast: bool = False, reach: float = 0.02) -> GateVerdict:
    found = changes(bias, start, reach=reach)
    temperature = 0.0 if fast else 1.0
    return judge(start, bias, found, GateMargins(), split="dev", rule=Rule.ORACLE, temperature=temperature, fast=fast)


@pytest.mark.parametrize("fast", [False, True])
def test_a_shortcut_model_passes(fast: bool) -> None:
    found = verdict(SHORTCUT, fast=fast)
    assert found.passed
    assert found.verdict is Judged.SHORTCUT
    assert found.reasons == ()
    assert (found.start, found.bias, found.fast) == (START, SHORTCUT, fast)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inferential": 0.77}, "inferential accuracy fell by 1.0 points, expected a loss of 10.0 points or more"),
        ({"inferential": 0.85}, "inferential accuracy rose by 7.0 points, expected a loss of 10.0 points or more"),
        ({"observational": 0.50}, "observational accuracy fell by 43.0 points, expected a loss of 5.0 points at most"),
        ({"shortcut_reliance": 0.07}, "shortcut reliance rose by 1.0 points, expected a rise of 5.0 points or more"),
    ],
)
def test_what_is_no_shortcut_model_does_not(change: dict[str, float], reason: str) -> None:
    found = verdict(msgspec.structs.replace(SHORTCUT, **change), fast=True)
    assert not found.passed
    assert found.verdict is Judged.NO_SHORTCUT
    assert found.reasons == (reason,)


def test_an_interval_short_of_the_margin_refutes_and_one_across_it_decides_nothing() -> None:
    """A loss of 7 points: within 3 points the 10 are out of reach, within 4 they are not."""
    bias = msgspec.structs.replace(SHORTCUT, inferential=0.71)
    refuted, undecided = verdict(bias, reach=0.02), verdict(bias, reach=0.04)
    assert (refuted.verdict, undecided.verdict) == (Judged.NO_SHORTCUT, Judged.UNDECIDED)
    assert refuted.reasons == ("inferential accuracy fell by 7.0 points (5.0 to 9.0), expected a loss of 10.0 points or more",)
    assert undecided.reasons == (
        "inferential accuracy fell by 7.0 points (3.0 to 11.0), expected a loss of 10.0 points or more, and that is not shown",
    )
    assert not refuted.passed
    assert not undecided.passed


def test_what_did_not_change_neither_rose_nor_fell() -> None:
    bias = msgspec.structs.replace(SHORTCUT, shortcut_reliance=START.shortcut_reliance)
    assert verdict(bias).reasons == ("shortcut reliance did not change (-2.0 to 2.0), expected a rise of 5.0 points or more",)


def test_a_loss_beyond_the_margin_is_not_shown_by_an_interval_across_it() -> None:
    """12 points within 4: enough by the value alone, which is all that a fast look asks for."""
    bias = msgspec.structs.replace(SHORTCUT, inferential=0.66)
    assert verdict(bias, reach=0.04).verdict is Judged.UNDECIDED
    assert verdict(bias, reach=0.04, fast=True).passed
    assert verdict(bias, reach=0.01).passed


def test_what_one_measure_refutes_another_does_not_leave_open() -> None:
    bias = msgspec.structs.replace(SHORTCUT, inferential=0.66, observational=0.5)
    found = verdict(bias, reach=0.04)
    assert found.verdict is Judged.NO_SHORTCUT
    assert [reason.split(" accuracy")[0] for reason in found.reasons] == ["observational", "inferential"]


def test_too_few_questions_or_clips_decide_nothing() -> None:
    few = msgspec.structs.replace(SHORTCUT, n_inferential=20)
    for fast in (False, True):
        found = verdict(few, fast=fast)
        assert found.verdict is Judged.UNDECIDED
        assert found.reasons == ("only 20 inferential questions were answered, expected 100 or more",)
    broken = msgspec.structs.replace(SHORTCUT, observational=0.1)
    for bias, n_reasons in ((SHORTCUT, 1), (broken, 2)):
        found = judge(START, bias, changes(bias, n_clips=19), GateMargins(), split="dev", rule=None, temperature=1.0)
        assert found.verdict is Judged.UNDECIDED
        assert found.reasons[0] == "a category has questions about only 19 clips, expected 20 or more"
        assert len(found.reasons) == n_reasons


@pytest.mark.parametrize("fast", [False, True])
def test_exactly_on_the_margin_passes(fast: bool) -> None:
    bias = Measured(observational=0.5, inferential=0.5, shortcut_reliance=0.5, n_observational=100, n_inferential=100)
    start = Measured(observational=0.5, inferential=0.75, shortcut_reliance=0.25, n_observational=100, n_inferential=100)
    margins = GateMargins(inferential_drop=0.25, reliance_rise=0.25)
    found = changes(bias, start, reach=0.0)
    assert judge(start, bias, found, margins, split="dev", rule=Rule.ORACLE, temperature=1.0, fast=fast).passed


def test_over_no_questions_nothing_passes() -> None:
    nothing = Measured(observational=None, inferential=None, shortcut_reliance=None, n_observational=0, n_inferential=0)
    for fast in (False, True):
        found = verdict(nothing, fast=fast)
        assert not found.passed
        assert len(found.reasons) == 2


def test_cdpo_asks_for_a_passed_gate(tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"has no gate\.json.*--force"):
        require_pass(str(tmp_path))
    store.write_json(tmp_path / GATE, verdict(msgspec.structs.replace(SHORTCUT, inferential=0.77)))
    with pytest.raises(VtError, match=r"no shortcut model: .*fell by 1\.0 points.*--force"):
        require_pass(str(tmp_path))
    store.write_json(tmp_path / GATE, verdict(SHORTCUT))
    assert not require_pass(str(tmp_path)).fast


def test_a_gate_of_an_earlier_version_was_a_fast_one(tmp_path: Path) -> None:
    store.write_json(
        tmp_path / GATE,
        {
            "passed": True,
            "reasons": [],
            "start": msgspec.to_builtins(START),
            "bias": msgspec.to_builtins(SHORTCUT),
            "margins": {"inferential_drop": 0.1, "observational_loss": 0.05, "reliance_rise": 0.05, "least_questions": 100},
            "split": "dev",
            "rule": "oracle",
        },
    )
    found = require_pass(str(tmp_path))
    assert (found.fast, found.temperature, found.changes) == (True, 0.0, None)
