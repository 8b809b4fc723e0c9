"""Shipped configs and prompts by name, and `vt config`."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from videothinker import prompts
from videothinker.cli import app
from videothinker.errors import VtError
from videothinker.shipped import CONFIGS, PROMPTS, config_file, config_files, stage_of


def vt(*arguments: str) -> str:
    """What a command prints on standard output; its errors are raised."""
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


def test_a_file_wins_over_a_name_and_a_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_file(Path("bias-3b")) == CONFIGS / "bias-3b.toml"
    Path("bias-3b").mkdir()
    assert config_file(Path("bias-3b")) == CONFIGS / "bias-3b.toml"
    Path("cdpo-3b").write_text("")
    assert config_file(Path("cdpo-3b")) == Path("cdpo-3b")
    assert config_file(Path("not/there.toml")) == Path("not/there.toml")


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(VtError, match=r"'bias-3c'.*near it: bias-3b"):
        config_file(Path("bias-3c"))
    with pytest.raises(VtError, match=r"'bias_3b'.*near it: bias-3b"):
        config_file(Path("bias_3b"))


def test_the_path_of_a_checkout_is_answered_with_the_name_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VtError, match=r"configs/bias-3b.toml: no such file; give bias-3b for"):
        config_file(Path("configs/bias-3b.toml"))


def test_list_names_every_file_what_takes_it_and_what_for() -> None:
    listed = {row["name"]: row for row in json.loads(vt("config", "list", "--json"))["configs"]}
    files = [file for file in CONFIGS.rglob("*") if file.is_file()]
    assert set(listed) == {file.relative_to(CONFIGS).with_suffix("").as_posix() for file in files}
    stages = {name: row["stage"] for name, row in listed.items()}
    assert stages["study-cpu"] == "study"
    assert stages["tiny-sft-settle"] == "pretrain"
    assert stages["cdpo-3b-self-blank"] == "cdpo"
    assert stages["accelerate/fsdp"] == "accelerate"
    assert stages["prompts/observe-first"] == "prompt"
    assert listed["bias-3b"]["about"] == "Stage 1, the bias model: GRPO on observational questions. Qwen2.5-VL-3B."
    assert all(row["about"] for row in listed.values())


def test_a_terminal_gets_names_whole() -> None:
    first_words = {line.split()[0] for line in vt("config", "list").splitlines() if line.split()}
    assert set(config_files()) <= first_words


def test_show_prints_the_file() -> None:
    assert vt("config", "show", "grpo-3b") == (CONFIGS / "grpo-3b.toml").read_text()
    assert vt("config", "show", "accelerate/ddp") == (CONFIGS / "accelerate" / "ddp.yaml").read_text()


def test_init_copies_and_never_overwrites(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    vt("config", "init", "bias-3b", "--out", str(mine))
    assert mine.read_bytes() == (CONFIGS / "bias-3b.toml").read_bytes()
    mine.write_text("mine")
    with pytest.raises(VtError, match="not overwritten"):
        vt("config", "init", "bias-3b", "--out", str(mine))
    assert mine.read_text() == "mine"
    with pytest.raises(VtError, match="cannot be written"):
        vt("config", "init", "bias-3b", "--out", str(tmp_path / "none" / "mine.toml"))


def test_init_of_a_study_brings_the_configs_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vt("config", "init", "study-clevrer")
    named = tomllib.loads(Path("study-clevrer.toml").read_text())["train"]["configs"].values()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted({"study-clevrer.toml", *named})


def test_init_of_a_study_writes_nothing_if_one_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bias-3b.toml").write_text("mine")
    with pytest.raises(VtError, match=r"bias-3b.toml: exists"):
        vt("config", "init", "study-clevrer")
    assert [file.name for file in tmp_path.iterdir()] == ["bias-3b.toml"]


def test_every_stage_of_training_takes_a_name() -> None:
    stages = {stage_of(file) for file in config_files().values()} - {"study", "pretrain", "accelerate", "prompt"}
    assert stages == {"bias", "cdpo", "grpo", "auto"}
    for command in (("train", "bias"), ("pretrain",)):
        with pytest.raises(VtError, match="near it: bias-3b"):
            vt(*command, "--config", "bias-3c", "--data", "x", "--model", "y", "--out", "z")
    with pytest.raises(VtError, match="near it: study-cpu"):
        vt("study", "study-cpi", "--out", "z")


def test_every_shipped_prompt_has_a_name() -> None:
    for file in PROMPTS.iterdir():
        assert prompts.find(file.stem) == prompts.find(str(file))
        assert file.stem in prompts.NAMES
