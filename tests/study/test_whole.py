"""A study with every kind of cell, run for real from an untaught checkpoint: `configs/study-2.toml`, as small as can be.

Its cells are run in this process by their own command lines, so that torch and trl are imported once; `vt study` then finds
them finished and draws the report.
"""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from videothinker import store
from videothinker.cli import app
from videothinker.models import tiny
from videothinker.records.study_cells import Record, State
from videothinker.records.study_results import Decision, Results
from videothinker.study.cells import is_complete, record_file
from videothinker.study.config import load_study
from videothinker.study.plan import Kind, cell_folder, command, make_plan

CONFIGS = Path(__file__).parents[2] / "configs"
STUDY = '''
title = "As small as can be"
model = "{start}"
seeds = [1, 2]

[prepare.start]
run = "curate clevrer --annotations none --questions none --out {out}"

[prepare.world]
run = "world make {out} --scenes 12 --seed 5 --size 168x112 --workers 1"

[prepare.curated]
run = """curate clevrer --annotations {world}/annotation_train --questions {world}/train.json --videos {world}/video_train
    --dev-share 0.5 --workers 1 --out {out}"""

[train]
data = "curated"
configs = { bias = "bias-tiny.toml", grpo = "grpo-tiny.toml", cdpo = "cdpo-tiny.toml" }
steps = 2

[train.set]
"rollouts.n_replies" = 2
"rollouts.questions_per_step" = 1
"rollouts.max_new_tokens" = 8
"optimizer.weight_decay" = 0.1 # untaught replies earn nothing, and without it no weight would move

[arms.grpo]
stage = "grpo"
against = ["base"]

[arms.half]
stage = "grpo"
steps = 1
seeds = 1
against = ["grpo"]

[arms.bias]
stage = "bias"
seeds = 1
against = ["base"]

[arms.cdpo]
stage = "cdpo"
seeds = 1
force = true
set = { "objective.repulsion" = 0.1 }
against = ["grpo"]

[arms.near-start]
stage = "cdpo"
seeds = 1
set = { "objective.reference" = "start", "objective.direction" = "attract" }

[arms.self]
stage = "cdpo"
seeds = 1
set = { "objective.reference" = "self", "objective.reference_clip" = "frozen" }
awaits = "objective.reference = self"

[arms.bias-labels]
stage = "bias"
seeds = 1
labels = "{curated}/labels/log.parquet"
against = ["bias"]
awaits = "--labels"

[arms.between]
stage = "blend"
of = ["base", "grpo"]
weight = 0.5
seeds = 1
against = ["grpo"]

[ask.greedy]
data = "curated"
options = "--split dev --limit 4 --frames 16 --max-pixels 18816 --max-new-tokens 8 --no-report"

[families.undo]
arms = ["base", "between", "half", "near-start", "grpo"]

[[claims]]
name = "a"
text = "lower"
holds = ["grpo < base", "any-option: grpo < base"]

[[claims]]
name = "b"
text = "better, and not worse"
holds = ["cdpo > grpo + 1", "all: cdpo > grpo - 0.5"]

[[claims]]
name = "c"
text = "better than the family"
holds = ["cdpo > undo"]

[[claims]]
name = "e"
text = "takes back half"
holds = ["cdpo > 0.5 grpo + 0.5 base"]

[[claims]]
name = "f"
text = "labels"
holds = ["bias-labels > bias - 0.5"]

[[claims]]
name = "g"
text = "no bias model"
holds = ["self > cdpo - 0.5"]

[[claims]]
name = "h"
text = "a gate"
holds = ["bias is a shortcut model"]
'''


def vt(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_every_kind_of_cell_runs_and_every_kind_of_claim_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    file, out = tmp_path / "study.toml", tmp_path / "out"
    store.write_text(file, STUDY)
    for stage in ("bias", "grpo", "cdpo"):
        shutil.copy(CONFIGS / f"{stage}-tiny.toml", tmp_path)
    start = tiny.build(tmp_path / "start")
    given = ("--given", f"start={start}")
    # A first call that has no time for anything, and so only puts the given checkpoint into its place.
    assert vt("study", file, "--out", out, *given, "--max-minutes", "0", "--no-report").exit_code == 0
    study = load_study(file)
    plan = make_plan(study, tmp_path, {"start": store.read_json(record_file(out, "start"), Record).identity})
    late = set()
    for cell in plan:
        if not cell.arguments:
            continue
        arguments = command(cell, out, tmp_path)
        result = CliRunner().invoke(app, arguments)
        if result.exit_code and cell.awaits:
            late.add(cell.name)
            continue
        assert result.exit_code == 0, (cell.name, result.output, result.exception)
        assert is_complete(cell, cell_folder(out, cell.name)), cell.name
        record = Record(identity=cell.identity, state=State.FINISHED, command=" ".join(arguments), seconds=1.0)
        store.write_json(record_file(out, cell.name), record)
    # Stops are chosen in tests/study/test_auto.py.
    assert {cell.kind for cell in plan if cell.name not in late} == {*Kind} - {Kind.CHOOSE}

    result = vt("study", file, "--out", out, *given, "--report-only")
    assert result.exit_code == 0
    results = store.read_json(out / "results.json", Results)
    assert {one.claim.name: one.decision for one in results.verdicts} == dict.fromkeys("abcefgh", Decision.UNDECIDED)
    assert all(one.corrected is Decision.UNDECIDED for one in results.verdicts)  # six scenes decide nothing
    levels = {level.arm for level in results.levels}
    assert {"base", "grpo", "half", "bias", "cdpo", "near-start", "between"} <= levels
    page = (out / "report.md").read_text()
    assert "bias is a shortcut model: 0 of 1 gates were passed" in page
    assert "after correction for 7 claims still undecided" in page
    assert "of base and 0.5 grpo" in page
    assert "steps 1" in page
    told = store.read_json(cell_folder(out, "between-s1") / "blend.json", dict[str, object])
    assert told["weight"] == 0.5
