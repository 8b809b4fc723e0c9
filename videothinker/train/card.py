"""The README.md of a trained checkpoint: what it is, what it came from, how to measure it."""

import msgspec

from videothinker.records.training import Pool, TrainedOn, TrainRecord
from videothinker.train.stages import Direction, Reference, ReferenceClip, Stage, StageConfig

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


def model_card(record: TrainRecord) -> str:
    """Markdown with the front matter that model hubs read, about a finished run."""
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
    return f"""---
base_model: {model.ref}
library_name: transformers
pipeline_tag: video-text-to-text
tags: [videothinker, {record.stage}, grpo, trl]
---
# {record.stage} checkpoint

This checkpoint is {_what(msgspec.convert(record.settings, StageConfig))}.

| | |
| --- | --- |
{table}

Measure it, by category, with `vt diagnose --model <this folder> --data <curated folder> --out <run folder>`. Training curves
are in `metrics.jsonl`, every reply in `completions.parquet`, exact settings, hashes and versions in `run.json`.

<details><summary>Settings</summary>

```json
{settings}
```

</details>
"""
