"""`vt doctor`: what is here is said, and an engine that writes otherwise than ours is told by exit code 1."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from videothinker.cli import app
from videothinker.diagnose import vllm_check
from videothinker.diagnose.reply import Reply
from videothinker.diagnose.vllm_check import Compared, apart
from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.recipes import doctor


def compared(**changes: Any) -> Compared:
    plain: dict[str, Any] = {"clip": "long", "prompt_tokens": (40, 40), "n_tokens": 16, "n_same": 16}
    return Compared(**plain | {"largest": 1e-5, "tolerance": 1e-3} | changes)


def test_versions_are_those_that_are_installed() -> None:
    found = {each.name: each.version for each in doctor.environment().found}
    assert found["torch"] == metadata.version("torch")
    assert found["pyav"] == metadata.version("av")
    assert found["vllm"] is None or found["vllm"]
    assert (found["CUDA"] is not None) == torch.cuda.is_available()


def test_an_extra_works_only_where_every_requirement_is_met() -> None:
    requires = [
        "numpy<4,>=1",
        "videothinker[small]; extra == 'big'",
        "torch<1; extra == 'small'",
        "nowhere-to-be-found>=3; extra == 'big'",
        "rich>=1; extra == 'big'",
    ]
    assert doctor._missing("small", requires) == ["torch<1"]
    assert doctor._missing("big", requires) == ["torch<1", "nowhere-to-be-found>=3"]


def test_replies_are_held_against_one_another_up_to_where_they_part() -> None:
    same = apart([4, 5, 6], [-1.0, -2.0, -3.0], [4, 5, 6], [-1.25, -2.0, -3.0])
    assert same == (3, 0.25)
    n_same, largest = apart([4, 5, 6], [-1.0, -0.5, -9.0], [4, 7, 8], [-1.0, -0.75, -1.0])
    assert (n_same, largest) == (1, 0.25)  # what stands behind the first difference answers to another beginning
    assert apart([4], [-1.0], [4, 5], [-1.0, -1.0]) == (1, 0.0)


def test_rounding_agrees_and_anything_else_differs() -> None:
    vllm_check.require([compared(), compared(n_same=3)], "here")
    with pytest.raises(VtError, match=r"about a long clip: 41 tokens of prompt for 40"):
        vllm_check.require([compared(prompt_tokens=(40, 41))], "here")
    with pytest.raises(VtError, match=r"3\.5 nats apart \(at most 0\.001\)"):
        vllm_check.require([compared(largest=3.5)], "here")


def test_the_clips_last_2_and_60_seconds() -> None:
    short, long = vllm_check.clips().values()
    assert short.n_total / short.fps == 2
    assert long.n_total / long.fps == 60
    assert len(long.indices) == len(long.frames) == 8


def test_our_engine_writes_to_both_clips(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "tiny")
    chosen = vllm_check.asked_with(doctor.vllm_settings("float32"))
    expected = vllm_check.ours(str(folder), chosen)
    assert expected is not None
    assert set(expected) == {"short", "long"}
    assert all(isinstance(each.reply, Reply) and len(each.reply.tokens) <= vllm_check.N_TOKENS for each in expected.values())
    assert expected["short"].n_prompt == expected["long"].n_prompt


def test_exit_code_and_document(monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner()
    results: list[Compared] = []
    monkeypatch.setattr(doctor, "compare_vllm", lambda *_, **__: results)
    asked = ["doctor", "--engine", "vllm", "--model", "x", "--json"]
    results[:] = [compared(), compared(largest=2.0)]
    differs = run.invoke(app, asked)
    assert differs.exit_code == 1
    told = json.loads(differs.stdout)
    assert [each["agree"] for each in told["compared"]] == [True, False]
    assert {"name", "version", "note"} == set(told["environment"]["found"][0])
    results[:] = [compared()]
    assert run.invoke(app, asked).exit_code == 0
    results[:] = []
    assert run.invoke(app, asked).exit_code == 1  # nothing was compared
    assert run.invoke(app, ["doctor"]).exit_code == 0


def test_engine_and_model_go_together() -> None:
    for wrong in (["--engine", "vllm"], ["--model", "x"], ["--engine", "graphs", "--model", "x"]):
        found = CliRunner().invoke(app, ["doctor", *wrong])
        assert isinstance(found.exception, VtError)
