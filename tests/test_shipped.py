"""Shipped configs by name, and `vt config`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from videothinker.cli import app
from videothinker.errors import VtError
from videothinker.shipped import CONFIGS, config_file, config_names


def test_a_file_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_file(Path("bias-3b")) == CONFIGS / "bias-3b.toml"
    Path("bias-3b").write_text("")
    assert config_file(Path("bias-3b")) == Path("bias-3b")
    assert config_file(Path("not/there.toml")) == Path("not/there.toml")


def test_an_unknown_name_lists_near_ones() -> None:
    with pytest.raises(VtError, match=r"'bias-3c'.*near it: bias-3b"):
        config_file(Path("bias-3c"))


def test_list_names_every_config_and_show_prints_it() -> None:
    listed = CliRunner().invoke(app, ["config", "list"]).output
    assert all(name in listed for name in config_names())
    assert CliRunner().invoke(app, ["config", "show", "grpo-3b"]).output == (CONFIGS / "grpo-3b.toml").read_text()


def test_init_copies_and_never_overwrites(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    command = ["config", "init", "bias-3b", "--out", str(mine)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert mine.read_bytes() == (CONFIGS / "bias-3b.toml").read_bytes()
    mine.write_text("mine")
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, VtError)
    assert "not overwritten" in str(again.exception)
    assert mine.read_text() == "mine"


def test_train_takes_a_config_by_name() -> None:
    wrong = CliRunner().invoke(app, ["train", "bias", "--config", "bias-3c", "--data", "x", "--model", "y", "--out", "z"])
    assert "near it: bias-3b" in str(wrong.exception)
