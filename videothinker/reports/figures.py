"""Every figure of the reports, in a light and a dark theme: bars with 95 % intervals, differences around zero, curves by step.

Figures are as wide as one column of a paper (3.4 inches), with text of 7 points, as SVG and as PNG at twice the usual
resolution. The same numbers give the same bytes, because SVG ids have a fixed salt, there are no dates, and the font is
matplotlib's own.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from videothinker.records import Estimate
from videothinker.reports.page import signed

_WIDTH = 3.4
"""Width in inches: one column of a two-column paper."""
_FARTHEST = 20.0
"""Percentage points from zero at which the axis of `effects` ends. A longer axis, for a collapse, would leave no room for
differences of a point."""

# Okabe and Ito's colours (told apart with any colour vision): blue and vermillion on white, sky blue and orange on black.
_THEMES = {
    "light": {
        "ground": "#ffffff",
        "ink": "#1a1c1f",
        "faint": "#5c636b",
        "grid": "#e3e6ea",
        "blue": "#0072b2",
        "green": "#009e73",
        "purple": "#cc79a7",
        "orange": "#d55e00",
    },
    "dark": {
        "ground": "#16181c",
        "ink": "#eceef1",
        "faint": "#a7aeb7",
        "grid": "#30343b",
        "blue": "#56b4e9",
        "green": "#2fc497",
        "purple": "#cc79a7",
        "orange": "#e69f00",
    },
}


class Series(NamedTuple):
    """One colour of bars: a value for each group."""

    name: str
    colour: str
    """"blue" (observational), "orange" (inferential), "green" or "purple"."""
    values: Sequence[Estimate]
    chance: Sequence[float | None] = ()
    """Chance levels as fractions, marked on each bar; empty for no marks."""
    observer: Sequence[float | None] = ()
    """The observer's values, marked in the same way."""
    points: Sequence[Sequence[float]] = ()
    """For each group the single runs that the value is a mean of, drawn as dots; empty for no dots."""


class Line(NamedTuple):
    """A dashed line across all bars."""

    label: str
    value: float
    """Where the line stands, as a fraction."""


class Drawing(NamedTuple):
    """A finished figure: its files, and what the page needs to show it."""

    name: str
    caption: str
    alt: str
    """What the figure shows, in words, for those who cannot see it."""
    files: dict[str, bytes]
    """figure-NAME.png and .svg, figure-NAME-dark.png and .svg."""

    def uri(self, theme: str) -> str:
        """The SVG as a data URI. theme: "light" or "dark"."""
        svg = self.files[f"figure-{self.name}{'-dark' if theme == 'dark' else ''}.svg"]
        return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def bars(
    name: str,
    caption: str,
    groups: Sequence[str],
    series: Sequence[Series],
    *,
    x_label: str,
    lines: Sequence[Line] = (),
) -> Drawing:
    """Bars of every series within every group, top to bottom, with interval and value at the end of each bar.

    Values are fractions in [0, 1], shown in percent; one that is None leaves its place empty and says so.
    """
    return _themed(
        name,
        caption,
        _alt(caption, groups, series, lines),
        lambda colours: _draw(groups, series, x_label, lines, colours),
    )


class Effect(NamedTuple):
    """One row of `effects`: a difference, with what two sources of chance make of it."""

    label: str
    scenes: Estimate
    """Its interval is drawn thick."""
    seeds: Estimate
    """Its interval is drawn thin."""
    points: Sequence[float]
    """The single seeds' differences, drawn as dots."""


def effects(name: str, caption: str, rows: Sequence[Effect], *, x_label: str) -> Drawing:
    """Differences, given as fractions, in percentage points around a line at zero, with one row each.

    The axis holds all dots and thick intervals up to 20 points from zero; an arrow says that a row goes on beyond it.
    """
    said = "; ".join(f"{row.label} {_in_points(row.scenes)}" for row in rows)
    alt = f"Differences around zero. {caption} Values, with intervals over scenes: {said}."
    return _themed(name, caption, alt, lambda colours: _draw_effects(rows, x_label, colours))


class Panel(NamedTuple):
    """One plot of `sweep`: a measure at each value."""

    title: str
    colour: str
    means: Sequence[Estimate]
    """The means with their intervals, which are drawn thin; one that is None leaves a gap in the line."""
    points: Sequence[Sequence[float]]
    """For each value the single seeds' measures, drawn as dots."""
    base: float | None = None
    """The start model's measure, drawn as a dashed line."""


def sweep(name: str, caption: str, ticks: Sequence[str], panels: Sequence[Panel], *, x_label: str) -> Drawing:
    """Measures over the values of one number, in small plots one below the other, each with a scale of its own.

    Values stand at equal distances, whatever their numbers are. Measures are fractions, shown in percent. A scale holds all
    dots and the base; an interval may go on beyond it.
    """
    said = "; ".join(
        f"{panel.title}: "
        + ", ".join(f"{_percent(mean.value)} at {tick}" for tick, mean in zip(ticks, panel.means, strict=True))
        for panel in panels
    )
    alt = f"Lines over {x_label}. {caption} Values: {said}."
    return _themed(name, caption, alt, lambda colours: _draw_sweep(ticks, panels, x_label, colours))


class Curves(NamedTuple):
    """One row of `curves`: the runs of one arm."""

    label: str
    colour: str
    runs: Sequence[Mapping[str, Sequence[tuple[float, float]]]]
    """For each run the (step, value) pairs of each panel."""


def curves(name: str, caption: str, panels: Mapping[str, str], rows: Sequence[Curves]) -> Drawing:
    """A grid of small plots over steps: one row per arm, one column for each of `panels` (key: title), one line per run.

    A column has one scale. The runs of the first row stand in grey behind all others.
    """
    ends = {
        row.label: [f"{title} {run[key][-1][1]:.3g}" for run in row.runs[:1] for key, title in panels.items() if run.get(key)]
        for row in rows
    }
    said = "; ".join(f"{label}: {', '.join(values) or 'none'}" for label, values in ends.items())
    alt = f"Curves by step. {caption} Values of the first run at its end: {said}."
    return _themed(name, caption, alt, lambda colours: _draw_curves(panels, rows, colours))


def _themed(name: str, caption: str, alt: str, draw: Callable[[dict[str, str]], Figure]) -> Drawing:
    files = {}
    for theme, colours in _THEMES.items():
        figure = draw(colours)
        stem = f"figure-{name}" + ("-dark" if theme == "dark" else "")
        files[f"{stem}.png"] = _save(figure, "png", dpi=400, metadata={"Software": None})
        files[f"{stem}.svg"] = _save(figure, "svg", metadata={"Date": None, "Creator": None})
    return Drawing(name, caption, alt, files)


def _draw(
    groups: Sequence[str], series: Sequence[Series], x_label: str, lines: Sequence[Line], colours: dict[str, str]
) -> Figure:
    pitch = len(series) + 1.15  # rows of one group: its name, its bars and a gap
    rows = pitch * max(len(groups), 1)
    key = _key(series, colours)
    top, bottom = 0.05 + 0.2 * bool(key) + 0.17 * bool(lines), 0.36
    height = round(0.16 * rows + top + bottom, 2)
    figure = Figure(figsize=(_WIDTH, height), facecolor=colours["ground"])
    axes = figure.add_axes((0.02, bottom / height, 0.96, 1 - (top + bottom) / height), facecolor=colours["ground"])
    for row, group in enumerate(groups):
        y = row * pitch + 0.5
        axes.text(0, y, group, va="center", fontsize=7, fontweight="bold", color=colours["ink"], bbox=_ground(colours))
        for place, one in enumerate(series):
            _bar(axes, y + 0.95 + place, one, row, colours)
    axes.set(ylim=(rows, 0), xlim=(0, 114), yticks=[], xticks=range(0, 101, 20))
    axes.tick_params(axis="x", labelsize=7, labelcolor=colours["faint"], length=0, pad=3)
    axes.set_xlabel(x_label, fontsize=7, color=colours["faint"], loc="left", labelpad=2)
    axes.grid(axis="x", color=colours["grid"], linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    for line in lines:
        x = 100 * line.value
        axes.axvline(x, color=colours["ink"], linewidth=0.8, linestyle=(0, (4, 2)), path_effects=_halo(colours))
        axes.annotate(
            line.label,
            (x, 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center" if x < 80 else "right",
            fontsize=7,
            color=colours["ink"],
        )
    if key:
        _legend(figure, key, colours)
    return figure


def _legend(figure: Figure, key: Sequence[Any], colours: dict[str, str]) -> None:
    figure.legend(
        handles=key,
        loc="upper left",
        bbox_to_anchor=(0, 1),
        ncols=len(key),
        frameon=False,
        fontsize=7,
        labelcolor=colours["ink"],
        handlelength=0.9,
        handleheight=0.9,
        handletextpad=0.4,
        columnspacing=1.0,
        borderpad=0.2,
        borderaxespad=0.1,
    )


def _halo(colours: dict[str, str]) -> list[Any]:
    """A halo that keeps lines readable where they cross a bar or the grid."""
    return [withStroke(linewidth=2, foreground=colours["ground"])]


def _ground(colours: dict[str, str]) -> dict[str, Any]:
    """A box that keeps letters readable before lines and grid; halos would make an SVG with much text five times as large."""
    return {"facecolor": colours["ground"], "linewidth": 0, "pad": 0.6}


def _bar(axes: Axes, y: float, series: Series, row: int, colours: dict[str, str]) -> None:
    """Draw one bar with its interval, its value, and the marks for chance and observer."""
    value, ci95 = series.values[row].value, series.values[row].ci95
    if value is None:
        axes.text(1, y, "nothing to count", va="center", fontsize=7, style="italic", color=colours["faint"])
        return
    axes.barh(y, 100 * value, height=0.82, color=colours[series.colour], linewidth=0)
    end = value
    if ci95 is not None:
        low, high = (min(max(bound, 0.0), 1.0) for bound in ci95)
        end = max(end, high)
        halo = _halo(colours)
        axes.plot([100 * low, 100 * high], [y, y], color=colours["ink"], lw=0.9, solid_capstyle="butt", path_effects=halo)
    if series.points:
        xs = [100 * point for point in series.points[row]]
        axes.plot(xs, [y] * len(xs), clip_on=False, **_dot(colours))
        end = max([end, *series.points[row]])
    chance = series.chance[row] if series.chance else None
    observer = series.observer[row] if series.observer else None
    if chance is not None:
        _chance(axes, 100 * chance, y, colours)
    if observer is not None:
        axes.plot(100 * observer, y, clip_on=False, zorder=4, **_diamond(colours))
    for mark in sorted(mark for mark in (chance, observer) if mark is not None):
        if end - 0.02 < mark < end + 0.12:  # the number would lie on the mark, and steps aside
            end = mark + 0.01
    axes.text(100 * end + 1.5, y, f"{100 * value:.1f}", va="center", fontsize=7, color=colours["ink"], bbox=_ground(colours))


def _chance(axes: Axes, x: float, y: float, colours: dict[str, str]) -> None:
    (line,) = axes.plot([x, x], [y - 0.41, y + 0.41], color=colours["ink"], lw=0.9, solid_capstyle="butt", zorder=3)
    line.set(clip_on=False, path_effects=_halo(colours))


def _dot(colours: dict[str, str]) -> dict[str, Any]:
    ground, ink = colours["ground"], colours["ink"]
    return {"color": ground, "linestyle": "", "marker": "o", "markersize": 2.8, "markeredgecolor": ink, "markeredgewidth": 0.6}


def _diamond(colours: dict[str, str]) -> dict[str, Any]:
    ground, ink = colours["ground"], colours["ink"]
    return {"color": ground, "linestyle": "", "marker": "D", "markersize": 3.6, "markeredgecolor": ink, "markeredgewidth": 0.9}


def _key(series: Sequence[Series], colours: dict[str, str]) -> list[Any]:
    """The entries of the legend above the bars: the colours, if there are several, and the marks."""
    key: list[Any] = [Patch(color=colours[one.colour], label=one.name) for one in series] if len(series) > 1 else []
    if any(one.chance for one in series):
        key.append(Line2D([], [], color=colours["ink"], linestyle="", marker="|", markersize=6, label="chance"))
    if any(one.points for one in series):
        key.append(Line2D([], [], label="one seed", **_dot(colours)))
    if any(one.observer for one in series):
        key.append(Line2D([], [], label="observer", **_diamond(colours)))
    return key


def _draw_effects(rows: Sequence[Effect], x_label: str, colours: dict[str, str]) -> Figure:
    shown = [0.0, *(point for row in rows for point in row.points)]
    shown += [bound for row in rows for bound in row.scenes.ci95 or ()]
    low, high = max(min(100 * min(shown), -0.5), -_FARTHEST), min(max(100 * max(shown), 0.5), _FARTHEST)
    reach = 0.08 * (high - low)
    low, high = low - reach, high + reach
    top, bottom = 0.25, 0.36
    height = round(0.3 * max(len(rows), 1) + top + bottom, 2)
    figure = Figure(figsize=(_WIDTH, height), facecolor=colours["ground"])
    axes = figure.add_axes((0.04, bottom / height, 0.92, 1 - (top + bottom) / height), facecolor=colours["ground"])
    axes.set(xlim=(low, high), ylim=(2 * max(len(rows), 1), 0), yticks=[])
    axes.tick_params(axis="x", labelsize=7, labelcolor=colours["faint"], length=0, pad=3)
    axes.set_xlabel(x_label, fontsize=7, color=colours["faint"], loc="left", labelpad=2)
    axes.grid(axis="x", color=colours["grid"], linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.axvline(0, color=colours["ink"], linewidth=0.8)
    for index, row in enumerate(rows):
        y = 2 * index + 0.5
        words: dict[str, Any] = {"va": "center", "fontsize": 7, "color": colours["ink"], "bbox": _ground(colours)}
        axes.text(low, y, row.label, fontweight="bold", **words)
        if row.scenes.value is not None:
            axes.text(high, y, _in_points(row.scenes), ha="right", **words)
        _effect(axes, 2 * index + 1.35, row, (low, high), colours)
    key = [
        Line2D([], [], color=colours["blue"], lw=3, label="over scenes"),
        Line2D([], [], color=colours["ink"], lw=0.9, label="over seeds"),
        Line2D([], [], label="one seed", **_dot(colours)),
    ]
    _legend(figure, key, colours)
    return figure


def _effect(axes: Axes, y: float, row: Effect, limits: tuple[float, float], colours: dict[str, str]) -> None:
    if row.scenes.value is None:
        axes.text(limits[0], y, "nothing to compare", va="center", fontsize=7, style="italic", color=colours["faint"])
        return
    for interval, colour, width in ((row.scenes.ci95, "blue", 3.0), (row.seeds.ci95, "ink", 0.9)):
        if interval is not None:
            axes.plot([100 * bound for bound in interval], [y, y], color=colours[colour], lw=width, solid_capstyle="butt")
    axes.plot([100 * point for point in row.points], [y] * len(row.points), **_dot(colours))
    reached = [100 * x for x in (*row.points, *(row.scenes.ci95 or ()), *(row.seeds.ci95 or ()))]
    for end, marker, beyond in ((limits[0], "<", min(reached) < limits[0]), (limits[1], ">", max(reached) > limits[1])):
        if beyond:
            axes.plot(end, y, color=colours["ink"], marker=marker, markersize=3.5, clip_on=False)


def _draw_sweep(ticks: Sequence[str], panels: Sequence[Panel], x_label: str, colours: dict[str, str]) -> Figure:
    top, bottom, pitch = 0.22, 0.36, 1.0
    height = round(pitch * len(panels) + top + bottom, 2)
    figure = Figure(figsize=(_WIDTH, height), facecolor=colours["ground"])
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
        for x, (mean, points) in enumerate(zip(panel.means, panel.points, strict=True)):
            if mean.ci95 is not None:
                axes.plot([x, x], [100 * bound for bound in mean.ci95], color=colours["ink"], lw=0.9, solid_capstyle="butt")
            axes.plot([x] * len(points), [100 * point for point in points], **_dot(colours))
        y = (low + 0.78) / height
        figure.text(left, y, panel.title, va="bottom", fontsize=7, fontweight="bold", color=colours["ink"])
        if lowest:
            axes.set_xlabel(x_label, fontsize=7, color=colours["faint"], loc="left", labelpad=2)
    key = [
        Line2D([], [], label="one seed", **_dot(colours)),
        Line2D([], [], color=colours["ink"], lw=0.9, label="95 % over seeds"),
        Line2D([], [], color=colours["faint"], lw=0.9, linestyle=dashes, label="the start model"),
    ]
    _legend(figure, key, colours)
    return figure


def _draw_curves(panels: Mapping[str, str], rows: Sequence[Curves], colours: dict[str, str]) -> Figure:
    top, bottom, pitch = 0.16, 0.36, 0.8
    height = round(pitch * max(len(rows), 1) + top + bottom, 2)
    figure = Figure(figsize=(_WIDTH, height), facecolor=colours["ground"])
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
                figure.text(0.02, y, row.label, fontsize=7, fontweight="bold", color=colours["ink"])
            if lowest and column == 0:
                axes.set_xlabel("step", fontsize=7, color=colours["faint"], loc="left", labelpad=1)
    return figure


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis that hold all values, with some room around them."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    reach = 0.08 * (high - low) or 0.1
    return low - reach, high + reach


def _in_points(value: Estimate) -> str:
    """A difference with its interval, in percentage points: "+0.9 [+0.5, +1.4]", with true minus signs."""
    if value.value is None:
        return "nothing to compare"
    interval = "" if value.ci95 is None else f" [{signed(value.ci95[0])}, {signed(value.ci95[1])}]"
    return f"{signed(value.value)}{interval}"


def _save(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "videothinker", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=kind, facecolor=figure.get_facecolor(), **options)
    return buffer.getvalue()


def _alt(caption: str, groups: Sequence[str], series: Sequence[Series], lines: Sequence[Line]) -> str:
    said = [
        f"{' '.join(part for part in (group, one.name) if part)} {_percent(one.values[row].value)}"
        for row, group in enumerate(groups)
        for one in series
    ]
    said += [f"line '{line.label}' at {_percent(line.value)}" for line in lines]
    return f"Bar chart. {caption} Values: {'; '.join(said)}."


def _percent(value: float | None) -> str:
    return "nothing to count" if value is None else f"{100 * value:.1f} %"
