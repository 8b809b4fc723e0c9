"""What a training run says about itself: metrics.jsonl, completions.parquet, and the alarms.

{"step": 12, "loss": 0.013, "reward": 1.41, "reward/accuracy": 0.44, ..., "alarms": []}
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet
from transformers import TrainerCallback

from videothinker import store
from videothinker.train.clip_grpo import ClipGRPOTrainer, Completion
from videothinker.train.stages import Alarms

METRICS = "metrics.jsonl"
COMPLETIONS = "completions.parquet"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One logging step, means over it and over all processes; None: not measured in this stage."""

    step: int
    loss: float | None
    reward: float | None
    accuracy: float | None = msgspec.field(name="reward/accuracy", default=None)
    format: float | None = msgspec.field(name="reward/format", default=None)
    kl: float | None
    """Divergence between policy and reference, nats: k3 (also where the loss takes a bounded form), or exact; averaged as in
    the paper's loss, over each reply's tokens and then over replies."""
    repulsion: float | None = None
    """Weight of the divergence in the loss: constant, or what `objective.hold_at` has made of it."""
    clamped_share: float | None
    """Share of tokens whose log-ratio reached kl_clamp; there the divergence has no gradient."""
    zero_advantage_share: float | None
    """Share of questions whose replies all earned the same."""
    entropy: float | None
    """Of the policy, nats a token."""
    length: float | None
    """Tokens a reply."""
    grad_norm: float | None
    """Before clipping."""
    seconds: float | None
    """Of one optimiser step, generation included."""
    tokens: int
    """Prompt and reply tokens since the start of the run."""
    alarms: tuple[str, ...] = ()


_SOURCES = {
    "loss": "loss",
    "reward": "reward",
    "accuracy": "rewards/accuracy/mean",
    "format": "rewards/format/mean",
    "kl": "kl",
    "repulsion": "repulsion",
    "clamped_share": "clamped_share",
    "zero_advantage_share": "frac_reward_zero_std",
    "entropy": "entropy",
    "length": "completions/mean_length",
    "grad_norm": "grad_norm",
    "seconds": "step_time",
}
"""TRL's name of each metric."""


class Watch:
    """Notices in a run's rows what came before every collapse that was measured (see docs/training.md)."""

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._rows: list[Row] = []

    def look(self, row: Row) -> tuple[str, ...]:
        """The alarms that `row` raises, in words."""
        self._rows.append(row)
        return tuple(message for message in (self._length(), self._format(), self._divergence()) if message)

    def idle(self) -> str | None:
        """Said once, when the rewards have been all equal for `idle_steps` rows."""
        n = self._alarms.idle_steps
        last = self._rows[-n:]
        same = [row.zero_advantage_share == 1 for row in last]
        if len(last) < n or not all(same) or (len(self._rows) > n and self._rows[-n - 1].zero_advantage_share == 1):
            return None
        zero = all(row.reward == 0 for row in last)
        what = "every reply has earned 0" if zero else "all replies to a question have earned the same"
        return f"{what} for {n} logged steps: nothing teaches the policy; look at {COMPLETIONS}"

    def _mean(self, name: str, start: int, stop: int | None) -> float | None:
        values = [value for row in self._rows[start:stop] if (value := getattr(row, name)) is not None]
        return sum(values) / len(values) if values else None

    def _latest(self, name: str) -> tuple[float, float] | None:
        """Mean of the first window and of the last, once there are two."""
        n = self._alarms.window
        if len(self._rows) < 2 * n:
            return None
        first, last = self._mean(name, 0, n), self._mean(name, -n, None)
        return None if first is None or last is None else (first, last)

    def _length(self) -> str | None:
        if (found := self._latest("length")) is None or found[1] <= self._alarms.length_ratio * found[0]:
            return None
        return f"replies have grown from {found[0]:.0f} to {found[1]:.0f} tokens"

    def _format(self) -> str | None:
        floor, n = self._alarms.format_floor, self._alarms.window
        if (found := self._latest("format")) is None or found[1] >= floor:
            return None
        had_it = any((self._mean("format", i, i + n) or 0) >= floor for i in range(0, len(self._rows) - n, n))
        return f"the share of well-formed replies has fallen to {found[1]:.3f}" if had_it else None

    def _divergence(self) -> str | None:
        n = self._alarms.window
        if self._latest("kl") is None:
            return None
        before, last = self._mean("kl", -2 * n, -n), self._mean("kl", -n, None)
        if before is None or last is None or last < self._alarms.kl_floor or last <= self._alarms.kl_growth * before:
            return None
        return f"the divergence grows, from {before:.2f} to {last:.2f} nats a token"


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Writes a run's records into `out`, on the main process; cuts what a resumed run will write again."""

    def __init__(self, out: Path, alarms: Alarms, report: Callable[[Row], None], warn: Callable[[str], None]) -> None:
        self.trainer: ClipGRPOTrainer | None = None
        self._out, self._watch, self._stop = out, Watch(alarms), alarms.stop
        self._report, self._warn = report, warn

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero or self.trainer is None:
            return
        earlier = store.read_jsonl(self._out / METRICS, Row) if (self._out / METRICS).is_file() else []
        kept = [row for row in earlier if row.step <= state.global_step]
        for row in kept:
            self._watch.look(row)
        store.write_jsonl(self._out / METRICS, kept)
        if (self._out / COMPLETIONS).is_file():
            saved = parquet.read_table(self._out / COMPLETIONS).to_pylist()
            self.trainer.completions = [Completion(**c) for c in saved if c["step"] <= state.global_step]

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if not state.is_world_process_zero or "loss" not in logs:
            return
        values: dict[str, Any] = {field: logs.get(name) for field, name in _SOURCES.items()}
        row = Row(step=state.global_step, tokens=int(logs.get("num_tokens", 0)), **values)
        row = msgspec.structs.replace(row, alarms=self._watch.look(row))
        with store.JsonlAppender(self._out / METRICS) as file:
            file.append(row)
        self._report(row)
        for message in (*row.alarms, self._watch.idle()):
            if message:
                self._warn(f"step {row.step}: {message}")
        if row.alarms and self._stop:
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write_completions(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.write_completions(state)

    def write_completions(self, state: Any) -> None:
        """All replies so far, as completions.parquet."""
        if not state.is_world_process_zero or self.trainer is None:
            return
        columns = {name: [getattr(c, name) for c in self.trainer.completions] for name in Completion._fields}
        types = [pa.int64(), pa.string(), pa.string(), pa.float64(), pa.float64(), pa.float64()]
        table = pa.table(columns, schema=pa.schema(zip(Completion._fields, types, strict=True)))
        buffer = BytesIO()
        parquet.write_table(table, buffer)
        store.write_bytes(self._out / COMPLETIONS, buffer.getvalue())
