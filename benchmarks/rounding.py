"""What rounding does to greedy replies: one checkpoint in float32, in bfloat16, and in bfloat16 with plain bfloat16 logits.

    vt world make world --scenes 600 --seed 1 --first-scene 12000 --preset clevrer74
    vt curate clevrer --annotations world/annotation_train --questions world/train.json --videos world/video_train \\
        --rule oracle --split heldout --out held
    vt checkpoint unpack data/study/bias.delta --base data/study/base --out bias
    python benchmarks/rounding.py held heldout data/study/base bias

Prints, for each checkpoint and each way, how many thoughts begin with `obs`, the accuracy on inferential questions, and how
many replies are the same as in float32. Each way takes about 80 s for 1,200 questions on two cores.
"""

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import results
from rich.console import Console
from rich.table import Table

from videothinker import answers
from videothinker.curated import Curated, open_curated
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.run import grade
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.models import load
from videothinker.records import Category, Prediction

WAYS = {"float32": ("float32", True), "bfloat16": ("bfloat16", True), "bfloat16, its logits too": ("bfloat16", False)}
"""The dtype of the weights, and whether the logits of the likeliest tokens are computed in float32 (`models.sharpen`)."""


def ask(ref: str, curated: Curated, settings: DiagnosisSettings, *, sharpened: bool) -> list[Prediction]:
    """What the checkpoint answers to every question of the split, in file order."""
    questions = {question.question_id: question for question in curated.questions(settings.split)}
    sharpen = load.sharpen if sharpened else lambda _model: None
    with mock.patch.object(load, "sharpen", sharpen):
        answerer = open_checkpoint(ref, curated=curated, settings=settings)
    given = {answer.question_id: answer for answer in answerer.answer(list(questions.values()))}
    return [grade(question, given[question_id], curated.labels) for question_id, question in questions.items()]


def measure(ref: str, curated: Curated, settings: DiagnosisSettings) -> list[dict[str, Any]]:
    """A row for each way of computing."""
    rows: list[dict[str, Any]] = []
    exact: list[str] = []
    for way, (dtype, sharpened) in WAYS.items():
        found = ask(ref, curated, msgspec.structs.replace(settings, dtype=dtype), sharpened=sharpened)
        replies = [one.reply for one in found]
        exact = exact or replies  # float32 comes first
        hard = [one for one in found if curated.labels.category(one.question_id) is Category.INFERENTIAL]
        rows.append(
            {
                "checkpoint": Path(ref).name,
                "way": way,
                "n_questions": len(found),
                "begins_with_obs": mean(["<think>obs" in reply for reply in replies]),
                "inferential_right": mean([answers.is_exact(one.chosen, one.gold) for one in hard]),
                "as_in_float32": mean([a == b for a, b in zip(replies, exact, strict=True)]),
            }
        )
    return rows


def mean(values: list[bool]) -> float | None:
    """The share that is true; None of nothing."""
    return sum(values) / len(values) if values else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="curated folder, under the rule oracle")
    parser.add_argument("split")
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--frames", type=int, default=16, help="this and the next two are what the study's checkpoints saw")
    parser.add_argument("--max-pixels", type=int, default=24 * 28 * 28)
    parser.add_argument("--tokens", type=int, default=96, help="longest reply")
    parser.add_argument("--out", type=Path, help="also write the shares to this JSON file")
    options = parser.parse_args()
    curated = open_curated(options.data)
    settings = DiagnosisSettings(
        split=options.split, n_frames=options.frames, max_pixels=options.max_pixels, max_new_tokens=options.tokens
    )
    rows = [row for ref in options.checkpoints for row in measure(ref, curated, settings)]
    table = Table("checkpoint", "computed in", "questions", "begin with obs, %", "inferential right, %", "as in float32, %")
    for row in rows:
        shares = (row[key] for key in ("begins_with_obs", "inferential_right", "as_in_float32"))
        cells = ("-" if share is None else f"{100 * share:.1f}" for share in shares)
        table.add_row(row["checkpoint"], row["way"], f"{row['n_questions']:,}", *cells)
    Console().print(table)
    results.write(options.out, {"rows": rows})


if __name__ == "__main__":
    main()
