"""The page of a study: claims and their verdicts, accuracy by category, differences, ablations, curves, every run and cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from videothinker.records import Estimate, Rule
from videothinker.records.study import BASE, Stage, Study
from videothinker.records.study_cells import State
from videothinker.records.study_results import Difference, Level, Part, Results, Value, Verdict
from videothinker.reports import page
from videothinker.reports.drawing import Drawing
from videothinker.reports.page import percent
from videothinker.reports.study_figures import curves_figure, effects_figure, level_figures, sweep_figure, trained
from videothinker.reports.study_tables import (
    ablations_table,
    arms_table,
    by_seed_table,
    claims_table,
    cost_table,
    differences_table,
    elsewhere_table,
    is_earlier,
    levels_table,
    runs_table,
    settings_table,
    thinking_tables,
)
from videothinker.reports.study_tokens import tokens_figure
from videothinker.reports.study_trade import trade_figure
from videothinker.reports.tables import DASH, Table, markdown_text
from videothinker.study.claims import comparisons, members
from videothinker.study.seeds import RULE

_EARLIER_RULE = (
    "These results are of an earlier version. By its rule a comparison holds if both of its 95 % intervals, over scenes (all "
    "seeds pooled) and over seeds (t), lie wholly on the claimed side of zero; it is reversed if both lie wholly on the other "
    "side. A claim is confirmed if all of its comparisons hold, refuted if any is reversed, and undecided otherwise; so a "
    "single seed decides nothing."
)
"""The rule of verdicts from before there was an interval over scenes and seeds at once."""


class FromSteps(NamedTuple):
    """What a page shows of the single steps of trainings, which results.json leaves out."""

    curves: Sequence[Drawing]
    runs: Table
    cost: Table


def study_pages(results: Results, from_steps: FromSteps | None = None) -> dict[str, bytes]:
    """report.html, report.md, summary.md (one line per claim) and the figures (PNG and SVG, light and dark), by file name.

    from_steps: for results without the trainings' steps, what was drawn of them before; None where they are there.
    """
    study = results.study
    mine = {level.arm: level for level in results.levels if level.ask == study.first_ask and level.rule is study.rule}
    pairs = [one for one in results.differences if one.ask == study.first_ask and one.rule is study.rule]
    main = [arm for arm in (BASE, *study.arms) if arm == BASE or study.arms[arm].seeds is None]
    trains, others = [arm for arm in main if arm != BASE], [arm for arm in study.arms if arm not in main]
    baseline = [arm for arm in main if arm != BASE and study.arms[arm].stage is Stage.GRPO][:1]
    sweeps = [sweep_figure(f"sweep-{i}", one, mine) for i, one in enumerate(study.sweeps, 1) if {*one.arms} & {*mine}]
    diverged = Counter(one.arm for one in results.trainings if one.diverged)
    optional = (trade_figure(study, mine, diverged), tokens_figure(results))
    drawings = [
        *level_figures([mine[arm] for arm in main if arm in mine], {arm: study.arms[arm].note for arm in study.arms}),
        effects_figure(_chief(pairs, study), study.arms),
        *sweeps,
        *(one for one in optional if one is not None),
        *([curves_figure(results, "curves", trains)] if trained(results, trains) else []),
        *([curves_figure(results, "curves-others", [*baseline, *others])] if trained(results, others) else []),
        *(from_steps.curves if from_steps else []),
    ]
    states = list(results.states.values())
    context: dict[str, Any] = {
        "study": study,
        "n_cells": len(states),
        "n_finished": states.count(State.FINISHED),
        "unfinished": _unfinished(results),
        "time": _time(sum(results.seconds.values()) / study.schedule.jobs_per_gpu),
        "n_questions": {arm: level.n_questions for arm, level in mine.items()}.get(BASE),
        "verdicts": [
            (
                one.claim.name,
                one.claim.text,
                one.decision,
                _decided(one),
                _corrected(one, results) + _open(one),
                [(part.name, _found(part)) for part in one.parts],
            )
            for one in results.verdicts
        ],
        "rule_words": f"{_EARLIER_RULE if is_earlier(results) else RULE} {_correction(results)}",
        "beside": claims_table(results) if results.verdicts else None,
        "drawings": {drawing.name: drawing for drawing in drawings},
        "sweeps": sweeps,
        "levels": levels_table(results, mine) if mine else None,
        "arms": arms_table(results),
        "differences": differences_table(pairs),
        "by_seed": by_seed_table(pairs, study.seeds),
        "ablations": ablations_table(results, mine, pairs, main),
        "elsewhere": thinking_tables(results) + [elsewhere_table(results, ask, rule) for ask, rule in _elsewhere(results)],
        "runs": from_steps.runs if from_steps else runs_table(results.trainings, mine),
        "alarms": [(one.name, one.alarms) for one in results.trainings if one.alarms],
        "gates": [(one.name, one.gate) for one in results.trainings if one.gate],
        "failures": [(name, results.records[name]) for name, state in results.states.items() if state is State.FAILED],
        "cost": from_steps.cost if from_steps else cost_table(results),
        "commands": [(name, record.command) for name, record in results.records.items()],
        "settings": settings_table(results),
    }
    return {
        **page.report("study", **context),
        "summary.md": _summary(results, mine).encode(),
        **{name: content for drawing in drawings for name, content in drawing.files.items()},
    }


def _chief(pairs: Sequence[Difference], study: Study) -> list[Difference]:
    """The differences for the figure: each arm's first one, and those that a claim rests on."""
    claimed = {part.pair for claim in study.claims for part in comparisons(claim)}
    first = {(name, arm.against[0]) for name, arm in study.arms.items() if arm.against}
    return [
        one for one in pairs if (one.after, one.before) in first or {(one.after, one.before), (one.before, one.after)} & claimed
    ]


def _unfinished(results: Results) -> list[str]:
    """What is missing, in one line for cells that are alike: "attract (seeds 3, 4) was not trained: waiting"."""
    study = results.study
    found: list[str] = []
    for what, ask in (("trained", None), *((f"asked {ask}", ask) for ask in study.ask)):
        for arm in (BASE, *study.arms):
            prefix = "" if ask is None else f"{ask}."
            names = {f"{prefix}{arm}-s{seed}": str(seed) for seed in study.seeds_of(arm)} | {f"{prefix}{arm}": ""}
            missing = {name: state for name, state in results.states.items() if name in names and state is not State.FINISHED}
            for state in dict.fromkeys(missing.values()):
                seeds = [names[name] for name, one in missing.items() if one is state and names[name]]
                which = f" (seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)})" if seeds else ""
                found.append(f"{arm}{which} was not {what}: {state}")
    prepared = [name for name in study.prepare if results.states.get(name, State.FINISHED) is not State.FINISHED]
    return [*(f"{name} was not prepared: {results.states[name]}" for name in prepared), *found]


def _summary(results: Results, levels: Mapping[str, Level]) -> str:
    """One Markdown line per claim, to be copied into other texts."""
    lines = []
    for one in results.verdicts:
        about = (part for part in comparisons(one.claim) if part.measure == "inferential" and not part.special)
        arms = (name for part in about for name in members(part, results.study) if name in levels)
        ends = ", ".join(f"{name} {percent(levels[name].measures['inferential'].scenes.value)}" for name in dict.fromkeys(arms))
        parts = "; ".join(f"{part.name}: {_found(part)}" for part in one.parts)
        text = markdown_text(f"({one.claim.name}) {one.claim.text}" if one.claim.name else one.claim.text)
        beside = f"{_corrected(one, results)}{_open(one)}"
        lines.append(f"- **{text}: {_decided(one)}.**{beside} {parts}{f' ({ends})' if ends else ''}.")
    return "\n".join(lines) + "\n"


def _corrected(one: Verdict, results: Results) -> str:
    """What Holm's correction leaves of a verdict, to stand behind it: " (p 0.012; after correction for 9 claims undecided)"."""
    if one.corrected is None or len(results.verdicts) < 2 or all(part.p is None for part in one.parts):
        return ""
    still = "still " if one.corrected is one.decision else ""
    return f" (p {page.p_value(one.p)}; after correction for {len(results.verdicts)} claims {still}{one.corrected})"


def _decided(one: Verdict) -> str:
    """A decision in words, which is one so far while the claim waits for cells."""
    return f"{one.decision}{' so far' if one.open else ''}"


def _open(one: Verdict) -> str:
    """What a claim still waits for, to stand behind it."""
    return f" (no verdict yet: {one.open} trainings and askings that it rests on are not over)" if one.open else ""


def _correction(results: Results) -> str:
    """How the verdicts heed the number of claims, in words."""
    if all(one.corrected is None for one in results.verdicts):
        return "The intervals are not corrected for the number of claims."
    return (
        "The intervals are not corrected for the number of claims. Behind each verdict stand the claim's p (of its weakest "
        "comparison) and what Holm's correction leaves of the verdict, by which none of all is wrong in 95 % of studies."
    )


def _found(part: Part) -> str:
    """What was found of one comparison, in words."""
    p = "" if part.p is None else f"; p {page.p_value(part.p)}"
    if part.gates is not None:
        gates = part.gates
        undecided = gates.n - gates.n_passed - gates.n_failed
        return (
            f"{gates.n_passed} of {gates.n} gates were passed, {gates.n_failed} failed"
            f"{f' and {undecided} left open' if undecided else ''}{p}"
        )
    return f"was not compared: {part.reason}" if part.reason else f"{_both(part.value)}{p}"


def _elsewhere(results: Results) -> list[tuple[str, Rule]]:
    """Every way of asking that has answers, under every rule, except the pair that the verdicts come from."""
    study = results.study
    there = {level.ask for level in results.levels}
    rules = [study.rule, *(other for other in Rule if other is not study.rule)]
    every = [(ask, rule) for ask in study.ask if ask in there for rule in rules]
    return [one for one in every if one != (study.first_ask, study.rule)]


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f}\u00a0h" if seconds >= 3600 else f"{seconds / 60:.1f}\u00a0min"


def _both(value: Value | None) -> str:
    """A difference with its intervals, in words."""
    if value is None or value.scenes.value is None:
        return "was not measured"
    seeds = (
        f"over {value.n_seeds} seeds {_interval(value.seeds)}" if value.seeds.ci95 else "one seed, so no interval over seeds"
    )
    if value.crossed.ci95 is None:
        return f"{page.signed(value.scenes.value)} points; 95 % over scenes {_interval(value.scenes)}, {seeds}"
    both = f"95 % over scenes and seeds {_interval(value.crossed)}"
    return f"{page.signed(value.scenes.value)} points; {both} (over scenes alone {_interval(value.scenes)}, {seeds})"


def _interval(value: Estimate) -> str:
    """An interval in percentage points: "[+0.5, +1.4]"; a dash where there is none."""
    return DASH if value.ci95 is None else f"[{page.signed(value.ci95[0])}, {page.signed(value.ci95[1])}]"
