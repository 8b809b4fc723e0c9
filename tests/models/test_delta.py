"""A checkpoint as its difference to another: exact, small, and refused where anything does not fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from videothinker import store
from videothinker.errors import VtError
from videothinker.models import delta
from videothinker.models.checkpoint import Checkpoint, weights_hash
from videothinker.models.delta import pack, unpack

LARGEST = torch.finfo(torch.bfloat16).max


def checkpoint(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    store.write_json(folder / "config.json", {"model_type": "qwen2_5_vl"})
    store.write_text(folder / "chat_template.jinja", "{{ messages }}")
    store.write_json(folder / "run.json", {"stage": "sft"})
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tensors = {"a": torch.randn(300, 200) * 0.03, "b.bias": torch.zeros(7), "c": torch.tensor(1.5)}
    return checkpoint(tmp_path / "base", {name: tensor.bfloat16() for name, tensor in tensors.items()})


@pytest.fixture
def trained(base: Path, tmp_path: Path) -> Path:
    """Moved by some 1e-4, in float32; with every kind of finite number that bfloat16 has, the largest among them."""
    tensors = {name: tensor.float() for name, tensor in load_file(base / "model.safetensors").items()}
    tensors["a"] += torch.randn(300, 200) * 2e-4
    tensors["a"][0, :6] = torch.tensor([0.0, -0.0, LARGEST, -LARGEST, 1e-40, -3e38])
    tensors["b.bias"] -= 1e-4
    return checkpoint(tmp_path / "trained", tensors)


def test_bit_patterns_become_integers_in_the_order_of_the_numbers() -> None:
    numbers = torch.tensor([-float("inf"), -2.0, -1.0, -1e-40, -0.0, 0.0, 1e-40, 1.0, 1.0078125, float("inf")])
    integers = delta._ordered(delta._bits(numbers.bfloat16())).astype(int)
    assert (np.diff(integers) > 0).all()
    assert integers[5] - integers[4] == 1  # the two zeros are neighbours
    assert integers[8] - integers[7] == 1  # 1 and the next bfloat16
    everything = np.arange(2**16, dtype=np.uint16)
    assert (delta._unordered(delta._ordered(everything)) == everything).all()
    assert (delta._unzigzag(delta._zigzag(everything)) == everything).all()
    assert delta._zigzag(np.array([0, -1, 1, -2, 2], np.int16).view(np.uint16)).tolist() == [0, 1, 2, 3, 4]


def test_what_is_unpacked_is_bit_for_bit_what_was_packed_rounded_to_bfloat16(base: Path, trained: Path, tmp_path: Path) -> None:
    packed = pack(base, trained, tmp_path / "some" / "x.delta")
    sha256 = unpack(base, tmp_path / "some" / "x.delta", tmp_path / "made")
    made = load_file(tmp_path / "made" / "model.safetensors")
    wanted = load_file(trained / "model.safetensors")
    assert made.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert made[name].shape == tensor.shape
        assert torch.equal(made[name].view(torch.int16), tensor.bfloat16().view(torch.int16))
    assert sha256 == packed.sha256 == weights_hash(Checkpoint(tmp_path / "made", None))
    assert packed.rounded
    assert packed.n_weights == 60_008
    assert 0 < packed.n_moved < 60_008  # the scalar did not move
    assert packed.n_bytes == (tmp_path / "some" / "x.delta").stat().st_size < 60_008 * 0.75
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
    ]


def test_an_exact_delta_gives_float32_back_bit_for_bit(base: Path, trained: Path, tmp_path: Path) -> None:
    """Halves of a bfloat16's distance, which rounding would lose either way, numbers that round to infinity, both zeros; and a
    tensor in bfloat16 among those in float32."""
    tensors = load_file(trained / "model.safetensors")
    tensors["a"][1, :6] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 3.4e38, -(2.0**-149), 1 + 2**-23])
    tensors["b.bias"] = torch.full((7,), 0.25).bfloat16()
    other = checkpoint(tmp_path / "other", tensors)
    packed = pack(base, other, tmp_path / "x.delta", exact=True)
    assert unpack(base, tmp_path / "x.delta", tmp_path / "made") == packed.sha256 == weights_hash(Checkpoint(other, None))
    made = load_file(tmp_path / "made" / "model.safetensors")
    assert {name: tensor.dtype for name, tensor in made.items()} == {name: tensor.dtype for name, tensor in tensors.items()}
    assert torch.equal(made["a"].view(torch.int32), tensors["a"].view(torch.int32))
    assert not packed.rounded
    assert 60_001 * 2 < packed.n_bytes < 60_001 * 2.75


def test_an_exact_delta_counts_what_moved_by_less_than_bfloat16_tells(base: Path, tmp_path: Path) -> None:
    tensors = {name: tensor.float() for name, tensor in load_file(base / "model.safetensors").items()}
    tensors["c"] = tensors["c"] + 2**-20
    other = checkpoint(tmp_path / "other", tensors)
    assert pack(base, other, tmp_path / "x.delta").n_moved == 0
    assert pack(base, other, tmp_path / "x.delta", exact=True).n_moved == 1
    metadata, _, rest = delta._load(tmp_path / "x.delta")
    assert metadata["float32"] == "111"
    assert rest.tolist().count(0) == 60_007
    halves = checkpoint(tmp_path / "halves", {**tensors, "c": tensors["c"].half()})
    with pytest.raises(VtError, match=r"halves: c is torch\.float16, expected float32 or bfloat16"):
        pack(base, halves, tmp_path / "y.delta", exact=True)


@pytest.mark.parametrize(("flags", "n_rest"), [("111", 60_007), ("11", 60_008), ("1", 60_008), ("000", 60_008)])
def test_an_exact_delta_with_other_lower_halves_than_it_says_is_refused(
    flags: str, n_rest: int, base: Path, trained: Path, tmp_path: Path
) -> None:
    pack(base, trained, tmp_path / "x.delta", exact=True)
    metadata = delta._load(tmp_path / "x.delta")[0] | {"float32": flags}
    streams = load_file(tmp_path / "x.delta")
    save_file({**streams, "rest": streams["rest"][: 2 * n_rest].clone()}, tmp_path / "x.delta", metadata=metadata)
    with pytest.raises(VtError, match=r"x\.delta: is damaged"):
        unpack(base, tmp_path / "x.delta", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_checkpoint_that_did_not_move_costs_next_to_nothing(base: Path, tmp_path: Path) -> None:
    packed = pack(base, base, tmp_path / "x.delta")
    assert (packed.n_moved, packed.rounded) == (0, False)
    assert packed.n_bytes < 2000
    assert unpack(base, tmp_path / "x.delta", tmp_path / "made") == weights_hash(Checkpoint(base, None))


def test_another_base_is_refused_and_nothing_is_written(base: Path, trained: Path, tmp_path: Path) -> None:
    pack(base, trained, tmp_path / "x.delta")
    tensors = load_file(base / "model.safetensors")
    tensors["c"] = torch.tensor(1.5078125).bfloat16()  # the next number
    other = checkpoint(tmp_path / "other", tensors)
    with pytest.raises(VtError, match=r"was packed with another base than .*other"):
        unpack(other, tmp_path / "x.delta", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def flip_a_byte(data: bytes) -> bytes:
    return data[:-900] + bytes([data[-900] ^ 4]) + data[-899:]


@pytest.mark.parametrize("damage", [flip_a_byte, lambda data: data[:-500], lambda data: data[:5], lambda _: b"{}"])
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], base: Path, trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.delta"
    pack(base, trained, file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(VtError, match=r"x\.delta: is damaged"):
        unpack(base, file, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_streams_of_another_checkpoint_are_found_by_their_hash(base: Path, trained: Path, tmp_path: Path) -> None:
    pack(base, trained, tmp_path / "x.delta")
    pack(base, base, tmp_path / "y.delta")
    mixed = load_file(tmp_path / "y.delta")
    metadata = delta._load(tmp_path / "x.delta")[0]
    save_file(mixed, tmp_path / "x.delta", metadata=metadata)
    with pytest.raises(VtError, match=r"its weights are not those that were packed"):
        unpack(base, tmp_path / "x.delta", tmp_path / "made")


def test_what_a_delta_cannot_hold_is_refused_by_name(base: Path, trained: Path, tmp_path: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    with pytest.raises(VtError, match=r"expected a base in bfloat16"):
        pack(trained, base, tmp_path / "x.delta")
    fewer = checkpoint(tmp_path / "fewer", {"a": tensors["a"]})
    with pytest.raises(VtError, match=r"fewer: has nothing where .*base has b\.bias \(7,\)"):
        pack(base, fewer, tmp_path / "x.delta")
    for name, number in {"nan": float("nan"), "infinite": -float("inf")}.items():
        diverged = checkpoint(tmp_path / name, {**tensors, "c": torch.tensor(number)})
        with pytest.raises(VtError, match=rf"{name}: c holds NaN or infinite numbers"):
            pack(base, diverged, tmp_path / "x.delta")
    assert not (tmp_path / "x.delta").exists()
    integers = checkpoint(tmp_path / "integers", {**tensors, "a": tensors["a"].int()})
    with pytest.raises(VtError, match=r"integers: a is torch\.int32"):
        pack(base, integers, tmp_path / "x.delta")
    store.write_json(fewer / "adapter_config.json", {})
    with pytest.raises(VtError, match=r"fewer: is a LoRA adapter"):
        pack(base, fewer, tmp_path / "x.delta")
    with pytest.raises(VtError, match=r"nowhere\.delta: is not there"):
        unpack(base, tmp_path / "nowhere.delta", tmp_path / "made")
    save_file({"low": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(VtError, match=r"is no 'videothinker delta 1' file"):
        unpack(base, tmp_path / "other.safetensors", tmp_path / "made")


def test_what_rounding_makes_infinite_did_not_diverge_and_is_packed_exactly(base: Path, tmp_path: Path) -> None:
    """Half of bfloat16's last step of 2**120 above its largest number, 3.3895e38, rounds up; a little less does not."""
    tensors = load_file(base / "model.safetensors")
    edge = LARGEST + 2.0**119
    below, above = (
        checkpoint(tmp_path / name, {**tensors, "c": torch.tensor(-number)})
        for name, number in (("below", edge - 2.0**104), ("above", edge))
    )
    pack(base, below, tmp_path / "x.delta")
    unpack(base, tmp_path / "x.delta", tmp_path / "made")
    assert load_file(tmp_path / "made" / "model.safetensors")["c"].item() == -LARGEST
    told = (
        r"above: c holds a number of size 3\.3962e\+38, which rounding to bfloat16 would make infinite .*3\.3895e\+38.*--exact"
    )
    with pytest.raises(VtError, match=told) as caught:
        pack(base, above, tmp_path / "y.delta")
    assert "diverged" not in str(caught.value)
    pack(base, above, tmp_path / "y.delta", exact=True)
    unpack(base, tmp_path / "y.delta", tmp_path / "exactly")
    assert load_file(tmp_path / "exactly" / "model.safetensors")["c"].item() == -edge


def test_a_file_says_whether_it_is_exact(base: Path, trained: Path, tmp_path: Path) -> None:
    for exact in (True, False):
        pack(base, trained, tmp_path / "x.delta", exact=exact)
        assert delta.is_exact(tmp_path / "x.delta") is exact


@pytest.mark.parametrize("rule", ["", "old", "Original", "original "])
def test_a_rule_of_positions_that_there_is_not_is_refused_by_its_file(
    rule: str, base: Path, trained: Path, tmp_path: Path
) -> None:
    for exact in (True, False):
        pack(base, trained, tmp_path / "x.delta", exact=exact)
        metadata = delta._load(tmp_path / "x.delta")[0]
        save_file(load_file(tmp_path / "x.delta"), tmp_path / "x.delta", metadata={**metadata, "text_positions": rule})
        with pytest.raises(VtError, match=rf"x\.delta: text_positions is '{rule}', expected original or transformers; get"):
            unpack(base, tmp_path / "x.delta", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_only_files_of_earlier_versions_may_leave_the_rule_out(base: Path, trained: Path, tmp_path: Path) -> None:
    """Those were rounded; the rule is then the base's."""
    for exact in (False, True):
        pack(base, trained, tmp_path / "x.delta", exact=exact)
        metadata = delta._load(tmp_path / "x.delta")[0]
        del metadata["text_positions"]
        save_file(load_file(tmp_path / "x.delta"), tmp_path / "x.delta", metadata=metadata)
        if not exact:
            unpack(base, tmp_path / "x.delta", tmp_path / "made")
            assert store.read_json(tmp_path / "made" / "config.json", dict[str, str])["text_positions"] == "transformers"
    with pytest.raises(VtError, match=r"x\.delta: is damaged, it does not say its text_positions; get it again"):
        unpack(base, tmp_path / "x.delta", tmp_path / "made")


def test_only_a_checkpoint_is_replaced(base: Path, trained: Path, tmp_path: Path) -> None:
    pack(base, trained, tmp_path / "x.delta")
    (tmp_path / "mine").mkdir()
    store.write_text(tmp_path / "mine" / "thesis.txt", "years of work")
    with pytest.raises(VtError, match=r"mine: is there and no checkpoint"):
        unpack(base, tmp_path / "x.delta", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    for _ in range(2):
        unpack(base, tmp_path / "x.delta", tmp_path / "made")
