"""Line charts over steps as inline SVG: their geometry, worked out here and drawn by `templates/macros.html`.

Unlike the figures of `drawing`, which are made for print, these take the page's colours and say a value where the pointer is.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

WIDTH, HEIGHT = 420, 210
"""Of a chart, in the SVG's units; a page shows it at about as many pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 402, 12, 184
"""Edges of the part that lines are drawn in."""
_MOST_POINTS = 1000
"""Points of a line; a longer one is drawn as means of as many neighbours as it takes."""
_MOST_SPOTS = 150
"""Places of a chart that say their values."""

Points = Sequence[tuple[int, float]]
"""(step, value) pairs in order of their steps."""


class Line(NamedTuple):
    """What one run measured."""

    run: str
    colour: int
    """Which of the page's colours for runs it has, from 0."""
    points: Points
    alarms: Sequence[tuple[int, int, str]] = ()
    """First and last step of each alarm, and what it said."""


class Tick(NamedTuple):
    """A number at an axis."""

    at: float
    text: str


class Stroke(NamedTuple):
    """One run's two lines, as the `d` of an SVG path."""

    colour: int
    raw: str
    mean: str
    end: tuple[float, float]
    """Where the moving average ends."""


class Area(NamedTuple):
    """A part of the chart from top to bottom that says something where the pointer is on it."""

    x: float
    width: float
    words: str


class Chart(NamedTuple):
    """All that the template draws."""

    title: str
    unit: str
    note: str
    alt: str
    """What the chart says, in words, for those who cannot see it."""
    strokes: list[Stroke]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    alarms: list[Area]
    spots: list[Area]
    left: int = _LEFT
    right: int = _RIGHT
    top: int = _TOP
    bottom: int = _BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def moving_average(points: Points, window: int) -> list[tuple[int, float]]:
    """At each point the mean of its value and those before it, `window` values at most; fewer at the beginning."""
    found = []
    for index, (step, _) in enumerate(points):
        taken = [value for _, value in points[max(0, index + 1 - window) : index + 1]]
        found.append((step, math.fsum(taken) / len(taken)))
    return found


def chart(title: str, lines: Sequence[Line], *, window: int, steps: tuple[int, int], unit: str = "", note: str = "") -> Chart:
    """A chart of every line that has a point; of the others nothing is shown.

    steps: first and last step of the axis, which may hold more than the lines.
    window: how many values the moving average is over. unit: of the values; "" for none.
    """
    shown = [line for line in lines if line.points]
    means = [moving_average(line.points, window) for line in shown]
    values = [value for line in shown for _, value in line.points]
    low, high = _limits(values)
    first, last = steps
    last = max(last, first + 1)

    def x(step: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (step - first) / (last - first), 1)

    def y(value: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low), 1)

    def path(points: Points) -> str:
        return "M" + "L".join(f"{x(step)},{y(value)}" for step, value in _thinned(points))

    strokes = [
        Stroke(line.colour, path(line.points), path(mean), (x(mean[-1][0]), y(mean[-1][1])))
        for line, mean in zip(shown, means, strict=True)
    ]
    named = len(lines) > 1
    alarms = [
        Area(x(begin) - 1.5, x(end) - x(begin) + 3, f"{f'{line.run}, ' if named else ''}{_steps(begin, end)}: {said}")
        for line in shown
        for begin, end, said in line.alarms
    ]
    ends = [f"{line.run} {number(mean[-1][1])}" for line, mean in zip(shown, means, strict=True)]
    return Chart(
        title,
        unit,
        note,
        f"{title} by step, {first} to {last}. Moving average at the end: {', '.join(ends)}.",
        strokes,
        [Tick(x(step), f"{step:,.0f}") for step in ticks(first, last, 5, whole=True)],
        [Tick(y(value), tick_text(value)) for value in ticks(low, high, 4)],
        alarms,
        _spots(shown, means, x, named=named),
    )


def ticks(low: float, high: float, n: int, *, whole: bool = False) -> list[float]:
    """Round numbers from low to high, about n of them: multiples of 1, 2 or 5 times a power of ten.

    whole: whole numbers alone.
    """
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = max(step, 1.0)
    begin, end = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(begin, end + 1)]


def reach(values: Sequence[float], least: float, within: tuple[float, float]) -> tuple[float, float]:
    """Limits that hold all values with some air, at least so far apart; `within` keeps the air from what no value can be."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    wide = min(max(1.16 * (high - low), least), within[1] - within[0])
    begin = min(max((low + high - wide) / 2, within[0]), within[1] - wide)
    return begin, begin + wide


def tick_text(value: float) -> str:
    """A round number at an axis: "1,500", "0.25", "2e-05"; with a true minus sign."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"
    return text.replace("-", "\u2212")


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """What the axis holds: all values, with some air, but nothing below 0 where no value is."""
    low, high = min(values), max(values)
    reach = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    return (low - reach if low < 0 else max(low - reach, 0.0)), high + reach


def _thinned(points: Points) -> list[tuple[float, float]]:
    """As many points as can be seen: means over neighbours where there are more."""
    width = -(-len(points) // _MOST_POINTS)
    bins = [points[start : start + width] for start in range(0, len(points), width)]
    return [(_mean([step for step, _ in some]), _mean([value for _, value in some])) for some in bins]


def _spots(lines: Sequence[Line], means: Sequence[Points], x: Callable[[float], float], *, named: bool) -> list[Area]:
    """Strips side by side; each says the values of its step, or of its last one where it holds several."""
    steps = sorted({step for line in lines for step, _ in line.points})
    width = -(-len(steps) // _MOST_SPOTS)
    told = steps[width - 1 :: width]
    told += [steps[-1]] if told[-1:] != steps[-1:] else []
    by_step = [
        {step: (value, mean) for (step, value), (_, mean) in zip(line.points, average, strict=True)}
        for line, average in zip(lines, means, strict=True)
    ]
    edges = [_LEFT - 4.0, *((x(a) + x(b)) / 2 for a, b in pairwise(told)), _RIGHT + 4.0]
    found = []
    for step, (begin, end) in zip(told, pairwise(edges), strict=True):
        words = [
            f"{f'{line.run}: ' if named else ''}{number(of[step][0])}, average {number(of[step][1])}"
            for line, of in zip(lines, by_step, strict=True)
            if step in of
        ]
        found.append(Area(round(begin, 1), round(end - begin, 1), "\n".join([f"step {step:,}", *words])))
    return found


def _steps(first: int, last: int) -> str:
    return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def number(value: float) -> str:
    """A measured number with four digits and a true minus sign: 0.012345 is "0.01234", 18473 is "18,470"."""
    text = f"{float(f'{value:.4g}'):,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "\u2212")
