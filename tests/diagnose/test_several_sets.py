"""`vt diagnose` and `vt report` with several data sets, as a user runs them: files, tables, resuming, mistakes."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from curated_factory import a_choice, random_questions, write_curated, write_unlabelled
from rich.console import Console
from typer.testing import CliRunner, Result

from videothinker import store
from videothinker.cli import app
from videothinker.cli.benchmarks_display import benchmarks_table
from videothinker.errors import VtError
from videothinker.records import Benchmark, Clip, Metrics
from videothinker.records.benchmarks import Benchmarks

MODELS = ("--model", "solver:random", "--model", "top=solver:gold")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled set of two splits, and two of one split without labels, one of which is averaged over tasks."""
    folder = tmp_path_factory.mktemp("data")
    labelled = {"train": random_questions(range(8), seed=1), "dev": random_questions(range(100, 130), seed=2)}
    write_curated(folder / "clevrer", labelled)
    tasks = [a_choice(str(i), facets={"task": "order" if i < 30 else "count"}, group=f"clip-{i // 2}") for i in range(40)]
    tasks = [msgspec.structs.replace(one, source="MVBench") for one in tasks]
    write_unlabelled(folder / "mvbench", {"test": tasks}, benchmark=Benchmark(name="MVBench", macro_over="task"))
    write_unlabelled(folder / "plain", {"val": [a_choice(f"p{i}", n_options=5) for i in range(24)]})
    return folder


def vt(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def asked(data: Path, *names: str) -> list[str]:
    return [part for name in names for part in ("--data", str(data / name))]


def diagnose(data: Path, out: Path, *more: str) -> Result:
    return vt("diagnose", *asked(data, "clevrer", "mvbench", "plain"), *MODELS, "--out", out, *more)


def summary(out: Path) -> Benchmarks:
    return store.read_json(out / "summary.json", Benchmarks)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("runs") / "table"
    return out, diagnose(data, out)


def test_every_set_has_its_runs_and_page_and_all_have_one_table(runs: tuple[Path, Result]) -> None:
    out, result = runs
    assert result.exit_code == 0
    for dataset in ("clevrer", "mvbench", "plain"):
        for name in ("random", "top"):
            assert {path.name for path in (out / dataset / name).iterdir()} == {"predictions.jsonl", "run.json", "metrics.json"}
        assert (out / dataset / "report.html").is_file()
    assert not (out / "random").exists()
    found = summary(out)
    assert list(found.datasets) == ["clevrer", "mvbench", "plain"]
    assert list(found.checkpoints) == ["random", "top"]
    assert (found.datasets["clevrer"].splits, found.datasets["mvbench"].splits) == (["dev"], ["test"])
    assert (found.datasets["clevrer"].rule, found.datasets["plain"].rule) == ("oracle", None)
    assert set(found.references) == {"chance", "prior", "observer"}
    assert set(found.references["observer"]) == {"clevrer"}
    for dataset, scores in found.checkpoints["random"].items():
        metrics = store.read_json(out / dataset / "random" / "metrics.json", Metrics)
        assert scores.value == (metrics.benchmark.value if metrics.benchmark else metrics.all.per_question.value)
    html = (out / "report.html").read_text()
    assert 'href="mvbench/report.html"' in html
    assert 'href="../report.html"' in (out / "mvbench" / "report.html").read_text()
    assert (out / "tables" / "benchmarks.tex").is_file()


def test_the_terminal_has_the_table_and_the_verdicts(runs: tuple[Path, Result]) -> None:
    rows = {line.split()[0]: line for line in runs[1].stdout.splitlines() if line.strip()}
    assert rows["checkpoint"].split() == ["checkpoint", "clevrer", "mvbench", "plain", "average"]
    assert rows["top"].split()[1::2] == ["100.0", "100.0", "100.0", "100.0"]
    assert "clevrer: top: no gap shown" in runs[1].stdout
    assert "answered exactly right, %, as each data set is averaged" in runs[1].stdout
    assert max(map(len, runs[1].stdout.splitlines())) <= 100


def test_resuming_asks_only_what_is_missing_and_changes_nothing(runs: tuple[Path, Result], data: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    diagnose(data, out)
    whole = (out / "mvbench" / "top" / "predictions.jsonl").read_bytes()
    (out / "mvbench" / "top" / "predictions.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:7]) + b'{"torn')
    (out / "mvbench" / "top" / "metrics.json").unlink()
    shutil.rmtree(out / "plain" / "top")
    result = diagnose(data, out)
    n = 90 + 40 + 24
    assert f"{2 * n - 33 - 24} of {2 * n} questions are answered already" in result.stderr
    assert (out / "mvbench" / "top" / "predictions.jsonl").read_bytes() == whole
    assert summary(out) == summary(runs[0])


def test_a_later_checkpoint_joins_the_table_and_the_first_stays_the_baseline(data: Path, tmp_path: Path) -> None:
    diagnose(data, tmp_path)
    sets = asked(data, "clevrer", "mvbench", "plain")
    vt("diagnose", *sets, "--model", "solver:none", "--out", tmp_path)
    found = summary(tmp_path)
    assert (found.baseline, list(found.checkpoints)) == ("random", ["random", "top", "none"])
    result = vt("diagnose", *sets, "--model", "solver:none", "--out", tmp_path, "--baseline", "top")
    assert result.exit_code == 0
    assert {one.before for one in summary(tmp_path).changes} == {"top"}


def test_report_draws_the_same_again_without_being_told_the_sets(runs: tuple[Path, Result], data: Path, tmp_path: Path) -> None:
    out = runs[0]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert vt("report", out, "--out", tmp_path / "again").exit_code == 0
    assert summary(tmp_path / "again") == summary(out)
    assert (tmp_path / "again" / "mvbench" / "top" / "metrics.json").is_file()
    told = vt("report", out, "--out", tmp_path / "two", *asked(data, "plain", "mvbench"), "--baseline", "top")
    assert told.exit_code == 0
    assert list(summary(tmp_path / "two").datasets) == ["plain", "mvbench"]
    assert summary(tmp_path / "two").baseline == "top"
    assert {path: path.read_bytes() for path in before} == before


def test_another_rule_scores_the_sets_that_have_labels(runs: tuple[Path, Result], tmp_path: Path) -> None:
    vt("report", runs[0], "--out", tmp_path, "--rule", "any-option")
    found = summary(tmp_path)
    assert (found.datasets["clevrer"].rule, found.datasets["plain"].rule) == ("any-option", None)
    assert found.checkpoints["random"]["plain"] == summary(runs[0]).checkpoints["random"]["plain"]


def test_a_limit_holds_for_each_set_and_takes_of_every_task_its_share(data: Path, tmp_path: Path) -> None:
    result = diagnose(data, tmp_path, "--limit", "8")
    found = summary(tmp_path)
    assert {score.n for score in found.checkpoints["top"].values()} == {8}
    metrics = store.read_json(tmp_path / "mvbench" / "top" / "metrics.json", Metrics)
    assert {task: pool.n_questions for task, pool in metrics.by_facet["task"].items()} == {"order": 6, "count": 2}
    partial = found.checkpoints["top"]["mvbench"].partial
    assert partial is not None
    assert (partial.asked, partial.of) == (8, 40)
    assert "was asked 8 of 40 questions of mvbench" in (tmp_path / "report.md").read_text()
    assert "partial: mvbench 8 of 40 questions\n" in result.stdout


def test_a_split_and_a_name_can_be_given_for_one_set(data: Path, tmp_path: Path) -> None:
    sets = ["--data", f"real={data / 'clevrer'}", "--data", str(data / "plain")]
    vt("diagnose", *sets, "--model", "solver:gold", "--out", tmp_path, "--split", "real=train")
    assert {name: one.splits for name, one in summary(tmp_path).datasets.items()} == {"real": ["train"], "plain": ["val"]}


def test_processes_of_torchrun_share_the_questions_of_all_sets(runs: tuple[Path, Result], data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "videothinker"]
    command += ["diagnose", *asked(data, "clevrer", "mvbench", "plain"), *MODELS, "--out", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert summary(tmp_path) == summary(runs[0])
    for dataset in ("clevrer", "mvbench", "plain"):
        one, two = (folder / dataset / "random" / "predictions.jsonl" for folder in (runs[0], tmp_path))
        assert two.read_bytes() == one.read_bytes()


def mistake(*arguments: str | Path) -> str:
    with pytest.raises(VtError) as error:
        vt(*arguments)
    return str(error.value)


def test_mistakes_are_said_before_anything_is_asked(runs: tuple[Path, Result], data: Path, tmp_path: Path) -> None:
    plain = str(data / "plain")
    twice = ["--data", plain, "--data", f"x/../{plain}", "--model", "solver:gold", "--out", tmp_path]
    assert "two data sets are named 'plain'" in mistake("diagnose", *twice)
    sets = asked(data, "clevrer", "plain")
    one = [*sets, "--model", "solver:gold", "--out", tmp_path]
    assert "--split mvbench=test: there is no data set 'mvbench'; there are clevrer, plain" in mistake(
        "diagnose", *one, "--split", "mvbench=test"
    )
    assert "there is no such checkpoint; there are gold" in mistake("diagnose", *one, "--baseline", "base")
    assert "has no split 'dev'" in mistake("diagnose", *one, "--split", "dev")
    assert "has no labels of its own" in mistake("diagnose", *sets, "--model", "solver:observer", "--out", tmp_path)
    assert not list(tmp_path.iterdir())
    assert "is for several data sets" in mistake(
        "diagnose", "--data", plain, "--model", "solver:gold", "--out", tmp_path, "--baseline", "gold"
    )
    alone = ["diagnose", "--data", plain, "--model", "solver:gold", "--out"]
    assert "holds a run over several data sets (clevrer, mvbench, plain)" in mistake(*alone, runs[0])
    vt(*alone, tmp_path / "alone")
    assert "holds the report of a run over one data set" in mistake("diagnose", *sets, *MODELS, "--out", tmp_path / "alone")
    assert "holds runs over the data sets clevrer, mvbench, plain; name one's folder" in mistake(
        "report", runs[0], runs[0] / "plain", "--out", tmp_path / "report"
    )
    assert "there is no such checkpoint" in mistake("report", runs[0], "--out", tmp_path / "report", "--baseline", "base")
    assert not (tmp_path / "report").exists()
    assert "holds no runs; expected those" in mistake("report", tmp_path / "alone", *sets, "--out", tmp_path / "report")


def test_checkpoints_that_watch_are_refused_before_any_is_asked_where_one_set_has_no_clips(data: Path, tmp_path: Path) -> None:
    told = mistake("diagnose", *asked(data, "plain", "mvbench"), "--model", "nowhere/model", "--out", tmp_path)
    assert "was curated without clips" in told


@pytest.mark.parametrize("width", [100, 60, 40])
def test_a_narrow_terminal_has_another_table_and_loses_no_number(runs: tuple[Path, Result], width: int) -> None:
    found = summary(runs[0])
    many = {f"{name}-{i}": one for i in range(3) for name, one in found.datasets.items()}
    scores: dict[str, Any] = {
        name: {f"{dataset}-{i}": one for i in range(3) for dataset, one in each.items()}
        for name, each in found.checkpoints.items()
    }
    wide = msgspec.structs.replace(found, datasets=many, checkpoints=scores, references={})
    console = Console(width=width)
    with console.capture() as capture:
        console.print(benchmarks_table(wide, width))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.count("100.0 \u00b1") for line in lines) == 9


def test_no_frames_of_the_protocols_also_where_it_sets_them_for_one_set_alone(tmp_path: Path) -> None:
    for name in ("MMVU", "Video-Holmes"):
        questions = [msgspec.structs.replace(a_choice(f"{name}-{i}"), source=name) for i in range(3)]
        write_unlabelled(tmp_path / name, {"test": questions})
    options = ["--protocol", "official", "--frames", "0", "--limit", "1", "--model", "solver:gold", "--out", tmp_path / "out"]
    result = vt("diagnose", *asked(tmp_path, "MMVU", "Video-Holmes"), *options)
    assert result.exit_code == 0
    told = {line.split(":")[0]: line for line in result.stderr.splitlines() if ": protocol official sets" in line}
    assert "overridden: frame rule, frames, fps" in told["MMVU"]
    assert "overridden" not in told["Video-Holmes"]
    for name in ("MMVU", "Video-Holmes"):
        record = store.read_json(tmp_path / "out" / name / "gold" / "run.json", dict[str, Any])
        assert (record["settings"]["n_frames"], record["settings"].get("frame_rule")) == (None, None)


def test_a_server_that_cannot_be_sent_a_set_is_not_asked_about_the_set_before_it(tmp_path: Path) -> None:
    part = msgspec.structs.replace(a_choice("p"), clip=Clip(path="a.mp4", start=1.0, end=2.0))
    for name, question in (("whole", a_choice("w")), ("parts", part)):
        write_unlabelled(tmp_path / name, {"test": [question]})
    clips = ["--videos", str(tmp_path)]
    server = ["--model", "m", "--endpoint", "http://127.0.0.1:1/v1", "--out", str(tmp_path / "out")]
    told = mistake("diagnose", *asked(tmp_path, "whole", "parts"), *clips, *server)
    assert "needs --frames for these questions: p is about a part of its clip" in told
