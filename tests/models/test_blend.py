"""Weights between two checkpoints: by hand, exact at both ends, in float32, and refused where the two do not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from videothinker import store
from videothinker.cli import app
from videothinker.errors import VtError
from videothinker.fingerprint import fingerprint
from videothinker.models.blend import blend
from videothinker.models.misfit import NotFiniteError

CONFIG = {"model_type": "qwen2_5_vl", "dtype": "bfloat16", "text_config": {"hidden_size": 4, "use_cache": True}}


def checkpoint(folder: Path, tensors: dict[str, torch.Tensor], config: Any = CONFIG, tokenizer: str = "a") -> Path:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    store.write_json(folder / "config.json", config)
    store.write_json(folder / "tokenizer.json", {"words": tokenizer})
    store.write_json(folder / "run.json", {"stage": "grpo"})
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return checkpoint(
        tmp_path / "start", {"a": torch.tensor([1.0, 2.0, -4.0]).bfloat16(), "b": torch.tensor([[8.0]]).bfloat16()}
    )


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """As training saves it: in float32, and with another use_cache."""
    config = {**CONFIG, "dtype": "float32", "text_config": {"hidden_size": 4, "use_cache": False}}
    return checkpoint(tmp_path / "trained", {"a": torch.tensor([3.0, 2.0, 1e-3]), "b": torch.tensor([[-8.0]])}, config)


def test_a_quarter_of_the_way_by_hand(start: Path, trained: Path, tmp_path: Path) -> None:
    made = blend(str(start), str(trained), 0.25, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found["a"].dtype == torch.float32
    assert found["a"].tolist() == [1.5, 2.0, pytest.approx(-3.0 + 0.25e-3)]
    assert found["b"].tolist() == [[4.0]]
    assert (made.n_weights, made.n_apart) == (4, 3)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_at_both_ends_are_the_checkpoints_themselves(start: Path, trained: Path, tmp_path: Path, weight: float) -> None:
    blend(str(start), str(trained), weight, tmp_path / "out")
    for name, tensor in load_file((trained if weight else start) / "model.safetensors").items():
        assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")[name], tensor.float())


def test_it_says_what_it_lies_between_and_nothing_of_their_runs(start: Path, trained: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["checkpoint", "blend", str(start), str(trained), "--weight", "0.5", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0
    assert "4 weights in float32, 3 of which differ" in " ".join(result.output.split())
    told = store.read_json(tmp_path / "out" / "blend.json", dict[str, Any])
    assert told["first"] == {"ref": str(start), "fingerprint": fingerprint(start)}
    assert told["second"]["fingerprint"] == fingerprint(trained)
    assert told["weight"] == 0.5
    assert store.read_json(tmp_path / "out" / "config.json", dict[str, Any])["dtype"] == "float32"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "blend.json",
    }


def test_what_does_not_fit_is_refused_and_leaves_nothing(start: Path, tmp_path: Path) -> None:
    one = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([[1.0]])}
    wide = {**CONFIG, "text_config": {"hidden_size": 8, "use_cache": True}}
    others = {
        "config.json differs in text_config": checkpoint(tmp_path / "wide", one, wide),
        "tokenizer.json differs": checkpoint(tmp_path / "words", one, tokenizer="b"),
        r"has b \(2, 1\) where": checkpoint(tmp_path / "shape", {**one, "b": torch.ones(2, 1)}),
        r"has nothing where .* has b": checkpoint(tmp_path / "fewer", {"a": one["a"]}),
        "is torch.int64": checkpoint(tmp_path / "whole", {**one, "b": torch.ones(1, 1, dtype=torch.int64)}),
    }
    for said, other in others.items():
        with pytest.raises(VtError, match=said):
            blend(str(start), str(other), 0.5, tmp_path / "out")
    broken = checkpoint(tmp_path / "nan", {**one, "b": torch.tensor([[float("nan")]])})
    with pytest.raises(NotFiniteError):
        blend(str(start), str(broken), 0.5, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("named", "rule"), [("transformers", "transformers"), ("original", None)])
def test_a_start_of_an_earlier_version_names_no_rule_and_fits_what_was_trained_from_it(
    start: Path, trained: Path, tmp_path: Path, named: str, rule: str | None
) -> None:
    """Its run.json says that this package trained it, which makes its rule transformers'; a later training writes the name."""
    config = store.read_json(trained / "config.json", dict[str, Any])
    store.write_json(trained / "config.json", config | {"text_positions": named})
    for first, second in ((start, trained), (trained, start)):
        if rule is None:
            with pytest.raises(VtError, match=r"text_positions '(original|transformers)'.* blend checkpoints of one training"):
                blend(str(first), str(second), 0.5, tmp_path / "out")
        else:
            blend(str(first), str(second), 0.5, tmp_path / "out")
            assert store.read_json(tmp_path / "out" / "config.json", dict[str, Any])["text_positions"] == rule


def test_architectures_of_one_rule_are_blended_whatever_they_say_of_it(tmp_path: Path) -> None:
    """A start from a hub, with no mark and no run.json, and what was trained from it by an earlier version, with a run.json."""
    config, weights = {**CONFIG, "model_type": "qwen3_vl"}, {"a": torch.ones(2)}
    start, trained = (checkpoint(tmp_path / name, weights, config) for name in ("start", "trained"))
    (start / "run.json").unlink()
    blend(str(start), str(trained), 0.5, tmp_path / "out")
    assert "text_positions" not in store.read_json(tmp_path / "out" / "config.json", dict[str, Any])


def test_an_adapter_and_a_folder_of_something_else_are_refused(start: Path, trained: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    store.write_json(adapter / "adapter_config.json", {"base_model_name_or_path": str(start)})
    with pytest.raises(VtError, match="is a LoRA adapter"):
        blend(str(start), str(adapter), 0.5, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    with pytest.raises(VtError, match="is there and no checkpoint"):
        blend(str(start), str(trained), 0.5, tmp_path / "mine")
    with pytest.raises(VtError, match="is one of the two checkpoints"):
        blend(str(start), str(trained), 0.5, trained)
