"""Accuracy against tokens for every stop, from answer sheets: what they keep of it, and the curves."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from study_factory import FILE, finish, make_study

from videothinker import store, tables
from videothinker.records import Prediction, Rule, Status
from videothinker.records.study_cells import State
from videothinker.records.study_results import ANSWERS, RESULTS, TokenPoint
from videothinker.study.cells import read_records
from videothinker.study.collect import collect
from videothinker.study.plan import cell_folder
from videothinker.study.recompute import recompute
from videothinker.study.scores import Scored
from videothinker.study.sheets import Sheet, read_sheet, to_bytes
from videothinker.study.token_curves import curve, thresholds


def prediction(question_id: str) -> Prediction:
    return Prediction(
        question_id=question_id,
        reply=r"\boxed{A} <think>x</think> \boxed{A}",
        chosen=("A",),
        gold=("A",),
        observer=None,
        status=Status.OK,
        tokens=20,
        first=("A",),
        second=("A",),
    )


def test_answer_sheets_keep_how_sure_first_answers_were_where_nothing_was_stopped(tmp_path: Path) -> None:
    gold = np.array(["A", "A", "A", "A", None], dtype=object)[:-1]
    sheet = Sheet(["a", "b", "c", "d"], [1, 2, 3, 4], gold, gold, dict.fromkeys(Rule, np.ones(4, np.bool_)))
    rows = {name: prediction(name) for name in "abc"}
    rows["a"] = msgspec.structs.replace(rows["a"], confidence=0.123456789, first_tokens=4)
    rows["b"] = msgspec.structs.replace(rows["b"], confidence=0.999999, first_tokens=5)
    cut = {**rows, "b": msgspec.structs.replace(rows["b"], stopped=True)}
    once = {name: msgspec.structs.replace(row, first=msgspec.UNSET) for name, row in rows.items()}
    sheet.add("auto", 3, rows, beside=True, whole=True)
    sheet.add("stopped", 3, rows, beside=True)
    sheet.add("cut", 3, cut, beside=True, whole=True)
    sheet.add("once", 3, once, beside=True, whole=True)
    store.write_bytes(tmp_path / "x.parquet", to_bytes(sheet))
    (row, *_) = tables.read(tmp_path / "x.parquet", {"question_id": "string"}, more=True)
    assert [name for name in row if name.startswith("auto/3 ")] == [
        *("auto/3 first", "auto/3 thinks", "auto/3 tokens", "auto/3 sure", "auto/3 first tokens"),
    ]
    assert (row["auto/3 sure"], row["auto/3 first tokens"]) == ("0.12346", "4")
    found = read_sheet(tmp_path / "x.parquet").arms(["auto", "stopped", "cut", "once"])
    auto = found["auto"][3]
    assert auto.sure is not None
    assert auto.first_tokens is not None
    assert (auto.ids.tolist(), auto.sure.tolist()) == (["a", "b", "c"], [0.12346, 1.0, -1])
    np.testing.assert_array_equal(auto.first_tokens, [4, 5, np.nan])
    for arm in ("stopped", "cut", "once"):  # as all sheets that were written before there were these columns
        assert [name for name in row if name.startswith(f"{arm}/3 ") and name.endswith((" sure", " first tokens"))] == []
        assert (found[arm][3].sure, found[arm][3].first_tokens) == (None, None)
        assert found[arm][3].tokens is not None
    store.write_bytes(tmp_path / "y.parquet", to_bytes(read_sheet(tmp_path / "x.parquet")))
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "y.parquet").read_bytes()


def run(sure: list[float], first: list[int], exact: list[int], first_tokens: list[float], tokens: list[float]) -> Scored:
    """Four questions, the first two observational."""
    n = len(sure)
    return Scored(
        ids=np.array([f"q{i}" for i in range(n)]),
        scene=np.arange(n),
        exact=np.array(exact, np.float64),
        like_observer=np.zeros(n),
        asked=np.ones(n, np.bool_),
        observational=dict.fromkeys(Rule, np.arange(n) < 2),
        first=np.array(first, np.float64),
        thinks=np.ones(n),
        tokens=np.array(tokens, np.float64),
        sure=np.array(sure, np.float64),
        first_tokens=np.array(first_tokens, np.float64),
    )


RUNS = {
    1: run([0.9, 0.4, 0.6, -1], [1, 0, 0, 0], [0, 1, 1, 1], [4, 4, 6, np.nan], [20, 30, 40, 50]),
    2: run([0.9, 0.9, 0.4, 0.9], [1, 1, 0, 1], [1, 1, 1, 0], [4, 4, 4, 8], [20, 20, 30, 10]),
}


def test_a_curve_by_hand() -> None:
    """Stopping always, seed 1: 3 of 4 replies end, 4 + 4 + 6 + 50 = 64 tokens, right are 1 0 0 1. Seed 2: all, 20, 1 1 0 1.
    At 0.6, seed 1: 4 + 30 + 6 + 50 = 90, right 1 1 0 1; seed 2: 4 + 4 + 30 + 8 = 46, right all. At 0.9, seed 1 has 4 + 30 + 40
    + 50 = 124 and all right. Never: 140 and 0 1 1 1; 80 and 1 1 1 0."""
    found = curve(RUNS, Rule.ORACLE)
    assert found is not None
    assert found["all"] == [
        TokenPoint(0.0, 7 / 8, (16 + 5) / 2, 5 / 8),
        TokenPoint(0.6, 5 / 8, (22.5 + 11.5) / 2, 7 / 8),
        TokenPoint(0.9, 4 / 8, (31 + 11.5) / 2, 1.0),
        TokenPoint(None, 0.0, (35 + 20) / 2, 6 / 8),
    ]
    assert [(one.stop_at, one.stopped, one.tokens, one.accuracy) for one in found["observational"]] == [
        *((0.0, 1.0, 4.0, 3 / 4), (0.6, 3 / 4, 10.5, 1.0), (0.9, 3 / 4, 10.5, 1.0), (None, 0.0, 22.5, 3 / 4)),
    ]
    assert found["inferential"][0] == TokenPoint(0.0, 3 / 4, (28 + 6) / 2, 2 / 4)


def test_what_was_not_asked_is_in_no_point() -> None:
    """Without its last question seed 1 has 14 of 3 always, so that the lost reply's tokens need not be known."""
    lost = RUNS[1]._replace(asked=np.array([True, True, True, False]), tokens=np.array([20, 30, 40, np.nan]))
    found = curve({1: lost}, Rule.ORACLE)
    assert found is not None
    assert found["all"][0] == TokenPoint(0.0, 1.0, 14 / 3, 1 / 3)
    assert found["inferential"][-1] == TokenPoint(None, 0.0, 40.0, 1.0)
    only = curve({1: RUNS[1]._replace(observational=dict.fromkeys(Rule, np.ones(4, np.bool_)))}, Rule.ORACLE)
    assert only is not None
    assert only["inferential"] == []


def test_thresholds_are_spread_over_ranks() -> None:
    """0.0001, ... 0.4 are 4,000 ranks, of which every hundredth is taken; where half are alike they are one threshold."""
    assert thresholds(np.arange(4001) / 10_000) == [0.0, *(round(0.01 * i, 2) for i in range(1, 41)), None]
    half = thresholds(np.array([*range(1, 501), *[1000] * 500]) / 1000)
    assert (half[0], half[1], half[-2], half[-1]) == (0.0, 0.025, 1.0, None)
    assert len(half) == 1 + (20 + 1) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"sure": None},
        {"tokens": np.array([20, 30, np.nan, 50])},
        {"sure": -np.ones(4), "first_tokens": np.full(4, np.nan)},
    ],
    ids=["not known", "tokens not counted", "nothing to stop behind"],
)
def test_there_is_no_curve_where_nothing_tells_it(change: dict[str, Any]) -> None:
    assert curve({1: RUNS[1]._replace(**change)}, Rule.ORACLE) is None
    assert curve({}, Rule.ORACLE) is None


STUDY = (
    FILE.replace('grpo = "grpo.toml"', 'grpo = "grpo.toml", auto = "auto.toml"').split("[arms.bias]")[0]
    + """
[arms.auto]
stage = "auto"
seeds = 2
against = ["grpo"]

[ask.full]
data = "curated"

[ask.stopped]
data = "curated"
options = "--limit 4"
stop_from = "full"
"""
)


def test_a_study_finds_its_curves_in_its_sheets(tmp_path: Path) -> None:
    study, plan = make_study(tmp_path, STUDY)
    out = tmp_path / "out"
    wanted = ("curated", "full.grpo-s1", "full.auto-s1", "full.auto-s2", "stopped.auto-s1")
    for cell in plan:
        if cell.name in wanted:
            finish(cell, out)
        if cell.name in wanted and cell.ask:
            _answer_twice(cell_folder(out, cell.name), twice=cell.arm == "auto")
    states = {cell.name: State.FINISHED if cell.name in wanted else State.WAITING for cell in plan}
    records = read_records([cell for cell in plan if cell.name in wanted], out)
    results, sheets = collect(study, plan, out, states, records)
    assert [(one.ask, one.arm, one.n_seeds) for one in results.curves] == [("full", "auto", 2)]
    assert results.curves[0].points["all"] == [
        TokenPoint(0.0, 1.0, 5.0, 1.0),
        TokenPoint(0.9, 0.5, 12.5, 1.0),
        TokenPoint(None, 0.0, 20.0, 1.0),
    ]
    report = tmp_path / "report"
    store.write_json(report / RESULTS, results)
    for name, sheet in sheets.items():
        store.write_bytes(report / ANSWERS / f"{name}.parquet", to_bytes(sheet))
    assert recompute(report).differing == []
    changed = read_sheet(report / ANSWERS / "full.parquet")
    sure = changed.beside["auto", 2].sure
    assert sure is not None
    sure[0] = "0.95000"
    store.write_bytes(report / ANSWERS / "full.parquet", to_bytes(changed))
    assert any(place.startswith("curves.0.points.all") for place in recompute(report).differing)


def _answer_twice(folder: Path, *, twice: bool) -> None:
    """All is right, in 20 tokens; of an arm that answers twice the first answer in 5, of which each second one is sure."""
    (file,) = folder.glob("*/predictions.jsonl")
    found = []
    for index, row in enumerate(store.read_jsonl(file, Prediction)):
        changed = msgspec.structs.replace(row, chosen=row.gold, tokens=20)
        if twice:
            changed = msgspec.structs.replace(
                changed, first=row.gold, second=row.gold, first_tokens=5, confidence=0.9 if index % 2 else 0.4
            )
        found.append(changed)
    store.write_jsonl(file, found)
