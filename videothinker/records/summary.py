"""summary.json of a report on one data set."""

import msgspec

from videothinker.records.metrics import Comparison, Metrics, ReadBy
from videothinker.records.views import ViewEffects


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """summary.json of a report: what does not belong to one run alone."""

    rule: str | None
    protocol: str | None = None
    """Name of the protocol that all replies were read by; None if each run's by the one that it was asked under."""
    references: dict[str, Metrics]
    """"chance", "prior" and "observer", on all questions that the runs answered."""
    comparisons: list[Comparison]
    readings: list[ReadBy] = []
    """The same replies, by checkpoint, question set and protocol; built-in solvers are not in it."""
    views: ViewEffects = ViewEffects()
    """What damaged clips did to the answers (`vt diagnose --views`); empty where none were shown."""
