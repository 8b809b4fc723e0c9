"""What a study is: its TOML file. `study_cells.py` has records/NAME.json of each cell, `study_results.py` results.json.

The names are those of docs/study.md: an *arm* is one way of training, run once per seed; a *cell* is one `vt` command.
"""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from videothinker.records.bounds import AboveZero, Index, NotNegative, Positive, Share
from videothinker.records.label import Rule

Seed = Index
Scalar = bool | int | float | str

BASE = "base"
"""Name of the checkpoint that every arm starts from, in `against` and in claims."""
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
