"""`vt demo` is the first thing that anyone runs: it must reach its pages, and go on when it is run again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from videothinker.models import tiny
from videothinker.models.checkpoint import Checkpoint, weights_hash
from videothinker.models.delta import pack, unpack

STUDY = Path(__file__).parents[1] / "data" / "study"


def demo(out: Path, *options: str) -> str:
    command = [sys.executable, "-m", "videothinker", "demo", "--out", str(out), "--scenes", "20", *options]
    environment = {**os.environ, "COLUMNS": "80", "VIDEOTHINKER_CACHE": str(out / "cache")}
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base/ of an untaught model, and two deltas; one has other weights."""
    folder = tmp_path_factory.mktemp("models")
    tiny.build(folder / "base")
    weights = {name: tensor.bfloat16() for name, tensor in load_file(folder / "base" / "model.safetensors").items()}
    save_file(weights, folder / "base" / "model.safetensors", metadata={"format": "pt"})
    other = tiny.build(folder / "other")
    save_file(
        {name: tensor.float() + 0.05 * torch.randn(tensor.shape) for name, tensor in weights.items()},
        other / "model.safetensors",
        metadata={"format": "pt"},
    )
    pack(folder / "base", folder / "base", folder / "mine.delta")
    pack(folder / "base", other, folder / "cdpo.delta")
    return folder


def test_the_demo_ends_at_its_pages_and_goes_on_when_it_is_run_again(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    said = demo(out, "--models", str(models))
    for page in ("report.html", "curated/report.html", "runs/report.html"):
        assert (out / page).stat().st_size > 50_000
        assert str(out / page) in said
    assert "vt curate clevrer --annotations annotation_train" in said  # the real CLEVRER's commands
    ending = said[said.index("\nLook\n") :].splitlines()
    rows = [line.split() for line in ending]
    assert [row[0] for row in rows if row and row[0] in ("base", "cdpo", "mine")] == ["base", "cdpo", "mine"]
    words = next(line for line in ending if "small sample" in line)
    metrics = json.loads((out / "runs" / "base" / "metrics.json").read_text())["all"]
    assert words.startswith(f"small sample: {metrics['n_questions']} questions of {metrics['n_scenes']} scenes;")
    assert metrics["n_decode_error"] == 0
    assert words.split(";")[0][1:] in (out / "report.html").read_text()
    replies = {name: (out / "runs" / name / "predictions.jsonl").read_text() for name in ("base", "cdpo", "mine")}
    assert replies["base"] == replies["mine"] != replies["cdpo"]  # the deltas were asked, not the base three times

    kept = [*(out / "world").rglob("*.mp4"), *(out / "runs").rglob("predictions.jsonl")]
    before = {path: path.stat().st_mtime_ns for path in kept if path.suffix == ".mp4"}
    assert len(before) == 20
    again = demo(out, "--models", str(models))
    assert {path: path.stat().st_mtime_ns for path in before} == before  # the second run drew nothing again
    assert {name: (out / "runs" / name / "predictions.jsonl").read_text() for name in replies} == replies
    assert again[again.index("\nLook\n") :] == said[said.index("\nLook\n") :]


def test_models_without_a_base_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "videothinker", "demo", "--out", str(tmp_path / "demo"), "--models", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert "has no folder base" in result.stderr
    assert not (tmp_path / "demo").exists()


@pytest.mark.skipif(not STUDY.is_dir(), reason="data/study is not there")
def test_the_committed_checkpoints_unpack(tmp_path: Path) -> None:
    files = sorted(STUDY.glob("*.delta"))
    assert [file.stem for file in files] == ["bias", "cdpo", "grpo"]
    base = weights_hash(Checkpoint(STUDY / "base", None))
    hashes = {file.stem: unpack(STUDY / "base", file, tmp_path / file.stem) for file in files}
    assert len({base, *hashes.values()}) == 4
    for name, sha256 in {"base": base, **hashes}.items():
        card = STUDY / "base" / "README.md" if name == "base" else STUDY / f"{name}.md"
        assert sha256[:12] in card.read_text()
