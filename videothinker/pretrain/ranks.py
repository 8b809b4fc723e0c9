"""The processes of one pretraining, as `torchrun` or `accelerate launch` start them. Usually there is one."""

import os
from typing import Any, NamedTuple

import torch
from torch import distributed


class Ranks(NamedTuple):
    """Which process this is, and how many there are."""

    rank: int
    size: int
    device: str
    """Where this process computes: "cpu" or "cuda:N"."""

    @classmethod
    def join(cls) -> "Ranks":
        """Meet the other processes, as told by the environment: RANK, WORLD_SIZE and LOCAL_RANK. Without them it is alone."""
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
        """Whether this is the process that writes files."""
        return self.rank == 0

    def add(self, values: torch.Tensor) -> None:
        """Sum values over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)

    def wait(self) -> None:
        """Block until every process arrives."""
        if self.size > 1:
            distributed.barrier()

    def gather(self, mine: Any) -> list[Any]:
        """The objects of all processes, in their order; every process gets them."""
        if self.size == 1:
            return [mine]
        found = [None] * self.size
        distributed.all_gather_object(found, mine)
        return found

    def agree(self, *values: float) -> list[float]:
        """The first process's values, for all to use, since clocks differ."""
        shared = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            shared = shared.to(self.device)
            distributed.broadcast(shared, 0)
        found: list[float] = shared.tolist()
        return found

    def leave(self) -> None:
        """End the group once every process arrives. Left to Python's exit, the group's threads sometimes abort the process."""
        if self.size > 1:
            distributed.barrier()
            distributed.destroy_process_group()


_NAMES, _ALONE = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("0", "1", "0")
