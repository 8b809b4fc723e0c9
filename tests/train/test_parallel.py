"""Two processes (gloo, on CPU) do what one does: same roll-outs, same weights, and the same named bias model scores in both."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

WORKER = Path(__file__).parent / "two_processes.py"


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
