"""How many questions per second a checkpoint answers: the engine that `vt diagnose` takes here, the others, and a plain loop.

    python benchmarks/diagnose.py                                    # on a CPU, a tiny model
    python benchmarks/diagnose.py --engine graphs                    # the plain loop and that engine alone
    python benchmarks/diagnose.py --engine vllm --engine-python ~/vllm/bin/python     # and vLLM in an environment of its own
    python benchmarks/diagnose.py --shape 3b --frames 32 --tokens 128 --batch-sizes 32 128     # on a GPU
    python benchmarks/diagnose.py --engine graphs --stop-at 0.97     # what looking out for first answers costs

Without --engine vLLM is left out. The plain loop is what most evaluators run: one question at a time, the clip decoded anew for
each, the processor on the CPU, transformers' `generate`. All sides have the same random weights, dtype, frames and length of
replies, all but vLLM SDPA, and clips are decoded, never taken from a cache. They run one after the other in this process;
loading the model and a first question are not timed. Only ratios within one run are claims. Random weights write no answer
that could be stopped behind, so --stop-at measures the looking out alone.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import results
import shapes
import torch
from asking import AUTO, ON_GPU, VLLM, ask, let_go
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForImageTextToText, AutoProcessor
from worlds import made_world

from videothinker import answers
from videothinker.curated import Curated, open_curated
from videothinker.diagnose import vllm_child
from videothinker.diagnose.engines import ENGINES
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.frames import read_clip
from videothinker.models.chat import chat
from videothinker.models.positions import follow
from videothinker.models.text_positions import TextPositions, known_rule
from videothinker.records import Question

console = Console()
PLAIN = "plain loop"


def ask_plainly(ref: str, curated: Curated, questions: Sequence[Question], settings: DiagnosisSettings) -> dict[str, Any]:
    """The plain loop over the questions, the first of which comes twice: once to warm up."""
    dtype = torch.bfloat16 if ON_GPU else torch.float32  # what `vt diagnose` takes
    model = AutoModelForImageTextToText.from_pretrained(ref, dtype=dtype, attn_implementation="sdpa").eval()
    follow(model, known_rule(ref) or TextPositions.ORIGINAL)
    model = model.to("cuda" if ON_GPU else "cpu")
    processor = AutoProcessor.from_pretrained(ref)
    placeholders = [model.config.image_token_id, model.config.video_token_id]
    seconds = []
    for question in (questions[0], *questions):
        start = time.perf_counter()
        path = curated.clip(question)
        assert path is not None
        clip = read_clip(path, n_frames=settings.n_frames)
        inputs = processor(
            text=[chat(processor, answers.render(question, settings.prompt))],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            size={"shortest_edge": 4 * 28 * 28, "longest_edge": settings.max_pixels},
            return_tensors="pt",
        ).to(model.device)
        inputs.pop("video_metadata", None)
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=settings.max_new_tokens, suppress_tokens=placeholders)
        processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        seconds.append(time.perf_counter() - start)
    total = sum(seconds[1:])
    return {
        "asked_with": PLAIN,
        "engine": "generate",
        "batch_size": 1,
        "n_questions": len(questions),
        "seconds": total,
        "questions_per_second": len(questions) / total,
        "seconds_by_stage": {},
        "times_plain": 1.0,
        "n_parameters": sum(weight.numel() for weight in model.parameters()),
        "dtype": str(model.dtype),
    }


def table(options: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> Table:
    """The rows beside one another, each as a multiple of the plain loop."""
    title = f"{options.shape}, {options.frames} frames, replies of {options.tokens} tokens, {results.device()}"
    shown = Table(title=title, title_justify="left")
    for head in ("asked with", "engine"):
        shown.add_column(head, no_wrap=True)
    for head in ("at once", "questions/s", "x plain", "clips s", "prepare s", "generate s"):
        shown.add_column(head, justify="right")
    for row in rows:
        stages = row["seconds_by_stage"]
        spent = (f"{stages[stage]:.1f}" if stage in stages else "" for stage in ("clips", "prepare", "generate"))
        speed = f"{row['questions_per_second']:.3f}", f"{row['times_plain']:.1f}"
        shown.add_row(row["asked_with"], row["engine"], str(row["batch_size"]), *speed, *spent)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=shapes.SHAPES, default="test", help="of the model, whose weights are random")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--max-pixels", type=int, help="of one frame; default 256*28*28 for 3b, else 25*28*28")
    parser.add_argument("--tokens", type=int, default=32, help="length of every reply")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32], help="questions that are answered at once")
    parser.add_argument("--scenes", type=int, default=32, help="generated clips to ask about, with some two questions each")
    parser.add_argument("--engine", choices=[name for name in ENGINES if name != AUTO], help="time this one alone")
    parser.add_argument("--engine-python", type=Path, help="for vllm: the Python of an environment that has it")
    parser.add_argument("--stop-at", type=float, help="end a reply behind a first answer that is at least so sure")
    parser.add_argument("--plain", type=int, default=8, help="questions that the plain loop answers")
    parser.add_argument("--data", type=Path, help="ask about the clips of this curated folder instead")
    parser.add_argument("--weights", type=Path, help="folder in which to keep the random weights, used again if they are there")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    options = parser.parse_args()
    if options.engine_python:
        vllm_child.use(options.engine_python)
    with tempfile.TemporaryDirectory() as scratch:
        curated = open_curated(options.data) if options.data else made_world(Path(scratch), options.scenes)
        settings = DiagnosisSettings(
            split=curated.default_split(),
            n_frames=options.frames,
            max_pixels=options.max_pixels or (256 if options.shape == shapes.LARGE else 25) * 28 * 28,
            max_new_tokens=options.tokens,
            attention="sdpa",
            **({} if options.stop_at is None else {"prompt": answers.Style.TWICE, "stop_at": options.stop_at}),
        )
        ref = str(shapes.build(options.weights or Path(scratch) / "model", options.shape))
        rows = measure(ref, curated, settings, options.batch_sizes, options.plain, options.engine)
    console.print(table(options, rows))
    results.write_rows(options.out, options, rows)


def measure(
    ref: str,
    curated: Curated,
    settings: DiagnosisSettings,
    batch_sizes: Sequence[int],
    n_plain: int,
    engine: str | None = None,
) -> list[dict[str, Any]]:
    """The plain loop, and the engine that is named; None: the one that `auto` takes here, and every other one of ours that can
    serve.

    Raises:
        VtError: the engine that is named cannot serve the checkpoint.
    """
    questions = curated.questions(settings.split)
    plain = ask_plainly(ref, curated, questions[:n_plain], settings)
    let_go()
    rows = ask(engine or AUTO, ref, curated, questions, settings, batch_sizes)
    for name in ENGINES if engine is None else ():
        if name in (AUTO, VLLM, rows[0]["engine"]):
            continue
        let_go()
        try:
            rows += ask(name, ref, curated, questions, settings, batch_sizes)
        except VtError as error:
            console.print(f"{name}: {error}")
    for row in rows:
        row["times_plain"] = row["questions_per_second"] / plain["questions_per_second"]
    return [plain, *rows]


if __name__ == "__main__":
    main()
