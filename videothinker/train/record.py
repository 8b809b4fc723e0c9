"""What a training run says about itself while it runs: metrics.jsonl, completions.parquet, and the alarms."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from transformers import TrainerCallback

from videothinker import store, tables
from videothinker.answers import FORMS, Style, read_twice
from videothinker.answers.tally import Answered, tally
from videothinker.records.question import Kind
from videothinker.records.training import METRICS, Completion, StepRecord
from videothinker.steps import append_step, measure, read_steps, write_steps
from videothinker.train.clip_grpo import ClipGRPOTrainer
from videothinker.train.data import TrainingRow
from videothinker.train.stages import Alarms

COMPLETIONS = "completions.parquet"

_SOURCES = {
    "loss": "loss",
    "reward": "reward",
    "kl": "kl",
    "anchor_kl": "anchor_kl",
    "repulsion": "repulsion",
    "repulsion_gradient_ratio": "repulsion_gradient_ratio",
    "reward_grad_norm": "reward_grad_norm",
    "divergence_grad_norm": "divergence_grad_norm",
    "clamped_share": "clamped_share",
    "zero_advantage_share": "frac_reward_zero_std",
    "shuffled_accuracy": "shuffled_accuracy",
    "ordered_share": "ordered_share",
    "entropy": "entropy",
    "sampler_difference": "sampler_difference",
    "length": "completions/mean_length",
    "grad_norm": "grad_norm",
    "vision_kept_share": "vision_kept_share",
    "seconds": "step_time",
}
"""TRL's name of each field of a `StepRecord`; rewards are "rewards/NAME/mean"."""


class Watch:
    """Looks in a run's steps for what came before the collapses of the preparatory experiment (docs/training.md)."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._steps: list[StepRecord] = []

    def look(self, step: StepRecord) -> tuple[str, ...]:
        """The alarms that `step` raises, in words."""
        self._steps.append(step)
        return tuple(message for message in (self._length(), self._format(), self._divergence()) if message)

    def idle(self) -> str | None:
        """Said once, when all rewards have been equal for `idle_steps` logged steps."""
        n = self._alarms.idle_steps
        last = self._steps[-n:]
        same = [step.zero_advantage_share == 1 for step in last]
        if len(last) < n or not all(same) or (len(self._steps) > n and self._steps[-n - 1].zero_advantage_share == 1):
            return None
        zero = all(step.reward == 0 for step in last)
        what = "every reply has earned 0" if zero else "all replies to a question have earned the same"
        return f"{what} for {n} logged steps: nothing teaches the policy; look at {COMPLETIONS}"

    def _mean(self, name: str, start: int, stop: int | None) -> float | None:
        values = [value for step in self._steps[start:stop] if (value := measure(step, name)) is not None]
        return sum(values) / len(values) if values else None

    def _first_and_last(self, name: str) -> tuple[float, float] | None:
        """Means of the first window and of the last, once there are two."""
        n = self._alarms.window
        if len(self._steps) < 2 * n:
            return None
        first, last = self._mean(name, 0, n), self._mean(name, -n, None)
        return None if first is None or last is None else (first, last)

    def _length(self) -> str | None:
        if (found := self._first_and_last("length")) is None or found[1] <= self._alarms.length_ratio * found[0]:
            return None
        return f"replies have grown from {found[0]:.0f} to {found[1]:.0f} tokens"

    def _format(self) -> str | None:
        """Silent where format is not among the rewards."""
        name, floor, n = "reward/format", self._alarms.format_floor, self._alarms.window
        if (found := self._first_and_last(name)) is None or found[1] >= floor:
            return None
        had_it = any((self._mean(name, i, i + n) or 0) >= floor for i in range(0, len(self._steps) - n, n))
        return f"the share of well-formed replies has fallen to {found[1]:.3f}" if had_it else None

    def _divergence(self) -> str | None:
        n = self._alarms.window
        if self._first_and_last("kl") is None:
            return None
        before, last = self._mean("kl", -2 * n, -n), self._mean("kl", -n, None)
        if before is None or last is None or last < self._alarms.kl_floor or last <= self._alarms.kl_growth * before:
            return None
        return f"the divergence grows, from {before:.2f} to {last:.2f} nats per token"


def has_stopped(out: Path, alarms: Alarms, step: int) -> bool:
    """Did an alarm end the run in `out` at or before its `step`, so that no further step may be taken?"""
    return alarms.stop and any(one.alarms and one.step <= step for one in read_steps(out / METRICS))


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Writes the trainer's records into `out`, on the main process; cuts what a resumed run will write again.

    report: called with every step. warn: called with every alarm, in words.
    """

    def __init__(
        self,
        trainer: ClipGRPOTrainer,
        out: Path,
        alarms: Alarms,
        report: Callable[[StepRecord], None],
        warn: Callable[[str], None],
    ) -> None:
        self._trainer, self._metrics, self._completions = trainer, out / METRICS, out / COMPLETIONS
        self._watch, self._stop = Watch(alarms), alarms.stop
        self._report, self._warn = report, warn
        self._n_logged = 0  # completions that earlier steps' lines are about

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        kept = [step for step in read_steps(self._metrics) if step.step <= state.global_step]
        for step in kept:
            self._watch.look(step)
        write_steps(self._metrics, kept)
        if self._completions.is_file():
            saved = read_completions(self._completions)
            self._trainer.completions = [completion for completion in saved if completion.step <= state.global_step]
        self._n_logged = len(self._trainer.completions)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if not state.is_world_process_zero or "loss" not in logs:
            return
        values: dict[str, Any] = {field: logs.get(name) for field, name in _SOURCES.items()}
        values["rewards"] = {name: logs.get(f"rewards/{name}/mean") for name in self._trainer.reward_func_names}
        written = self._trainer.completions[self._n_logged :]
        self._n_logged = len(self._trainer.completions)
        values["replies_about"] = self._replies_about(written)
        values |= self._answered_twice(written)
        step = StepRecord(step=state.global_step, tokens=int(logs.get("num_tokens", 0)), **values)
        step = msgspec.structs.replace(step, alarms=self._watch.look(step))
        append_step(self._metrics, step)
        self._report(step)
        for message in (*step.alarms, self._watch.idle()):
            if message:
                self._warn(f"step {step.step}: {message}")
        if step.alarms and self._stop:
            control.should_save = control.should_training_stop = True

    def _replies_about(self, written: Sequence[Completion]) -> dict[str, int] | None:
        """How many replies are about clips, images and nothing; None where all are about clips."""
        clips = {row["question_id"]: row["prompt"].clip for row in self._trainer.train_dataset}
        if all(clip is not None and not clip.is_image for clip in clips.values()):
            return None
        shown = [clips[one.question_id] for one in written]
        about = Counter(Kind.TEXT if clip is None else Kind.IMAGE if clip.is_image else Kind.CLIP for clip in shown)
        return {kind.value: about[kind] for kind in Kind}

    def _answered_twice(self, written: Sequence[Completion]) -> dict[str, float | None]:
        """The fields of a step that tell first answers from second ones: of the replies written since the last line."""
        asked = {row["question_id"]: row for row in self._trainer.train_dataset}
        if not written or any(asked[one.question_id]["style"] is not Style.TWICE for one in written):
            return {}
        shares = tally(_said(one.reply, asked[one.question_id]) for one in written)._asdict()
        return {name: share for name, share in shares.items() if name != "n"}

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._write_completions(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._write_completions(state)

    def _write_completions(self, state: Any) -> None:
        if state.is_world_process_zero:
            write_completions(self._completions, self._trainer.completions, self._trainer.reward_func_names)


def _said(reply: str, row: TrainingRow) -> Answered:
    form = FORMS[row["form"]]
    return Answered(read_twice(form, reply, row["n_options"]), row["gold"], form)


_BEFORE = {"step": "int64", "question_id": "string", "reply": "string"}
_AFTER = {"advantage": "double"}
_LATER = {"n_tokens": "int64"}
"""Columns of completions.parquet before and behind those of the rewards; earlier versions did not write the last one."""


def write_completions(path: Path, completions: Sequence[Completion], rewards: Sequence[str]) -> None:
    """All replies so far, in order, with one column for each reward."""
    columns = _BEFORE | dict.fromkeys(rewards, "double") | _AFTER | _LATER
    store.write_bytes(path, tables.to_bytes([one._asdict() | one.rewards for one in completions], columns))


def read_completions(path: Path) -> list[Completion]:
    """What `write_completions` wrote.

    Raises:
        VtError: the file is missing, damaged, or lacks a column.
    """
    found = []
    for row in tables.read(path, _BEFORE | _AFTER, more=True):
        rewards = {name: value for name, value in row.items() if name not in _BEFORE | _AFTER | _LATER}
        found.append(Completion(row["step"], row["question_id"], row["reply"], rewards, row["advantage"], row.get("n_tokens")))
    return found
