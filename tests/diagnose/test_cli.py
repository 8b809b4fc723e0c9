"""`vt diagnose` and `vt report` as a user runs them: files, tables, exit codes.

Covers: solvers end to end, resuming, partial runs, re-scoring under another rule, imports, clashes and other mistakes.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from curated_factory import a_choice, a_question, random_questions, write_curated, write_unlabelled
from typer.testing import CliRunner, Result

from videothinker import answers, store
from videothinker.cli import app
from videothinker.curated import Curated
from videothinker.errors import VtError
from videothinker.records import Benchmark, Metrics, Rule


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    questions = {"train": random_questions(range(8), seed=1), "dev": random_questions(range(100, 140), seed=2)}
    return write_curated(tmp_path_factory.mktemp("data") / "curated", questions)


def vt(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_diagnose_writes_runs_and_report_and_tells_the_numbers(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    result = vt("diagnose", "--data", curated.folder, "--model", "solver:observer", "--model", "top=solver:gold", "--out", out)
    assert result.exit_code == 0
    assert {path.name for path in (out / "top").iterdir()} == {"predictions.jsonl", "run.json", "metrics.json"}
    assert b"<html" in (out / "report.html").read_bytes()
    assert (out / "report.md").is_file()
    assert list(out.glob("*.png"))
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    # All right in scenes of unequal size, as good as 31.8 even ones: t^2 / (31.8 + t^2) with t^2 = 4.1.
    assert "100.0 \u00b111.4" in rows["observer"]
    assert "+100.0" in rows["observer"]
    for name in ("chance", "prior", "top"):
        assert name in rows
    assert "observer: looks rather than reasons" in result.stdout
    assert "top: no gap shown between looking and reasoning" in result.stdout
    summary = store.read_json(out / "summary.json", dict[str, Any])
    assert set(summary["references"]) == {"chance", "prior", "observer"}
    assert {(row["before"], row["after"]) for row in summary["comparisons"]} == {("observer", "top")}


def test_a_later_model_joins_the_report_of_the_same_folder(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    vt("diagnose", "--data", curated.folder, "--model", "solver:none", "--out", out)
    result = vt("diagnose", "--data", curated.folder, "--model", "solver:gold", "--out", out)
    assert "none: " in result.stdout
    assert "gold: " in result.stdout
    assert "answered already" in vt("diagnose", "--data", curated.folder, "--model", "solver:gold", "--out", out).stderr


def test_a_limited_run_says_that_it_is_partial(curated: Curated, tmp_path: Path) -> None:
    result = vt("diagnose", "--data", curated.folder, "--model", "solver:gold", "--out", tmp_path, "--limit", "4")
    assert "partial: 4 of 120 questions" in result.stdout
    assert "partial" in (tmp_path / "report.md").read_text()
    assert store.read_json(tmp_path / "gold" / "run.json", dict[str, Any])["partial"] == {"asked": 4, "of": 120}


def test_processes_of_torchrun_share_the_questions_and_write_one_report(curated: Curated, tmp_path: Path) -> None:
    vt("diagnose", "--data", curated.folder, "--model", "solver:gold", "--out", tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "videothinker"]
    command += ["diagnose", "--data", str(curated.folder), "--model", "solver:gold", "--out", str(tmp_path / "two")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("gold: no gap") == 1
    one, two = ((tmp_path / name / "gold" / "predictions.jsonl").read_bytes() for name in ("one", "two"))
    assert one == two


def test_report_scores_again_under_another_rule_and_leaves_the_run_alone(curated: Curated, tmp_path: Path) -> None:
    vt("diagnose", "--data", curated.folder, "--model", "solver:observer", "--out", tmp_path / "runs")
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    result = vt("report", tmp_path / "runs", "--out", tmp_path / "again", "--rule", "any-option")
    assert result.exit_code == 0
    assert "by the rule any-option, watching answers only" in " ".join(result.stderr.split())
    found = store.read_json(tmp_path / "again" / "observer" / "metrics.json", Metrics)
    old = store.read_json(tmp_path / "runs" / "observer" / "metrics.json", Metrics)
    assert found.rule == Rule.ANY_OPTION
    assert found.observational == old.by_rule[Rule.ANY_OPTION].observational
    assert (tmp_path / "again" / "report.html").is_file()
    assert {path: path.read_bytes() for path in before} == before


def test_report_reads_replies_anew_when_told_to(curated: Curated, tmp_path: Path) -> None:
    vt("diagnose", "--data", curated.folder, "--model", "solver:gold", "--out", tmp_path / "runs")
    path = tmp_path / "runs" / "gold" / "predictions.jsonl"
    path.write_text("".join(json.dumps({**json.loads(line), "chosen": None}) + "\n" for line in path.read_text().splitlines()))
    shares = []
    for extra in ([], ["--reread"]):
        result = vt("report", tmp_path / "runs", "--out", tmp_path / "again", *extra)
        assert ("120 replies are read differently by this version" in result.stderr) is not bool(extra)
        shares.append(store.read_json(tmp_path / "again" / "gold" / "metrics.json", Metrics).all.per_question.value)
    assert shares == [0.0, 1.0]


def test_report_takes_result_files_of_other_evaluators(curated: Curated, tmp_path: Path) -> None:
    results = tmp_path / "output.json"
    rows = [{"question_id": q.question_id, "output": answers.solution(q)} for q in curated.questions("dev")]
    results.write_text(json.dumps({"results": rows}))
    result = vt("report", "--import", f"official={results}", "--data", curated.folder, "--out", tmp_path / "report")
    assert result.exit_code == 0
    assert store.read_json(tmp_path / "report" / "official" / "metrics.json", Metrics).all.per_question.value == 1.0
    assert "official: no gap" in result.stdout


def test_a_set_without_labels_is_diagnosed_by_accuracy_alone(tmp_path: Path) -> None:
    """Two tasks of three and one single choices of four; gold is A."""
    tasks = ["order", "order", "order", "count"]
    questions = [a_choice(f"{i}", facets={"task": task}) for i, task in enumerate(tasks)]
    benchmark = Benchmark(name="Tasks", macro_over="task")
    folder = write_unlabelled(tmp_path / "data", {"test": questions}, benchmark=benchmark).folder
    results = tmp_path / "output.json"
    results.write_text(json.dumps([{"question_id": f"{i}", "output": "ABBA"[i]} for i in range(4)]))
    out = tmp_path / "runs"
    assert vt("diagnose", "--data", folder, "--model", "solver:gold", "--out", out).exit_code == 0
    found = store.read_json(out / "gold" / "metrics.json", Metrics)
    assert (found.rule, found.chance, found.all.per_question.value) == (None, 0.25, 1.0)
    assert set(store.read_json(out / "summary.json", dict[str, Any])["references"]) == {"chance"}
    result = vt("report", out, "--import", f"official={results}", "--data", folder, "--out", tmp_path / "report")
    assert result.exit_code == 0
    official = store.read_json(tmp_path / "report" / "official" / "metrics.json", Metrics)
    assert official.all.per_question.value == 1 / 2
    assert official.benchmark is not None
    assert official.benchmark.value == pytest.approx((1 / 3 + 1) / 2)
    assert "official: " in result.stdout
    with pytest.raises(VtError, match="no labels 'oracle' for these questions; there are none"):
        vt("report", out, "--out", tmp_path / "again", "--rule", "oracle")


def test_three_scenes_get_no_verdict(tmp_path: Path) -> None:
    curated = write_curated(tmp_path / "curated", {"dev": random_questions(range(3), per_scene=4, seed=5)})
    result = vt("diagnose", "--data", curated.folder, "--model", "solver:random", "--model", "solver:gold", "--out", tmp_path)
    assert "random: too few clips to tell: 3, 20 or more are needed" in result.stdout
    assert "gold: too few clips to tell: 3, 20 or more are needed" in result.stdout


def test_a_dash_stands_for_what_is_not_there(tmp_path: Path) -> None:
    curated = write_curated(tmp_path / "curated", {"dev": [a_question("0:0"), a_question("1:0")]})
    result = vt("diagnose", "--data", curated.folder, "--model", "solver:none", "--out", tmp_path / "runs")
    line = next(line for line in result.stdout.splitlines() if line.strip().startswith("none"))
    assert line.split()[3:6] == ["\u2013", "\u2013", "\u2013"]  # inferential, gap, reliance
    assert "too few clips to tell: 2, 20 or more are needed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "solver:oracle"], "solver:oracle: is not a built-in solver"),
        (["--model", "x=solver:gold", "--model", "x=solver:none"], "two checkpoints are named 'x'"),
        (["--model", "solver:gold", "--split", "test"], "has no split 'test'; its splits are train, dev"),
        (["--model", "solver:gold", "--frames", "0"], "n_frames is 0, expected 1 to 768"),
        (["--model", "solver:gold", "--limit", "0"], "--limit is 0"),
        (["--model", "solver:gold", "--videos", "nowhere"], "--videos nowhere: is not a folder"),
    ],
)
def test_mistakes_in_diagnose(curated: Curated, tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(VtError) as error:
        vt("diagnose", "--data", curated.folder, "--out", tmp_path / "runs", *arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to report on"),
        (["--import", "x=results.json"], "--import needs --data"),
        (["nowhere"], "nowhere: holds no predictions"),
    ],
)
def test_mistakes_in_report(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(VtError, match=message):
        vt("report", "--out", tmp_path / "report", *arguments)


def test_a_refused_report_leaves_nothing_behind(curated: Curated, tmp_path: Path) -> None:
    runs, out = tmp_path / "runs", tmp_path / "report"
    vt("diagnose", "--data", curated.folder, "--model", "base=solver:gold", "--out", runs)
    with pytest.raises(VtError, match="base was not asked to answer twice"):
        vt("report", runs, "--stop-sweep", "--out", out)
    assert not out.exists()
    question = curated.questions("dev")[0]
    (tmp_path / "r.jsonl").write_text(json.dumps({"question_id": question.question_id, "reply": "A"}) + "\n")
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    for refused in (["--import", f"base={tmp_path / 'r.jsonl'}"], [runs, "--stop-sweep"]):
        with pytest.raises(VtError):
            vt("report", *refused, "--data", curated.folder, "--out", runs)
        assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


def test_nothing_is_asked_of_a_model_when_a_later_one_has_a_mistake(curated: Curated, tmp_path: Path) -> None:
    with pytest.raises(VtError, match="not a built-in solver"):
        vt("diagnose", "--data", curated.folder, "--out", tmp_path, "--model", "solver:gold", "--model", "solver:golden")
    assert list(tmp_path.iterdir()) == []


def test_a_report_may_be_left_to_others(curated: Curated, tmp_path: Path) -> None:
    vt("diagnose", "--data", curated.folder, "--model", "solver:gold", "--out", tmp_path, "--no-report")
    assert {path.name for path in tmp_path.rglob("*")} == {"gold", "predictions.jsonl", "run.json", "metrics.json"}
    vt("diagnose", "--data", curated.folder, "--model", "solver:gold", "--out", tmp_path)
    assert (tmp_path / "report.html").is_file()
