"""Loading a checkpoint: whatever is wrong with it is one clear line."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, Qwen2_5_VLForConditionalGeneration

from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.models.load import load


@pytest.mark.parametrize("damage", ["missing", "no weights", "pickled", "not a model", "no base", "text only", "bad config"])
def test_a_ref_that_is_no_checkpoint_is_one_clear_line(tmp_path: Path, damage: str) -> None:
    ref = tiny.build(tmp_path / "model")
    expected = "model: "
    match damage:
        case "missing":
            shutil.rmtree(ref)
        case "no weights":
            (ref / "model.safetensors").unlink()
        case "pickled":
            torch.save(AutoModelForImageTextToText.from_pretrained(ref).state_dict(), ref / "pytorch_model.bin")
            (ref / "model.safetensors").unlink()
        case "not a model":
            (ref / "config.json").unlink()
        case "no base":
            (ref / "adapter_config.json").write_text("{}")
            expected = "base_model_name_or_path"
        case "text only":
            (ref / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}')
        case "bad config":
            (ref / "config.json").write_text("{")
    with pytest.raises(VtError, match=expected) as caught:
        load(str(ref))
    assert "\n" not in str(caught.value)


def test_a_misspelt_folder_is_not_looked_up_on_the_hub() -> None:
    with pytest.raises(VtError, match="neither a folder nor a hub id"):
        load("./runs/cpdo")


@pytest.mark.parametrize(("version", "refused"), [("5.17.0", True), ("5.18.0", False), ("6.0.0.dev0", False)])
def test_a_transformers_that_loses_time_is_refused(
    taught: Path, monkeypatch: pytest.MonkeyPatch, version: str, refused: bool
) -> None:
    monkeypatch.setattr("videothinker.models.load.transformers_version", version)
    if refused:
        with pytest.raises(VtError, match=r"install transformers 5\.18"):
            load(str(taught))
    else:
        load(str(taught))


def test_weights_that_do_not_fit_are_the_users_to_solve(taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(*_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Qwen2_5_VLForConditionalGeneration, "to", scarce)
    with pytest.raises(VtError, match="--endpoint"):
        load(str(taught))


def test_a_revision_reaches_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, str | None] = {}

    def adapter(_: str, revision: str | None = None) -> None:
        asked["adapter"] = revision

    def config(_: str, *, trust_remote_code: bool, revision: str | None = None) -> None:
        asked["config"] = revision
        raise OSError("no network in tests")

    monkeypatch.setattr("transformers.utils.peft_utils.find_adapter_config_file", adapter)
    monkeypatch.setattr("videothinker.models.read.AutoConfig.from_pretrained", config)
    with pytest.raises(VtError, match="nobody/has-this: is no checkpoint that transformers can load"):
        load("nobody/has-this", revision="abc")
    assert asked == {"adapter": "abc", "config": "abc"}
