"""A stand-in for vLLM, in this process and in an environment of its own."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from videothinker.diagnose import vllm_child

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in as `import vllm` finds it in this process."""
    monkeypatch.syspath_prepend(str(STAND_IN))
    monkeypatch.delenv(vllm_child.PYTHON, raising=False)
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    import vllm

    yield vllm
    sys.modules.pop("vllm", None)


@pytest.fixture
def child_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python whose `vllm` is the stand-in, as an environment of its own would have the real one."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{STAND_IN}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv(vllm_child.PYTHON, str(python))
    return python


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights with the mark of the original rule, which vLLM has."""
    from videothinker.models import text_positions, tiny

    folder = tiny.build(tmp_path_factory.mktemp("vllm") / "original")
    config = {**json.loads((folder / "config.json").read_text()), text_positions.FIELD: "original"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
