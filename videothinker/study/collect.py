"""From the files of a study's cells to its results. Nothing is asked or trained, and no torch is loaded.

Levels and differences are computed from predictions, question by question, because differences are paired; curves and alarms
come from each training's metrics.jsonl.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from videothinker import mcq, store
from videothinker.curated import Curated, open_curated
from videothinker.diagnose import files, metrics, runs
from videothinker.diagnose.runs import Run
from videothinker.errors import VtError
from videothinker.records import Category, CuratedQuestion, Estimate, Prediction, Progress, Rule, Status, no_progress
from videothinker.steps import METRICS, StepRecord, read_steps
from videothinker.study.config import BASE, NO_SEED, Claim, Stage, Study, parse_claim
from videothinker.study.plan import Cell, Kind, cell_folder
from videothinker.study.records import Record, State
from videothinker.study.seeds import Decision, decide, over_seeds, side

Floats = NDArray[np.float64]
MEASURES = ("all", "observational", "inferential", "shortcut_reliance")
"""Share of questions answered exactly right, of all and by category; share of inferential answers that are the observer's."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One measure, of an arm or of the difference between two."""

    per_seed: dict[int, Estimate]
    """Each run's, clustered by scene; of "base" one, under `NO_SEED`."""
    scenes: Estimate
    """All seeds' questions pooled, clustered by scene: these runs, other scenes."""
    seeds: Estimate
    """Mean over seeds with its t-interval: these scenes, other seeds."""

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
    steps: list[StepRecord]
    gate: tuple[str, ...] | None
    """For bias: why it is no shortcut model, () if it is one; None: not judged."""
    seconds: float
    replies: int | None = None
    """Sampled a step, as run.json says."""

    @property
    def alarms(self) -> list[tuple[int, str]]:
        """The first step of each kind of alarm, with its words."""
        first: dict[str, tuple[int, str]] = {}
        for row in self.steps:
            for words in row.alarms:
                first.setdefault(" ".join(words.split()[:2]), (row.step, words))
        return list(first.values())


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


class Scored(NamedTuple):
    """One run's answers as columns of shape (n_questions,)."""

    ids: NDArray[np.str_]
    scene: NDArray[np.int64]
    exact: Floats
    like_observer: Floats
    asked: NDArray[np.bool_]
    """False where the clip could not be read."""
    observational: dict[Rule, NDArray[np.bool_]]

    def take(self, rows: NDArray[np.int64]) -> "Scored":
        """Some of the questions, in the order of `rows`."""
        arrays = (self.ids[rows], self.scene[rows], self.exact[rows], self.like_observer[rows], self.asked[rows])
        return Scored(*arrays, {rule: mask[rows] for rule, mask in self.observational.items()})


def score(questions: Sequence[CuratedQuestion], predictions: Iterable[Prediction]) -> Scored:
    """The columns that a study needs of a run; `predictions` answer `questions`, one each. A study has a hundred runs of ten
    thousand questions, so all else that a diagnosis computes is left out."""
    pairs = list(zip(questions, predictions, strict=True))
    categories = {rule: rule.column for rule in Rule}
    return Scored(
        ids=np.array([question.question_id for question in questions]),
        scene=np.array([question.scene_index for question in questions], dtype=np.int64),
        exact=np.array([mcq.is_exact(row.chosen, question.gold) for question, row in pairs], dtype=np.float64),
        like_observer=np.array([mcq.is_exact(row.chosen, question.observer) for question, row in pairs], dtype=np.float64),
        asked=np.array([row.status is not Status.DECODE_ERROR for _, row in pairs], dtype=np.bool_),
        observational={
            rule: np.array([getattr(question, column) is Category.OBSERVATIONAL for question in questions], dtype=np.bool_)
            for rule, column in categories.items()
        },
    )


class _Asked(msgspec.Struct):
    hash: str
    split: str


class _Run(msgspec.Struct):
    data: _Asked


class _Questions:
    """The questions of a curated folder's splits, read and hashed once for all runs that were asked them."""

    def __init__(self, curated: Curated) -> None:
        self._curated = curated
        self._splits: dict[str, tuple[list[CuratedQuestion], str]] = {}

    def scored(self, folder: Path) -> Scored:
        """The answers of the run in a diagnosis' folder.

        Raises:
            VtError: it was asked other questions.
        """
        (path,) = runs.run_folders([folder])
        asked = store.read_json(path / files.RUN, _Run).data
        if asked.split not in self._splits:
            questions = self._curated.questions(asked.split)
            self._splits[asked.split] = (questions, files.data_hash(questions))
        questions, digest = self._splits[asked.split]
        if asked.hash != digest:
            raise VtError(f"{path / files.RUN}: was asked other questions than {self._curated.split_file(asked.split)} holds")
        found = files.match(questions, files.read_predictions(path), path)
        return score([question for question in questions if question.question_id in found], found.values())


def collect(
    study: Study,
    plan: Sequence[Cell],
    folder: Path,
    states: Mapping[str, State],
    records: Mapping[str, Record],
    progress: Progress = no_progress,
) -> Results:
    """The results of all cells of the study in `folder` that are finished. `progress` counts those that asked."""
    levels: list[Level] = []
    differences: list[Difference] = []
    references: dict[str, dict[str, Estimate]] = {}
    for name, ask in study.ask.items():
        done = [
            cell
            for cell in plan
            if cell.ask == name
            and states[cell.name] is State.FINISHED
            and any(cell_folder(folder, cell.name).glob(f"*/{files.PREDICTIONS}"))  # else there was no room for it in a pack
        ]
        if not done:
            continue
        curated = open_curated(cell_folder(folder, ask.data))
        questions = _Questions(curated)
        by_arm: dict[str, dict[int, Scored]] = {}
        for cell in done:
            out = cell_folder(folder, cell.name)  # one at a time: replies are large
            by_arm.setdefault(cell.arm or BASE, {})[NO_SEED if cell.seed is None else cell.seed] = questions.scored(out)
            if name == study.first_ask and not references:
                loaded = runs.load_runs([out], curated, study.rule)
                references = {one.name: _reference(one) for one in runs.references(loaded, curated, study.rule)}
            progress(1)
        by_arm = {arm: by_arm[arm] for arm in (BASE, *study.arms) if arm in by_arm}
        levels += [_level(name, arm, rule, scored) for arm, scored in by_arm.items() for rule in Rule]
        for after, before in study.pairs():
            if after in by_arm and before in by_arm:
                differences += _differences(name, after, before, by_arm)
    trainings = [_training(cell, folder, states[cell.name], records.get(cell.name)) for cell in plan if cell.kind is Kind.TRAIN]
    return Results(
        study=study,
        levels=levels,
        differences=differences,
        verdicts=_verdicts(study, differences),
        references=references,
        trainings=trainings,
        states=dict(states),
        records=dict(records),
        seconds=_seconds(plan, records),
        provenance=store.provenance(),
    )


def _level(ask: str, arm: str, rule: Rule, scored: Mapping[int, Scored]) -> Level:
    def value(measure: str) -> Value:
        columns = {seed: (_column(measure, one), _where(measure, rule, one), one.scene) for seed, one in scored.items()}
        return _pooled(columns)

    one = next(iter(scored.values()))
    n = {name: int(_where(name, rule, one).sum()) for name in MEASURES}
    return Level(ask=ask, arm=arm, rule=rule, n_questions=n, measures={name: value(name) for name in MEASURES})


def _differences(ask: str, after: str, before: str, by_arm: Mapping[str, Mapping[int, Scored]]) -> list[Difference]:
    """Under every rule."""
    pairs = {}
    for seed, new in by_arm[after].items():
        old = by_arm[before].get(NO_SEED if before == BASE else seed)
        if old is not None:
            if np.array_equal(new.ids, old.ids):
                pairs[seed] = (new, old)
                continue
            _, rows, others = np.intersect1d(new.ids, old.ids, assume_unique=True, return_indices=True)
            pairs[seed] = (new.take(rows), old.take(others))

    def value(measure: str, rule: Rule) -> Value:
        columns = {
            seed: (_column(measure, new) - _column(measure, old), _where(measure, rule, new) & old.asked, new.scene)
            for seed, (new, old) in pairs.items()
        }
        return _pooled(columns)

    return [
        Difference(ask=ask, after=after, before=before, rule=rule, measures={name: value(name, rule) for name in MEASURES})
        for rule in Rule
    ]


def _column(measure: str, scored: Scored) -> Floats:
    return scored.like_observer if measure == "shortcut_reliance" else scored.exact


def _where(measure: str, rule: Rule, scored: Scored) -> NDArray[np.bool_]:
    """The questions that a measure is about, those that could not be asked left out."""
    if measure == "all":
        return scored.asked
    observational = scored.observational[rule]
    return scored.asked & (observational if measure == "observational" else ~observational)


def _pooled(columns: Mapping[int, tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]]) -> Value:
    """(values, which of them count, scenes) by seed -> each seed's mean, all together, and the mean over seeds."""
    per_seed = {
        seed: metrics.clustered_ratio(values * where, where.astype(np.float64), scene)
        for seed, (values, where, scene) in columns.items()
    }
    values, where, scene = (np.concatenate(parts) for parts in zip(*columns.values(), strict=True)) if columns else _NOTHING
    return Value(
        per_seed=per_seed,
        scenes=metrics.clustered_ratio(values * where, where.astype(np.float64), scene),
        seeds=over_seeds([one.value for one in per_seed.values()]),
    )


_NOTHING = (np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.int64))


def _reference(reference: Run) -> dict[str, Estimate]:
    by = reference.metrics
    pools = {"all": by.all, "observational": by.observational, "inferential": by.inferential}
    reliance = by.shortcut_reliance
    return {
        **{name: pool.per_question for name, pool in pools.items()},
        "shortcut_reliance": Estimate(reliance.value, reliance.stderr, reliance.ci95),
    }


def _verdicts(study: Study, differences: Iterable[Difference]) -> list[Verdict]:
    found = {
        (one.after, one.before): one.measures["inferential"]
        for one in differences
        if one.ask == study.first_ask and one.rule is study.rule
    }
    verdicts = []
    for claim in study.claims:
        parts, sides = [], []
        for part in parse_claim(claim):
            value = found.get(part.pair)
            if value is None and part.pair[::-1] in found:
                value = negative(found[part.pair[::-1]])
            parts.append((f"{part.after} {MINUS} {part.before}", value))
            sides.append(0 if value is None else (1 if part.above else -1) * side(value.scenes, value.seeds))
        verdicts.append(Verdict(claim=claim, decision=decide(sides), parts=tuple(parts)))
    return verdicts


MINUS = "\u2212"


def negative(value: Value) -> Value:
    """The same difference the other way round."""

    def turn(one: Estimate) -> Estimate:
        ci95 = None if one.ci95 is None else (-one.ci95[1], -one.ci95[0])
        return Estimate(None if one.value is None else -one.value, one.stderr, ci95)

    per_seed = {seed: turn(one) for seed, one in value.per_seed.items()}
    return Value(per_seed=per_seed, scenes=turn(value.scenes), seeds=turn(value.seeds))


class _Gate(msgspec.Struct):
    reasons: tuple[str, ...]


class _Rollouts(msgspec.Struct):
    n_replies: int
    questions_per_step: int


class _Settings(msgspec.Struct):
    rollouts: _Rollouts


class _TrainRun(msgspec.Struct):
    settings: _Settings | None = None


def _training(cell: Cell, folder: Path, state: State, record: Record | None) -> Training:
    out = cell_folder(folder, cell.name)
    steps = read_steps(out / METRICS)
    gate, record_of_run = out / "gate.json", out / "run.json"
    settings = store.read_json(record_of_run, _TrainRun).settings if record_of_run.is_file() else None
    return Training(
        name=cell.name,
        arm=cell.arm or "",
        seed=cell.seed or 0,
        stage=Stage(cell.arguments[1]),
        state=state,
        diverged=bool(steps) and (bool(steps[-1].alarms) or steps[-1].loss is None),
        steps=steps,
        gate=store.read_json(gate, _Gate).reasons if gate.is_file() else None,
        seconds=record.seconds if record else 0.0,
        replies=settings.rollouts.n_replies * settings.rollouts.questions_per_step if settings else None,
    )


def _seconds(plan: Sequence[Cell], records: Mapping[str, Record]) -> dict[str, float]:
    found: dict[str, float] = {}
    for cell in plan:
        if cell.gpu and cell.name in records:
            found[cell.group] = found.get(cell.group, 0.0) + records[cell.name].seconds
    return found
