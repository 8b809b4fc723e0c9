"""Every script in benchmarks/ runs on today's code, at its smallest size, and gives the numbers that it promises.

Nothing is timed here: a test looks whether the numbers are there and can be true.
"""

import importlib
import json
import math
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from curated_factory import a_prediction, labels_of, questions_of, random_questions
from diagnose.fake_server import completion, serving
from quiet_page import needs_chromium
from safetensors.torch import save_file
from study_factory import FILE, finish, make_study
from vt_command import vt

from videothinker import store
from videothinker.curated import Curated
from videothinker.diagnose import metrics
from videothinker.diagnose.vllm_child import PYTHON
from videothinker.models import delta, tiny
from videothinker.models.checkpoint import Checkpoint, weights_hash
from videothinker.records import Rule
from videothinker.records.study_cells import State
from videothinker.records.training import GateMargins, GateVerdict, Measured, RunResult, TrainedOn, TrainRecord, Weights
from videothinker.study.cells import read_records
from videothinker.study.collect import collect
from videothinker.study.sheets import to_bytes
from videothinker.world import mix
from videothinker.world.ask import PRESETS

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text())

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a script as its command line would, and returns the JSON that it writes where it takes --out FILE.json.

    All happens in this process: torch and trl are imported once for all scripts.
    """
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def call(name: str, *arguments: object, out: Path | None = tmp_path / "out.json") -> Any:
        script = ROOT / (name if "/" in name else f"benchmarks/{name}.py")
        wanted = () if out is None else ("--out", out)
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, (*arguments, *wanted))])
        runpy.run_path(str(script), run_name="__main__")
        return None if out is None or out.is_dir() else json.loads(out.read_text())

    return call


needs_vllm = pytest.mark.skipif(PYTHON not in os.environ, reason=f"{PYTHON} names no environment with vLLM")


def assert_one_shape(found: dict[str, Any], benchmark: str) -> None:
    """Benchmarks of speed and memory write alike, so that one script can read them all."""
    assert {"benchmark", "device", "settings", "rows", "provenance"} <= set(found)
    assert found["benchmark"] == benchmark
    assert found["rows"]
    assert "out" not in found["settings"]
    assert found["provenance"]["command"].startswith(f"python benchmarks/{benchmark}.py")


def are_positive(*numbers: float) -> bool:
    return all(math.isfinite(number) and number > 0 for number in numbers)


def test_every_benchmark_is_run_by_a_test_of_this_file() -> None:
    here = Path(__file__).read_text()
    assert [path.name for path in SCRIPTS if f'("{path.stem}"' not in here] == []
    assert len(SCRIPTS) >= 8


@needs_chromium
def test_pages(run: Run) -> None:
    found = run("pages", "--smoke")
    assert found["n_questions"] == 60
    assert 0 < found["megabytes"] < 2
    assert are_positive(*found["seconds"].values())
    assert len(found["seconds"]) == 6


@pytest.fixture
def vt_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of `vt` that a script would start run in this process, where torch is imported already."""
    start = subprocess.run

    def here(command: list[str], **options: Any) -> Any:
        if command[:3] != [sys.executable, "-m", "videothinker"]:
            return start(command, **options)
        with monkeypatch.context() as told:
            for name, value in options["env"].items():
                told.setenv(name, value)
            assert vt(*command[3:]) == 0
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", here)


def test_commands_side_by_side_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(32))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    told: list[dict[str, str]] = []
    monkeypatch.setattr(subprocess, "run", lambda *_, env, **__: told.append(env))
    vt_of = importlib.import_module("calling").vt
    vt_of("world", "make", "w")
    vt_of("curate", "probe", at_once=6)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    vt_of("curate", "probe", at_once=6)
    assert [env.get("OMP_NUM_THREADS") for env in told] == [None, "5", "2"]
    assert all(env["PYTHONPATH"].startswith(str(ROOT)) for env in told)


def test_probe_quality(run: Run, vt_here: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every question that was asked is in a category, and no sample is taken from beyond the first n."""
    arguments = ("probe_quality", "--work", tmp_path / "work", "--size", "smoke", "--workers", 1)
    run(*arguments, out=tmp_path)
    before = (tmp_path / "clevrer74.json").read_bytes()
    found = json.loads(before)
    assert found["world"]["n_questions"] == 20
    assert set(found["world"]["observational"]) == {"any-option", "correct-option", "oracle"}
    asked = {(row["checkpoint"], row["asking"], row["view"], row["samples"]): row for row in found["rows"]}
    assert asked.keys() == {
        *(("solver:random", "sampled", "normal", n) for n in (1, 2, 4, 8)),
        *(("base", "greedy", view, 1) for view in ("normal", "twin", "described")),
        *(("base", "sampled", view, n) for view in ("normal", "described") for n in (1, 2)),
        *(("grpo", "damaged", view, 1) for view in ("frozen", "blind")),
    }
    for (_, _, _, n), row in asked.items():
        assert sum(row["categories"].values()) == row["n_questions"] == row["n_replies"] / n
        assert (row["halves"] is None) == (n == 1)
        for against in row["against"].values():
            assert sum(sum(kinds.values()) for kinds in against["confusion"].values()) == row["n_questions"]
    assert "| clevrer74 | base | described | 4 |" in capsys.readouterr().out
    run(*arguments, "--no-ask", out=tmp_path)
    assert json.loads((tmp_path / "clevrer74.json").read_bytes())["rows"] == found["rows"]
    run(*arguments, "--no-ask", "--only", "grpo", out=tmp_path)
    assert json.loads((tmp_path / "clevrer74.json").read_bytes())["rows"] == found["rows"]  # grpo's are the last ones
    assert found["world"]["exact_twin"].keys() == {"agrees", "precision_inferential", "names_removed"}


def test_flipped_labels(run: Run, vt_here: None, tmp_path: Path) -> None:
    """Where nothing is flipped the gate is the exact one, and the pool is what it says."""
    found = run("flipped_labels", "--work", tmp_path / "work", "--smoke", "--workers", 1)
    assert found["arithmetic"][0]["inferential"] == 1
    seen = found["seen"]
    assert [row["flipped"] for row in seen["rows"]] == [0, 0.01, 0.03, 0.1]
    assert set(seen["rows"][0]["inferential"]) == {seen["exact"]["changes"]["inferential"]["value"]}
    assert seen["rows"][0]["expected_inferential"] == seen["exact"]["changes"]["inferential"]["value"]
    assert all(sum(row["verdicts"].values()) == seen["draws"] == 5 for row in seen["rows"])
    clean, noisy = found["trained"]
    assert (clean["flipped"], noisy["flipped"]) == (0, 0.1)
    assert (clean["pool"], clean["pool_precision"]) == (7, 1)  # 74 % of 10
    assert clean["exact"]["changes"] == clean["as seen"]["changes"]


def test_crossed(run: Run) -> None:
    found = run("crossed", "--smoke")["false_positives"]
    assert len(found) == 6
    assert all(0 <= one["crossed"] <= 15 for row in found.values() for one in row.values())  # of 20 simulations


def test_power(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """What makes no difference is confirmed in few studies, and GRPO's loss of the first one in nearly all."""
    found = run("power", "--smoke")["power"]
    assert found.keys() >= {"a", "b", "c", "d", "e", "f", "g", "h"}
    for one in found["a"]["nothing"]["alone"]:
        assert max(one.values()) <= 12  # of 50 simulations
    for one in found["a"]["first"]["corrected"]:
        assert one["confirmed"] >= 90
    assert "Standard error" in capsys.readouterr().out


def test_coverage(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = run("coverage", "--smoke")
    assert (found["simulations"], found["scenes"]) == (20, [5, 20])
    for cells in (*found["coverage"].values(), *found["false positives"].values()):
        assert all(0 <= percent <= 100 for cell in cells for percent in cell)
    assert min(now for cells in found["coverage"].values() for now, _ in cells) >= 75  # three of twenty are not five
    assert "| share of 97 |" in capsys.readouterr().out


def test_curate(run: Run) -> None:
    found = run("curate", "--scenes", 6, "--workers", 1, "--rounds", 1)
    read, command = found["decoding"], found["command"]
    assert are_positive(*read.values())
    assert read["times_faster_than_json_load"] == pytest.approx(read["json_load_ms"] / read["ours_ms"])
    assert command["n_annotations"] == 6
    assert 6 <= command["n_questions"] <= 18  # one to three counterfactual questions per scene
    assert are_positive(command["seconds"], command["plain_read_s"], command["times_plain_read"], command["gigabytes"])
    assert found["provenance"]["command"].startswith("python benchmarks/curate.py --scenes 6")


def test_vision(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--clips", "1,2", "--frames", 4, "--height", 56, "--width", 84, "--repeats", 1, "--most-backward", 1)
    found = run("vision", "--size", "test", *small)
    assert_one_shape(found, "vision")
    rows = found["rows"]
    assert [(row["way"], row["n_clips"]) for row in rows] == list(product(("batched", "varlen", "compiled"), (1, 2)))
    assert are_positive(*(row["forward_ms"] for row in rows))
    assert are_positive(*(row["forward_backward_ms"] for row in rows if row["n_clips"] == 1))
    assert all(row["forward_backward_ms"] is None for row in rows if row["n_clips"] == 2)
    assert "milliseconds a clip" in capsys.readouterr().out


def test_the_products_of_a_vision_mlp(run: Run) -> None:
    """In float32 the width needs nothing, so there is one; 8 clips of 4 frames have 8 * 2 * 4 * 6 patches."""
    found = run("vision", "--products", "--size", "thin", "--frames", 4, "--height", 56, "--width", 84, "--repeats", 1)
    assert [(row["n"], row["from"], row["to"]) for row in found["rows"]] == [(384, 16, 16), (384, 16, 16)]
    assert are_positive(*(row["tflop_per_s"] for row in found["rows"]))


def test_diagnose_measures_the_engine_that_auto_takes_and_every_other(run: Run) -> None:
    sizes = ("--frames", 4, "--tokens", 3, "--plain", 1, "--batch-sizes", 2)
    found = run("diagnose", "--scenes", 1, *sizes)
    on_gpu = torch.cuda.is_available()
    plain, *ours = found["rows"]
    assert [row["asked_with"] for row in ours] == ["auto", "transformers" if on_gpu else "graphs"]
    assert [row["engine"] for row in ours] == (["graphs", "transformers"] if on_gpu else ["transformers", "eager"])
    for row in ours:
        assert row["n_questions"] == ours[0]["n_questions"] > 0
        assert are_positive(row["seconds"], row["questions_per_second"], row["video_tokens"])
        assert row["times_plain"] == pytest.approx(row["questions_per_second"] / plain["questions_per_second"])
    assert are_positive(plain["n_parameters"], plain["seconds"])
    assert_one_shape(found, "diagnose")


def test_diagnose_measures_what_looking_out_for_first_answers_costs(run: Run) -> None:
    sizes = ("--frames", 4, "--tokens", 3, "--plain", 1, "--batch-sizes", 2)
    found = run("diagnose", "--scenes", 1, "--engine", "graphs", "--stop-at", 0.97, *sizes)
    assert [row["asked_with"] for row in found["rows"]] == ["plain loop", "graphs"]
    assert found["settings"]["stop_at"] == 0.97


@needs_vllm
def test_diagnose_measures_vllm(run: Run) -> None:
    sizes = ("--frames", 4, "--tokens", 3, "--plain", 1, "--batch-sizes", 2, 4)
    plain, served = run("diagnose", "--scenes", 2, "--engine", "vllm", *sizes)["rows"]
    assert served["engine"] == "vllm"
    assert served["batch_size"] == 4  # asked once: a second time it would know the clips
    assert are_positive(plain["seconds"], served["seconds"], served["video_tokens"])


def test_command(run: Run, vt_here: None, tmp_path: Path) -> None:
    """The whole command, twice; the weights stay where they are told to."""
    sizes = ("--frames", 4, "--tokens", 3, "--scenes", 1)
    found = run("command", *sizes, "--weights", tmp_path / "weights")
    assert_one_shape(found, "command")
    assert [row["clips"] for row in found["rows"]] == ["decoded", "cached"]
    for row in found["rows"]:
        assert row["engine"] == "transformers"
        assert row["n_questions"] == found["rows"][0]["n_questions"] > 0
        assert sum(row["seconds_by_stage"].values()) == pytest.approx(row["seconds"])
        assert row["seconds_by_stage"]["rest"] > 0
    assert (tmp_path / "weights" / "model.safetensors").is_file()


def test_random_weights_are_kept_only_where_they_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import shapes

    folder = shapes.build(tmp_path / "kept", "test")
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert shapes.build(folder, "test") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    shapes.build(folder, "test", seed=1)  # other weights
    again = (folder / "model.safetensors").stat().st_mtime_ns
    assert again != written
    (folder / "built.txt").unlink()  # as where building was stopped
    shapes.build(folder, "test", seed=1)
    assert (folder / "model.safetensors").stat().st_mtime_ns != again


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What a session would run, by name of the measurement's file; `command` fails, and `vision` takes too long."""
    called: list[list[str]] = []
    start = subprocess.run

    def here(command: list[str], **options: Any) -> Any:
        if command[0] != sys.executable:
            return start(command, **options)
        called.append(command)
        script, out = Path(command[1]).stem, Path(command[command.index("--out") + 1])
        if script == "vision":
            raise subprocess.TimeoutExpired(command, options["timeout"])
        if script == "command":
            options["stdout"].write("Traceback ...\nVtError: no such thing\n")
            return subprocess.CompletedProcess(command, 3)
        rows = [{"engine": "graphs", "seconds": 1.5, "seconds_by_stage": {"clips": 0.25}, "peak_gib": None}]
        store.write_json(out, {"benchmark": script, "rows": rows})
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", here)
    return called


def test_session_goes_on_past_what_fails_and_makes_nothing_twice(
    run: Run, tmp_path: Path, scripted: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, chosen = tmp_path / "session", ("--only", "ask", "command", "vision", "decode-8", "--small")
    out.mkdir()
    with pytest.raises(SystemExit, match="1"):
        run("session", *chosen, out=out)
    assert [Path(command[1]).stem for command in scripted] == ["diagnose", "command", "vision", "decode"]
    assert all("--shape" in command or "vision" in command[1] for command in scripted)
    became = json.loads((out / "session.json").read_text())["became"]
    failed = "failed (3): VtError: no such thing"
    assert became == {"ask": "done", "command": failed, "vision": "out of time", "decode-8": "done"}
    page = (out / "session.md").read_text()
    assert "| engine | seconds | seconds_by_stage clips |" in page
    assert "| graphs | 1.5 | 0.25 |" in page
    scripted.clear()
    with pytest.raises(SystemExit, match="1"):
        run("session", *chosen, out=out)
    assert [Path(command[1]).stem for command in scripted] == ["command", "vision"]
    assert json.loads((out / "session.json").read_text())["became"]["ask"] == "was done"
    scripted.clear()
    with pytest.raises(SystemExit, match="1"):
        run("session", *chosen, "--minutes", 0.1, out=out)
    assert scripted == []  # a few seconds are not enough to begin anything


def test_session_lists_the_commands_and_vllm_only_where_it_is(
    run: Run, tmp_path: Path, scripted: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run("session", "--list", "--vllm-python", "/vllm/bin/python", "--out", tmp_path / "nothing", out=None)
    said = capsys.readouterr().out
    assert "python benchmarks/train.py --shape 3b --variants lora" in said
    assert "beside_vllm.py --shape 3b --frames 16 --tokens 128 --scenes 512 --weights" in said
    assert "--engine-python /vllm/bin/python" in said
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "session").mkdir()
    run("session", "--only", "vllm", "--small", out=tmp_path / "session")
    assert scripted == []
    assert json.loads((tmp_path / "session" / "session.json").read_text())["became"]["vllm"].startswith("no vLLM here")


PHYSICS = ("roll-outs per second", "how far a cylinder slides, 1 wanted", "speed kept in a collision, 0.5625 wanted")


def test_stop(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Fewer tokens, in float32 of the very same replies; whether that takes less time is not for a test to say."""
    small = ("--clips", 3, "--frames", 4, "--tokens", 24, "--batch-size", 2, "--repeats", 1, "--engines", "graphs")
    rows = run("stop", *small)["rows"]
    assert [row["stop_at"] is None for row in rows] == [True, False, False]
    assert [row["n_same"] for row in rows] == [6, 6, 6]
    assert 0 == rows[0]["stopped"] < rows[1]["stopped"] < rows[2]["stopped"] <= 1
    for row in rows:
        n_stopped = round(6 * row["stopped"])
        assert row["n_tokens"] == 12 * n_stopped + 24 * (6 - n_stopped)
        assert are_positive(row["seconds"], row["seconds_writing"], row["questions_per_second"])
        assert row["times_whole"] == pytest.approx(rows[0]["seconds"] / row["seconds"])
    assert "never" in capsys.readouterr().out


def test_lengths_of_clips(run: Run) -> None:
    found = run("lengths", "--seconds", 2, 9, "--clips", 1, "--per-clip", 2, "--frames", 4, "--tokens", 2)
    assert [row["clip_seconds"] for row in found["rows"]] == [2, 9]  # the second is longer than what is encoded
    for row in found["rows"]:
        assert row["n_questions"] == 2
        assert are_positive(row["questions_per_second"], row["video_tokens"])


def test_physics_choice(run: Run) -> None:
    found = run("physics_choice", "--scenes", 2)["results"]["pymunk"]
    assert are_positive(*(found[row] for row in PHYSICS))
    assert found["change by an object that touched nothing"] == 0  # what the choice rests on


def test_physics_choice_beside_mujoco(run: Run) -> None:
    pytest.importorskip("mujoco", reason="mujoco is not installed, which benchmarks/physics_choice.py compares pymunk with")
    found = run("physics_choice", "--scenes", 1)["results"]
    assert len(found) == 3
    assert are_positive(*(column[row] for column in found.values() for row in PHYSICS))


@needs_vllm
def test_beside_vllm(run: Run) -> None:
    found = run("beside_vllm", "--scenes", 10, "--tokens", 4, "--frames", 4)
    assert_one_shape(found, "beside_vllm")
    ours, alone = found["rows"]
    assert found["ratio"] == pytest.approx(ours["questions_per_second"] / alone["questions_per_second"])
    for row in (ours, alone):
        assert are_positive(row["n_questions"], row["clips_seconds"])
        assert row["questions_per_second"] == pytest.approx(row["n_questions"] / row["seconds"])


def test_beside_vllm_deals_each_clip_once(run: Run) -> None:
    """17 clips with two questions each: the first and the last warm up, and 15 are dealt in turn."""
    warm, parts = importlib.import_module("beside_vllm").dealt([[number, number] for number in range(17)])
    assert warm == [0, 0, 16, 16]
    assert [part[::2] for part in parts] == [[1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [4, 8, 12]]


@needs_vllm
def test_endpoint_clip_or_images(run: Run) -> None:
    found = run("endpoint_clip_or_images", "--engine-python", os.environ[PYTHON], "--questions", 4, "--tokens", 64)
    local, clip, images, whole = found["rows"]
    assert local["n_replies_as_local"] == clip["n_replies_as_local"] == 4
    assert clip["prompt_length"] == {"compared": 4, "differ": 0}
    assert clip["warned"] == []
    assert images["n_questions"] == whole["n_questions"] == 4


def test_endpoint_clip_or_images_at_a_server_that_takes_no_images(run: Run) -> None:
    """What a server refuses is a row with what it said, and a prompt that it counts otherwise is counted."""

    def behave(body: dict[str, Any], _: int) -> Any:
        kinds = {part["type"] for part in body["messages"][0]["content"]}
        return (400, {}, {"error": "no pictures here"}) if "image_url" in kinds else completion("<answer>A</answer>")

    with serving() as server:
        server.behave = behave
        found = run("endpoint_clip_or_images", "--endpoint", server.url, "--questions", 2, "--tokens", 4, "--frames", 4)
    assert_one_shape(found, "endpoint_clip_or_images")
    local, clip, images, whole = found["rows"]
    assert (local["way"], local["n_replies_as_local"]) == ("local", 2)
    assert [row["n_questions"] for row in (clip, whole)] == [2, 2]
    assert clip["prompt_length"] == {"compared": 2, "differ": 2}  # this server counts 7 tokens, whatever it is sent
    assert len(clip["warned"]) == 1
    assert "no pictures here" in images["refused"]


def test_pretraining_curve(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("pretraining_curve", ROOT / "reports" / "pretraining-world", out=tmp_path)
    pictures = [(tmp_path / name).read_bytes() for name in ("pretraining.png", "pretraining-dark.png")]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert pictures[0] != pictures[1]
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line[:1].isdigit()] == ["1-pretraining", "2-settling", "3-longer"]
    # The last row of 3-longer/metrics.jsonl has 0.84521 and 0.92236: 1.96 sqrt(p (1 - p) / 2048) is 0.01566 and 0.01159.
    assert "gone 1.00, step 16,400, unseen, 2,048 questions: counterfactual 84.5 +- 1.6, observed 92.2 +- 1.2" in said


def test_rounding(run: Run, colours: Curated, tmp_path: Path) -> None:
    model = tiny.build(tmp_path / "model")
    found = run("rounding", colours.folder, "dev", model, "--frames", 4, "--tokens", 3)["rows"]
    assert [row["way"] for row in found] == ["float32", "bfloat16", "bfloat16, its logits too"]
    assert [row["n_questions"] for row in found] == [6, 6, 6]
    assert found[0]["as_in_float32"] == 1
    assert all(0 <= row[share] <= 1 for row in found for share in ("begins_with_obs", "inferential_right", "as_in_float32"))


def a_checkpoint(folder: Path, number: float) -> Path:
    """A folder that counts as a checkpoint wherever only its files and its weights are looked at."""
    store.write_json(folder / "config.json", {"model_type": "made-up"})
    weights = {"a.weight": torch.full((8, 4), number, dtype=torch.bfloat16)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def a_study(folder: Path) -> Path:
    """What `study_checkpoints` reads of a finished study of one seed; its bias model did not pass the gate."""
    asked = random_questions(range(20))
    base = a_checkpoint(folder / "cells" / "base", 0.5)
    sha256 = weights_hash(Checkpoint(base, None))
    pretrained = {"steps": 9, "parameters": 32, "scenes": 7, "questions": 8, "minutes": 1, "processes": 1, "device": "CPU"}
    settings = {"seed": 1}
    store.write_json(base / "run.json", {"stage": "sft", "settings": settings, "start": {"sha256": None}, "result": pretrained})
    result = RunResult(out="", steps=3, seconds_per_step=1, tokens_per_step=1, peak_bytes=1, parameters=32, trainable=32)
    for number, arm in enumerate(("bias", "grpo", "cdpo")):
        cell = a_checkpoint(folder / "cells" / f"{arm}-s1", 0.5 + (number + 1) / 64)
        record = TrainRecord(
            stage=arm,
            settings=settings,
            model=Weights(ref="base", sha256=sha256),
            bias_model=Weights(ref="cells/bias-s1", sha256="0" * 64) if arm == "cdpo" else None,
            data=TrainedOn(folder="curated", sha256="0" * 64, rule=Rule.ORACLE, n_questions=12),
            finished=True,
            result=result,
        )
        store.write_json(cell / "run.json", record)
    for name in ("base", "bias-s1", "grpo-s1", "cdpo-s1"):
        answered = folder / "cells" / f"greedy.{name}" / name
        right = [a_prediction(one, "".join(one.question.gold)) for one in asked]
        store.write_json(answered / "metrics.json", metrics.summarize(questions_of(asked), right, labels_of(asked)))
        store.write_json(answered / "run.json", {"settings": {"temperature": 0.0}})
    half = Measured(observational=0.5, inferential=0.5, shortcut_reliance=0.1, n_observational=30, n_inferential=20)
    reasons = ("inferential accuracy fell by 0.0 points",)
    verdict = GateVerdict(
        passed=False, reasons=reasons, start=half, bias=half, margins=GateMargins(), split="dev", rule=Rule.ORACLE
    )
    store.write_json(folder / "cells" / "bias-s1" / "gate.json", verdict)
    return folder


def test_against_family(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the report says of a claim, the script says of the same arm; of others it says what no claim asks."""
    family = '[families.undone]\narms = ["base", "repulsion-03", "grpo"]\n'
    claim = '[[claims]]\ntext = "It is no undoing"\nholds = ["cdpo > undone"]\n'
    study, plan = make_study(tmp_path, FILE + family + claim)
    out = tmp_path / "study"
    for cell in plan:
        finish(cell, out)
    states = dict.fromkeys((cell.name for cell in plan), State.FINISHED)
    collected = collect(study, plan, out, states, read_records(plan, out))
    store.write_bytes(out / "results.json", msgspec.json.encode(collected.results))
    for name, sheet in collected.sheets.items():
        store.write_bytes(out / "answers" / f"{name}.parquet", to_bytes(sheet))

    run("against_family", out, "undone", "cdpo", "attract", out=None)
    of_claim, other = capsys.readouterr().out.splitlines()
    (part,) = collected.results.verdicts[-1].parts
    if part.value is None:
        assert of_claim == f"cdpo - undone: was not compared: {part.reason}"
    else:
        assert part.value.scenes.value is not None
        assert of_claim.startswith(f"cdpo - undone: {100 * part.value.scenes.value:+.1f} [")
    assert other.startswith("attract - undone: ")
    for wrong, words in (
        (("undoing", "cdpo"), "no family 'undoing'; there are undone"),
        (("undone", "odd"), "odd was not asked"),
    ):
        with pytest.raises(SystemExit, match=words):
            run("against_family", out, *wrong, out=None)


def test_study_checkpoints(run: Run, tmp_path: Path) -> None:
    study, out = a_study(tmp_path / "study"), tmp_path / "kept"
    run("study_checkpoints", study, out, out=None)
    assert {path.name for path in out.iterdir()} == {
        "base",
        *(f"{arm}.{kind}" for arm in ("bias", "grpo", "cdpo") for kind in ("delta", "md")),
    }
    for arm in ("bias", "grpo", "cdpo"):
        trained = weights_hash(Checkpoint(study / "cells" / f"{arm}-s1", None))
        assert delta.unpack(out / "base", out / f"{arm}.delta", tmp_path / "again" / arm) == trained
        assert f"`{trained[:12]}`" in (out / f"{arm}.md").read_text()
    card = (out / "bias.md").read_text()
    assert "**did not pass the gate**" in card
    assert "inferential accuracy fell by 0.0 points" in card
    assert "| greedily | 100.0" in card


SMALL = ("--frames", 4, "--tokens", 3, "--replies", 2, "--steps", 1)
"""A step of training in a second."""


def is_measured(row: dict[str, Any]) -> bool:
    """Has a variant spent time in every phase, and the rest of its row of the table?"""
    phases = ("decode", "generate", "score", "loss", "optimizer")
    seconds = row["seconds"]
    return (
        row["n_steps"] == 1
        and are_positive(*(seconds[phase] for phase in phases), row["static_bytes"], row["outside_generation"])
        and sum(seconds[phase] for phase in phases) <= seconds["total"]
    )


@pytest.mark.parametrize("variant", ["ours-generate", "lora"])
def test_train_measures_one_variant(run: Run, variant: str) -> None:
    found = run("train", *SMALL, "--variants", variant)
    assert_one_shape(found, "train")
    assert [row["variant"] for row in found["rows"]] == [variant]
    assert is_measured(found["rows"][0])


def test_lora_memory(run: Run) -> None:
    found = run("lora_memory", "--layers", 1, "--rows", 2, "--prompt", 72, "--tokens", 40)
    assert_one_shape(found, "lora_memory")
    peft, ours = found["rows"]
    assert peft["kept_bytes"] == ours["kept_bytes"] < ours["peak_bytes"] < peft["peak_bytes"]


def test_train_compares_variants_each_by_a_call_of_its_own(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls that would be processes of their own happen in this one, for trl takes longer to import than all else."""
    start = subprocess.run

    def here(command: list[str], **options: Any) -> Any:
        if command[0] != sys.executable:
            return start(command, **options)
        with monkeypatch.context() as child:
            child.setattr(sys, "argv", command[1:])
            runpy.run_path(command[1], run_name="__main__")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", here)
    found = run("train", *SMALL, "--variants", "plain,ours")
    assert [row["variant"] for row in found["rows"]] == ["plain", "ours"]
    assert all(is_measured(row) for row in found["rows"])
    page = (tmp_path / "out.md").read_text()
    assert [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ")][2:] == ["| plain", "| ours"]
    assert "x)" in page  # the ratio to the plain step


def test_decode(run: Run) -> None:
    found = run("decode", "--rows", 1, 3, "--tokens", 4, "--repeats", 1, "--ways", "plain")["rows"]
    assert [(row["way"], row["n_rows"]) for row in found] == [("plain", 1), ("plain", 3)]
    for row in found:
        assert are_positive(row["seconds"], row["prompt_seconds"], row["first_seconds"])
        assert row["ms_per_token"] == pytest.approx(1000 * (row["seconds"] - row["prompt_seconds"]) / 3)


def test_world(run: Run) -> None:
    found = run("world", "--scenes", 1)
    assert are_positive(found["scenes"]["scenes_per_second"], *found["scenes"]["ms_per_scene"].values())
    assert set(found["shares"]["presets"]) == set(PRESETS)
    for column in found["shares"]["presets"].values():
        assert are_positive(column["questions per scene"])
        assert all(0 <= share <= 1 for name, share in column.items() if name != "questions per scene")
        assert sum(share for name, share in column.items() if name.startswith("options: ")) == pytest.approx(1)
    clips = found["clips"]
    assert are_positive(*clips["ms_per_clip"].values(), clips["clips_per_second_of_two_processes"], clips["kilobytes_per_clip"])
    for row in found["compression"].values():
        assert are_positive(row["kilobytes"], *row["480x320"], *row["84x56"])
    assert set(found["frames"]) == {"84x56x1", "126x84x1", "480x320x1"}
    for row in found["frames"].values():
        assert are_positive(row["frames_per_second"], row["host_share"])
        assert row["differs"] == 0  # from numpy, which drew it


def test_world_mix(run: Run) -> None:
    found = run("world_mix", "--scenes", 6, "--seed", 1)
    n_questions, n_scenes = found["asked"]["clevrer74"]
    assert (n_questions, n_scenes) == (12, 6)
    n_questions, n_scenes = found["asked"]["clevrer"]
    assert 0 < n_scenes <= n_questions <= 2 * n_scenes < 12
    for name, column in found["presets"].items():
        assert sum(column[f"{n} option{'s' * (n > 1)}"] for n in (1, 2, 3, 4)) == pytest.approx(1)
        assert sum(column[f"{n} correct"] for n in range(5)) == pytest.approx(1)
        assert sum(share for row, share in column.items() if row.startswith("options: ")) == pytest.approx(1)
        assert (column["options: with the removed object"] > 0) == (name == "clevrer74")


def test_world_mix_fits_its_factors(run: Run) -> None:
    found = run("world_mix", "--fit", "--scenes", 12, "--steps", 2, "--seed", 1)
    names = set(found) - {"n_scenes", "seed", "provenance"}
    assert names == set(mix.FACTORS)
    assert are_positive(*(found[name] for name in names))


def test_frames(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("frames", "--first", 3, "--damaged", 2, "--repeats", 1, "--hours", 0.1, out=None)
    corpus, damage, cost, long, said = capsys.readouterr().out.split("\n\n")
    kinds = [line.split(" | ") for line in corpus.splitlines()[2:]]
    assert len(kinds) == 3
    assert {outcome.strip(" |") for _, *outcomes in kinds for outcome in outcomes} <= {"right", "refused"}
    for row in damage.splitlines()[2:]:
        counts = [int(cell) for cell in row.strip("| ").split(" | ")[1:]]
        assert sum(counts[:3]) == sum(counts[3:]) == 2  # every damaged clip is refused, looks right or looks wrong
    assert are_positive(*(float(row.split(" | ")[1].removesuffix(" ms")) for row in cost.splitlines()[2:]))
    assert len(long.splitlines()) == 2 + 3
    assert said.startswith("8,640 packets take 0.1 MiB")  # 0.1 h at 24 a second, ten bytes each


def test_world_draws_a_contact_sheet(run: Run, tmp_path: Path) -> None:
    run("world", "--sheet", tmp_path / "sheet.png", out=None)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.browser
@needs_chromium
def test_screenshots_of_a_page_on_a_light_and_on_a_dark_screen(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<style>@media (prefers-color-scheme: dark) { body { background: black } }</style>hello")
    run("docs/img/screenshot.py", page, out=tmp_path)
    light, dark = ((tmp_path / name).read_bytes() for name in ("report.png", "report-dark.png"))
    assert light.startswith(b"\x89PNG")
    assert light != dark
