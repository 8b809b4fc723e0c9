"""Axes for marks with names beside them, and where these names stand, so that they lie on nothing else."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from videothinker.reports.charts import ticks
from videothinker.reports.drawing import halo

FONT = 6.5
"""Points, of names beside marks and of numbers at axes."""
Spot = tuple[float, float]
"""x and y: of data, or in inches from a panel's lower left corner."""
Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in inches from the panel's lower left corner."""
_MARK = 0.035
"""Inches: half a mark's width."""
_NEAR, _FAR = 0.055, (0.13, 0.2, 0.28, 0.36)
"""Inches from a mark to its name: where there is room, and where a line leads to it."""


def places(
    named: Mapping[str, Spot], others: Sequence[Spot], lines: Sequence[Sequence[Spot]], size: Spot, *, led: bool = False
) -> dict[str, Box] | None:
    """A place for the name of every mark, beside it or at one of its corners, where it lies on no line, mark or other name.

    named, others: marks with and without a name. size: of the panel. All in inches. led: where there is no room, let a name
    stand farther away, for `write_names` to lead to it. None if some name has no place, or a named mark lies on another (led:
    on another named one), so that whose a name is would not be seen.
    """
    marks = [_around(spot, _MARK) for spot in named.values()]
    nameless = [_around(spot, _MARK) for spot in others]
    if any(_overlap(one, other) for one, other in (*combinations(marks, 2), *(() if led else product(marks, nameless)))):
        return None
    taken = [*marks, *nameless, *(_around(spot, 0.01) for line in lines for spot in _dense(line))]
    found: dict[str, Box] = {}
    for name, spot in named.items():
        measured = text_to_path.get_text_width_height_descent(name, FontProperties(size=FONT), False)
        words = (measured[0] / 72, measured[1] / 72)
        boxes = (box for off in (_NEAR, *(_FAR if led else ())) for box in _boxes(spot, words, off, size))
        box = next((box for box in boxes if _is_free(box, taken, size)), None)
        if box is None:
            return None
        found[name] = box
        taken.append(box)
    return found


def _boxes(spot: Spot, words: Spot, off: float, size: Spot) -> Iterator[Box]:
    """Where words of this width and height can stand about a spot: right, left, above, below, and at its corners."""
    (x, y), (wide, high) = spot, words
    beside, centred = y - high / 2, min(max(x - wide / 2, 0.0), size[0] - wide)
    places = [(x + off, beside), (x - off - wide, beside), (centred, y + off), (centred, y - off - high)]
    near = 0.6 * off  # a corner's distance along each axis
    places += [(x + sx * near - (sx < 0) * wide, y + sy * near - (sy < 0) * high) for sx in (1, -1) for sy in (1, -1)]
    yield from ((left, low, left + wide, low + high) for left, low in places)


def prepare(axes: Axes, x: Spot, y: Spot, n_ticks: int, colours: dict[str, str]) -> None:
    """Let the axes reach from the first to the second number of x and of y, on a faint grid with about `n_ticks` whole numbers
    each way, and without a frame."""
    axes.set(xlim=x, ylim=y, xticks=ticks(*x, n_ticks, whole=True), yticks=ticks(*y, n_ticks, whole=True))
    axes.tick_params(labelsize=FONT, labelcolor=colours["faint"], length=0, pad=2)
    axes.grid(color=colours["grid"], linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def name_axes(axes: Axes, x: str, y: str, colours: dict[str, str]) -> None:
    """Say beside the axes what they are."""
    axes.set_ylabel(y, fontsize=7, color=colours["faint"], labelpad=2)
    axes.set_xlabel(x, fontsize=7, color=colours["faint"], loc="left", labelpad=2)


def write_names(
    axes: Axes, places: Mapping[str, Box], size: Spot, colours: dict[str, str], *, marks: Mapping[str, Spot] = {}
) -> None:
    """Write the names where `places` has found room. marks: in inches, for a line to those whose name stands far away."""
    for name, (left, low, right, high) in places.items():
        if name in marks:
            x, y = marks[name]
            end = (min(max(x, left), right), min(max(y, low), high))  # the nearest point of the name
            if math.dist(end, (x, y)) > 1.5 * _NEAR:
                line = [(where[0] / size[0], where[1] / size[1]) for where in ((x, y), end)]
                axes.plot(*zip(*line, strict=True), transform=axes.transAxes, color=colours["faint"], lw=0.5, zorder=2.5)
        where = (left / size[0], (low + high) / 2 / size[1])
        words = axes.text(*where, name, transform=axes.transAxes, va="center", fontsize=FONT, color=colours["ink"])
        words.set_path_effects(halo(colours))


def _dense(points: Sequence[Spot]) -> list[Spot]:
    """Places along a line, close enough that no letter fits between two."""
    found = list(points[:1])
    for (x0, y0), (x1, y1) in pairwise(points):
        n = max(math.ceil(math.hypot(x1 - x0, y1 - y0) / 0.03), 1)
        found += [(float(x), float(y)) for x, y in np.linspace((x0, y0), (x1, y1), n + 1)[1:]]
    return found


def _is_free(box: Box, taken: Sequence[Box], size: Spot) -> bool:
    left, low, right, high = box
    if left < 0 or right > size[0] or low < 0 or high > size[1]:
        return False
    return not any(_overlap(box, other) for other in taken)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _around(spot: Spot, reach: float) -> Box:
    return spot[0] - reach, spot[1] - reach, spot[0] + reach, spot[1] + reach
