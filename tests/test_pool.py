"""Work in several processes: in order, no further ahead than needed, and gone when it is not wanted any more."""

import itertools
import multiprocessing
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from videothinker.pool import map_in_order


def square(n: int) -> int:
    time.sleep(0.02 if n % 3 == 0 else 0)  # so that results are ready out of order
    return n * n


def fail_at(bad: int, n: int) -> int:
    if n == bad:
        raise ValueError(f"job {n}")
    return n


def note(folder: Path, n: int) -> int:
    (folder / f"{n}.{os.getpid()}").touch()
    return n


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    assert list(map_in_order(square, range(20), workers)) == [n * n for n in range(20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_endless_list_of_jobs_is_read_as_it_is_needed(workers: int, tmp_path: Path) -> None:
    results = map_in_order(partial(note, tmp_path), itertools.count(), workers)
    assert list(itertools.islice(results, 5)) == [0, 1, 2, 3, 4]
    results.close()
    assert len(list(tmp_path.iterdir())) < 40
    assert not multiprocessing.active_children()


def test_an_error_of_a_job_is_raised_where_its_result_is_due() -> None:
    results = map_in_order(partial(fail_at, 3), range(100), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="job 3"):
        next(results)


def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(
        "import sys, time, os\n"
        "from pathlib import Path\n"
        "from videothinker.pool import map_in_order\n"
        "def work(n):\n"
        "    Path(sys.argv[1], str(os.getpid())).touch()\n"
        "    time.sleep(30)\n"
        "if __name__ == '__main__':\n"
        "    list(map_in_order(work, range(2), 2))\n"
    )
    seen = tmp_path / "pids"
    seen.mkdir()
    with subprocess.Popen([sys.executable, str(script), str(seen)]) as parent:
        while len(pids := [int(path.name) for path in seen.iterdir()]) < 2:
            time.sleep(0.05)
        parent.kill()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # a dead process that nobody has waited for is a zombie
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
