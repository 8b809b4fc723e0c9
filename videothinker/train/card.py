"""The README.md of a trained checkpoint: what it is, what it came from, how to measure it."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from videothinker.records.training import Pool, TrainedOn, TrainRecord
from videothinker.train.objective import Direction, Reference, ReferenceClip
from videothinker.train.stages import Stage, StageConfig

_REFERENCE = {Reference.BIAS: "a frozen bias model", Reference.START: "a frozen copy of its start", Reference.SELF: "itself"}
_SHOWN = {
    ReferenceClip.SAME: "",
    ReferenceClip.BLANK: " on a blank clip",
    ReferenceClip.FROZEN: " on the clip's first frame, frozen",
    ReferenceClip.SHUFFLED: " on the clip with its frames shuffled",
    ReferenceClip.REVERSED: " on the clip played backwards",
    ReferenceClip.MIRRORED: " on the clip mirrored",
}
_PUSH = {Direction.REPEL: "repelled from", Direction.ATTRACT: "attracted to"}


class Measurements(NamedTuple):
    """A table of how checkpoints answered, as text: this one and those that it is to be held against."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _results(found: Measurements | None) -> str:
    if found is None:
        return ""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (found.headings, *found.rows)]
    ruled = "\n".join([lines[0], "| " + " | ".join("---" for _ in found.headings) + " |", *lines[1:]])
    return f"\n## Results\n\n{ruled}\n\n{found.caption}\n"


def _measure(form: str | None, start: str, repo_id: str | None, stage: str) -> str:
    """How a reader measures what lies beside the card. form: of what was uploaded; None: the training's own folder."""
    if form == "delta":
        return (
            f"What lies here is its difference from the start. `vt checkpoint unpack {stage}.delta --base <folder of {start}>"
            " --out <folder>` makes the whole checkpoint of it."
        )
    ref = repo_id or "<this folder>"
    return f"Measure it, by category, with `vt diagnose --model {ref} --data <curated folder> --out <run folder>`."


def _what(config: StageConfig) -> str:
    if config.stage is Stage.BIAS:
        return "a **bias model**, trained on purpose to answer from what is seen; it exists to be repelled from, not to be used"
    if config.stage is Stage.GRPO:
        return "the GRPO baseline: trained like CDPO, without repulsion"
    objective = config.objective
    near = f", kept near its start by a divergence of weight {objective.anchor:g}" if objective.anchor else ""
    if config.stage is Stage.AUTO and not config.needs_reference:
        return f"trained by GRPO to answer, think and answer again (VideoAuto-R1){near}"
    reference = _REFERENCE[objective.reference] + _SHOWN[objective.reference_clip]
    how = " on replies that answer, think and answer again (VideoAuto-R1)" if config.stage is Stage.AUTO else ""
    return f"trained by CDPO: GRPO{how} while being {_PUSH[objective.direction]} {reference}{near}"


def _labels(data: TrainedOn) -> str:
    if isinstance(data.pool, Pool) and data.pool.labels:
        return f"labels {data.pool.label_set}"
    return f"rule {data.rule or 'none'}"


def _pool_rows(record: TrainRecord) -> list[tuple[str, str]]:
    """What the questions were chosen by, if by more than their stage."""
    pool = record.data.pool
    if not isinstance(pool, Pool) or pool.n_matched is None:
        return []
    where = record.settings["data"]["where"].replace("|", "\\|")
    unknown = f"; unknown of {pool.n_unknown}" if pool.n_unknown else ""
    return [("Where", f"`{where}`: {pool.n_matched} of {pool.n_split} questions{unknown}")]


def model_card(
    record: TrainRecord, results: Measurements | None = None, *, form: str | None = None, repo_id: str | None = None
) -> str:
    """Markdown with the front matter that model hubs read, about a finished run.

    results: what a diagnosis found. form, repo_id: adapter, merged or delta, and where it is uploaded to; None: the card stays
    in the training's folder.
    """
    model, bias, data, result = record.model, record.bias_model, record.data, record.result
    assert result is not msgspec.UNSET
    n_asked = f"{data.n_questions}" if result.n_asked is None else f"{result.n_asked} of {data.n_questions} drawn"
    rows = [
        ("Start", f"`{model.ref}` (weights `{model.sha256[:12]}`)"),
        ("Bias model", f"`{bias.ref}` (weights `{bias.sha256[:12]}`)" if bias else "-"),
        ("Data", f"{n_asked} counterfactual questions on CLEVRER-format clips, {_labels(data)}"),
        *_pool_rows(record),
        ("Fed", ", ".join(f"{name} {value}" for name, value in msgspec.to_builtins(record.fed).items())),
        ("Text positions", record.text_positions),
        ("Prompt", msgspec.convert(record.settings, StageConfig).data.asked.told()),
        ("Steps", f"{result.steps}, {result.seconds_per_step:.2f} s each"),
        ("Trained", f"{result.trainable:,} of {result.parameters:,} parameters"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    settings = msgspec.json.format(msgspec.json.encode(record.settings), indent=2).decode()
    # Model hubs refuse a card whose base is no repository of theirs.
    base = "" if Path(model.ref).is_dir() else f"base_model: {model.ref}\n"
    kept = "Every reply is in `completions.parquet`; training" if form is None else "Training"
    return f"""---
{base}library_name: transformers
pipeline_tag: video-text-to-text
tags: [videothinker, {record.stage}, grpo, trl]
---
# {record.stage} checkpoint

This checkpoint is {_what(msgspec.convert(record.settings, StageConfig))}.

| | |
| --- | --- |
{table}
{_results(results)}
{_measure(form, model.ref, repo_id, record.stage)} {kept} curves are in `metrics.jsonl`, exact settings, hashes and versions in
`run.json`.

<details><summary>Settings</summary>

```json
{settings}
```

</details>
"""
