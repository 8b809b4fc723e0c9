"""This process among those that `accelerate launch` or torchrun started for one training; alone without them."""

import os


def is_main() -> bool:
    """Is this the process that writes and prints?"""
    return int(os.environ.get("RANK", "0")) == 0


def n_processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def peak_bytes() -> int:
    """Most memory ever allocated on this process's GPU; without a GPU the process's peak resident memory."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts it in KiB


def leave_the_others() -> None:
    """End the process group once every process has arrived: left to Python's end, its threads sometimes abort the process."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
