"""A whole training stage, from curated data and checkpoints to a finished folder.

    data = open_curated(Path("curated"))
    run.train(config, data=data, start="Qwen/Qwen2.5-VL-3B-Instruct", bias="runs/bias", out=Path("runs/cdpo"))

A folder holds one run. run.json is written first with `finished` false; the same settings resume from the last trainer
checkpoint, others are refused. Under `accelerate launch` every process calls `train`; the main one writes.
"""

import gc
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch

from videothinker import store
from videothinker.curated import Curated
from videothinker.errors import VtError
from videothinker.records import Rule
from videothinker.steps import StepRecord
from videothinker.train.arguments import grpo_arguments, rows_at_once
from videothinker.train.build import build_trainer, check_packages, find_reference
from videothinker.train.card import model_card
from videothinker.train.checkpoint import Checkpoint, check_reference, find_checkpoint, weights_hash
from videothinker.train.data import TrainingRow, training_questions, training_rows, warn_about_observer
from videothinker.train.process import is_main, leave_the_others, peak_bytes
from videothinker.train.stages import Reference, Stage, StageConfig

RUN = "run.json"


class FinishedError(VtError):
    """The folder holds this very run, finished."""


class Summary(NamedTuple):
    """What a run, or a dry run, came to."""

    out: Path
    steps: int
    seconds_per_step: float
    """Over the steps of this call; after resuming, those alone."""
    tokens_per_step: float
    """Prompt and reply tokens."""
    peak_bytes: int
    """Most memory allocated on this process's GPU; on a CPU the process's peak resident memory."""
    parameters: int
    trainable: int


def _silent(_: Any) -> None:
    pass


def train(
    config: StageConfig,
    *,
    data: Curated,
    start: str,
    out: Path,
    bias: str | None = None,
    rule: Rule | None = None,
    dry_run: bool = False,
    report: Callable[[StepRecord], None] = _silent,
    warn: Callable[[str], None] = _silent,
) -> Summary:
    """Run the stage, or take up where an earlier run with the same settings ended.

    start: checkpoint to train, a folder or a hub id. bias: checkpoint to repel from, needed by CDPO unless
    `objective.reference` is start. rule: whose categories choose the questions of stage `bias`; None: the curated folder's own.
    dry_run: one step on real data, nothing kept. report: called with every `StepRecord`.

    Raises:
        VtError: data, checkpoints or `out` do not fit the settings; a clip is missing.
    """
    questions = training_questions(data, config, rule)
    rows = training_rows(data, questions, config)
    if config.stage is Stage.BIAS:
        warn_about_observer(questions, rule or data.manifest.rule, warn)
    check_packages(config)
    first = find_checkpoint(start)
    reference = find_reference(config, first, bias)
    if dry_run:
        if reference is not None:
            _checked_hash(config, first, reference)
        config = msgspec.structs.replace(config, optimizer=msgspec.structs.replace(config.optimizer, steps=1))
        with tempfile.TemporaryDirectory() as scratch:
            return _run(config, Path(scratch), first, reference, rows, report, warn, keep=False)[0]
    record: dict[str, Any] = {}
    if is_main():  # the others find out by being ended
        record = {
            "stage": config.stage,
            "settings": msgspec.to_builtins(config),
            "model": {"ref": start, "sha256": weights_hash(first)},
            "bias_model": reference and {"ref": bias or start, "sha256": _checked_hash(config, first, reference)},
            "data": {
                "folder": str(data.folder),
                "sha256": store.sha256_file(data.split_file(config.data.split)),
                "rule": rule or data.manifest.rule,
                "n_questions": len(rows),
            },
        }
        _take(out, record)
    summary, facts = _run(config, out, first, reference, rows, report, warn, keep=True)
    if is_main():
        record |= {"finished": True, "result": summary._asdict() | {"out": str(out)}, **facts}
        store.write_text(out / "README.md", model_card(record))
        store.write_json(out / RUN, record)
    return summary


def _checked_hash(config: StageConfig, start: Checkpoint, reference: Checkpoint) -> str:
    return check_reference(start, reference, may_be_start=config.objective.reference is Reference.START)


def _take(out: Path, record: dict[str, Any]) -> None:
    """Make `out` this run's folder, or find that it is; writes run.json with `finished` false.

    Raises:
        VtError: it holds something else; as FinishedError, this very run, finished.
    """
    identity = store.sha256_json(_identity(record))
    if (out / RUN).is_file():
        earlier = store.read_json(out / RUN, dict[str, Any])
        if earlier.get("identity") != identity:
            raise VtError(f"{out}: holds a run with other settings, data or checkpoints; choose another --out")
        if earlier["finished"]:
            raise FinishedError(f"{out}: holds this very run, finished; choose another --out to train again")
    elif out.is_dir() and any(out.iterdir()):
        raise VtError(f"{out}: is not empty and holds no {RUN}; choose a new folder for --out")
    record |= {"identity": identity, "finished": False, "provenance": store.provenance()}
    store.write_json(out / RUN, record)


def _identity(record: dict[str, Any]) -> dict[str, Any]:
    """What makes two runs the same: all but paths and what is only kept or shown."""
    settings = {name: value for name, value in record["settings"].items() if name != "saving"}
    data = {name: value for name, value in record["data"].items() if name != "folder"}
    hashes = [record[name] and record[name]["sha256"] for name in ("model", "bias_model")]
    return {"settings": settings, "data": data, "hashes": hashes, "save_every": record["settings"]["saving"]["save_every"]}


def _run(
    config: StageConfig,
    out: Path,
    start: Checkpoint,
    reference: Checkpoint | None,
    rows: Sequence[TrainingRow],
    report: Callable[[StepRecord], None],
    warn: Callable[[str], None],
    *,
    keep: bool,
) -> tuple[Summary, dict[str, Any]]:
    from transformers import AutoConfig
    from transformers.trainer_utils import get_last_checkpoint
    from transformers.utils import logging

    from videothinker.train.record import Recorder

    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", r".*checkpointing.* is deprecated", FutureWarning)  # TRL 1.16 reads the old names
    on_gpu = torch.cuda.is_available() and not config.model.gradient_checkpointing
    args = grpo_arguments(config, out, rows_at_once(config, AutoConfig.from_pretrained(start.full)) if on_gpu else None)
    if not keep:
        args.save_strategy = "no"
    trainer = build_trainer(config, args, start, reference, rows)
    trainer.add_callback(Recorder(trainer, out, config.alarms, report, warn))
    resume = get_last_checkpoint(str(out)) if keep else None
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=resume)
    seconds = time.perf_counter() - began
    done = trainer.state.global_step - (0 if resume is None else int(resume.rpartition("-")[2]))
    sizes = [
        (getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in trainer.model.parameters()
    ]  # ZeRO-3: whole, not shares
    summary = Summary(
        out=out,
        steps=trainer.state.global_step,
        seconds_per_step=seconds / max(done, 1),
        tokens_per_step=trainer.state.num_input_tokens_seen / max(trainer.state.global_step, 1),
        peak_bytes=peak_bytes(),
        parameters=sum(size for size, _ in sizes),
        trainable=sum(size for size, trained in sizes if trained),
    )
    facts = {"fed": trainer.fed(), "launch": {"processes": args.world_size, "mode": str(args.parallel_mode)}}
    if keep:
        trainer.save_policy(out)
    del trainer
    gc.collect()  # models, optimiser and callbacks refer to one another
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # what comes next, the gate's diagnosis, loads models of its own
    leave_the_others()
    return summary, facts
