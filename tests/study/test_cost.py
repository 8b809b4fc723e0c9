"""What a study will take: expected seconds give way to measured ones; the time that is left by hand."""

from pathlib import Path

import pytest
from study_factory import FILE, finish, make_study

from videothinker import store
from videothinker.records.study_cells import State
from videothinker.study.cells import read_records, state_of
from videothinker.study.cost import Forecast, forecast
from videothinker.study.plan import Cell, cell_folder


def look(plan: tuple[Cell, ...], folder: Path, n_gpu: int = 0, n_cpu: int = 1) -> Forecast:
    records = read_records(plan, folder)
    states = {cell.name: state_of(cell, records.get(cell.name), folder) for cell in plan}
    return forecast(plan, states, records, folder, n_gpu=n_gpu, n_cpu=n_cpu)


def test_before_anything_has_run_the_file_is_believed(tmp_path: Path) -> None:
    """18 trainings of 40 x 1.5 s and 38 askings of 120 s; on 2 GPUs with 2 places each half of the time of one with 2."""
    _, plan = make_study(tmp_path)
    found = look(plan, tmp_path / "out", n_gpu=2)
    assert found.gpu_seconds == pytest.approx(18 * 60 + 38 * 120)
    assert found.left_seconds == pytest.approx((18 * 60 + 38 * 120) / 2)
    assert look(plan, tmp_path / "out", n_gpu=1000).left_seconds == pytest.approx(300)  # the longest chain
    assert look(plan, tmp_path / "out", n_cpu=1).left_seconds == pytest.approx(60 + 18 * 60 + 38 * 120)
    assert not found.measured


def test_finished_cells_tell_about_their_like(tmp_path: Path) -> None:
    """Median of 80, 100 and 90 seconds for the other cdpo runs, and a better guess for grpo than the file's; of asking nothing
    is known yet."""
    _, plan = make_study(tmp_path)
    cells = {cell.name: cell for cell in plan}
    for name, seconds in (("curated", 5.0), ("cdpo-s1", 80.0), ("cdpo-s2", 100.0), ("cdpo-s3", 90.0)):
        finish(cells[name], tmp_path / "out", seconds=seconds)
    found = look(plan, tmp_path / "out")
    assert found.seconds["curated"] == 5
    assert found.seconds["cdpo-s2"] == 100
    assert found.seconds["attract-s1"] == pytest.approx(90)
    assert found.seconds["grpo-s1"] == pytest.approx(90)
    assert found.seconds["greedy.base"] == pytest.approx(120)
    assert "attract-s1" in found.measured
    assert "grpo-s1" not in found.measured


def test_a_running_training_is_judged_by_its_steps(tmp_path: Path) -> None:
    """Three slow steps to warm up do not count; then 2 s a step for 40 steps."""
    _, plan = make_study(tmp_path)
    folder = tmp_path / "out"
    rows = [{"step": i, "seconds": 30.0 if i < 4 else 2.0} for i in range(1, 11)]
    store.write_jsonl(cell_folder(folder, "grpo-s1") / "metrics.jsonl", rows)
    assert look(plan, folder).seconds["grpo-s1"] == pytest.approx(80)


def test_what_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, FILE.replace("seconds_per_step = 1.5", ""))
    found = look(plan, tmp_path / "out")
    assert found.gpu_seconds is None
    assert found.left_seconds is None
    assert found.seconds["greedy.base"] == 120


def test_failed_cells_are_not_waited_for(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path)
    states = dict.fromkeys((cell.name for cell in plan), State.FINISHED) | {
        "cdpo-s1": State.FAILED,
        "greedy.cdpo-s1": State.BLOCKED,
    }
    records = {}
    assert forecast(plan, states, records, tmp_path, n_gpu=0, n_cpu=1).left_seconds == 0
