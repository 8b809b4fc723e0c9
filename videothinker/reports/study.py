"""The page of a study: claims and their verdicts, accuracy by category, differences, ablations, curves, every run and cost."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from videothinker.records import Estimate, Rule
from videothinker.records.study import BASE, Arm, Difference, Level, Results, Stage, State, Study, Sweep, Training, Value
from videothinker.reports import page
from videothinker.reports.figures import Curves, Drawing, Effect, Panel, Series, bars, curves, effects, sweep
from videothinker.reports.page import DASH, MINUS, Table, count, estimate, percent, points
from videothinker.steps import measure
from videothinker.study.config import parse_claim
from videothinker.study.seeds import RULE

_PANELS = {"reward/accuracy": "accuracy reward", "kl": "divergence (nats)", "length": "length (tokens)"}
_COLOURS = {Stage.BIAS: "purple", Stage.GRPO: "orange", Stage.CDPO: "blue"}
_SHOWN = ("observational", "inferential", "shortcut_reliance")
_NOTES = {BASE: "the start model"}
_MOST_POINTS = 40
"""Most points of one curve. Longer runs are averaged over neighbouring steps."""


def study_pages(results: Results) -> dict[str, bytes]:
    """report.html, report.md, summary.md (one line per claim) and the figures (PNG and SVG, light and dark), by file name."""
    study = results.study
    mine = {level.arm: level for level in results.levels if level.ask == study.first_ask and level.rule is study.rule}
    pairs = [one for one in results.differences if one.ask == study.first_ask and one.rule is study.rule]
    main = [arm for arm in (BASE, *study.arms) if arm == BASE or study.arms[arm].seeds is None]
    others = [arm for arm in study.arms if arm not in main]
    baseline = [arm for arm in main if arm != BASE and study.arms[arm].stage is Stage.GRPO][:1]
    sweeps = [_sweep_figure(f"sweep-{i}", one, mine) for i, one in enumerate(study.sweeps, 1) if {*one.arms} & {*mine}]
    drawings = [
        *_level_figures([mine[arm] for arm in main if arm in mine], {arm: study.arms[arm].note for arm in study.arms}),
        _effects_figure(_chief(pairs, study), study.arms),
        *sweeps,
        _curves_figure(results, "curves", [arm for arm in main if arm != BASE]),
        *([_curves_figure(results, "curves-others", [*baseline, *others])] if _trained(results, others) else []),
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
            (one.claim.text, one.decision, [(name, _both(value)) for name, value in one.parts]) for one in results.verdicts
        ],
        "rule_words": RULE,
        "drawings": {drawing.name: drawing for drawing in drawings},
        "sweeps": sweeps,
        "levels": _levels_table(results, mine) if mine else None,
        "arms": _arms_table(results),
        "differences": _differences_table(pairs),
        "by_seed": _by_seed_table(pairs, study.seeds),
        "ablations": _ablations_table(results, mine, pairs, main),
        "elsewhere": [_elsewhere_table(results, ask, rule) for ask, rule in _elsewhere(results)],
        "runs": _runs_table(results.trainings, mine),
        "alarms": [(one.name, one.alarms) for one in results.trainings if one.alarms],
        "gates": [(one.name, one.gate) for one in results.trainings if one.gate],
        "failures": [(name, results.records[name]) for name, state in results.states.items() if state is State.FAILED],
        "cost": _cost_table(results),
        "commands": [(name, record.command) for name, record in results.records.items()],
        "settings": _settings_table(results),
    }
    return {
        "report.html": page.render("study.html", **context),
        "report.md": page.render("study.md", **context),
        "summary.md": _summary(results, mine).encode(),
        **{name: content for drawing in drawings for name, content in drawing.files.items()},
    }


def _chief(pairs: Sequence[Difference], study: Study) -> list[Difference]:
    """The differences for the figure: each arm's first one, and those that a claim rests on."""
    claimed = {part.pair for claim in study.claims for part in parse_claim(claim)}
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
        names = dict.fromkeys(name for part in parse_claim(one.claim) for name in part.pair if name in levels)
        ends = ", ".join(f"{name} {percent(levels[name].measures['inferential'].scenes.value)}" for name in names)
        parts = "; ".join(f"{name}: {_both(value)}" for name, value in one.parts)
        lines.append(f"- **{one.claim.text}: {one.decision}.** {parts}{f' ({ends})' if ends else ''}.")
    return "\n".join(lines) + "\n"


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
    """A difference with both of its intervals, in words."""
    if value is None or value.scenes.value is None:
        return "was not measured"
    seeds = (
        f"over {value.n_seeds} seeds {_interval(value.seeds)}" if value.seeds.ci95 else "one seed, so no interval over seeds"
    )
    return f"{page.signed(value.scenes.value)} points; 95 % over scenes {_interval(value.scenes)}, {seeds}"


def _interval(value: Estimate) -> str:
    """An interval in percentage points: "[+0.5, +1.4]"; a dash where there is none."""
    return DASH if value.ci95 is None else f"[{page.signed(value.ci95[0])}, {page.signed(value.ci95[1])}]"


def _known(value: Value) -> list[float]:
    return [one.value for one in value.per_seed.values() if one.value is not None]


# ---- figures -----------------------------------------------------------------------------------------------------------


def _level_figures(levels: Sequence[Level], notes: Mapping[str, str]) -> tuple[Drawing, Drawing]:
    def over(value: Value) -> Estimate:
        return value.seeds if value.n_seeds > 1 else value.scenes

    def series(measure: str, name: str, colour: str) -> Series:
        values = [level.measures[measure] for level in levels]
        return Series(name, colour, [over(value) for value in values], points=[_known(value) for value in values])

    names = [
        f"{level.arm}: {note}" if (note := _NOTES.get(level.arm) or notes.get(level.arm)) else level.arm for level in levels
    ]
    accuracy = bars(
        "accuracy",
        "Questions answered exactly right, by category. Observational ones can be answered by watching, inferential ones need "
        "the counterfactual. Bars are means over seeds with 95 % t-intervals over seeds, or over scenes where there is one "
        "run; each dot is one seed.",
        names,
        [series("observational", "observational", "blue"), series("inferential", "inferential", "orange")],
        x_label="questions answered exactly right (%)",
    )
    shortcut = bars(
        "shortcut",
        "Shortcut reliance: inferential answers that are those of an observer, who only watches. Bars are means over seeds "
        "with 95 % t-intervals over seeds, or over scenes where there is one run; each dot is one seed.",
        names,
        [series("shortcut_reliance", "", "green")],
        x_label="answers that are the observer's (%)",
    )
    return accuracy, shortcut


def _effects_figure(pairs: Sequence[Difference], arms: Mapping[str, Arm]) -> Drawing:
    return effects(
        "differences",
        "Differences in inferential accuracy, paired by question and by seed. Thick lines are 95 % intervals over scenes, thin "
        "ones over seeds; each dot is one seed, and an arrow says that a row goes on beyond the axis. The table also has the "
        "bias models and further pairs.",
        [
            Effect(_pair(one), value.scenes, value.seeds, _known(value))
            for one in pairs
            if arms[one.after].stage is not Stage.BIAS
            for value in [one.measures["inferential"]]
        ],
        x_label="difference in inferential accuracy (points)",
    )


def _sweep_figure(name: str, one: Sweep, levels: Mapping[str, Level]) -> Drawing:
    arms = sorted(one.arms, key=one.arms.__getitem__)
    base = levels.get(BASE)

    def panel(measure: str, title: str, colour: str) -> Panel:
        values = [levels[arm].measures[measure] if arm in levels else None for arm in arms]
        return Panel(
            title,
            colour,
            [value.seeds if value else Estimate(None, None, None) for value in values],
            [_known(value) if value else [] for value in values],
            base.measures[measure].scenes.value if base else None,
        )

    panels = [
        panel("observational", "observational (%)", "blue"),
        panel("inferential", "inferential (%)", "orange"),
        panel("shortcut_reliance", "shortcut reliance (%)", "green"),
    ]
    which = ", ".join(f"{one.arms[arm]:g} {arm}" for arm in arms)
    caption = (
        f"By {one.factor} ({which}): questions answered exactly right, and inferential answers that are the observer's. Lines "
        "are means over each arm's own seeds, and each plot has its own scale. The tables have the paired differences."
    )
    return sweep(name, caption, [f"{one.arms[arm]:g}" for arm in arms], panels, x_label=one.factor)


def _trained(results: Results, arms: Sequence[str]) -> dict[str, list[Training]]:
    """The runs of each arm that have taken a step."""
    runs = {arm: [one for one in results.trainings if one.arm == arm and one.steps] for arm in arms}
    return {arm: found for arm, found in runs.items() if found}


def _curves_figure(results: Results, name: str, shown: Sequence[str]) -> Drawing:
    arms, by_arm = results.study.arms, _trained(results, shown)
    order = sorted(by_arm, key=lambda arm: arms[arm].stage is not Stage.GRPO)
    rows = [Curves(arm, _COLOURS[arms[arm].stage], [_lines(one) for one in by_arm[arm]]) for arm in order]
    return curves(
        name,
        "Training by step, with one line per run: soft accuracy of the sampled replies, divergence from the reference where "
        f"there is one, and tokens per reply. The runs of {order[0] if order else 'the first arm'} are repeated in grey.",
        _PANELS,
        rows,
    )


def _lines(run: Training) -> dict[str, list[tuple[float, float]]]:
    """The (step, value) points of each panel, of which a long run has at most `_MOST_POINTS`."""
    found = {}
    for panel in _PANELS:
        line = [(row.step, value) for row in run.steps if (value := measure(row, panel)) is not None]
        # Bins of equally many neighbouring points; the width is rounded up, so that there are not too many bins.
        width = -(-len(line) // _MOST_POINTS) or 1
        bins = [line[start : start + width] for start in range(0, len(line), width)]
        found[panel] = [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in bins]
    return found


# ---- tables ------------------------------------------------------------------------------------------------------------


def _pair(one: Difference) -> str:
    return f"{one.after} {MINUS} {one.before}"


def _reach(value: Value) -> str:
    """Half of the t-interval over seeds, in percentage points: "±3.6"; a dash for fewer than two seeds."""
    interval = value.seeds.ci95
    return DASH if interval is None else f"±{50 * (interval[1] - interval[0]):.1f}"


def _arms_table(results: Results) -> Table:
    study = results.study

    def row(arm: str) -> tuple[str, ...]:
        one = study.arms[arm]
        settings = ", ".join(f"{key} = {value}" for key, value in one.set.items())
        differs = [one.note, settings, f"data {one.data}" if one.data else "", f"rule {one.rule}" if one.rule else ""]
        bias = one.bias if one.needs_bias else DASH
        return (arm, one.stage, bias, count(len(study.seeds_of(arm))), "; ".join(part for part in differs if part) or DASH)

    return Table(
        "arms",
        f"The arms are ways of training: each takes {study.train.steps} steps from the same start, once per seed.",
        ("Arm", "Stage", "Bias model", "Seeds", "What differs"),
        [row(arm) for arm in study.arms],
    )


def _levels_table(results: Results, levels: Mapping[str, Level]) -> Table:
    rows = []
    for arm, level in levels.items():
        values = [level.measures[name] for name in _SHOWN]
        cells = [cell for value in values for cell in (estimate(value.scenes), _reach(value))]
        rows.append((arm, DASH if arm == BASE else count(values[0].n_seeds), *cells))
    for name, shares in results.references.items():
        cells = [cell for measure in _SHOWN for cell in (percent(shares[measure].value), DASH)]
        rows.append((f"{name} (reference)", DASH, *cells))
    return Table(
        "levels",
        f"Questions answered exactly right, asked {results.study.first_ask}, by rule {results.study.rule}. Brackets are "
        "95 % intervals over scenes with all seeds pooled, and ± is half of the 95 % t-interval over seeds.",
        ("Arm", "Seeds", "Observational", "±\u00a0seeds", "Inferential", "±\u00a0seeds", "Shortcut reliance", "±\u00a0seeds"),
        rows,
    )


def _differences_table(pairs: Sequence[Difference]) -> Table:
    def row(one: Difference) -> tuple[str, ...]:
        values = [one.measures[name] for name in ("inferential", "observational", "shortcut_reliance")]
        cells = [cell for value in values for cell in (points(value.scenes), _reach(value))]
        return (_pair(one), count(values[0].n_seeds), *cells)

    return Table(
        "differences",
        "Differences in percentage points, paired by question and by seed. Brackets are 95 % intervals over scenes with all "
        "seeds pooled, and ± is half of the 95 % t-interval over seeds.",
        (
            "Difference",
            "Seeds",
            "Inferential",
            "±\u00a0seeds",
            "Observational",
            "±\u00a0seeds",
            "Shortcut reliance",
            "±\u00a0seeds",
        ),
        [row(one) for one in pairs],
    )


def _by_seed_table(pairs: Sequence[Difference], seeds: Sequence[int]) -> Table:
    def cells(value: Value) -> list[str]:
        return [points(value.per_seed[seed]) if seed in value.per_seed else DASH for seed in seeds]

    return Table(
        "by-seed",
        "Each seed's difference in inferential accuracy, in percentage points, with 95 % intervals over scenes.",
        ("Difference", *(f"Seed {seed}" for seed in seeds)),
        [(_pair(one), *cells(one.measures["inferential"])) for one in pairs],
    )


def _ablations_table(
    results: Results, levels: Mapping[str, Level], pairs: Sequence[Difference], main: Sequence[str]
) -> Table | None:
    rows = []
    for one in pairs:
        if one.after not in main and one.after in levels:
            shown = [estimate(levels[one.after].measures[name].scenes) for name in _SHOWN]
            change = one.measures["inferential"]
            against = (one.before, count(change.n_seeds), points(change.scenes), _reach(change))
            rows.append((one.after, *shown, *against))
    if not rows:
        return None
    return Table(
        "ablations",
        "One factor changes at a time. The last four columns compare inferential accuracy with that of another arm, on their "
        "common seeds.",
        ("Arm", "Observational", "Inferential", "Shortcut reliance", "Against", "Seeds", "Difference", "±\u00a0seeds"),
        rows,
    )


def _elsewhere_table(results: Results, ask: str, rule: Rule) -> Table:
    levels = [level for level in results.levels if level.ask == ask and level.rule is rule]
    changes = {one.after: one for one in reversed(results.differences) if one.ask == ask and one.rule is rule}

    def row(level: Level) -> tuple[str, ...]:
        shown = [estimate(level.measures[name].scenes) for name in _SHOWN]
        if (one := changes.get(level.arm)) is None:
            return (level.arm, *shown, DASH, DASH, DASH)
        change = one.measures["inferential"]
        return (level.arm, *shown, one.before, points(change.scenes), _reach(change))

    n, note = levels[0].n_questions, results.study.ask[ask].note
    return Table(
        f"{ask}-{rule}",
        f"Asked {ask}{f' ({note})' if note else ''}, rule {rule}: {count(n['observational'])} observational and "
        f"{count(n['inferential'])} inferential questions. The last three columns are the change in inferential accuracy.",
        ("Arm", "Observational", "Inferential", "Shortcut reliance", "Against", "Difference", "±\u00a0seeds"),
        [row(level) for level in levels],
    )


_REWARDS = {"accuracy": "Accuracy reward", "format": "Format"}
"""Column heads of the rewards that a run has by default; other rewards are shown by name."""


def _runs_table(trainings: Sequence[Training], levels: Mapping[str, Level]) -> Table:
    rewards = list(dict.fromkeys(name for one in trainings for step in one.steps for name in step.rewards)) or list(_REWARDS)

    def row(one: Training) -> tuple[str, ...]:
        last = one.steps[-10:]
        names = (*(f"reward/{name}" for name in rewards), "kl", "length")
        ends = [_mean([measure(step, name) for step in last]) for name in names]
        state = "diverged" if one.diverged and one.state is State.FINISHED else one.state.value
        found = [_of_seed(levels.get(one.arm), name, one.seed) for name in ("observational", "inferential")]
        return (
            one.name,
            f"{state}, gate not passed" if one.gate else state,
            count(one.steps[-1].step) if one.steps else DASH,
            *(DASH if value is None else f"{value:.3g}" for value in ends),
            str(one.alarms[0][0]) if one.alarms else DASH,
            percent(found[0].value),
            estimate(found[1]),
            f"{one.seconds / 60:.1f}",
        )

    return Table(
        "runs",
        "Every run that the study names, whatever became of it. A run diverged if an alarm was on at its last step. The "
        f"columns from {_reward_head(rewards[0]).lower()} to length are means over its last ten logged steps, and alarm is the "
        "first step that raised one. Intervals are over scenes.",
        (
            *("Run", "State", "Steps", *map(_reward_head, rewards), "Divergence", "Length", "Alarm"),
            *("Observational", "Inferential", "Minutes"),
        ),
        [row(one) for one in trainings],
    )


def _reward_head(name: str) -> str:
    return _REWARDS.get(name, f"{name} reward")


def _of_seed(level: Level | None, measure: str, seed: int) -> Estimate:
    nothing = Estimate(None, None, None)
    return nothing if level is None else level.measures[measure].per_seed.get(seed, nothing)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _cost_table(results: Results) -> Table:
    total, sharing = sum(results.seconds.values()), results.study.schedule.jobs_per_gpu
    stages = {f"train {stage}": [one for one in results.trainings if one.stage == stage and one.steps] for stage in Stage}

    def row(group: str, seconds: float) -> tuple[str, ...]:
        steps = [step for one in stages.get(group, []) for step in one.steps]
        within = sum(step.seconds or 0.0 for step in steps)
        replies = [one.replies for one in stages.get(group, []) if one.replies]
        timed = [step.seconds for step in steps if step.seconds]
        speed = f"{replies[0] / median(timed):,.0f}" if replies and timed else DASH
        return (
            group,
            f"{seconds / 60 / sharing:.1f}",
            percent(seconds / total),
            percent(within / seconds) if within and seconds else DASH,
            speed,
        )

    alone = f" {sharing} cells share a GPU, so each counts 1/{sharing} of its minutes." if sharing > 1 else ""
    return Table(
        "cost",
        f"GPU minutes of all attempts, with start-up and gates.{alone} Share of the steps is the part of a stage's time that "
        "its steps took; the rest is loading, compiling and the gate. Roll-outs per second are those of one run while others "
        "share its GPU.",
        ("What", "GPU minutes", "Share", "Share of the steps", "Roll-outs per second"),
        [
            *(row(group, seconds) for group, seconds in results.seconds.items() if total),
            ("all", f"{total / 60 / sharing:.1f}", percent(1.0 if total else None), DASH, DASH),
        ],
    )


def _settings_table(results: Results) -> Table:
    settings = {**msgspec.to_builtins(results.study), "provenance": results.provenance}
    return Table(
        "settings",
        "The study's file as it was read, and the version that drew this report.",
        ("Setting", "Value"),
        [(name, page.value_text(value)) for name, value in page.leaves(settings)],
    )
