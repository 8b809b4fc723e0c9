"""A `vt` in a process group of its own that is stopped while it works, as Ctrl-C at a terminal or a cluster does it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def stop(
    arguments: Sequence[str | Path],
    number: signal.Signals,
    *,
    when: Callable[[], bool],
    program: Sequence[str] = (sys.executable, "-m", "videothinker"),
    environment: Mapping[str, str] | None = None,
    n_lines: int = 1,
) -> str:
    """Start the command, send it the signal once `when()` holds, and check that it has ended as promised.

    Ctrl-C goes to the whole process group, as from a terminal; SIGTERM to the process alone. n_lines: how many
    lines have to say how to go on. Returns its stderr.
    """
    process = subprocess.Popen(
        [*program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **(environment or {})},
    )
    deadline = time.monotonic() + 60
    while not when():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "never came so far"
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=20)  # one signal is enough; returns when the last process has closed its stderr
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    ends = [line for line in errors.splitlines() if "the same command" in line]
    assert len(ends) == n_lines, errors
    assert ends == errors.splitlines()[-1:] or not n_lines, errors
    for _ in range(100):
        if not group_is_alive(process.pid):
            return errors
        time.sleep(0.05)
    raise AssertionError(f"process group {process.pid} has members left")


def group_is_alive(group: int) -> bool:
    """Is any process of the group left?"""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
