"""The page of one training's curves, or of several trainings' drawn together, from what they logged step by step."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from videothinker.records.training import StepRecord, TrainRecord
from videothinker.reports import page
from videothinker.reports.charts import Chart, Line, chart, moving_average, number
from videothinker.reports.tables import DASH, Table
from videothinker.steps import measure

COLOURS = 6
"""Runs that can be told apart by colour; a seventh has the first's, with a broken line."""


class Trained(NamedTuple):
    """One training, finished or not."""

    name: str
    steps: Sequence[StepRecord]
    """Logged so far, at least one."""
    record: TrainRecord | None
    """Its run.json; None where there is none."""


class Measure(NamedTuple):
    """A number of a `StepRecord` and how it is told."""

    key: str
    """As `steps.measure` takes it."""
    title: str
    unit: str = ""
    note: str = ""


class Group(NamedTuple):
    """A section of the page."""

    anchor: str
    title: str
    charts: list[Chart]


_REWARD = (Measure("reward", "Reward", note="weighted sum of its parts"),)
_CHANCES = (
    Measure("zero_advantage_share", "Questions that teach nothing", "share", "all their replies earned the same"),
    Measure("ordered_share", "Questions with the bonus for order", "share"),
    Measure("shuffled_accuracy", "Accuracy on shuffled clips"),
)
_DIVERGENCE = (
    Measure("kl", "Divergence from the reference", "nats", "kl in the log"),
    Measure("anchor_kl", "Divergence from the start", "nats per token", "anchor_kl in the log"),
    Measure("repulsion", "Weight of the divergence"),
    Measure("repulsion_gradient_ratio", "Gradient ratio", note="divergence with its weight, over reward"),
    Measure("clamped_share", "Clamped tokens", "share", "the divergence has no gradient there"),
)
_GRADIENTS = (
    Measure("grad_norm", "Gradient norm", note="before clipping"),
    Measure("reward_grad_norm", "Gradient norm of the reward"),
    Measure("divergence_grad_norm", "Gradient norm of the divergence", note="without its weight"),
    Measure("loss", "Loss"),
)
_REPLIES = (
    Measure("length", "Length of a reply", "tokens"),
    Measure("entropy", "Entropy", "nats per token"),
    Measure("sampler_difference", "Drawn against scored", "nats per token", "the loss takes both for equal"),
)
_ANSWERS = (
    Measure("first_right", "First answer right", "share of replies"),
    Measure("second_right", "Second answer right", "share of replies"),
    Measure("fix_rate", "Fixed by thinking", "share", "of wrong first answers"),
    Measure("break_rate", "Broken by thinking", "share", "of right first answers"),
    Measure("fallback_share", "No first answer given", "share of replies"),
    Measure("blank_thought_share", "Nothing thought", "share of replies"),
)
_COST = (Measure("seconds", "Time of a step", "seconds"),)

_GLANCE = {
    "reward": "Reward",
    "kl": "Divergence",
    "anchor_kl": "From the start",
    "length": "Tokens a reply",
    "seconds": "Seconds a step",
}
"""What the table at the top tells of the beginning and the end."""


def training_page(runs: Sequence[Trained], *, window: int | None = None) -> bytes:
    """The page as HTML, which loads nothing.

    window: logged steps that the moving average is over; None: a twentieth of the longest run's, at least 5.
    """
    width = window or max(5, round(max(len(run.steps) for run in runs) / 20))
    groups = [
        Group(anchor, title, charts)
        for anchor, title, measures in _sections(runs)
        if (charts := [_chart(each, runs, width) for each in measures if _has(each, runs)])
    ]
    return page.render(
        "training.html",
        runs=runs,
        colours=COLOURS,
        window=width,
        groups=groups,
        sections=[("glance", "At a glance"), *((group.anchor, group.title) for group in groups)],
        tables={"glance": _glance(runs, width), "alarms": _alarms_table(runs)},
        planned={run.name: planned(run) for run in runs},
    )


def planned(run: Trained) -> int | None:
    """How many steps the run's settings ask for."""
    found = {} if run.record is None else run.record.settings.get("optimizer", {})
    steps = found.get("steps")
    return steps if isinstance(steps, int) else None


def alarms_of(steps: Sequence[StepRecord]) -> list[tuple[int, int, str]]:
    """First and last step of each alarm, and what it said first: one that is repeated at the next logged step goes on.

    Two alarms are the same if they differ in their numbers alone.
    """
    found: list[tuple[int, int, str]] = []
    going: dict[str, int] = {}
    for step in steps:
        kinds = {_NUMBERS.sub("#", said): said for said in step.alarms}
        going = {kind: place for kind, place in going.items() if kind in kinds}
        for kind, said in kinds.items():
            if kind in going:
                first, _, before = found[going[kind]]
                found[going[kind]] = (first, step.step, before)
            else:
                going[kind] = len(found)
                found.append((step.step, step.step, said))
    return found


_NUMBERS = re.compile(r"\d[\d.,]*")


def _sections(runs: Sequence[Trained]) -> Iterator[tuple[str, str, Sequence[Measure]]]:
    parts = dict.fromkeys(name for run in runs for step in run.steps for name in step.rewards)
    rewards = [Measure(f"reward/{name}", f"Reward: {name}", note="unweighted") for name in parts]
    yield "reward", "Reward", (*_REWARD, *rewards, *_CHANCES)
    yield "divergence", "Divergence", _DIVERGENCE
    yield "gradients", "Gradients", _GRADIENTS
    yield "replies", "Replies", _REPLIES
    yield "answers", "First and second answers", _ANSWERS
    yield "time", "Time", _COST


def _points(run: Trained, key: str) -> list[tuple[int, float]]:
    return [(step.step, value) for step in run.steps if (value := measure(step, key)) is not None]


def _has(each: Measure, runs: Sequence[Trained]) -> bool:
    return any(_points(run, each.key) for run in runs)


def _chart(each: Measure, runs: Sequence[Trained], window: int) -> Chart:
    lines = [Line(run.name, index, _points(run, each.key), alarms_of(run.steps)) for index, run in enumerate(runs)]
    steps = min(run.steps[0].step for run in runs), max(run.steps[-1].step for run in runs)
    return chart(each.title, lines, window=window, steps=steps, unit=each.unit, note=each.note)


def _glance(runs: Sequence[Trained], window: int) -> Table:
    """What each run began and ended with."""
    told = [key for key in _GLANCE if any(_points(run, key) for run in runs)]
    rows = []
    for run in runs:
        cells = []
        for key in told:
            means = moving_average(_points(run, key), window)
            begin = means[min(window, len(means)) - 1] if means else None
            ends = (begin, means[-1] if means else None)
            cells += [DASH if one is None else number(one[1]) for one in ends]
        rows.append((run.name, _stage(run), _progress(run), *cells))
    heads = [f"{_GLANCE[key]}, {end}" for key in told for end in ("first", "last")]
    return Table(
        "training",
        f"Means over the first and over the last {window} logged steps.",
        ("Training", "Stage", "Steps", *heads),
        rows,
    )


def _stage(run: Trained) -> str:
    return DASH if run.record is None else run.record.stage


def _progress(run: Trained) -> str:
    taken, wanted = run.steps[-1].step, planned(run)
    done = f"{taken:,}" if wanted is None or wanted == taken else f"{taken:,} of {wanted:,}"
    return done if run.record is None or run.record.finished else f"{done}, not finished"


def _alarms_table(runs: Sequence[Trained]) -> Table:
    return Table(
        "alarms",
        "What the alarms said when each began; their limits are in [alarms] of the settings.",
        ("Training", "First step", "Last step", "Alarm"),
        [(run.name, f"{first:,}", f"{last:,}", said) for run in runs for first, last, said in alarms_of(run.steps)],
    )
