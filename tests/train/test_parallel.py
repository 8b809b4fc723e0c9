"""Two processes (gloo, on CPU) do what one does: same roll-outs, same weights, and the same named bias model scores in both.

Each way to launch is launched once for all its cases: a process imports longer than it trains.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

WORKER = Path(__file__).parent / "two_processes.py"
CONFIGS = Path(__file__).parents[2] / "configs"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}

Found = dict[str, dict[str, Any]]
"""What each case came to, by its name."""

ITSELF = ("objective.reference=self", "objective.reference_clip=shuffled")
SHARED = ("objective.kl=exact", "objective.gradient_share=0.2")
PROCESSES: dict[str, tuple[str, ...]] = {"bias": (), "share": SHARED, "self": ITSELF}
"""Settings of the cases that are compared in two processes."""

PLAIN = ("rollouts.engine=transformers",)
MACHINES: dict[str, tuple[str, ...]] = {"plain-bias": PLAIN, "plain-self": (*PLAIN, *ITSELF)}
"""Settings of those that are compared on two machines."""


def worker(assets: Path, out: Path, cases: dict[str, tuple[str, ...]]) -> list[str]:
    """The arguments of Python for all cases, whose folders are made."""
    for name in cases:
        (out / name).mkdir()
    return [str(WORKER), str(assets), str(out), json.dumps(cases)]


def ends(out: Path, cases: dict[str, tuple[str, ...]]) -> Found:
    return {name: torch.load(out / name / "end.pt") for name in cases}


def run(n_processes: int, assets: Path, out: Path, cases: dict[str, tuple[str, ...]]) -> Found:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_processes}"] if n_processes > 1 else []
    done = subprocess.run(
        [sys.executable, *launch, *worker(assets, out, cases)],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return ends(out, cases)


def run_on_two_machines(assets: Path, out: Path, config: Path, cases: dict[str, tuple[str, ...]]) -> Found:
    """Two launchers that find each other by address, as on two machines, each with one process, sharded as `config` says."""
    held = yaml.safe_load(config.read_text())
    sharding = {name.upper().replace("_LAYER_CLS_", "_CLS_"): str(value) for name, value in held["fsdp_config"].items()}
    environment = {**os.environ, **ENVIRONMENT, "ACCELERATE_USE_FSDP": "true", **sharding}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={port}"]
    arguments = worker(assets, out, cases)
    launched = []
    for rank in (0, 1):
        command = [sys.executable, "-m", "torch.distributed.run", *place, f"--node_rank={rank}", *arguments]
        launched.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    try:
        said = [each.communicate(timeout=300)[0] for each in launched]
    finally:
        for each in launched:
            each.kill()
    assert [each.returncode for each in launched] == [0, 0], said[0][-3000:] + said[1][-3000:]
    return ends(out, cases)


@pytest.fixture(scope="module")
def one(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Every case in one process."""
    return run(1, assets, tmp_path_factory.mktemp("one"), PROCESSES | MACHINES)


@pytest.fixture(scope="module")
def two(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Those of PROCESSES in two."""
    return run(2, assets, tmp_path_factory.mktemp("two"), PROCESSES)


@pytest.fixture(scope="module")
def machines(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Those of MACHINES on two machines, their weights sharded."""
    sharded = CONFIGS / "accelerate" / "fsdp-nodes.yaml"
    return run_on_two_machines(assets, tmp_path_factory.mktemp("machines"), sharded, MACHINES)


@pytest.mark.parametrize("case", PROCESSES)
def test_two_processes_equal_one_on_the_same_roll_outs(one: Found, two: Found, case: str) -> None:
    alone, both = one[case], two[case]
    assert (alone["world"], both["world"]) == (1, 2)
    for ours, theirs in zip(alone["log"], both["log"], strict=True):
        assert ours["kl"] > 0
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-7)
        if "objective.gradient_share=0.2" in PROCESSES[case]:
            assert ours["repulsion_gradient_ratio"] == pytest.approx(0.2, rel=1e-6)
    start = torch.cat([value.flatten() for value in alone["weights"].values()])
    end = torch.cat([value.flatten() for value in both["weights"].values()])
    assert (start - end).abs().max() < 1e-6


@pytest.mark.parametrize("case", MACHINES)
def test_two_machines_with_sharded_weights_equal_one_process(one: Found, machines: Found, case: str) -> None:
    """FSDP 2 as configs/accelerate/fsdp-nodes.yaml has it, on CPUs; bfloat16 aside, which a CPU's numbers would drown in."""
    alone, sharded = one[case], machines[case]
    assert (alone["world"], sharded["world"], alone["sharded"], sharded["sharded"]) == (1, 2, False, True)
    for ours, theirs in zip(alone["log"], sharded["log"], strict=True):
        assert theirs["kl"] > 0
        assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=1e-4, abs=1e-7)
    assert alone["weights"].keys() == sharded["weights"].keys()
    for name, value in alone["weights"].items():
        assert (value - sharded["weights"][name]).abs().max() < 1e-6, name
