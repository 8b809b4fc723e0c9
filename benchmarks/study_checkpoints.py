"""Keep a finished study's checkpoints of one seed where `vt demo` finds them: small, and each with a card.

    python benchmarks/study_checkpoints.py runs/study-world data/study
    python benchmarks/study_checkpoints.py runs/study-world data/study --base runs/base --seed 2

OUT gets base/, and NAME.delta with NAME.md for each of bias, grpo and cdpo, from which `vt checkpoint unpack` makes checkpoints
again; each is unpacked once, to see that it can be. The cards' numbers are those of the study's own diagnoses.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from videothinker import store
from videothinker.errors import VtError
from videothinker.models import delta
from videothinker.models.checkpoint import Checkpoint, weights_hash
from videothinker.records import Metrics
from videothinker.reports.page import Table, count, estimate

ARMS = ("bias", "grpo", "cdpo")
WHAT = {
    "base": "It was pretrained to imagine and to watch, and is what the others were trained from.",
    "bias": "A **bias model**: trained by GRPO on observational questions alone, to answer from what is seen; it exists to be "
    "repelled from.",
    "grpo": "The GRPO baseline: trained on all questions, 74 % of them observational.",
    "cdpo": "Trained by CDPO: GRPO on all questions, repelled from the bias model.",
}
MODEL_FILES = ("*.safetensors", "*config.json", "tokenizer*.json", "*.jinja")
PACKED = "rounded.delta"
"""A training's weights in a study that came from another machine: the very file that is wanted here."""

console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder that `vt study` wrote")
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", type=Path, help="the start model, if not the study's cell base")
    parser.add_argument("--seed", type=int, default=1, help="of the trainings; the first of the study")
    parser.add_argument("--bias-note", default="", help="what else the bias model's card should say")
    options = parser.parse_args()
    keep(options.study, options.out, options.base or options.study / "cells" / "base", options.seed, options.bias_note)


def keep(study: Path, out: Path, base: Path, seed: int, bias_note: str) -> None:
    """Fill `out` with a study's start model and the checkpoints of one seed.

    base: the start model's folder. bias_note: a further paragraph for the bias model's card.

    Raises:
        VtError: a run is missing, unfinished, or was not trained from `base`.
    """
    start = weights_hash(Checkpoint(base, None))
    store.write_folder(out / "base", lambda folder: _copy(base, folder))
    record = store.read_json(base / "run.json", dict[str, Any])
    about = {"Weights": f"`{start[:12]}`, bfloat16", "Pretrained on": _lessons(record["result"])}
    if record["start"]["sha256"]:
        about["Before that"] = f"an earlier piece of pretraining, weights `{record['start']['sha256'][:12]}`"
    store.write_text(out / "base" / "README.md", card("base", WHAT["base"], about, record, scores(study, "base")))
    packed: dict[str, str] = {}
    for arm in ARMS:
        name = f"{arm}-s{seed}"
        cell = study / "cells" / name
        record = store.read_json(cell / "run.json", dict[str, Any])
        if not record["finished"] or record["model"]["sha256"] != start:
            raise VtError(f"{cell}: is unfinished or was not trained from {base}")
        if (cell / PACKED).is_file():
            store.write_bytes(out / f"{arm}.delta", (cell / PACKED).read_bytes())
        else:
            delta.pack(base, cell, out / f"{arm}.delta")
        with tempfile.TemporaryDirectory() as scratch:
            sha256 = delta.unpack(out / "base", out / f"{arm}.delta", Path(scratch) / arm)
        packed[arm] = sha256
        about = {"Weights": f"`{sha256[:12]}`, bfloat16, to which the float32 of the training was rounded"}
        about["Trained on"] = (
            f"{record['data']['n_questions']:,} questions of the generated world, categories by the rule "
            f"{record['data']['rule']}"
        )
        about["Start"] = f"base, weights `{start[:12]}`"
        if record["bias_model"]:
            if Path(record["bias_model"]["ref"]).name != f"bias-s{seed}":
                raise VtError(f"{cell}: was repelled from {record['bias_model']['ref']}, expected bias-s{seed}")
            about["Repelled from"] = (
                f"bias-s{seed} in float32, weights `{record['bias_model']['sha256'][:12]}`; rounded, "
                f"`{packed['bias'][:12]}`, it is `bias.delta`"
            )
        note = f"{WHAT[arm]}{gates(study, seed) if arm in ('bias', 'cdpo') else ''}"
        if arm == "bias" and bias_note:
            note += f"\n\n{bias_note}"
        store.write_text(out / f"{arm}.md", card(name, note, about, record, scores(study, name)))
        console.print(f"{arm}.delta: {(out / f'{arm}.delta').stat().st_size:,} bytes")
    console.print(f"{out}: {sum(path.stat().st_size for path in out.rglob('*') if path.is_file()) / 1e6:.1f} MB in all")


def _copy(base: Path, folder: Path) -> None:
    for path in (path for pattern in MODEL_FILES for path in base.glob(pattern)):
        shutil.copyfile(path, folder / path.name)


def _lessons(result: dict[str, Any]) -> str:
    return (
        f"{result['scenes']:,} generated scenes, recoloured again and again; a question was answered "
        f"{result['questions']:,} times in {result['minutes']} minutes on {result['processes']} {result['device']}"
    )


def scores(study: Path, name: str) -> dict[str, Metrics]:
    """The metrics of the run `name` in each of the study's ways of asking, by what the card calls that way."""
    found = sorted(study.glob(f"cells/*.{name}/{name}/metrics.json"))
    if not found:
        raise VtError(f"{study}: has no answers of {name}; finish the study")
    by_ask: dict[str, Metrics] = {}
    for path in found:
        temperature = store.read_json(path.with_name("run.json"), dict[str, Any])["settings"]["temperature"]
        by_ask[f"at temperature {temperature:g}" if temperature else "greedily"] = store.read_json(path, Metrics)
    return by_ask


def gates(study: Path, seed: int) -> str:
    """A paragraph on this seed's bias model where it did not pass the gate of `vt train bias`; else nothing."""
    found = [store.read_json(path, dict[str, Any]) for path in study.glob("cells/bias-s*/gate.json")]
    one = store.read_json(study / "cells" / f"bias-s{seed}" / "gate.json", dict[str, Any])
    if one["passed"]:
        return ""
    passed = sum(gate["passed"] for gate in found)
    return (
        f"\n\nThe bias model **did not pass the gate** of `vt train bias`: {'; '.join(one['reasons'])}, on the "
        f"{one['bias']['n_inferential']:,} inferential questions of the {one['split']} split. Of the study's {len(found)} "
        f"bias models, one per seed, {passed or 'none'} passed; it goes on with them all (`vt train cdpo --force`)."
    )


def card(name: str, note: str, about: dict[str, str], record: dict[str, Any], by_ask: dict[str, Metrics]) -> str:
    """The README of a checkpoint: Markdown with the front matter that model hubs read.

    note: what it is. about: rows of its table. record: its run.json, of a training or of a pretraining. by_ask: its metrics.
    """
    settings, result = record["settings"], record["result"]
    about = {
        "Stage": record["stage"],
        "Seed": settings["seed"],
        "Steps": f"{result['steps']:,}",
        "Parameters": f"{result['parameters']:,}",
        **about,
    }
    first = next(iter(by_ask.values()))
    table = Table(
        "accuracy",
        f"Questions answered exactly right, of scenes that no training saw, with 95 % intervals by scene, rule "
        f"{first.rule}. Shortcut reliance: inferential questions answered as an observer would who only watches.",
        (
            "Asked",
            f"Observational (of {count(first.observational.n_questions)})",
            f"Inferential (of {count(first.inferential.n_questions)})",
            "Shortcut reliance",
        ),
        [
            (
                ask,
                estimate(one.observational.per_question),
                estimate(one.inferential.per_question),
                estimate(one.shortcut_reliance),
            )
            for ask, one in by_ask.items()
        ],
    )
    arm = name.partition("-")[0]
    again = f"\nMake it, beside `base`: `vt checkpoint unpack {arm}.delta --base base --out {arm}`\n" if arm != "base" else ""
    rows = "\n".join(f"| {key} | {value} |" for key, value in about.items())
    return f"""---
library_name: transformers
pipeline_tag: video-text-to-text
tags: [videothinker, {record["stage"]}]
---
# {name}

A tiny Qwen2.5-VL that **knows nothing but this world**: generated clips of coloured solids that collide, and counterfactual
questions about them in CLEVRER's words. {note}

This is one run. What differs beyond chance, over scenes and over seeds, is in the report of its study, `reports/study-world`.

| | |
| --- | --- |
{rows}

{table.markdown()}
{again}
<details><summary>Settings</summary>

```json
{msgspec.json.format(msgspec.json.encode(settings), indent=2).decode()}
```

</details>
"""


if __name__ == "__main__":
    try:
        main()
    except VtError as error:
        raise SystemExit(f"error: {error}") from None
