"""How benchmarks call `vt`, one command or several side by side."""

import os
import subprocess
import sys
from pathlib import Path

from videothinker.pool import share_of_cores

ROOT = Path(__file__).parents[1]


def vt(*arguments: object, at_once: int = 1) -> None:
    """Run a command of this checkout's `vt`. Its errors are shown as they come; one that fails ends the measurement.

    at_once: commands that run side by side, this one among them; each has its share of the cores.
    """
    command = [sys.executable, "-m", "videothinker", *map(str, arguments)]
    print("vt", *command[3:], flush=True)
    told = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=told | share_of_cores(at_once))
