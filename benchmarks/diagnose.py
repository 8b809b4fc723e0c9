"""How many questions per second a checkpoint answers: the engine that `vt diagnose` takes here, the others, and a plain loop.

    python benchmarks/diagnose.py                                    # on a CPU, a tiny model
    python benchmarks/diagnose.py --engine graphs                    # the plain loop and that engine alone
    python benchmarks/diagnose.py --shape 3b --frames 32 --tokens 128 --batch-sizes 32 128     # on a GPU

The plain loop is what most evaluators run: one question at a time, the clip decoded anew for each, the processor on the CPU,
transformers' `generate`. All sides have the same random weights, dtype, SDPA, frames and length of replies, and clips are
decoded, never taken from a cache. They run one after the other in this process; loading the model and a first question are not
timed. Only ratios within one run are claims.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import results
import shapes
import torch
from asking import AUTO, ON_GPU, ask, let_go
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker import answers
from videothinker.curate.datasets.clevrer import settings as clevrer
from videothinker.curated import Curated, open_curated
from videothinker.diagnose.engines import ENGINES
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.frames import read_clip
from videothinker.models.chat import chat
from videothinker.models.positions import follow
from videothinker.models.text_positions import TextPositions, known_rule
from videothinker.recipes.curation import curate_clevrer
from videothinker.records import Question
from videothinker.world.make import WorldSettings, make_world

console = Console()


def made_world(folder: Path, n_scenes: int) -> Curated:
    """A curated folder of generated scenes, about two questions per clip of 480 x 320, as CLEVRER has."""
    world, curated = folder / "world", folder / "curated"
    make_world(world, WorldSettings(n_scenes=n_scenes, seed=1, preset="clevrer74"), workers=min(n_scenes, os.cpu_count() or 1))
    files = (world / "annotation_train", world / "train.json", curated)
    curate_clevrer(*files, clevrer.Settings(split="asked"), videos=world / "video_train", workers=1)
    return open_curated(curated)


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
        "n_questions": len(questions),
        "seconds": seconds[1:],
        "questions_per_second": len(questions) / total,
        "n_parameters": sum(weight.numel() for weight in model.parameters()),
        "dtype": str(model.dtype),
    }


def table(result: dict[str, Any]) -> Table:
    """The rows beside one another, each as a multiple of the plain loop."""
    title = f"{result['shape']}, {result['frames']} frames, replies of {result['tokens']} tokens, {result['device']}"
    shown = Table(title=title, title_justify="left")
    for head in ("asked with", "engine"):
        shown.add_column(head, no_wrap=True)
    for head in ("at once", "questions/s", "x plain", "clips s", "prepare s", "generate s"):
        shown.add_column(head, justify="right")
    shown.add_row("plain loop", "generate", "1", f"{result['plain']['questions_per_second']:.3f}", "1.0", "", "", "")
    for row in result["ours"]:
        spent = (f"{row['seconds_by_stage'][stage]:.1f}" for stage in ("clips", "prepare", "generate"))
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
    parser.add_argument("--plain", type=int, default=8, help="questions that the plain loop answers")
    parser.add_argument("--data", type=Path, help="ask about the clips of this curated folder instead")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        curated = open_curated(options.data) if options.data else made_world(Path(scratch), options.scenes)
        settings = DiagnosisSettings(
            split=curated.default_split(),
            n_frames=options.frames,
            max_pixels=options.max_pixels or (256 if options.shape == shapes.LARGE else 25) * 28 * 28,
            max_new_tokens=options.tokens,
            attention="sdpa",
        )
        ref = str(shapes.build(Path(scratch) / "model", options.shape))
        result = measure(ref, curated, settings, options.batch_sizes, options.plain, options.engine)
    result = {"shape": options.shape, **result}
    console.print(table(result))
    results.write(options.out, result)


def measure(
    ref: str,
    curated: Curated,
    settings: DiagnosisSettings,
    batch_sizes: Sequence[int],
    n_plain: int,
    engine: str | None = None,
) -> dict[str, Any]:
    """The plain loop, and the engine that is named; None: the one that `auto` takes here, and every other one that can serve.

    Raises:
        VtError: the engine that is named cannot serve the checkpoint.
    """
    questions = curated.questions(settings.split)
    plain = ask_plainly(ref, curated, questions[:n_plain], settings)
    let_go()
    rows = ask(engine or AUTO, ref, curated, questions, settings, batch_sizes)
    for name in ENGINES if engine is None else ():
        if name in (AUTO, rows[0]["engine"]):
            continue
        let_go()
        try:
            rows += ask(name, ref, curated, questions, settings, batch_sizes)
        except VtError as error:
            console.print(f"{name}: {error}")
    for row in rows:
        row["times_plain"] = row["questions_per_second"] / plain["questions_per_second"]
    return {
        "device": torch.cuda.get_device_name() if ON_GPU else f"CPU, {torch.get_num_threads()} threads",
        "n_parameters": plain.pop("n_parameters"),
        "dtype": plain.pop("dtype"),
        "attention": settings.attention,
        "frames": settings.n_frames,
        "tokens": settings.max_new_tokens,
        "auto_is": rows[0]["engine"] if engine is None else None,
        "plain": plain,
        "ours": rows,
    }


if __name__ == "__main__":
    main()
