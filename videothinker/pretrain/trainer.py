"""The training loop of one process: steps, points of the curve, evaluations, and states to resume from."""

import math
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import torch

from videothinker import store
from videothinker.errors import VtError
from videothinker.models.checkpoint import Checkpoint, load_full, load_processor
from videothinker.models.saving import save_whole, writing
from videothinker.pretrain.examine import Scores, exam_scenes, examine, plain_copy
from videothinker.pretrain.feed import Feed, n_workers
from videothinker.pretrain.forward import prepare
from videothinker.pretrain.layout import Layout, wording
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.record import CurvePoint
from videothinker.pretrain.scenes import N_CLIP_FRAMES, Scenes, Source
from videothinker.pretrain.schedule import Clock, learning_rate
from videothinker.pretrain.settings import LATE, PretrainConfig
from videothinker.pretrain.step import Inputs, Stepper
from videothinker.pretrain.tower import one_window
from videothinker.pretrain.vocabulary import form_ids, word_ids

STATE = "state.pt"
"""What resuming needs beside the checkpoint; it is gone once the run is finished."""


class _Stretch:
    """The steps since the last point of the curve, and the time that they took."""

    def __init__(self) -> None:
        self.n_steps, self._waited, self._began = 0, 0.0, time.perf_counter()

    def wait(self, batches: Generator[Inputs, None, None]) -> Inputs:
        """The next inputs, with the time until they come counted as waiting."""
        before = time.perf_counter()
        inputs = next(batches)
        self._waited += time.perf_counter() - before
        return inputs

    def times(self) -> tuple[float, float]:
        """Seconds per step, and the share of them that was waiting."""
        seconds = time.perf_counter() - self._began
        return seconds / self.n_steps, self._waited / seconds


class Trainer:
    """Model, optimisers and lessons of one process. `step` is the number of steps taken."""

    def __init__(self, config: PretrainConfig, out: Path, start: Checkpoint | None, ranks: Ranks) -> None:
        """start: the checkpoint to start from; None: the fresh one in `out`. A state in `out` is resumed.

        Raises:
            VtError: the checkpoint cannot be taught these lessons, or the settings do not fit the number of processes.
        """
        self.config, self.out, self.ranks = config, out, ranks
        checkpoint = start or Checkpoint(out, None)
        torch.manual_seed(config.seed)
        self.model = load_full(checkpoint, torch.float32, "sdpa", config.model.text_positions or None)
        self.processor = load_processor(checkpoint)
        if start and ranks.is_main:
            self.processor.save_pretrained(out)
        ranks.wait()
        on_gpu = ranks.device != "cpu"
        flex, compiled, self._records = (
            on_gpu if chosen is None else chosen
            for chosen in (config.compute.flex, config.compute.compile, config.compute.graph)
        )
        try:
            self.layout = Layout.of(self.model, self.processor, config.model.width, config.model.height)
            around = wording(self.processor, out / "tokenizer.json")
            self.words = word_ids(self.processor.tokenizer, around)
            forms = form_ids(self.processor.tokenizer) if config.forms else None
            prepare(self.model, self.layout, flex=flex, compiled=compiled)
            self._records = self._records and self._recordable()
        except ValueError as error:
            raise VtError(f"{checkpoint.folder}: {error}; leave out --model to begin with a fresh one") from error
        self.model.to(ranks.device).train()

        state: dict[str, Any] = {}
        if (out / STATE).is_file():
            state = torch.load(out / STATE, map_location=ranks.device, weights_only=True)
        self.step: int = state.get("step", 0)
        self.owed: CurvePoint | None = msgspec.convert(state.get("owed"), CurvePoint | None)
        """The last point of the curve, where the run ended between its last save and its last evaluation."""
        self.n_questions: int = state.get("n_questions", 0)
        self.n_tokens: int = state.get("n_tokens", 0)
        self.first_scene = config.world.n_unseen + config.world.first_scene
        self.source = Source(around, config.world.seed, config.world.preset, config.world.n_questions, bool(config.forms))
        self.feed = Feed(
            config,
            ranks,
            self.layout,
            self.source,
            self.words,
            pad=self.processor.tokenizer.pad_token_id,
            next_scene=state.get("next_scene", self.first_scene),
            forms=forms,
            n_questions=self.n_questions,
            n_tokens=self.n_tokens,
        )
        self.clock = Clock(config.optimizer, ranks)
        self.clock.minutes = state.get("minutes", 0.0)
        self.stepper = Stepper(self.model, self.processor, self.layout, config, ranks, flex=flex)
        if state:
            self.stepper.load_state_dict(state["trained"])
        torch.manual_seed(config.seed + 1 + ranks.rank)  # for the noise on pictures, which differs between processes

    def _recordable(self) -> bool:
        """Whether a step can be recorded as CUDA graphs, in which the GPU may not be asked for anything.

        Raises:
            VtError: it cannot, and compute.graph says that it should.
        """
        if one_window(self.model, self.layout):
            return True
        if self.config.compute.graph:
            raise VtError(
                "compute.graph = true needs pictures that fit into a window of the vision tower's attention; leave it out"
            )
        return False

    def batches(self) -> Generator[Inputs, None, None]:
        """The inputs of this process's next steps; on a GPU the step is recorded meanwhile."""
        return self.feed.batches(self.step, self.stepper.record if self._records else None)

    def train(self, begins: float, max_minutes: float | None) -> Generator[CurvePoint, None, None]:
        """Train to the last step, or until `max_minutes` after `begins` (time.monotonic), and save now and then.

        Yields a point of the curve every `compute.log_every` steps and at every evaluation.

        Raises:
            VtError: the loss is no longer a number.
        """
        clock, compute, n_steps = self.clock, self.config.compute, self.config.optimizer.steps
        clock.start(begins, max_minutes, self.step)
        saved, n_examined = self.step, self._n_due()
        if self.step > 0 and (self.step >= n_steps or clock.is_over):
            self._save(self.owed)  # the run was killed in its last save, maybe between the state and the checkpoint
            if self.owed is not None:
                yield self._examined(self.owed, self._exam_scenes(), is_last=True)
            return
        stretch = _Stretch()
        with ThreadPoolExecutor(1) as reader, closing(self.batches()) as batches:
            scenes = reader.submit(self._exam_scenes)
            while self.step < n_steps and not clock.is_over:
                inputs = stretch.wait(batches)
                self.stepper.take(inputs, learning_rate(self.config.optimizer, self.step, clock.gone(self.step)))
                self.step += 1
                stretch.n_steps += 1
                logs = self.step % compute.log_every == 0
                if logs or self.ranks.size == 1:  # several processes have to agree, which makes their GPUs wait
                    clock.look(self.step, stretch.times()[0])
                is_last = self.step == n_steps or clock.is_over
                due = self._n_due()
                examines = is_last or due > n_examined
                if not logs and not examines:
                    continue
                point = self._point(stretch)
                if is_last:  # before the evaluation: should that fail, what was trained is not lost with it
                    self._save(owed=point)
                if examines:
                    point = self._examined(point, scenes.result(), is_last)
                n_examined = due
                yield point
                if not is_last and self.step - saved >= compute.save_every:
                    self._save()
                    saved = self.step
                stretch = _Stretch()

    def _n_due(self) -> int:
        """Evaluations that belong before the present step; a rounding error may not put one off."""
        return int(self.clock.gone(self.step) * self.config.evaluation.times + 1e-9)

    def _point(self, stretch: _Stretch) -> CurvePoint:
        """A point of the curve for the steps since the last one, without scores."""
        means = self.stepper.means(stretch.n_steps)
        if not math.isfinite(means.loss):
            raise VtError(f"{self.out}: the loss of steps up to {self.step} is {means.loss}; lower optimizer.learning_rate")
        self.n_questions, self.n_tokens = self.feed.read()
        seconds, waiting = stretch.times()  # now that the GPU has come to the last step
        return CurvePoint(
            step=self.step,
            loss=means.loss,
            loss_questions=means.loss_questions,
            loss_tracks=means.loss_tracks,
            perception=means.perception,
            named=means.named,
            gone=self.clock.gone(self.step),
            grad_norm=means.grad_norm,
            learning_rate=learning_rate(self.config.optimizer, self.step - 1, self.clock.gone(self.step - 1)),
            seconds=seconds,
            waiting=waiting,
            scenes=self.feed.next_scene - self.first_scene,
            questions=self.n_questions,
            tokens=self.n_tokens,
        )

    def _exam_scenes(self) -> list[Scenes]:
        """This process's share of the unseen scenes, and of the first ones that are trained on."""
        workers = n_workers(self.config.compute, self.ranks)
        return exam_scenes(self.source, (0, self.first_scene), self.config.world.n_unseen, self.ranks, workers)

    def _examined(self, point: CurvePoint, scenes: Sequence[Scenes], is_last: bool) -> CurvePoint:
        """The point with the scores on each of the two sets of scenes, of which every process asks about its share."""
        plan = self.config.evaluation
        late = is_last or self.clock.gone(self.step) >= LATE
        found = examine(
            self.model,
            self.processor,
            scenes,
            self.layout,
            self.words,
            n_questions=plan.n_late_questions if late else plan.n_questions,
            max_new_tokens=plan.max_new_tokens,
        )
        unseen, trained = (Scores.of(parts) for parts in zip(*self.ranks.gather(found), strict=True))
        return msgspec.structs.replace(point, unseen=unseen, trained=trained)

    def _save(self, owed: CurvePoint | None = None) -> None:
        """Write the checkpoint, and beside it what resuming needs. owed: a point whose evaluation is still to come."""
        if not self.ranks.is_main:
            return
        state = {
            "trained": self.stepper.state_dict(),
            "step": self.step,
            "owed": msgspec.to_builtins(owed),
            "next_scene": self.feed.next_scene,
            "n_questions": self.n_questions,
            "n_tokens": self.n_tokens,
            "minutes": self.clock.minutes,
        }
        with writing(self.out):
            # The state first: a run that is killed in between resumes from it, and never from the checkpoint's weights.
            torch.save(state, self.out / f".{STATE}")
            store.put(self.out / f".{STATE}", self.out / STATE)
        save_whole(self.out, plain_copy(self.model).save_pretrained)

    def describe(self) -> dict[str, Any]:
        """What the run came to, for run.json."""
        return {
            "steps": self.step,
            "scenes": self.feed.next_scene - self.first_scene,
            "questions": self.n_questions,
            "tokens": self.n_tokens,
            "minutes": round(self.clock.minutes, 2),
            "processes": self.ranks.size,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "vocabulary": self.words.n_tokens,
            "fed": {"frames": N_CLIP_FRAMES, "width": self.layout.width, "height": self.layout.height},
            "device": "cpu" if self.ranks.device == "cpu" else torch.cuda.get_device_name(),
        }
