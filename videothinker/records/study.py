"""What a study is and what it found: its TOML file, records/NAME.json of each cell, and results.json of its report.

The names are those of docs/study.md: an *arm* is one way of training, run once per seed; a *cell* is one `vt` command.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from videothinker.records.bounds import AboveZero, Index, NotNegative, Positive, Share
from videothinker.records.label import Rule
from videothinker.records.metrics import Estimate
from videothinker.records.training import Judged, StepRecord

RESULTS = "results.json"
ANSWERS = "answers"
"""Folder of the answer sheets, NAME.parquet for each way of asking."""

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
"""Columns of an answer sheet by Arrow type; each further one holds the answers of a run: "base", or "ARM/SEED"."""

Seed = Index
Scalar = bool | int | float | str

BASE = "base"
"""Name of the checkpoint that every arm starts from, in `against` and in claims."""
NO_SEED = -1
"""Stands for the seed of "base"."""
MOST_SEEDS = 31
"""The t-table of `study/seeds.py` ends there."""


class Stage(StrEnum):
    """How an arm's checkpoints are made: by `vt train STAGE`, or by `vt checkpoint blend`."""

    BIAS = "bias"
    CDPO = "cdpo"
    GRPO = "grpo"
    AUTO = "auto"
    BLEND = "blend"
    """Nothing is trained: the weights lie between those of two other checkpoints."""


class Prepare(msgspec.Struct, frozen=True, kw_only=True):
    """[prepare.NAME]: any `vt` command that makes what the trainings need."""

    run: Annotated[str, msgspec.Meta(min_length=1)]
    """The command without "vt". {out} is this cell's folder, {NAME} that of another one, {here} that of the study's file. One
    that only fills a cache has no {out}, and stands in `after`."""
    gpu: bool = False
    """True if it needs a GPU."""
    minutes: AboveZero | None = None
    """Expected minutes, for the plan; None if not known."""
    basis: str = ""
    """What `minutes` was measured on; empty: it was not measured, and the plan says so."""
    awaits: str = ""
    """What of `vt` the command awaits that may not be there yet, in words. While `vt` does not understand the command, the cell
    and all that need it are planned but not run; without this it would be a mistake."""


class Train(msgspec.Struct, frozen=True, kw_only=True):
    """[train]: what all arms share."""

    data: str
    """Name of the [prepare] cell that holds the curated training data."""
    configs: dict[Stage, str]
    """Settings file of each stage that some arm uses, relative to the study's file."""
    steps: Positive
    """Optimiser steps of every arm."""
    set: dict[str, Scalar] = {}
    """Settings of every arm, as `vt train --set` takes them."""
    seconds_per_step: AboveZero | dict[Stage, AboveZero] | None = None
    """Expected with as many cells on a GPU as the schedule says, start-up and gate included, of all stages or of each; None if
    not known. A measured value replaces it."""
    basis: str = ""
    """As in [prepare.NAME], of `seconds_per_step`."""
    blend_minutes: AboveZero | None = None
    """Expected minutes of an arm of stage blend; None takes what tiny checkpoints take."""
    after: tuple[str, ...] = ()
    """[prepare] cells that trainings wait for although no command names them, such as one that fills the clip cache. They
    change no result: if one fails, trainings run all the same."""

    def rate(self, stage: Stage) -> float | None:
        """Expected seconds per step of a stage; None if not known."""
        return self.seconds_per_step.get(stage) if isinstance(self.seconds_per_step, dict) else self.seconds_per_step


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """[arms.NAME]: one way of training, run once per seed."""

    stage: Stage
    note: str = ""
    """What it is, in a few words, for the report."""
    of: tuple[str, str] | None = None
    """For blend: the two arms, or "base" and an arm, between whose weights of the same seed these lie."""
    weight: Share | None = None
    """For blend: the share of the second one, so that (1 - weight) * first + weight * second."""
    seeds: Positive | None = None
    """How many of the study's seeds it is run with, from the first, for an ablation; None runs all, and gives it a bar in the
    figure."""
    early_seeds: Positive | None = None
    """How many of these seeds are run where the arm stands in the file; the others come after all arms. None: all."""
    steps: Positive | None = None
    """Optimiser steps, if they are not those of [train]."""
    set: dict[str, Scalar] = {}
    """Settings that differ from `set` in [train]; with objective.reference = "start" or "self" no bias model is needed."""
    data: str | None = None
    """Another training set; None takes `data` of [train]."""
    labels: str | None = None
    """A file of labels that says which questions are what, such as "{probe}/twin.parquet" of a [prepare.probe]; None: the
    training set's own labels."""
    where: str | None = None
    """Which questions it is trained on, as `vt train --where` takes it; None: all that its stage takes."""
    bias: str = "bias"
    """For cdpo, and for auto with a repulsion: the arm whose checkpoint of the same seed is repelled from."""
    bias_model: str | None = None
    """For cdpo and auto: a checkpoint made elsewhere, a folder or a hub id, that is repelled from in place of an arm's."""
    rule: Rule | None = None
    """For bias: the rule whose observational questions it is trained on; None takes the study's, unless there are
    `labels`."""
    force: bool = False
    """For cdpo and auto: go on although the bias model has not passed its gate."""
    against: tuple[str, ...] = ("cdpo",)
    """Arms, or "base", that the report subtracts from this one."""
    awaits: str = ""
    """As in [prepare.NAME]."""

    @property
    def needs_bias(self) -> bool:
        """True if it has to wait for a bias model."""
        return self.repels and self.bias_model is None and self.set.get("objective.reference") not in ("start", "self")

    @property
    def repels(self) -> bool:
        """True if there may be a bias model: always in stage cdpo, in stage auto where the settings give it a weight."""
        weighed = any(self.set.get(f"objective.{way}") for way in ("repulsion", "gradient_share"))
        return self.stage is Stage.CDPO or (self.stage is Stage.AUTO and weighed)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """[ask.NAME]: one way of asking every checkpoint; the verdicts come from the first one."""

    data: str
    """Name of the [prepare] cell that holds the curated questions."""
    note: str = ""
    options: str = ""
    """Further options of `vt diagnose`, such as "--split heldout --temperature 1"."""
    arms: tuple[str, ...] | None = None
    """Arms, or "base", that are asked in this way; None asks all."""
    after: tuple[str, ...] = ()
    """Cells to wait for, as `after` in [train]."""
    stop_from: str = ""
    """For arms of stage auto: the name of another way of asking, where nothing is stopped and other questions are asked. What
    `vt report --stop-sweep` finds best there, checkpoint by checkpoint, is the `--stop-at` here. Empty: nothing is stopped."""

    def asks(self, arm: str) -> bool:
        """True if the arm is asked in this way."""
        return self.arms is None or arm in self.arms

    minutes: AboveZero | None = None
    """Expected minutes for one checkpoint on one GPU, for the plan; None if not known."""
    basis: str = ""
    """As in [prepare.NAME]."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """[families.NAME]: arms that trade observational accuracy for inferential accuracy, such as fewer and fewer steps of GRPO.

    A claim may compare an arm with the whole family: with what the family has, between its members, at the arm's own
    observational accuracy (`study/families.py`)."""

    arms: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    """Arms, or "base", in any order."""
    note: str = ""


Measure = Literal["all", "observational", "inferential", "shortcut_reliance"]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """[[claims]]: a statement that the study decides."""

    name: str = ""
    """A letter or word by which `vt study --claims` and the report name it; empty: its place in the file, from 1."""
    text: str
    holds: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Comparisons, all of which have to hold. "grpo < base"; "cdpo > grpo + 1", by a percentage point or more, which is the
    smallest effect that matters; "all: cdpo > grpo - 0.5", not worse over all questions by half a point, which is a margin of
    non-inferiority; "cdpo-90 > 0.5 grpo-90 + 0.5 base"; "bias is a shortcut model", as its gate says (`study/claims.py`)."""
    measure: Measure = "inferential"
    """What is compared, where a comparison does not say."""
    rule: Rule | None = None
    """The rule whose categories count, where a comparison does not say; None takes the study's."""
    ask: str = ""
    """The way of asking whose answers decide it; empty takes the study's first."""


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """[[sweeps]]: arms that differ in one number, for a figure over its values."""

    factor: str
    """What the number is, as the label of the axis."""
    arms: Annotated[dict[str, float], msgspec.Meta(min_length=2)]
    """The number of each arm."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """[schedule]: how many cells run at once."""

    jobs_per_gpu: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """Cells that share a GPU. Tiny checkpoints leave most of it idle."""
    cpu_jobs: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Cells that run at the same time without a GPU; these are all cells if the machine has none."""


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """[needs]: what a machine must have, for the plan."""

    gpu_gib: AboveZero
    """Memory of a GPU that one cell takes at most, GiB."""
    gpu_basis: str = ""
    """What that was measured on; empty: it was not measured."""
    data_gib: NotNegative = 0.0
    """Disk for data, base and bias models that are read, GiB."""
    checkpoint_gib: NotNegative = 0.0
    """Disk that each trained or blended checkpoint keeps, GiB."""
    disk_basis: str = ""
    """What both were measured on, or computed from; empty: neither."""


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A whole study."""

    title: str
    note: str = ""
    """One paragraph at the top of the report: what this can and cannot show."""
    model: Annotated[str, msgspec.Meta(min_length=1)]
    """REF that every arm starts from, or {NAME} of a [prepare] cell that trains one."""
    seeds: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1, max_length=MOST_SEEDS)]
    rule: Rule = Rule.ORACLE
    """The rule whose categories the verdicts use; the report also shows the others."""
    paths: dict[str, str | tuple[str, ...]] = {}
    """Files and folders from elsewhere, which {NAME} stands for in commands and REFs. Of several the first that is there is
    taken. All are looked for before anything runs."""
    prepare: dict[str, Prepare]
    train: Train
    arms: dict[str, Arm]
    ask: dict[str, Ask]
    families: dict[str, Family] = {}
    claims: tuple[Claim, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    schedule: Schedule = Schedule()
    needs: Needs | None = None

    @property
    def first_ask(self) -> str:
        """The way of asking that the verdicts come from."""
        return next(iter(self.ask))

    @property
    def answers_twice(self) -> bool:
        """Whether some arm answers, thinks and answers again, so that tokens and first answers are part of the results."""
        return any(arm.stage is Stage.AUTO for arm in self.arms.values())

    def ask_of(self, claim: Claim) -> str:
        """The way of asking whose answers decide a claim."""
        return claim.ask or self.first_ask

    @property
    def named_claims(self) -> dict[str, Claim]:
        """The claims by their names."""
        return {claim.name or str(place): claim for place, claim in enumerate(self.claims, start=1)}

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """The seeds that an arm is run with; none for "base"."""
        return () if arm == BASE else self.seeds[: self.arms[arm].seeds]


class State(StrEnum):
    """Where a cell stands."""

    WAITING = "waiting"
    RUNNING = "running"
    """If the study is not running, the cell was killed with it."""
    FINISHED = "finished"
    FAILED = "failed"
    BLOCKED = "blocked"
    """A cell that it needs has failed."""
    INTERRUPTED = "interrupted"


OVER = (State.FINISHED, State.FAILED, State.BLOCKED)
"""States in which nothing more will be run for a cell."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """records/NAME.json, written when a cell starts and when it ends."""

    identity: str
    state: State
    command: str
    """The command as one would type it in the study's folder, which may have been moved since."""
    gpu: str | None = None
    """The GPU that it ran on; None for the CPU."""
    seconds: float = 0.0
    """Seconds of all attempts together."""
    attempts: int = 1
    returncode: int | None = None
    tail: tuple[str, ...] = ()
    """Last lines of stderr, if it failed."""
    given: bool = False
    """True if its folder was made elsewhere and linked here (`vt study --given`); `command` says where it was."""
    packed: bool = False
    """True if it ran on another machine and came in a pack, without what the report does not need."""


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


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """results.json: all that the report shows."""

    study: Study
    levels: list[Level]
    differences: list[Difference]
    contrasts: list[Contrast] = []
    """For the ways of asking that claims are about."""
    thinking: list[Thinking] = []
    """For studies with arms that answer twice."""
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
