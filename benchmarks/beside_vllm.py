"""How many questions per second `vt diagnose --engine vllm` answers, beside vLLM by itself.

    python benchmarks/beside_vllm.py --shape 3b --frames 16 --tokens 128                     # where vLLM is installed, on a GPU
    python benchmarks/beside_vllm.py --engine-python ~/vllm/bin/python --scenes 16           # vLLM in an environment of its own

Both sides are one loaded vLLM with random weights. vLLM by itself is given all prompts at once with clips that are decoded
already; vt diagnose reads the clips as it goes. The clips are dealt into four parts, which are asked by one, the other, the
other and the one, so that neither meets what vLLM keeps of a clip that the other has shown it. A first part warms up. Only the
ratio within one run is a claim.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

console = Console()
_PARTS = 5  # one to warm up, and two for each side


def dealt(curated: Curated, questions: Sequence[Question]) -> list[list[Question]]:
    """The questions in parts, all of a clip in one."""
    parts: list[list[Question]] = [[] for _ in range(_PARTS)]
    for number, of_clip in enumerate(by_clip(curated, questions).values()):
        parts[number % _PARTS] += of_clip
    return parts


def ours(served: Served, curated: Curated, questions: Sequence[Question], settings: DiagnosisSettings) -> float:
    """Seconds that `vt diagnose` takes, decoding included."""
    answerer = VllmAnswerer(served, curated=curated, settings=settings)
    start = time.perf_counter()
    answered = list(answerer.answer(questions))
    taken = time.perf_counter() - start
    assert all(each.reply is not None for each in answered)
    return taken


def by_itself(served: Served, curated: Curated, questions: Sequence[Question], settings: DiagnosisSettings) -> float:
    """Seconds that vLLM takes for prompts that are written and clips that are decoded."""
    texts = write_prompts(served.processor, questions, put_by(settings)).texts
    frames = PromptLengths(served.processor, served.config.model_type, questions, settings, texts=texts).frames
    jobs = []
    for footage, of_clip in by_clip(curated, questions).items():
        clip = read_clip(footage, n_frames=settings.n_frames)
        sizes = frames.sizes(len(clip.frames))
        jobs += [job(each.question_id, texts[each.question_id], clip, sizes, settings) for each in of_clip]
    start = time.perf_counter()
    served.writer.reply(jobs)
    return time.perf_counter() - start


def measure(ref: str, curated: Curated, settings: DiagnosisSettings) -> dict[str, Any]:
    """Questions per second of both, in `rows`, their ratio, and what vLLM says of itself."""
    served = open_served(ref, settings)
    warm, *parts = dealt(curated, curated.questions(settings.split))
    ours(served, curated, warm, settings)
    order = (("ours", ours), ("vllm", by_itself), ("vllm", by_itself), ("ours", ours))
    seconds, n_asked = {"ours": 0.0, "vllm": 0.0}, {"ours": 0, "vllm": 0}
    for (name, side), part in zip(order, parts, strict=True):
        seconds[name] += side(served, curated, part, settings)
        n_asked[name] += len(part)
    speed = {name: n_asked[name] / seconds[name] for name in seconds}
    rows = [{"side": name, "n_questions": n_asked[name], "questions_per_second": speed[name]} for name in speed]
    return {"rows": rows, "ratio": speed["ours"] / speed["vllm"], "vllm": served.writer.describe()}


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
    ours, alone = (row["questions_per_second"] for row in result["rows"])
    console.print(f"vt diagnose {ours:.2f} questions/s, vLLM by itself {alone:.2f}: {result['ratio']:.2f} of it")
    results.write_rows(options.out, options, result.pop("rows"), **result)


if __name__ == "__main__":
    main()
