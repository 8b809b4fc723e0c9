"""Lessons for one process that trains: while the model learns from a round of clips, the next one is simulated and drawn.

Worker processes simulate scenes and make lessons of them (`course.material`). A thread of the training process picks clips from
a backlog, draws them, and brings them and their sequences to the model's device.
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from itertools import islice
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch

from videothinker.errors import VtError
from videothinker.pool import n_cores
from videothinker.pretrain import forward, perception
from videothinker.pretrain.backlog import Picked, pick
from videothinker.pretrain.course import CHUNK, Course, Material, join, material
from videothinker.pretrain.forms import FormCourse
from videothinker.pretrain.layout import Layout
from videothinker.pretrain.packing import PackedLessons
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.scenes import Source
from videothinker.pretrain.settings import ComputeSettings, PretrainConfig
from videothinker.pretrain.step import Inputs
from videothinker.pretrain.vocabulary import FormIds, WordIds
from videothinker.world import draw


class Round(NamedTuple):
    """Drawn clips and the sequences about them, all on the model's device: copying during a step would make a GPU wait."""

    frames: torch.Tensor
    """(C, T, 3, H, W) uint8."""
    targets: perception.Targets
    clip: torch.Tensor
    """(S, B): the clip of each sequence of each step."""
    sequences: forward.Sequences
    """As from `forward.load_steps`."""
    counts: torch.Tensor
    """(S, 4): reply tokens, cells with an object, questions with a thought, and tokens of each step, here of this process."""
    next_scene: int
    """The first scene that has not been simulated for this round or an earlier one."""


class Feed:
    """The lessons of one process, as inputs of one step after the other."""

    def __init__(
        self,
        config: PretrainConfig,
        ranks: Ranks,
        layout: Layout,
        source: Source,
        words: WordIds,
        *,
        pad: int,
        next_scene: int,
        forms: FormIds | None = None,
        n_questions: int = 0,
        n_tokens: int = 0,
    ) -> None:
        """forms: for the lessons of config.forms, None without them.

        next_scene, n_questions, n_tokens: where the run stands, which counts on from there. pad: token of empty places.

        Raises:
            VtError: the sequences of a step cannot be shared by all processes.
        """
        self._config, self._ranks, self._layout, self._source, self._words = config, ranks, layout, source, words
        self._n_sequences = sequences_per_process(config, ranks.size)
        self._course = Course(
            variants_per_scene=config.lessons.variants_per_scene,
            sequences_per_clip=config.lessons.sequences_per_clip,
            n_questions=config.lessons.n_questions,
            n_tracks=config.lessons.n_tracks,
            without_share=config.lessons.without_share,
            counterfactual_share=config.lessons.counterfactual_share,
            length=config.lessons.length,
            beginning=layout.beginning,
            pad=pad,
            in_forms=_in_forms(config, forms),
        )
        self.next_scene = next_scene
        """The first scene that has not been simulated for the round in hand or an earlier one."""
        self._read = torch.tensor([n_questions, n_tokens], device=ranks.device)
        self._recording = Lock()

    def read(self) -> tuple[int, int]:
        """Questions and tokens that all processes have been given since the start of the run. It makes a GPU wait."""
        n_questions, n_tokens = self._read.tolist()
        return n_questions, n_tokens

    def batches(self, step: int, record: Callable[[], None] | None = None) -> Generator[Inputs, None, None]:
        """Inputs for `Stepper.take`, step by step without end, while a thread prepares the next round.

        step: steps taken so far; with the seed it decides on what is picked. record: called once while the worker processes
        start, with nothing else using the GPU: `Stepper.record`.
        """
        with closing(self._rounds(step)) as rounds, ThreadPoolExecutor(1) as thread:
            coming = thread.submit(next, rounds)
            if record:
                with self._recording:
                    record()
            while True:
                now: Round = coming.result()
                coming = thread.submit(next, rounds)
                self.next_scene = now.next_scene
                self._ranks.add(now.counts)
                for clip, counts, *sequences in zip(now.clip, now.counts, *now.sequences, strict=True):
                    self._read.add_(counts[2:])
                    yield Inputs(now.frames, now.targets, clip, forward.Sequences(*sequences), counts[:2])
                if now.frames.is_cuda:  # the memory is the other stream's, which has to know that it was in use here
                    for values in (now.frames, *now.targets, now.clip, *now.sequences, now.counts):
                        values.record_stream(torch.cuda.current_stream())

    def _rounds(self, step: int) -> Generator[Round, None, None]:
        """Rounds without end, on the model's device."""
        compute, course, ranks = self._config.compute, self._course, self._ranks
        chunk = CHUNK * course.variants_per_scene
        next_scene = self.next_scene
        with closing(
            material(
                self._source,
                course,
                self._words,
                first_scene=next_scene,
                workers=n_workers(compute, ranks),
                rank=ranks.rank,
                size=ranks.size,
            )
        ) as stream:

            def read(n_clips: int) -> Material:
                nonlocal next_scene
                next_scene += n_clips // course.variants_per_scene * ranks.size  # each process takes as many
                return join(list(islice(stream, n_clips // chunk)))

            rounds = pick(
                read,
                n_clips=compute.clips_a_round,
                n_sequences=self._n_sequences,
                size=self._config.lessons.backlog,
                growth=-(-compute.clips_a_round // 4 // chunk) * chunk,  # a quarter of a round, rounded up to whole chunks
                rng=np.random.default_rng((self._config.seed, step, ranks.rank)),
            )
            # Of high priority: its kernels are small, and a round waits for one after the other.
            side: Any = torch.cuda.Stream(ranks.device, priority=-1) if ranks.device != "cpu" else None  # type: ignore[no-untyped-call]
            for picked in rounds:
                yield self._load(picked, side, next_scene)

    def _load(self, picked: Picked, side: Any, next_scene: int) -> Round:
        """Draw the clips and bring everything to the model's device, on the stream `side`."""
        layout, device = self._layout, self._ranks.device
        rollouts, shown = picked.clips.rollouts(), perception.targets(picked.clips, layout.grid)
        with self._recording, torch.cuda.stream(side) if side else nullcontext():
            frames = draw.frames(rollouts, width=layout.width, height=layout.height, device=device)
            targets = perception.Targets(*(forward.upload(values, device) for values in shown))
            clip, sequences = forward.upload(picked.clip, device), self._upload(picked.packed)
            counts = self._count(sequences, targets.look[clip])
        if side:
            side.synchronize()
        return Round(frames, targets, clip, sequences, counts, next_scene)

    def _upload(self, packed: PackedLessons) -> forward.Sequences:
        n_targets = forward.n_targets(self._n_sequences, self._course.length)
        try:
            return forward.load_steps(packed, self._layout, self._ranks.device, n_targets)
        except ValueError as error:
            raise VtError(f"lessons: {error}; give fewer lessons.n_tracks or more lessons.length") from error

    def _count(self, sequences: forward.Sequences, look: torch.Tensor) -> torch.Tensor:
        """`Round.counts` of steps whose clips show (S, B, n) looks."""
        counts = (
            (sequences.targets != forward.PADDING).sum(-1),
            (look != perception.NONE).sum((-2, -1)),
            (sequences.targets == self._words.think[0]).sum(-1),  # one for each reply that thinks
            (sequences.lesson >= 0).sum((-2, -1)),
        )
        return torch.stack(counts, dim=1)


def _in_forms(config: PretrainConfig, ids: FormIds | None) -> FormCourse | None:
    plan = config.forms
    if not plan or ids is None:
        return None
    return FormCourse(
        n_twins=plan.n_twins,
        n_twice=plan.n_twice,
        n_direct=plan.n_direct,
        observer_share=plan.observer_share,
        fallback_share=plan.fallback_share,
        counterfactual_share=config.lessons.counterfactual_share,
        ids=ids,
    )


def n_workers(compute: ComputeSettings, ranks: Ranks) -> int:
    """Processes that simulate for each process that trains: by default the cores that we may use, less two, in equal parts."""
    return compute.workers or max(1, (n_cores() - 2) // ranks.size)


def sequences_per_process(config: PretrainConfig, n_ranks: int) -> int:
    """Sequences per step of each of `n_ranks` processes.

    Raises:
        VtError: they cannot be shared evenly, or there are fewer unseen scenes than processes.
    """
    wanted = config.optimizer.sequences_per_step
    each, left = divmod(wanted, n_ranks)
    drawn = config.compute.clips_a_round * config.lessons.sequences_per_clip
    if left or drawn % each:
        raise VtError(
            f"optimizer.rows = {wanted}: cannot be shared by {n_ranks} processes that have {drawn} each"
            " (compute.clips_a_round x lessons.rows)"
        )
    if config.world.n_unseen < n_ranks:
        raise VtError(f"world.n_unseen = {config.world.n_unseen}: is less than one for each of {n_ranks} processes")
    return each
