"""How many questions per second `vt diagnose --engine vllm` answers, beside vLLM by itself.

    python benchmarks/beside_vllm.py --shape 3b --frames 16 --tokens 128                     # where vLLM is installed, on a GPU
    python benchmarks/beside_vllm.py --engine-python ~/vllm/bin/python --scenes 16           # vLLM in an environment of its own

Both sides are one loaded vLLM with random weights. vLLM by itself is given all prompts at once with clips that are decoded
already; vt diagnose reads the clips as it goes. A sixteenth of the clips warms up. The others are dealt into four parts, which
are asked by one, the other, the other and the one, so that neither meets what vLLM keeps of a clip that the other has shown
it. Only the ratio within one run is a claim, and of a steady state only where a part is several calls: with 512 scenes one is
some 240 questions, which are two. Beside it stands how long clips were waited for: by vt diagnose within its time, while vLLM
had nothing to write, and by vLLM by itself before its time. Each step is told as it is over. At the shape 3b with 512 scenes an
H200 needs six minutes for all of it: a minute and a half for the clips, more than two for vLLM to open.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import results
import shapes
from rich.console import Console
from worlds import made_world

from videothinker.curated import Curated, open_curated
from videothinker.diagnose import vllm_child
from videothinker.diagnose.answerer import by_clip
from videothinker.diagnose.prompt_length import PromptLengths
from videothinker.diagnose.prompts import put_by, write_prompts
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.vllm_answerer import Served, VllmAnswerer, job, open_served
from videothinker.frames import read_clip
from videothinker.models.text_positions import TextPositions
from videothinker.records import Question

T = TypeVar("T")

console = Console()
_SIDES = ("ours", "vllm", "vllm", "ours")
"""Who is asked each part."""
_WARM_UP = 16
"""One of so many clips warms up."""


class Took(NamedTuple):
    """What one side took for one part."""

    seconds: float
    """From the first question to the last reply."""
    clips: float
    """Seconds that clips were waited for."""


def dealt(clips: Iterable[list[T]]) -> tuple[list[T], list[list[T]]]:
    """What warms up, and each part. clips: the questions about each."""
    warm: list[T] = []
    parts: list[list[T]] = [[] for _ in _SIDES]
    turns = itertools.cycle(parts)
    for number, of_clip in enumerate(clips):
        into = next(turns) if number % _WARM_UP else warm
        into += of_clip
    return warm, parts


def ours(served: Served, curated: Curated, questions: Sequence[Question], settings: DiagnosisSettings) -> Took:
    """What `vt diagnose` takes, decoding included."""
    answerer = VllmAnswerer(served, curated=curated, settings=settings)
    start = time.perf_counter()
    answered = list(answerer.answer(questions))
    taken = time.perf_counter() - start
    assert all(each.reply is not None for each in answered)
    return Took(taken, answerer.describe()["seconds"]["clips"])


def by_itself(served: Served, curated: Curated, questions: Sequence[Question], settings: DiagnosisSettings) -> Took:
    """What vLLM takes for prompts that are written and clips that are decoded, one after the other, before."""
    texts = write_prompts(served.processor, questions, put_by(settings)).texts
    frames = PromptLengths(served.processor, served.config.model_type, questions, settings, texts=texts).frames
    jobs = []
    start = time.perf_counter()
    for footage, of_clip in by_clip(curated, questions).items():
        clip = read_clip(footage, n_frames=settings.n_frames)
        sizes = frames.sizes(len(clip.frames))
        jobs += [job(each.question_id, texts[each.question_id], clip, sizes, settings) for each in of_clip]
    read = time.perf_counter()
    served.writer.reply(jobs)
    return Took(time.perf_counter() - read, read - start)


def measure(ref: str, curated: Curated, settings: DiagnosisSettings) -> dict[str, Any]:
    """What both took and their questions per second, in `rows`, the ratio, and what vLLM says of itself."""
    began = time.perf_counter()
    served = open_served(ref, settings)
    console.print(f"vLLM is open after {time.perf_counter() - began:.0f} s")
    warm, parts = dealt(by_clip(curated, curated.questions(settings.split)).values())
    ours(served, curated, warm, settings)
    rows = {name: {"side": name, "n_questions": 0, "seconds": 0.0, "clips_seconds": 0.0} for name in _SIDES}
    for name, part in zip(_SIDES, parts, strict=True):
        took, row = {"ours": ours, "vllm": by_itself}[name](served, curated, part, settings), rows[name]
        console.print(f"{name}: {len(part)} questions, {took.seconds:.1f} s")
        row["n_questions"] += len(part)
        row["seconds"] += took.seconds
        row["clips_seconds"] += took.clips
    for row in rows.values():
        row["questions_per_second"] = row["n_questions"] / row["seconds"]
    speed = {name: row["questions_per_second"] for name, row in rows.items()}
    return {"rows": list(rows.values()), "ratio": speed["ours"] / speed["vllm"], "vllm": served.writer.describe()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=shapes.SHAPES, default="test", help="of the model, whose weights are random")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--max-pixels", type=int, help="of one frame; default 256*28*28 for 3b, else 25*28*28")
    parser.add_argument("--tokens", type=int, default=32, help="longest reply")
    parser.add_argument("--scenes", type=int, default=80, help="generated clips to ask about, with some two questions each")
    parser.add_argument("--data", type=Path, help="ask about the clips of this curated folder instead")
    parser.add_argument("--engine-python", type=Path, help="the Python of an environment that has vLLM, if it is not here")
    parser.add_argument("--weights", type=Path, help="folder in which to keep the random weights, used again if they are there")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    options = parser.parse_args()
    if options.engine_python:
        vllm_child.use(options.engine_python)
    with tempfile.TemporaryDirectory() as scratch:
        curated = open_curated(options.data) if options.data else made_world(Path(scratch), options.scenes)
        settings = DiagnosisSettings(
            split=curated.default_split(),
            engine="vllm",
            n_frames=options.frames,
            max_pixels=options.max_pixels or (256 if options.shape == shapes.LARGE else 25) * 28 * 28,
            max_new_tokens=options.tokens,
            text_positions=TextPositions.ORIGINAL,
        )
        result = measure(str(shapes.build(options.weights or Path(scratch) / "model", options.shape)), curated, settings)
    for row, name in zip(result["rows"], ("vt diagnose", "vLLM by itself"), strict=True):
        waited = f"{row['clips_seconds']:.1f} s for clips" + (", not counted" if row["side"] == "vllm" else "")
        console.print(f"{name}: {row['questions_per_second']:.2f} questions/s, {row['seconds']:.1f} s; {waited}")
    console.print(f"vt diagnose has {result['ratio']:.2f} of the speed of vLLM by itself")
    results.write_rows(options.out, options, result.pop("rows"), **result)


if __name__ == "__main__":
    main()
