"""The figures of a study's page: accuracy, differences, sweeps and curves, drawn from its results."""

from collections.abc import Mapping, Sequence

from videothinker.records import Estimate
from videothinker.records.study import BASE, Arm, Stage, Sweep
from videothinker.records.study_results import Difference, Level, Results, Training, Value
from videothinker.reports.drawing import Drawing
from videothinker.reports.figures import Series, bars
from videothinker.reports.figures_of_studies import Curves, Effect, Panel, curves, effects, sweep
from videothinker.steps import measure

_PANELS = {"reward/accuracy": "accuracy reward", "kl": "divergence (nats)", "length": "length (tokens)"}


_COLOURS = {Stage.BIAS: "purple", Stage.GRPO: "orange", Stage.CDPO: "blue", Stage.AUTO: "green"}


_NOTES = {BASE: "the start model"}


_MOST_POINTS = 40
"""Points of one curve: longer runs are averaged over neighbouring steps."""


def _known(value: Value) -> list[float]:
    return [one.value for one in value.per_seed.values() if one.value is not None]


def _in_words(arm: str, notes: Mapping[str, str]) -> str:
    """The arm's name, by which the tables know it, and what it changes: "repulsion-1: repelled from the bias model, 0.1"."""
    note = _NOTES.get(arm) or notes.get(arm)
    return f"{arm}: {note}" if note else arm


def level_figures(levels: Sequence[Level], notes: Mapping[str, str]) -> tuple[Drawing, Drawing]:
    def over(value: Value) -> Estimate:
        return value.seeds if value.n_seeds > 1 else value.scenes

    def series(measure: str, name: str, colour: str) -> Series:
        values = [level.measures[measure] for level in levels]
        return Series(name, colour, [over(value) for value in values], points=[_known(value) for value in values])

    names = [_in_words(level.arm, notes) for level in levels]
    accuracy = bars(
        "accuracy",
        "Questions answered exactly right, by category. Observational ones can be answered by watching, inferential ones need "
        "the counterfactual. Mean over seeds with 95 % t-intervals over seeds (where there is one run: over scenes); each dot "
        "is one seed.",
        names,
        [series("observational", "observational", "blue"), series("inferential", "inferential", "orange")],
        x_label="questions answered exactly right (%)",
    )
    shortcut = bars(
        "shortcut",
        "Shortcut reliance: inferential answers that are those of an observer, who only watches. Mean over seeds with 95 % "
        "t-intervals over seeds (where there is one run: over scenes); each dot is one seed.",
        names,
        [series("shortcut_reliance", "", "green")],
        x_label="answers that are the observer's (%)",
    )
    return accuracy, shortcut


def effects_figure(pairs: Sequence[Difference], arms: Mapping[str, Arm]) -> Drawing:
    notes = {name: arm.note for name, arm in arms.items()}
    return effects(
        "differences",
        "Differences in inferential accuracy, paired by question and by seed, with 95 % intervals: thick over scenes, thin "
        "over seeds; each dot is one seed, an arrow says that a row goes on. Bias models, and further pairs, are in the table.",
        [
            Effect(_in_words(one.after, notes), value.scenes, value.seeds, _known(value), f"against {one.before}")
            for one in pairs
            if arms[one.after].stage is not Stage.BIAS
            for value in [one.measures["inferential"]]
        ],
        x_label="difference in inferential accuracy (points)",
    )


def sweep_figure(name: str, one: Sweep, levels: Mapping[str, Level]) -> Drawing:
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
        f"By {one.factor} ({which}): questions answered exactly right, and inferential answers that are the observer's. Means "
        "of each arm's own seeds; each plot has its own scale. Paired differences are in the tables."
    )
    return sweep(name, caption, [f"{one.arms[arm]:g}" for arm in arms], panels, x_label=one.factor)


def trained(results: Results, arms: Sequence[str]) -> dict[str, list[Training]]:
    """The runs of each arm that have taken a step."""
    runs = {arm: [one for one in results.trainings if one.arm == arm and one.steps] for arm in arms}
    return {arm: found for arm, found in runs.items() if found}


def curves_figure(results: Results, name: str, shown: Sequence[str]) -> Drawing:
    arms, by_arm = results.study.arms, trained(results, shown)
    order = sorted(by_arm, key=lambda arm: arms[arm].stage is not Stage.GRPO)
    notes = {name: arm.note for name, arm in arms.items()}
    left_out = sum(one.arm in shown and one.steps_are_elsewhere for one in results.trainings)
    without = f" Without {left_out} runs of earlier pieces." if left_out else ""
    rows = [Curves(_in_words(arm, notes), _COLOURS[arms[arm].stage], [_lines(one) for one in by_arm[arm]]) for arm in order]
    return curves(
        name,
        "Training by step, one line a run: soft accuracy of the sampled replies, divergence from the reference where there is "
        f"one, tokens a reply. Grey: {order[0] if order else 'the first arm'}.{without}",
        _PANELS,
        rows,
    )


def _lines(run: Training) -> dict[str, list[tuple[float, float]]]:
    found = {}
    for panel in _PANELS:
        line = [(row.step, value) for row in run.steps if (value := measure(row, panel)) is not None]
        width = -(-len(line) // _MOST_POINTS) or 1
        bins = [line[start : start + width] for start in range(0, len(line), width)]
        found[panel] = [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in bins]
    return found
