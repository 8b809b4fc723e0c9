"""The figure of what an arm pays for what it gains: inferential against observational accuracy, and the curves of families."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from videothinker.records.study import BASE, Stage, Study
from videothinker.records.study_results import Level
from videothinker.reports import placing
from videothinker.reports.charts import reach
from videothinker.reports.drawing import LEGEND_LINE, WIDTH, Drawing, legend, legend_lines, percent_text, themed
from videothinker.reports.placing import Spot
from videothinker.study.claims import comparisons, members

_LEFT, _RIGHT, _BOTTOM, _PLOT = 0.36, 0.08, 0.34, 2.35
"""Inches: room left, right of and below the plot, and its height."""
_DASHES: tuple[Any, ...] = ("-", (0, (2.4, 1)), (0, (0.8, 0.8)), (0, (3, 1, 0.8, 1)))
"""Of the families' curves; more begin again."""
_COLOURS = {Stage.GRPO: "orange", Stage.CDPO: "blue", Stage.AUTO: "green", Stage.BLEND: "purple"}
_MARKERS = "osD^vPX<>*phd8H"
_LEAST = 2.0
"""Percentage points that an axis holds at least."""


class Trade(NamedTuple):
    """What is shown of a study. Spots are observational and inferential accuracy in percent."""

    spots: dict[str, Spot]
    """Of every arm."""
    inner: set[str]
    """Members of families that end none: their marks have no name."""
    colours: dict[str, str]
    """Of the marks."""
    curves: dict[str, list[Spot]]
    """Each family's members in the order of observational accuracy, by what the family is: its note, where no other has the
    same."""
    to: str
    """The arm through whose spot a line of as many right answers is drawn."""
    slope: float
    """Points of inferential accuracy for a point of observational accuracy on that line: below zero."""
    partly: list[str]
    """Arms that were not asked at all of their seeds, and are not shown."""
    elsewhere: list[str]
    """Arms that claims compare under other rules alone, and are not shown."""

    @property
    def arms(self) -> dict[str, Spot]:
        """The marks with a name."""
        return {arm: spot for arm, spot in self.spots.items() if arm not in self.inner}

    @property
    def even(self) -> Spot:
        """Where the line of as many right answers as `to` begins: at the spot of `to`."""
        return self.spots[self.to]


def trade_figure(study: Study, levels: Mapping[str, Level], diverged: Mapping[str, int]) -> Drawing | None:
    """Both accuracies of every arm but bias models, and each family's curve; None in a study without a family that was asked.

    levels: by arm, of one way of asking under the study's rule. diverged: by arm, how many of its trainings did.
    """
    found = _trade(study, levels)
    if found is None:
        return None
    caption = _caption(found, {arm: diverged[arm] for arm in found.arms if diverged.get(arm)})
    return themed("trade", caption, _alt(caption, found), lambda colours: _draw(found, colours))


def _trade(study: Study, levels: Mapping[str, Level]) -> Trade | None:
    whole: dict[str, Spot] = {}
    partly = []
    elsewhere = _judged_elsewhere(study)
    for arm, one in levels.items():
        if arm in elsewhere or (arm != BASE and study.arms[arm].stage is Stage.BIAS):
            continue
        observational, inferential = (one.measures[name] for name in ("observational", "inferential"))
        if observational.scenes.value is None or inferential.scenes.value is None:
            continue
        if arm != BASE and len(inferential.per_seed) < len(study.seeds_of(arm)):
            partly.append(arm)
            continue
        whole[arm] = (100 * observational.scenes.value, 100 * inferential.scenes.value)
    families = {name: one for name, one in study.families.items() if set(one.arms) <= whole.keys()}
    if not families:
        return None
    notes = [one.note or name for name, one in families.items()]
    words = {name: one.note if one.note and notes.count(one.note) == 1 else name for name, one in families.items()}
    curves = {words[name]: sorted(whole[arm] for arm in one.arms) for name, one in families.items()}
    ends = {end(one.arms, key=whole.__getitem__) for one in families.values() for end in (min, max)}
    inner = {arm for one in families.values() for arm in one.arms} - ends
    to = next((arm for arm in whole if arm != BASE and study.arms[arm].stage is Stage.GRPO), next(iter(whole)))
    n = levels[to].n_questions
    return Trade(
        spots=whole,
        inner=inner,
        colours={arm: "ink" if arm == BASE else _COLOURS[study.arms[arm].stage] for arm in whole},
        curves=curves,
        to=to,
        slope=-n["observational"] / n["inferential"],
        partly=partly,
        elsewhere=[arm for arm in levels if arm in elsewhere],
    )


def _judged_elsewhere(study: Study) -> set[str]:
    """The arms that claims compare, but never under the study's own rule: what they traded shows under theirs."""
    here, elsewhere = {arm for family in study.families.values() for arm in family.arms}, set[str]()
    for claim in study.claims:
        for part in comparisons(claim):
            (here if (part.rule or study.rule) is study.rule else elsewhere).update(members(part, study))
    return elsewhere - here


def _caption(found: Trade, diverged: Mapping[str, int]) -> str:
    words = (
        "What an arm pays for what it gains: questions answered exactly right, observational against inferential ones. Lines "
        "lead through arms that do nothing but trade the one for the other; whatever does more than they lies above them. On "
        f"the thin grey line as many of all questions are answered right as by {found.to}. Means over seeds."
    )
    if diverged:
        words += f" Runs that diverged, and count: {', '.join(f'{n} of {arm}' for arm, n in diverged.items())}."
    if found.elsewhere:
        words += f" Claims judge these under other rules alone, so they are left out: {', '.join(found.elsewhere)}."
    return f"{words} Not at all of their seeds yet, and left out: {', '.join(found.partly)}." if found.partly else words


def _alt(caption: str, found: Trade) -> str:
    def told(spot: Spot) -> str:
        return f"{percent_text(spot[0] / 100)} and {percent_text(spot[1] / 100)}"

    marks = [f"{arm} at {told(spot)}" for arm, spot in found.arms.items()]
    lines = [f"{what}: {', '.join(map(told, curve))}" for what, curve in found.curves.items()]
    return f"Marks and lines. {caption} Values, observational and inferential: {'; '.join([*marks, *lines])}."


def _draw(found: Trade, colours: dict[str, str]) -> Figure:
    spots = [*found.arms.values(), *(spot for curve in found.curves.values() for spot in curve)]
    x, y = (reach([spot[axis] for spot in spots], _LEAST, (-2.0, 102.0)) for axis in (0, 1))
    size = (WIDTH - _LEFT - _RIGHT, _PLOT)

    def place(spot: Spot) -> Spot:
        return size[0] * (spot[0] - x[0]) / (x[1] - x[0]), size[1] * (spot[1] - y[0]) / (y[1] - y[0])

    even = [(end, found.even[1] + found.slope * (end - found.even[0])) for end in x]
    inner = [spot for curve in found.curves.values() for spot in curve if spot not in found.arms.values()]
    at = {arm: place(spot) for arm, spot in found.arms.items()}
    lines = [[place(spot) for spot in curve] for curve in found.curves.values()]
    labels = placing.places(at, [place(spot) for spot in inner], lines, size, led=True)
    styles = {what: _line(index, colours) for index, what in enumerate(found.curves)}
    shapes = _MARKERS if labels is None else _MARKERS[0]
    marks = {arm: _mark(shapes[i % len(shapes)], found.colours[arm], colours) for i, arm in enumerate(found.arms)}
    key = [Line2D([], [], label=what, **style) for what, style in styles.items()]
    key.append(Line2D([], [], label=f"as many right as {found.to}", **_even(colours)))
    key += [Line2D([], [], label=arm, **mark) for arm, mark in marks.items()] if labels is None else []
    top = 0.2 + LEGEND_LINE * (len(legend_lines(key)) - 1)
    height = round(_PLOT + top + _BOTTOM, 2)
    figure = Figure(figsize=(WIDTH, height), facecolor=colours["ground"])
    where = (_LEFT / WIDTH, _BOTTOM / height, size[0] / WIDTH, _PLOT / height)
    axes = figure.add_axes(where, facecolor=colours["ground"])
    placing.prepare(axes, x, y, 6, colours)
    placing.name_axes(axes, "observational right (%)", "inferential right (%)", colours)
    axes.plot(*zip(*even, strict=True), **_even(colours))
    for what, curve in found.curves.items():
        axes.plot(*zip(*curve, strict=True), **styles[what])
    for spot in inner:
        axes.plot(*spot, linestyle="", marker="o", markersize=2.2, color=colours["faint"], zorder=3)
    for arm, spot in found.arms.items():
        axes.plot(*spot, zorder=4, **marks[arm])
    placing.write_names(axes, labels or {}, size, colours, marks=at)
    legend(figure, key, colours)
    return figure


def _line(index: int, colours: dict[str, str]) -> dict[str, Any]:
    return {"color": colours["ink"], "lw": 0.9, "linestyle": _DASHES[index % len(_DASHES)]}


def _even(colours: dict[str, str]) -> dict[str, Any]:
    return {"color": colours["faint"], "lw": 0.5, "linestyle": "-"}


def _mark(marker: str, colour: str, colours: dict[str, str]) -> dict[str, Any]:
    edge = {"markeredgecolor": colours["ground"], "markeredgewidth": 0.5, "markerfacecolor": colours[colour]}
    return {"linestyle": "", "marker": marker, "markersize": 5, "clip_on": False, **edge}
