"""A training's metrics.jsonl: one line per logged step, written by `train`, read by `study` and its report.

    {"step": 12, "loss": 0.013, "reward": 1.41, "reward/accuracy": 0.44, "reward/format": 0.97, "kl": 0.02, ..., "alarms": []}

Rewards stand in a line as `reward/NAME`; which there are depends on the run's settings.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from videothinker import store
from videothinker.errors import VtError
from videothinker.records.training import StepRecord

_REWARD = "reward/"


def measure(step: StepRecord, name: str) -> float | None:
    """The number under `name` in the file: "reward/NAME" is a reward, anything else a field. None if the step lacks it."""
    if name.startswith(_REWARD):
        return step.rewards.get(name.removeprefix(_REWARD))
    value: float | None = getattr(step, name)
    return value


def write_steps(path: Path, steps: Iterable[StepRecord]) -> None:
    """Write the whole file at once."""
    store.write_jsonl(path, [_line(step) for step in steps])


def append_step(path: Path, step: StepRecord) -> None:
    """Append the step as one line."""
    with store.JsonlAppender(path) as file:
        file.append(_line(step))


def read_steps(path: Path) -> list[StepRecord]:
    """The file's steps in order; an empty list if there is no file yet.

    Raises:
        VtError: a line is not a `StepRecord`.
    """
    if not path.is_file():
        return []
    return [_step(line, f"{path}: line {i}") for i, line in enumerate(store.read_jsonl(path, dict[str, Any]), start=1)]


def _line(step: StepRecord) -> dict[str, Any]:
    """The record as a line of the file: each reward gets a key of its own in the place of the field `rewards`."""
    line: dict[str, Any] = {}
    for name, value in msgspec.to_builtins(step).items():
        line |= {f"{_REWARD}{reward}": mean for reward, mean in value.items()} if name == "rewards" else {name: value}
    return line


def _step(line: dict[str, Any], where: str) -> StepRecord:
    rewards = {name.removeprefix(_REWARD): value for name, value in line.items() if name.startswith(_REWARD)}
    try:
        return msgspec.convert(line | {"rewards": rewards}, StepRecord)
    except msgspec.ValidationError as error:
        raise VtError(f"{where} is not a step of a training: {error}") from error
