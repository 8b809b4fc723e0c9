"""docs/scale.md: the programs that users paste into other trainers do what they say, on the rows that are exported for them."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from release_factory import entry, question, write_release
from vt_command import curate_release

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"


def program(name: str) -> str:
    found = re.search(rf"```python\n# {re.escape(name)}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None, name
    return found[1]


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    release = write_release(tmp_path / "release", [entry(index, question(0)) for index in range(3)])
    assert curate_release(release, tmp_path / "curated", "--split", "train", "--export", "ms-swift,verl") == 0
    monkeypatch.chdir(tmp_path)
    return tmp_path / "curated"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_verls_rows_and_score(exported: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    exec(program("rows.py"), {})
    (row, *_) = datasets.Dataset.from_parquet(str(tmp_path / "train.parquet"))
    assert row["videos"][0]["video"] == "/data/video_train/video_00000-01000/video_00000.mp4"
    names: dict[str, Any] = {}
    exec(program("vt_score.py"), names)
    right = row["reward_model"]["ground_truth"]
    asked = (row["data_source"], f"<think>I look.</think>{right}", right, row["extra_info"])
    assert names["compute_score"](*asked) == 1.0
    assert names["compute_score"](row["data_source"], "I cannot tell.", right, row["extra_info"]) == 0.0


def test_ms_swifts_reward(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ModuleType("swift.rewards")
    plugin.__dict__.update(ORM=object, orms={})
    monkeypatch.setitem(sys.modules, "swift", SimpleNamespace(rewards=plugin))
    monkeypatch.setitem(sys.modules, "swift.rewards", plugin)
    exec(program("vt_reward.py"), {"__name__": "vt_reward"})
    found = rows(exported / "train.ms-swift.jsonl")
    columns = {name: [row[name] for row in found] for name in ("form", "n_options", "gold", "question_id")}
    replies = [found[0]["solution"], "<answer>none</answer>", ""]
    assert plugin.orms["vt_accuracy"]()(replies, **columns) == [1.0, 0.0, 0.0]
