"""Shares of a command's work on a shared folder, and the array job that a cluster runs them with."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from curated_factory import random_questions, write_curated
from vt_command import one_error, vt

from videothinker import shards
from videothinker.cli.sbatch import array_job
from videothinker.errors import VtError
from videothinker.shards import Shard


def test_shards_share_everything_and_nothing_twice() -> None:
    taken = [[place for place in range(10) if Shard(number, 4).has(place)] for number in (1, 2, 3, 4)]
    assert taken == [[0, 4, 8], [1, 5, 9], [2, 6], [3, 7]]


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "1.5/4", "1/10001", "1/ 4", "\u0663/4"])
def test_what_names_no_shard_is_refused(text: str) -> None:
    with pytest.raises(VtError, match="expected I/N"):
        shards.parse(text)


def test_a_shard_is_named_from_one() -> None:
    assert shards.parse("16/16") == Shard(16, 16)
    assert Shard(3, 16).folder(Path("out")) == Path("out/shards/3-of-16")


def finish(out: Path, *numbers: int, of: int) -> None:
    for number in numbers:
        shards.mark(Shard(number, of).folder(out), Shard(number, of), n_items=1, started=datetime.now(UTC))


def test_missing_shards_are_named_with_the_command_to_run(tmp_path: Path) -> None:
    finish(tmp_path, 1, 3, 9, 10, of=10)
    with pytest.raises(VtError) as told:
        shards.finished(tmp_path, command="vt diagnose --shard 1/10 --out 'my runs'")
    assert "shards 2,4-8 of 10 are not finished" in str(told.value)
    assert "`vt diagnose --out 'my runs' --shard 2/10`" in str(told.value)
    assert "--array=2,4-8" in str(told.value)
    finish(tmp_path, 2, 4, 5, 6, 7, 8, of=10)
    assert [done.shard for _, done in shards.finished(tmp_path)] == [f"{number}/10" for number in range(1, 11)]


def test_shards_of_several_numbers_are_refused(tmp_path: Path) -> None:
    finish(tmp_path, 1, 2, of=2)
    with pytest.raises(VtError, match=r"has shards of 2 \(1-of-2\); go on with /2"):
        shards.check_number(tmp_path, Shard(1, 4))
    finish(tmp_path, 1, of=4)
    with pytest.raises(VtError, match="shards of 2 and of 4"):
        shards.finished(tmp_path)
    with pytest.raises(VtError, match="holds no shards/I-of-N"):
        shards.finished(tmp_path / "other")


def test_a_command_of_one_shard_becomes_that_of_another() -> None:
    assert shards.with_shard("vt diagnose --shard=1/4 --out 'a b' --limit 3", "2/4") == (
        "vt diagnose --out 'a b' --limit 3 --shard 2/4"
    )


STUB = """#!/bin/bash
# Does at once what Slurm would do later: all tasks of the array, one after the other, and what depends on them.
echo "sbatch $*" >> "$CALLS"
if [ "$1" = --parsable ]; then
    for task in 1 2; do SLURM_ARRAY_TASK_ID=$task bash "$2" >> "$CALLS" 2>&1; done
    echo "77;cluster"
else
    SLURM_ARRAY_TASK_ID=1 bash "${@: -2}"
fi
"""


def test_the_printed_array_job_asks_all_shards_and_merges_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Ann's $HOME folder"
    questions = {"train": random_questions(range(3), seed=1), "dev": random_questions(range(10, 13), seed=2)}
    write_curated(folder / "data set", questions)
    monkeypatch.chdir(folder)
    asked = ("diagnose", "--data", "data set", "--model", "solver:gold", "--out", "all runs")
    assert vt(*asked, "--print-sbatch", "2") == 0
    assert not (folder / "all runs").exists()
    script = folder / "job file.sh"
    script.write_text(capsys.readouterr().out)
    assert "gpu" not in script.read_text().partition("set -euo")[0].partition("#SBATCH")[2]  # a solver takes none
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text(STUB)
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environment |= {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    environment |= {"PYTHONPATH": str(Path(shards.__file__).parents[1])}
    done = subprocess.run(["bash", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    calls = (tmp_path / "calls").read_text()
    assert done.returncode == 0, done.stderr + calls
    assert "shard 2/2" in calls
    assert "--dependency=afterany:77 --array=1 " in calls
    assert (folder / "all runs" / "gold" / "metrics.json").is_file()
    assert (folder / "all runs" / "report.html").is_file()


def test_an_array_job_of_a_checkpoint_takes_a_gpu_for_asking_and_none_for_merging() -> None:
    script = array_job(["diagnose", "--out", "runs"], 16, merged=Path("runs"), n_gpus=1)
    assert "#SBATCH --gres=gpu:1\n" in script
    assert "#SBATCH --array=1-16\n" in script
    assert '--array=1 --gres=none "$0" merge' in script
    assert script.endswith('diagnose --out runs --shard "$SLURM_ARRAY_TASK_ID/16"')
    assert "merge" not in array_job(["clips", "warm"], 4, merged=None, n_gpus=0)


def test_one_shard_of_an_array_job_is_no_array_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_curated(tmp_path / "data")
    asked = ("diagnose", "--data", tmp_path / "data", "--model", "solver:gold", "--out", tmp_path / "runs")
    assert vt(*asked, "--shard", "1/2", "--print-sbatch", "2") == 2
    assert "leave --shard out" in one_error(capsys)
