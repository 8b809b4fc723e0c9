"""From graded replies to numbers with honest intervals. Pure; docs/metrics.md gives every formula.

Every share is a ratio of sums over questions, and every standard error clusters by scene: a checkpoint that misreads a clip
misses all its questions together. A share over nothing is None, never 0.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from videothinker.records import Estimate, Rule

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

NOTHING = Estimate(None, None, None)
"""A share over no questions."""


class AgainstChance(Estimate, frozen=True):
    """A share beside the one that would be expected without the shortcut."""

    chance: float | None


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """How the questions of one kind were answered. Questions with a decode_error are counted, and in nothing else."""

    n_questions: int
    """Questions asked and answered, unreadable replies included."""
    n_options: int
    n_scenes: int
    n_unparsed: int
    """Replies without a readable answer: wrong in every option."""
    n_truncated: int
    """Replies cut at the token limit, readable or not."""
    n_decode_error: int
    """Questions that could not be asked, because their clip could not be read; in none of the other counts."""
    per_question: Estimate
    """Share of questions whose whole answer set is right."""
    per_option: Estimate
    """Share of options judged right."""
    soft: Estimate
    """Mean of the paper's soft score."""
    chance: float | None
    """`per_question` that is expected of a uniformly random set of options."""


class ByCategory(msgspec.Struct, frozen=True, kw_only=True):
    """The contrast that the diagnosis is about, under one rule."""

    all: Pool
    observational: Pool
    inferential: Pool
    gap: Estimate
    """per_question on observational minus inferential questions: what is lost when watching is not enough."""
    shortcut_reliance: AgainstChance
    """Share of inferential answers that are the observer's; chance: that of a uniformly random set."""
    shortcut_error_share: AgainstChance
    """Of the wrong options on inferential questions, the share on which the observer is wrong the same way; chance: that of
    errors that fall evenly on the question's options."""


class LetterScore(msgspec.Struct, frozen=True, kw_only=True):
    """One position of the answer list: is a letter favoured whatever it says?"""

    n_options: int
    """Questions that have this letter and a readable reply or none at all, but no decode_error."""
    per_option: Estimate
    chosen: Estimate
    """Share of these questions whose answer contains the letter."""
    correct: float | None
    """Share of these questions where it should."""


class Metrics(ByCategory, frozen=True, kw_only=True):
    """metrics.json: `ByCategory` of the folder's own rule, the same under every rule, and further breakdowns."""

    rule: Rule
    """The rule of the fields at the top."""
    by_rule: dict[Rule, ByCategory]
    by_n_options: dict[int, Pool]
    by_n_correct: dict[int, Pool]
    by_polarity: dict[str, Pool]
    """"will" and "will not"."""
    by_letter: dict[str, LetterScore]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two checkpoints on the same questions."""

    before: str
    after: str
    """Names of the two runs."""
    measure: str
    """"all", "observational", "inferential" (per_question), "gap" or "shortcut_reliance"."""
    n_questions: int
    """Questions that both answered, decode_errors of either left out."""
    n_scenes: int
    n_gained: int
    """Questions that only `after` has right (shortcut_reliance: answers as the observer); 0 for the gap."""
    n_lost: int
    difference: Estimate
    """`after` minus `before`, paired by question, clustered by scene."""
    p_value: float | None
    """Two-sided, of the clustered paired z-test; None where there is no standard error."""
    p_holm: float | None
    """`p_value` corrected by Holm for all comparisons of the report."""
