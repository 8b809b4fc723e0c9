"""Finished runs, loaded from their files and scored again; no model is needed."""

from pathlib import Path
from typing import Any, NamedTuple

from videothinker.diagnose.metrics import Metrics
from videothinker.records import CuratedQuestion, Prediction


class Run(NamedTuple):
    """One checkpoint's answers to the questions of one split."""

    name: str
    """Unique in a report."""
    settings: dict[str, Any]
    """run.json: `name`, `model`, `settings`, `data`, `fed`, `provenance`; only `name` and `model` for a reference."""
    questions: list[CuratedQuestion]
    """Parallel to `predictions`; `category` follows the rule that the report is drawn under."""
    predictions: list[Prediction]
    """In the order of the split's file; empty for the reference "chance", whose metrics are exact expectations."""
    metrics: Metrics
    folder: Path | None
    """None for a reference."""
    reference: bool = False
    """True for the rows that every report adds: "chance", "prior" and "observer"."""
