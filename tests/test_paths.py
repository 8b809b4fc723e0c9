"""A local path that is mistyped is refused at once by every command that takes one, in one line and without a network."""

from pathlib import Path

import pytest
from conftest import write_colours
from pretrain.small import SMALL
from vt_command import one_error, vt

TYPED = (
    "./gone",
    "../gone",
    "~/gone",
    "a/b/c",
    "gone/",
    "gone/model.safetensors",
    "gone/run.json",
    "gone/bias.toml",
    "here/gone",
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network is asked"))
    (tmp_path / "here").mkdir()
    write_colours(tmp_path / "curated")
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "grpo.toml").write_text('stage = "grpo"\n[data]\nsplit = "dev"\n')


COMMANDS = {
    "diagnose": "diagnose --data curated --out out --no-report --model name={}",
    "train": "train grpo --config grpo.toml --data curated --out out --model {}",
    "pretrain": "pretrain --config small.toml --out out --model {}",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_model_that_is_not_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for typed in (*TYPED, str(Path.cwd() / "gone")):
        assert vt(*COMMANDS[command].format(typed).split()) == 2, typed
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(f"error: {typed}: no such folder"), typed


@pytest.mark.parametrize(
    "command",
    [
        "diagnose --data ./gone --out out --model solver:gold",
        "train grpo --config ./gone.toml --data curated --out out --model a/b",
        "train grpo --config grpo.toml --data ./gone --out out --model a/b",
        "pretrain --config ./gone.toml --out out",
        "pretrain --config small.toml --data ./gone --out out",
        "study ./gone.toml --out out",
    ],
)
def test_data_and_settings_that_are_not_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vt(*command.split()) == 2
    assert "gone" in one_error(capsys)
