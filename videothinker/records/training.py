"""What a training says about itself, as `vt train` writes it and as studies and reports read it."""

import msgspec

RUN = "run.json"
METRICS = "metrics.jsonl"
GATE = "gate.json"


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a training's metrics.jsonl."""

    step: int
    reward: float | None = None
    accuracy: float | None = msgspec.field(name="reward/accuracy", default=None)
    format: float | None = msgspec.field(name="reward/format", default=None)
    kl: float | None = None
    length: float | None = None
    loss: float | None = None
    seconds: float | None = None
    alarms: tuple[str, ...] = ()
