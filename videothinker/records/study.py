"""What a study is and what came of it: its TOML file, records/NAME.json of each cell, and results.json of its report.

The names are those of docs/study.md: an *arm* is one way of training, run once per seed; a *cell* is one `vt` command.
"""

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from videothinker.records.label import Rule
from videothinker.records.metrics import Estimate
from videothinker.records.training import StepRecord

RESULTS = "results.json"

Positive = Annotated[int, msgspec.Meta(ge=1)]
AboveZero = Annotated[float, msgspec.Meta(gt=0)]
Seed = Annotated[int, msgspec.Meta(ge=0)]
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
    """Does it want a GPU?"""
    minutes: AboveZero | None = None
    """Expected, for the plan; None: not known."""


class Train(msgspec.Struct, frozen=True, kw_only=True):
    """[train]: what all arms share."""

    data: str
    """Name of the [prepare] cell that holds the curated training data."""
    configs: dict[Stage, str]
    """File of each stage that some arm uses, relative to the study's."""
    steps: Positive
    """Optimiser steps of every arm."""
    set: dict[str, Scalar] = {}
    """Settings of every arm, as `vt train --set` takes them."""
    seconds_per_step: AboveZero | None = None
    """Expected, with as many cells sharing a GPU as the schedule says; None: not known. Measured ones take its place."""
    after: tuple[str, ...] = ()
    """[prepare] cells that trainings wait for although no command names them, such as one that fills the clip cache. They
    change no result: if one fails, trainings run all the same."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """[arms.NAME]: one way of training, run once a seed."""

    stage: Stage
    note: str = ""
    """What it is, in a few words, for the report."""
    seeds: Positive | None = None
    """How many of the study's seeds, the first ones, for an ablation; None: all of them, and a bar of its own in the figure."""
    early_seeds: Positive | None = None
    """How many of them have their turn where the arm stands in the file; the others come after all arms. None: all."""
    set: dict[str, Scalar] = {}
    """What differs from [train] set; objective.reference = "start" needs no bias model."""
    data: str | None = None
    """Another training set; None: [train] data."""
    bias: str = "bias"
    """For cdpo: the arm whose checkpoint of the same seed is repelled from."""
    rule: Rule | None = None
    """For bias: whose observational questions it is trained on; None: the study's."""
    force: bool = False
    """For cdpo: go on although the bias model has not passed its gate."""
    against: tuple[str, ...] = ("cdpo",)
    """Arms, or "base", that the report subtracts from this one."""

    @property
    def needs_bias(self) -> bool:
        """Is there a bias model to wait for?"""
        return self.stage is Stage.CDPO and self.set.get("objective.reference") != "start"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """[ask.NAME]: one way of asking every checkpoint; the verdicts come from the first one."""

    data: str
    """Name of the [prepare] cell that holds the curated questions."""
    note: str = ""
    options: str = ""
    """Further options of `vt diagnose`, such as "--split heldout --temperature 1"."""
    arms: tuple[str, ...] | None = None
    """Arms, or "base", that are asked in this way; None: all."""
    after: tuple[str, ...] = ()
    """As [train] after."""

    def asks(self, arm: str) -> bool:
        """Is the arm asked in this way?"""
        return self.arms is None or arm in self.arms

    minutes: AboveZero | None = None
    """Expected for one checkpoint on one GPU, for the plan; None: not known."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """[[claims]]: a statement about inferential accuracy that the study decides."""

    text: str
    holds: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """"grpo < base": all of these have to hold."""


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """[[sweeps]]: arms that differ in one number, for a figure over its values."""

    factor: str
    """What the number is: the label of the axis."""
    arms: Annotated[dict[str, float], msgspec.Meta(min_length=2)]
    """The number of each arm."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """[schedule]: how much at once."""

    jobs_per_gpu: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """Cells that share a GPU. Tiny checkpoints leave most of it idle."""
    cpu_jobs: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Cells without a GPU at the same time; all cells where there is none."""


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A whole study."""

    title: str
    note: str = ""
    """One paragraph at the top of the report: what this can and cannot show."""
    model: Annotated[str, msgspec.Meta(min_length=1)]
    """REF that every arm starts from, or {NAME} of a [prepare] cell that trains one."""
    seeds: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1, max_length=MOST_SEEDS)]
    rule: Rule = Rule.ORACLE
    """Whose categories the verdicts use; the others stand beside."""
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
        """The seeds that an arm is run with; of "base" none."""
        return () if arm == BASE else self.seeds[: self.arms[arm].seeds]


class State(StrEnum):
    """Where a cell stands."""

    WAITING = "waiting"
    RUNNING = "running"
    """In a record of a study that does not run: killed with it."""
    FINISHED = "finished"
    FAILED = "failed"
    BLOCKED = "blocked"
    """A cell that it needs has failed."""
    INTERRUPTED = "interrupted"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """records/NAME.json, written when a cell starts and when it ends."""

    identity: str
    state: State
    command: str
    """As it would be typed in the study's folder, which may lie elsewhere by now."""
    gpu: str | None = None
    """Which one it ran on; None: on the CPU."""
    seconds: float = 0.0
    """Of all attempts together."""
    attempts: int = 1
    returncode: int | None = None
    tail: tuple[str, ...] = ()
    """Last lines of stderr, where it failed."""
    given: bool = False
    """Its folder was made elsewhere and linked here, `vt study --given`; `command` says where it was."""
    packed: bool = False
    """It ran on another machine and came in a pack, without what the report does not need."""


class Decision(StrEnum):
    """What a study says about a claim."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One measure, of an arm or of the difference between two."""

    per_seed: dict[int, Estimate]
    """Each run's, clustered by scene; of "base" one, under `NO_SEED`."""
    scenes: Estimate
    """All seeds' questions pooled, clustered by scene: these runs, other scenes."""
    seeds: Estimate
    """Mean over seeds with its t-interval: these scenes, other seeds."""
    n_scenes: int = 0
    """Scenes that `scenes` rests on; 0 in results of before they were counted."""

    @property
    def n_seeds(self) -> int:
        """Runs with a value."""
        return sum(one.value is not None for one in self.per_seed.values())


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """How an arm answered, in one way of asking, under one rule."""

    ask: str
    arm: str
    rule: Rule
    n_questions: dict[str, int]
    """By measure, of one run."""
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
    """Each comparison of the claim and its difference on inferential questions; None: no run of one of the arms."""


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """One run of an arm, however it ended."""

    name: str
    arm: str
    seed: int
    stage: Stage
    state: State
    diverged: bool
    """An alarm was on at its last step, or its loss was no number."""
    gate: tuple[str, ...] | None
    """For bias: why it is no shortcut model, () if it is one; None: not judged."""
    seconds: float
    replies: int | None = None
    """Sampled a step, as run.json says."""
    alarms: list[tuple[int, str]] = []
    """The first step of each kind of alarm, with its words."""
    steps: list[StepRecord] = []
    """Its metrics.jsonl, for curves; left out of results.json, since the cell's own file has it."""


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
    """Of GPU cells by group, all attempts."""
    provenance: dict[str, Any]
    """Of the report; each cell's own files have theirs."""
