"""Compute a study's results from the files of its cells. No model is asked or trained here, and torch is not loaded.

Levels and differences are computed from predictions, question by question, because differences are paired; curves and alarms
come from each training's metrics.jsonl.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from videothinker import answers, store
from videothinker.curated import Labels, open_curated
from videothinker.diagnose import estimates, files, runs
from videothinker.diagnose.runs import Run
from videothinker.progress import Progress, no_progress
from videothinker.records import Category, Estimate, Prediction, Question, Rule, Status, label
from videothinker.records.study import (
    BASE,
    NO_SEED,
    Claim,
    Difference,
    Level,
    Record,
    Results,
    Stage,
    State,
    Study,
    Training,
    Value,
    Verdict,
)
from videothinker.records.training import GATE, METRICS, RUN, GateVerdict, StepRecord, TrainRecord
from videothinker.steps import read_steps
from videothinker.study.config import Part, pairs_of, parse_claim
from videothinker.study.crossed import crossed_change
from videothinker.study.plan import Cell, Kind, cell_folder
from videothinker.study.seeds import MINUS, decide, negative, over_seeds, side

Floats = NDArray[np.float64]
MEASURES = ("all", "observational", "inferential", "shortcut_reliance")
"""The first three are the share of questions answered exactly right, of all questions and of each category. The last is the
share of inferential answers that are the observer's."""


class Scored(NamedTuple):
    """One run's answers as columns of shape (n_questions,)."""

    ids: NDArray[np.str_]
    scene: NDArray[np.int64]
    exact: Floats
    like_observer: Floats
    asked: NDArray[np.bool_]
    """False where the clip could not be read."""
    observational: dict[Rule, NDArray[np.bool_]]
    """True for observational questions, under each rule of the collision log."""

    def take(self, rows: NDArray[np.int64]) -> "Scored":
        """The columns of some of the questions, in the order of `rows`."""
        arrays = (self.ids[rows], self.scene[rows], self.exact[rows], self.like_observer[rows], self.asked[rows])
        return Scored(*arrays, {rule: mask[rows] for rule, mask in self.observational.items()})


def score(questions: Sequence[Question], predictions: Iterable[Prediction], labels: Labels) -> Scored:
    """The columns that a study needs of a run. `predictions[i]` answers `questions[i]`.

    A study has a hundred runs of ten thousand questions, so whatever else a diagnosis computes is left out.
    """
    pairs = list(zip(questions, predictions, strict=True))
    by_rule = {each.rule: each.by_question for each in labels.sets if each.observer == label.LOG}
    return Scored(
        ids=np.array([question.question_id for question in questions]),
        scene=np.array([int(question.group) for question in questions], dtype=np.int64),
        exact=np.array([answers.is_exact(row.chosen, question.gold) for question, row in pairs], dtype=np.float64),
        like_observer=np.array(
            [answers.is_exact(row.chosen, labels.observer(question.question_id) or ()) for question, row in pairs],
            dtype=np.float64,
        ),
        asked=np.array([row.status is not Status.DECODE_ERROR for _, row in pairs], dtype=np.bool_),
        observational={
            rule: np.array(
                [by_rule[rule][question.question_id].category is Category.OBSERVATIONAL for question in questions],
                dtype=np.bool_,
            )
            for rule in Rule
        },
    )


def _scored(folder: Path, asked: runs.AskedSplits, labels: Labels) -> Scored:
    """The answers of the run in a diagnosis' folder."""
    (path,) = runs.run_folders([folder])
    questions, found = asked.answers(path, runs.read_record(path))
    return score([question for question in questions if question.question_id in found], found.values(), labels)


def collect(
    study: Study,
    plan: Sequence[Cell],
    folder: Path,
    states: Mapping[str, State],
    records: Mapping[str, Record],
    progress: Progress = no_progress,
) -> Results:
    """The results of the study in `folder`, from the cells that are finished. `progress` counts the diagnoses that are read."""
    levels: list[Level] = []
    differences: list[Difference] = []
    references: dict[str, dict[str, Estimate]] = {}
    for name, ask in study.ask.items():
        done = [
            cell
            for cell in plan
            if cell.ask == name
            and states[cell.name] is State.FINISHED
            and any(cell_folder(folder, cell.name).glob(f"*/{files.PREDICTIONS}"))  # a pack may have left them out
        ]
        if not done:
            continue
        curated = open_curated(cell_folder(folder, ask.data))
        asked = runs.AskedSplits(curated)
        by_arm: dict[str, dict[int, Scored]] = {}
        for cell in done:
            out = cell_folder(folder, cell.name)  # one run at a time, because replies are large
            seed = NO_SEED if cell.seed is None else cell.seed
            by_arm.setdefault(cell.arm or BASE, {})[seed] = _scored(out, asked, curated.labels)
            if name == study.first_ask and not references:
                loaded = runs.load_runs([out], curated, study.rule)
                references = {one.name: _reference(one) for one in runs.references(loaded, curated)}
            progress(1)
        by_arm = {arm: by_arm[arm] for arm in (BASE, *study.arms) if arm in by_arm}
        levels += [_level(name, arm, rule, scored) for arm, scored in by_arm.items() for rule in Rule]
        for after, before in pairs_of(study):
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
        return _pooled(columns, estimates.clustered_share)

    one = next(iter(scored.values()))
    n = {name: int(_where(name, rule, one).sum()) for name in MEASURES}
    return Level(ask=ask, arm=arm, rule=rule, n_questions=n, measures={name: value(name) for name in MEASURES})


def _differences(ask: str, after: str, before: str, by_arm: Mapping[str, Mapping[int, Scored]]) -> list[Difference]:
    """`after` minus `before` under every rule, paired by seed and by question."""
    pairs = {}
    for seed, new in by_arm[after].items():
        # The start model has one run without a seed, which is subtracted from the run of every seed.
        old = by_arm[before].get(NO_SEED if before == BASE else seed)
        if old is not None:
            if np.array_equal(new.ids, old.ids):
                pairs[seed] = (new, old)
                continue
            # Runs of different questions are compared on those that both answered, put into the same order.
            _, rows, others = np.intersect1d(new.ids, old.ids, assume_unique=True, return_indices=True)
            pairs[seed] = (new.take(rows), old.take(others))

    def value(measure: str, rule: Rule) -> Value:
        columns = {
            seed: (_column(measure, new) - _column(measure, old), _where(measure, rule, new) & old.asked, new.scene)
            for seed, (new, old) in pairs.items()
        }
        return msgspec.structs.replace(_pooled(columns, estimates.clustered_change), crossed=crossed_change(columns))

    return [
        Difference(ask=ask, after=after, before=before, rule=rule, measures={name: value(name, rule) for name in MEASURES})
        for rule in Rule
    ]


def _column(measure: str, scored: Scored) -> Floats:
    return scored.like_observer if measure == "shortcut_reliance" else scored.exact


def _where(measure: str, rule: Rule, scored: Scored) -> NDArray[np.bool_]:
    """True for the questions that a measure is about and that could be asked."""
    if measure == "all":
        return scored.asked
    observational = scored.observational[rule]
    return scored.asked & (observational if measure == "observational" else ~observational)


def _pooled(
    columns: Mapping[int, tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]],
    clustered: Callable[[Floats, Floats, NDArray[np.int64]], Estimate],
) -> Value:
    """Each seed's mean, the mean of all seeds' questions together, and the mean over seeds.

    columns: for each seed the values by question, which of them count, and the questions' scenes. clustered: `clustered_share`
    for scores, `clustered_change` for differences.
    """
    per_seed = {seed: clustered(*estimates.share(values, where), scene) for seed, (values, where, scene) in columns.items()}
    # Scenes keep their codes when the seeds' questions are put end to end: a scene stays one cluster over all seeds, because
    # what makes it hard does so for every seed.
    values, where, scene = (np.concatenate(parts) for parts in zip(*columns.values(), strict=True)) if columns else _NOTHING
    return Value(
        per_seed=per_seed,
        scenes=clustered(*estimates.share(values, where), scene),
        seeds=over_seeds([one.value for one in per_seed.values()]),
        n_scenes=len(np.unique(scene[where])),
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
    found = {(one.after, one.before, one.rule): one.measures for one in differences if one.ask == study.first_ask}
    verdicts = []
    for claim in study.claims:
        rule = claim.rule or study.rule
        parts, sides = [], []
        for part in parse_claim(claim):
            value = None
            if (straight := found.get((part.after, part.before, rule))) is not None:
                value = straight[claim.measure]
            elif (turned := found.get((part.before, part.after, rule))) is not None:
                value = negative(turned[claim.measure])
            parts.append((_in_words(claim, part), value))
            found_side = 0 if value is None else side(value.crossed, value.n_scenes, part.bound)
            sides.append(found_side if part.above else -found_side)
        verdicts.append(Verdict(claim=claim, decision=decide(sides), parts=tuple(parts)))
    return verdicts


_COMPARED = {"all": "all questions", "observational": "observational questions", "shortcut_reliance": "shortcut reliance"}


def _in_words(claim: Claim, part: Part) -> str:
    """Such as "cdpo - grpo (all questions, claimed to be above -0.5)"; what every claim shares is not said."""
    said = [_COMPARED[claim.measure]] if claim.measure in _COMPARED else []
    said += [f"rule {claim.rule}"] if claim.rule else []
    if part.bound:
        bound = f"{100 * part.bound:+.1f}".replace("-", MINUS)
        said.append(f"claimed to be {'above' if part.above else 'below'} {bound}")
    return f"{part.after} {MINUS} {part.before}" + (f" ({', '.join(said)})" if said else "")


def _training(cell: Cell, folder: Path, state: State, record: Record | None) -> Training:
    out = cell_folder(folder, cell.name)
    steps = read_steps(out / METRICS)
    settings = store.read_json(out / RUN, TrainRecord).settings if (out / RUN).is_file() else None
    rollouts = None if settings is None else settings["rollouts"]
    return Training(
        name=cell.name,
        arm=cell.arm or "",
        seed=cell.seed or 0,
        stage=Stage(cell.arguments[1]),
        state=state,
        diverged=bool(steps) and (bool(steps[-1].alarms) or steps[-1].loss is None),
        alarms=_first_alarms(steps),
        steps=steps,
        gate=store.read_json(out / GATE, GateVerdict).reasons if (out / GATE).is_file() else None,
        seconds=record.seconds if record else 0.0,
        replies=None if rollouts is None else rollouts["n_replies"] * rollouts["questions_per_step"],
    )


def _first_alarms(steps: Iterable[StepRecord]) -> list[tuple[int, str]]:
    """The first step of each kind of alarm, with its words. Alarms that begin with the same two words are of one kind."""
    first: dict[str, tuple[int, str]] = {}
    for row in steps:
        for words in row.alarms:
            first.setdefault(" ".join(words.split()[:2]), (row.step, words))
    return list(first.values())


def _seconds(plan: Sequence[Cell], records: Mapping[str, Record]) -> dict[str, float]:
    found: dict[str, float] = {}
    for cell in plan:
        if cell.gpu and cell.name in records:
            found[cell.group] = found.get(cell.group, 0.0) + records[cell.name].seconds
    return found
