"""`vt diagnose` on a real checkpoint, from the command line to the files: alone, on two processes, and after damage."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoProcessor

from videothinker import store
from videothinker.cli import app
from videothinker.curated import Curated
from videothinker.diagnose import checkpoint_answerer
from videothinker.records import Prediction, Status


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def options(curated: Curated, checkpoint: Path, out: Path) -> list[str]:
    asked = ["--max-new-tokens", "40", "--batch-size", "4"]
    return ["diagnose", "--data", str(curated.folder), "--model", f"taught={checkpoint}", "--out", str(out), *asked]


def diagnose(curated: Curated, checkpoint: Path, out: Path) -> dict[str, Any]:
    with pytest.raises(SystemExit) as end:
        app(options(curated, checkpoint, out))
    assert end.value.code == 0
    return store.read_json(out / "taught" / "metrics.json", dict[str, Any])


def test_a_taught_checkpoint_scores_all_of_its_questions(
    taught: Path, colours: Curated, tmp_path: Path, own_cache: Path
) -> None:
    metrics = diagnose(colours, taught, tmp_path / "out")
    assert metrics["all"]["per_question"]["value"] == 1.0
    assert metrics["all"]["n_questions"] == 6
    rows = store.read_jsonl(tmp_path / "out" / "taught" / "predictions.jsonl", Prediction)
    tokenizer = AutoProcessor.from_pretrained(taught).tokenizer
    assert [row.tokens for row in rows] == [len(tokenizer(row.reply)["input_ids"]) + 1 for row in rows]  # and the end token
    assert all(row.logprob is not None and -0.2 < row.logprob <= 0 for row in rows)
    record = store.read_json(tmp_path / "out" / "taught" / "run.json", dict[str, Any])
    assert record["fed"]["fed"] == [{"n_clips": 3, "frames": 16, "height": 56, "width": 84, "video_tokens": 48}]
    assert len(list((own_cache / "clips").glob("*.frames"))) == 3


def test_a_checkpoint_is_loaded_once_for_several_sets_and_answers_each_as_it_does_alone(
    taught: Path, colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = shutil.copytree(colours.folder, tmp_path / "again")
    loaded: list[str] = []
    load = checkpoint_answerer.open_engine

    def open_engine(ref: str, *settings: Any, **more: Any) -> Any:
        loaded.append(ref)
        return load(ref, *settings, **more)

    monkeypatch.setattr(checkpoint_answerer, "open_engine", open_engine)
    with pytest.raises(SystemExit) as end:
        app([*options(colours, taught, tmp_path / "both"), "--data", str(again)])
    assert end.value.code == 0
    assert loaded == [str(taught)]
    diagnose(colours, taught, tmp_path / "alone")
    alone, *both = (tmp_path / place / "taught" for place in ("alone", "both/colours", "both/again"))
    fed = [store.read_json(folder / "run.json", dict[str, Any])["fed"]["fed"] for folder in (alone, *both)]
    assert fed == [fed[0]] * 3
    assert [(folder / "predictions.jsonl").read_bytes() for folder in both] == [(alone / "predictions.jsonl").read_bytes()] * 2


def test_two_processes_give_what_one_gives(taught: Path, colours: Curated, tmp_path: Path) -> None:
    diagnose(colours, taught, tmp_path / "one")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "videothinker"]
    result = subprocess.run(
        [*launch, *options(colours, taught, tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    one, two = ((tmp_path / name / "taught") for name in ("one", "two"))
    assert (two / "metrics.json").read_bytes() == (one / "metrics.json").read_bytes()
    lines, others = (
        [line.rpartition(',"logprob":') for line in (folder / "predictions.jsonl").read_text().splitlines()]
        for folder in (one, two)
    )
    assert len(lines) == 6
    for line, other in zip(lines, others, strict=True):
        assert line[0] == other[0]  # byte by byte, but for the last digits of a sum that depends on the batch
        assert float(line[2].rstrip("}")) == pytest.approx(float(other[2].rstrip("}")), abs=1e-4)


def test_a_damaged_clip_is_left_out_and_asked_again_once_it_is_mended(taught: Path, colours: Curated, tmp_path: Path) -> None:
    assert colours.videos_root is not None
    clip = colours.videos_root / "red.mp4"
    whole = clip.read_bytes()
    clip.write_bytes(whole[:700])
    metrics = diagnose(colours, taught, tmp_path / "out")
    assert (metrics["all"]["n_decode_error"], metrics["all"]["n_questions"]) == (2, 4)
    assert metrics["all"]["per_question"]["value"] == 1.0
    rows = store.read_jsonl(tmp_path / "out" / "taught" / "predictions.jsonl", Prediction)
    lost = [row for row in rows if row.status is Status.DECODE_ERROR]
    assert [row.question_id for row in lost] == ["0:0", "0:1"]
    assert all("red.mp4" in (row.error or "") for row in lost)
    clip.write_bytes(whole)
    metrics = diagnose(colours, taught, tmp_path / "out")
    assert (metrics["all"]["n_decode_error"], metrics["all"]["n_questions"]) == (0, 6)
    assert metrics["all"]["per_question"]["value"] == 1.0
