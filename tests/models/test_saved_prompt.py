"""The prompt beside a checkpoint's weights: read back, carried along, and refused where it is damaged."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from videothinker import store
from videothinker.answers import Style
from videothinker.errors import VtError
from videothinker.models.blend import blend
from videothinker.models.delta import pack, unpack
from videothinker.models.saved_prompt import PROMPT, own_prompt, save_prompt
from videothinker.prompts import Asked, template

MINE = Asked(Style.DIRECT, template.make('{% set style = "direct" %}\n{{ question }} {{ options }}', "mine"))
DIRECT = Asked(Style.DIRECT, None)


def checkpoint(folder: Path, shift: float = 0.0) -> Path:
    folder.mkdir()
    save_file({"a": (torch.arange(4.0) + shift).bfloat16()}, folder / "model.safetensors")
    store.write_json(folder / "config.json", {"model_type": "qwen2_5_vl", "dtype": "bfloat16"})
    return folder


@pytest.mark.parametrize("asked", [MINE, DIRECT])
def test_what_was_saved_is_read_back(tmp_path: Path, asked: Asked) -> None:
    save_prompt(tmp_path, asked)
    assert own_prompt(tmp_path) == asked


def test_folders_of_earlier_versions_say_their_style_in_run_json(tmp_path: Path) -> None:
    record: dict[str, Any] = {"stage": "grpo", "settings": {"data": {"prompt": "direct"}}}
    (tmp_path / "checkpoint-2").mkdir()
    for said, expected in ((record, DIRECT), ({**record, "stage": "sft"}, None), ({"stage": "grpo"}, None)):
        store.write_json(tmp_path / "run.json", said)
        assert [own_prompt(tmp_path), own_prompt(tmp_path / "checkpoint-2")] == [expected, expected]


def test_an_adapter_that_says_nothing_is_asked_as_its_base(tmp_path: Path) -> None:
    save_prompt(checkpoint(tmp_path / "base"), MINE)
    (tmp_path / "adapter").mkdir()
    store.write_json(tmp_path / "adapter" / "adapter_config.json", {"base_model_name_or_path": str(tmp_path / "base")})
    assert own_prompt(tmp_path / "adapter") == MINE
    save_prompt(tmp_path / "adapter", DIRECT)
    assert own_prompt(tmp_path / "adapter") == DIRECT


def test_a_delta_carries_the_prompt_of_what_was_packed_and_not_its_bases(tmp_path: Path) -> None:
    base, trained = checkpoint(tmp_path / "base"), checkpoint(tmp_path / "trained", 1.0)
    save_prompt(base, DIRECT)
    for asked in (None, MINE):
        if asked is not None:
            save_prompt(trained, asked)
        pack(base, trained, tmp_path / "x.delta")
        unpack(base, tmp_path / "x.delta", tmp_path / "made")
        assert own_prompt(tmp_path / "made") == asked


def test_a_blend_carries_the_prompt_of_the_two(tmp_path: Path) -> None:
    base, trained = checkpoint(tmp_path / "base"), checkpoint(tmp_path / "trained", 1.0)
    save_prompt(trained, MINE)
    blend(str(base), str(trained), 0.5, tmp_path / "half")
    assert own_prompt(tmp_path / "half") == MINE
    save_prompt(base, DIRECT)
    with pytest.raises(VtError, match=r"was trained with the prompt template \w{12} \(direct\), and .*base with direct"):
        blend(str(base), str(trained), 0.5, tmp_path / "half")


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("{", "does not say a prompt"),
        ('{"style": "thrice"}', "its style is 'thrice', expected cot or direct or twice"),
        ('{"style": "cot", "template": {"sha256": "0", "text": "x"}}', "not the one that it has the hash of"),
        (json.dumps({"style": "cot", "template": {"sha256": MINE.template.sha256, "text": MINE.template.text}}), "'cot'"),  # type: ignore[union-attr]
    ],
)
def test_a_damaged_one_is_refused(tmp_path: Path, said: str, what: str) -> None:
    (tmp_path / PROMPT).write_text(said)
    with pytest.raises(VtError, match=what):
        own_prompt(tmp_path)
