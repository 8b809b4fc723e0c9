"""Two CDPO steps on injected roll-outs for each of some cases, by as many processes as launch it (test_parallel).

The main process saves what each case came to. One launch does them all, since what a process imports takes longer than a case.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType

sys.path.insert(0, str(Path(__file__).parents[1]))

from train.trainers import make_trainer, stage

GRADIENTS = ("repulsion_gradient_ratio", "reward_grad_norm", "divergence_grad_norm")


def injected(prompt_ids: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
    """Replies that depend on a prompt's tokens and on how often it came before in the batch, of mixed lengths."""
    count: dict[tuple[int, ...], int] = {}
    replies = []
    for prompt in prompt_ids:
        turn = count[tuple(prompt)] = count.get(tuple(prompt), -1) + 1
        replies.append([100 + (7 * turn + 11 * i + sum(prompt)) % 200 for i in range(3 + 2 * turn)])
    return replies, None


def length(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [float(len(ids) % 5) for ids in completion_ids]


def allow_sharding_on_a_cpu() -> None:
    """Accelerate shards on accelerators alone, though PyTorch's FSDP 2 does so on a CPU: let it take processes for GPUs'."""
    begin = PartialState.__init__

    def begin_as_gpus(self: PartialState, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        if self.distributed_type is DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = begin_as_gpus


def version(trainer: Any) -> int:
    return int(trainer.accelerator.state.fsdp_plugin.fsdp_version)


def train(assets: Path, out: Path, *overrides: str) -> Any:
    """Two steps with a stage's settings; the main process saves weights and log as `out`/end.pt. Returns the trainer."""
    config = stage("cdpo", "rollouts.rows_per_forward=2", "optimizer.max_grad_norm=1e9", *overrides)
    trainer = make_trainer(assets, out / "run", config, reward_funcs=[length], save_strategy="no")
    trainer._generate_single_turn = injected
    optimizer = torch.optim.SGD(trainer.model.parameters(), lr=0.1)
    trainer.optimizer = optimizer
    trainer.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    trainer.create_optimizer = lambda *_args: optimizer
    trainer.train()
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # whole, also where each process holds a part
    if trainer.accelerator.is_main_process:
        log = [row for row in trainer.state.log_history if "kl" in row]
        names = ("kl", "reward", "frac_reward_zero_std", "grad_norm", "loss", "repulsion", *GRADIENTS)
        shown = [{name: row[name] for name in names if name in row} for row in log]
        kept = {name: value.cpu() for name, value in weights.items()}
        told = {"world": trainer.args.world_size, "sharded": trainer.is_fsdp_enabled and version(trainer) == 2}
        torch.save({"weights": kept, "log": shown, **told}, out / "end.pt")
    trainer.accelerator.wait_for_everyone()
    return trainer


def main(assets: Path, out: Path, cases: dict[str, list[str]]) -> None:
    """Train each case, settings by its name, into a folder of that name."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        allow_sharding_on_a_cpu()
    for name, overrides in cases.items():
        trainer = train(assets, out / name, *overrides)
    trainer.accelerator.end_training()  # else a thread of the process group may abort the process at its end


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
