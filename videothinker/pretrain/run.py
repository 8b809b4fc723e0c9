"""`vt train sft`: a tiny Qwen2.5-VL learns to watch a clip, to imagine it without an object, and to answer.

Real video-language models come with both; reinforcement learning then decides which one they use. A model small enough to
study that on one GPU has to be taught first, on more scenes than a disk would hold: they are simulated by worker processes,
drawn where the model is, and gone after a few steps. A thought begins with "cf" (what would happen) or "obs" (what is seen)
and is followed by the answer that it leads to; how often it is "cf" is the model's habit, which RL can change.

    sft.pretrain(config, out=Path("runs/base"))

The same settings resume at the last saved step; the scenes go on where they stopped, so none comes again.
"""

import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from transformers.utils import logging

from videothinker import mcq, store
from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.models.checkpoint import Checkpoint, find_checkpoint, load_full, load_processor, weights_hash
from videothinker.pool import map_in_order
from videothinker.pretrain import lessons, packed, perception
from videothinker.pretrain.examine import Scores, examine, plain_copy
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.scenes import N_CLIP_FRAMES, Scenes, Source
from videothinker.pretrain.settings import LATE, SftConfig
from videothinker.pretrain.step import Inputs, Step
from videothinker.world import draw
from videothinker.world.stream import make_scene

RUN, METRICS, STATE = "run.json", "metrics.jsonl", "state.pt"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_VOCABULARY_SCENES = 24
"""Scenes whose prompts the tokenizer's words are learnt from."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of metrics.jsonl: means since the line before."""

    step: int
    loss: float
    """Nats a reply token."""
    loss_questions: float
    """The same of questions' thoughts and answers alone; 0 where there are none. The next one, of tracks."""
    loss_tracks: float
    perception: float
    """The perception heads' loss an object in sight."""
    named: float
    """Share of visual tokens with an object's centre that the heads name right, in [0, 1]."""
    gone: float
    """Share of the run that is over, by steps or by minutes as `optimizer.schedule` says."""
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    seconds: float
    """Of one step, without evaluation; the first row's with compiling."""
    waiting: float
    """Share of that spent waiting for lessons."""
    scenes: int
    """Simulated since the start of the run; so are the next two counted."""
    questions: int
    tokens: int
    unseen: Scores | None = None
    """On scenes that are never trained on."""
    trained: Scores | None = None
    """On scenes that were, in their own colours."""


class Summary(NamedTuple):
    """What a run came to."""

    out: Path
    steps: int
    finished: bool
    """False: the time limit came first; the same command goes on."""
    last: Row | None


def _silent(_: Any) -> None:
    pass


def pretrain(
    config: SftConfig,
    *,
    out: Path,
    start: str | None = None,
    max_minutes: float | None = None,
    report: Callable[[Row], None] = _silent,
) -> Summary:
    """Train to the last step, or for `max_minutes`, from a fresh checkpoint or from `start` (weights alone).

    max_minutes: since the call, after which the step in hand is the last; examining and saving it takes some seconds more.
        With schedule "minutes" it is the length of the whole run, what was spent before it was resumed included.
    report: called with every row of metrics.jsonl, in the main process.

    Raises:
        VtError: `out` holds something else, or this very run finished; `start` cannot be taught these lessons; the loss is no
            longer a number.
    """
    called = time.monotonic()
    if config.optimizer.schedule == "minutes" and not max_minutes:
        raise VtError('optimizer.schedule = "minutes": give the length of the run with --max-minutes')
    ranks = Ranks.join()
    with _ending_together(ranks):
        return _pretrain(config, out, start, max_minutes, report, ranks, called)


@contextmanager
def _ending_together(ranks: Ranks) -> Generator[None, None, None]:
    """What ends one process of several ends it at once: the others wait for it on their GPUs until their launcher sees that."""
    try:
        yield
    except BaseException as error:
        if ranks.size == 1:
            raise
        text = str(error) if isinstance(error, VtError) else traceback.format_exc()
        sys.stderr.write(f"error: process {ranks.rank} of {ranks.size}: {text}\n")
        sys.stderr.flush()
        os._exit(1)


def _pretrain(
    config: SftConfig,
    out: Path,
    start: str | None,
    max_minutes: float | None,
    report: Callable[[Row], None],
    ranks: Ranks,
    called: float,
) -> Summary:
    by_minutes = config.optimizer.schedule == "minutes"
    logging.disable_progress_bar()
    begun = find_checkpoint(start) if start else None
    record = {"stage": "sft", "settings": msgspec.to_builtins(config), "start": {"ref": start, "sha256": _hash(begun)}}
    decides = {name: value for name, value in record["settings"].items() if name != "compute"}
    identity = store.sha256_json([record["start"]["sha256"], decides])
    record |= {"identity": identity, "max_minutes": max_minutes, "finished": False, "provenance": store.provenance()}
    if ranks.is_main:
        earlier = _earlier(out, identity)
        record["sessions"] = [*earlier.get("sessions", []), record["provenance"]["created"]]
        store.write_json(out / RUN, record)
        if not begun and not (out / "model.safetensors").is_file():
            build(out, config)
    ranks.wait()
    trainer = _Trainer(config, out, begun, ranks)
    if ranks.is_main and (out / METRICS).is_file():  # what a killed run reported after its last saved step will be said again
        store.write_jsonl(out / METRICS, [row for row in store.read_jsonl(out / METRICS, Row) if row.step <= trainer.step])
    begins = called - 60 * trainer.minutes if by_minutes else called
    last = None
    writer = store.JsonlAppender(out / METRICS) if ranks.is_main else nullcontext()
    with closing(trainer.rows(begins, max_minutes)) as rows, writer as file:
        for row in rows:
            last = row
            if file is not None:
                file.append(row)
                report(row)
    finished = trainer.step == config.optimizer.steps or (by_minutes and trainer.is_over)
    if ranks.is_main:
        record |= {"finished": finished, "result": trainer.describe() | {"last": last}}
        store.write_json(out / RUN, record)
        store.write_text(out / "README.md", _card(record))
        if finished:
            (out / STATE).unlink()
    ranks.leave()
    return Summary(out, trainer.step, finished, last)


def _hash(checkpoint: Checkpoint | None) -> str | None:
    return weights_hash(checkpoint) if checkpoint else None


def _earlier(out: Path, identity: str) -> dict[str, Any]:
    """run.json of the run to resume; {} to begin one."""
    if not (out / RUN).is_file():
        if out.is_dir() and any(out.iterdir()):
            raise VtError(f"{out}: is not empty and holds no {RUN}; choose a new folder for --out")
        return {}
    earlier = store.read_json(out / RUN, dict[str, Any])
    if earlier.get("identity") != identity:
        raise VtError(f"{out}: holds a run with other settings or another start; choose another --out")
    if earlier["finished"]:
        raise VtError(f"{out}: holds this very run, finished; choose another --out to train again")
    return earlier


class _Round(NamedTuple):
    """Drawn clips and sequences about them, all on the model's device: what is copied there during a step makes a GPU wait."""

    frames: torch.Tensor
    """(C, T, 3, H, W) uint8."""
    targets: perception.Targets
    clip: torch.Tensor
    """(S, B): the clip of each sequence of each step."""
    rows: packed.Rows
    """`packed.load_steps`."""
    counts: torch.Tensor
    """(S, 4): in each step reply tokens, cells with an object, questions and tokens. Here of this process."""
    next_scene: int
    """Where the stream of scenes stands."""


class _Trainer:
    """Model, optimisers and stream of lessons of one process. `step` is the number of steps taken."""

    def __init__(self, config: SftConfig, out: Path, begun: Checkpoint | None, ranks: Ranks) -> None:
        self.config, self.out, self.ranks, self.step = config, out, ranks, 0
        checkpoint = begun or Checkpoint(out, None)
        torch.manual_seed(config.seed)
        self.model = load_full(checkpoint, torch.float32, "sdpa")
        self.processor = load_processor(checkpoint)
        if begun and ranks.is_main:
            self.processor.save_pretrained(out)
        ranks.wait()
        on_gpu = ranks.device != "cpu"
        flex, compiled, self._records = (
            on_gpu if chosen is None else chosen
            for chosen in (config.compute.flex, config.compute.compile, config.compute.graph)
        )
        try:
            self.layout = packed.Layout.of(self.model, self.processor, config.model.width, config.model.height)
            wording = packed.wording(self.processor, out / "tokenizer.json")
            self.words = lessons.words(self.processor.tokenizer, wording)
            packed.prepare(self.model, self.layout, flex=flex, compiled=compiled)
        except ValueError as error:
            raise VtError(f"{checkpoint.folder}: {error}; leave out --model to begin with a fresh one") from error
        self.model.to(ranks.device).train()
        self.source = Source(wording, config.world.seed, config.world.preset, config.world.n_questions)
        self.course = lessons.Course(
            draws=config.lessons.draws,
            rows=config.lessons.rows,
            n_questions=config.lessons.n_questions,
            n_tracks=config.lessons.n_tracks,
            without_share=config.lessons.without_share,
            counterfactual_share=config.lessons.counterfactual_share,
            length=config.lessons.length,
            beginning=self.layout.beginning,
            pad=self.processor.tokenizer.pad_token_id,
        )
        self._n_rows = _share_of_rows(config, ranks.size)
        self.stepper = Step(self.model, self.processor, self.layout, config, ranks, flex=flex)
        self.first_scene = self.next_scene = config.world.n_unseen + config.world.first_scene
        self.n_questions = self.n_tokens = 0
        self.minutes, self.is_over = 0.0, False
        self._gone, self._pace, self._looked = 0.0, 0.0, 0
        if (out / STATE).is_file():
            self._resume()
        self._read = torch.tensor([self.n_questions, self.n_tokens], device=ranks.device)
        torch.manual_seed(config.seed + 1 + ranks.rank)  # of the pictures' noise
        self._recording = Lock()

    def rows(self, begins: float, max_minutes: float | None) -> Generator[Row, None, None]:
        """Train to the last step or `max_minutes` after `begins` (time.monotonic), yielding a row every `log_every` steps."""
        config, compute, by_minutes = self.config, self.config.compute, self.config.optimizer.schedule == "minutes"
        length = math.inf if max_minutes is None else max_minutes * 60

        def look(seconds_a_step: float) -> None:
            """See with all others what time it is."""
            passed = time.monotonic() - begins
            gone = passed / length if by_minutes else 0.0
            pace = seconds_a_step / length if by_minutes else 0.0
            self.minutes, over, self._gone, self._pace = self.ranks.agree(passed / 60, passed >= length, gone, pace)
            self.is_over, self._looked = bool(over), self.step

        look(0.0)
        n_examined = int(self.gone() * config.evaluation.times)
        saved, since, waited, n_steps = self.step, time.perf_counter(), 0.0, 0
        with ThreadPoolExecutor(1) as reader, closing(self._batches()) as batches:
            asked = reader.submit(self._exam_scenes)
            while self.step < config.optimizer.steps and not self.is_over:
                before = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - before
                self.stepper.take(batch, config.optimizer.rate(self.step, self.gone()))
                self.step += 1
                n_steps += 1
                logs = self.step % compute.log_every == 0
                if logs or self.ranks.size == 1:  # several ask one another, which makes their GPUs wait
                    seconds = (time.perf_counter() - since) / n_steps
                    look(seconds)
                is_last = self.step == config.optimizer.steps or self.is_over
                due = int(self.gone() * config.evaluation.times + 1e-9)
                examines = is_last or due > n_examined
                if not logs and not examines:
                    continue
                stats = self.stepper.stats(n_steps)
                if not math.isfinite(stats.loss):
                    raise VtError(
                        f"{self.out}: the loss of steps up to {self.step} is {stats.loss}; lower optimizer.learning_rate"
                    )
                self.n_questions, self.n_tokens = self._read.tolist()
                seconds = time.perf_counter() - since
                unseen, trained = self._examine(asked.result(), is_last) if examines else (None, None)
                n_examined = due
                yield Row(
                    step=self.step,
                    loss=stats.loss,
                    loss_questions=stats.loss_questions,
                    loss_tracks=stats.loss_tracks,
                    perception=stats.perception,
                    named=stats.named,
                    gone=self.gone(),
                    grad_norm=stats.grad_norm,
                    learning_rate=config.optimizer.rate(self.step - 1, self.gone(self.step - 1)),
                    seconds=seconds / n_steps,
                    waiting=waited / seconds,
                    scenes=self.next_scene - self.first_scene,
                    questions=self.n_questions,
                    tokens=self.n_tokens,
                    unseen=unseen,
                    trained=trained,
                )
                if is_last or self.step - saved >= compute.save_every:
                    self._save()
                    saved = self.step
                since, waited, n_steps = time.perf_counter(), 0.0, 0

    def gone(self, step: int | None = None) -> float:
        """Share of the run that is over at a step since the last look at the clock; the same in all processes."""
        step = self.step if step is None else step
        by_steps = step / self.config.optimizer.steps
        if self.config.optimizer.schedule == "steps":
            return by_steps
        return min(1.0, max(by_steps, self._gone + (step - self._looked) * self._pace))

    def _batches(self) -> Generator[Inputs, None, None]:
        """What `Step.take` wants, one step after the other; a thread prepares the next round meanwhile."""
        with closing(self._rounds()) as rounds, ThreadPoolExecutor(1) as thread:
            coming = thread.submit(next, rounds)
            if self._records:
                with self._recording:  # while the simulating processes start
                    self.stepper.record()
            while True:
                now: _Round = coming.result()
                coming = thread.submit(next, rounds)
                self.next_scene = now.next_scene
                self.ranks.add(now.counts)
                for clip, counts, *rows in zip(now.clip, now.counts, *now.rows, strict=True):
                    self._read.add_(counts[2:])
                    yield Inputs(now.frames, now.targets, clip, packed.Rows(*rows), counts[:2])
                if now.frames.is_cuda:  # the memory is the other stream's, which has to know that it was in use here
                    for values in (now.frames, *now.targets, now.clip, *now.rows, now.counts):
                        values.record_stream(torch.cuda.current_stream())

    def _rounds(self) -> Generator[_Round, None, None]:
        """Clips taken at random from a backlog, new ones put in their place, and their sequences shuffled.

        The backlog begins as one round and grows by a quarter of a round each time, so that the first step need not wait.
        """
        n_clips, course, ranks, device = self.config.compute.clips_a_round, self.course, self.ranks, self.ranks.device
        chunk = lessons.CHUNK * course.draws
        rng = np.random.default_rng((self.config.seed, self.step, ranks.rank))
        # Of high priority: its kernels are small, and a round waits for one after the other.
        side: Any = torch.cuda.Stream(device, priority=-1) if device != "cpu" else None  # type: ignore[no-untyped-call]
        workers = self.config.compute.workers or max(1, ((os.cpu_count() or 1) - 2) // ranks.size)
        next_scene = self.next_scene
        with closing(
            lessons.material(
                self.source,
                course,
                self.words,
                first_scene=next_scene,
                workers=workers,
                rank=ranks.rank,
                size=ranks.size,
            )
        ) as stream:

            def read(n: int) -> lessons.Material:
                nonlocal next_scene
                next_scene += n // course.draws * ranks.size
                return lessons.join(list(islice(stream, n // chunk)))

            backlog = read(n_clips)
            while True:
                picked = rng.permutation(len(backlog.clips.looks))[:n_clips]
                clips = backlog.clips.take(picked)
                clip, row = np.divmod(rng.permutation(n_clips * course.rows).reshape(-1, self._n_rows), course.rows)
                sequences = backlog.packed.take((picked[clip], row))
                rollouts, shown = clips.rollouts(), perception.targets(clips, self.layout.grid)
                with self._recording, torch.cuda.stream(side) if side else nullcontext():
                    frames = draw.frames(rollouts, width=self.layout.width, height=self.layout.height, device=device)
                    targets = perception.Targets(*(packed.upload(values, device) for values in shown))
                    of_clip, rows = packed.upload(clip, device), self._load(sequences)
                    counts = self._count(rows, targets.look[of_clip])
                if side:
                    side.synchronize()
                yield _Round(frames, targets, of_clip, rows, counts, next_scene)
                backlog.put(picked, read(n_clips))
                missing = self.config.lessons.backlog - len(backlog.clips.looks)
                if missing > 0:
                    backlog = lessons.join([backlog, read(min(missing, -(-n_clips // 4 // chunk) * chunk))])

    def _load(self, sequences: lessons.Packed) -> packed.Rows:
        n_targets = packed.n_targets(self._n_rows, self.course.length)
        try:
            return packed.load_steps(sequences, self.layout, self.ranks.device, n_targets)
        except ValueError as error:
            raise VtError(f"lessons: {error}; give fewer lessons.n_tracks or more lessons.length") from error

    def _count(self, rows: packed.Rows, look: torch.Tensor) -> torch.Tensor:
        """`_Round.counts` of steps whose clips show (S, B, n) looks."""
        counts = (
            (rows.targets != packed.PADDING).sum(-1),
            (look != perception.NONE).sum((-2, -1)),
            (rows.targets == self.words.think[0]).sum(-1),
            (rows.lesson >= 0).sum((-2, -1)),
        )
        return torch.stack(counts, dim=1)

    def _exam_scenes(self) -> list[Scenes]:
        """This process's part of the unseen scenes, and of the first ones that are trained on."""
        n, ranks = self.config.world.n_unseen, self.ranks
        wanted = [[*range(start, start + n)][ranks.rank :: ranks.size] for start in (0, self.first_scene)]
        chunks = [part[i : i + lessons.CHUNK] for part in wanted for i in range(0, len(part), lessons.CHUNK)]
        workers = min(len(chunks), self.config.compute.workers or max(1, ((os.cpu_count() or 1) - 2) // ranks.size))
        read = list(map_in_order(self.source.read, chunks, workers))
        return [_joined(read[: len(read) // 2]), _joined(read[len(read) // 2 :])]

    def _examine(self, scenes: Sequence[Scenes], is_last: bool) -> list[Scores]:
        config = self.config.evaluation
        late = is_last or self.gone() >= LATE
        found = examine(
            self.model,
            self.processor,
            scenes,
            self.layout,
            self.words,
            n_questions=config.n_late_questions if late else config.n_questions,
            max_new_tokens=config.max_new_tokens,
        )
        return [Scores.of(parts) for parts in zip(*self.ranks.gather(found), strict=True)]

    def _save(self) -> None:
        """The checkpoint, and beside it what resuming needs."""
        if not self.ranks.is_main:
            return
        state = {"trained": self.stepper.state_dict()} | {name: getattr(self, name) for name in _COUNTERS}
        torch.save(state, self.out / f".{STATE}")
        (self.out / f".{STATE}").replace(self.out / STATE)
        plain_copy(self.model).save_pretrained(self.out)

    def _resume(self) -> None:
        state = torch.load(self.out / STATE, map_location=self.ranks.device, weights_only=True)
        self.stepper.load_state_dict(state["trained"])
        for name in _COUNTERS:
            setattr(self, name, state[name])

    def describe(self) -> dict[str, Any]:
        """For run.json."""
        return {
            "steps": self.step,
            "scenes": self.next_scene - self.first_scene,
            "questions": self.n_questions,
            "tokens": self.n_tokens,
            "minutes": round(self.minutes, 2),
            "processes": self.ranks.size,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "vocabulary": self.words.n_tokens,
            "fed": {"frames": N_CLIP_FRAMES, "width": self.layout.width, "height": self.layout.height},
            "device": "cpu" if self.ranks.device == "cpu" else torch.cuda.get_device_name(),
        }


_COUNTERS = ("step", "next_scene", "n_questions", "n_tokens", "minutes")


def _share_of_rows(config: SftConfig, n_ranks: int) -> int:
    """Sequences a step of each process."""
    rows, left = divmod(config.optimizer.rows, n_ranks)
    drawn = config.compute.clips_a_round * config.lessons.rows
    if left or drawn % rows:
        raise VtError(
            f"optimizer.rows = {config.optimizer.rows}: cannot be shared by {n_ranks} processes that have {drawn} each"
            " (compute.clips_a_round x lessons.rows)"
        )
    if config.world.n_unseen < n_ranks:
        raise VtError(f"world.n_unseen = {config.world.n_unseen}: is less than one for each of {n_ranks} processes")
    return rows


def _joined(parts: Sequence[Scenes]) -> Scenes:
    return Scenes(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def build(out: Path, config: SftConfig) -> None:
    """A fresh checkpoint whose tokenizer has a token for every word of this world and its lessons."""
    texts = tiny.default_vocabulary() + lessons.vocabulary()
    for index in range(_VOCABULARY_SCENES):
        scene = make_scene(index, seed=config.world.seed, preset=config.world.preset)
        for question in scene.questions:
            if question.question_type == "counterfactual" and question.choices is not None:
                options = [choice.choice for choice in question.choices]
                texts.append(mcq.render_prompt(question.question, options, mcq.Prompt.COT))
    tiny.build(out, vocabulary=texts, words=TAGS, seed=config.seed, size=config.model.size)


def _card(record: dict[str, Any]) -> str:
    """README.md of the checkpoint."""
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

{result["parameters"]:,} parameters, pretrained by `vt train sft` for {result["steps"]:,} steps on
{result["scenes"]:,} generated scenes ({result["questions"]:,} questions). It knows nothing but this world: coloured
solids that collide, asked about in CLEVRER's words. Its thoughts begin with `cf` (what would happen) or `obs` (what is seen).

Whole answers right, percent, at step {result["steps"]}:

| scenes | thought begun with `cf` | of these, inferential | begun with `obs` (observer's answer) | as it comes |
| --- | --- | --- | --- | --- |
{row("unseen", last and last.unseen)}
{row("trained on", last and last.trained)}

Measure it by category with `vt diagnose --model <this folder> --data <curated folder> --out <run folder>`, on clips of
the generated world, which it sees as {fed["frames"]} frames of {fed["width"]}x{fed["height"]}. Settings and versions are
in `run.json`, curves in `metrics.jsonl`.
"""
