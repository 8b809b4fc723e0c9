"""What a pretraining writes into its folder beside the checkpoint: run.json, metrics.jsonl, and the checkpoint's README.md.

The names of files and fields stay as they are, since folders of earlier versions are resumed and read.
"""

from pathlib import Path
from typing import Any

import msgspec

from videothinker import store
from videothinker.errors import VtError
from videothinker.pretrain.examine import Scores
from videothinker.pretrain.settings import PretrainConfig
from videothinker.records.training import METRICS, RUN


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A line of metrics.jsonl: means since the line before."""

    step: int
    loss: float
    """Nats per reply token."""
    loss_questions: float
    """Nats per token of the thoughts and answers of questions; 0 where there are none."""
    loss_tracks: float
    """Nats per token of tracks; 0 where there are none."""
    perception: float
    """Loss of the perception heads per object in sight."""
    named: float
    """Share of the visual tokens with an object's centre that the heads name right, in [0, 1]."""
    gone: float
    """Share of the run that is over, by steps or by minutes as `optimizer.schedule` says."""
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    seconds: float
    """Seconds per step, without evaluations; the first line's includes compiling."""
    waiting: float
    """Share of that time spent waiting for lessons."""
    scenes: int
    """Scenes that were simulated since the start of the run."""
    questions: int
    """Questions that were taught since the start of the run."""
    tokens: int
    """Tokens of all sequences since the start of the run."""
    unseen: Scores | None = None
    """Scores on scenes that are never trained on; None where this line has no evaluation."""
    trained: Scores | None = None
    """Scores on scenes that were trained on, in their own colours."""


def begin(config: PretrainConfig, *, start: str | None, sha256: str | None, max_minutes: float | None) -> dict[str, Any]:
    """The content of a new run.json. Settings and start are its identity; where it computes is not.

    start, sha256: the checkpoint that the run starts from, and the hash of its weights.
    """
    settings = msgspec.to_builtins(config)
    return {
        "stage": "sft",
        "settings": settings,
        "start": {"ref": start, "sha256": sha256},
        "identity": store.sha256_json([sha256, _decisive(settings)]),
        "max_minutes": max_minutes,
        "finished": False,
        "provenance": store.provenance(),
    }


def earlier(out: Path, told: dict[str, Any]) -> dict[str, Any]:
    """The run.json of the run to resume, of which `told` is a new one; {} if `out` is empty.

    Raises:
        VtError: `out` holds something else, another run, or this very run, finished.
    """
    advice = "choose another --out"
    found = store.claim(out, RUN, _identity(told), what="a pretraining", advice=advice, in_todays_form=_identity)
    if found is not None and found["finished"]:
        raise VtError(f"{out}: holds this very run, finished; choose another --out to train again")
    return found or {}


def _identity(told: dict[str, Any]) -> dict[str, Any]:
    """What makes two runs the same: where it computes is not part of it."""
    # Settings that came later than the folder count with their defaults.
    settings = msgspec.to_builtins(msgspec.convert(told["settings"], PretrainConfig))
    return {"settings": _decisive(settings), "start": {"sha256": told["start"]["sha256"]}}


def _decisive(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "compute"}


def forget_after(out: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl after `step`: a killed run wrote them after its last saved step, and repeats them."""
    if (out / METRICS).is_file():
        store.write_jsonl(out / METRICS, [point for point in store.read_jsonl(out / METRICS, CurvePoint) if point.step <= step])


def last_point(out: Path) -> CurvePoint | None:
    """The last line of metrics.jsonl; None if there is none."""
    points = store.read_jsonl(out / METRICS, CurvePoint) if (out / METRICS).is_file() else []
    return points[-1] if points else None


def card(record: dict[str, Any]) -> str:
    """README.md of the checkpoint, from the content of its run.json."""
    result = record["result"]
    last, fed = result["last"], result["fed"]

    def row(name: str, scores: Scores | None) -> str:
        if scores is None:
            return f"| {name} | | | | |"
        cells = (scores.counterfactual, scores.counterfactual_inferential, scores.observed, scores.greedy)
        return f"| {name} | " + " | ".join(f"{100 * cell:.1f}" for cell in cells) + " |"

    return f"""---
library_name: transformers
pipeline_tag: video-text-to-text
tags: [videothinker, sft]
---
# A tiny Qwen2.5-VL for VideoThinker's generated world

{result["parameters"]:,} parameters, pretrained by `vt pretrain` for {result["steps"]:,} steps on
{result["scenes"]:,} generated scenes ({result["questions"]:,} questions). It knows nothing but this world: coloured
solids that collide, asked about in CLEVRER's words. Its thoughts begin with `cf` (what would happen) or `obs` (what is seen).

Whole answers right, percent, at step {result["steps"]}:

| scenes | thought begun with `cf` | of these, inferential | begun with `obs` (observer's answer) | as it comes |
| --- | --- | --- | --- | --- |
{row("unseen", last and last.unseen)}
{row("trained on", last and last.trained)}

{_forms_table(last)}Measure it by category with `vt diagnose --model <this folder> --data <curated folder> --out <run folder>`,
on clips of the generated world, which it sees as {fed["frames"]} frames of {fed["width"]}x{fed["height"]}. Settings and
versions are in `run.json`, curves in `metrics.jsonl`.
"""


def _forms_table(last: CurvePoint | None) -> str:
    """The part of `card` about further forms; "" for a checkpoint that was not asked in any."""
    if last is None or last.unseen is None or not last.unseen.forms:
        return ""
    found, inferential = last.unseen.forms, "of these, inferential"
    rows = (
        ("factual twin (what is seen)", found.twin, found.twin_inferential),
        ("twice, first answer where one is given", found.first, found.first_inferential),
        ("twice, second answer", found.second, found.second_inferential),
        ("direct", found.direct, found.direct_inferential),
    )
    lines = "\n".join(f"| {name} | {100 * every:.1f} | {100 * some:.1f} |" for name, every, some in rows)
    return f"""Asked in further forms, on unseen scenes and left to itself, percent:

| form | all | {inferential} |
| --- | --- | --- |
{lines}

In the style "twice" {100 * found.well_laid_out:.1f} % of the replies are laid out as asked, and {100 * found.falls_back:.1f} %
fall back. Of the first answers to inferential questions {100 * found.first_observed:.1f} % are the observer's.

"""
