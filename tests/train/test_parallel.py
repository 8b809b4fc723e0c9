"""Two processes (gloo, on CPU) do what one does: same roll-outs, same weights, and the same named bias model scores in both."""

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


def run(n_processes: int, assets: Path, out: Path, *overrides: str) -> dict[str, Any]:
    out.mkdir()
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n_processes}"] if n_processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [sys.executable, *launch, str(WORKER), str(assets), str(out), *overrides],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = torch.load(out / "end.pt")
    return found


def run_on_two_machines(assets: Path, out: Path, config: Path, *overrides: str) -> dict[str, Any]:
    """Two launchers that find each other by address, as on two machines, each with one process, sharded as `config` says."""
    out.mkdir()
    held = yaml.safe_load(config.read_text())
    sharding = {name.upper().replace("_LAYER_CLS_", "_CLS_"): str(value) for name, value in held["fsdp_config"].items()}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    environment |= {"ACCELERATE_USE_FSDP": "true", **sharding}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={port}"]
    launched = []
    for rank in (0, 1):
        launch = [sys.executable, "-m", "torch.distributed.run", *place, f"--node_rank={rank}"]
        command = [*launch, str(WORKER), str(assets), str(out), *overrides]
        launched.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    try:
        said = [each.communicate(timeout=300)[0] for each in launched]
    finally:
        for each in launched:
            each.kill()
    assert [each.returncode for each in launched] == [0, 0], said[0][-3000:] + said[1][-3000:]
    found: dict[str, Any] = torch.load(out / "end.pt")
    return found


ITSELF = ("objective.reference=self", "objective.reference_clip=shuffled")


@pytest.mark.parametrize("overrides", [(), ("objective.kl=exact", "objective.gradient_share=0.2"), ITSELF])
def test_two_processes_equal_one_on_the_same_roll_outs(assets: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    one, two = (run(n, assets, tmp_path / str(n), *overrides) for n in (1, 2))
    assert (one["world"], two["world"]) == (1, 2)
    for ours, theirs in zip(one["log"], two["log"], strict=True):
        assert ours["kl"] > 0
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-7)
        if "objective.gradient_share=0.2" in overrides:
            assert ours["repulsion_gradient_ratio"] == pytest.approx(0.2, rel=1e-6)
    start = torch.cat([value.flatten() for value in one["weights"].values()])
    end = torch.cat([value.flatten() for value in two["weights"].values()])
    assert (start - end).abs().max() < 1e-6


@pytest.mark.parametrize("overrides", [(), ITSELF], ids=["bias", "self"])
def test_two_machines_with_sharded_weights_equal_one_process(assets: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    """FSDP 2 as configs/accelerate/fsdp-nodes.yaml has it, on CPUs; bfloat16 aside, which a CPU's numbers would drown in."""
    plain = ("rollouts.engine=transformers", *overrides)
    one = run(1, assets, tmp_path / "one", *plain)
    two = run_on_two_machines(assets, tmp_path / "two", CONFIGS / "accelerate" / "fsdp-nodes.yaml", *plain)
    assert (one["world"], two["world"], one["sharded"], two["sharded"]) == (1, 2, False, True)
    for ours, theirs in zip(one["log"], two["log"], strict=True):
        assert theirs["kl"] > 0
        assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=1e-4, abs=1e-7)
    assert one["weights"].keys() == two["weights"].keys()
    for name, value in one["weights"].items():
        assert (value - two["weights"][name]).abs().max() < 1e-6, name
