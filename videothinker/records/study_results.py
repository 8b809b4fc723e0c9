"""What a study found: results.json of its report, and the answer sheets that its numbers rest on."""

from enum import StrEnum
from typing import Any

import msgspec

from videothinker.records.label import Rule
from videothinker.records.metrics import Estimate
from videothinker.records.study import Claim, Stage, Study
from videothinker.records.study_cells import Record, State
from videothinker.records.training import Judged, StepRecord

RESULTS = "results.json"
ANSWERS = "answers"
"""Folder of the answer sheets, NAME.parquet for each way of asking."""
EARLIER = "earlier"
"""Folder of the reports that a study goes on from (`vt study --earlier`), each in one of its own as `RESULTS` and `ANSWERS`."""

UNREAD = "unread"
LOST = "lost"
"""In place of letters on an answer sheet: the reply could not be read; the question is in no denominator, for its clip could
not be read or because the protocol leaves it out."""

SHEET_COLUMNS = {
    "question_id": "string",
    "scene": "int64",
    "gold": "string",
    "observer": "string",
    **{rule.column: "string" for rule in Rule},
}
"""Columns of an answer sheet by Arrow type; each further one holds the answers of a run, "base" or "ARM/SEED", or what its
replies say beside them, "ARM/SEED tokens" and so on (docs/study-auto.md)."""

NO_SEED = -1
"""Stands for the seed of "base"."""


class Decision(StrEnum):
    """What a study says about a claim."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """What the uncertainty of a difference consists of: variances of its mean, of which `study/crossed.py` makes intervals."""

    scenes: float
    """What other scenes would change, these trainings kept; it holds the interaction."""
    seeds: float
    """What other trainings would change, these scenes kept; it holds the interaction too."""
    interaction: float
    n_scenes: int
    n_seeds: int


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One measure, of an arm or of the difference between two or more."""

    per_seed: dict[int, Estimate]
    """Estimate of each run, clustered by scene; "base" has one, under `NO_SEED`."""
    scenes: Estimate
    """Estimate over the questions of all seeds, clustered by scene: its interval is for these runs and other scenes."""
    seeds: Estimate
    """Mean over seeds with a t-interval, which is for these scenes and other seeds."""
    crossed: Estimate = Estimate(None, None, None)
    """Of a difference: the same mean with an interval for other scenes and other seeds, by which verdicts are given. Nothing
    for levels, for a single seed, and in results that were written before there was one."""
    spread: Spread | None = None
    """What `crossed` rests on; None where it has no interval, and in results that were written before this was."""
    n_scenes: int = 0
    """Scenes that `scenes` rests on; 0 in results that were written before they were counted."""

    @property
    def n_seeds(self) -> int:
        """Number of runs that have a value."""
        return sum(one.value is not None for one in self.per_seed.values())


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """How an arm answered, in one way of asking, under one rule."""

    ask: str
    arm: str
    rule: Rule
    n_questions: dict[str, int]
    """Number of questions of one run, by measure."""
    measures: dict[str, Value]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`after` minus `before`, paired by question and by seed ("base" is paired with every seed)."""

    ask: str
    after: str
    before: str
    rule: Rule
    measures: dict[str, Value]


class Contrast(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim compares that is not the difference of two arms: several arms with weights, or an arm with a family."""

    ask: str
    name: str
    """Such as "cdpo-90 - 0.5 grpo-90 - 0.5 base"."""
    rule: Rule
    measures: dict[str, Value]
    reason: str = ""
    """Why a comparison with a family has no value."""


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """What thinking is worth to an arm, and what it takes, in one way of asking and under the study's rule.

    Each by "all", "observational" and "inferential", over the questions of all seeds, clustered by scene. The first three are
    empty for arms that do not answer twice.
    """

    ask: str
    arm: str
    n_seeds: int
    first: dict[str, Estimate] = {}
    """Share of first answers that are right; a reply without one counts as not right."""
    gain: dict[str, Estimate] = {}
    """Share that is right in the end, less `first`."""
    thinks: dict[str, Estimate] = {}
    """Share of replies that think."""
    second: dict[str, Estimate]
    """Share that is right in the end."""
    tokens: dict[str, float | None]
    """Mean tokens of a reply; None where they were not counted."""


class TokenPoint(msgspec.Struct, frozen=True, array_like=True):
    """What an arm's replies come to with one `--stop-at`: the mean over seeds of each value. In JSON it is a list."""

    stop_at: float | None
    """Confidence from which replies end behind their first answer, the same for all seeds; None never ends one."""
    stopped: float
    """Share of replies that end there."""
    tokens: float
    """Mean tokens of a reply."""
    accuracy: float
    """Share of questions answered exactly right."""


class TokenCurve(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy against tokens: what an arm would have come to at any stop, in one way of asking, under the study's rule."""

    ask: str
    """A way of asking in which nothing is stopped."""
    arm: str
    n_seeds: int
    points: dict[str, list[TokenPoint]]
    """By "all", "observational" and "inferential", from always stopping (0) to never; none where there are no questions."""


class Gates(msgspec.Struct, frozen=True, kw_only=True):
    """What the gates of an arm's bias models say."""

    n_passed: int
    n_failed: int
    """Said to be no shortcut model; a gate that is undecided is neither."""
    n: int


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One comparison of a claim, and what was found. In JSON it is a list; earlier versions wrote the first two entries."""

    name: str
    value: Value | None
    """None if an arm has no run, and for gates."""
    gates: Gates | None = None
    reason: str = ""
    """Why there is no value, where that is not for want of runs."""
    p: float | None = None
    """Two-sided: the probability of what was found, or of something further from the bound, if the bound were the truth. None
    if there is nothing to compute it from."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the study says about one claim."""

    claim: Claim
    decision: Decision
    parts: tuple[Part, ...]
    """Each comparison of the claim and its difference; None if an arm has no run."""
    p: float | None = None
    """Of the claim, or of its refutation if that is the smaller one; None in what earlier versions wrote."""
    corrected: Decision | None = None
    """The decision after Holm's correction for the number of the study's claims; None in what earlier versions wrote."""
    open: int = 0
    """Trainings and askings that the claim rests on and that are not over; while there are some, `decision` is of what is
    there so far. 0 in what earlier versions wrote."""


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """One run of an arm, however it ended."""

    name: str
    arm: str
    seed: int
    stage: Stage
    state: State
    diverged: bool
    """True if an alarm was on at its last step, or its loss was not a number."""
    gate: tuple[str, ...] | None
    """For bias: why it is not a shortcut model, () if it is one; None if it was not judged."""
    judged: Judged | None = None
    """The gate's verdict; None if there is none, and in what earlier versions wrote."""
    seconds: float
    replies: int | None = None
    """Replies sampled per step, as run.json says."""
    alarms: list[tuple[int, str]] = []
    """The first step of each kind of alarm, with its words."""
    steps: list[StepRecord] = []
    """Its metrics.jsonl, for curves; results.json leaves it out, because the cell's own file has it."""

    @property
    def steps_are_elsewhere(self) -> bool:
        """True for a run of an earlier piece, of which results.json alone is here."""
        return self.state is State.FINISHED and not self.steps


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """results.json: all that the report shows."""

    study: Study
    levels: list[Level]
    differences: list[Difference]
    contrasts: list[Contrast] = []
    """For the ways of asking that claims are about."""
    thinking: list[Thinking] = []
    """For studies with arms that answer twice."""
    curves: list[TokenCurve] = []
    """For arms that answer twice, in ways of asking where nothing is stopped; results of earlier versions have none."""
    verdicts: list[Verdict]
    references: dict[str, dict[str, Estimate]]
    """For the first way of asking: "chance", "prior" and "observer", by measure, under the study's rule."""
    trainings: list[Training]
    states: dict[str, State]
    records: dict[str, Record]
    seconds: dict[str, float]
    """Seconds of GPU cells by group, over all attempts."""
    provenance: dict[str, Any]
    """Provenance of the report; each cell's own files have theirs."""
