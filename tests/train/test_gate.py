"""The verdict between the stages: on numbers written by hand, and what `vt train cdpo` makes of it."""

from pathlib import Path

import msgspec
import pytest

from videothinker import store
from videothinker.errors import VtError
from videothinker.records import Rule
from videothinker.records.training import GATE, GateMargins, GateVerdict, Measured
from videothinker.train.gate import judge, require_pass

START = Measured(observational=0.93, inferential=0.78, shortcut_reliance=0.06, n_observational=2000, n_inferential=4000)
SHORTCUT = Measured(observational=0.97, inferential=0.49, shortcut_reliance=0.32, n_observational=2000, n_inferential=4000)


def verdict(bias: Measured, start: Measured = START) -> GateVerdict:
    return judge(start, bias, GateMargins(), split="dev", rule=Rule.ORACLE)


def test_a_shortcut_model_passes() -> None:
    found = verdict(SHORTCUT)
    assert found.passed
    assert found.reasons == ()
    assert (found.start, found.bias) == (START, SHORTCUT)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inferential": 0.77}, "inferential accuracy fell by 1.0 points, expected a loss of 10.0 points or more"),
        ({"inferential": 0.85}, "inferential accuracy rose by 7.0 points, expected a loss of 10.0 points or more"),
        ({"observational": 0.50}, "observational accuracy fell by 43.0 points, expected a loss of 5.0 points at most"),
        ({"shortcut_reliance": 0.07}, "shortcut reliance rose by 1.0 points, expected a rise of 5.0 points or more"),
        ({"n_inferential": 20}, "only 20 inferential questions were answered, expected 100 or more"),
    ],
)
def test_what_is_no_shortcut_model_does_not(change: dict[str, float], reason: str) -> None:
    found = verdict(msgspec.structs.replace(SHORTCUT, **change))
    assert not found.passed
    assert found.reasons == (reason,)


def test_exactly_on_the_margin_passes() -> None:
    bias = Measured(observational=0.5, inferential=0.5, shortcut_reliance=0.5, n_observational=100, n_inferential=100)
    start = Measured(observational=0.5, inferential=0.75, shortcut_reliance=0.25, n_observational=100, n_inferential=100)
    margins = GateMargins(inferential_drop=0.25, reliance_rise=0.25)
    assert judge(start, bias, margins, split="dev", rule=Rule.ORACLE).passed


def test_over_no_questions_nothing_passes() -> None:
    nothing = Measured(observational=None, inferential=None, shortcut_reliance=None, n_observational=0, n_inferential=0)
    found = verdict(nothing)
    assert not found.passed
    assert len(found.reasons) == 2


def test_cdpo_asks_for_a_passed_gate(tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"has no gate\.json.*--force"):
        require_pass(str(tmp_path))
    store.write_json(tmp_path / GATE, verdict(msgspec.structs.replace(SHORTCUT, inferential=0.77)))
    with pytest.raises(VtError, match=r"fell by 1\.0 points.*--force"):
        require_pass(str(tmp_path))
    store.write_json(tmp_path / GATE, verdict(SHORTCUT))
    require_pass(str(tmp_path))
