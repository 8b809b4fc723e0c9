"""What becomes of a checkpoint's answers when a server is sent frames as one clip, as images, or the whole file.

    python benchmarks/endpoint_clip_or_images.py --engine-python ~/vllm/bin/python  # starts vLLM's server, shipped base
    python benchmarks/endpoint_clip_or_images.py --server transformers              # starts `transformers serve` from here
    python benchmarks/endpoint_clip_or_images.py --endpoint http://localhost:8000/v1 --model /path/as/served --frames 32

The questions are those of a generated world that no training saw, asked greedily in the same words. `local` is our own engine
in this process, in float32 under the original text positions, which are vLLM's (with `--server transformers` under
transformers' own). The server is then sent the same frames as one lossless clip at the rate that keeps their times (`clip`),
as images (`images`), and the file itself, of which it chooses frames (`whole`). A row has the share of right answers, how many
replies are `local`'s word for word, and how many prompts are as long as the checkpoint's own processor makes them. A way that
the server refuses is a row with what it said. Intervals are of 95 % and by scene.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import results
from servers import started
from worlds import made_world

from videothinker import answers
from videothinker.curated import Curated, open_curated
from videothinker.diagnose.answerer import Answerer, RawReply
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.endpoint import open_endpoint
from videothinker.diagnose.estimates import clustered_change, clustered_share
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.models.text_positions import TextPositions
from videothinker.records import Question

BASE = Path(__file__).parents[1] / "data" / "study" / "base"
SERVERS = ("vllm", "transformers")
WAYS: dict[str, dict[str, Any]] = {
    "clip": {"send": "clip"},
    "images": {"send": "images"},
    "whole": {"n_frames": None},
}
"""The settings that say how a clip goes out."""


def _world(folder: Path, n_questions: int, seed: int) -> Curated:
    """A world of `vt world make --preset balanced`, which has two questions about most clips."""
    return made_world(folder, (2 * n_questions + 2) // 3, seed=seed, preset="balanced")


def command_of(server: str, python: str, model: str, n_frames: int) -> list[str]:
    """The command that starts a server of the checkpoint, without where it listens."""
    if server == "transformers":
        return [str(Path(python).with_name("transformers")), "serve", model]
    return [
        *(python, "-m", "vllm.entrypoints.openai.api_server", "--model", model),
        *("--dtype", "float32", "--max-model-len", "8192", "--max-num-seqs", "8", "--enforce-eager", "--skip-mm-profiling"),
        "--trust-request-mm-kwargs",  # else it refuses to be told that all frames of a clip are to be shown
        *("--limit-mm-per-prompt", f'{{"video": 1, "image": {n_frames}}}'),
    ]


def replies(answerer: Answerer, questions: Sequence[Question]) -> dict[str, RawReply]:
    """The replies by question."""
    return {reply.question_id: reply for reply in answerer.answer(questions)}


def row(way: str, asked: Sequence[Question], found: dict[str, RawReply], local: dict[str, RawReply]) -> dict[str, Any]:
    """What one way is worth, beside our own engine."""
    right = _right(asked, found)
    _, scene = np.unique(np.array([question.group for question in asked]), return_inverse=True)
    ones = np.ones(len(asked))
    return {
        "way": way,
        "n_questions": len(asked),
        "right": msgspec.to_builtins(clustered_share(right, ones, scene)),
        "more_than_local": msgspec.to_builtins(clustered_change(right - _right(asked, local), ones, scene)),
        "n_replies_as_local": sum(found[q.question_id].reply == local[q.question_id].reply for q in asked),
        "n_unread": sum(_read(q, found[q.question_id]) is None for q in asked),
    }


def _read(question: Question, reply: RawReply) -> tuple[str, ...] | None:
    return answers.read(question.form, reply.reply or "", len(question.options))


def _right(asked: Sequence[Question], found: dict[str, RawReply]) -> Any:
    return np.array([float(answers.is_exact(_read(q, found[q.question_id]), q.gold)) for q in asked])


def measure(options: argparse.Namespace, url: str, curated: Curated, asked: Sequence[Question]) -> list[dict[str, Any]]:
    """A row for our own engine, and one for each way of sending."""
    rule = TextPositions.TRANSFORMERS if options.server == "transformers" else TextPositions.ORIGINAL
    settings = DiagnosisSettings(
        split=curated.default_split(),
        n_frames=options.frames,
        max_new_tokens=options.tokens,
        dtype="float32",
        text_positions=rule,
    )
    local = replies(open_checkpoint(options.model, curated=curated, settings=settings), asked)
    rows = [row("local", asked, local, local)]
    for way in options.ways:
        told: list[str] = []
        chosen = msgspec.structs.replace(settings, dtype="auto", batch_size=4, **WAYS[way])
        try:
            endpoint = open_endpoint([url], options.model, curated=curated, settings=chosen, warn=told.append)
            found = replies(endpoint, asked)
        except VtError as error:
            rows.append({"way": way, "refused": " ".join(str(error)[:160].split())})
            continue
        said = endpoint.describe()
        rows.append(
            {**row(way, asked, found, local), **{key: said[key] for key in ("prompt_tokens", "prompt_length")}, "warned": told}
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| sent as | right, % | replies as our engine's | prompts of another length |", "| --- | --- | --: | --: |"]
    for one in rows:
        if "refused" in one:
            lines.append(f"| {one['way']} | refused: {one['refused'][:120]} | | |")
            continue
        length, around = one.get("prompt_length"), one["right"]["ci95"]
        differ = "" if length is None or not length["compared"] else f"{length['differ']} of {length['compared']}"
        interval = "" if around is None else f" [{100 * around[0]:.1f}, {100 * around[1]:.1f}]"
        share = f"{100 * one['right']['value']:.1f}{interval}"
        lines.append(f"| {one['way']} | {share} | {one['n_replies_as_local']} of {one['n_questions']} | {differ} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=SERVERS, default="vllm", help="what is started, or stands behind --endpoint")
    parser.add_argument("--engine-python", default=sys.executable, help="the Python of an environment that has the server")
    parser.add_argument("--endpoint", help="ask this server instead of starting one")
    parser.add_argument("--model", default=str(BASE), help="a checkpoint's folder, by which name the server has it")
    parser.add_argument("--data", type=Path, help="ask the first questions of this curated folder instead of making a world")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--seed", type=int, default=20261129, help="of the world")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=256, help="longest reply")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--patience", type=float, default=600, help="seconds that the server may take to start")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        curated = open_curated(options.data) if options.data else _world(Path(scratch), options.questions, options.seed)
        asked = curated.questions(curated.default_split())[: options.questions]
        if options.endpoint:
            rows = measure(options, options.endpoint, curated, asked)
        else:
            command = command_of(options.server, options.engine_python, options.model, options.frames)
            with started(command, Path(scratch) / "said", options.patience) as url:
                rows = measure(options, url, curated, asked)
    print(table(rows))
    options.engine_python, options.model = Path(options.engine_python).name, Path(options.model).name  # no path of this machine
    results.write_rows(options.out, options, rows)


if __name__ == "__main__":
    main()
