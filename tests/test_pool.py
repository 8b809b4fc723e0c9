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

from videothinker.pool import map_in_order, share_of_cores


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


def threads(_: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def test_processes_side_by_side_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(32))
    assert [share_of_cores(n).get("OMP_NUM_THREADS") for n in (1, 2, 6, 24, 100)] == [None, "16", "5", "1", "1"]
    assert set(map_in_order(threads, range(6), 2)) == {"16"}
    assert threads(0) is None  # this process goes on as it was


def test_a_share_of_the_cores_is_never_put_in_place_of_what_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert share_of_cores(24) == {}
    assert set(map_in_order(threads, range(6), 2)) == {"7"}
    assert threads(0) == "7"


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
