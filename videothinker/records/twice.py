"""What stopping behind the first answer would come to: stop-sweep.json."""

import msgspec

from videothinker.records.metrics import Estimate

SWEEP_FILE = "stop-sweep.json"


class StopPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would have come to with one `--stop-at`."""

    stop_at: float | None
    """Confidence from which replies end behind their first answer; None never ends one."""
    stopped: float
    """Share of replies that end there."""
    mean_tokens: float
    accuracy: Estimate


class StopSweep(msgspec.Struct, frozen=True, kw_only=True):
    """stop-sweep.json: accuracy against tokens, from one run whose replies were all written to their ends."""

    run: str
    split: str
    n_questions: int
    n_scenes: int
    points: list[StopPoint]
    """By mean tokens, the fewest first; one of them never stops."""
    best: StopPoint
    """The fewest tokens whose accuracy is at least the highest one less its standard error."""
    by_category: dict[str, list[StopPoint]]
    """"all" and the categories of the labels: always stopping, `best`, and never stopping, in this order."""
    by_score: bool = False
    """Whether `accuracy` is the mean of scores, as of intervals and estimates, and not the share of right answers; False in
    what earlier versions wrote."""
    confirm: str
    """The command that confirms `best` on other questions, with a run that really stops."""
