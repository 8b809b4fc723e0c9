"""What rounding does to greedy replies: one checkpoint in float32, in bfloat16, and in bfloat16 with plain bfloat16 logits.

    vt world make world --scenes 600 --seed 1 --first-scene 12000
    vt curate clevrer --annotations world/annotation_train --questions world/train.json --videos world/video_train \\
        --rule oracle --split heldout --out held
    vt checkpoint unpack data/study/bias.delta --base data/study/base --out bias
    python benchmarks/rounding.py held heldout data/study/base bias

Prints, for each checkpoint and each way, how many thoughts begin with `obs`, inferential accuracy, and how many replies are
those of float32. Some 80 s a way and 1,200 questions on two cores.
"""

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from videothinker.cli import app
from videothinker.models import load
from videothinker.records import Prediction
from videothinker.store import read_jsonl

OPTIONS = ["--frames", "16", "--max-pixels", "18816", "--max-new-tokens", "96", "--no-report"]
"""What the study's checkpoints were trained with."""
WAYS = {"float32": ("float32", True), "bfloat16": ("bfloat16", True), "bfloat16, its logits too": ("bfloat16", False)}
"""The dtype, and whether logits are sharpened."""


def main() -> None:
    data, split, *checkpoints = sys.argv[1:]
    table = Table("checkpoint", "computed in", "questions", "begin with obs, %", "inferential right, %", "as in float32, %")
    sharpen = load.sharpen
    for checkpoint in checkpoints:
        exact: list[str] = []
        for way, (dtype, sharpened) in WAYS.items():
            load.sharpen = sharpen if sharpened else lambda _model: None
            with tempfile.TemporaryDirectory() as out:
                asked = ["--model", f"one={checkpoint}", "--data", data, "--split", split, "--out", out, "--dtype", dtype]
                app(["diagnose", *asked, *OPTIONS], standalone_mode=False)
                rows = read_jsonl(Path(out) / "one" / "predictions.jsonl", Prediction)
            replies = [row.reply or "" for row in rows]
            exact = exact or replies
            inferential = [row for row in rows if row.gold != row.observer]
            shares = (
                sum("<think>obs" in reply for reply in replies) / len(rows),
                sum(row.chosen == row.gold for row in inferential) / len(inferential),
                sum(a == b for a, b in zip(replies, exact, strict=True)) / len(rows),
            )
            table.add_row(Path(checkpoint).name, way, f"{len(rows):,}", *(f"{100 * share:.1f}" for share in shares))
    Console().print(table)


if __name__ == "__main__":
    main()
