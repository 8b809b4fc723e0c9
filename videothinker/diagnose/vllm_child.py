"""vLLM in this process, or in an environment of its own as a child process.

The child is `vllm_worker` as a script. It gets jobs as lines of JSON and frames as .npy files in a folder that is gone when it
is; it ends when this process does, however that ends.
"""

import json
import os
import re
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from videothinker.diagnose import vllm_worker
from videothinker.diagnose.vllm_worker import Job, Written
from videothinker.errors import VtError, install_hint

PYTHON = "VT_VLLM_PYTHON"
"""Environment variable: the Python of an environment that has vLLM."""
_TAIL = 300
"""Characters of the child's last words in an error."""
_ERROR = re.compile(r"(\[rank\d+\]: )?[\w.]*(Error|Exception)\b")
"""How a line of a traceback begins that names the error."""


def use(python: Path) -> None:
    """Have `open_writer` look for vLLM in the environment of this Python."""
    os.environ[PYTHON] = str(python)


class Writer(Protocol):
    """What writes replies: `vllm_worker.Vllm`, or a child process that has one."""

    def describe(self) -> dict[str, Any]:
        """`versions`, `dtype`, `device` and `max_model_len`."""

    def reply(self, jobs: Sequence[Job]) -> list[Written]:
        """One reply per job, in order."""


def find_python() -> str | None:
    """The Python that has vLLM, by `VT_VLLM_PYTHON`; None for this one. Asked before anything is loaded.

    Raises:
        VtError: there is none.
    """
    python = os.environ.get(PYTHON)
    if python:
        if not Path(python).is_file():
            raise VtError(f"{PYTHON}={python}: no such file; expected the Python of an environment that has vLLM")
        return python
    if find_spec("vllm") is None:
        raise VtError(
            f"--engine vllm needs vLLM, which is not installed here: {install_hint('vllm')}; or say with"
            f" {PYTHON}=.../bin/python where an environment of its own has it"
        )
    return None


def open_writer(ref: str, options: dict[str, Any]) -> Writer:
    """The checkpoint in vLLM: in the environment that `VT_VLLM_PYTHON` names, else in this process.

    ref: what the user called it, for messages. options: those of `vllm_worker.Vllm`.

    Raises:
        VtError: there is no vLLM, or it cannot serve the checkpoint.
    """
    python = find_python()
    return _here(ref, options) if python is None else Child(ref, python, options)


def _here(ref: str, options: dict[str, Any]) -> Writer:
    try:
        return vllm_worker.Vllm(options)
    except (ImportError, OSError, RuntimeError, ValueError, TypeError) as error:
        words = " ".join(str(error).split())
        raise VtError(f"{ref}: vLLM cannot serve it here: {words or type(error).__name__}") from error


class Child:
    """A `Writer` in a process of its own.

    Raises on construction:
        VtError: that process ended before it had the checkpoint.
    """

    def __init__(self, ref: str, python: str, options: dict[str, Any]) -> None:
        self._ref, self._python = ref, python
        held = tempfile.TemporaryDirectory(prefix="videothinker-vllm-")
        self._folder = Path(held.name)
        self._n_files = 0
        with (self._folder / "stderr").open("wb") as said:
            self._process = subprocess.Popen(
                [python, "-u", str(Path(vllm_worker.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=self._folder,  # beside the script lie modules whose names would hide others
                env={**os.environ, "PYTHONPATH": "", "PYTHONSAFEPATH": "1", vllm_worker.FOLDER: held.name},
            )
        self.close = weakref.finalize(self, _end, self._process, held)
        """Ends the process and removes its files; happens by itself when nobody holds this any more."""
        model = options["model"]
        here = {**options, "model": str(Path(model).resolve()) if Path(model).is_dir() else model}
        self._told = cast(dict[str, Any], self._ask(here, "did not load it"))

    def describe(self) -> dict[str, Any]:
        """What the child said of itself when it had the checkpoint."""
        return self._told

    def reply(self, jobs: Sequence[Job]) -> list[Written]:
        """One reply per job.

        Raises:
            VtError: the process ended.
        """
        files: dict[int, Path] = {}  # one a clip or image, which is the same array in all of its jobs
        for pixels in (job[name] for job in jobs for name in vllm_worker.PIXELS if name in job):
            if id(pixels) not in files:
                self._n_files += 1
                files[id(pixels)] = self._folder / f"{self._n_files}.npy"
                np.save(files[id(pixels)], pixels)
        asked = [{**job, **{name: str(files[id(job[name])]) for name in vllm_worker.PIXELS if name in job}} for job in jobs]
        try:
            return cast(list[Written], self._ask({"jobs": asked}, "ended while it wrote replies"))
        finally:
            for path in files.values():
                path.unlink(missing_ok=True)

    def _ask(self, value: Any, what: str) -> Any:
        """Send one line and wait for one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = b""
        try:
            self._process.stdin.write(json.dumps(value).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        if not line:
            code = self._process.wait()
            words = _last_words((self._folder / "stderr").read_text(errors="replace"))
            raise VtError(f"{self._ref}: vLLM in {self._python} {what} (exit code {code}): {words}")
        return json.loads(line)


def _last_words(text: str) -> str:
    """The last error that is named, else the last line that says something, shortened."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    errors = [i for i, line in enumerate(lines) if _ERROR.match(line)]
    if errors:
        return " ".join(lines[errors[-1] : errors[-1] + 3])[:_TAIL]
    return lines[-1][:_TAIL] if lines else "it said nothing"


def _end(process: "subprocess.Popen[bytes]", held: "tempfile.TemporaryDirectory[str]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:  # what was not sent any more
                continue
    held.cleanup()
