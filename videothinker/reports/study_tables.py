"""The tables of a study's page: arms, accuracy, differences, ablations, every run, what it cost."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import msgspec

from videothinker.records import Estimate, Rule
from videothinker.records.study import BASE, Arm, Stage
from videothinker.records.study_cells import State
from videothinker.records.study_results import Difference, Level, Results, Thinking, Training, Value
from videothinker.reports import page
from videothinker.reports.page import count, estimate, percent, points
from videothinker.reports.tables import DASH, MINUS, Table
from videothinker.steps import measure
from videothinker.study.claims import Comparison, comparisons
from videothinker.study.seeds import negative

_SHOWN = ("observational", "inferential", "shortcut_reliance")


_REWARDS = {"accuracy": "Accuracy reward", "format": "Format"}
"""Heads of the rewards that a run has unless its settings choose others, which are shown by name."""


def pair_name(one: Difference) -> str:
    return f"{one.after} {MINUS} {one.before}"


def _reach(value: Value) -> str:
    """ "±3.6": half of the t-interval over seeds, in points; a dash for fewer than two."""
    interval = value.seeds.ci95
    return DASH if interval is None else f"±{50 * (interval[1] - interval[0]):.1f}"


def arms_table(results: Results) -> Table:
    study = results.study

    def row(arm: str) -> tuple[str, ...]:
        one = study.arms[arm]
        settings = ", ".join(f"{key} = {value}" for key, value in one.set.items())
        differs = [one.note, settings, *(f"{key} {value}" for key, value in _others(one))]
        bias = one.bias if one.needs_bias else one.bias_model or DASH
        return (arm, one.stage, bias, count(len(study.seeds_of(arm))), "; ".join(part for part in differs if part) or DASH)

    return Table(
        "arms",
        f"The arms: ways of training, each {study.train.steps} steps from the same start, once a seed.",
        ("Arm", "Stage", "Bias model", "Seeds", "What differs"),
        [row(arm) for arm in study.arms],
    )


def _others(arm: Arm) -> list[tuple[str, str | int]]:
    """What an arm gives beside its settings, in the words of its file."""
    blended = "" if arm.of is None else f"{arm.of[0]} and {arm.weight:g} {arm.of[1]}"
    said = (("of", blended), ("steps", arm.steps), ("data", arm.data), ("labels", arm.labels), ("where", arm.where))
    return [(key, value) for key, value in (*said, ("rule", arm.rule)) if value]


def levels_table(results: Results, levels: Mapping[str, Level]) -> Table:
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
        f"Questions answered exactly right, asked {results.study.first_ask}, rule {results.study.rule}. Brackets: 95 % over "
        "scenes, all seeds pooled. ±: half of the 95 % t-interval over seeds.",
        ("Arm", "Seeds", "Observational", "±\u00a0seeds", "Inferential", "±\u00a0seeds", "Shortcut reliance", "±\u00a0seeds"),
        rows,
    )


def differences_table(pairs: Sequence[Difference]) -> Table:
    def row(one: Difference) -> tuple[str, ...]:
        values = [one.measures[name] for name in ("inferential", "observational", "shortcut_reliance")]
        cells = [cell for value in values for cell in (points(value.scenes), _reach(value))]
        return (pair_name(one), count(values[0].n_seeds), *cells)

    return Table(
        "differences",
        "Differences in percentage points, paired by question and by seed. Brackets: 95 % over scenes, all seeds pooled. "
        "±: half of the 95 % t-interval over seeds.",
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


def claims_table(results: Results) -> Table:
    """Each comparison of the claims, with what it comes to under the other rules and over all questions."""
    study = results.study
    rules = [study.rule, *(rule for rule in Rule if rule is not study.rule)]
    found = {(one.after, one.before, one.rule): one for one in results.differences if one.ask == study.first_ask}
    sums = {(one.name, one.rule): one.measures for one in results.contrasts if one.ask == study.first_ask}

    def value(part: Comparison, rule: Rule, measure: str) -> str:
        if (other := sums.get((part.name, rule))) is not None:
            return points(_widest(other[measure])) if measure in other else DASH
        if part.pair is None:
            return DASH
        after, before = part.pair
        if (one := found.get((after, before, rule))) is not None:
            return points(_widest(one.measures[measure]))
        turned = found.get((before, after, rule))
        return DASH if turned is None else points(_widest(negative(turned.measures[measure])))

    mine = [one.claim for one in results.verdicts if study.ask_of(one.claim) == study.first_ask]
    parts = {part.name: part for claim in mine for part in comparisons(claim) if not part.special}
    return Table(
        "claims",
        f"Beside the claims, asked {study.first_ask}: the same comparisons of inferential accuracy under each rule, and over "
        "all questions, which no rule divides. Percentage points with 95 % intervals over "
        + ("scenes, all seeds pooled." if is_earlier(results) else "scenes and seeds; of one seed, over scenes."),
        ("Comparison", *(f"Inferential, {rule}" for rule in rules), "All questions"),
        [
            (name, *(value(part, rule, "inferential") for rule in rules), value(part, study.rule, "all"))
            for name, part in parts.items()
        ],
    )


def is_earlier(results: Results) -> bool:
    """Whether results were written before there was an interval over scenes and seeds at once, when no scenes were counted."""
    values = [value for one in results.differences for value in one.measures.values()]
    return bool(values) and not any(value.n_scenes for value in values)


def thinking_tables(results: Results) -> list[Table]:
    """What thinking is worth and what it takes, a table for each way of asking; none in studies where no arm answers twice."""

    def row(one: Thinking) -> tuple[str, ...]:
        def cell(shares: Mapping[str, Estimate], pool: str, show: Callable[[Estimate], str]) -> str:
            return show(shares[pool]) if pool in shares else DASH

        columns = [(one.first, estimate), (one.second, estimate), (one.gain, points), (one.thinks, estimate)]
        shown = [cell(shares, pool, show) for shares, show in columns for pool in _POOLS]
        tokens = [one.tokens[pool] for pool in _POOLS]
        return (one.arm, *shown, *(DASH if mean is None else f"{mean:.1f}" for mean in tokens))

    heads = [f"{what}, {pool}" for what in ("First", "Second", "Gain", "Thinks", "Tokens") for pool in _POOLS]
    asks = dict.fromkeys(one.ask for one in results.thinking)
    return [
        Table(
            f"thinking-{ask}",
            f"What thinking is worth and what it takes, asked {ask}, rule {results.study.rule}: first and second answers "
            "right, the second less the first, replies that think (in %, or percentage points), and mean tokens of a reply, by "
            "category. Brackets: 95 % over scenes, all seeds pooled. A reply that falls back has no right first answer.",
            ("Arm", *heads),
            [row(one) for one in results.thinking if one.ask == ask],
        )
        for ask in asks
    ]


_POOLS = ("observational", "inferential")


def _widest(value: Value) -> Estimate:
    return value.scenes if value.crossed.ci95 is None else value.crossed


def by_seed_table(pairs: Sequence[Difference], seeds: Sequence[int]) -> Table:
    def cells(value: Value) -> list[str]:
        return [points(value.per_seed[seed]) if seed in value.per_seed else DASH for seed in seeds]

    return Table(
        "by-seed",
        "Each seed's difference in inferential accuracy, in percentage points, with 95 % intervals over scenes.",
        ("Difference", *(f"Seed {seed}" for seed in seeds)),
        [(pair_name(one), *cells(one.measures["inferential"])) for one in pairs],
    )


def ablations_table(
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
        "One factor changed at a time. The last four columns: inferential accuracy minus that of another arm, on their common "
        "seeds.",
        ("Arm", "Observational", "Inferential", "Shortcut reliance", "Against", "Seeds", "Difference", "±\u00a0seeds"),
        rows,
    )


def elsewhere_table(results: Results, ask: str, rule: Rule) -> Table:
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
        f"{count(n['inferential'])} inferential questions. The last three columns: change in inferential accuracy.",
        ("Arm", "Observational", "Inferential", "Shortcut reliance", "Against", "Difference", "±\u00a0seeds"),
        [row(level) for level in levels],
    )


def runs_table(trainings: Sequence[Training], levels: Mapping[str, Level]) -> Table:
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

    unknown = " Those of runs of earlier pieces are not here." if any(one.steps_are_elsewhere for one in trainings) else ""
    return Table(
        "runs",
        "Every run that the study names, whatever became of it. Diverged: an alarm was on at its last step. "
        f"{_reward_head(rewards[0])} to length: means of its last ten logged steps.{unknown} Alarm: the first step that "
        "raised one. Interval over scenes.",
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


def cost_table(results: Results) -> Table:
    total, sharing = sum(results.seconds.values()), results.study.schedule.jobs_per_gpu
    elsewhere = [one for one in results.trainings if one.steps_are_elsewhere]
    stages = {f"train {stage}": [one for one in results.trainings if one.stage == stage and one.steps] for stage in Stage}

    def row(group: str, seconds: float) -> tuple[str, ...]:
        steps = [step for one in stages.get(group, []) for step in one.steps]
        within = sum(step.seconds or 0.0 for step in steps)
        known = seconds - sum(one.seconds for one in elsewhere if f"train {one.stage}" == group)
        replies = [one.replies for one in stages.get(group, []) if one.replies]
        timed = [step.seconds for step in steps if step.seconds]
        speed = f"{replies[0] / median(timed):,.0f}" if replies and timed else DASH
        return (
            group,
            f"{seconds / 60 / sharing:.1f}",
            percent(seconds / total),
            percent(within / known) if within and known else DASH,
            speed,
        )

    alone = f" {sharing} cells share a GPU, so each counts 1/{sharing} of its minutes." if sharing > 1 else ""
    return Table(
        "cost",
        f"GPU minutes, all attempts, start-up and gates included.{alone} Share of the steps: of a stage's time, what its "
        "steps took; the rest is loading, compiling and the gate. Roll-outs a second: of one run while others share its GPU."
        f"{' Neither counts runs of earlier pieces.' if elsewhere else ''}",
        ("What", "GPU minutes", "Share", "Share of the steps", "Roll-outs a second"),
        [
            *(row(group, seconds) for group, seconds in results.seconds.items() if total),
            ("all", f"{total / 60 / sharing:.1f}", percent(1.0 if total else None), DASH, DASH),
        ],
    )


def settings_table(results: Results) -> Table:
    settings = {**msgspec.to_builtins(results.study), "provenance": results.provenance}
    return Table(
        "settings",
        "The study's file, as it was read, and what drew this report. What is not set is not listed.",
        ("Setting", "Value"),
        [(name, text) for name, value in page.leaves(settings) if (text := page.value_text(value)) != DASH],
    )
