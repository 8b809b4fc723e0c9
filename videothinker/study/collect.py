"""Compute a study's results from the files of its cells. No model is asked or trained here, and torch is not loaded.

Levels and differences are computed from predictions, question by question, because differences are paired; curves and alarms
come from each training's metrics.jsonl.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from videothinker import store
from videothinker.curated import open_curated
from videothinker.diagnose import files, runs
from videothinker.diagnose.runs import Run
from videothinker.errors import VtError
from videothinker.progress import Progress, no_progress
from videothinker.records import Estimate, Rule
from videothinker.records.study import BASE, Claim, Stage, Study
from videothinker.records.study_cells import OVER, Record, State
from videothinker.records.study_results import (
    NO_SEED,
    Contrast,
    Difference,
    Level,
    Results,
    Thinking,
    TokenCurve,
    Training,
    Value,
    Verdict,
)
from videothinker.records.training import GATE, METRICS, RUN, GateVerdict, StepRecord, TrainRecord
from videothinker.steps import read_steps
from videothinker.study.cells import record_file
from videothinker.study.claims import Comparison, comparisons, family_in, members, pairs_of
from videothinker.study.contrasts import Weights, against_family, apart, contrast, level, shorter, thinking
from videothinker.study.earlier import Piece, complete, pieces_in, references_of, training_of
from videothinker.study.plan import Cell, Kind, cell_folder, cells_of, chosen
from videothinker.study.scores import MEASURES, Arms, Scored
from videothinker.study.seeds import negative
from videothinker.study.sheets import Sheet, sheet_of
from videothinker.study.token_curves import curve
from videothinker.study.verdicts import judge_claims


class Findings(NamedTuple):
    """What answers and gates come to: the part of `Results` that can be computed again."""

    levels: list[Level]
    differences: list[Difference]
    contrasts: list[Contrast]
    thinking: list[Thinking]
    curves: list[TokenCurve]
    verdicts: list[Verdict]


def findings(study: Study, sheets: Mapping[str, Sheet], trainings: Sequence[Training]) -> Findings:
    """All values, intervals and verdicts. sheets: the answers by way of asking. trainings: of whom claims about gates speak."""
    levels: list[Level] = []
    differences: list[Difference] = []
    contrasts: list[Contrast] = []
    thoughts: list[Thinking] = []
    curves: list[TokenCurve] = []
    for name in study.ask:
        if name not in sheets:
            continue
        by_arm = sheets[name].arms((BASE, *study.arms))
        levels += [_level(name, arm, rule, scored) for arm, scored in by_arm.items() for rule in Rule]
        for after, before in pairs_of(study):
            if after in by_arm and before in by_arm:
                differences += _differences(name, after, before, by_arm)
        contrasts += _contrasts(study, name, by_arm)
        if study.answers_twice:
            thoughts += [
                Thinking(ask=name, arm=arm, n_seeds=len(runs), **thinking(runs, study.rule)) for arm, runs in by_arm.items()
            ]
        curves += [
            TokenCurve(ask=name, arm=arm, n_seeds=len(runs), points=points)
            for arm, runs in by_arm.items()
            if (points := curve(runs, study.rule)) is not None
        ]
    return Findings(levels, differences, contrasts, thoughts, curves, judge_claims(study, differences, contrasts, trainings))


class Collected(NamedTuple):
    """A study's results, and the answers that they rest on."""

    results: Results
    sheets: dict[str, Sheet]
    """By way of asking."""


def collect(
    study: Study,
    plan: Sequence[Cell],
    folder: Path,
    states: Mapping[str, State],
    records: Mapping[str, Record],
    progress: Progress = no_progress,
) -> Collected:
    """The results of the study in `folder`, from the cells that are finished, and of those without files from the reports of
    earlier pieces that it keeps. `progress` counts the diagnoses that are read.

    Raises:
        VtError: the questions that were asked are on another machine, or an earlier piece was asked other ones.
    """
    pieces = pieces_in(folder)
    sheets: dict[str, Sheet] = {}
    references: dict[str, dict[str, Estimate]] = {}
    for name in study.ask:
        done = [cell for cell in plan if cell.ask == name and states[cell.name] is State.FINISHED]
        here = [cell for cell in done if any(cell_folder(folder, cell.name).glob(f"*/{files.PREDICTIONS}"))]
        sheet, found = _asked(study, name, here, folder, progress) if here else (None, {})  # a pack may have left them out
        if (sheet := complete(study, name, sheet, done, records, pieces)) is not None:
            sheets[name] = sheet
        if name == study.first_ask:
            references = found or references_of(study, done, records, pieces)
        progress(len(done) - len(here))
    trainings = [_training(cell, folder, states[cell.name], records, pieces) for cell in plan if cell.kind is Kind.TRAIN]
    found_out = findings(study, sheets, trainings)
    verdicts = [msgspec.structs.replace(one, open=_n_open(one.claim, study, plan, states)) for one in found_out.verdicts]
    results = Results(
        study=study,
        **found_out._replace(verdicts=verdicts)._asdict(),
        references=references,
        trainings=trainings,
        states=dict(states),
        records=dict(records),
        seconds=_seconds(plan, records),
        provenance=store.provenance(),
    )
    return Collected(results, sheets)


def _asked(
    study: Study, name: str, cells: Sequence[Cell], folder: Path, progress: Progress
) -> tuple[Sheet, dict[str, dict[str, Estimate]]]:
    """What these cells answered in one way of asking, and the references if it is the study's first one."""
    ask, curated = study.ask[name], open_curated(_questions(folder, study.ask[name].data))
    asked = runs.AskedSplits(curated)
    sheet: Sheet | None = None
    references: dict[str, dict[str, Estimate]] = {}
    for cell in cells:
        out = cell_folder(folder, cell.name)  # one run at a time, because replies are large
        (path,) = runs.run_folders([out])
        questions, found = asked.answers(path, runs.read_record(path))
        sheet = sheet_of(questions, curated.labels) if sheet is None else sheet
        seed = NO_SEED if cell.seed is None else cell.seed
        sheet.add(cell.arm or BASE, seed, found, beside=study.answers_twice, whole=not ask.stop_from)
        if name == study.first_ask and not references:
            loaded = runs.load_runs([out], curated, study.rule)
            references = {one.name: _reference(one) for one in runs.references(loaded, curated)}
        progress(1)
    assert sheet is not None
    return sheet, references


def unanswered(plan: Sequence[Cell], states: Mapping[str, State], sheets: Mapping[str, Sheet]) -> list[str]:
    """Finished askings that no sheet has answers of: they stayed on another machine, or were deleted."""
    said = {(name, run) for name, sheet in sheets.items() for run in sheet.answers}
    return [
        cell.name
        for cell in plan
        if cell.ask is not None
        and cell.kind is Kind.ASK
        and states[cell.name] is State.FINISHED
        and (cell.ask, (cell.arm or BASE, NO_SEED if cell.seed is None else cell.seed)) not in said
    ]


def _n_open(claim: Claim, study: Study, plan: Sequence[Cell], states: Mapping[str, State]) -> int:
    """How many trainings and askings that a claim rests on are not over."""
    rests_on = chosen([cells_of(claim, study, plan)], plan)
    return sum(cell.kind in (Kind.TRAIN, Kind.ASK) and states[cell.name] not in OVER for cell in rests_on)


def _questions(folder: Path, name: str) -> Path:
    """The curated folder of a way of asking. Answers travel in a pack, and the questions that they are of do not."""
    if not (found := cell_folder(folder, name)).exists():
        raise VtError(
            f"{found}: the questions that were asked are not on this machine; give them with --given {name}=FOLDER, or make the"
            f" folder with the command in {record_file(folder, name)}, for which clips are not needed"
        )
    return found


def _level(ask: str, arm: str, rule: Rule, runs: Mapping[int, Scored]) -> Level:
    one = next(iter(runs.values()))
    n = {name: int(one.where(name, rule).sum()) for name in MEASURES}
    return Level(ask=ask, arm=arm, rule=rule, n_questions=n, measures={name: level(runs, name, rule) for name in MEASURES})


def _differences(ask: str, after: str, before: str, by_arm: Arms) -> list[Difference]:
    """`after` minus `before` under every rule, paired by seed and by question."""
    return [
        Difference(
            ask=ask, after=after, before=before, rule=rule, measures=_measures(((after, 1.0), (before, -1.0)), by_arm, rule)
        )
        for rule in Rule
    ]


def _measures(weights: Weights, by_arm: Arms, rule: Rule) -> dict[str, Value]:
    return {name: contrast(weights, by_arm, name, rule) for name in MEASURES}


def _contrasts(study: Study, ask: str, by_arm: Arms) -> list[Contrast]:
    """What the claims about one way of asking compare beside differences of two arms, each once, under every rule."""
    named = {part.name: part for claim in study.claims if study.ask_of(claim) == ask for part in comparisons(claim)}
    found = []
    for name, part in named.items():
        family = family_in(part, study)
        if (part.pair is not None and family is None) or not {*members(part, study)} <= by_arm.keys():
            continue
        for rule in Rule:
            reason = ""
            measures: dict[str, Value] = {}
            if part.special:
                if (told := _special(part, by_arm, rule)) is not None:
                    measures[part.measure] = told
            elif family is None:
                measures = _measures(part.weights, by_arm, rule)
            else:
                ((arm, sign),) = [one for one in part.weights if one[0] != family]
                value, reason = against_family(arm, study.families[family].arms, by_arm, rule)
                measures = {} if value is None else {"inferential": value if sign > 0 else negative(value)}
            found.append(Contrast(ask=ask, name=name, rule=rule, measures=measures, reason=reason))
    return found


def _special(part: Comparison, by_arm: Arms, rule: Rule) -> Value | None:
    """The value of a comparison that is not about accuracies."""
    if part.special == "tokens":
        (arm, _), (other, weight) = part.weights
        return shorter(arm, other, -weight, by_arm)
    return apart(part.arms[0], part.special or "", by_arm, rule)


def _reference(reference: Run) -> dict[str, Estimate]:
    by = reference.metrics
    pools = {"all": by.all, "observational": by.observational, "inferential": by.inferential}
    reliance = by.shortcut_reliance
    return {
        **{name: pool.per_question for name, pool in pools.items()},
        "shortcut_reliance": Estimate(reliance.value, reliance.stderr, reliance.ci95),
    }


def _training(cell: Cell, folder: Path, state: State, records: Mapping[str, Record], pieces: Sequence[Piece]) -> Training:
    """What became of a training; what lies in its folder counts before what an earlier piece says of it."""
    out, record = cell_folder(folder, cell.name), records.get(cell.name)
    seconds = record.seconds if record else 0.0
    if state is State.FINISHED and not (out / RUN).is_file() and (told := training_of(cell.name, records, pieces)):
        return msgspec.structs.replace(told, seconds=seconds)
    steps = read_steps(out / METRICS)
    settings = store.read_json(out / RUN, TrainRecord).settings if (out / RUN).is_file() else None
    gate = store.read_json(out / GATE, GateVerdict) if (out / GATE).is_file() else None
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
        gate=None if gate is None else gate.reasons,
        judged=None if gate is None else gate.verdict,
        seconds=seconds,
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
