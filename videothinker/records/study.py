"""What a study is and what it found: its TOML file, records/NAME.json of each cell, and results.json of its report.

The names are those of docs/study.md: an *arm* is one way of training, run once per seed; a *cell* is one `vt` command.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from videothinker.records.bounds import AboveZero, Index, Positive
from videothinker.records.label import Rule
from videothinker.records.metrics import Estimate
from videothinker.records.training import StepRecord

RESULTS = "results.json"

Seed = Index
Scalar = bool | int | float | str

BASE = "base"
"""Name of the checkpoint that every arm starts from, in `against` and in claims."""
NO_SEED = -1
"""Stands for the seed of "base"."""
MOST_SEEDS = 31
"""The t-table of `study/seeds.py` ends there."""


class Stage(StrEnum):
    """`vt train STAGE`."""

    BIAS = "bias"
    CDPO = "cdpo"
    GRPO = "grpo"


class Prepare(msgspec.Struct, frozen=True, kw_only=True):
    """[prepare.NAME]: any `vt` command that makes what the trainings need."""

    run: Annotated[str, msgspec.Meta(min_length=1)]
    """The command without "vt". {out} is this cell's folder, {NAME} that of another one, {here} that of the study's file. One
    that only fills a cache has no {out}, and stands in `after`."""
    gpu: bool = False
    """True if it needs a GPU."""
    minutes: AboveZero | None = None
    """Expected minutes, for the plan; None if not known."""


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
    seconds_per_step: AboveZero | None = None
    """Expected with as many cells on a GPU as the schedule says; None if not known. A measured value replaces it."""
    after: tuple[str, ...] = ()
    """[prepare] cells that trainings wait for although no command names them, such as one that fills the clip cache. They
    change no result: if one fails, trainings run all the same."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """[arms.NAME]: one way of training, run once per seed."""

    stage: Stage
    note: str = ""
    """What it is, in a few words, for the report."""
    seeds: Positive | None = None
    """How many of the study's seeds it is run with, from the first, for an ablation; None runs all, and gives it a bar in the
    figure."""
    early_seeds: Positive | None = None
    """How many of these seeds are run where the arm stands in the file; the others come after all arms. None: all."""
    set: dict[str, Scalar] = {}
    """Settings that differ from `set` in [train]; objective.reference = "start" or "self" needs no bias model."""
    data: str | None = None
    """Another training set; None takes `data` of [train]."""
    bias: str = "bias"
    """For cdpo: the arm whose checkpoint of the same seed is repelled from."""
    rule: Rule | None = None
    """For bias: the rule whose observational questions it is trained on; None takes the study's."""
    force: bool = False
    """For cdpo: go on although the bias model has not passed its gate."""
    against: tuple[str, ...] = ("cdpo",)
    """Arms, or "base", that the report subtracts from this one."""

    @property
    def needs_bias(self) -> bool:
        """True if it has to wait for a bias model."""
        return self.stage is Stage.CDPO and self.set.get("objective.reference") not in ("start", "self")


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

    def asks(self, arm: str) -> bool:
        """True if the arm is asked in this way."""
        return self.arms is None or arm in self.arms

    minutes: AboveZero | None = None
    """Expected minutes for one checkpoint on one GPU, for the plan; None if not known."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """[[claims]]: a statement that the study decides."""

    text: str
    holds: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Comparisons, all of which have to hold: "grpo < base"; "cdpo > grpo + 1", by a percentage point or more, which is the
    smallest effect that matters; or "cdpo > grpo - 0.5", not worse by half a point, which is a margin of non-inferiority."""
    measure: Literal["all", "observational", "inferential", "shortcut_reliance"] = "inferential"
    """What is compared."""
    rule: Rule | None = None
    """The rule whose categories count; None takes the study's."""


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
    prepare: dict[str, Prepare]
    train: Train
    arms: dict[str, Arm]
    ask: dict[str, Ask]
    claims: tuple[Claim, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    schedule: Schedule = Schedule()

    @property
    def first_ask(self) -> str:
        """The way of asking that the verdicts come from."""
        return next(iter(self.ask))

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


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One measure, of an arm or of the difference between two."""

    per_seed: dict[int, Estimate]
    """Estimate of each run, clustered by scene; "base" has one, under `NO_SEED`."""
    scenes: Estimate
    """Estimate over the questions of all seeds, clustered by scene: its interval is for these runs and other scenes."""
    seeds: Estimate
    """Mean over seeds with a t-interval, which is for these scenes and other seeds."""
    crossed: Estimate = Estimate(None, None, None)
    """Of a difference: the same mean with an interval for other scenes and other seeds, by which verdicts are given. Nothing
    for levels, for a single seed, and in results that were written before there was one."""
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


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the study says about one claim."""

    claim: Claim
    decision: Decision
    parts: tuple[tuple[str, Value | None], ...]
    """Each comparison of the claim and its difference; None if an arm has no run."""


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
