"""What `vt curate agree` finds of label files about the same questions."""

import msgspec

from videothinker.records.metrics import Estimate


class Rater(msgspec.Struct, frozen=True, kw_only=True):
    """One label set."""

    name: str
    observer: str
    rule: str
    n_labels: int
    """Questions of the data set that it labels."""
    n_lacking: int
    """Questions that some other set labels and this one does not."""
    n_strange: int
    """Labels of questions that the data set does not have; they count nowhere."""
    categories: dict[str, int]
    """Labels by category, which sum to `n_labels`."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two label sets, over the questions that both label. `unsure` is a category like the others."""

    one: str
    other: str
    n_questions: int
    n_clips: int
    alike: Estimate
    """Share of questions that both put into the same category."""
    kappa: Estimate
    """Cohen's kappa, in [-1, 1]: how much of what chance leaves apart is alike; None where both put all into one category."""
    n_decided: int
    """Questions of which neither is unsure."""
    alike_decided: Estimate
    """Of those, the share that both put into the same category."""
    counts: dict[str, dict[str, int]]
    """Questions by the category of `one`, then by that of `other`."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The document of `vt curate agree`."""

    n_questions: int
    """Questions that at least one set labels."""
    raters: list[Rater]
    pairs: list[Pair]
    n_all: int
    """Questions that all sets label."""
    n_apart: int
    """Questions that two sets or more put into different categories."""
    provenance: dict[str, object] = {}
