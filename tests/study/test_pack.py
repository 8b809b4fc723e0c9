"""A study that moves: what a pack holds, what stays behind, and that both ends come to the same report and the same cells."""

import lzma
import math
import queue
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from pack_factory import SMALL, checkpoint, look, made_study, weights
from report_factory import make
from safetensors.torch import load_file, save_file
from study_factory import finish, make_study

from videothinker import outside, store
from videothinker.cli.study_packs import grow, shrink
from videothinker.errors import VtError
from videothinker.models import delta
from videothinker.records.study import Study
from videothinker.records.study_cells import Record, State
from videothinker.study import pack as packs
from videothinker.study import parts
from videothinker.study.cells import (
    discard,
    give,
    given_cells,
    left_behind,
    outdated,
    read_records,
    record_file,
    refuse_without_weights,
    without_weights,
)
from videothinker.study.collect import collect
from videothinker.study.pack import every, pack, restore_weights, unpack
from videothinker.study.plan import Cell, Kind, cell_folder, make_plan
from videothinker.study.run import Slots, run_study

STUB = (sys.executable, str(Path(__file__).with_name("stub_vt.py")))
PATIENCE_S = 60.0
"""Until what never comes has failed a test."""


def numbers(study: Study, plan: tuple[Cell, ...], folder: Path) -> Any:
    found = collect(study, plan, folder, look(plan, folder), read_records(plan, folder)).results
    return found.levels, found.differences, found.verdicts, found.trainings, found.seconds


def test_the_report_of_a_pack_is_that_of_the_study(tmp_path: Path) -> None:
    study, plan = made_study(tmp_path)
    packed = pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    assert packed.left_out == []
    assert [file.name for file in packed.files] == ["study-1.tar"]
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    assert look(plan, there) == look(plan, tmp_path / "out")
    assert set(look(plan, there).values()) == {State.FINISHED}
    assert outdated(plan, read_records(plan, there), there) == []
    (there / "cells" / "curated").symlink_to(tmp_path / "out" / "cells" / "curated")  # data do not travel
    assert numbers(study, plan, there) == numbers(study, plan, tmp_path / "out")


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_machines_that_each_ran_a_part_are_put_together(tmp_path: Path, order: tuple[str, str]) -> None:
    """Each machine has begun what the other one has finished; whichever pack comes last, it is finished."""
    study, plan = made_study(tmp_path)
    whole = tmp_path / "out"
    halves = {"left": "greedy.cdpo-s1", "right": "greedy.cdpo-s2"}
    for side, begun in halves.items():
        shutil.copytree(whole, tmp_path / side)
        shutil.rmtree(cell_folder(tmp_path / side, begun))
        record = store.read_json(record_file(tmp_path / side, begun), Record)
        store.write_json(record_file(tmp_path / side, begun), msgspec.structs.replace(record, state=State.INTERRUPTED))
        pack(study, plan, tmp_path / side, tmp_path / f"{side}-pack", delta.pack)
    there = tmp_path / "there"
    for side in order:
        unpack(there, tmp_path / f"{side}-pack")
    assert look(plan, there) == look(plan, whole)
    (there / "cells" / "curated").symlink_to(whole / "cells" / "curated")
    assert numbers(study, plan, there) == numbers(study, plan, whole)


def test_a_record_that_is_none_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "read", lambda away, folder: iter([(folder / "records" / "odd.json", b"{}")]))
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "study-1.tar").touch()
    with pytest.raises(VtError, match=r"records/odd.json is no record of a cell"):
        unpack(tmp_path / "there", tmp_path / "away")
    assert not (tmp_path / "there").exists()


def test_weights_of_the_first_seed_and_of_what_is_owed_travel_exactly(tmp_path: Path) -> None:
    study, plan = made_study(tmp_path, unfinished=["cdpo-s2", "greedy.cdpo-s2", "sampled.cdpo-s2", "sampled.grpo-s2"])
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    assert restore_weights(study, plan, there, grow) == []
    have = {cell.name for cell in plan if any(cell_folder(there, cell.name).glob("*.safetensors"))}
    assert have == {cell.name for cell in plan if cell.kind is Kind.TRAIN and cell.seed == 1} | {"bias-s2", "grpo-s2"}
    assert not (cell_folder(there, "attract-s2") / "model.safetensors").exists()
    for name in have:
        ours, theirs = (load_file(cell_folder(folder, name) / "model.safetensors") for folder in (tmp_path / "out", there))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert (cell_folder(there, name) / "config.json").is_file()
        assert store.read_json(cell_folder(there, name) / "run.json", dict[str, Any])["finished"]
    assert left_behind(plan, look(plan, there), read_records(plan, there), there) == [plan[0]]  # the data, to be made again


@pytest.mark.parametrize(
    ("what", "said"), [("diverged", "a.weight holds NaN or infinite numbers"), ("adapter", "is a LoRA adapter")]
)
def test_weights_that_are_no_difference_stay_and_let_the_others_travel(
    what: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    study, plan = made_study(tmp_path)
    trained = cell_folder(tmp_path / "out", "grpo-s1")
    if what == "diverged":
        checkpoint(trained, float("nan"))
    else:
        store.write_json(trained / "adapter_config.json", {})
    pack(study, plan, tmp_path / "out", tmp_path / "away", shrink)
    told = " ".join(capsys.readouterr().err.split())
    assert f"grpo-s1: {said}" in told
    assert "these weights stay here, and the rest is packed" in told
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    assert restore_weights(study, plan, there, grow) == []
    have = {cell.name for cell in plan if any(cell_folder(there, cell.name).glob("*.safetensors"))}
    assert "grpo-s1" not in have
    assert have >= {cell.name for cell in plan if cell.kind is Kind.TRAIN and cell.seed == 1} - {"grpo-s1"}
    assert look(plan, there)["grpo-s1"] is State.FINISHED


def test_a_pack_goes_on_on_another_machine_and_can_move_again(tmp_path: Path) -> None:
    owed = ["cdpo-s2", "greedy.cdpo-s2", "sampled.cdpo-s2"]
    study, plan = made_study(tmp_path, unfinished=owed)
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    restore_weights(study, plan, there, grow)
    states = run_study(plan, there, tmp_path, Slots((), 4), program=STUB)
    assert set(states.values()) == {State.FINISHED}
    started = {line.split('"')[3] for line in (there / "diary").read_text().splitlines()}
    assert started == {"curated", *owed}  # the data stayed behind and are made again, nothing else
    checkpoint(cell_folder(there, "cdpo-s2"), 0.75)
    pack(study, plan, there, tmp_path / "further", delta.pack)
    third = tmp_path / "third"
    unpack(third, tmp_path / "further")
    assert set(look(plan, third).values()) == {State.FINISHED}
    assert (cell_folder(third, "greedy.grpo-s1") / "grpo-s1" / "predictions.jsonl").is_file()


def test_a_study_is_packed_while_it_runs_and_goes_on_from_there(tmp_path: Path) -> None:
    """The machine is taken away while cdpo-s2 is trained. A later pack has what has finished since; none is made at the end."""
    owed = ["cdpo-s2", "greedy.cdpo-s2", "sampled.cdpo-s2", "sampled.grpo-s2"]
    study, plan = made_study(tmp_path, unfinished=owed)
    packed: queue.Queue[int] = queue.Queue()

    def act() -> None:
        packed.put(len(pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack).files))

    with every(0.01, act):
        assert packed.get(timeout=PATIENCE_S) == 1
        unpack(tmp_path / "there", tmp_path / "away")
        finish(next(cell for cell in plan if cell.name == "sampled.grpo-s2"), tmp_path / "out", make(60, 3).questions["train"])
        for _ in range(packed.qsize() + 2):  # the second of these began after the cell was finished
            packed.get(timeout=PATIENCE_S)
        unpack(tmp_path / "later", tmp_path / "away")
    n_packs = packed.qsize()
    states, later = look(plan, tmp_path / "there"), look(plan, tmp_path / "later")
    assert {name for name, state in states.items() if state is not State.FINISHED} == {*owed}
    assert {name for name, state in later.items() if state is not State.FINISHED} == {*owed} - {"sampled.grpo-s2"}
    restore_weights(study, plan, tmp_path / "there", grow)
    assert set(run_study(plan, tmp_path / "there", tmp_path, Slots((), 4), program=STUB).values()) == {State.FINISHED}
    assert packed.qsize() == n_packs
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["study-1.tar"]


@pytest.mark.parametrize("seconds", [1e11, math.inf])
def test_a_wait_of_any_length_may_be_asked_for(seconds: float) -> None:
    """It is left at once; a thread waits for 9.2e9 s at most."""
    acted: list[int] = []
    with every(seconds, lambda: acted.append(1)):
        pass
    assert acted == []


def test_float32_travels_as_it_is_unless_it_is_to_be_rounded(tmp_path: Path) -> None:
    """A training whose steps are too small for bfloat16; a rounded pack before an exact one does not make that rounded."""
    study, plan = made_study(tmp_path)
    trained = cell_folder(tmp_path / "out", "bias-s1")
    exact = {name: tensor.float() + 2**-20 for name, tensor in weights(0.5).items()}
    save_file(exact, trained / "model.safetensors")
    for name, rounded in (("coarse", True), ("fine", False)):
        pack(study, plan, tmp_path / "out", tmp_path / name, shrink, rounded=rounded)
        unpack(tmp_path / f"{name}-there", tmp_path / name)
        assert restore_weights(study, plan, tmp_path / f"{name}-there", grow) == []
    coarse, fine = (
        load_file(cell_folder(tmp_path / there, "bias-s1") / "model.safetensors") for there in ("coarse-there", "fine-there")
    )
    assert all(torch.equal(fine[name], exact[name]) for name in exact)
    assert all(torch.equal(coarse[name], weights(0.5)[name]) for name in exact)
    pack(study, plan, tmp_path / "coarse-there", tmp_path / "further", shrink)  # what is rounded already travels so
    unpack(tmp_path / "third", tmp_path / "further")
    restore_weights(study, plan, tmp_path / "third", grow)
    third = load_file(cell_folder(tmp_path / "third", "bias-s1") / "model.safetensors")
    assert all(torch.equal(third[name], coarse[name]) for name in coarse)


def test_a_smaller_pack_leaves_no_file_of_the_larger_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, plan = made_study(tmp_path)
    monkeypatch.setattr(parts, "PART_BYTES", 40_000)
    monkeypatch.setattr(parts, "_BATCH", 30_000)
    assert len(pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack).files) > 1
    monkeypatch.undo()
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["study-1.tar"]


def test_weights_that_stayed_behind_and_are_needed_mean_training_again(tmp_path: Path) -> None:
    """All asked once and packed; later a second way of asking is wanted of cdpo-s2."""
    study, plan = made_study(tmp_path)
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    restore_weights(study, plan, there, grow)
    discard(["sampled.cdpo-s2"], there)
    records = read_records(plan, there)
    lost = without_weights(plan, records, there)
    assert lost == ["cdpo-s2"]
    assert outdated(plan, records, there, lost) == ["cdpo-s2", "greedy.cdpo-s2"]
    assert outdated(plan, records, there) == []  # nothing was run with another command
    alone = [cell for cell in plan if cell.arm == "grpo"]
    assert without_weights(alone, records, there) == []  # a part of the study that needs none of them goes on
    with pytest.raises(VtError, match=r"the weights of cdpo-s2 stayed on another machine.*--claims.*--redo"):
        refuse_without_weights(lost, there)


def test_of_what_has_no_room_a_training_that_nobody_has_asked_is_left_last(tmp_path: Path) -> None:
    """Its record alone would be worth nothing; what was asked and packed stays a result without its weights."""
    study, plan = made_study(tmp_path, unfinished=["greedy.cdpo-s2", "sampled.cdpo-s2"])
    states = look(plan, tmp_path / "out")
    worth = packs._with_weights(study, plan, states)
    assert worth["cdpo-s2"] < worth["bias-s1"] < worth["grpo-s1"]
    assert min(worth.values()) == worth["cdpo-s2"]
    (tmp_path / "further").mkdir()
    study, plan = made_study(tmp_path / "further", unfinished=["sampled.cdpo-s2"])
    worth = packs._with_weights(study, plan, look(plan, tmp_path / "further" / "out"))
    assert worth["cdpo-s2"] == worth["bias-s1"]  # it was asked in one of two ways, which is a result already


def test_a_report_without_the_questions_says_which_folder_it_wants(tmp_path: Path) -> None:
    study, plan = made_study(tmp_path)
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    wanted = r"cells/curated: the questions that were asked are not on this machine; give them with --given curated="
    with pytest.raises(VtError, match=wanted):
        numbers(study, plan, there)


def test_without_the_start_model_weights_wait(tmp_path: Path) -> None:
    study, plan = made_study(tmp_path)
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    assert len(restore_weights(study, plan, there, grow)) == 7  # six arms of the first seed, and the other bias model
    (tmp_path / "elsewhere").rename(tmp_path / "base")
    assert restore_weights(study, plan, there, grow) == []


def test_a_given_folder_has_to_be_given_again_where_it_is_needed(tmp_path: Path) -> None:
    study, _ = made_study(tmp_path, unfinished=["grpo-s1", "greedy.grpo-s1", "sampled.grpo-s1"])
    path = tmp_path / "out" / "records" / "curated.json"
    store.write_json(path, {**store.read_json(path, dict[str, Any]), "given": True})
    plan = make_plan(study, tmp_path, given_cells(tmp_path / "out"))
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    plan = make_plan(study, tmp_path, given_cells(there))
    with pytest.raises(VtError, match="--given curated=FOLDER"):
        run_study(plan, there, tmp_path, Slots((), 4), program=STUB)


def test_files_stay_small_and_what_has_no_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, plan = made_study(tmp_path)
    monkeypatch.setattr(parts, "_BATCH", 40_000)
    monkeypatch.setattr(parts, "PART_BYTES", 24_000)
    store.write_text(tmp_path / "away" / "study-99.tar", "of an older pack")
    packed = pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    assert packed.left_out == []
    assert len(packed.files) > 1
    assert sorted((tmp_path / "away").iterdir()) == sorted(packed.files)
    assert all(file.stat().st_size <= 24_000 for file in packed.files)
    unpack(tmp_path / "there", tmp_path / "away")
    assert look(plan, tmp_path / "there") == look(plan, tmp_path / "out")
    few = pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack, n_parts=2)
    assert len(few.files) == 2
    assert few.left_out
    unpack(tmp_path / "third", tmp_path / "away")
    assert look(plan, tmp_path / "third") == look(plan, tmp_path / "out")  # records always travel
    (tmp_path / "third" / "cells" / "curated").symlink_to(tmp_path / "out" / "cells" / "curated")
    levels, *_ = numbers(study, plan, tmp_path / "third")
    assert {level.arm for level in levels} < {level.arm for level in numbers(study, plan, tmp_path / "out")[0]}
    with pytest.raises(VtError, match="holds no study"):
        unpack(tmp_path / "third", tmp_path)


def test_a_cache_is_filled_once_on_each_machine(tmp_path: Path) -> None:
    warm = '\n[prepare.warm]\nrun = "clips warm --data {curated} --frames 16"\n'
    study, plan = make_study(tmp_path, SMALL.replace("seconds_per_step = 1.5", 'after = ["warm"]') + warm)

    def n_filled(folder: Path) -> int:
        return (folder / "diary").read_text().count('"warm"')

    out, there = tmp_path / "out", tmp_path / "there"
    run_study(plan, out, tmp_path, Slots((), 4), program=STUB)
    discard(["grpo-s1", "greedy.grpo-s1", "sampled.grpo-s1"], out)
    run_study(plan, out, tmp_path, Slots((), 4), program=STUB)
    assert n_filled(out) == 1
    discard(["grpo-s1", "greedy.grpo-s1", "sampled.grpo-s1"], out)
    pack(study, plan, out, tmp_path / "away", delta.pack)
    unpack(there, tmp_path / "away")
    assert outdated(plan, read_records(plan, there), there) == []
    run_study(plan, there, tmp_path, Slots((), 4), program=STUB)
    assert n_filled(there) == 1


def test_only_what_fills_a_cache_may_write_nowhere(tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"prepare.lone.run: writes nowhere"):
        make_study(tmp_path, SMALL + '\n[prepare.lone]\nrun = "clips warm --data {curated} --frames 16"\n')


def test_data_that_the_study_made_elsewhere_are_given_as_they_are(tmp_path: Path) -> None:
    study, plan = made_study(tmp_path)
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    for _ in range(2):
        give("curated", there, tmp_path / "out" / "cells" / "curated")
        moved = make_plan(study, tmp_path, given_cells(there))
        assert outdated(moved, read_records(moved, there), there) == []
    assert numbers(study, moved, there) == numbers(study, plan, tmp_path / "out")


@pytest.mark.parametrize("name", ["../outside", "{elsewhere}/outside", "cells/../../outside"])
def test_files_that_would_land_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    blob = lzma.compress(parts.tar([parts.Item(name.format(elsewhere=tmp_path), b"x")]))
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "study-1.tar").write_bytes(parts.tar([parts.Item("records", blob)]))
    with pytest.raises(VtError, match=r"study-1\.tar: is damaged .*outside is no file of a study"):
        unpack(tmp_path / "in" / "study", tmp_path / "away")
    assert not list(tmp_path.rglob("outside"))


def test_what_could_not_be_unpacked_is_refused_when_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell's log of 300 kB, where 200 kB are accepted; with a bound just above all of it, both ends agree."""
    study, plan = made_study(tmp_path)
    store.write_bytes(tmp_path / "out" / "cells" / "grpo-s1" / "notes.txt", b"x" * 300_000)
    monkeypatch.setattr(parts, "_BATCH", 10_000)
    monkeypatch.setattr(outside, "PACK_BYTES", 200_000)
    told = r"cells/grpo-s1/notes\.txt: has 300,000 bytes, and a study's pack takes 200,000 at most .*; move it out of"
    with pytest.raises(VtError, match=told):
        pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    assert not (tmp_path / "away").exists()
    monkeypatch.setattr(outside, "PACK_BYTES", 400_000)
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    unpack(tmp_path / "there", tmp_path / "away")
    assert (tmp_path / "there" / "cells" / "grpo-s1" / "notes.txt").stat().st_size == 300_000


def test_a_blend_stays_behind_and_the_weights_it_lies_between_travel_while_its_asking_is_owed(tmp_path: Path) -> None:
    """grpo's second seed would stay otherwise: no bias model, not the first seed, and asked already."""
    blend = '\n[arms.mid]\nstage = "blend"\nof = ["base", "grpo"]\nweight = 0.5\nagainst = ["grpo"]\n'
    study, plan = make_study(tmp_path, SMALL.replace('model = "lab/tiny"', f'model = "{tmp_path}/base"') + blend)
    checkpoint(tmp_path / "base", 0.5)
    questions = make(20, 3).questions["train"]
    for cell in plan:
        if cell.name != "greedy.mid-s2":
            finish(cell, tmp_path / "out", questions)
            if cell.kind in (Kind.TRAIN, Kind.BLEND):
                checkpoint(cell_folder(tmp_path / "out", cell.name), 0.75)
    pack(study, plan, tmp_path / "out", tmp_path / "away", delta.pack)
    there = tmp_path / "there"
    unpack(there, tmp_path / "away")
    restore_weights(study, plan, there, grow)
    assert (cell_folder(there, "grpo-s2") / "model.safetensors").is_file()
    assert not (cell_folder(there, "mid-s2") / "model.safetensors").exists()
    assert outdated(plan, read_records(plan, there), there) == []
    owed = [cell.name for cell in left_behind(plan, look(plan, there), read_records(plan, there), there)]
    assert "mid-s2" in owed  # made anew, from weights that are here
    assert "grpo-s2" not in owed
