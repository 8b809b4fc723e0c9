"""Accuracy against tokens for every stop, from answer sheets: what they keep of it, and the curves."""

from pathlib import Path

import msgspec
import numpy as np

from videothinker import store, tables
from videothinker.records import Prediction, Rule, Status
from videothinker.study.sheets import Sheet, read_sheet, to_bytes


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
