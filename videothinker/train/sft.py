"""`vt train sft`: a tiny Qwen2.5-VL learns to watch a clip, to imagine it without an object, and to answer.

Real video-language models come with both; reinforcement learning then decides which one they use. A model small enough to
study that on one GPU has to be taught first, on more scenes than a disk would hold: they are simulated by worker processes,
drawn where the model is, and gone after a few steps. A thought begins with "cf" (what would happen) or "obs" (what is seen)
and is followed by the answer that it leads to; how often it is "cf" is the model's habit, which RL can change.

    sft.pretrain(config, out=Path("runs/base"))

The same settings resume at the last saved step; the scenes go on where they stopped, so none comes again.
"""

import os
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from transformers.utils import logging

from videothinker import mcq, store
from videothinker.errors import VtError
from videothinker.train import lessons, packed, tiny
from videothinker.train.checkpoint import Checkpoint, find_checkpoint, load_full, load_processor, weights_hash
from videothinker.train.examine import Scores, examine, plain_copy
from videothinker.train.scenes import N_CLIP_FRAMES, Scenes, Source
from videothinker.train.sft_settings import SftConfig
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
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    seconds: float
    """Of one step, without evaluation."""
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
    report: called with every row of metrics.jsonl.

    Raises:
        VtError: `out` holds something else, or this very run finished; `start` cannot be taught these lessons.
    """
    ends = time.monotonic() + (float("inf") if max_minutes is None else max_minutes * 60)
    logging.disable_progress_bar()
    begun = find_checkpoint(start) if start else None
    record = {"stage": "sft", "settings": msgspec.to_builtins(config), "start": {"ref": start, "sha256": _hash(begun)}}
    decides = {name: value for name, value in record["settings"].items() if name != "compute"}
    identity = store.sha256_json([record["start"]["sha256"], decides])
    earlier = _earlier(out, identity)
    record |= {"identity": identity, "finished": False, "provenance": store.provenance()}
    record["sessions"] = [*earlier.get("sessions", []), record["provenance"]["created"]]
    store.write_json(out / RUN, record)
    trainer = _Trainer(config, out, begun)
    if (out / METRICS).is_file():  # what a killed run reported after its last saved step will be said again
        store.write_jsonl(out / METRICS, [row for row in store.read_jsonl(out / METRICS, Row) if row.step <= trainer.step])
    last = None
    with closing(trainer.rows(ends)) as rows, store.JsonlAppender(out / METRICS) as file:
        for row in rows:
            file.append(row)
            report(row)
            last = row
    finished = trainer.step == config.optimizer.steps
    record |= {"finished": finished, "result": trainer.describe() | {"last": last}}
    store.write_json(out / RUN, record)
    store.write_text(out / "README.md", _card(record))
    if finished:
        (out / STATE).unlink()
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


class _Batch(NamedTuple):
    """The sequences of one step."""

    rows: packed.Rows
    clip: torch.Tensor
    """(B,): each sequence's clip among those of the round."""
    n_questions: int
    n_tokens: int


class _Round(NamedTuple):
    """Drawn clips and sequences about them, all on the model's device: what is copied there during a step makes a GPU wait."""

    frames: torch.Tensor
    """(C, T, 3, H, W) uint8."""
    batches: list[_Batch]
    next_scene: int
    """Where the stream of scenes stands."""


class _Trainer:
    """Model, optimiser and stream of lessons. `step` is the number of steps taken."""

    def __init__(self, config: SftConfig, out: Path, begun: Checkpoint | None) -> None:
        self.config, self.out, self.step = config, out, 0
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        on_gpu = self.device == "cuda"
        if not begun and not (out / "model.safetensors").is_file():
            build(out, config)
        checkpoint = begun or Checkpoint(out, None)
        torch.manual_seed(config.seed)
        self.model = load_full(checkpoint, torch.float32, "sdpa")
        self.processor = load_processor(checkpoint)
        if begun:
            self.processor.save_pretrained(out)
        try:
            self.layout = packed.Layout.of(self.model, self.processor, config.model.width, config.model.height)
            wording = packed.wording(self.processor, out / "tokenizer.json")
            self.words = lessons.words(self.processor.tokenizer, wording)
            self.flex = on_gpu if config.compute.flex is None else config.compute.flex
            compiled = on_gpu if config.compute.compile is None else config.compute.compile
            packed.prepare(self.model, self.layout, flex=self.flex, compiled=compiled)
        except ValueError as error:
            raise VtError(f"{checkpoint.folder}: {error}; leave out --model to begin with a fresh one") from error
        self.model.to(self.device).train()
        self.source = Source(wording, config.world.seed, config.world.preset, config.world.n_questions)
        self.course = lessons.Course(
            draws=config.lessons.draws,
            rows=config.lessons.rows,
            n_questions=config.lessons.n_questions,
            n_tracks=config.lessons.n_tracks,
            counterfactual_share=config.lessons.counterfactual_share,
            length=config.lessons.length,
            beginning=self.layout.beginning,
            pad=self.processor.tokenizer.pad_token_id,
        )
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.optimizer.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.optimizer.learning_rate,
            betas=(0.9, 0.98),
            fused=on_gpu,
        )
        self.vision_inputs = packed.vision_inputs(self.model, self.layout, config.optimizer.rows)
        self.first_scene = self.next_scene = config.world.n_unseen + config.world.first_scene
        self.n_questions = self.n_tokens = 0
        if (out / STATE).is_file():
            self._resume()

    def rows(self, ends: float) -> Generator[Row, None, None]:
        """Train until the last step or the time `ends` (time.monotonic), yielding a row every `log_every` steps."""
        config, compute = self.config, self.config.compute
        unseen = self.source.read(range(config.world.n_unseen))
        trained = self.source.read(range(self.first_scene, self.first_scene + config.world.n_unseen))
        sums, since, waited, n_steps = torch.zeros(2, device=self.device), time.perf_counter(), 0.0, 0
        saved = self.step
        with closing(self._batches()) as batches:
            while self.step < config.optimizer.steps and time.monotonic() < ends:
                before = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - before
                sums += self._train(*batch)
                n_steps += 1
                is_last = self.step == config.optimizer.steps or time.monotonic() >= ends
                examines = self.step % config.evaluation.every == 0 or is_last
                if self.step % compute.log_every and not examines:
                    continue
                loss, norm = (sums / n_steps).tolist()
                seconds = time.perf_counter() - since
                yield Row(
                    step=self.step,
                    loss=loss,
                    grad_norm=norm,
                    learning_rate=config.optimizer.rate(self.step - 1),
                    seconds=seconds / n_steps,
                    waiting=waited / seconds,
                    scenes=self.next_scene - self.first_scene,
                    questions=self.n_questions,
                    tokens=self.n_tokens,
                    unseen=self._examine(unseen) if examines else None,
                    trained=self._examine(trained) if examines else None,
                )
                if is_last or self.step - saved >= compute.save_every:
                    self._save()
                    saved = self.step
                sums.zero_()
                since, waited, n_steps = time.perf_counter(), 0.0, 0

    def _train(self, frames: torch.Tensor, batch: _Batch) -> torch.Tensor:
        """One step. Returns (2,): loss and gradient norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.optimizer.rate(self.step)
        patches = packed.patches(frames[batch.clip], self.processor, self.config.lessons.noise)
        with self._half():
            seen = packed.see(self.model, patches, self.layout, self.vision_inputs)
            loss = packed.loss(self.model, seen, batch.rows, self.layout, flex=self.flex)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.n_tokens += batch.n_tokens
        self.n_questions += batch.n_questions
        return torch.stack([loss.detach(), norm])

    def _half(self) -> Any:
        return torch.autocast("cuda", torch.bfloat16) if self.device == "cuda" else nullcontext()

    def _batches(self) -> Generator[tuple[torch.Tensor, _Batch], None, None]:
        """(clips, sequences) of one step after the other; a thread prepares the next round meanwhile."""
        with closing(self._rounds()) as rounds, ThreadPoolExecutor(1) as thread:
            coming = thread.submit(next, rounds)
            while True:
                now: _Round = coming.result()
                coming = thread.submit(next, rounds)
                self.next_scene = now.next_scene
                for batch in now.batches:
                    yield now.frames, batch
                if now.frames.is_cuda:  # the memory is the other stream's: it may be used again as soon as `now` is gone
                    torch.cuda.current_stream().synchronize()

    def _rounds(self) -> Generator[_Round, None, None]:
        """Clips taken at random from a backlog, new ones put in their place, and their sequences shuffled."""
        n_clips, n_backlog, course = self.config.compute.clips_a_round, self.config.lessons.backlog, self.course
        rng = np.random.default_rng((self.config.seed, self.step))
        side: Any = torch.cuda.Stream() if self.device == "cuda" else None  # type: ignore[no-untyped-call]
        workers = self.config.compute.workers or max(1, (os.cpu_count() or 1) - 2)
        next_scene = self.next_scene
        with closing(lessons.material(self.source, course, self.words, first_scene=next_scene, workers=workers)) as stream:

            def read(n: int) -> lessons.Material:
                nonlocal next_scene
                next_scene += n // course.draws
                return lessons.join(list(islice(stream, n // (lessons.CHUNK * course.draws))))

            backlog = read(n_backlog)
            while True:
                picked = rng.permutation(n_backlog)[:n_clips]
                taken = backlog.take(picked)
                order = rng.permutation(n_clips * course.rows).reshape(-1, self.config.optimizer.rows)
                rollouts = taken.clips.rollouts()
                with torch.cuda.stream(side) if side else nullcontext():
                    frames = draw.frames(rollouts, width=self.layout.width, height=self.layout.height, device=self.device)
                    batches = [self._batch(taken.packed.reshape(-1), rows) for rows in order]
                if side:
                    side.synchronize()
                yield _Round(frames, batches, next_scene)
                backlog.put(picked, read(n_clips))

    def _batch(self, packed_rows: lessons.Packed, rows: Any) -> _Batch:
        some = packed_rows.take(rows)
        clip = torch.from_numpy(rows // self.course.rows).to(self.device)
        n_questions = int(((some.ids == self.words.think[0]) & some.is_reply).sum())
        return _Batch(packed.load(some, self.layout, self.device), clip, n_questions, int((some.lesson >= 0).sum()))

    def _examine(self, scenes: Scenes) -> Scores:
        config = self.config.evaluation
        return examine(
            self.model,
            self.processor,
            scenes,
            self.layout,
            self.words,
            n_questions=config.n_questions,
            max_new_tokens=config.max_new_tokens,
        )

    def _save(self) -> None:
        """The checkpoint, and beside it what resuming needs."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "next_scene": self.next_scene,
            "n_questions": self.n_questions,
            "n_tokens": self.n_tokens,
        }
        torch.save(state, self.out / f".{STATE}")
        (self.out / f".{STATE}").replace(self.out / STATE)
        plain_copy(self.model).save_pretrained(self.out)

    def _resume(self) -> None:
        state = torch.load(self.out / STATE, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in ("step", "next_scene", "n_questions", "n_tokens"):
            setattr(self, name, state[name])

    def describe(self) -> dict[str, Any]:
        """For run.json."""
        return {
            "steps": self.step,
            "scenes": self.next_scene - self.first_scene,
            "questions": self.n_questions,
            "tokens": self.n_tokens,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "vocabulary": self.words.n_tokens,
            "fed": {"frames": N_CLIP_FRAMES, "width": self.layout.width, "height": self.layout.height},
            "device": "cpu" if self.device == "cpu" else torch.cuda.get_device_name(),
        }


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
