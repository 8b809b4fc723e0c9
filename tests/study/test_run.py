"""The scheduler with cells of a stub command: order, places, failures, resuming, changes, interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from study_factory import FILE, make_study

from videothinker import store
from videothinker.errors import VtError
from videothinker.records.study import Claim
from videothinker.records.study_cells import State
from videothinker.study.cells import (
    discard,
    give,
    given_cells,
    is_complete,
    outdated,
    read_records,
    refuse_outdated,
    state_of,
)
from videothinker.study.plan import Cell, Kind, cell_folder, cells_of, chosen, make_plan
from videothinker.study.run import Now, Slots, log_file, run_study

STUB = (sys.executable, str(Path(__file__).with_name("stub_vt.py")))
SMALL = FILE.replace("seeds = [1, 2, 3, 4]", "seeds = [1, 2]").split("[ask.sampled]")[0]
"""Without a second way of asking, and without claims: 1 + 12 + 13 cells."""

CPU = Slots((), 8)


def run(plan: tuple[Cell, ...], folder: Path, slots: Slots = CPU, **options: Any) -> dict[str, State]:
    return run_study(plan, folder, folder.parent, slots, program=STUB, **options)


def order(folder: Path, **orders: Any) -> None:
    store.write_json(folder / "orders", {name.replace("_", "-"): what for name, what in orders.items()})


def diary(folder: Path) -> list[tuple[str, str, str | None]]:
    return [(what, name, gpu) for what, name, gpu, _ in map(json.loads, (folder / "diary").read_text().splitlines())]


def test_all_cells_run_each_after_what_it_needs(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, SMALL)
    states = run(plan, tmp_path / "out")
    assert set(states.values()) == {State.FINISHED}
    lines = diary(tmp_path / "out")
    assert sorted(name for what, name, _ in lines if what == "start") == sorted(cell.name for cell in plan)
    place = {(what, name): index for index, (what, name, _) in enumerate(lines)}
    for cell in plan:
        for need in cell.needs:
            assert place["end", need] < place["start", cell.name]
    records = read_records(plan, tmp_path / "out")
    assert records["cdpo-s1"].command.startswith("vt train cdpo --config")
    assert records["cdpo-s1"].seconds > 0
    assert records["cdpo-s1"].gpu is None


def test_cells_share_the_cores_unless_the_user_says_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve cores and four places. A cell that says what it was told writes no files, so it fails."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(12))
    told = (sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])")
    _, plan = make_study(tmp_path, SMALL)
    for threads in (None, "5"):
        if threads is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", threads)
        run_study(plan[:1], tmp_path / "out", tmp_path, Slots((), 4), program=told)
    assert log_file(tmp_path / "out", plan[0].name, "stdout").read_text() == "3\n5\n"


def test_cells_that_share_a_gpu_grow_their_memory_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    words = f"import os; print(*[os.environ.get(name, '-') for name in {names}])"
    _, plan = make_study(tmp_path, SMALL)
    training = next(cell for cell in plan if cell.kind is Kind.TRAIN)._replace(needs=(), after=(), arguments=("train", "grpo"))

    def told(slots: Slots, out: str) -> str:
        run_study([training], tmp_path / out, tmp_path, slots, program=(sys.executable, "-c", words))
        return log_file(tmp_path / out, training.name, "stdout").read_text().strip()

    assert told(Slots(("0", "0"), 1), "shared") == "expandable_segments:True -"
    assert told(Slots(("0", "1"), 1), "alone") == "- -"
    assert told(CPU, "without") == "- -"
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:64")
    assert told(Slots(("0", "0"), 1), "chosen") == "- max_split_size_mb:64"


def test_cells_compile_modules_once_where_python_may_not_keep_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells are told one folder, which is gone at the end; a folder that the user has chosen stays."""
    words = "import os, sys; print(sys.dont_write_bytecode, sys.pycache_prefix, os.path.isdir(sys.pycache_prefix or '.'))"
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    _, plan = make_study(tmp_path, SMALL)
    preparation = next(cell for cell in plan if cell.name == "curated")
    plan = (preparation, preparation._replace(name="again"))
    run_study(plan, tmp_path / "out", tmp_path, Slots((), 1), program=(sys.executable, "-c", words))
    said = [log_file(tmp_path / "out", cell.name, "stdout").read_text().split() for cell in plan]
    assert said[0] == said[1]
    assert (said[0][0], said[0][2]) == ("False", "True")
    assert not Path(said[0][1]).exists()

    monkeypatch.setattr(sys, "pycache_prefix", "chosen")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "chosen")
    run_study(plan[:1], tmp_path / "other", tmp_path, Slots((), 1), program=(sys.executable, "-c", words))
    assert log_file(tmp_path / "other", "curated", "stdout").read_text().split()[:2] == ["True", "chosen"]


def test_places_are_respected_and_gpus_shared_evenly(tmp_path: Path) -> None:
    """Two GPUs with two cells each; what is prepared sees none."""
    _, plan = make_study(tmp_path, SMALL)
    folder = tmp_path / "out"
    order(folder, **{cell.name: 0.15 for cell in plan if cell.gpu})
    most: dict[str | None, int] = {}

    def watch(now: Now) -> None:
        running = [now.records[name].gpu for name in now.began]
        for gpu in set(running):
            most[gpu] = max(most.get(gpu, 0), running.count(gpu))

    run(plan, folder, Slots(("0", "0", "7", "7"), 1), watch=watch)
    assert most == {None: 1, "0": 2, "7": 2}
    seen = {name: gpu for what, name, gpu in diary(folder) if what == "start"}
    assert seen.pop("curated") == ""
    assert set(seen.values()) == {"0", "7"}


def test_of_chosen_claims_the_first_is_asked_before_the_second_is_trained(tmp_path: Path) -> None:
    """The second claim's chain, bias model and CDPO, is the longer one; without claims it would be trained first."""
    study, plan = make_study(tmp_path, SMALL)
    claims = [Claim(text="x", holds=("attract < base",)), Claim(text="y", holds=("cdpo > grpo",))]
    part = chosen([cells_of(claim, study, plan) for claim in claims], plan)
    run(part, tmp_path / "out", Slots((), 1))
    started = [name for what, name, _ in diary(tmp_path / "out") if what == "start"]
    first = cells_of(claims[0], study, plan)
    assert set(started[: len(first)]) == first
    assert len(started) == len(part)
    assert [name for name in started if name.startswith("bias")] == ["bias-s1", "bias-s2"], "shared by both claims, run once"


def test_a_failed_cell_blocks_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, SMALL)
    folder = tmp_path / "out"
    order(folder, bias_s1="fail", grpo_s2="lie")
    states = run(plan, folder)
    blocked = {name for name, state in states.items() if state is State.BLOCKED}
    after_bias = {"cdpo-s1", "attract-s1", "repulsion-03-s1"}
    assert blocked == after_bias | {f"greedy.{name}" for name in (*after_bias, "bias-s1", "grpo-s2")}
    assert [name for name, state in states.items() if state is State.FAILED] == ["bias-s1", "grpo-s2"]
    records = read_records(plan, folder)
    assert records["bias-s1"].returncode == 3
    assert records["bias-s1"].tail == ("first line", "ValueError: as ordered")
    assert "without the files" in records["grpo-s2"].tail[-1]


def test_a_second_run_does_what_is_left_and_no_more(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, SMALL)
    folder = tmp_path / "out"
    order(folder, bias_s1="fail")
    run(plan, folder)
    (folder / "diary").unlink()
    order(folder)
    assert set(run(plan, folder).values()) == {State.FINISHED}
    again = {name for what, name, _ in diary(folder) if what == "start"}
    trained = {"bias-s1", "cdpo-s1", "attract-s1", "repulsion-03-s1"}
    assert again == trained | {f"greedy.{name}" for name in trained}
    assert read_records(plan, folder)["bias-s1"].attempts == 2


def test_a_cell_whose_files_are_gone_runs_again(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, SMALL)
    folder = tmp_path / "out"
    run(plan, folder)
    assert outdated(plan, read_records(plan, folder), folder) == []
    (cell_folder(folder, "bias-s2") / "gate.json").unlink()
    after = ["bias-s2", "cdpo-s2", "attract-s2", "repulsion-03-s2"]  # what stood on it is refused, or done again
    assert outdated(plan, read_records(plan, folder), folder) == [*after[1:], *(f"greedy.{name}" for name in after)]
    (folder / "diary").unlink()
    run(plan, folder)
    assert [name for what, name, _ in diary(folder) if what == "start"] == ["bias-s2"]


def test_a_study_killed_before_it_could_note_an_end_takes_the_cell_as_finished(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, SMALL)
    folder = tmp_path / "out"
    run(plan, folder)
    path = folder / "records" / "grpo-s1.json"
    store.write_json(path, {**store.read_json(path, dict[str, Any]), "state": "running"})
    (folder / "diary").unlink()
    run(plan, folder)
    assert not (folder / "diary").exists()


def test_changed_cells_are_refused_or_done_again(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, SMALL)
    folder = tmp_path / "out"
    run(plan, folder)
    _, other = make_study(tmp_path, SMALL.replace('"objective.repulsion" = 0.03', '"objective.repulsion" = 0.02'))
    stale = outdated(other, read_records(other, folder), folder)
    assert stale == ["repulsion-03-s1", "repulsion-03-s2", "greedy.repulsion-03-s1", "greedy.repulsion-03-s2"]
    with pytest.raises(VtError, match=r"4 cells .* repulsion-03-s1, .* --redo"):
        refuse_outdated(stale, folder)
    discard(stale, folder)
    (folder / "diary").unlink()
    assert set(run(other, folder).values()) == {State.FINISHED}
    assert sorted(name for what, name, _ in diary(folder) if what == "start") == sorted(stale)


def test_two_studies_do_not_share_a_folder(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, SMALL)

    def watch(_: Now) -> None:
        with pytest.raises(VtError, match="still at work"):
            run(plan, tmp_path / "out")

    run(plan[:1], tmp_path / "out", watch=watch)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_cells_and_is_written_down(tmp_path: Path, number: signal.Signals) -> None:
    _, plan = make_study(tmp_path, SMALL)
    folder = tmp_path / "out"
    order(folder, **{cell.name: 60 for cell in plan if cell.gpu})

    def watch(now: Now) -> None:
        if len([line for line in diary_if_any(folder) if line[0] == "start"]) >= 3:
            os.kill(os.getpid(), number)
            time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt):
        run(plan, folder, watch=watch)
    records = read_records(plan, folder)
    cut = [name for name, record in records.items() if record.state is State.INTERRUPTED]
    assert set(cut) == records.keys() - {"curated"}
    pids = [json.loads(line)[3] for line in (folder / "diary").read_text().splitlines()]
    assert [pid for pid in pids if alive(pid)] == []
    order(folder)
    assert set(run(plan, folder).values()) == {State.FINISHED}


def diary_if_any(folder: Path) -> list[tuple[str, str, str | None]]:
    return diary(folder) if (folder / "diary").exists() else []


def alive(pid: int) -> bool:
    return subprocess.run(["kill", "-0", str(pid)], capture_output=True, check=False).returncode == 0


def test_what_makes_a_cell_complete(tmp_path: Path) -> None:
    cells = {cell.name: cell for cell in make_study(tmp_path, SMALL)[1]}
    out = tmp_path / "x"
    for name, writes in (
        ("curated", [("manifest.json", {})]),
        ("grpo-s1", [("run.json", {"finished": False}), ("run.json", {"finished": True})]),
        ("bias-s1", [("run.json", {"finished": True}), ("gate.json", {})]),
        ("greedy.base", [("base/predictions.jsonl", {}), ("base/metrics.json", {})]),
    ):
        assert not is_complete(cells[name], out / name)
        for file, content in writes:
            assert not is_complete(cells[name], out / name)
            store.write_json(out / name / file, content)
        assert is_complete(cells[name], out / name)
    assert state_of(cells["curated"], None, out) is State.WAITING


def test_a_pretraining_is_complete_only_when_its_record_says_so(tmp_path: Path) -> None:
    cell = next(cell for cell in make_study(tmp_path, SMALL)[1] if cell.kind is Kind.TRAIN)
    cell = cell._replace(arguments=("pretrain", "--config", "tiny-sft", "--out", "{out}"))
    (tmp_path / "model.safetensors").touch()
    assert not is_complete(cell, tmp_path)
    for finished in (False, True):
        store.write_json(tmp_path / "run.json", {"finished": finished})
        assert is_complete(cell, tmp_path) is finished


def test_at_the_limit_nothing_starts_that_would_not_end(tmp_path: Path) -> None:
    """Askings are expected to take an hour, trainings no time."""
    _, plan = make_study(tmp_path, SMALL)
    hours = {cell.name: 3600.0 * (cell.ask is not None) for cell in plan}
    states = run(plan, tmp_path / "out", max_seconds=600, expect=lambda *_: hours)
    assert {states[cell.name] for cell in plan if cell.ask is None} == {State.FINISHED}
    assert {states[cell.name] for cell in plan if cell.ask is not None} == {State.WAITING}
    assert set(run(plan, tmp_path / "out").values()) == {State.FINISHED}


def test_what_runs_at_the_limit_is_interrupted_and_the_next_call_goes_on(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, SMALL)
    folder = tmp_path / "out"
    order(folder, grpo_s1=60)
    states = run(plan, folder, max_seconds=2.0)
    assert states["grpo-s1"] is State.INTERRUPTED
    assert states["greedy.grpo-s1"] is State.WAITING
    assert states["curated"] is State.FINISHED
    assert read_records(plan, folder)["grpo-s1"].state is State.INTERRUPTED
    order(folder)
    assert set(run(plan, folder).values()) == {State.FINISHED}


def test_cells_start_by_turn_on_one_place(tmp_path: Path) -> None:
    """Main arms with their diagnoses before the first ablation; of a turn's cells the longest chain first."""
    _, plan = make_study(tmp_path, SMALL)
    run(plan, tmp_path / "out", Slots((), 1))
    turns = {cell.name: cell.turn for cell in plan}
    started = [name for what, name, _ in diary(tmp_path / "out") if what == "start"]
    assert [turns[name] for name in started] == sorted(turns[name] for name in started)
    assert started[:2] == ["curated", "bias-s1"]


def test_a_failure_of_what_only_makes_faster_holds_nothing_up(tmp_path: Path) -> None:
    warm = '\n[prepare.warm]\nrun = "world make {out} --out {out}"\n'  # the stub writes into --out
    _, plan = make_study(tmp_path, SMALL.replace("seconds_per_step = 1.5", 'after = ["warm"]') + warm)
    order(tmp_path / "out", warm="fail")
    states = run(plan, tmp_path / "out")
    assert states.pop("warm") is State.FAILED
    assert set(states.values()) == {State.FINISHED}
    lines = [(what, name) for what, name, _ in diary(tmp_path / "out")]
    assert lines.index(("start", "warm")) < lines.index(("start", "bias-s1"))


def test_a_given_folder_stands_in_for_a_preparation(tmp_path: Path) -> None:
    study, _ = make_study(tmp_path, SMALL)
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    store.write_json(elsewhere / "manifest.json", {"some": "data"})
    give("curated", folder, elsewhere)
    plan = make_plan(study, tmp_path, given_cells(folder))
    assert set(run(plan, folder).values()) == {State.FINISHED}
    assert "curated" not in {name for _, name, _ in diary(folder)}
    assert (cell_folder(folder, "curated") / "manifest.json").is_file()
    assert "elsewhere" in read_records(plan, folder)["curated"].command
    give("curated", folder, elsewhere)  # the same content again, wherever it lies
    assert outdated(make_plan(study, tmp_path, given_cells(folder)), read_records(plan, folder), folder) == []
    store.write_json(elsewhere / "manifest.json", {"other": "data"})
    give("curated", folder, elsewhere)
    plan = make_plan(study, tmp_path, given_cells(folder))
    assert len(outdated(plan, read_records(plan, folder), folder)) == len(plan) - 1
    with pytest.raises(VtError, match="neither a curated folder nor"):
        give("curated", folder, tmp_path)
    with pytest.raises(VtError, match="is there already"):
        give("grpo-s1", folder, elsewhere)
