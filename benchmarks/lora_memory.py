"""What LoRA's loss keeps in memory, worked out from the sizes of all tensors of a step, without a GPU and without numbers.

    python benchmarks/lora_memory.py                                # Qwen2.5-VL-3B's language model, 8 rows of 1,840 tokens
    python benchmarks/lora_memory.py --layers 1 --rows 2            # some seconds

The step is forward and backward of the language model with gradient checkpointing and autocast, in PyTorch's fake tensors,
which have a size and a type and no memory. A variant, `peft`, has adapters take their inputs as PEFT does, the other, `ours`,
as training here does. Not counted: weights and optimizer, the vision tower, and what kernels need inside. The output layer goes
over the vocabulary in small tiles, as TRL's kernel on a GPU has no more than one at a time.
"""

import argparse
import tempfile
import weakref
from pathlib import Path
from typing import Any
from unittest import mock

import results
import shapes
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForImageTextToText
from trl.trainer.utils import add_fused_lm_head

from videothinker.models import tiny
from videothinker.models.norms import quicken_norms
from videothinker.train.lora import spare_input_copies
from videothinker.train.stages import Lora

VARIANTS = ("peft", "ours")
TILE = 3072
"""Tokens of the vocabulary at a time in the output layer."""


class Sizes(TorchDispatchMode):
    """Bytes of the tensors that were made inside and are still there: now, and the most so far."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._held: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self._hold(leaf.untyped_storage())
        return made

    def _hold(self, storage: Any) -> None:
        if storage._cdata not in self._held:
            self._held[storage._cdata] = storage.nbytes()
            weakref.finalize(storage, self._drop, storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)

    def _drop(self, which: int) -> None:
        self.now -= self._held.pop(which)


def policy(shape: str, layers: int | None) -> Any:
    """A LoRA policy of the shape, without memory: on the device "meta"."""
    with tempfile.TemporaryDirectory() as folder:
        config = AutoConfig.from_pretrained(tiny.build(Path(folder), size="test" if shape == shapes.LARGE else shape))
    if shape == shapes.LARGE:
        shapes.enlarged(config)
    if layers is not None:
        config.text_config.num_hidden_layers = layers
        config.text_config.layer_types = ["full_attention"] * layers
    config.vision_config.depth = 1  # it is not used
    settings = Lora()
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
        quicken_norms(model)
        add_fused_lm_head(model, outputs=("log_probs", "entropy"))
        adapters = LoraConfig(
            r=settings.rank, lora_alpha=settings.alpha, target_modules=settings.targets, task_type="CAUSAL_LM"
        )
        model = get_peft_model(model, adapters)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    return model


def place(model: Any) -> None:
    """Give the model weights on the CPU, which inside `FakeTensorMode` have no memory."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                made = torch.empty(weight.shape, dtype=weight.dtype, device="cpu")
                module._parameters[name] = nn.Parameter(made, requires_grad=weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")


def measure(variant: str, options: argparse.Namespace) -> dict[str, Any]:
    """The bytes that a loss keeps between its forward and its backward pass, and the peak of both."""
    model = policy(options.shape, options.layers)
    if variant == "ours":
        spare_input_copies(model)
    tile = mock.patch("trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE", TILE)
    with FakeTensorMode(), tile, Sizes() as sizes:
        place(model)
        weights = sizes.now
        length = options.prompt + options.tokens
        ids = torch.zeros(options.rows, length, dtype=torch.long)
        labels = torch.cat([torch.full_like(ids[:, : options.prompt], -100), ids[:, options.prompt :]], dim=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                position_ids=torch.arange(length).expand(3, options.rows, -1),
                labels=labels,
                fused_lm_head=True,
            )
        kept = sizes.now - weights
        found.log_probs.sum().backward()
    return {"variant": variant, "kept_bytes": kept, "peak_bytes": sizes.peak - weights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=shapes.SHAPES, default=shapes.LARGE)
    parser.add_argument("--layers", type=int, help="of the language model; default: the shape's")
    parser.add_argument("--rows", type=int, default=8, help="replies in a pass")
    parser.add_argument("--prompt", type=int, default=1072, help="tokens of a prompt, its clip's among them")
    parser.add_argument("--tokens", type=int, default=768, help="tokens of a reply")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    rows = [measure(variant, options) for variant in VARIANTS]
    for row in rows:
        kept, peak = (row[name] / 2**30 for name in ("kept_bytes", "peak_bytes"))
        print(f"{row['variant']}: {peak:.2f} GiB at the peak, of which {kept:.2f} GiB are kept for the backward pass")
    results.write_rows(options.out, options, rows)


if __name__ == "__main__":
    main()
