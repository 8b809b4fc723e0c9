"""A step in two processes is the step of one; recorded as graphs it is the step unrecorded."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from pretrain.small import SMALL

from videothinker import store
from videothinker.pretrain import fresh
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.record import CurvePoint
from videothinker.pretrain.settings import PretrainConfig, load_pretraining
from videothinker.pretrain.step import Inputs
from videothinker.pretrain.trainer import Trainer
from videothinker.records.training import METRICS, RUN

FIRST_STEP = """
import sys, torch
from pathlib import Path
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.settings import load_pretraining
from videothinker.pretrain.trainer import Trainer
ranks = Ranks.join()
config = load_pretraining(Path(sys.argv[1]))
trainer = Trainer(config, Path(sys.argv[2]), None, ranks)
inputs = torch.load(sys.argv[3], weights_only=False)
n = len(inputs.sequences.ids) // ranks.size
mine = slice(ranks.rank * n, ranks.rank * n + n)
place = torch.div(inputs.sequences.before, inputs.sequences.ids.shape[1], rounding_mode="floor")
counts = (inputs.sequences.targets >= 0) & (place >= mine.start) & (place < mine.stop)
room = trainer.stepper._sequences.before.numel()
before, targets = torch.zeros(room).long(), torch.full((room,), -100)
k = int(counts.sum())
before[:k] = inputs.sequences.before[counts] - mine.start * inputs.sequences.ids.shape[1]
targets[:k] = inputs.sequences.targets[counts]
sequences = inputs.sequences._replace(
    ids=inputs.sequences.ids[mine],
    lesson=inputs.sequences.lesson[mine],
    positions=inputs.sequences.positions[:, mine],
    before=before,
    targets=targets,
)
trainer.stepper.take(inputs._replace(sequences=sequences, clip=inputs.clip[mine]), 1e-3)
found = (trainer.stepper.gradients(), trainer.model.state_dict(), trainer.stepper.means(1))
torch.save(found, f"{sys.argv[4]}-{ranks.rank}.pt")
ranks.leave()
"""


def settings(folder: Path, text: str = SMALL) -> Path:
    file = folder / "small.toml"
    file.write_text(text.replace("rows = 4", "rows = 4\nname = 'adamw'"))
    return file


def together(n: int, *command: str) -> None:
    """Run a command as `n` processes of one group; one process needs no launcher."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)] if n > 1 else []
    launch = [sys.executable, *launcher, *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(launch, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def inputs_of(config: PretrainConfig, out: Path) -> Inputs:
    """The inputs of the first step of a single process."""
    trainer = Trainer(config, out, None, Ranks(0, 1, "cpu"))
    batches = trainer.batches()
    inputs: Inputs = next(batches)
    batches.close()
    return inputs


def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    """The same sequences, half of them each: equal gradients, weights and statistics, though halves differ in their tokens."""
    file = settings(tmp_path)
    config = load_pretraining(file)
    out = tmp_path / "run"
    fresh.build(out, config)
    script = tmp_path / "step.py"
    script.write_text(FIRST_STEP)
    torch.save(inputs_of(config, out), tmp_path / "inputs.pt")
    found = []
    for n in (1, 2):
        together(n, str(script), str(file), str(out), str(tmp_path / "inputs.pt"), str(tmp_path / f"of{n}"))
        found += [torch.load(tmp_path / f"of{n}-{rank}.pt", weights_only=False) for rank in range(n)]
    (alone, weights, stats), *both = found
    assert stats.grad_norm > 0
    for gradients, others, told in both:
        torch.testing.assert_close(gradients, alone, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(tuple(told), tuple(stats), rtol=1e-4, atol=1e-6)
        assert all(torch.equal(both[0][1][name], weight) for name, weight in others.items())
    assert weights.keys() == both[0][1].keys()


def test_two_processes_train_resume_and_count_together(tmp_path: Path) -> None:
    file = settings(tmp_path)
    command = ["-m", "videothinker", "train", "sft", "--config", str(file), "--out", str(tmp_path / "run")]
    together(2, *command, "--set", "optimizer.steps=6", "--max-minutes", "1e-9")
    assert not store.read_json(tmp_path / "run" / RUN, dict)["finished"]
    together(2, *command, "--set", "optimizer.steps=6")
    rows = store.read_jsonl(tmp_path / "run" / METRICS, CurvePoint)
    assert [row.step for row in rows] == [2, 4, 6]
    assert rows[-1].loss < rows[0].loss
    assert rows[-1].unseen is not None
    assert rows[-1].unseen.n_questions == 4  # two scenes each
    assert rows[-1].scenes == 2 * 16  # eight steps of two sequences each from their first sixteen clips
    assert 6 * 4 <= rows[-1].questions <= 6 * 4 * 2
    record = store.read_json(tmp_path / "run" / RUN, dict)
    assert record["finished"]
    assert record["result"]["processes"] == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="graphs are a GPU's")
@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_recorded_step_is_the_step(tmp_path: Path, name: str) -> None:
    config = load_pretraining(
        settings(tmp_path, SMALL.replace('size = "test"', 'size = "small"').replace("length = 448", "length = 512"))
    )
    config = msgspec.structs.replace(config, optimizer=msgspec.structs.replace(config.optimizer, name=name))
    out = tmp_path / "run"
    fresh.build(out, config)
    found = []
    for graph in (False, True):
        torch.compiler.reset()
        compute = msgspec.structs.replace(config.compute, graph=graph)
        trainer = Trainer(msgspec.structs.replace(config, compute=compute), out, None, Ranks(0, 1, "cuda:0"))
        batches = trainer.batches()
        losses = []
        for _ in range(4):
            trainer.stepper.take(next(batches), 1e-3)
            losses.append(trainer.stepper.means(1))
        assert bool(trainer.stepper._graphs) is graph
        batches.close()
        found.append((losses, [p.detach().clone() for p in trainer.model.parameters()]))
    (plain, plain_weights), (recorded, weights) = found
    for a, b in zip(plain, recorded, strict=True):
        assert tuple(a) == pytest.approx(tuple(b), rel=0.05)
    for p, q in zip(plain_weights, weights, strict=True):
        assert (p - q).norm() <= 0.1 * (p.norm() + 1e-3)
    assert plain[-1].loss < plain[0].loss
