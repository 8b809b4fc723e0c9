"""Which rule of text positions a checkpoint is of: by its mark, by whose it is, and through all that is made of it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from train.trainers import write_adapter

from videothinker import store
from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.models.checkpoint import find_checkpoint, load_full
from videothinker.models.delta import pack, unpack
from videothinker.models.load import load
from videothinker.models.positions import rule_of
from videothinker.models.text_positions import TextPositions, is_affected, known_rule, mark_adapter, own_rule

ORIGINAL, THEIRS = TextPositions.ORIGINAL, TextPositions.TRANSFORMERS
QWEN = {"model_type": "qwen2_5_vl", "video_token_id": 151656}
"""What counts in a config.json of the hub."""


def folder_of(folder: Path, **files: Any) -> Path:
    """A folder with JSON files by the names before their dots."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        store.write_json(folder / f"{name}.json", content)
    return folder


def test_a_mark_says_the_rule_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    for rule in TextPositions:
        marked = folder_of(tmp_path / rule, config=QWEN | {"text_positions": rule}, run={"stage": "cdpo"})
        assert own_rule(marked) is rule
    wrong = folder_of(tmp_path / "wrong", config=QWEN | {"text_positions": "old"})
    with pytest.raises(VtError, match=r"config\.json: text_positions is 'old', expected original or transformers"):
        own_rule(wrong)


def test_what_others_made_is_original(tmp_path: Path) -> None:
    assert own_rule(folder_of(tmp_path / "hub", config=QWEN)) is ORIGINAL
    other = folder_of(tmp_path / "other", config=QWEN, run={"project": "elsewhere"})  # a run.json of somebody else
    store.write_text(other / "README.md", "---\ntags: [VideoThinker, videothinker, video]\n---\n")
    assert own_rule(other) is ORIGINAL


@pytest.mark.parametrize("stage", ["bias", "cdpo", "grpo", "sft"])
def test_what_an_earlier_version_trained_is_of_transformers_rule(tmp_path: Path, stage: str) -> None:
    run = folder_of(tmp_path / "run", config=QWEN, run={"stage": stage})
    assert own_rule(run) is THEIRS
    assert own_rule(folder_of(run / "checkpoint-20", config=QWEN)) is THEIRS, "one to resume from"
    shared = folder_of(tmp_path / "shared", config=QWEN)  # as a study's packed checkpoints lie beside their cards
    store.write_text(shared / "README.md", f"---\nlibrary_name: transformers\ntags: [videothinker, {stage}, grpo]\n---\n")
    assert own_rule(shared) is THEIRS
    assert own_rule(folder_of(tmp_path / "tiny", config=QWEN | {"video_token_id": 5})) is THEIRS, "by our own vocabulary"


def test_the_studys_base_is_of_transformers_rule_and_so_is_what_its_deltas_make(tmp_path: Path) -> None:
    study = Path(__file__).parents[2] / "data" / "study"
    assert own_rule(study / "base") is THEIRS
    unpack(study / "base", study / "grpo.delta", tmp_path / "grpo")
    assert store.read_json(tmp_path / "grpo" / "config.json", dict[str, Any])["text_positions"] == "transformers"


def test_an_adapter_is_of_its_own_rule_then_of_its_bases(tmp_path: Path) -> None:
    base = folder_of(tmp_path / "base", config=QWEN | {"text_positions": "transformers"})
    adapter = folder_of(tmp_path / "adapter", adapter_config={"base_model_name_or_path": str(base)})
    assert own_rule(adapter) is THEIRS
    mark_adapter(adapter, ORIGINAL)
    assert own_rule(adapter) is ORIGINAL
    on_hub = {"base_model_name_or_path": "nobody/has-this"}
    assert own_rule(folder_of(tmp_path / "unmarked", adapter_config=on_hub)) is ORIGINAL
    assert own_rule(folder_of(tmp_path / "ours", adapter_config=on_hub, run={"stage": "bias"})) is THEIRS


def test_of_what_is_not_here_nothing_is_known(tmp_path: Path) -> None:
    assert known_rule("nobody/has-this") is None
    assert known_rule(str(tmp_path / "a" / "b" / "c" / "gone")) is None
    assert is_affected("nobody/has-this")
    assert not is_affected(str(folder_of(tmp_path / "qwen3", config={"model_type": "qwen3_vl"})))


def test_the_rule_stays_with_a_checkpoint_that_is_loaded_and_saved(tmp_path: Path) -> None:
    start = tiny.build(tmp_path / "start", text_positions=THEIRS)
    found = find_checkpoint(str(start))
    load_full(found, torch.bfloat16, "sdpa").save_pretrained(tmp_path / "again")
    assert own_rule(tmp_path / "again") is THEIRS
    load_full(found, torch.bfloat16, "sdpa", ORIGINAL).save_pretrained(tmp_path / "other")
    assert own_rule(tmp_path / "other") is ORIGINAL
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(start / name, tmp_path / "again")
    with torch.no_grad():
        moved = load_full(found, torch.bfloat16, "sdpa", ORIGINAL)
        moved.lm_head.weight.mul_(2)
        moved.save_pretrained(tmp_path / "moved")
    pack(tmp_path / "again", tmp_path / "moved", tmp_path / "x.delta")
    unpack(tmp_path / "again", tmp_path / "x.delta", tmp_path / "unpacked")
    assert own_rule(tmp_path / "unpacked") is ORIGINAL, "the delta's own, and not its base's"


def test_a_checkpoint_is_loaded_under_its_rule_or_the_one_asked_for(tmp_path: Path) -> None:
    start = tiny.build(tmp_path / "start", text_positions=THEIRS)
    assert load(str(start)).text_positions is THEIRS
    assert load(str(start)).describe()["text_positions"] == "transformers"
    assert load(str(start), text_positions=ORIGINAL).text_positions is ORIGINAL
    adapter = write_adapter(start, tmp_path / "adapter")
    assert load(str(adapter)).text_positions is THEIRS
    mark_adapter(adapter, ORIGINAL)
    loaded = load(str(adapter))
    assert loaded.text_positions is rule_of(loaded.model.config) is ORIGINAL
    assert load_full(find_checkpoint(str(adapter)), torch.float32, "sdpa").config.text_positions == "original"
