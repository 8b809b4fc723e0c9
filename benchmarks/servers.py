"""A server that is started for a measurement or a test, and ended behind it. Tests import it too."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from videothinker.errors import VtError

_FEW = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1"}
"""Variables with which vLLM's server takes little memory on a CPU, where the environment does not say otherwise."""


@contextmanager
def started(command: Sequence[str], said: Path, patience_s: float) -> Iterator[str]:
    """The address of a server of this machine alone, once it answers.

    command: to which --host and --port are added. said: the file that it writes to. patience_s: how long it may take to answer.

    Raises:
        VtError: it ended by itself, or did not answer in time; with the last words that it wrote.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**_FEW, **os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    with said.open("wb") as out:
        process = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", port], env=env, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + patience_s
        while not _answers(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise VtError(f"{command[0]}: the server did not start: {said.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
