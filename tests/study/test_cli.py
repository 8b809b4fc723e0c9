"""`vt study` as a user runs it: the plan, mistakes told before anything runs, reports, exit codes."""

import json
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import vt_command
from report_factory import make
from study_factory import FILE, finish, make_study, write_study
from typer.testing import CliRunner, Result

from videothinker import store
from videothinker.cli import app, study_packs
from videothinker.errors import VtError
from videothinker.study import pack as packs
from videothinker.study import parts, run

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = FILE.replace("seeds = [1, 2, 3, 4]", "seeds = [1, 2]")


def vt(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_the_plan_tells_cells_and_minutes_and_runs_nothing(tmp_path: Path) -> None:
    """12 trainings of a minute, 26 askings of two."""
    result = vt("study", write_study(tmp_path, SMALL), "--out", tmp_path / "out", "--dry-run", "--gpus", "0")
    assert result.exit_code == 0
    assert "GPU minutes: 64" in result.output
    assert "1 at once, GPUs 0" in result.output
    assert "repulsion-03-s2" in result.output
    assert not (tmp_path / "out").exists()


def test_a_plans_document_has_every_cell_and_the_sums_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_study(tmp_path, SMALL)
    assert vt_command.vt("study", file, "--out", tmp_path / "out", "--dry-run", "--gpus", "0", "--json") == 0
    shown = capsys.readouterr()
    said = json.loads(shown.out)
    assert "GPU minutes: 64" in shown.err
    assert said["gpu_seconds"] == said["left_seconds"] == 64 * 60
    assert {"name": "repulsion-03-s2", "state": "waiting", "seconds": 60} in said["cells"]
    assert len(said["cells"]) == 39


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('{ "objective.repulsion" = 0.03 }', '{ "objective.repulsoin" = 0.03 }', "objective.repulsoin: unknown setting"),
        ('{ "objective.repulsion" = 0.03 }', '{ "objective.kl" = "k4" }', "objective.kl = 'k4'"),
        ("--temperature 1", "--temprature 1", "vt diagnose: there is no option --temprature; did you mean --temperature?"),
        (
            "--temperature 1",
            "--temperature warm",
            "vt diagnose: --temperature: expected a number, got 'warm'; see vt diagnose --help",
        ),
        ("curate clevrer", "curate kinetics", "there is no such command"),
        ("--annotations a ", "", "--annotations is missing"),
        (
            "curate clevrer --annotations a --questions q",
            f"train sft --config {CONFIGS}/tiny-sft.toml --set evaluation.every=1",
            "evaluation.every: unknown setting",
        ),
        (
            "curate clevrer --annotations a --questions q",
            f"pretrain --config {CONFIGS}/tiny-sft.toml --set evaluation.every=2",
            "evaluation.every: unknown setting",
        ),
    ],
)
def test_mistakes_show_before_anything_runs(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in SMALL
    file = write_study(tmp_path, SMALL.replace(old, new))
    with pytest.raises(VtError) as caught:
        vt("study", file, "--out", tmp_path / "out", "--dry-run")
    assert said in str(caught.value)
    assert str(caught.value).count(said) == 1  # once, not for every seed


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("study-*.toml")), ids=lambda path: path.stem)
def test_the_shipped_studies_have_a_plan_without_mistakes(tmp_path: Path, file: Path) -> None:
    assert "GPU minutes" in vt("study", file, "--out", tmp_path / "out", "--dry-run", "--gpus", "0").output


def test_a_report_of_what_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, plan = make_study(tmp_path, SMALL)
    questions = make(40, 3).questions["train"]
    for cell in plan:
        if cell.name != "sampled.cdpo-s2":
            finish(cell, tmp_path / "out", questions)
    command = ("study", tmp_path / "study.toml", "--out", tmp_path / "out")
    assert vt_command.vt(*command, "--report-only", "--json") == 0
    shown = capsys.readouterr()
    assert "38 finished, 1 waiting" in shown.err
    assert "CDPO beats GRPO" in shown.err
    written = store.read_json(tmp_path / "out" / "results.json", dict[str, object])
    assert written["states"]["sampled.cdpo-s2"] == "waiting"  # type: ignore[index]
    assert (tmp_path / "out" / "figure-differences.png").is_file()
    assert "cdpo (seed 2) was not asked sampled: waiting." in (tmp_path / "out" / "report.md").read_text()
    summary = (tmp_path / "out" / "summary.md").read_text().splitlines()
    assert len(summary) == 3
    assert summary[1].startswith("- **CDPO beats GRPO: ")
    assert "over 2 seeds [" in summary[1]

    said = json.loads(shown.out)
    assert said == {key: written[key] for key in ("verdicts", "states")} | {"report": str(tmp_path / "out" / "report.html")}
    assert vt_command.vt(*command, "--recompute", "--json") == 0
    recomputed = json.loads(capsys.readouterr().out)
    assert (recomputed["verdicts"], recomputed["differing"]) == (said["verdicts"], [])
    assert recomputed["n_numbers"] > 20


def test_a_claim_whose_cells_are_not_over_is_told_as_what_it_is_so_far(tmp_path: Path) -> None:
    """One asking of cdpo is not over; the claims about other arms do not wait for it."""
    _, plan = make_study(tmp_path, SMALL)
    questions = make(40, 3).questions["train"]
    for cell in plan:
        if cell.name != "greedy.cdpo-s2":
            finish(cell, tmp_path / "out", questions)
    command = ("study", tmp_path / "study.toml", "--out", tmp_path / "out")
    printed = vt(*command, "--report-only").output
    verdicts = {one["claim"]["text"]: one for one in store.read_json(tmp_path / "out" / "results.json", Any)["verdicts"]}
    waiting = {text: one["open"] for text, one in verdicts.items() if one["open"]}
    assert waiting == {"CDPO beats GRPO": 1, "Attraction is worse than repulsion": 1}
    assert len(verdicts) == 3
    assert printed.count("so far: 1 of its cells are open") == 2
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.count(" so far.**") == 2
    assert "(no verdict yet: 1 trainings and askings that it rests on are not over)" in report
    assert "so far: 1 of its cells are open" in vt(*command, "--recompute").output


def test_fewer_seeds_than_the_file_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of seed 1 is finished: with `--seeds 1` nothing is left to run; more seeds than there are is a line."""
    _, plan = make_study(tmp_path, SMALL)
    for cell in plan:
        if cell.seed != 2:
            finish(cell, tmp_path / "out")
    command = ("study", tmp_path / "study.toml", "--out", tmp_path / "out", "--dry-run", "--gpus", "0", "--json")
    assert vt_command.vt(*command, "--seeds", "1") == 0
    told = json.loads(capsys.readouterr().out)
    assert {cell["name"]: cell["state"] for cell in told["cells"]} == {cell.name: "finished" for cell in plan if cell.seed != 2}
    assert told["left_seconds"] == 0
    assert vt_command.vt(*command, "--seeds", "3") == 2
    assert vt_command.one_error(capsys) == "error: --seeds 3: the study has 2"


def test_failed_cells_end_with_exit_code_1_and_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "VT", (sys.executable, str(Path(__file__).with_name("stub_vt.py"))))
    file = write_study(tmp_path, SMALL)
    out = tmp_path / "out"
    store.write_json(out / "orders", {"curated": "fail"})
    result = vt("study", file, "--out", out, "--set", "schedule.cpu_jobs=4")
    assert result.exit_code == 1
    assert "1 failed, 38 blocked" in result.output
    page = (out / "report.html").read_text()
    assert "ValueError: as ordered" in page
    assert [json.loads(line)[1] for line in (out / "diary").read_text().splitlines()] == ["curated"]


def test_a_changed_study_is_refused_before_it_runs(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, SMALL)
    for cell in plan[:8]:
        finish(cell, tmp_path / "out")
    with pytest.raises(VtError, match="--redo"):
        vt("study", tmp_path / "study.toml", "--out", tmp_path / "out", "--set", "train.steps=50")
    result = vt("study", tmp_path / "study.toml", "--out", tmp_path / "out", "--set", "train.steps=50", "--dry-run")
    assert result.exit_code == 0
    assert "with another command or input" in " ".join(result.output.split())


def test_redo_runs_what_has_changed_and_keeps_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All askings fail, so that the report has no answers to read from the stub."""
    monkeypatch.setattr(run, "VT", (sys.executable, str(Path(__file__).with_name("stub_vt.py"))))
    _, plan = make_study(tmp_path, SMALL)
    out = tmp_path / "out"
    store.write_json(out / "orders", {cell.name: "fail" for cell in plan if cell.ask})
    assert vt("study", tmp_path / "study.toml", "--out", out, "--set", "schedule.cpu_jobs=8").exit_code == 1
    (out / "diary").unlink()
    write_study(tmp_path, SMALL.replace('"objective.repulsion" = 0.03', '"objective.repulsion" = 0.02'))
    assert vt("study", tmp_path / "study.toml", "--out", out, "--set", "schedule.cpu_jobs=8", "--redo").exit_code == 1
    ended = [json.loads(line)[1] for line in (out / "diary").read_text().splitlines() if json.loads(line)[0] == "end"]
    assert sorted(ended) == ["repulsion-03-s1", "repulsion-03-s2"]


def test_a_study_moves_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing starts in no time; the rest runs elsewhere with given data, and packs what came of it."""
    monkeypatch.setattr(run, "VT", (sys.executable, str(Path(__file__).with_name("stub_vt.py"))))
    file, out, there, away = write_study(tmp_path, SMALL), tmp_path / "out", tmp_path / "there", tmp_path / "away"
    result = vt("study", file, "--out", out, "--max-minutes", "0", "--no-report", "--pack", away)
    assert result.exit_code == 0
    assert "time is up: 39 cells are left" in result.output
    assert not (out / "diary").exists()
    store.write_json(tmp_path / "data" / "manifest.json", {})
    given = ("--given", f"curated={tmp_path / 'data'}")
    result = vt(
        "study", file, "--out", there, "--unpack", away, *given, "--no-report", "--pack", away, "--set", "schedule.cpu_jobs=8"
    )
    assert result.exit_code == 0
    assert "packed: 1 files" in result.output
    assert not (there / "report.html").exists()
    started = [json.loads(line)[1] for line in (there / "diary").read_text().splitlines() if json.loads(line)[0] == "start"]
    assert len(started) == 38
    every: list[float] = []
    warned: list[str] = []
    monkeypatch.setattr(study_packs, "warn", warned.append)

    def at_once(seconds: float, act: Callable[[], None]) -> AbstractContextManager[None]:
        every.append(seconds)
        act()
        return nullcontext()

    monkeypatch.setattr(packs, "every", at_once)
    often = ("--no-report", "--pack", away, "--pack-every", "3")
    assert vt("study", file, "--out", there, *given, *often).output.count("packed: 1 files") == 2
    assert every == [180]
    monkeypatch.setattr(parts, "PART_BYTES", 12_000)
    with pytest.raises(VtError, match="the records alone do not fit"):  # at the end; the pack before it is only told of
        vt("study", file, "--out", there, *given, *often, "--pack-files", "1")
    assert len(warned) == 1
    assert warned[0].endswith("the study goes on without this pack")
    with pytest.raises(VtError, match=r"study\.toml: is a file, expected a folder for the files of the pack"):
        vt("study", file, "--out", there, "--pack", file)
    with pytest.raises(VtError, match="--pack-every: is about a pack"):
        vt("study", file, "--out", there, "--pack-every", "3")
    monkeypatch.undo()
    result = vt("study", file, "--out", tmp_path / "third", "--unpack", away, *given, "--dry-run")
    assert "38 waiting" not in result.output
    for wrong, said in (("other=x", "expected NAME=FOLDER"), (f"curated={tmp_path / 'none'}", "is not a folder")):
        with pytest.raises(VtError, match=said):
            vt("study", file, "--out", there, "--given", wrong)


NAMED = SMALL.replace('text = "CDPO beats GRPO"', 'name = "b"\ntext = "CDPO beats GRPO"')
LATE = NAMED.replace(
    '[arms.attract]\nstage = "cdpo"\n', '[arms.attract]\nstage = "cdpo"\nlabels = "{probe}/x.parquet"\n'
).replace("[train]\n", '[prepare.probe]\nrun = "curate divine --out {out}"\nawaits = "`vt curate divine`"\n\n[train]\n')


def test_a_piece_runs_what_its_claims_rest_on_and_the_next_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claim 1 is about grpo and base, claim b about cdpo and grpo. All askings fail, so that none has to be read."""
    monkeypatch.setattr(run, "VT", (sys.executable, str(Path(__file__).with_name("stub_vt.py"))))
    file, out = write_study(tmp_path, NAMED), tmp_path / "out"
    store.write_json(out / "orders", {f"greedy.grpo-s{seed}": "fail" for seed in (1, 2)})

    def started(claims: str) -> set[str]:
        result = vt("study", file, "--out", out, "--claims", claims, "--no-report", "--set", "schedule.cpu_jobs=8")
        assert result.exit_code == 1  # for what has failed
        names = {json.loads(line)[1] for line in (out / "diary").read_text().splitlines() if json.loads(line)[0] == "start"}
        (out / "diary").unlink()
        return names

    grpo = {"greedy.grpo-s1", "greedy.grpo-s2"}
    assert started("1") == {"curated", "grpo-s1", "grpo-s2", "greedy.base", *grpo}
    more = {f"{arm}-s{seed}" for arm in ("bias", "cdpo") for seed in (1, 2)}
    assert started("1, b") == {*more, "greedy.cdpo-s1", "greedy.cdpo-s2", *grpo}  # what had failed is tried again


def test_arms_are_run_with_what_they_need_whatever_the_claims_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bias model is asked unless it is named; those of a claim come first where both are given."""
    monkeypatch.setattr(run, "VT", (sys.executable, str(Path(__file__).with_name("stub_vt.py"))))
    file, out = write_study(tmp_path, NAMED), tmp_path / "out"

    def started(*chosen: str) -> list[str]:
        vt("study", file, "--out", out, *chosen, "--no-report", "--set", "schedule.cpu_jobs=1")
        rows = [json.loads(line) for line in (out / "diary").read_text().splitlines()]
        (out / "diary").unlink()
        return [name for what, name, *_ in rows if what == "start"]

    grpo = {f"{what}grpo-s{seed}" for what in ("", "greedy.") for seed in (1, 2)}
    cdpo = {f"{what}-s{seed}" for what in ("bias", "cdpo", "greedy.cdpo", "sampled.cdpo") for seed in (1, 2)}
    both = started("--claims", "1", "--arms", "cdpo")
    assert {*both} == {"curated", "greedy.base", *grpo, *cdpo}
    assert {*both[: 2 + len(grpo)]} == {"curated", "greedy.base", *grpo}
    left = {f"{way}.bias-s{seed}" for way in ("greedy", "sampled") for seed in (1, 2)} | {"sampled.base"}
    assert {*started("--arms", "bias, base")} == left  # all else is over


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ("gone", "--arms gone: there is no arm 'gone', expected some of base, grpo, bias, cdpo"),
        (",", "--arms ',': names no arm, expected some of base, grpo, bias, cdpo"),
        ("attract", "--arms attract: probe awaits `vt curate divine`"),
    ],
)
def test_arms_that_are_not_there_or_cannot_be_run_are_named(tmp_path: Path, arms: str, said: str) -> None:
    with pytest.raises(VtError, match=re.escape(said)):
        vt("study", write_study(tmp_path, LATE), "--out", tmp_path / "out", "--arms", arms)


def test_the_plan_says_what_each_claim_costs_and_what_is_shared(tmp_path: Path) -> None:
    """A training takes a minute and an asking two. grpo < base: 2 + 3 askings. cdpo > grpo: 6 trainings, 4 askings; of these
    grpo's are the first claim's. attract < cdpo: 6 trainings, 4 askings, of which two and two are new."""
    output = vt("study", write_study(tmp_path, NAMED), "--out", tmp_path / "out", "--dry-run", "--gpus", "0").output
    rows = [line.split() for line in output.splitlines()]
    assert ["1", "8.0", "8.0", "8.0"] in rows
    assert ["b", "14.0", "8.0", "8.0"] in rows
    assert ["3", "14.0", "6.0", "6.0"] in rows


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ("x", "there is no claim 'x', expected some of 1, b, 3"),
        ("3", "attract-s1 awaits `vt curate divine`"),
        ("", "--claims '': names no claim, expected some of 1, b, 3; to run all, leave the option out"),
        (" ,", "--claims ' ,': names no claim, expected some of 1, b, 3"),
    ],
)
def test_claims_that_are_not_there_or_cannot_be_run_are_named(tmp_path: Path, claims: str, said: str) -> None:
    with pytest.raises(VtError) as caught:
        vt("study", write_study(tmp_path, LATE), "--out", tmp_path / "out", "--claims", claims)
    assert said in str(caught.value) or said.replace("attract-s1", "probe") in str(caught.value)


def test_what_awaits_a_command_is_left_out_and_the_rest_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "VT", (sys.executable, str(Path(__file__).with_name("stub_vt.py"))))
    file, out = write_study(tmp_path, LATE), tmp_path / "out"
    output = " ".join(vt("study", file, "--out", out, "--dry-run").output.split())
    assert "awaits `vt curate divine`" in output
    assert vt("study", file, "--out", out, "--no-report", "--set", "schedule.cpu_jobs=8").exit_code == 0
    started = {json.loads(line)[1] for line in (out / "diary").read_text().splitlines()}
    assert "cdpo-s2" in started
    assert not [name for name in started if "attract" in name or name == "probe"]


OUTSIDE = SMALL.replace(
    "[prepare.curated]", '[paths]\nlabels = ["here/labels.zip", "here/labels"]\nquestions = "here/q.json"\n\n[prepare.curated]'
).replace("--annotations a --questions q", "--annotations {labels} --questions {questions}")


def test_missing_data_is_a_line_each_before_any_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan is still shown, and nothing is run; with the data there, the first of two places that exists is used."""
    monkeypatch.chdir(tmp_path)
    file = write_study(tmp_path, OUTSIDE)
    planned = vt("study", file, "--out", "out", "--dry-run", "--gpus", "0")
    assert planned.exit_code == 2
    assert [line.split(";")[0] for line in planned.stderr.splitlines()] == [
        "error: paths.labels: there is no here/labels.zip or here/labels",
        "error: paths.questions: there is no here/q.json",
    ]
    assert "GPU minutes: 64" in planned.stdout
    assert vt("study", file, "--out", "out").exit_code == 2
    assert not list(tmp_path.glob("out/records/*"))
    (tmp_path / "here/labels").mkdir(parents=True)
    (tmp_path / "elsewhere.json").touch()
    given = ("--set", "paths.questions=elsewhere.json")
    assert vt("study", file, "--out", "out", "--dry-run", "--gpus", "0", *given).exit_code == 0


def test_a_start_model_that_is_no_folder_is_missing_too(tmp_path: Path) -> None:
    file = write_study(tmp_path, SMALL.replace("lab/tiny", f"{tmp_path}/base"))
    assert f"error: model: {tmp_path}/base: no such folder" in vt("study", file, "--out", tmp_path / "out", "--dry-run").stderr


def test_the_plan_says_what_its_minutes_rest_on(tmp_path: Path) -> None:
    told = SMALL.replace("seconds_per_step = 1.5", 'seconds_per_step = 1.5\nbasis = "a step of last year"')
    result = vt("study", write_study(tmp_path, told), "--out", tmp_path / "out", "--dry-run", "--gpus", "0")
    assert "train bias, train grpo, train cdpo: a step of last year" in result.stdout
    assert "curated, ask greedy, ask sampled: not measured; the minutes are the guess of the file" in result.stdout
    unknown = SMALL.replace("seconds_per_step = 1.5", "")
    result = vt("study", write_study(tmp_path, unknown), "--out", tmp_path / "out", "--dry-run", "--gpus", "0")
    assert "GPU minutes: not measured" in result.stdout


def test_the_plan_of_real_clevrer_says_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU and without data: memory, days and disk on 1, 2 and 8 GPUs, and that none of them is here."""
    monkeypatch.chdir(tmp_path)
    result = vt("study", CONFIGS / "study-clevrer.toml", "--out", "out", "--dry-run", "--claims", "a")
    assert result.exit_code == 2
    assert "none is visible here" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if "64.7 GiB" in line]
    assert [row[0] for row in rows] == ["1", "2", "8"]
    left = [60 * float(row[3]) + float(row[5]) for row in rows]  # such as "15 h 28 min"
    assert left[0] == pytest.approx(2 * left[1], rel=0.05)
    # 12 trainings of 62 minutes and 13 askings of 14, 928 minutes; 12 checkpoints of 14 GiB beside 45 GiB of data
    assert left[0] == pytest.approx(928, rel=0.05)
    assert {row[-2] for row in rows} == {"213"}
