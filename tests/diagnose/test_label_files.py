"""Labels from elsewhere in `vt diagnose` and `vt report`: another breakdown of the same replies, never other replies."""

from pathlib import Path

import pytest
from curated_factory import random_questions, write_curated, write_labels
from vt_command import one_error, vt

from videothinker import store
from videothinker.records import Metrics


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_curated(tmp_path / "curated", {"dev": random_questions(range(8), seed=3)})
    return tmp_path / "curated"


def test_a_probe_breaks_down_the_replies_that_are_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """24 questions: 8 observational, 8 inferential, 4 unsure by the probe, 4 without a label."""
    kinds = ["observational", "inferential", "unsure", "observational", "inferential", None]
    names = [f"{scene}:{qid}" for scene in range(8) for qid in range(3)]
    given = {name: kind for i, name in enumerate(names) if (kind := kinds[i % 6]) is not None}
    probe = write_labels(tmp_path / "probe.parquet", "probe:x", given)
    run, out = tmp_path / "run", tmp_path / "report"
    assert vt("diagnose", "--data", folder, "--model", "solver:observer", "--out", run, "--no-report") == 0
    before = (run / "observer" / "predictions.jsonl").read_bytes()
    assert vt("report", run, "--labels", probe, "--out", out) == 0
    found = store.read_json(out / "observer" / "metrics.json", Metrics)
    assert found.rule == "probe:x/twin"
    assert found.unsure is not None
    assert (found.observational.n_questions, found.inferential.n_questions, found.unsure.n_questions) == (8, 8, 4)
    assert set(found.by_rule) == {"any-option", "correct-option", "oracle", "probe:x/twin"}
    assert found.by_rule["oracle"].unsure is None
    page = (out / "report.md").read_text()
    assert "| Checkpoint | Questions | All | Observational | Inferential | Unsure | Gap |" in page
    assert "Unsure questions" in page
    assert "observer (reference)" not in page, "the probe's labels hold no answers that could be held against a checkpoint's"
    assert "<option>unsure</option>" in (out / "report.html").read_text()
    capsys.readouterr()
    assert vt("report", run, "--labels", probe, "--rule", "oracle", "--out", tmp_path / "oracle") == 0
    assert store.read_json(tmp_path / "oracle" / "observer" / "metrics.json", Metrics).rule == "oracle"
    assert vt("diagnose", "--data", folder, "--model", "solver:observer", "--out", run, "--labels", probe) == 0
    assert (run / "observer" / "predictions.jsonl").read_bytes() == before, "no label file changes what was answered"
    assert "probe:x/twin" in (run / "report.md").read_text()
    capsys.readouterr()
    assert vt("report", run, "--labels", tmp_path / "none.parquet", "--out", tmp_path / "none") == 2
    assert "none.parquet: cannot be read as parquet" in one_error(capsys)
