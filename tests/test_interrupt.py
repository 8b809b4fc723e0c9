"""Ctrl-C and SIGTERM: one signal ends a command and its processes, one line says how to go on, and going on works."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import write_colours
from pretrain.small import SMALL
from stopped import stop
from study_factory import write_study
from vt_command import vt

from videothinker.cli.interrupt import how_to_go_on

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])

SLOW_TO_END = """
import sys, time
from videothinker import cli

def stubborn(*_, **__):
    while True:
        try:
            print("here", file=open(sys.argv[2], "w"), flush=True)
            time.sleep(100)
        except BaseException:
            pass

cli.typer.Typer.__call__ = stubborn
cli.main()
"""

IN_A_DESTRUCTOR = """
import sys, time
from videothinker import cli

def collected(*_, **__):
    from cffi import FFI
    ffi = FFI()

    def destroy(_):
        open(sys.argv[2], "w").close()
        time.sleep(100)

    del_me = ffi.gc(ffi.new("int *"), destroy)
    del del_me
    try:
        time.sleep(100)
    finally:
        open(sys.argv[2] + ".closed", "w").close()

cli.typer.Typer.__call__ = collected
cli.main()
"""
"""A signal that comes while cffi runs a destructor, which pymunk has: Python prints what is raised there, and goes on."""

STUB_STUDY = """
import sys
from videothinker import cli
from videothinker.study import run
run.VT = (sys.executable, sys.argv.pop(1))
cli.main()
"""


class Slow(BaseHTTPRequestHandler):
    """A server that takes longer for each answer than for the one before."""

    n = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Slow.n += 1
        time.sleep(0.2 * Slow.n)
        choice = {"index": 0, "message": {"role": "assistant", "content": "<answer>A</answer>"}, "finish_reason": "stop"}
        body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@BOTH
def test_world(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "world"
    command = ["world", "make", out, "--seed", "3", "--scenes", "12", "--workers", "2", "--size", "84x56"]
    stop(command, number, when=lambda: any(out.rglob("annotation_*.json")))
    assert not (out / "world.json").exists()
    assert vt(*command) == 0
    assert len(list(out.rglob("video_*.mp4"))) == 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["diagnose", "--model", "x"], "what is done is kept, and the same command goes on from there"),
        (["diagnose", "--no-resume"], "without --no-resume goes on"),
        (["train", "cdpo"], "from the last saved step"),
        (["pretrain", "--dry-run"], "a dry run keeps nothing"),
        (["curate", "clevrer"], "which begins anew"),
        ([], "begins anew"),
    ],
)
def test_what_is_said(arguments: list[str], said: str) -> None:
    assert said in how_to_go_on(arguments)


def test_what_will_not_end_is_cut_off(tmp_path: Path) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(SLOW_TO_END)
    flag = tmp_path / "flag"
    stop(["world", flag], signal.SIGTERM, when=flag.exists, program=(sys.executable, str(script)))


def test_a_signal_in_a_destructor_is_not_lost(tmp_path: Path) -> None:
    script = tmp_path / "destructor.py"
    script.write_text(IN_A_DESTRUCTOR)
    flag, closed = tmp_path / "flag", tmp_path / "flag.closed"
    errors = stop(["world", flag], signal.SIGTERM, when=flag.exists, program=(sys.executable, str(script)))
    assert closed.exists()  # it ended as after any error, and was not cut off
    assert len(errors.splitlines()) == 1, errors


def test_a_rank_that_is_not_the_first_says_nothing(tmp_path: Path) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(SLOW_TO_END)
    flag = tmp_path / "flag"
    stop(
        ["world", flag],
        signal.SIGTERM,
        when=flag.exists,
        program=(sys.executable, str(script)),
        environment={"RANK": "1", "WORLD_SIZE": "2"},
        n_lines=0,
    )


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/v1"
        http.shutdown()


@BOTH
def test_diagnose(tmp_path: Path, number: signal.Signals, server: str) -> None:
    curated, out = write_colours(tmp_path / "curated"), tmp_path / "runs"
    command = ["diagnose", "--data", curated.folder, "--model", "served", "--endpoint", server, "--out", out]
    answers = out / "served" / "predictions.jsonl"
    Slow.n = 0
    stop(command, number, when=lambda: answers.exists() and answers.read_bytes().count(b"\n") > 0)
    kept = answers.read_bytes().splitlines()
    assert 0 < len(kept) < 6
    Slow.n = 0
    assert vt(*command) == 0
    assert len(answers.read_bytes().splitlines()) == 6
    assert Slow.n == 6 - len(kept)


def test_pretrain(tmp_path: Path) -> None:
    config, out = tmp_path / "small.toml", tmp_path / "out"
    config.write_text(SMALL)
    command = ["pretrain", "--config", config, "--out", out, "--set", "optimizer.steps=3", "--set", "compute.save_every=1"]
    stop(command, signal.SIGTERM, when=(out / "state.pt").exists)
    assert vt(*command) == 0
    assert json.loads((out / "run.json").read_text())["finished"]


@BOTH
def test_study(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "study.py"
    script.write_text(STUB_STUDY)
    stub = Path(__file__).parent / "study" / "stub_vt.py"
    config, out = write_study(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "orders").write_text(json.dumps({"curated": 60}))
    command, program = ["study", config, "--out", out, "--gpus", "", "--no-report"], (sys.executable, str(script), str(stub))
    stop(command, number, when=(out / "diary").exists, program=program)
    record = next(iter(out.rglob("curated*.json")))
    assert json.loads(record.read_text())["state"] == "interrupted"
    (out / "orders").write_text("{}")
    subprocess.run([*program, *map(str, command)], check=True, capture_output=True)
    assert json.loads(record.read_text())["state"] == "finished"
