"""A whole training stage, from curated data and checkpoints to a finished folder.

    data = open_curated(Path("curated"))
    run.train(config, data=data, start="Qwen/Qwen2.5-VL-3B-Instruct", bias="runs/bias", out=Path("runs/cdpo"))

A folder holds one run. run.json is written first with `finished` false; the same settings resume from the last trainer
checkpoint, others are refused. Under `accelerate launch` every process calls `train`; the main one writes.
"""

import gc
import hashlib
import importlib.util
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch

from videothinker import mcq, store
from videothinker.clips import default_cache
from videothinker.curated import Curated
from videothinker.errors import VtError
from videothinker.records import Category, CuratedQuestion, Rule
from videothinker.train import rewards
from videothinker.train.card import model_card
from videothinker.train.checkpoint import (
    Checkpoint,
    check_reference,
    find_checkpoint,
    load_full,
    load_processor,
    weights_hash,
)
from videothinker.train.clips import PromptEncoder, bare
from videothinker.train.stages import Engine, Precision, Reference, Stage, StageConfig

RUN = "run.json"

OBSERVER_FLOOR = 0.90
"""Below this a mere observer answers the observational pool badly, and training on it rewards reasoning, not the shortcut: at
the 53 % of the any-option rule the "bias model" came out a good reasoner (docs/training.md)."""


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
    report: Callable[[Any], None] = _silent,
    warn: Callable[[str], None] = _silent,
) -> Summary:
    """Run the stage, or take up where an earlier run with the same settings ended.

    start: checkpoint to train, a folder or a hub id. bias: checkpoint to repel from, needed by CDPO unless
    `objective.reference` is start. rule: whose categories choose the questions of stage `bias`; None: the curated folder's own.
    dry_run: one step on real data, nothing kept. report: called with every `record.Row`.

    Raises:
        VtError: data, checkpoints or `out` do not fit the settings; a clip is missing.
    """
    questions = training_questions(data, config, rule)
    rows = prompt_rows(data, questions, config)
    if config.stage is Stage.BIAS:
        _warn_about_observer(questions, rule or data.manifest.rule, warn)
    check_packages(config)
    first = find_checkpoint(start)
    reference = _reference(config, first, bias)
    if dry_run:
        if reference is not None:
            _checked_hash(config, first, reference)
        config = msgspec.structs.replace(config, optimizer=msgspec.structs.replace(config.optimizer, steps=1))
        with tempfile.TemporaryDirectory() as scratch:
            return _run(config, Path(scratch), first, reference, rows, report, warn, keep=False)[0]
    record: dict[str, Any] = {}
    if _is_main():  # the others find out by being ended
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
    if _is_main():
        record |= {"finished": True, "result": summary._asdict() | {"out": str(out)}, **facts}
        store.write_text(out / "README.md", model_card(record))
        store.write_json(out / RUN, record)
    return summary


def training_questions(data: Curated, config: StageConfig, rule: Rule | None) -> list[CuratedQuestion]:
    """The stage's questions: for `bias` the observational ones, else all; `n_questions` of them, by hash, in file order.

    Raises:
        VtError: there are none.
    """
    questions = data.questions(config.data.split)
    if config.stage is Stage.BIAS:
        field = (rule or data.manifest.rule).column
        questions = [question for question in questions if getattr(question, field) is Category.OBSERVATIONAL]
    if not questions:
        raise VtError(f"{data.folder}: split '{config.data.split}' has no question for stage {config.stage.value}")

    def draw(question: CuratedQuestion) -> str:
        return hashlib.sha256(f"{config.seed} {question.question_id}".encode()).hexdigest()

    drawn = {question.question_id for question in sorted(questions, key=draw)[: config.data.n_questions]}
    return [question for question in questions if question.question_id in drawn]


def prompt_rows(data: Curated, questions: Sequence[CuratedQuestion], config: StageConfig) -> list[dict[str, Any]]:
    """A dataset row a question: the prompt with its clip, and the columns that the rewards read.

    Raises:
        VtError: the folder was curated without clips, or a clip is missing.
    """
    clips = {question.question_id: data.clip(question) for question in questions}
    missing = [question for question in questions if (clip := clips[question.question_id]) is None or not clip.is_file()]
    if data.videos_root is None:
        raise VtError(f"{data.folder}: was curated without clips; say where they are with --videos")
    if len(questions) < config.rollouts.questions_per_step:
        raise VtError(
            f"{data.folder}: {len(questions)} training questions do not fill one step of rollouts.questions_per_step ="
            f" {config.rollouts.questions_per_step}"
        )
    if missing:
        raise VtError(
            f"{len(missing)} of {len(questions)} training questions lack their clip, the first is"
            f" {clips[missing[0].question_id]}; no other clip takes its place, so get it or curate without its scene"
        )
    return [
        {
            "prompt": [
                {
                    "role": "user",
                    "content": [
                        {"type": "video", "video": str(clips[question.question_id])},
                        {"type": "text", "text": mcq.render_prompt(question.problem, question.options, config.data.prompt)},
                    ],
                }
            ],
            "question_id": question.question_id,
            "gold": list(question.gold),
            "n_options": len(question.options),
        }
        for question in questions
    ]


def _warn_about_observer(questions: Sequence[CuratedQuestion], rule: Rule, warn: Callable[[str], None]) -> None:
    share = sum(question.observer == question.gold for question in questions) / len(questions)
    if share < OBSERVER_FLOOR:
        oracle = "by definition it answers all: run `vt curate check`" if rule is Rule.ORACLE else "use --rule oracle instead"
        warn(
            f"an observer answers only {share:.0%} of these observational questions (rule {rule.value}): training on them"
            f" rewards reasoning, and the checkpoint will hardly be a shortcut model; {oracle}"
        )


def check_packages(config: StageConfig) -> None:
    """Raise VtError if a tracker of `saving.report_to` is not installed: transformers would say so after loading the models."""
    for name in config.saving.report_to:
        if importlib.util.find_spec(name) is None:
            raise VtError(f"saving.report_to: the package '{name}' is not installed: pip install {name}")


def _reference(config: StageConfig, start: Checkpoint, bias: str | None) -> Checkpoint | None:
    if not config.needs_reference:
        return None
    if config.objective.reference is Reference.START:
        return start
    if bias is None:
        raise VtError(
            f"objective.repulsion = {config.objective.repulsion} needs a bias model: train one with `vt train bias` and name it"
            " with --bias-model"
        )
    return find_checkpoint(bias)


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


def _is_main() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


_ACTIVATIONS = 12 * 2**30
"""Bytes of activations that a forward pass may keep for its backward pass before it is cut into smaller ones."""


def rows_at_once(config: StageConfig, model: Any) -> int:
    """Replies to score at a time on a GPU where the settings leave it open: as many whole questions as keep activations small.

    model: the checkpoint's configuration. A small model's GPU waits for Python, so it is given all replies in a pass or two;
    with billions of parameters one question is the least, and what it is.
    """
    group, world = config.rollouts.n_replies, int(os.environ.get("WORLD_SIZE", "1"))
    questions = max(1, config.rollouts.questions_per_step // world)
    text, vision = model.get_text_config(), model.vision_config
    layer = 2 * (16 * text.hidden_size + 5 * text.intermediate_size)  # bytes a token, bf16, nothing recomputed
    fit = _ACTIVATIONS // (text.num_hidden_layers * layer)  # tokens
    patch = (vision.patch_size * vision.spatial_merge_size) ** 2
    n_video = config.data.n_frames // vision.temporal_patch_size * config.data.max_pixels // patch
    n_prompt, n_replies = n_video + _PROMPT_TOKENS, group * config.rollouts.max_new_tokens
    if shares_prompts(config) and questions * (n_prompt + n_replies) <= fit:
        return group * questions  # of less than all, TRL shuffles the rows, and questions come apart
    each = group * n_prompt + n_replies
    return group * max((n for n in range(1, questions + 1) if questions % n == 0 and n * each <= fit), default=1)


def shares_prompts(config: StageConfig) -> bool:
    """Are replies scored behind one copy of their prompt, as far as the settings go?"""
    model = config.model
    return config.rollouts.shared_prompts and model.attention == "sdpa" and not model.gradient_checkpointing


_PROMPT_TOKENS = 128
"""Roughly, of a question beside its clip."""


def grpo_arguments(config: StageConfig, out: Path, rows: int | None = None) -> Any:
    """TRL's arguments for the stage on the processes that were launched.

    rows: replies scored at a time where the settings leave it open; None: rollouts.n_replies.

    Raises:
        VtError: the questions of a step cannot be shared evenly among the processes.
    """
    from trl import GRPOConfig

    world = int(os.environ.get("WORLD_SIZE", "1"))
    group = config.rollouts.n_replies
    rows = config.rollouts.rows_per_forward or rows or group
    n_replies = config.rollouts.questions_per_step * group
    if n_replies % (rows * world):
        raise VtError(
            f"{n_replies} replies a step (rollouts.questions_per_step x n_replies) cannot be shared among {world} processes"
            f" {rows} at a time; set rollouts.questions_per_step to a multiple of {world}, or rollouts.rows_per_forward"
        )
    accumulation = n_replies // (rows * world)
    on_gpu = torch.cuda.is_available()
    return GRPOConfig(
        output_dir=str(out),
        seed=config.seed,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation,
        num_generations=group,
        num_iterations=config.rollouts.updates_per_batch,
        max_completion_length=config.rollouts.max_new_tokens,
        temperature=config.rollouts.temperature,
        max_steps=config.optimizer.steps,
        learning_rate=config.optimizer.learning_rate,
        weight_decay=config.optimizer.weight_decay,
        max_grad_norm=config.optimizer.max_grad_norm,
        lr_scheduler_type="linear",
        warmup_steps=0,
        loss_type="grpo",  # mean over replies of the mean over tokens; TRL's default is another
        scale_rewards="group",
        epsilon=config.objective.clip_low,
        epsilon_high=config.objective.clip_high,
        beta=0.0,  # the divergence term is ours, signed and clamped
        use_bias_correction_kl=False,  # TRL's default changes the gradient of k3 to another divergence's
        bf16=_in_bf16(config),
        use_cpu=not on_gpu,
        gradient_checkpointing=config.model.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,  # rows hold no tensors
        logging_steps=config.saving.log_every,
        save_strategy="steps",
        save_steps=config.saving.save_every,
        save_total_limit=config.saving.keep,
        report_to=list(config.saving.report_to) or "none",
        disable_tqdm=True,
    )


def _in_bf16(config: StageConfig) -> bool:
    return config.model.precision is Precision.BF16 or (config.model.precision is Precision.AUTO and torch.cuda.is_available())


def build_trainer(
    config: StageConfig,
    args: Any,
    start: Checkpoint,
    reference: Checkpoint | None,
    rows: Sequence[dict[str, Any]],
    *,
    reward_funcs: Sequence[Callable[..., list[float]]] = (rewards.accuracy, rewards.format),
    callbacks: Sequence[Any] = (),
) -> Any:
    """The trainer of a stage, models loaded: a `CDPOTrainer` if there is a reference, else a `ClipGRPOTrainer`.

    `args` (from `grpo_arguments`) come first: ZeRO-3 shards as weights load.
    """
    from datasets import Dataset
    from peft import LoraConfig, PeftModel
    from transformers import PrinterCallback

    from videothinker.decode import can_decode
    from videothinker.train.cdpo import CDPOTrainer
    from videothinker.train.clip_grpo import ClipGRPOTrainer
    from videothinker.train.loss import FORMS
    from videothinker.train.sampling import Sampler

    half = torch.bfloat16 if _in_bf16(config) else torch.float32
    sharded = _is_sharded(args)
    if sharded and reference is not None and FORMS[config.objective.kl].needs_hidden:
        raise VtError(
            f"objective.kl = '{config.objective.kl}' needs the whole output layer on each GPU; under FSDP or ZeRO-3 choose"
            " another form"
        )
    peft_config = None
    if config.lora is None:
        model = load_full(start, torch.float32, config.model.attention)
    else:
        adapter = start.folder if start.base else None
        model = load_full(Checkpoint(start.full, None), half, config.model.attention)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
        else:
            peft_config = LoraConfig(
                r=config.lora.rank,
                lora_alpha=config.lora.alpha,
                lora_dropout=config.lora.dropout,
                target_modules=config.lora.targets,
                task_type="CAUSAL_LM",
            )
    if not config.model.train_vision:
        bare(model).model.visual.requires_grad_(False)
    repelled: dict[str, Any] = {}
    if reference is not None:
        as_adapter = config.lora is not None and reference.base == start.full and not sharded
        frozen = reference.folder if as_adapter else load_full(reference, half, config.model.attention)
        repelled = {"objective": config.objective, "reference": frozen}
    processor = load_processor(start)
    hidden_tokens = [model.config.image_token_id, model.config.video_token_id]
    args.generation_kwargs = {"suppress_tokens": hidden_tokens}  # TRL's own list leaves video tokens in: one drawn ends the run
    encode = PromptEncoder(
        processor,
        n_frames=config.data.n_frames,
        max_pixels=config.data.max_pixels,
        video_token=model.config.video_token_id,
        cache=default_cache(),
    )
    trainer = (CDPOTrainer if reference is not None else ClipGRPOTrainer)(
        model=model,
        reward_funcs=list(reward_funcs),
        args=args,
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=processor,
        callbacks=list(callbacks),
        peft_config=peft_config,
        encode=encode,
        shared_prompts=shares_prompts(config) and not sharded and can_decode(bare(model)),
        **repelled,
    )
    trainer.remove_callback(PrinterCallback)  # `report` shows the rows
    engine = config.rollouts.engine
    if engine is Engine.GRAPHS or (engine is Engine.AUTO and torch.cuda.is_available() and not sharded):
        if sharded:
            raise VtError(
                "rollouts.engine = 'graphs' needs whole parameters on each GPU; under FSDP or ZeRO choose 'transformers'"
            )
        trainer.sampler = Sampler(
            eos=trainer.eos_token_ids,
            pad=processor.tokenizer.pad_token_id,
            suppress=hidden_tokens,
            max_new_tokens=config.rollouts.max_new_tokens,
            temperature=config.rollouts.temperature,
        )
    return trainer


def _is_sharded(args: Any) -> bool:
    """Does each process hold only a part of the parameters? `accelerate launch` says so by environment, not in `args.fsdp`."""
    zero_3 = args.deepspeed_plugin is not None and args.deepspeed_plugin.zero_stage == 3
    return zero_3 or bool(args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def _run(
    config: StageConfig,
    out: Path,
    start: Checkpoint,
    reference: Checkpoint | None,
    rows: Sequence[dict[str, Any]],
    report: Callable[[Any], None],
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
    recorder = Recorder(out, config.alarms, report, warn)
    trainer = build_trainer(config, args, start, reference, rows, callbacks=[recorder])
    recorder.trainer = trainer
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
        peak_bytes=_peak_bytes(),
        parameters=sum(size for size, _ in sizes),
        trainable=sum(size for size, trained in sizes if trained),
    )
    facts = {"fed": trainer.fed(), "launch": {"processes": args.world_size, "mode": str(args.parallel_mode)}}
    if keep:
        trainer.save_policy(out)
    recorder.trainer = None
    del trainer
    gc.collect()  # models, optimiser and callbacks refer to one another
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # what comes next, the gate's diagnosis, loads models of its own
    _leave_the_others()
    return summary, facts


def _leave_the_others() -> None:
    """End the process group, once all have come here: left to the end of Python, its threads now and then abort it."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def _peak_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
