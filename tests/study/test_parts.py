"""The files of a pack: which batch comes into which, and how what is larger than a file goes in pieces, whole or not at all."""

import shutil
from pathlib import Path

import pytest
import torch
from pack_factory import look, made_study
from safetensors.torch import load_file, save_file

from videothinker import outside
from videothinker.cli.study_packs import grow, shrink
from videothinker.errors import VtError
from videothinker.records.study import Study
from videothinker.study import parts
from videothinker.study.pack import pack, restore_weights, unpack
from videothinker.study.plan import Cell, cell_folder


def test_parts_are_filled_in_order_of_importance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two parts with room for 13,760 bytes each: c finds room beside a, d nowhere."""
    monkeypatch.setattr(parts, "PART_BYTES", 24_000)
    blobs = [(["a"], b"a" * 9_000), (["b"], b"b" * 9_000), (["c"], b"c" * 2_000), (["d", "e"], b"d" * 9_000)]
    found, left_out = parts.spread(blobs, 2)
    assert [[item.content[:1] for item in part] for part in found] == [[b"a", b"c"], [b"b"]]
    assert left_out == ["d", "e"]


def test_what_is_larger_than_a_file_begins_a_new_one_and_goes_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for 13,760 bytes, of which a member takes at most 1,024 for itself: 30,000 bytes are 12,736 twice and 4,528. The
    last piece would have fitted beside a, where d is then put."""
    monkeypatch.setattr(parts, "PART_BYTES", 24_000)
    blobs = [(["a"], b"a" * 2_000), (["b"], b"b" * 30_000), (["c"], b"c" * 12_736), (["d"], b"d" * 7_184)]
    found, left_out = parts.spread(blobs, 5)
    assert [[item.name for item in part] for part in found] == [
        ["0000.tar.xz", "0003.tar.xz"],
        ["0001.tar.xz.1-of-3"],
        ["0001.tar.xz.2-of-3"],
        ["0001.tar.xz.3-of-3"],
        ["0002.tar.xz"],
    ]
    assert b"".join(part[0].content for part in found[1:4]) == b"b" * 30_000
    assert left_out == []
    few, left_out = parts.spread(blobs, 3)
    assert [[item.name for item in part] for part in few] == [["0000.tar.xz", "0003.tar.xz"], ["0002.tar.xz"]]
    assert left_out == ["b"]


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, tuple[Cell, ...]]:
    """A study in out/ whose bias-s1 has 65,536 weights in float32, whose lower halves alone take 131 kB: files have 24 kB."""
    study, plan = made_study(tmp_path)
    torch.manual_seed(0)
    before = {"a.weight": torch.randn(256, 256).bfloat16()}
    save_file(before, tmp_path / "base" / "model.safetensors")
    for cell in plan:
        if (file := cell_folder(tmp_path / "out", cell.name) / "model.safetensors").is_file():
            save_file(before, file)
    after = {"a.weight": before["a.weight"].float() + 1e-3 * torch.randn(256, 256)}
    save_file(after, cell_folder(tmp_path / "out", "bias-s1") / "model.safetensors")
    monkeypatch.setattr(parts, "PART_BYTES", 24_000)
    monkeypatch.setattr(parts, "_BATCH", 30_000)
    return study, plan


def test_a_checkpoint_that_is_larger_than_a_file_travels_in_several(
    tmp_path: Path, large: tuple[Study, tuple[Cell, ...]]
) -> None:
    study, plan = large
    packed = pack(study, plan, tmp_path / "out", tmp_path / "away", shrink)
    assert packed.left_out == []
    assert all(file.stat().st_size <= 24_000 for file in packed.files)
    unpack(tmp_path / "there", tmp_path / "away")
    assert restore_weights(study, plan, tmp_path / "there", grow) == []
    ours, theirs = (load_file(cell_folder(tmp_path / name, "bias-s1") / "model.safetensors") for name in ("out", "there"))
    assert torch.equal(ours["a.weight"], theirs["a.weight"])
    n_small = len(pack(study, plan, tmp_path / "out", tmp_path / "small", shrink, rounded=True).files)
    few = pack(study, plan, tmp_path / "out", tmp_path / "few", shrink, n_parts=n_small)
    assert few.left_out == ["bias-s1"]
    unpack(tmp_path / "third", tmp_path / "few")
    assert look(plan, tmp_path / "third") == look(plan, tmp_path / "out")


def test_a_pack_that_lacks_a_piece_is_refused_and_the_rest_can_be_had(
    tmp_path: Path, large: tuple[Study, tuple[Cell, ...]]
) -> None:
    study, plan = large
    packed = pack(study, plan, tmp_path / "out", tmp_path / "away", shrink)
    holding = [file for file in packed.files if b".tar.xz.1-of-" in file.read_bytes()]
    others = [file for file in packed.files if b"-of-" in file.read_bytes() and file not in holding]
    assert len(holding) == 1
    assert others
    shutil.copytree(tmp_path / "away", tmp_path / "whole")
    holding[0].unlink()
    told = rf"away: lacks a file of the pack, for piece 1 of {1 + len(others)} of \d+\.tar\.xz is in none; .* remove "
    with pytest.raises(VtError, match=told + ", ".join(sorted(file.name for file in others))):
        unpack(tmp_path / "there", tmp_path / "away")
    assert not (tmp_path / "there").exists()
    for file in others:
        file.unlink()
    unpack(tmp_path / "there", tmp_path / "away")
    assert look(plan, tmp_path / "there") == look(plan, tmp_path / "out")
    assert not (cell_folder(tmp_path / "there", "bias-s1") / "exact.delta").exists()
    shutil.copy(tmp_path / "whole" / others[0].name, tmp_path / "whole" / "study-99.tar")
    with pytest.raises(VtError, match=r"study-99\.tar: is damaged \(\d+\.tar\.xz has a piece too many\); copy it again"):
        unpack(tmp_path / "there", tmp_path / "whole")


def test_weights_that_no_pack_takes_stay_and_the_rest_travels(
    tmp_path: Path, large: tuple[Study, tuple[Cell, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, plan = large
    monkeypatch.setattr(outside, "PACK_BYTES", 120_000)
    assert pack(study, plan, tmp_path / "out", tmp_path / "away", shrink).left_out == ["bias-s1"]
    unpack(tmp_path / "there", tmp_path / "away")
    assert look(plan, tmp_path / "there") == look(plan, tmp_path / "out")


def test_what_a_killed_process_left_in_a_cell_does_not_travel(tmp_path: Path) -> None:
    study, plan = made_study(tmp_path)
    cell = cell_folder(tmp_path / "out", "grpo-s1")
    (cell / ".vt-restored-abcdefgh" / "checkpoint").mkdir(parents=True)
    for name in (".vt-restored-abcdefgh/checkpoint/config.json", ".exact.delta.x7d_ak2f", ".lock"):
        (cell / name).write_text("{}")
    pack(study, plan, tmp_path / "out", tmp_path / "away", shrink)
    unpack(tmp_path / "there", tmp_path / "away")
    there = {path.name for path in cell_folder(tmp_path / "there", "grpo-s1").iterdir()}
    assert there == {"config.json", "exact.delta", "metrics.jsonl", "run.json"}
