"""Blocks of a Qwen2.5-VL's vision tower compiled by torch.compile, one by one, so that all of them share one compilation.

Sizes are left open: clips of other sizes, and more clips at once, need no second compilation. The first call takes some
seconds, which a small tower never earns back, so only large ones are compiled.
"""

import warnings
from functools import partial
from typing import Any

import torch

from videothinker.models import windows

_WORTH_COMPILING = 100_000_000
"""Fewest parameters in a tower's blocks for which they are compiled unasked. Qwen2.5-VL-3B's have 630 million."""

_VARIANTS = 32
"""Most compilations of a block: with and without gradients, adapters and autocast are different ones. PyTorch allows eight."""


def compile_blocks(tower: Any, *, always: bool = False, backend: Any = "inductor") -> bool:
    """Let the blocks of a Qwen2.5-VL's vision tower run compiled, wherever they attend by variable-length FlashAttention.

    Elsewhere (on a CPU, in float32, sharded by FSDP or DeepSpeed, with gradient checkpointing) they run as they are; so they do
    from then on if compiling fails, which is said once. Gradients flow, and PEFT may replace layers of the blocks.

    always: also a tower so small that compiling takes longer than it saves. backend: of torch.compile.
    Returns whether the blocks were changed.
    """
    if not always and sum(weight.numel() for weight in tower.blocks.parameters()) < _WORTH_COMPILING:
        return False
    runner = _Runner(backend)
    for block in tower.blocks:
        block.forward = partial(runner, block, type(block))
    return True


class _Runner:
    """Runs the blocks of one tower: compiled until that fails."""

    def __init__(self, backend: str) -> None:
        self._compiled = torch.compile(_forward, dynamic=True, backend=backend)
        self._failed = False
        config: Any = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, _VARIANTS)

    def __call__(
        self, block: Any, kind: Any, hidden_states: torch.Tensor, cu_seqlens: torch.Tensor, **others: Any
    ) -> torch.Tensor:
        if self._failed or not _can_compile(block, kind, hidden_states, cu_seqlens):
            return _forward(block, kind, hidden_states, cu_seqlens=cu_seqlens, **others)
        try:
            return self._compiled(block, kind, hidden_states, cu_seqlens=cu_seqlens, **others)
        except _failures() as error:
            self._failed = True
            reason = " ".join(str(error).split()[:40]) or type(error).__name__
            warnings.warn(f"the vision tower runs uncompiled, for torch.compile failed: {reason}", stacklevel=2)
        return _forward(block, kind, hidden_states, cu_seqlens=cu_seqlens, **others)


def _forward(block: Any, kind: Any, hidden_states: torch.Tensor, **others: Any) -> torch.Tensor:
    out: torch.Tensor = kind.forward(block, hidden_states, **others)
    return out


def _can_compile(block: Any, kind: Any, hidden_states: torch.Tensor, cu_seqlens: torch.Tensor) -> bool:
    """Whether the block attends in one call, whose borders lie beside it, and has its own weights here.

    FSDP changes a module's class, and ZeRO-3 marks its parameters. Checkpointing stands inside a block's forward. It is asked
    for every block of every pass, where the GPU may be waiting, so nothing is looked for among a module's parameters.
    """
    if block.training and getattr(block, "gradient_checkpointing", False):
        return False
    if block.attn.config._attn_implementation != windows.VARLEN or cu_seqlens.device != hidden_states.device:
        return False
    if type(block) is not kind or hasattr(block.norm1.weight, "ds_id"):
        return False
    device = hidden_states.device
    return windows.fits(device, windows.computed_in(hidden_states.dtype, device))


def _failures() -> tuple[type[BaseException], ...]:
    """What torch.compile raises where it cannot compile. Running out of memory is not among them."""
    import torch._inductor.exc

    return (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError)
