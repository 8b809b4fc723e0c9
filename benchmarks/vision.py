"""Milliseconds a clip in the vision tower of Qwen2.5-VL: windows in batches, in one call, and in compiled blocks.

    python benchmarks/vision.py --out vision.json                                                   # on a GPU
    python benchmarks/vision.py --products                                                          # the MLPs' products alone
    python benchmarks/vision.py --size test --clips 1,2 --frames 4 --height 56 --width 84           # on a CPU, a tiny tower
    python benchmarks/vision.py --size thin --clips 1 --frames 2 --height 112 --width 112 --ways varlen     # Python alone

Random weights, and random patches that are on the device before the clock starts. Each time is the median of a few calls after
two that warm up and compile; `first_s` is the first call, forward and backward, with what was compiled in it. On a CPU the
precision is float32, and all three ways are the same computation.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import results
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from videothinker.models.aligned import padding_for
from videothinker.models.vision import Kernels, quicken_vision, see

WAYS = tuple(way for way in get_args(Kernels) if way != "auto")

SIZES: dict[str, dict[str, Any]] = {
    "test": {"depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 4, "fullatt_block_indexes": [1]},
    "thin": {"depth": 32, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "fullatt_block_indexes": [7, 15, 23, 31]},
    "3b": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 2048,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
}
"""The tower's shape; "3b" is Qwen2.5-VL-3B-Instruct's, and "thin" has as many blocks with next to no arithmetic in them, so
that its time is Python's."""


class Tower(torch.nn.Module):
    """A model of which only the vision tower is there, as `see` wants it."""

    def __init__(self, size: str, device: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = Qwen2_5_VLVisionConfig(**SIZES[size])
        config._attn_implementation = "sdpa"
        with torch.device(device):
            self.visual = Qwen2_5_VisionTransformerPretrainedModel(config)
        self.to(torch.bfloat16 if device == "cuda" else torch.float32)

    @property
    def model(self) -> "Tower":
        """Where a whole model has its tower."""
        return self

    @property
    def base_model(self) -> "Tower":
        """As `model`."""
        return self


def seconds(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """The first of all calls, and the median of those after two."""
    taken = []
    for _ in range(2 + repeats):
        begun = now()
        call()
        taken.append(now() - begun)
    return taken[0], statistics.median(taken[2:])


def now() -> float:
    """Seconds, once the GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(way: Kernels, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each number of clips."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Tower(options.size, device)
    quicken_vision(model, way)
    grid = (options.frames // 2, options.height // 14, options.width // 14)
    clip = torch.randn(grid[0] * grid[1] * grid[2], 3 * 2 * 14 * 14, device=device)
    rows = []
    for n in options.clips:

        def features(n: int = n) -> torch.Tensor:
            return torch.cat([seen.features for seen in see(model, [clip] * n, [grid] * n, [1.0] * n)])

        def forward(features: Callable[[], torch.Tensor] = features) -> None:
            with torch.no_grad():
                features()

        def backward(features: Callable[[], torch.Tensor] = features) -> None:
            features().float().square().mean().backward()
            model.zero_grad()

        row: dict[str, Any] = {"way": way, "n_clips": n}
        row["first_s"], row["forward_ms"] = seconds(forward, options.repeats)
        row["forward_ms"] *= 1000 / n
        row["backward_first_s"] = row["forward_backward_ms"] = None
        if n <= options.most_backward:
            first, median = seconds(backward, options.repeats)
            row["backward_first_s"], row["forward_backward_ms"] = first, median * 1000 / n
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def products(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The products of a block's MLP on eight clips, at its own width and at the next multiple of 16 bytes."""
    size = SIZES[options.size]
    hidden, width = size["hidden_size"], size["intermediate_size"]
    n = 8 * (options.frames // 2) * (options.height // 14) * (options.width // 14)
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    rows = []
    for wide in dict.fromkeys((width, width + padding_for(width, dtype))):
        for into, out in ((hidden, wide), (wide, hidden)):
            states, weights = (
                torch.randn(n, into, device=device, dtype=dtype),
                torch.randn(out, into, device=device, dtype=dtype),
            )
            _, median = seconds(partial(functional.linear, states, weights), options.repeats)
            rows.append(
                {"n": n, "from": into, "to": out, "ms": 1000 * median, "tflop_per_s": 2 * n * into * out / median / 1e12}
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """The rows as a table."""
    table = Table(title="milliseconds a clip", title_justify="left")
    for column in ("way", "clips", "forward", "forward and backward", "first call, s"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for row in rows:
        both = row["forward_backward_ms"]
        shown = "" if both is None else f"{both:.1f}"
        table.add_row(row["way"], str(row["n_clips"]), f"{row['forward_ms']:.1f}", shown, f"{row['first_s']:.1f}")
    Console().print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="3b")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS), help=f"of {', '.join(WAYS)}")
    parser.add_argument("--clips", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 64])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--height", type=int, default=308)
    parser.add_argument("--width", type=int, default=476)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--most-backward", type=int, default=8, help="most clips whose gradient is taken; 8 need some 60 GB")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    parser.add_argument("--products", action="store_true", help="time an MLP's products and nothing else")
    options = parser.parse_args()
    if options.products:
        results.write_rows(options.out, options, products(options))
        return
    rows = [row for way in options.ways for row in measure(way, options)]
    show(rows)
    results.write_rows(options.out, options, rows)


if __name__ == "__main__":
    main()
