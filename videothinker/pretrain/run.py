"""A whole pretraining: a tiny Qwen2.5-VL learns to watch a clip, to imagine it without an object, and to answer.

Real video-language models can do both, and reinforcement learning decides which one they use. A model that is small enough to
study this on one GPU has to be taught both first, on more scenes than a disk would hold: worker processes simulate them, they
are drawn where the model is, and they are gone after a few steps. A thought begins with "cf" (what would happen) or "obs" (what
is seen) and leads to the answer that follows it. How often it is "cf" is the model's habit, which reinforcement can change.

    run.pretrain(config, out=Path("runs/base"))

A call with the same settings and folder resumes at the last saved step. The scenes go on where they stopped, so none comes
again.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from transformers.utils import logging

from videothinker import locks, store
from videothinker.errors import VtError
from videothinker.models.checkpoint import check_fit, find_checkpoint, weights_hash
from videothinker.models.saving import save_whole
from videothinker.pretrain import fresh, record
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.record import CurvePoint
from videothinker.pretrain.settings import PretrainConfig
from videothinker.pretrain.trainer import STATE, Trainer
from videothinker.progress import silent
from videothinker.records.training import METRICS, RUN


class Outcome(NamedTuple):
    """What a run, or a part of it, came to."""

    out: Path
    steps: int
    finished: bool
    """False if the time limit came first; the same command goes on from there."""
    last: CurvePoint | None
    """The last point of the curve; None if no step was taken."""


def pretrain(
    config: PretrainConfig,
    *,
    out: Path,
    start: str | None = None,
    max_minutes: float | None = None,
    report: Callable[[CurvePoint], None] = silent,
) -> Outcome:
    """Train to the last step or for `max_minutes`, from a fresh checkpoint or from the weights of `start`.

    Under `torchrun` every process calls this; the main one writes.

    start: a checkpoint's folder or hub id.
    max_minutes: minutes after the call at which the step in hand becomes the last; examining and saving take some seconds more.
        With schedule "minutes" it is the length of the whole run, including what was spent before it was resumed.
    report: called with every line of metrics.jsonl, in the main process.

    Raises:
        VtError: `out` holds something else or this very run, finished; `start` cannot be taught these lessons; the loss is no
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
    """End this process at once if it fails among several: the others wait for it on their GPUs until the launcher sees that."""
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
    config: PretrainConfig,
    out: Path,
    start: str | None,
    max_minutes: float | None,
    report: Callable[[CurvePoint], None],
    ranks: Ranks,
    called: float,
) -> Outcome:
    logging.disable_progress_bar()
    begun = find_checkpoint(start) if start else None
    if begun is not None:
        check_fit(begun)
    told: dict[str, Any] = {}
    if ranks.is_main:
        told = record.begin(config, start=start, sha256=weights_hash(begun) if begun else None, max_minutes=max_minutes)
        earlier = record.earlier(out, told)
        told["sessions"] = [*earlier.get("sessions", []), told["provenance"]["created"]]
        store.write_json(out / RUN, told)
        if not begun and not (out / "model.safetensors").is_file():
            save_whole(out, lambda folder: fresh.build(folder, config))
    ranks.wait()
    trainer = Trainer(config, out, begun, ranks)
    if ranks.is_main:
        # A point that is owed may have been written already, if the run was killed right behind it.
        record.forget_after(out, trainer.step if trainer.owed is None else trainer.step - 1)
    last = None
    # A run by minutes has used some of them before it was resumed.
    begins = called - 60 * trainer.clock.minutes if trainer.clock.by_minutes else called
    writer = store.JsonlAppender(out / METRICS) if ranks.is_main else nullcontext()
    with closing(trainer.train(begins, max_minutes)) as points, writer as file:
        for point in points:
            last = point
            if file is not None:
                file.append(point)
                report(point)
    # Minutes that pass before the first step leave nothing that could be called trained; the same command tries again.
    over = trainer.step > 0 and trainer.clock.by_minutes and trainer.clock.is_over
    finished = trainer.step == config.optimizer.steps or over
    if ranks.is_main:
        if last is None and finished:  # killed after its last step
            last = record.last_point(out)
        told |= {"finished": finished, "result": trainer.describe() | {"last": last}}
        store.write_json(out / RUN, told)
        store.write_text(out / "README.md", record.card(told))
        if finished:
            (out / STATE).unlink(missing_ok=True)
        locks.release(out)
    ranks.leave()
    return Outcome(out, trainer.step, finished, last)
