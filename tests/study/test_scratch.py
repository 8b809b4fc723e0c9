"""Folders that hold what is not in its place yet: what killed processes leave is removed, and nothing else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from videothinker.errors import VtError
from videothinker.study.scratch import scratch

CODE = """
import os, pathlib, signal, sys
from videothinker.study.scratch import scratch
with scratch(pathlib.Path(sys.argv[1]), "pack") as whole:
    (whole / "study-1.tar").write_bytes(b"x")
    print("at work", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_not_before(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        left = next(tmp_path.glob(".vt-pack-*"))
        with pytest.raises(VtError, match="another process is writing there"), scratch(tmp_path, "pack"):
            raise AssertionError
        assert (left / "study-1.tar").is_file()
        os.kill(process.pid, signal.SIGKILL)
    assert (left / "study-1.tar").is_file()
    with scratch(tmp_path, "pack") as ours:
        assert not left.exists()
        assert ours.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    kept = {".vt-pack-notes", ".vt-pack-abcdefgh9", ".vt-pack-ABCDEFGH", "vt-pack-abcdefgh", ".vt-restored-abcdefgh", ".git"}
    for name in kept:
        (tmp_path / "away" / name).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "thesis.txt").write_text("years of work")
    (tmp_path / "away" / ".vt-pack-linkedto").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "away" / ".vt-pack-afile123").write_text("a file")
    (tmp_path / "away" / ".vt-pack-ab_d3fgh").mkdir()
    with scratch(tmp_path / "away", "pack"):
        pass
    assert {path.name for path in (tmp_path / "away").iterdir()} == kept | {".vt-pack-linkedto", ".vt-pack-afile123"}
    assert (tmp_path / "elsewhere" / "thesis.txt").is_file()
