"""Which weights a training's folder has, whatever differences come into it in whatever order, and which of them is packed."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from pack_factory import checkpoint, made_study, weights
from safetensors.torch import load_file, save_file

from videothinker.cli.study_packs import Packing, grow, pack_study, shrink
from videothinker.errors import VtError
from videothinker.models import delta
from videothinker.study import differences
from videothinker.study.differences import difference, restore
from videothinker.study.pack import pack, restore_weights, unpack
from videothinker.study.plan import cell_folder

FINE = 2.0**-20
"""What a training in small steps changes in float32. Half of the weights are 0.5, whose next bfloat16 is 2**-8 away."""


def trained(folder: Path, number: float = 0.5) -> Path:
    """A checkpoint in float32 that is not one in bfloat16."""
    checkpoint(folder, number)
    save_file({name: tensor.float() + FINE for name, tensor in weights(number).items()}, folder / "model.safetensors")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    checkpoint(tmp_path / "base", 0.5)
    return tmp_path / "base"


@pytest.fixture
def files(base: Path, tmp_path: Path) -> dict[str, bytes]:
    """Both differences of one training, by what is known of them."""
    source = trained(tmp_path / "source")
    made = {}
    for kind in ("exact", "rounded"):
        delta.pack(base, source, tmp_path / "x.delta", exact=kind == "exact")
        made[kind] = (tmp_path / "x.delta").read_bytes()
    return made


def kind_of(out: Path) -> str:
    found = load_file(out / "model.safetensors")["a.weight"][0, 0].item()
    return {0.5: "rounded", 0.5 + FINE: "exact", 0.75 + FINE: "own"}[found]


def arrive(out: Path, name: str, content: bytes) -> None:
    out.mkdir(exist_ok=True)
    (out / name).write_bytes(content)


@pytest.mark.parametrize(
    ("coming", "kept"),
    [
        (["rounded"], "rounded"),
        (["exact"], "exact"),
        (["rounded", "exact"], "exact"),
        (["exact", "rounded"], "exact"),
        (["rounded", "rounded"], "rounded"),
        (["rounded", "exact", "rounded"], "exact"),
        (["own", "rounded"], "own"),
        (["own", "exact"], "own"),
    ],
)
@pytest.mark.parametrize("earlier", [False, True])
def test_exact_weights_take_the_place_of_rounded_ones_and_nothing_takes_that_of_others(
    coming: Sequence[str], kept: str, earlier: bool, base: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    """One after the other, under the names of today or under the one that earlier versions had for both."""
    out = tmp_path / "out"
    for kind in coming:
        if kind == "own":
            trained(out, 0.75)
            continue
        arrive(out, "weights.delta" if earlier else f"{kind}.delta", files[kind])
        restore(out, base, grow)
    assert kind_of(out) == kept
    assert (out / "rounded.json").is_file() is (kept == "rounded")
    assert not (out / "weights.delta").exists()
    packed = difference(out, base, shrink, rounded=False)
    assert packed is not None
    if kept == "own":
        return
    assert packed.name == f"{kept}.delta"
    assert delta.is_exact(packed) is (kept == "exact")


def test_both_kinds_at_once_give_exact_weights(base: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    for kind, content in files.items():
        arrive(tmp_path / "out", f"{kind}.delta", content)
    restore(tmp_path / "out", base, grow)
    assert kind_of(tmp_path / "out") == "exact"


def test_weights_that_an_earlier_version_rounded_are_known_by_what_lies_beside_them(
    base: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    """It kept no note. Its cache beside weights that were trained here says nothing of those, even if it cannot be read."""
    restored, own, strange = tmp_path / "restored", trained(tmp_path / "own"), trained(tmp_path / "strange")
    arrive(restored, "weights.delta", files["rounded"])
    grow(base, restored / "weights.delta", restored / "checkpoint")
    for path in [*(restored / "checkpoint").iterdir()]:
        path.replace(restored / path.name)
    arrive(own, "weights.delta", files["rounded"])
    arrive(strange, "weights.delta", b"cut")
    for out in (restored, own, strange):
        restore(out, base, grow)
    assert [(out / "rounded.json").is_file() for out in (restored, own, strange)] == [True, False, False]
    assert [kind_of(out) for out in (restored, own, strange)] == ["rounded", "exact", "exact"]
    assert difference(restored, base, shrink, rounded=False) == restored / "rounded.delta"
    for out in (own, strange):
        assert difference(out, base, shrink, rounded=False) == out / "exact.delta"


def test_of_weights_that_wait_what_is_there_is_packed_under_its_name(files: dict[str, bytes], tmp_path: Path) -> None:
    """Without the start model a file of an earlier version keeps the name that says nothing."""
    out = tmp_path / "out"
    for name, content in (("rounded.delta", files["rounded"]), ("weights.delta", files["rounded"])):
        arrive(out, name, content)
        assert difference(out, None, shrink, rounded=False) == out / name
    arrive(out, "exact.delta", files["exact"])
    assert difference(out, None, shrink, rounded=False) == out / "exact.delta"
    assert difference(out, None, shrink, rounded=True) == out / "rounded.delta"


def test_a_process_that_is_killed_leaves_no_rounded_weights_without_their_note(
    base: Path, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before weights are moved the note is there; with an exact difference it goes after them."""
    out = tmp_path / "out"
    moved: list[tuple[str, bool]] = []
    replace = Path.replace

    def watched(path: Path, target: Path) -> Path:
        if path.parent.name == "checkpoint":
            moved.append((path.name, (out / "rounded.json").exists()))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    for kind in ("rounded", "exact"):
        arrive(out, f"{kind}.delta", files[kind])
        restore(out, base, grow)
    assert moved == [("config.json", True), ("model.safetensors", True)] * 2
    assert not (out / "rounded.json").exists()


def test_a_damaged_file_is_told_where_weights_are_wanted_of_it(base: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    arrive(tmp_path / "out", "rounded.delta", files["rounded"])
    restore(tmp_path / "out", base, grow)
    arrive(tmp_path / "out", "exact.delta", files["exact"][:-100])
    with pytest.raises(VtError, match=r"exact\.delta: is damaged"):
        restore(tmp_path / "out", base, grow)
    assert kind_of(tmp_path / "out") == "rounded"
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("first", ["rounded", "exact"])
def test_packs_of_both_kinds_may_come_into_one_folder(
    first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bias model in small steps. From a folder with rounded weights alone, an exact pack says which these are."""
    monkeypatch.setenv("COLUMNS", "1000")
    study, plan = made_study(tmp_path)
    for name in ("bias-s1", "bias-s2"):
        trained(cell_folder(tmp_path / "out", name))
    there = tmp_path / "there"
    told = []
    for kind in (first, "exact" if first == "rounded" else "rounded"):
        pack(study, plan, tmp_path / "out", tmp_path / kind, shrink, rounded=kind == "rounded")
        unpack(there, tmp_path / kind)
        assert restore_weights(study, plan, there, grow) == []
        told.append(pack(study, plan, there, tmp_path / f"further-{kind}", shrink).not_exact)
        if kind == "rounded" and first == "rounded":
            pack_study(study, plan, there, Packing(tmp_path / "again", None, rounded=False, every=None))
            said = " ".join(capsys.readouterr().err.split())
            assert (
                "the weights of 7 trainings came here rounded to bfloat16, and travel so: attract-s1, bias-s1, bias-s2," in said
            )
            assert pack(study, plan, there, tmp_path / "again", shrink, rounded=True).not_exact == []
    assert [len(names) for names in told] == ([7, 0] if first == "rounded" else [0, 0])  # six arms, and the other bias model
    assert kind_of(cell_folder(there, "bias-s1")) == "exact"
    unpack(tmp_path / "third", tmp_path / f"further-{'exact' if first == 'rounded' else 'rounded'}")
    restore_weights(study, plan, tmp_path / "third", grow)
    assert kind_of(cell_folder(tmp_path / "third", "bias-s2")) == "exact"


def test_a_pack_of_an_earlier_version_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, plan = made_study(tmp_path)
    for kind, name in (("exact", "bias-s1"), ("rounded", "bias-s2")):
        trained(cell_folder(tmp_path / "out", name))
        for module in (differences, sys.modules["videothinker.study.pack"]):
            monkeypatch.setattr(module, "EXACT", "weights.delta")
        monkeypatch.setattr(differences, "ROUNDED", "weights.delta")
        pack(study, plan, tmp_path / "out", tmp_path / kind, shrink, rounded=kind == "rounded")
        monkeypatch.undo()
        for file in (tmp_path / "out" / "cells").glob("*/*.delta"):
            file.unlink()
        there = tmp_path / f"{kind}-there"
        unpack(there, tmp_path / kind)
        assert restore_weights(study, plan, there, grow) == []
        assert kind_of(cell_folder(there, name)) == kind
        assert {file.name for file in (there / "cells").glob("*/*.delta")} == {f"{kind}.delta"}


def test_weights_and_what_is_told_of_them_stay_of_one_training(tmp_path: Path) -> None:
    """The first machine trains grpo-s1 again after its pack went on elsewhere. Nothing is written of the second pack."""
    study, plan = made_study(tmp_path)
    there = tmp_path / "there"
    pack(study, plan, tmp_path / "out", tmp_path / "away", shrink)
    for _ in range(2):
        unpack(there, tmp_path / "away")
        restore_weights(study, plan, there, grow)
    run = tmp_path / "out" / "cells" / "grpo-s1" / "run.json"
    run.write_text(run.read_text().replace("}", " }", 1))
    (tmp_path / "out" / "logs").mkdir()
    (tmp_path / "out" / "logs" / "grpo-s1.stderr").write_text("once more")
    pack(study, plan, tmp_path / "out", tmp_path / "away", shrink)
    with pytest.raises(
        VtError, match=r"cells/grpo-s1: holds the weights of another training than .*away tells of.*--out, or remove"
    ):
        unpack(there, tmp_path / "away")
    assert not (there / "logs").exists()
    for file in (there / "cells" / "grpo-s1").iterdir():
        file.unlink()
    unpack(there, tmp_path / "away")
    assert restore_weights(study, plan, there, grow) == []
    assert (there / "cells" / "grpo-s1" / "run.json").read_bytes() == run.read_bytes()
    assert torch.equal(load_file(there / "cells" / "grpo-s1" / "model.safetensors")["b.weight"], weights(0.5)["b.weight"])
