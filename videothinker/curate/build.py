"""From CLEVRER's files to a curated folder: read, label, split, count, and write with the manifest last.

`curate` does everything in memory and touches no output; `write` puts a `Curation` on disk. Between the two the command line
draws the report page from the same `Curation`, so that page, manifest and data files cannot disagree.
"""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from videothinker.records import CuratedQuestion, Scene


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """One counterfactual question that could not be labelled: a line of unresolved.jsonl."""

    question_id: str
    """"SCENE:QID"; QID is "?" when the file does not give one."""
    scene_index: int | None
    """None when the file does not give one."""
    qid: int | None
    file: str
    """Name of the file at fault: the annotation's or the questions'."""
    reason: str
    """What was found, in which field, and what was expected."""


class Curation(NamedTuple):
    """A curated data set in memory."""

    labels: pl.DataFrame
    """labels.parquet: one row a labelled question, by scene and qid, with the contract's columns (`category` is the chosen
    rule's; `gold` and `observer` are letters joined by ","; `in_train_set` is False for what was left out)."""
    questions: dict[str, list[CuratedQuestion]]
    """Every labelled question by split, by scene and qid; of "train" also those left out of the training set."""
    scenes: dict[int, Scene]
    """Objects and collision log of every scene with a labelled question."""
    unresolved: list[Unresolved]
    """Questions read = rows of `labels` + these."""
    manifest: dict[str, Any]
    """manifest.json, see `manifest.py`."""
    videos_root: Path | None
    """Absolute folder of the clips; None: curated without clips."""
