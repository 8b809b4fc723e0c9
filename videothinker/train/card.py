"""The README.md of a trained checkpoint: what it is, what it came from, how to measure it."""

from typing import Any

import msgspec

_WHAT = {
    "bias": "a **bias model**, trained on purpose to answer from what is seen; it exists to be repelled from, not to be used",
    "cdpo": "trained by CDPO: GRPO while being repelled from a frozen bias model",
    "grpo": "the GRPO baseline: trained like CDPO, without repulsion",
}


def model_card(record: dict[str, Any]) -> str:
    """Markdown with the front matter that model hubs read. `record` is the run's run.json."""
    model, bias, data, result = record["model"], record["bias_model"], record["data"], record["result"]
    rows = [
        ("Start", f"`{model['ref']}` (weights `{model['sha256'][:12]}`)"),
        ("Bias model", f"`{bias['ref']}` (weights `{bias['sha256'][:12]}`)" if bias else "-"),
        ("Data", f"{data['n_questions']} counterfactual questions on CLEVRER-format clips, rule {data['rule']}"),
        ("Fed", ", ".join(f"{name} {value}" for name, value in record["fed"].items())),
        ("Steps", f"{result['steps']}, {result['seconds_per_step']:.2f} s each"),
        ("Trained", f"{result['trainable']:,} of {result['parameters']:,} parameters"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    settings = msgspec.json.format(msgspec.json.encode(record["settings"]), indent=2).decode()
    return f"""---
base_model: {model["ref"]}
library_name: transformers
pipeline_tag: video-text-to-text
tags: [videothinker, {record["stage"]}, grpo, trl]
---
# {record["stage"]} checkpoint

This checkpoint is {_WHAT[record["stage"]]}.

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
