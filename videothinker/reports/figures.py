"""Figures of bars: shares with 95 % intervals, chance and the observer, side by side."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from videothinker.records import Estimate
from videothinker.reports.drawing import (
    LEGEND_LINE,
    WIDTH,
    Drawing,
    dot,
    ground,
    halo,
    legend,
    legend_lines,
    percent_text,
    themed,
    wrapped,
)

_VALUES = 12
"""Room left of the bars for their values, which nothing else reaches into: right of a bar lie intervals and marks."""


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


def bars(
    name: str,
    caption: str,
    groups: Sequence[str],
    series: Sequence[Series],
    *,
    x_label: str,
    lines: Sequence[Line] = (),
) -> Drawing:
    """Bars of every series within every group, top to bottom, the value left of each bar and its interval at its end.

    Values are fractions in [0, 1], shown in percent; one that is None leaves its place empty and says so.
    """
    return themed(
        name,
        caption,
        _alt(caption, groups, series, lines),
        lambda colours: _draw(groups, series, x_label, lines, colours),
    )


def _draw(
    groups: Sequence[str], series: Sequence[Series], x_label: str, lines: Sequence[Line], colours: dict[str, str]
) -> Figure:
    names = [wrapped(group) for group in groups]
    starts = [0.0]
    for lines_of_name in names:  # in rows: the lines of a group's name, its bars and a gap
        starts.append(starts[-1] + 0.75 * (len(lines_of_name) - 1) + len(series) + 1.15)
    rows = max(starts[-1], 1.0)
    key = _key(series, colours)
    in_key = 0.2 + LEGEND_LINE * (len(legend_lines(key)) - 1) if key else 0.0
    top, bottom = 0.05 + in_key + 0.17 * bool(lines), 0.36
    height = round(0.16 * rows + top + bottom, 2)
    figure = Figure(figsize=(WIDTH, height), facecolor=colours["ground"])
    axes = figure.add_axes((0.02, bottom / height, 0.96, 1 - (top + bottom) / height), facecolor=colours["ground"])
    for row, (name, start) in enumerate(zip(names, starts, strict=False)):
        for index, words in enumerate(name):
            y = start + 0.5 + 0.75 * index
            axes.text(
                -_VALUES, y, words, va="center", fontsize=7, fontweight="bold", color=colours["ink"], bbox=ground(colours)
            )
        for place, one in enumerate(series):
            _bar(axes, y + 0.95 + place, one, row, colours)
    axes.set(ylim=(rows, 0), xlim=(-_VALUES, 103), yticks=[], xticks=range(0, 101, 20))
    axes.tick_params(axis="x", labelsize=7, labelcolor=colours["faint"], length=0, pad=3)
    axes.set_xlabel(x_label, fontsize=7, color=colours["faint"], loc="left", labelpad=2)
    axes.grid(axis="x", color=colours["grid"], linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    for line in lines:
        x = 100 * line.value
        axes.axvline(x, color=colours["ink"], linewidth=0.8, linestyle=(0, (4, 2)), path_effects=halo(colours))
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
        legend(figure, key, colours)
    return figure


def _bar(axes: Axes, y: float, series: Series, row: int, colours: dict[str, str]) -> None:
    """Draw one bar with its interval, its value, and the marks for chance and observer."""
    value, ci95 = series.values[row].value, series.values[row].ci95
    if value is None:
        axes.text(1, y, "nothing to count", va="center", fontsize=7, style="italic", color=colours["faint"])
        return
    axes.barh(y, 100 * value, height=0.82, color=colours[series.colour], linewidth=0)
    axes.text(-1.5, y, f"{100 * value:.1f}", va="center", ha="right", fontsize=7, color=colours["ink"])
    if ci95 is not None:
        low, high = (min(max(bound, 0.0), 1.0) for bound in ci95)
        outline = halo(colours)
        axes.plot([100 * low, 100 * high], [y, y], color=colours["ink"], lw=0.9, solid_capstyle="butt", path_effects=outline)
    if series.points:
        xs = [100 * point for point in series.points[row]]
        axes.plot(xs, [y] * len(xs), clip_on=False, **dot(colours))
    chance = series.chance[row] if series.chance else None
    observer = series.observer[row] if series.observer else None
    if chance is not None:
        _chance(axes, 100 * chance, y, colours)
    if observer is not None:
        axes.plot(100 * observer, y, clip_on=False, zorder=4, **_diamond(colours))


def _chance(axes: Axes, x: float, y: float, colours: dict[str, str]) -> None:
    (line,) = axes.plot([x, x], [y - 0.41, y + 0.41], color=colours["ink"], lw=0.9, solid_capstyle="butt", zorder=3)
    line.set(clip_on=False, path_effects=halo(colours))


def _diamond(colours: dict[str, str]) -> dict[str, Any]:
    ground, ink = colours["ground"], colours["ink"]
    return {"color": ground, "linestyle": "", "marker": "D", "markersize": 3.6, "markeredgecolor": ink, "markeredgewidth": 0.9}


def _key(series: Sequence[Series], colours: dict[str, str]) -> list[Any]:
    """The entries of the legend above the bars: the colours, if there are several, and the marks."""
    key: list[Any] = [Patch(color=colours[one.colour], label=one.name) for one in series] if len(series) > 1 else []
    if any(one.chance for one in series):
        key.append(Line2D([], [], color=colours["ink"], linestyle="", marker="|", markersize=6, label="chance"))
    if any(one.points for one in series):
        key.append(Line2D([], [], label="one seed", **dot(colours)))
    if any(one.observer for one in series):
        key.append(Line2D([], [], label="observer", **_diamond(colours)))
    return key


def _alt(caption: str, groups: Sequence[str], series: Sequence[Series], lines: Sequence[Line]) -> str:
    said = [
        f"{' '.join(part for part in (group, one.name) if part)} {percent_text(one.values[row].value)}"
        for row, group in enumerate(groups)
        for one in series
    ]
    said += [f"line '{line.label}' at {percent_text(line.value)}" for line in lines]
    return f"Bar chart. {caption} Values: {'; '.join(said)}."
