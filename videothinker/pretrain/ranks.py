"""The processes of one pretraining, as `torchrun` or `accelerate launch` start them; usually there is one."""

import os
from typing import Any, NamedTuple

import torch
from torch import distributed


class Ranks(NamedTuple):
    """This process and how many there are."""

    rank: int
    size: int
    device: str
    """Where this process computes."""

    @classmethod
    def join(cls) -> "Ranks":
        """Meet the others that the environment names: RANK, WORLD_SIZE, LOCAL_RANK."""
        rank, size, local = (int(os.environ.get(name, default)) for name, default in zip(_NAMES, _ALONE, strict=True))
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(local)
        device = f"cuda:{local}" if on_gpu else "cpu"
        if size > 1 and not distributed.is_initialized():
            if on_gpu:
                distributed.init_process_group("nccl", device_id=torch.device(device))
            else:
                distributed.init_process_group("gloo")
        return cls(rank, size, device)

    @property
    def is_main(self) -> bool:
        """Does this process write?"""
        return self.rank == 0

    def add(self, values: torch.Tensor) -> None:
        """Sum over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)

    def wait(self) -> None:
        """For all."""
        if self.size > 1:
            distributed.barrier()

    def gather(self, mine: Any) -> list[Any]:
        """Every process's object, in order, on all."""
        if self.size == 1:
            return [mine]
        found = [None] * self.size
        distributed.all_gather_object(found, mine)
        return found

    def agree(self, *values: float) -> list[float]:
        """The first process's values: clocks differ."""
        shared = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            shared = shared.to(self.device)
            distributed.broadcast(shared, 0)
        found: list[float] = shared.tolist()
        return found

    def leave(self) -> None:
        """End the group, once all have come here: left to the end of Python, its threads now and then abort it."""
        if self.size > 1:
            distributed.barrier()
            distributed.destroy_process_group()


_NAMES, _ALONE = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("0", "1", "0")
