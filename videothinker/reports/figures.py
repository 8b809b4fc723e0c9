"""Every figure of the reports: horizontal bars with 95 % intervals, drawn by one function in a light and a dark theme.

One column of a paper wide (3.4 inches), text of 7 points; PNG at twice the usual resolution, and SVG. The same numbers give
the same bytes: fixed salt for SVG ids, no dates, matplotlib's own font.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from videothinker.records import Estimate

_WIDTH = 3.4
"""Inches: one column of a two-column paper."""

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
    """Marked on each bar, as fractions; empty: no marks."""
    observer: Sequence[float | None] = ()


class Line(NamedTuple):
    """A dashed line across all bars."""

    label: str
    value: float
    """As a fraction."""


class Drawing(NamedTuple):
    """A finished figure: its files, and what the page needs to show it."""

    name: str
    caption: str
    alt: str
    """What the figure says, in words, for those who cannot see it."""
    files: dict[str, bytes]
    """figure-NAME.png and .svg, figure-NAME-dark.png and .svg."""

    def uri(self, theme: str) -> str:
        """The SVG as a data URI; `theme` "light" or "dark"."""
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
    files = {}
    for theme, colours in _THEMES.items():
        figure = _draw(groups, series, x_label, lines, colours)
        stem = f"figure-{name}" + ("-dark" if theme == "dark" else "")
        files[f"{stem}.png"] = _save(figure, "png", dpi=400, metadata={"Software": None})
        files[f"{stem}.svg"] = _save(figure, "svg", metadata={"Date": None, "Creator": None})
    return Drawing(name, caption, _alt(caption, groups, series, lines), files)


def _draw(
    groups: Sequence[str], series: Sequence[Series], x_label: str, lines: Sequence[Line], colours: dict[str, str]
) -> Figure:
    pitch = len(series) + 1.15  # rows of one group: its name, its bars and a gap
    rows = pitch * len(groups)
    key = _key(series, colours)
    top, bottom = 0.05 + 0.2 * bool(key) + 0.17 * bool(lines), 0.36
    height = round(0.16 * rows + top + bottom, 2)
    figure = Figure(figsize=(_WIDTH, height), facecolor=colours["ground"])
    axes = figure.add_axes((0.02, bottom / height, 0.96, 1 - (top + bottom) / height), facecolor=colours["ground"])
    for row, group in enumerate(groups):
        y = row * pitch + 0.5
        axes.text(0, y, group, va="center", fontsize=7, fontweight="bold", color=colours["ink"], path_effects=_halo(colours))
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
    return figure


def _halo(colours: dict[str, str]) -> list[Any]:
    """Keeps lines and letters readable where they cross a bar or the grid."""
    return [withStroke(linewidth=2, foreground=colours["ground"])]


def _bar(axes: Axes, y: float, series: Series, row: int, colours: dict[str, str]) -> None:
    """One bar with interval, value and the marks for chance and observer."""
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
    chance = series.chance[row] if series.chance else None
    observer = series.observer[row] if series.observer else None
    if chance is not None:
        _chance(axes, 100 * chance, y, colours)
    if observer is not None:
        axes.plot(100 * observer, y, clip_on=False, zorder=4, **_diamond(colours))
    for mark in sorted(mark for mark in (chance, observer) if mark is not None):
        if end - 0.02 < mark < end + 0.12:  # the number steps aside
            end = mark + 0.01
    ground = {"facecolor": colours["ground"], "linewidth": 0, "pad": 0.6}  # the number stands before lines and grid
    axes.text(100 * end + 1.5, y, f"{100 * value:.1f}", va="center", fontsize=7, color=colours["ink"], bbox=ground)


def _chance(axes: Axes, x: float, y: float, colours: dict[str, str]) -> None:
    (line,) = axes.plot([x, x], [y - 0.41, y + 0.41], color=colours["ink"], lw=0.9, solid_capstyle="butt", zorder=3)
    line.set(clip_on=False, path_effects=_halo(colours))


def _diamond(colours: dict[str, str]) -> dict[str, Any]:
    ground, ink = colours["ground"], colours["ink"]
    return {"color": ground, "linestyle": "", "marker": "D", "markersize": 3.6, "markeredgecolor": ink, "markeredgewidth": 0.9}


def _key(series: Sequence[Series], colours: dict[str, str]) -> list[Any]:
    """What the legend above the bars names: colours, if several, and marks."""
    key: list[Any] = [Patch(color=colours[one.colour], label=one.name) for one in series] if len(series) > 1 else []
    if any(one.chance for one in series):
        key.append(Line2D([], [], color=colours["ink"], linestyle="", marker="|", markersize=6, label="chance"))
    if any(one.observer for one in series):
        key.append(Line2D([], [], label="observer", **_diamond(colours)))
    return key


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
