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

from videothinker import locks, store
from videothinker.curated import Curated
from videothinker.errors import VtError
from videothinker.fingerprint import fingerprint
from videothinker.models.checkpoint import Checkpoint, check_fit, find_checkpoint, weights_hash
from videothinker.models.read import read_config
from videothinker.models.saving import writing
from videothinker.models.text_positions import TextPositions
from videothinker.progress import silent
from videothinker.records import Question, Rule
from videothinker.records.training import (
    RUN,
    Fed,
    Launch,
    Matched,
    Pool,
    RunResult,
    StepRecord,
    TrainedOn,
    TrainRecord,
    Weights,
)
from videothinker.train.arguments import grpo_arguments, rows_at_once
from videothinker.train.build import build_trainer, check_beside, check_packages, check_policy, find_reference, rule_for
from videothinker.train.card import model_card
from videothinker.train.data import (
    TrainingRow,
    Undecided,
    training_questions,
    training_rows,
    undecided,
    warn_about_number,
    warn_about_observer,
    warn_about_undecided,
)
from videothinker.train.objective import Reference
from videothinker.train.process import is_main, leave_the_others, peak_bytes
from videothinker.train.reference import check_reference, check_rule
from videothinker.train.run_record import holds_a_finished_run, take
from videothinker.train.stages import Stage, StageConfig
from videothinker.train.told import kinds, told


class Outcome(NamedTuple):
    """What a call of `train` came to."""

    result: RunResult
    already: bool
    """The folder held this very run, finished: nothing was trained now."""


class _Finished(NamedTuple):
    """What a run's record gains at its end."""

    result: RunResult
    fed: Fed
    launch: Launch


def train(
    config: StageConfig,
    *,
    data: Curated,
    start: str,
    out: Path,
    bias: str | None = None,
    rule: Rule | None = None,
    matched: Matched | None = None,
    dry_run: bool = False,
    report: Callable[[StepRecord], None] = silent,
    warn: Callable[[str], None] = silent,
    tell: Callable[[str], None] = silent,
) -> Outcome:
    """Run the stage, or take up where an earlier run with the same settings ended; one that has finished is left as it is.

    start: checkpoint to train, a folder or a hub id. bias: checkpoint to repel from, needed by CDPO unless
    `objective.reference` is start or self. rule: whose categories count for the questions of stage `bias` or for `data.where`;
    None: those of the first label file that `data` was opened with, else the folder's own. matched: what `data.where`
    lets through, which `curate.where` tells and this room may not ask. dry_run: one step on real data, nothing kept. report:
    called with every `StepRecord`. tell: called with what the training is about to do, a line at a time.

    Raises:
        VtError: data, checkpoints or `out` do not fit the settings; a clip is missing.
    """
    _check_labels(config, data, rule)
    questions = training_questions(data, config, rule, matched)
    rows = training_rows(data, questions, config)
    warn_about_number(questions, data, config, warn)
    without_category = undecided(data, config, rule, matched)
    warn_about_undecided(without_category, data, warn)
    if config.stage is Stage.BIAS:
        warn_about_observer(questions, data.labels_by(rule), warn)
    for line in told(config, questions, data.labels_by(rule)):
        tell(line)
    check_packages(config)
    first = find_checkpoint(start)
    reference = find_reference(config, first, bias)
    check_policy(config, first, check_fit(first))
    if reference is not None and reference != first:
        check_beside(config, first, reference, check_fit(reference))
    text_positions = rule_for(config, first)
    if reference is not None and reference != first:
        check_rule(text_positions, reference)
    if dry_run:
        if reference is not None:
            _checked_hash(config, first, weights_hash(first), reference)
        config = msgspec.structs.replace(config, optimizer=msgspec.structs.replace(config.optimizer, steps=1))
        with tempfile.TemporaryDirectory() as scratch:
            return Outcome(_run(config, Path(scratch), first, reference, rows, report, warn, keep=False).result, already=False)
    if is_main():  # which alone writes, and where it refuses ends the others
        trained_on = _trained_on(config, data, rule, matched, without_category, questions)
        record: TrainRecord | None = take(out, _record(config, trained_on, start, first, bias, reference, text_positions))
    else:
        record = holds_a_finished_run(out)
    if record is not None and isinstance(record.result, RunResult):
        locks.release(out)
        return Outcome(record.result, already=True)
    finished = _run(config, out, first, reference, rows, report, warn, keep=True)
    if record is not None:
        record = msgspec.structs.replace(record, finished=True, **finished._asdict())
        store.write_text(out / "README.md", model_card(record))
        store.write_json(out / RUN, record)
        locks.release(out)
    return Outcome(finished.result, already=False)


def _check_labels(config: StageConfig, data: Curated, rule: Rule | None) -> None:
    """Raise VtError for labels that nothing would read: without a condition only stage bias asks for a category."""
    if config.data.where is not None:
        return
    stage, files = config.stage, data.label_files
    if rule is not None and stage is not Stage.BIAS:
        raise VtError(
            f"rule = '{rule.value}': only stage bias is trained on a category; leave it out for {stage.value}, or add --where"
        )
    if files and stage is not Stage.BIAS:
        raise VtError(
            f"--labels {files[0]}: stage {stage.value} is trained on all questions, so nothing would read it; add --where, or"
            " leave it out"
        )
    if files and rule is not None:
        raise VtError(
            f"--labels {files[0]} and --rule {rule.value}: each says which questions are observational, and without --where"
            " nothing would read the file; leave one out"
        )
    if len(files) > 1:
        raise VtError(
            f"--labels {files[1]}: without --where only the first file, {files[0]}, is read; leave it out, or add --where"
        )


def _trained_on(
    config: StageConfig,
    data: Curated,
    rule: Rule | None,
    matched: Matched | None,
    without_category: Undecided | None,
    questions: Sequence[Question],
) -> TrainedOn:
    pool: Pool | msgspec.UnsetType = msgspec.UNSET
    if data.label_files or matched is not None:
        n_unlabelled, n_unsure = without_category or (None, None)
        pool = Pool(
            labels={str(path): store.sha256_file(path) for path in data.label_files},
            label_set=data.labels_by(rule).rule,
            n_split=len(data.questions(config.data.split)),
            n_matched=None if matched is None else len(matched.ids),
            n_unknown=None if matched is None else matched.n_unknown,
            n_unlabelled=n_unlabelled,
            n_unsure=n_unsure,
            sha256=store.sha256_json([question.question_id for question in questions]),
        )
    return TrainedOn(
        folder=str(data.folder),
        sha256=store.sha256_file(data.folder / f"{config.data.split}.json"),
        rule=rule or (None if data.label_files else data.manifest.rule),
        n_questions=len(questions),
        shown=kinds(questions),
        pool=pool,
    )


def _record(
    config: StageConfig,
    data: TrainedOn,
    start: str,
    first: Checkpoint,
    bias: str | None,
    reference: Checkpoint | None,
    text_positions: TextPositions,
) -> TrainRecord:
    own = weights_hash(first)
    repelled = None if reference is None else _checked_hash(config, first, own, reference)
    return TrainRecord(
        stage=config.stage,
        settings=msgspec.to_builtins(config),
        model=Weights(ref=start, sha256=own, files=fingerprint(first.folder, weights=False)),
        bias_model=None
        if repelled is None or reference is None
        else Weights(ref=bias or start, sha256=repelled, files=fingerprint(reference.folder, weights=False)),
        data=data,
        text_positions=text_positions.value,
    )


def _checked_hash(config: StageConfig, start: Checkpoint, own: str, reference: Checkpoint) -> str:
    return check_reference(start, own, reference, may_be_start=config.objective.reference is Reference.START)


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
) -> _Finished:
    from transformers.utils import logging

    from videothinker.train.record import Recorder, has_stopped
    from videothinker.train.whole import MarkWhole, last_whole

    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", r".*checkpointing.* is deprecated", FutureWarning)  # TRL 1.16 reads the old names
    on_gpu = torch.cuda.is_available() and not config.model.gradient_checkpointing
    args = grpo_arguments(config, out, rows_at_once(config, read_config(str(start.full), start.full)) if on_gpu else None)
    if not keep:
        args.save_strategy = "no"
    trainer = build_trainer(config, args, start, reference, rows)
    trainer.add_callback(Recorder(trainer, out, config.alarms, report, warn))
    trainer.add_callback(MarkWhole(trainer, config.saving.keep))  # last: others add to a checkpoint before
    resume = last_whole(out, warn if is_main() else silent) if keep else None
    if resume is not None and has_stopped(out, config.alarms, resume[1].step):
        args.max_steps = resume[1].step  # an alarm ended the run there, and it was killed before it was finished
    began = time.perf_counter()
    with writing(out):
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume[0]))
    seconds = time.perf_counter() - began
    earlier_steps = 0 if resume is None else resume[1].step
    finished = _Finished(
        _result(trainer, out, seconds_per_step=seconds / max(trainer.state.global_step - earlier_steps, 1)),
        trainer.fed() if resume is None or trainer.state.global_step > earlier_steps else resume[1].fed,
        Launch(processes=args.world_size, mode=str(args.parallel_mode)),
    )
    if keep:
        with writing(out):
            trainer.save_policy(out)
    del trainer
    gc.collect()  # models, optimiser and callbacks refer to one another
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # what comes next, the gate's diagnosis, loads models of its own
    leave_the_others()
    return finished


def _result(trainer: Any, out: Path, *, seconds_per_step: float) -> RunResult:
    # Under ZeRO-3 a parameter here is this process's share of it, and `ds_numel` its whole size.
    sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in trainer.model.parameters()]
    return RunResult(
        out=str(out),
        steps=trainer.state.global_step,
        seconds_per_step=seconds_per_step,
        tokens_per_step=trainer.state.num_input_tokens_seen / max(trainer.state.global_step, 1),
        peak_bytes=peak_bytes(),
        parameters=sum(size for size, _ in sizes),
        trainable=sum(size for size, trained in sizes if trained),
        n_asked=len({completion.question_id for completion in trainer.completions}),
    )
