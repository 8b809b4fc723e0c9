"""Figures that only studies have: differences around zero, sweeps over a number, and curves by step."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from videothinker.records import Estimate
from videothinker.reports.drawing import WIDTH, Drawing, dot, ground, legend, percent_text, themed, wrapped
from videothinker.reports.page import points

_FARTHEST = 20.0
"""Points from zero at which the axis of `effects` ends: a collapse would leave no room for what differs by a point."""


class Effect(NamedTuple):
    """One row of `effects`: a difference, with what two sources of chance make of it."""

    label: str
    """What is compared, in words; long ones take several lines."""
    scenes: Estimate
    """Its interval is drawn thick."""
    seeds: Estimate
    """Its interval is drawn thin."""
    points: Sequence[float]
    """The single seeds' differences, drawn as dots."""
    against: str = ""
    """What it is compared with, where the label does not say so."""


def effects(name: str, caption: str, rows: Sequence[Effect], *, x_label: str) -> Drawing:
    """Differences as fractions, shown in points around a line at zero, one row each.

    The axis holds all dots and thick intervals up to 20 points from zero; an arrow says that a row goes on beyond it.
    """
    said = "; ".join(f"{' '.join((row.label, row.against)).strip()} {_in_points(row.scenes)}" for row in rows)
    alt = f"Differences around zero. {caption} Values, with intervals over scenes: {said}."
    return themed(name, caption, alt, lambda colours: _draw_effects(rows, x_label, colours))


class Panel(NamedTuple):
    """One plot of `sweep`: a measure at each value."""

    title: str
    colour: str
    means: Sequence[Estimate]
    """With their intervals, drawn thin; one that is None leaves a gap in the line."""
    points: Sequence[Sequence[float]]
    """At each value the single seeds' measures, drawn as dots."""
    base: float | None = None
    """Drawn as a dashed line."""


def sweep(name: str, caption: str, ticks: Sequence[str], panels: Sequence[Panel], *, x_label: str) -> Drawing:
    """Measures over the values of one number, in small plots one below the other, each with a scale of its own.

    Values stand at equal distances, whatever the numbers. Measures are fractions, shown in percent. A scale holds all dots and
    the base; an interval may go on beyond it.
    """
    said = "; ".join(
        f"{panel.title}: "
        + ", ".join(f"{percent_text(mean.value)} at {tick}" for tick, mean in zip(ticks, panel.means, strict=True))
        for panel in panels
    )
    alt = f"Lines over {x_label}. {caption} Values: {said}."
    return themed(name, caption, alt, lambda colours: _draw_sweep(ticks, panels, x_label, colours))


class Curves(NamedTuple):
    """One row of `curves`: the runs of one arm."""

    label: str
    colour: str
    runs: Sequence[Mapping[str, Sequence[tuple[float, float]]]]
    """For each run the (step, value) pairs of each panel."""


def curves(name: str, caption: str, panels: Mapping[str, str], rows: Sequence[Curves]) -> Drawing:
    """A grid of small plots over steps: a row for each arm, a column for each of `panels` (key: title), one line a run.

    A column has one scale. The runs of the first row stand in grey behind all others.
    """
    ends = {
        row.label: [f"{title} {run[key][-1][1]:.3g}" for run in row.runs[:1] for key, title in panels.items() if run.get(key)]
        for row in rows
    }
    said = "; ".join(f"{label}: {', '.join(values) or 'none'}" for label, values in ends.items())
    alt = f"Curves by step. {caption} Values of the first run at its end: {said}."
    return themed(name, caption, alt, lambda colours: _draw_curves(panels, rows, colours))


def _draw_effects(rows: Sequence[Effect], x_label: str, colours: dict[str, str]) -> Figure:
    shown = [0.0, *(point for row in rows for point in row.points)]
    shown += [bound for row in rows for bound in row.scenes.ci95 or ()]
    low, high = max(min(100 * min(shown), -0.5), -_FARTHEST), min(max(100 * max(shown), 0.5), _FARTHEST)
    reach = 0.08 * (high - low)
    low, high = low - reach, high + reach
    top, bottom = 0.25, 0.36
    names = [wrapped(row.label, 54 if row.against else 30) for row in rows]
    starts = [0.0]
    for row, name in zip(rows, names, strict=True):  # a unit is a line of text; the marks of a row take one more
        starts.append(starts[-1] + len(name) + bool(row.against) + 1.1)
    n_lines = max(starts[-1], 2.0)
    height = round(0.14 * n_lines + top + bottom, 2)
    figure = Figure(figsize=(WIDTH, height), facecolor=colours["ground"])
    axes = figure.add_axes((0.04, bottom / height, 0.92, 1 - (top + bottom) / height), facecolor=colours["ground"])
    axes.set(xlim=(low, high), ylim=(n_lines, 0), yticks=[])
    axes.tick_params(axis="x", labelsize=7, labelcolor=colours["faint"], length=0, pad=3)
    axes.set_xlabel(x_label, fontsize=7, color=colours["faint"], loc="left", labelpad=2)
    axes.grid(axis="x", color=colours["grid"], linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.axvline(0, color=colours["ink"], linewidth=0.8)
    words: dict[str, Any] = {"va": "center", "fontsize": 7, "bbox": ground(colours)}
    for row, name, start in zip(rows, names, starts, strict=False):
        for index, part in enumerate(name):
            axes.text(low, start + 0.5 + index, part, fontweight="bold", color=colours["ink"], **words)
        last = start + len(name) - 0.5
        if row.against:
            last += 1
            axes.text(low, last, row.against, color=colours["faint"], **words)
        if row.scenes.value is not None:
            axes.text(high, last, _in_points(row.scenes), ha="right", color=colours["ink"], **words)
        _effect(axes, last + 0.9, row, (low, high), colours)
    key = [
        Line2D([], [], color=colours["blue"], lw=3, label="over scenes"),
        Line2D([], [], color=colours["ink"], lw=0.9, label="over seeds"),
        Line2D([], [], label="one seed", **dot(colours)),
    ]
    legend(figure, key, colours)
    return figure


def _effect(axes: Axes, y: float, row: Effect, limits: tuple[float, float], colours: dict[str, str]) -> None:
    if row.scenes.value is None:
        axes.text(limits[0], y, "nothing to compare", va="center", fontsize=7, style="italic", color=colours["faint"])
        return
    for interval, colour, width in ((row.scenes.ci95, "blue", 3.0), (row.seeds.ci95, "ink", 0.9)):
        if interval is not None:
            axes.plot([100 * bound for bound in interval], [y, y], color=colours[colour], lw=width, solid_capstyle="butt")
    axes.plot([100 * point for point in row.points], [y] * len(row.points), **dot(colours))
    reached = [100 * x for x in (*row.points, *(row.scenes.ci95 or ()), *(row.seeds.ci95 or ()))]
    for end, marker, beyond in ((limits[0], "<", min(reached) < limits[0]), (limits[1], ">", max(reached) > limits[1])):
        if beyond:
            axes.plot(end, y, color=colours["ink"], marker=marker, markersize=3.5, clip_on=False)


def _draw_sweep(ticks: Sequence[str], panels: Sequence[Panel], x_label: str, colours: dict[str, str]) -> Figure:
    top, bottom, pitch = 0.22, 0.36, 1.0
    height = round(pitch * len(panels) + top + bottom, 2)
    figure = Figure(figsize=(WIDTH, height), facecolor=colours["ground"])
    left, dashes = 0.09, (0, (3, 2))
    for index, panel in enumerate(panels):
        low = bottom + (len(panels) - 1 - index) * pitch
        axes = figure.add_axes((left, low / height, 0.98 - left, 0.74 / height), facecolor=colours["ground"])
        shown = [point for points in panel.points for point in points] + ([] if panel.base is None else [panel.base])
        axes.set(xlim=(-0.5, len(ticks) - 0.5), ylim=_padded([100 * value for value in shown]), xticks=range(len(ticks)))
        lowest = index == len(panels) - 1
        axes.set_xticklabels(ticks if lowest else [])
        axes.locator_params(axis="y", nbins=4)
        axes.tick_params(labelsize=7, labelcolor=colours["faint"], length=0, pad=3)
        axes.grid(axis="y", color=colours["grid"], linewidth=0.5)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        if panel.base is not None:
            axes.axhline(100 * panel.base, color=colours["faint"], lw=0.9, linestyle=dashes)
        line = [float("nan") if mean.value is None else 100 * mean.value for mean in panel.means]
        axes.plot(range(len(line)), line, color=colours[panel.colour], lw=1.6)
        for x, (mean, dots) in enumerate(zip(panel.means, panel.points, strict=True)):
            if mean.ci95 is not None:
                axes.plot([x, x], [100 * bound for bound in mean.ci95], color=colours["ink"], lw=0.9, solid_capstyle="butt")
            axes.plot([x] * len(dots), [100 * point for point in dots], **dot(colours))
        y = (low + 0.78) / height
        figure.text(left, y, panel.title, va="bottom", fontsize=7, fontweight="bold", color=colours["ink"])
        if lowest:
            axes.set_xlabel(x_label, fontsize=7, color=colours["faint"], loc="left", labelpad=2)
    key = [
        Line2D([], [], label="one seed", **dot(colours)),
        Line2D([], [], color=colours["ink"], lw=0.9, label="95 % over seeds"),
        Line2D([], [], color=colours["faint"], lw=0.9, linestyle=dashes, label="the start model"),
    ]
    legend(figure, key, colours)
    return figure


def _draw_curves(panels: Mapping[str, str], rows: Sequence[Curves], colours: dict[str, str]) -> Figure:
    top, bottom, pitch = 0.16, 0.36, 0.8
    height = round(pitch * max(len(rows), 1) + top + bottom, 2)
    figure = Figure(figsize=(WIDTH, height), facecolor=colours["ground"])
    width, gap, air = 0.96 / len(panels), 0.085, 0.02
    last = max((step for row in rows for run in row.runs for line in run.values() for step, _ in line), default=1)
    for column, (key, title) in enumerate(panels.items()):
        lines = [[run[key] for run in row.runs if run.get(key)] for row in rows]
        limits = _padded([value for row_lines in lines for line in row_lines for _, value in line])
        for index, row in enumerate(rows):
            left, low = 0.02 + column * width + gap, bottom + (len(rows) - 1 - index) * pitch
            axes = figure.add_axes((left, low / height, width - gap - air, 0.48 / height), facecolor=colours["ground"])
            axes.set(xlim=(0, last), ylim=limits)
            axes.locator_params(axis="y", nbins=3)
            axes.locator_params(axis="x", nbins=3, integer=True)
            lowest = index == len(rows) - 1
            axes.tick_params(labelsize=6.5, labelcolor=colours["faint"], length=0, pad=2, labelbottom=lowest)
            axes.grid(color=colours["grid"], linewidth=0.5)
            axes.spines[:].set_visible(False)
            for line in lines[0] if index else ():
                axes.plot(*zip(*line, strict=True), color=colours["faint"], lw=0.5)
            for line in lines[index]:
                axes.plot(*zip(*line, strict=True), color=colours[row.colour], lw=1)
            if not lines[index]:
                axes.text(
                    0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", fontsize=7, color=colours["faint"]
                )
            if index == 0:
                figure.text(left, 1, title, va="top", fontsize=7, color=colours["faint"])
            if column == 0:
                y = (low + 0.6) / height
                figure.text(
                    0.02,
                    y,
                    textwrap.shorten(row.label, 46, placeholder=" \u2026"),
                    fontsize=7,
                    fontweight="bold",
                    color=colours["ink"],
                )
            if lowest and column == 0:
                axes.set_xlabel("step", fontsize=7, color=colours["faint"], loc="left", labelpad=1)
    return figure


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Limits that hold all values, with some air."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    reach = 0.08 * (high - low) or 0.1
    return low - reach, high + reach


def _in_points(value: Estimate) -> str:
    """ "+0.9 [+0.5, +1.4]", with true minus signs."""
    return "nothing to compare" if value.value is None else points(value)
