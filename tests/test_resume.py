"""Killed, refused, raced: what commands leave behind, and what the same command makes of it.

Each command runs as a process of its own that is killed (SIGKILL) while its n-th file is saved, or that finds the disk full
there. Run again it must come to the bytes of a run that nobody disturbed.
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from curated_factory import a_question, write_curated

from videothinker import fingerprint as prints
from videothinker import locks, store
from videothinker.errors import VtError

CHILD = """
import errno, os, signal, sys
from videothinker.cli import main
fault, last, arguments = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
seen, fsync = 0, os.fsync
def counted(handle):
    global seen
    seen += 1
    if seen != last:
        return fsync(handle)
    if fault == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if fault == "torn":
        os.ftruncate(handle, os.fstat(handle).st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = counted
sys.argv = ["vt", *arguments]
main()
"""


def vt(fault: str, last: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `vt` in a process in which the `last`-th file that is flushed to disk meets the fault; 0: none does."""
    return subprocess.run(
        [sys.executable, "-c", CHILD, fault, str(last), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def result(folder: Path) -> dict[str, bytes]:
    """All files by name, without those that tell time and machine, and without hidden ones."""
    told = ("run.json", "world.json", "manifest.json", "report.html", "report.md")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in told and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    here = tmp_path_factory.mktemp("data")
    questions = [a_question(f"{scene}:{qid}", gold="A", observer="B", n_options=3) for scene in range(3) for qid in range(2)]
    curated = write_curated(here / "curated", {"dev": questions})
    asked = ["--model", "solver:gold", "--model", "solver:random", "--no-report", "--out"]
    return {
        "world": ["world", "make", "--scenes", "3", "--no-videos", "--seed", "5"],
        "diagnose": ["diagnose", "--data", str(curated.folder), "--split", "dev", *asked],
    }


@pytest.mark.parametrize("command", ["world", "diagnose"])
def test_a_command_that_was_killed_while_saving_comes_to_the_same_bytes(
    commands: dict[str, list[str]], tmp_path: Path, command: str
) -> None:
    arguments = commands[command]
    whole = vt("none", 0, *arguments, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    expected = result(tmp_path / "whole")
    assert expected
    draw = random.Random(13)
    for number, fault in enumerate(("torn", "kill", "full")):
        out = tmp_path / f"out{number}"
        ended = vt(fault, draw.randint(2, 5), *arguments, out)
        if fault == "full":
            assert ended.returncode == 2
            assert ended.stderr.strip().splitlines()[-1].startswith("error: ")
            assert "No space left on device" in ended.stderr
            assert "Traceback" not in ended.stderr
        else:
            assert ended.returncode == -signal.SIGKILL
        again = vt("none", 0, *arguments, out)
        assert again.returncode == 0, again.stderr
        assert result(out) == expected


def test_a_second_writer_is_told_so_in_one_line_and_changes_nothing(commands: dict[str, list[str]], tmp_path: Path) -> None:
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
