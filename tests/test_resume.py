"""Killed, refused, raced: what commands leave behind, and what the same command makes of it.

Each command runs as a process of its own that is killed (SIGKILL) while its n-th file is saved, or that finds the disk full
there. Run again it must come to the bytes of a run that nobody disturbed.
"""

import builtins
import errno
import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import release_factory
import torch
import vt_command
from curated_factory import a_question, write_curated
from pretrain.small import SMALL
from study_factory import FILE, write_study
from train.trainers import TINY, write_clip

from videothinker import fingerprint as prints
from videothinker import locks, store
from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.study import run as studies

STUB = Path(__file__).parent / "study" / "stub_vt.py"
"""What runs a study's cells."""

SERVER = """
import errno, json, os, signal, sys
import matplotlib.figure, numpy, sketches
from videothinker.cli import main
from videothinker.recipes import curation, diagnosis
from videothinker.reports import drawing
from videothinker.study import run as studies
from videothinker.world import make
studies.VT = (sys.executable, sys.argv[1])
drawing._save = sketches.sketch
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
else:
    sys.exit()
for number, place in enumerate((os.devnull, order["stdout"], order["stderr"])):
    os.dup2(os.open(place, os.O_RDWR | os.O_CREAT), number)
seen, fsync = 0, os.fsync
def counted(handle):
    global seen
    seen += 1
    if seen != order["last"]:
        return fsync(handle)
    if order["fault"] == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if order["fault"] == "torn":
        os.truncate(f"/proc/self/fd/{handle}", os.fstat(handle).st_size // 2)  # the handle itself may be for reading alone
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = counted
sys.argv = ["vt", *order["arguments"]]
main()
"""
"""Forks a process for every command that it is told of, so that what all of them import is imported once."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def vt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs `vt` in a process in which the `last`-th file that is flushed to disk meets the fault; 0: none does."""
    stdout, stderr = (tmp_path_factory.mktemp("said") / name for name in ("stdout", "stderr"))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(STUB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        },
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def run(fault: str, last: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        order = {"fault": fault, "last": last, "arguments": [*map(str, arguments)]}
        for said in (stdout, stderr):
            said.write_text("")
        print(json.dumps({**order, "stdout": str(stdout), "stderr": str(stderr)}), file=server.stdin, flush=True)
        returncode = int(server.stdout.readline())
        return subprocess.CompletedProcess([], returncode, stdout.read_text(), stderr.read_text())

    with server:
        yield run
        server.stdin.close()


def result(folder: Path) -> dict[str, bytes]:
    """All files by name, without those that tell time and machine, and without hidden ones."""
    told = ("run.json", "world.json", "manifest.json", "report.html", "report.md")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in told and not path.name.startswith(".")
    }


TIMES = {"provenance", "sessions", "seconds", "seconds_per_step", "peak_bytes", "minutes", "waiting", "out"}
"""Fields that tell time and machine."""


def timeless(value: Any) -> Any:
    """A JSON value without the fields that tell time and machine."""
    if isinstance(value, dict):
        return {name: timeless(part) for name, part in value.items() if name not in TIMES}
    return [timeless(part) for part in value] if isinstance(value, list) else value


def trained(folder: Path) -> dict[str, Any]:
    """What a training came to: weights and replies in bytes, its steps and run.json without times."""
    weights = {
        name: (folder / name).read_bytes() for name in ("model.safetensors", "completions.parquet") if (folder / name).exists()
    }
    steps = [timeless(line) for line in store.read_jsonl(folder / "metrics.jsonl", dict[str, Any])]
    return {**weights, "steps": steps, "run": timeless(store.read_json(folder / "run.json", dict[str, Any]))}


def studied(folder: Path) -> dict[str, Any]:
    """The state and command of every cell, and the files that the cells wrote, by name."""
    records = {path.stem: store.read_json(path, dict[str, Any]) for path in (folder / "records").glob("*.json")}
    told = {name: [record[key] for key in ("state", "identity", "command")] for name, record in records.items()}
    cells = {name: content for name, content in result(folder).items() if name.startswith("cells/")}
    assert cells
    return {**told, **cells}


def everything(folder: Path) -> dict[str, Any]:
    """All files, also a report's pages; of a curated folder no pages, and of its manifest what does not tell time."""
    files: dict[str, Any] = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    if "manifest.json" in files:
        files["manifest.json"] = timeless(msgspec.json.decode(files["manifest.json"]))
        for name in ("report.html", "report.md", "tables/settings.csv", "tables/settings.tex"):
            del files[name]  # which tell when they were made
    return files


@pytest.fixture(scope="module")
def commands(vt: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The arguments of each command up to the folder that it writes."""
    here = tmp_path_factory.mktemp("data")
    dev, train = (
        [a_question(f"{first + scene}:{qid}", gold="A", observer="B", n_options=3) for scene in range(3) for qid in range(2)]
        for first in (0, 10)
    )
    for one in train:
        write_clip(here / "curated" / "videos" / one.question.clip.path, 56, 84, 5 * one.scene_index)
    curated = write_curated(here / "curated", {"train": train, "dev": dev}, videos_root="videos")
    asked = ["--model", "solver:gold", "--model", "solver:random", "--no-report", "--out"]
    release = release_factory.write_release(
        here / "release", [{"scene_index": i, "questions": [release_factory.question()]} for i in range(3)]
    )
    found = {
        "world": ["world", "make", "--scenes", "3", "--no-videos", "--seed", "5"],
        "diagnose": ["diagnose", "--data", str(curated.folder), "--split", "dev", *asked],
        "several": [
            *("diagnose", "--data", str(curated.folder), "--data", f"again={curated.folder}"),
            *("--split", "dev", "--split", "again=train", *asked),
        ],
        "curate": [
            *("curate", "clevrer", "--annotations", str(release / "annotation_train")),
            *("--questions", str(release / "train.json"), "--out"),
        ],
        "report": ["report", str(here / "runs" / "gold"), str(here / "runs" / "random"), "--out"],
        "study": ["study", str(write_study(here / "study", STUDY)), "--gpus", "", "--no-report", "--out"],
        "train": [
            *("train", "grpo", "--config", str(here / "grpo.toml"), "--data", str(curated.folder)),
            *("--model", str(here / "start"), "--set", "optimizer.steps=4", "--set", "saving.save_every=1", "--out"),
        ],
        "pretrain": [
            *("pretrain", "--config", str(here / "small.toml"), "--set", "optimizer.steps=2"),
            *("--set", "lessons.backlog=16", "--set", "world.n_unseen=2", "--out"),
        ],
    }
    asked_once = vt("none", 0, *found["diagnose"], here / "runs")
    assert asked_once.returncode == 0, asked_once.stderr
    tiny.build(here / "start", seed=0)
    (here / "small.toml").write_text(SMALL)
    lines = ['stage = "grpo"']
    for section, values in TINY.items():
        lines += [f"[{section}]", *(f"{name} = {msgspec.json.encode(value).decode()}" for name, value in values.items())]
    (here / "grpo.toml").write_text("\n".join(lines))
    return found


STUDY = FILE.replace("seeds = [1, 2, 3, 4]", "seeds = [1, 2]").split("[ask.sampled]")[0]
"""Without a second way of asking, and without claims: 26 cells."""


@pytest.mark.parametrize(
    ("command", "faults", "read"),
    [
        ("world", ("torn", "kill", "full"), result),
        ("diagnose", ("torn", "kill", "full"), result),
        ("several", ("torn", "kill"), result),
        ("curate", ("torn", "full"), everything),
        ("report", ("torn", "full"), everything),
        ("study", ("torn",), studied),
    ],
)
def test_a_command_that_was_killed_while_saving_comes_to_the_same_bytes(
    vt: Run,
    commands: dict[str, list[str]],
    tmp_path: Path,
    command: str,
    faults: tuple[str, ...],
    read: Callable[[Path], dict[str, Any]],
) -> None:
    arguments = commands[command]
    whole = vt("none", 0, *arguments, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    expected = read(tmp_path / "whole")
    assert expected
    draw = random.Random(13)
    for number, fault in enumerate(faults):
        out = tmp_path / f"out{number}"
        ended = vt(fault, draw.randint(2, 5), *arguments, out)
        if fault == "full":
            assert ended.returncode == 2
            assert ended.stderr.strip().splitlines()[-1].startswith("error: ")
            assert "No space left on device" in ended.stderr
            assert "Traceback" not in ended.stderr
        else:
            assert ended.returncode == -signal.SIGKILL
        wait_for_cells(out)
        again = vt("none", 0, *arguments, out)
        assert again.returncode == 0, again.stderr
        assert {name: value for name, value in read(out).items() if not name.rpartition("/")[2].startswith(".")} == expected


def wait_for_cells(out: Path) -> None:
    """A cell of a killed study lives on, and holds the folder until it has ended."""
    while True:
        with suppress(VtError), locks.alone(out):
            return


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the child, so that sums are made in the same order."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    torch.set_num_threads(1)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("train", (18, 30)),  # files of the checkpoint of step 2 and its mark
        ("pretrain", (10, 12)),  # files of the last checkpoint, behind the state to resume from
    ],
)
def test_a_training_that_was_killed_while_saving_comes_to_the_same_weights(
    vt: Run, commands: dict[str, list[str]], tmp_path: Path, command: str, place: tuple[int, int]
) -> None:
    arguments = commands[command]
    assert vt_command.vt(*arguments, tmp_path / "whole") == 0
    ended = vt("torn", random.Random(13).randint(*place), *arguments, tmp_path / "out")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not store.read_json(tmp_path / "out" / "run.json", dict[str, Any])["finished"]
    assert vt_command.vt(*arguments, tmp_path / "out") == 0
    assert trained(tmp_path / "out") == trained(tmp_path / "whole")


@pytest.mark.parametrize("command", ["world", "diagnose", "curate", "report", "study", "train", "pretrain"])
def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(
    commands: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """Nothing stops root from writing, so that Python's ways to make a file or a folder refuse by themselves."""
    out = tmp_path / "out"
    out.mkdir()

    def refusing(made: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **named: Any) -> Any:
            if isinstance(path, str | os.PathLike) and Path(path).is_relative_to(out) and writes(*rest, **named):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(path))
            return made(path, *rest, **named)

        return call

    def is_for_writing(mode: str = "r", *_: Any, **__: Any) -> bool:
        return not set(mode).isdisjoint("wax+")

    monkeypatch.setattr(studies, "VT", (sys.executable, str(STUB)))
    capsys.readouterr()
    with monkeypatch.context() as disk:
        disk.setattr(os, "open", refusing(os.open, lambda flags, *_, **__: flags & (os.O_WRONLY | os.O_RDWR) != 0))
        disk.setattr(os, "mkdir", refusing(os.mkdir, lambda *_, **__: True))
        opens = refusing(io.open, is_for_writing)
        disk.setattr(io, "open", opens)
        disk.setattr(builtins, "open", opens)
        code = vt_command.vt(*commands[command], out)
    assert code == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    *_, line = told.strip().splitlines()  # behind lines of progress
    assert line.startswith("error: ")
    assert told.count("error: ") == 1
    assert "Read-only file system" in line
    assert list(out.iterdir()) == []


def test_a_second_writer_is_told_so_in_one_line_and_changes_nothing(
    vt: Run, commands: dict[str, list[str]], tmp_path: Path
) -> None:
    for command, folder in {"world": tmp_path / "world", "diagnose": tmp_path / "runs" / "gold"}.items():
        out = folder if command == "world" else folder.parent
        with locks.alone(folder):
            before = sorted(tmp_path.rglob("*"))
            second = vt("none", 0, *commands[command], out)
            assert second.returncode == 2
            *_, line = second.stderr.strip().splitlines()  # behind lines of progress
            assert "another process is writing there" in line
            assert sorted(tmp_path.rglob("*")) == before
        assert not folder.exists()


def test_a_killed_holder_locks_nobody_out(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from videothinker import locks
locks.take(Path({str(tmp_path)!r}))
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert (tmp_path / locks.FILE).exists()
    with locks.alone(tmp_path):
        assert locks.holds(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_claim_gives_up_the_lock_and_keeps_one_that_was_held(tmp_path: Path) -> None:
    store.write_json(tmp_path / "run.json", {"seed": 1})
    for held in (False, True):
        if held:
            locks.take(tmp_path)
        with pytest.raises(VtError, match="seed was 1, is 2"):
            store.claim(tmp_path, "run.json", {"seed": 2}, what="a run", advice="choose another")
        assert locks.holds(tmp_path) is held
    locks.release(tmp_path)


def test_a_line_that_did_not_fit_is_cut_off_again(tmp_path: Path) -> None:
    """The limit on file sizes stands in for a full disk: 64 bytes, of which two lines take 44."""
    code = f"""
import resource, signal
from pathlib import Path
from videothinker import store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
with store.JsonlAppender(Path({str(tmp_path / "lines.jsonl")!r})) as file:
    for i in range(3):
        try:
            file.append({{"text": "0123456789"}})
        except OSError as error:
            print(i, error.filename)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == f"2 {tmp_path / 'lines.jsonl'}\n"
    assert (tmp_path / "lines.jsonl").read_bytes() == b'{"text":"0123456789"}\n' * 2


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("hello")
    (folder / "model-00001-of-00002.safetensors").write_bytes(bytes(3 * 2**20))
    (folder / "model-00002-of-00002.safetensors").write_bytes(bytes(10))
    return folder


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("model-00001-of-00002.safetensors", 3 * 2**19),  # the middle, further than a mebibyte from either end
        ("model-00002-of-00002.safetensors", 3),
        ("tokenizer.json", 0),
        ("chat_template.jinja", 0),
    ],
)
def test_one_changed_byte_anywhere_makes_another_checkpoint(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: int
) -> None:
    """Also where size and time of the last change are as before, and the hash is kept in the cache."""
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prints, "_SETTLED_NS", -(10**12))  # as if the files were old: keep their hashes
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    store.write_json(adapter / "adapter_config.json", {"base_model_name_or_path": str(checkpoint)})
    before = [prints.fingerprint(folder) for folder in (checkpoint, adapter)]
    assert [prints.fingerprint(folder) for folder in (checkpoint, adapter)] == before
    assert len(list((tmp_path / "cache" / "hashes").iterdir())) == 6
    stat = (checkpoint / name).stat()
    with (checkpoint / name).open("r+b") as file:
        file.seek(place)
        file.write(b"x")
    os.utime(checkpoint / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = [prints.fingerprint(folder) for folder in (checkpoint, adapter)]
    assert after[0] != before[0]
    assert after[1] != before[1]  # an adapter's base is a part of it
