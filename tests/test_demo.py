"""`vt demo` is the first thing that anyone runs: it must reach both reports, and go on when it is run again."""

import json
import subprocess
import sys
from pathlib import Path


def demo(out: Path) -> str:
    command = [sys.executable, "-m", "videothinker", "demo", "--out", str(out), "--scenes", "20"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_demo_ends_at_both_reports_and_says_what_to_try_next(tmp_path: Path) -> None:
    said = demo(tmp_path / "demo")
    for page in ("curated/report.html", "runs/report.html"):
        assert (tmp_path / "demo" / page).stat().st_size > 100_000
        assert str(tmp_path / "demo" / page) in said
    assert "vt curate clevrer --annotations annotation_train" in said  # the real CLEVRER's commands
    films = list((tmp_path / "demo" / "world").rglob("*.without_?.mp4"))
    assert films
    metrics = json.loads((tmp_path / "demo" / "runs" / "observer" / "metrics.json").read_text())
    assert metrics["observational"]["per_question"]["value"] == 1.0
    assert metrics["inferential"]["per_question"]["value"] == 0.0
    tiny = json.loads((tmp_path / "demo" / "runs" / "tiny" / "metrics.json").read_text())["all"]
    assert tiny["n_decode_error"] == 0
    assert tiny["n_unparsed"] <= tiny["n_questions"] / 5  # the committed checkpoint was taught to answer, if not to be right

    before = {film: film.stat().st_mtime_ns for film in films}
    demo(tmp_path / "demo")
    assert {film: film.stat().st_mtime_ns for film in films} == before  # the second run drew nothing again
