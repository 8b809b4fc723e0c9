"""What a stop behind the first answer saves in wall time: the same questions with and without it, same batch, same device.

    python benchmarks/stop.py                                                   # on a CPU, a tiny model of random weights
    python benchmarks/stop.py --shape 3b --clips 64 --per-clip 4 --tokens 512 --batch-size 64 --engines graphs     # on a GPU
    python benchmarks/stop.py --ref runs/auto --data curated --split dev --stop-at 0.97 --out stop.json    # a checkpoint

A model of random weights has no answers, so its first one is taken to end with its twelfth token, and how likely that token
was is taken for how sure it was. Replies are drawn at temperature 1, so that these differ, and the thresholds are those that
end a half and nine tenths of the replies. All others are as long as is allowed. A checkpoint is asked greedily in the style
"twice".

A stopped reply has to be the same one, cut, and any other the same: how many are is counted (in bfloat16 the batch decides how
logits are rounded, so not all have to be). Times are medians of `--repeats` runs, which take turns.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import results
import shapes
import torch
from asking import AUTO, ON_GPU, let_go
from lengths import made
from rich.console import Console
from rich.table import Table

from videothinker.answers import Style
from videothinker.curated import Curated, open_curated
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.checkpoint_answerer import CheckpointAnswerer
from videothinker.diagnose.engines.base import Engine, open_engine
from videothinker.diagnose.settings import DiagnosisSettings

FIRST = 12
"""The token with which the first answer of a model of random weights ends."""
SHARES = (0.5, 0.9)
"""Of the replies of such a model, which end there."""
SAME_LOGPROB = 1e-3
"""Nats per token by which replies of the same tokens differ at most."""
HEADS = (
    "engine",
    "stop at",
    "stopped",
    "tokens",
    "as without",
    "questions/s",
    "s writing",
    "faster",
    "writing faster",
    "CPU faster",
)
console = Console()


def boxes(tokens: Sequence[int], **_: Any) -> str:
    """The text of a reply of random weights: an answer, once it is there."""
    return "\\boxed{A}" if len(tokens) >= FIRST else ""


class Spent(NamedTuple):
    """Seconds that one run took."""

    all: float
    writing: float
    cpu: float
    """Of this process, whatever else the machine does meanwhile."""


def ask(engine: Engine, curated: Curated, settings: DiagnosisSettings) -> tuple[dict[str, RawReply], Spent]:
    """All replies by question, and what they took."""
    answerer = CheckpointAnswerer(engine.at(settings), curated=curated, settings=settings)
    start, cpu = time.perf_counter(), time.process_time()
    replies = {reply.question_id: reply for reply in answerer.answer(curated.questions(settings.split))}
    return replies, Spent(time.perf_counter() - start, answerer.seconds["generate"], time.process_time() - cpu)


def is_same(reply: RawReply, whole: RawReply, stop_at: float | None) -> bool:
    """Whether a reply of a run with a stop is what the whole one says that it has to be."""
    stops = stop_at is not None and whole.first is not None and whole.first.confidence >= stop_at
    n_tokens = whole.first.n_tokens if stops and whole.first is not None else whole.n_tokens
    if (reply.stopped, reply.n_tokens) != (stops, n_tokens):
        return False
    return stops or (reply.reply == whole.reply and abs((reply.logprob or 0) - (whole.logprob or 0)) < SAME_LOGPROB)


def thresholds(replies: Sequence[RawReply], stop_at: float | None) -> list[float]:
    """The stops to measure: the one that is asked for, or those that end `SHARES` of the replies."""
    if stop_at is not None:
        return [stop_at]
    sure = [reply.first.confidence for reply in replies if reply.first is not None]
    return [float(np.quantile(sure, 1 - share, method="higher")) for share in SHARES]


def measure(
    name: str, ref: str, curated: Curated, settings: DiagnosisSettings, stop_at: float | None, repeats: int
) -> list[dict[str, Any]]:
    """A row without a stop, and one for each stop, with the engine of that name."""
    engine = open_engine(ref, msgspec.structs.replace(settings, engine=name))
    if settings.temperature > 0:
        engine.loaded.processor.tokenizer.decode = boxes
    whole, _ = ask(engine, curated, settings)  # which also captures graphs
    stops = [None, *thresholds(list(whole.values()), stop_at)]
    for stop in stops[1:]:
        ask(engine, curated, msgspec.structs.replace(settings, stop_at=stop))
    taken: dict[float | None, list[Spent]] = {stop: [] for stop in stops}
    replies: dict[float | None, dict[str, RawReply]] = {}
    for _ in range(repeats):
        for stop in stops:
            replies[stop], spent = ask(engine, curated, msgspec.structs.replace(settings, stop_at=stop))
            taken[stop].append(spent)
    told = engine.describe()["engine"]
    return [row(told, stop, replies[stop], whole, taken[stop], taken[None]) for stop in stops]


def row(
    engine: str,
    stop: float | None,
    replies: dict[str, RawReply],
    whole: dict[str, RawReply],
    taken: Sequence[Spent],
    without: Sequence[Spent],
) -> dict[str, Any]:
    """What one stop came to. taken: by its runs. without: by those without a stop."""
    spent, of_whole = (Spent(*(statistics.median(each) for each in zip(*runs, strict=True))) for runs in (taken, without))
    return {
        "engine": engine,
        "stop_at": stop,
        "n_questions": len(replies),
        "stopped": sum(reply.stopped for reply in replies.values()) / len(replies),
        "n_tokens": sum(reply.n_tokens or 0 for reply in replies.values()),
        "n_same": sum(is_same(reply, whole[key], stop) for key, reply in replies.items()),
        "seconds": spent.all,
        "seconds_writing": spent.writing,
        "seconds_cpu": spent.cpu,
        "questions_per_second": len(replies) / spent.all,
        "times_whole": of_whole.all / spent.all,
        "times_whole_writing": of_whole.writing / spent.writing,
        "times_whole_cpu": of_whole.cpu / spent.cpu,
        "runs": [each._asdict() for each in taken],
    }


def table(result: dict[str, Any]) -> Table:
    """A line for each engine and stop."""
    title = f"{result['checkpoint']}, {result['n_questions']} questions, {result['batch_size']} at once, {result['device']}"
    shown = Table(title=title, title_justify="left")
    for head in HEADS:
        shown.add_column(head, justify="right")
    for each in result["rows"]:
        shown.add_row(
            each["engine"],
            "never" if each["stop_at"] is None else f"{each['stop_at']:.3g}",
            f"{each['stopped']:.0%}",
            f"{each['n_tokens']:,}",
            f"{each['n_same']}/{each['n_questions']}",
            f"{each['questions_per_second']:.2f}",
            f"{each['seconds_writing']:.2f}",
            f"{each['times_whole']:.2f}x",
            f"{each['times_whole_writing']:.2f}x",
            f"{each['times_whole_cpu']:.2f}x",
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=shapes.SHAPES, default="test", help="of a model of random weights")
    parser.add_argument("--ref", help="a checkpoint that answers twice, instead")
    parser.add_argument("--data", type=Path, help="curated folder to ask it about; with --ref")
    parser.add_argument("--split", default="dev", help="of that folder")
    parser.add_argument("--stop-at", type=float, help="the stop to measure; with --ref")
    parser.add_argument("--clips", type=int, default=8, help="that are made for a model of random weights")
    parser.add_argument("--per-clip", type=int, default=2, help="questions about each of them")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--max-pixels", type=int, help="of one frame; default 256*28*28 for 3b, else 25*28*28")
    parser.add_argument("--tokens", type=int, default=96, help="longest reply")
    parser.add_argument("--batch-size", type=int, default=8, help="questions answered at once")
    parser.add_argument("--engines", nargs="+", default=[AUTO, "graphs" if not ON_GPU else "transformers"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    options = parser.parse_args()
    if options.ref and (options.data is None or options.stop_at is None):
        parser.error("--ref needs --data and --stop-at")
    settings = DiagnosisSettings(
        split=options.split if options.ref else "test",
        prompt=Style.TWICE,
        n_frames=options.frames,
        max_pixels=options.max_pixels or (256 if options.shape == shapes.LARGE else 25) * 28 * 28,
        max_new_tokens=options.tokens,
        batch_size=options.batch_size,
        temperature=0.0 if options.ref else 1.0,
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        ref = options.ref or str(shapes.build(Path(scratch) / "model", options.shape))
        folder = Path(scratch) / "clips"
        curated = open_curated(options.data) if options.ref else made(folder, 2, options.clips, options.per_clip)
        for name in options.engines:
            rows += measure(name, ref, curated, settings, options.stop_at, options.repeats)
            let_go()
    result = {
        "checkpoint": options.ref or f"random weights, {options.shape}",
        "device": torch.cuda.get_device_name() if ON_GPU else f"CPU, {torch.get_num_threads()} threads",
        "batch_size": options.batch_size,
        "n_questions": rows[0]["n_questions"],
        "tokens": options.tokens,
        "frames": options.frames,
        "rows": rows,
    }
    console.print(table(result))
    results.write(options.out, result)


if __name__ == "__main__":
    main()
