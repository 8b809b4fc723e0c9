"""Uploading to the hub: what goes there, what its card says, and one line for each way that it fails. The hub is a stand-in."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import msgspec
import pytest
import torch
from curated_factory import a_question, write_curated
from huggingface_hub import constants
from train.trainers import stage, write_adapter, write_clip
from trained import a_train_record
from vt_command import one_error, vt

from videothinker import store
from videothinker.fingerprint import fingerprint
from videothinker.models import tiny
from videothinker.models.checkpoint import Checkpoint, find_checkpoint, load_full, weights_hash
from videothinker.models.delta import unpack
from videothinker.records.training import Fed, Launch, RunResult, TrainRecord, Weights

TOKEN = "hf_very_secret"


class FakeApi:
    """What `huggingface_hub.HfApi` was asked for; an upload's files are kept as they came."""

    def __init__(self, kept: Path, calls: list[Any]) -> None:
        self.kept, self.calls = kept, calls

    def whoami(self) -> dict[str, Any]:
        self.calls.append(("whoami",))
        return {"name": "me"}

    def create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> None:
        self.calls.append(("create_repo", repo_id, private, exist_ok))

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        self.calls.append(("upload_folder", repo_id, commit_message))
        for path in Path(folder_path).iterdir():
            store.write_bytes(self.kept / path.name, path.read_bytes())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    made: list[Any] = []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: FakeApi(tmp_path / "hub", made))
    return made


def finished(folder: Path, name: str, model: Weights) -> Path:
    """Make of a checkpoint's folder what a training leaves."""
    result = RunResult(
        out=str(folder), steps=2, seconds_per_step=1, tokens_per_step=10, peak_bytes=1, parameters=9, trainable=9, n_asked=4
    )
    fed = Fed(n_frames=4, height=56, width=84, video_tokens=6, seconds_per_pair=0.4)
    record: TrainRecord = msgspec.structs.replace(
        a_train_record(name),
        settings=msgspec.to_builtins(stage(name)),
        model=model,
        result=result,
        fed=fed,
        launch=Launch(processes=1, mode="not_parallel"),
    )
    store.write_json(folder / "run.json", record)
    (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    (folder / "completions.parquet").write_bytes(b"questions and replies")
    (folder / "checkpoint-1").mkdir()
    (folder / "README.md").write_text("the training's own card")
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A tiny checkpoint in bfloat16."""
    tiny.build(tmp_path / "start")
    load_full(find_checkpoint(str(tmp_path / "start")), torch.bfloat16, "sdpa").save_pretrained(tmp_path / "start")
    return tmp_path / "start"


@pytest.fixture
def whole(start: Path, tmp_path: Path) -> Path:
    folder = tiny.build(tmp_path / "grpo", seed=1)
    return finished(folder, "grpo", Weights(ref=str(start), sha256=weights_hash(Checkpoint(start, None))))


@pytest.fixture
def lora(start: Path, tmp_path: Path) -> Path:
    return finished(write_adapter(start, tmp_path / "lora"), "grpo", Weights(ref="me/base", sha256="0" * 64))


def uploaded(hub: Path) -> set[str]:
    return {path.name for path in hub.iterdir()}


def test_a_whole_checkpoint_goes_with_its_card_and_without_questions(
    whole: Path, tmp_path: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert vt("checkpoint", "push", whole, "me/grpo", "--private", "--json") == 0
    assert calls == [
        ("whoami",),
        ("create_repo", "me/grpo", True, True),
        ("upload_folder", "me/grpo", "grpo checkpoint, merged"),
    ]
    hub = tmp_path / "hub"
    assert {"model.safetensors", "config.json", "tokenizer.json", "run.json", "metrics.jsonl", "README.md"} <= uploaded(hub)
    assert not {"completions.parquet", "checkpoint-1"} & uploaded(hub)
    assert (hub / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    card = (hub / "README.md").read_text()
    assert "vt diagnose --model me/grpo" in card
    assert "base_model:" not in card  # the start is a folder here, which the hub would refuse in a card
    assert "completions.parquet" not in card
    assert (whole / "README.md").read_text() == "the training's own card"
    said = json.loads(capsys.readouterr().out)
    assert (said["repo_id"], said["form"], set(said["files"])) == ("me/grpo", "merged", uploaded(hub))
    assert said["n_bytes"] == sum(path.stat().st_size for path in hub.iterdir())


def test_an_adapter_goes_as_such_or_merged(lora: Path, start: Path, tmp_path: Path, calls: list[Any]) -> None:
    assert vt("checkpoint", "push", lora, "me/lora") == 0
    hub = tmp_path / "hub"
    assert {"adapter_config.json", "adapter_model.safetensors"} <= uploaded(hub)
    assert "model.safetensors" not in uploaded(hub)
    assert "base_model: me/base" in (hub / "README.md").read_text()
    for path in hub.iterdir():
        path.unlink()
    assert vt("checkpoint", "push", lora, "me/lora", "--as", "merged") == 0
    assert not {"adapter_config.json", "adapter_model.safetensors"} & uploaded(hub)
    alone, merged = (load_full(find_checkpoint(str(one)), torch.bfloat16, "sdpa").state_dict() for one in (hub, lora))
    assert alone.keys() == merged.keys()
    assert all(torch.equal(alone[name], merged[name]) for name in alone)
    before = load_full(find_checkpoint(str(start)), torch.bfloat16, "sdpa").state_dict()
    assert any(not torch.equal(alone[name], before[name]) for name in alone)


def test_a_delta_is_unpacked_to_the_same_weights(
    whole: Path, start: Path, tmp_path: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert vt("checkpoint", "push", whole, "me/delta", "--as", "delta") == 0
    assert "is of use to those alone who have it" in capsys.readouterr().err  # the start is a folder of this machine
    hub = tmp_path / "hub"
    assert uploaded(hub) >= {"grpo.delta", "README.md", "run.json"}
    assert not {"model.safetensors", "config.json"} & uploaded(hub)
    unpack(start, hub / "grpo.delta", tmp_path / "again")
    again, once = (
        load_full(find_checkpoint(str(one)), torch.bfloat16, "sdpa").state_dict() for one in (tmp_path / "again", whole)
    )
    assert all(torch.equal(again[name], once[name]) for name in once)
    tiny.build(start, seed=5)  # another start under the same name
    assert vt("checkpoint", "push", whole, "me/delta", "--as", "delta") == 2
    assert "its weights have changed" in capsys.readouterr().err.splitlines()[-1]


def test_the_card_has_the_table_of_a_diagnosis_of_these_weights(
    whole: Path, tmp_path: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """gold is right on both categories; a second run stands for this checkpoint by the fingerprint of its weights."""
    asked = [a_question(f"{scene}:0", gold="A", observer="AB"[scene % 2], n_options=2) for scene in range(30)]
    curated = write_curated(tmp_path / "curated", {"dev": asked}, scenes=())
    runs = tmp_path / "runs"
    models = ("--model", "start=solver:observer", "--model", "grpo=solver:gold")
    assert vt("diagnose", "--data", curated.folder, "--out", runs, *models) == 0
    capsys.readouterr()
    assert vt("checkpoint", "push", whole, "me/grpo", "--results", runs) == 2
    assert "none of its runs asked the weights in" in one_error(capsys)
    assert [call[0] for call in calls] == ["whoami"]
    record = json.loads((runs / "grpo" / "run.json").read_text())
    (runs / "grpo" / "run.json").write_text(json.dumps(record | {"weights": fingerprint(whole)}))
    assert vt("checkpoint", "push", whole, "me/grpo", "--results", runs) == 0
    card = (tmp_path / "hub" / "README.md").read_text().replace("\u00a0", " ")
    rows = {line.split(" | ")[0].strip("| *"): line for line in card.splitlines() if line.startswith("| ")}
    found = json.loads((runs / "start" / "metrics.json").read_text())
    low, high = (100 * end for end in found["all"]["per_question"]["ci95"])
    assert f"| 30 of 30 clips | 50.0 % [{low:.1f}, {high:.1f}] | 100.0 %" in rows["start"]
    assert rows["grpo"].startswith("| **grpo** | 30 of 30 clips | 100.0 %")
    assert "split dev, labels oracle, greedy" in card


def test_names_and_tokens_are_looked_at_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    for name in ("grpo", "me/../grpo", "me/a--b", "me/grpo.git", "me/" + "a" * 100):
        assert vt("checkpoint", "push", tmp_path, name) == 2
        assert "expected OWNER/NAME" in one_error(capsys)
    config = Path(__file__).parents[1] / "configs" / "grpo-tiny.toml"
    training = ("train", "grpo", "--config", config, "--data", tmp_path, "--model", tmp_path, "--out", tmp_path / "out")
    for command in (("checkpoint", "push", tmp_path, "me/grpo"), (*training, "--push-to-hub", "me/grpo")):
        assert vt(*command) == 2
        assert "there is no token of the hub here; run hf auth login" in one_error(capsys)


class Refusing(BaseHTTPRequestHandler):
    """A hub that knows who asks, and gives nobody a repository; if `refused`, it knows nobody."""

    def do_GET(self) -> None:
        known = "whoami" in self.path
        self._answer(401 if self.server.refused else 200 if known else 404, {"name": "me"})  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(403, {"error": "You don't have the rights to create a model under the namespace you"})

    def _answer(self, status: int, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        server.refused = False  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: real(endpoint=url))
        yield server
        server.shutdown()


real = huggingface_hub.HfApi


def test_what_the_hub_refuses_is_one_line_without_the_token(
    whole: Path, address: ThreadingHTTPServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}

    def failure() -> str:
        assert vt("checkpoint", "push", whole, "you/grpo") == 2
        said = one_error(capsys)
        assert TOKEN not in said
        return said

    refused = failure()
    assert "403" in refused
    assert "must be one that may write there" in refused
    assert f"vt checkpoint push {whole} you/grpo tries again" in refused
    address.refused = True  # type: ignore[attr-defined]
    assert "does not accept the token (401)" in failure()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: real(endpoint="http://127.0.0.1:9"))
    assert "cannot be reached" in failure()
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_training_is_uploaded_at_its_end_and_its_document_says_so(
    start: Path, tmp_path: Path, calls: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bias model, whose gate has asked it and its start: that table goes along."""
    asked = [a_question(f"{scene}:0", gold="A", observer="A", n_options=2) for scene in range(3)]
    for one in asked:
        write_clip(tmp_path / "curated" / "videos" / one.question.clip.path, 56, 84, 30 * one.scene_index)
    curated = write_curated(tmp_path / "curated", {"train": asked[:2], "dev": asked[2:]}, videos_root="videos")
    (tmp_path / "bias.toml").write_text(SMALLEST)
    training = ("train", "bias", "--config", tmp_path / "bias.toml", "--data", curated.folder, "--model", start)
    command = (*training, "--out", tmp_path / "bias", "--fast", "--push-to-hub", "me/bias")
    assert vt(*command, "--dry-run") == 0
    assert calls == [("whoami",)]

    def refused(*_: Any, **__: Any) -> None:
        raise ValueError("Invalid metadata in README.md.")

    with monkeypatch.context() as broken:
        broken.setattr(FakeApi, "create_repo", refused)
        assert vt(*command) == 2
    assert "Invalid metadata in README.md.; " in capsys.readouterr().err
    assert json.loads((tmp_path / "bias" / "run.json").read_text())["finished"]
    calls.clear()
    assert vt(*command, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["already"]
    assert (said["pushed"]["repo_id"], said["pushed"]["form"]) == ("me/bias", "merged")
    assert calls[-1] == ("upload_folder", "me/bias", "bias checkpoint, merged")
    assert "| **bias** | 1 of 1 clips | " in (tmp_path / "hub" / "README.md").read_text()


SMALLEST = """
stage = "bias"
[data]
n_frames = 4
max_pixels = 9408
[rollouts]
n_replies = 2
questions_per_step = 2
max_new_tokens = 8
[optimizer]
steps = 1
[model]
precision = "fp32"
gradient_checkpointing = false
"""
