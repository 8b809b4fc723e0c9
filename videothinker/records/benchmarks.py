"""summary.json of a run over several data sets: checkpoints x data sets. docs/metrics.md gives every formula."""

import msgspec

from videothinker.records.metrics import Comparison, Estimate
from videothinker.records.run import Partial


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How one checkpoint did on one data set."""

    value: float | None
    """The number that the data set is quoted by, as a fraction: the mean over a facet's values where it defines one, else the
    share of questions that are exactly right, or the mean score where answers have one; None over nothing."""
    ci95: tuple[float, float] | None
    """95 % interval, clustered by group; None for fewer than two groups."""
    n: int
    """Questions asked and answered, unreadable replies included."""
    chance: float | None
    """`value` of a uniformly random answer of each of these questions' form, averaged in the same way."""
    protocol: str | None
    """Name of the protocol that the questions were asked by; None for references."""
    over_questions: Estimate
    """The share of questions that are exactly right, or the mean score: `value`, unless the set is averaged over a facet."""
    n_unparsed: int
    """Replies without a readable answer: wrong."""
    n_truncated: int
    """Replies cut at the token limit, readable or not."""
    n_decode_error: int
    """Questions that could not be asked because their clip could not be read; not in `n`."""
    partial: Partial | None = None
    """None if all of the split was asked."""


class DataSet(msgspec.Struct, frozen=True, kw_only=True):
    """One data set of the run."""

    mean: str
    """How `Score.value` is averaged: "over questions", or "mean over task"."""
    sources: list[str]
    """`Question.source` of its questions."""
    splits: list[str]
    n_questions: int
    """Questions that some checkpoint answered."""
    n_groups: int
    rule: str | None
    """Name of the labels that its categories follow; None without labels."""


class SetChange(Comparison, frozen=True, kw_only=True):
    """The change from the baseline to another checkpoint on one data set.

    `measure` is `DataSet.mean`; `p_holm` is corrected for all changes of the summary.
    """

    dataset: str


class Benchmarks(msgspec.Struct, frozen=True, kw_only=True):
    """summary.json: what a run over several data sets found."""

    baseline: str
    """Name of the checkpoint that the others are compared with."""
    read_by: str | None = None
    """Name of the protocol that all replies were read by; None if each run's by the one that it was asked under."""
    datasets: dict[str, DataSet]
    checkpoints: dict[str, dict[str, Score]]
    """Scores by checkpoint and data set; a data set that a checkpoint was not asked is left out."""
    averages: dict[str, float]
    """Unweighted mean of a checkpoint's values over the data sets, for those that have all of them."""
    references: dict[str, dict[str, Score]]
    """"chance", "prior" and "observer", where a data set has them, on all questions that its checkpoints answered."""
    changes: list[SetChange]
