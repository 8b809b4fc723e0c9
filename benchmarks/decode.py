"""What a token of a reply costs, for some replies to one question, written as the roll-outs of a CDPO step are.

    python benchmarks/decode.py                                                         # on a CPU, a tiny model
    python benchmarks/decode.py --shape 3b --out decode.json                            # on a GPU: 8 and 128 replies
    python benchmarks/decode.py --shape 3b --rows 8 --shares 64 128 256 --profile       # where the time goes

Random weights, bfloat16 on a GPU, tokens drawn at temperature 1, features of a clip drawn at random in place of the vision
tower's. Ways, each in a captured CUDA graph where there is a GPU:

- plain: every layer by PyTorch's own operations, as in float32
- attention: only the attention is our kernel; compiled: and what stands between the matrix products is made by `torch.compile`
- apart: all of that is our kernels, and every weight has a matrix product of its own
- kernels: weights that take the same input have one product together; `vt train` and `vt diagnose` do so in half precision

A token's time is that of replies of full length less that of replies of one token, over the tokens between. `first` is what the
first call takes, which compiles and captures. On a CPU only `plain` can be measured.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import results
import shapes
import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers import AutoConfig, AutoModelForImageTextToText

from videothinker.models import fused_layers, tiny
from videothinker.models.decoder import Decoder, TokenChoice
from videothinker.models.norms import quicken_norms
from videothinker.models.side_by_side import SideBySide
from videothinker.models.vision import SeenClip

WAYS = ("plain", "attention", "compiled", "apart", "kernels")
ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"


def now() -> float:
    """Seconds on the clock once the GPU has done all that it was told."""
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def build(shape: str) -> Any:
    """A model with random weights on the device."""
    with tempfile.TemporaryDirectory() as folder:
        tiny.build(Path(folder), size="test" if shape == shapes.LARGE else shape)  # type: ignore[arg-type]
        config = AutoConfig.from_pretrained(folder)
    torch.manual_seed(0)
    with torch.device(DEVICE):
        config = shapes.enlarged(config) if shape == shapes.LARGE else config
        dtype = torch.bfloat16 if ON_GPU else torch.float32
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype, attn_implementation="sdpa").eval()
    quicken_norms(model)
    return model


def a_question(model: Any, n_tokens: int) -> tuple[list[int], SeenClip]:
    """A prompt of `n_tokens`, most of which are of a clip of eight pairs of frames, and the clip."""
    side = max(1, int(((n_tokens - 16) / 8) ** 0.5))
    n_video = 8 * side * side
    rest = n_tokens - n_video
    ids = [*range(10, 10 + rest // 2), *[model.config.video_token_id] * n_video, *range(10, 10 + rest - rest // 2)]
    features = torch.randn(n_video, model.config.get_text_config().hidden_size, device=DEVICE, dtype=model.dtype)
    return ids, SeenClip(features, (8, 2 * side, 2 * side), 1.0)


def turn_and_write(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    turned: tuple[torch.Tensor, torch.Tensor],
    keys: torch.Tensor,
    values: torch.Tensor,
    last: torch.Tensor,
) -> torch.Tensor:
    """As in `decode_kernels`, by PyTorch's operations."""
    (cos, sin), d = turned, keys.size(3)
    query, key, value = (x.unflatten(1, (-1, d)) for x in (query, key, value))
    query, key = (x * cos + x.roll(d // 2, -1) * sin for x in (query, key))
    for into, each in ((keys, key), (values, value)):
        into.index_copy_(2, last, each[:, :, None])
    return query


def add_and_norm(
    states: torch.Tensor, more: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """As in `decode_kernels`, by PyTorch's operations."""
    states = states + more
    return states, F.rms_norm(states, states.shape[-1:], weight, epsilon)


def gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """As in `decode_kernels`, by PyTorch's operations."""
    return F.silu(gate) * up


def kernels_of(way: str, share: int | None) -> Any:
    """What `fused_layers` is to take its operations from; None stands for `plain`."""
    if way == "plain":
        return None
    from videothinker.models import decode_kernels

    attend = partial(decode_kernels.attend_filled, share=share)
    rest: Any = (turn_and_write, add_and_norm, gated)
    if way in ("apart", "kernels"):
        rest = [getattr(decode_kernels, each.__name__) for each in rest]
    if way == "compiled":
        rest = [torch.compile(each, fullgraph=True, dynamic=False) for each in rest]
    return SimpleNamespace(attend_filled=attend, turn_and_write=rest[0], add_and_norm=rest[1], gated=rest[2])


@contextmanager
def decoder_of(model: Any, way: str, share: int | None) -> Iterator[Decoder]:
    """A decoder that writes in this way."""
    config, kernels = model.config, kernels_of(way, share)
    hidden = [config.image_token_id, config.video_token_id]
    laid = (lambda *layers: SideBySide(layers)) if way == "apart" else fused_layers.laid_side_by_side
    with (
        mock.patch.object(fused_layers, "kernels_for", return_value=kernels),
        mock.patch.object(fused_layers, "laid_side_by_side", side_effect=laid),
    ):
        decoder = Decoder(model, eos=[], pad=0, suppress=hidden)
        yield decoder
        decoder.forget()


def measure(model: Any, way: str, n_rows: int, options: argparse.Namespace, share: int | None = None) -> dict[str, Any]:
    """One way, for `n_rows` replies."""
    ids, clip = a_question(model, options.prompt)
    with decoder_of(model, way, share) as decoder:

        def seconds(n_tokens: int) -> float:
            began = now()
            written = decoder.write([ids], [clip], rows=[0] * n_rows, choice=TokenChoice(1.0), max_new_tokens=n_tokens)
            assert {len(reply.tokens) for reply in written} == {n_tokens}
            return now() - began

        first = seconds(options.tokens)
        times = {n: statistics.median(seconds(n) for _ in range(options.repeats)) for n in (1, options.tokens)}
        if options.profile:
            profile(lambda: seconds(options.tokens), options.tokens)
    each = (times[options.tokens] - times[1]) / (options.tokens - 1)
    return {
        "way": way,
        "share": share,
        "n_rows": n_rows,
        "ms_per_token": 1000 * each,
        "seconds": times[options.tokens],
        "prompt_seconds": times[1],
        "first_seconds": first,
    }


def profile(write: Any, n_tokens: int) -> None:
    """Print what the GPU spent a token on, kernel by kernel, prompt included."""
    activities = [torch.profiler.ProfilerActivity.CUDA if ON_GPU else torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as found:
        write()
    events = [(event.self_device_time_total if ON_GPU else event.self_cpu_time_total, event) for event in found.key_averages()]
    for spent, event in sorted(events, key=lambda one: -one[0])[:24]:
        print(f"{spent / n_tokens:9.1f} us a token, {event.count / n_tokens:7.1f} calls: {event.key[:90]}")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| replies | way | ms a token | all tokens | prompt | first call |", "| --: | --- | --: | --: | --: | --: |"]
    for row in rows:
        way = row["way"] + (f", shares of {row['share']}" if row["share"] else "")
        seconds = " | ".join(f"{row[name]:.2f} s" for name in ("seconds", "prompt_seconds", "first_seconds"))
        lines.append(f"| {row['n_rows']} | {way} | {row['ms_per_token']:.2f} | {seconds} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=shapes.SHAPES, default="test", help="of the model, whose weights are random")
    parser.add_argument("--rows", type=int, nargs="+", help="replies at once; default 8 and 128 for 3b, else 2")
    parser.add_argument("--prompt", type=int, help="tokens of the prompt; default 1,610 for 3b, else 40")
    parser.add_argument("--tokens", type=int, help="length of a reply; default 768 for 3b, else 8")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS if ON_GPU else WAYS[:1])
    parser.add_argument("--shares", type=int, nargs="+", default=[], help="also our kernels with so many columns a program")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="print the GPU's kernels by their time")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    options = parser.parse_args()
    large = options.shape == shapes.LARGE
    options.prompt = options.prompt or (1610 if large else 40)
    options.tokens = options.tokens or (768 if large else 8)
    if options.tokens < 2:
        parser.error("--tokens: expected 2 or more, for the first one comes from the prompt")
    if not ON_GPU and (set(options.ways) != {"plain"} or options.shares):
        parser.error("--ways, --shares: there is no GPU, and on a CPU only plain can be measured")
    model = build(options.shape)
    rows = []
    for n_rows in options.rows or ([8, 128] if large else [2]):
        for way, share in (*((way, None) for way in options.ways), *(("kernels", share) for share in options.shares)):
            rows.append(measure(model, way, n_rows, options, share))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    results.write_rows(options.out, options, rows)


if __name__ == "__main__":
    main()
