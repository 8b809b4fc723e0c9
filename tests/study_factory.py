"""Studies and finished cells made up for tests: the files that the commands would have written, without the commands."""

import math
import zlib
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from curated_factory import write_curated
from report_factory import answer, make
from trained import a_gate, a_train_record

from videothinker import store
from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.curated import Labels, open_curated
from videothinker.diagnose import files, metrics
from videothinker.records import Prediction, Question, RunRecord
from videothinker.records.run import AskedData
from videothinker.records.study import Study
from videothinker.records.study_cells import Record, State
from videothinker.study.cells import record_file
from videothinker.study.config import load_study
from videothinker.study.plan import Cell, Kind, cell_folder, make_plan

SKILL = {"base": 0.78, "bias": 0.42, "grpo": 0.70, "cdpo": 0.73, "repel-start": 0.67, "attract": 0.66, "repulsion-03": 0.71}
"""Of a made-up arm; 0.72 for any other."""

FILE = """
title = "A made-up study"
note = "Every number of this page is made up."
model = "lab/tiny"
seeds = [1, 2, 3, 4]

[prepare.curated]
run = "curate clevrer --annotations a --questions q --out {out}"
minutes = 1

[train]
data = "curated"
steps = 40
configs = { bias = "bias.toml", cdpo = "cdpo.toml", grpo = "grpo.toml" }
seconds_per_step = 1.5

[arms.grpo]
stage = "grpo"
against = ["base"]

[arms.bias]
stage = "bias"
against = ["base"]

[arms.cdpo]
stage = "cdpo"
against = ["grpo", "base"]

[arms.repel-start]
stage = "cdpo"
seeds = 2
note = "repelled from its own start"
set = { "objective.reference" = "start" }
against = ["cdpo", "grpo"]

[arms.attract]
stage = "cdpo"
seeds = 2
note = "attracted to the bias model"
set = { "objective.direction" = "attract" }

[arms.repulsion-03]
stage = "cdpo"
seeds = 2
note = "repulsion 0.03"
set = { "objective.repulsion" = 0.03 }

[ask.greedy]
data = "curated"
minutes = 2

[ask.sampled]
data = "curated"
options = "--temperature 1"
note = "temperature 1"
minutes = 2

[[sweeps]]
factor = "repulsion"
arms = { repulsion-03 = 0.03, grpo = 0, cdpo = 0.01 }

[[claims]]
text = "GRPO lowers accuracy on inferential questions"
holds = ["grpo < base"]

[[claims]]
text = "CDPO beats GRPO"
holds = ["cdpo > grpo"]

[[claims]]
text = "Attraction is worse than repulsion"
holds = ["attract < cdpo"]
"""


def write_study(folder: Path, text: str = FILE) -> Path:
    """The study's file, with the files that it names beside it."""
    for stage in ("auto", "bias", "cdpo", "grpo"):
        objective = "[objective]\nrepulsion = 0.01\n" if stage == "cdpo" else ""
        store.write_text(folder / f"{stage}.toml", f'stage = "{stage}"\n{objective}')
    store.write_text(folder / "study.toml", text)
    return folder / "study.toml"


def make_study(folder: Path, text: str = FILE) -> tuple[Study, tuple[Cell, ...]]:
    file = write_study(folder, text)
    study = load_study(file)
    return study, make_plan(study, file.parent)


def finish(cell: Cell, folder: Path, questions: list[Labelled] | None = None, **record: Any) -> None:
    """Write what the cell's command would have, and its record."""
    out = cell_folder(folder, cell.name)
    if cell.kind is Kind.PREPARE:
        write_curated(out, {"dev": questions or make(120, 3).questions["train"]})
    elif cell.kind is Kind.TRAIN:
        _train(cell, out)
    elif cell.kind is Kind.BLEND:
        store.write_json(out / "blend.json", {"weight": 0.5})
    else:
        _ask(cell, out, folder)
    fields = {"state": State.FINISHED, "command": "vt " + " ".join(cell.arguments), "seconds": 60.0, **record}
    store.write_json(record_file(folder, cell.name), Record(identity=cell.identity, **fields))


def _train(cell: Cell, out: Path) -> None:
    rng, arm = Random(cell.name), cell.arm or ""
    broken = cell.name == "repel-start-s2"
    for step in range(1, (cell.steps or 0) + 1):
        part = step / (cell.steps or 1)
        soft = 0.62 + 0.2 * (1 - math.exp(-4 * part)) + rng.gauss(0, 0.02) - 0.5 * part**4 * broken
        row: dict[str, Any] = {"step": step, "loss": 0.01, "reward": soft + 1, "reward/accuracy": soft, "reward/format": 1.0}
        row |= {"kl": None if arm in ("bias", "grpo") else 0.02 + 0.3 * part + 2 * part**4 * broken, "seconds": 1.2}
        row |= {"length": 24 + rng.gauss(0, 0.5) + 20 * part**4 * broken, "alarms": []}
        if broken and part > 0.9:
            row["alarms"] = ["replies have grown from 24 to 41 tokens"]
        with store.JsonlAppender(out / "metrics.jsonl") as file:
            file.append(row)
    if cell.arguments[1] == "bias":
        store.write_json(out / "gate.json", a_gate())
    store.write_json(out / "run.json", a_train_record(cell.arguments[1]))


def _ask(cell: Cell, out: Path, folder: Path) -> None:
    curated = open_curated(cell_folder(folder, "curated"))
    questions, labels = curated.questions("dev"), curated.labels
    name = cell.name.partition(".")[2]
    rng = Random(cell.name)
    skill = SKILL.get(cell.arm or "", 0.72) + rng.gauss(0, 0.01) - 0.15 * (cell.ask == "sampled")
    predictions = [
        answer(one, labels.observer(one.question_id) or (), _mind(one, name), skill=skill, shortcut=0.6) for one in questions
    ]
    write_answers(out / name, name, questions, labels, predictions)


def _mind(question: Question, name: str) -> Random:
    """The luck of all checkpoints on a question is much the same, so that differences between them are paired."""
    return Random(question.question_id if zlib.crc32(question.question_id.encode()) % 10 else f"{name} {question.question_id}")


def write_answers(
    folder: Path, name: str, questions: list[Question], labels: Labels, predictions: list[Prediction], split: str = "dev"
) -> None:
    """A finished run of `vt diagnose`, with the report beside it."""
    store.write_jsonl(folder / files.PREDICTIONS, predictions)
    store.write_json(folder / files.METRICS, metrics.summarize(questions, predictions, labels))
    record = RunRecord(
        name=name,
        model=name,
        kind="checkpoint",
        settings={"split": split},
        data=AskedData(hash=files.data_hash(questions, labels), split=split, n_questions=len(questions)),
        provenance={"data": str(folder)},
    )
    store.write_json(folder / files.RUN, record)
    store.write_text(folder.parent / "report.html", "<html>")


def plain(value: Any) -> Any:
    """A record as JSON holds it."""
    return msgspec.json.decode(msgspec.json.encode(value))
