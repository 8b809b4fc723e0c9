"""The figure of what tokens buy: a line over all stops for each arm that answers twice, and the other arms as marks beside."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from videothinker.records.study import Stage, Study
from videothinker.records.study_results import Results, Thinking, TokenCurve
from videothinker.reports import placing
from videothinker.reports.charts import reach
from videothinker.reports.drawing import LEGEND_LINE, WIDTH, Drawing, legend, legend_lines, percent_text, themed
from videothinker.reports.placing import Spot

POOLS = ("all", "observational", "inferential")
_COLOURS = ("blue", "orange", "green", "purple")
_DASHES: tuple[Any, ...] = ("-", (0, (2, 0.8)), (0, (0.8, 0.8)))
"""Of lines whose colour another has: the fifth to eighth, and those behind them."""
_MARKERS = "sD^vPX<>"
_LEAST = 6.0
"""Percentage points that a panel holds at least: on a finer scale noise would look like a slope."""
_LEFT, _GAP, _RIGHT, _PLOT = 0.36, 0.24, 0.05, 1.3
"""Inches: room left of the panels, between two and right of them, and their height."""


class Drawn(NamedTuple):
    """What is shown of an arm, by pool. A spot is mean tokens, and right answers in percent."""

    name: str
    line: dict[str, list[Spot]]
    """From always stopping to never; empty for an arm without a curve."""
    spot: dict[str, Spot]
    """Where its replies in the first way of asking are; empty if they are not shown."""


def tokens_figure(results: Results) -> Drawing | None:
    """Accuracy against mean tokens, over all questions and by category; None in a study without curves.

    Lines are of ways of asking that ask as the first one does, by whose answers the verdicts are given: of other questions, or
    with other options, they could not be held against its marks.
    """
    study = results.study
    curves = _comparable(results)
    if not curves:
        return None
    beside = {one.arm: one for one in results.thinking if one.ask == study.first_ask}
    arms = [_arm(name, curves.get(name), beside.get(name), study) for name in dict.fromkeys([*curves, *beside])]
    caption = _caption(study, curves, arms)
    return themed("tokens", caption, _alt(caption, arms), lambda colours: _draw(arms, study.first_ask, colours))


def _comparable(results: Results) -> dict[str, TokenCurve]:
    asks = results.study.ask
    first = asks[results.study.first_ask]
    found: dict[str, TokenCurve] = {}
    for one in results.curves:
        if (asks[one.ask].data, asks[one.ask].options) == (first.data, first.options) and any(one.points.values()):
            found.setdefault(one.arm, one)
    return found


def _arm(name: str, curve: TokenCurve | None, beside: Thinking | None, study: Study) -> Drawn:
    line = {} if curve is None else {pool: [(one.tokens, 100 * one.accuracy) for one in curve.points[pool]] for pool in POOLS}
    spot = {}
    # Without a stop an arm's own line ends at its mark.
    if beside is not None and (curve is None or _is_stopped(name, study)):
        for pool in POOLS:
            tokens, right = beside.tokens.get(pool), beside.second[pool].value
            if tokens is not None and right is not None:
                spot[pool] = (tokens, 100 * right)
    return Drawn(name, line, spot)


def _is_stopped(arm: str, study: Study) -> bool:
    """Whether its replies in the first way of asking are ended behind sure first answers."""
    return bool(study.ask[study.first_ask].stop_from) and arm in study.arms and study.arms[arm].stage is Stage.AUTO


def _caption(study: Study, curves: dict[str, TokenCurve], arms: Sequence[Drawn]) -> str:
    first = study.first_ask
    asked = ", ".join(dict.fromkeys(one.ask for one in curves.values()))
    words = [
        f"Questions answered exactly right against mean tokens of a reply, rule {study.rule}. Lines: replies asked {asked}, "
        "which were not stopped, cut where a stop would have cut them, for confidences from always stopping (left end) to "
        "never (right end)."
    ]
    if any(arm.line and arm.spot for arm in arms):
        words.append(
            f"Circles: the same arms really stopped, asked {first}, at thresholds that were chosen on another split (asked "
            f"{study.ask[first].stop_from})."
        )
    if any(arm.spot and not arm.line for arm in arms):
        words.append(f"Other marks: all others, asked {first}.")
    return " ".join([*words, "Means over seeds; each plot has its own scale."])


def _alt(caption: str, arms: Sequence[Drawn]) -> str:
    def told(spot: Spot) -> str:
        return f"{spot[0]:.1f} tokens {percent_text(spot[1] / 100)}"

    said = []
    for pool in POOLS:
        ends = [(arm.name, arm.line[pool][0], arm.line[pool][-1]) for arm in arms if arm.line.get(pool)]
        spots = [(arm.name, " really stopped" * bool(arm.line), arm.spot[pool]) for arm in arms if pool in arm.spot]
        words = [f"{name} from {told(begin)} to {told(end)}" for name, begin, end in ends]
        words += [f"{name}{stopped} at {told(spot)}" for name, stopped, spot in spots]
        said.append(f"{pool}: {', '.join(words) or 'no questions'}")
    return f"Line charts. {caption} Values: {'; '.join(said)}."


class Plot(NamedTuple):
    """Where a panel stands, in inches, and what its axes hold."""

    left: float
    width: float
    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, spot: Spot) -> Spot:
        """Where a spot is drawn: inches from the panel's lower left corner."""
        (x0, x1), (y0, y1) = self.x, self.y
        return self.width * (spot[0] - x0) / (x1 - x0), _PLOT * (spot[1] - y0) / (y1 - y0)


def _draw(arms: Sequence[Drawn], first: str, colours: dict[str, str]) -> Figure:
    panels = _panels(arms)
    marks = {arm.name: _mark(index, colours) for index, arm in enumerate(arm for arm in arms if arm.spot and not arm.line)}
    lines = {arm.name: _line(index, colours) for index, arm in enumerate(arm for arm in arms if arm.line)}
    labels = {pool: places(arms, pool, panels[pool]) for pool in POOLS}
    direct = all(found is not None for found in labels.values())
    key = [Line2D([], [], label=name, **style) for name, style in lines.items()]
    if any(arm.line and arm.spot for arm in arms):
        key.append(Line2D([], [], label=f"really stopped (asked {first})", **_circle(colours["ground"], colours)))
    key += [] if direct else [Line2D([], [], label=name, **style) for name, style in marks.items()]
    top, bottom = 0.36 + LEGEND_LINE * (len(legend_lines(key)) - 1), 0.32
    height = round(_PLOT + top + bottom, 2)
    figure = Figure(figsize=(WIDTH, height), facecolor=colours["ground"])
    for pool, panel in panels.items():
        where = (panel.left / WIDTH, bottom / height, panel.width / WIDTH, _PLOT / height)
        axes = figure.add_axes(where, facecolor=colours["ground"])
        placing.prepare(axes, panel.x, panel.y, 5, colours)
        axes.set_title(pool, fontsize=7, fontweight="bold", color=colours["ink"], loc="left", pad=3)
        for arm in arms:
            if arm.line.get(pool):
                axes.plot(*zip(*arm.line[pool], strict=True), **lines[arm.name])
        for arm in arms:
            if pool in arm.spot:
                style = _circle(lines[arm.name]["color"], colours) if arm.line else marks[arm.name]
                axes.plot(*arm.spot[pool], zorder=4, **style)
        if not any(arm.line.get(pool) or pool in arm.spot for arm in arms):
            axes.set(xticks=[], yticks=[])
            axes.text(0.5, 0.5, "no questions", transform=axes.transAxes, ha="center", fontsize=7, color=colours["faint"])
        if direct:
            placing.write_names(axes, labels[pool] or {}, (panel.width, _PLOT), colours)
        if pool == POOLS[0]:
            placing.name_axes(axes, "mean tokens of a reply", "right (%)", colours)
    legend(figure, key, colours)
    return figure


def _line(index: int, colours: dict[str, str]) -> dict[str, Any]:
    dashes = _DASHES[index // len(_COLOURS) % len(_DASHES)]
    return {"color": colours[_COLOURS[index % len(_COLOURS)]], "lw": 1.3, "linestyle": dashes}


def _mark(index: int, colours: dict[str, str]) -> dict[str, Any]:
    colour = colours[("ink", "faint")[index // len(_MARKERS) % 2]]
    marker = _MARKERS[index % len(_MARKERS)]
    hollow = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 0.9}  # shows what lies below it
    return {"linestyle": "", "marker": marker, "markersize": 4, "clip_on": False, **hollow}


def _circle(colour: str, colours: dict[str, str]) -> dict[str, Any]:
    edge = {"markeredgecolor": colours["ink"], "markeredgewidth": 0.7}
    return {"color": colour, "linestyle": "", "marker": "o", "markersize": 4.6, "clip_on": False, **edge}


def _panels(arms: Sequence[Drawn]) -> dict[str, Plot]:
    """Side by side; all have the same tokens, and each its own percentages."""
    spots = {
        pool: [spot for arm in arms for spot in [*arm.line.get(pool, ()), *([arm.spot[pool]] if pool in arm.spot else [])]]
        for pool in POOLS
    }
    x = reach([tokens for found in spots.values() for tokens, _ in found], 1.0, (0.0, math.inf))
    width = (WIDTH - _LEFT - _RIGHT - (len(POOLS) - 1) * _GAP) / len(POOLS)
    return {
        pool: Plot(_LEFT + index * (width + _GAP), width, x, reach([right for _, right in spots[pool]], _LEAST, (-2.0, 102.0)))
        for index, pool in enumerate(POOLS)
    }


def places(arms: Sequence[Drawn], pool: str, panel: Plot) -> dict[str, placing.Box] | None:
    """A place for the name of every mark, as `placing.places` finds it. An arm with a line has its name in the legend."""
    spots = {arm.name: panel.place(arm.spot[pool]) for arm in arms if pool in arm.spot}
    named = {arm.name: spots[arm.name] for arm in arms if arm.name in spots and not arm.line}
    others = [spot for name, spot in spots.items() if name not in named]
    lines = [[panel.place(spot) for spot in arm.line.get(pool, ())] for arm in arms]
    return placing.places(named, others, lines, (panel.width, _PLOT))
