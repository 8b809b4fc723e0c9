"""What every figure has in common: themes, legends, and how one is saved: PNG and SVG in light and dark, PDF in light.

One column of a paper wide (3.4 inches), text of 7 points; PNG at twice the usual resolution. The same numbers give the same
bytes: fixed salt for SVG ids, no dates, matplotlib's own font. A PDF holds its text as text, in TrueType fonts.
"""

import base64
import io
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from videothinker.printable import escaped

WIDTH = 3.4
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


class Drawing(NamedTuple):
    """A finished figure: its files, and what the page needs to show it."""

    name: str
    caption: str
    alt: str
    """What the figure says, in words, for those who cannot see it."""
    files: dict[str, bytes]
    """figure-NAME.png, .svg and .pdf, figure-NAME-dark.png and .svg."""

    def uri(self, theme: str) -> str:
        """The SVG as a data URI; `theme` "light" or "dark"."""
        svg = self.files[f"figure-{self.name}{'-dark' if theme == 'dark' else ''}.svg"]
        return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def themed(name: str, caption: str, alt: str, draw: Callable[[dict[str, str]], Figure]) -> Drawing:
    files = {}
    for theme, colours in _THEMES.items():
        with mpl.rc_context({"text.parse_math": False}):  # a name may hold dollars, which are no formula
            figure = draw(colours)
        for words in figure.findobj(Text):
            words.set_text(escaped(words.get_text()))  # no font has control characters
        stem = f"figure-{name}" + ("-dark" if theme == "dark" else "")
        files[f"{stem}.png"] = _save(figure, "png", dpi=400, metadata={"Software": None})
        files[f"{stem}.svg"] = _save(figure, "svg", metadata={"Date": None, "Creator": None})
        if theme == "light":  # paper is white
            files[f"{stem}.pdf"] = _save(figure, "pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return Drawing(name, caption, alt, files)


def wrapped(words: str, width: int = 54) -> list[str]:
    """Words in lines of at most `width` characters, of which 54 bold ones fit into a figure."""
    return textwrap.wrap(words, width) or [words]


LEGEND_LINE = 0.16
"""Inches that each line of a legend behind its first takes."""
_HANDLE, _PAD, _SPACING, _BORDER = 0.9, 0.4, 1.0, 0.2
"""Of a legend, in font sizes: width of a handle, room between it and its words, between entries, and around all."""
_FONT = 7
"""Points."""


def legend_lines(key: Sequence[Any]) -> list[list[Any]]:
    """The entries of a legend in lines that fit into the figure; an entry that does not fit by itself has a line of its own."""
    lines: list[list[Any]] = []
    left = 0.0
    for entry in key:
        wide, _, _ = text_to_path.get_text_width_height_descent(entry.get_label(), FontProperties(size=_FONT), False)
        wide += _FONT * (_HANDLE + _PAD)
        if not lines or left + wide > 72 * WIDTH:
            lines.append([])
            left = 2 * _BORDER * _FONT
        lines[-1].append(entry)
        left += wide + _FONT * _SPACING
    return lines


def legend(figure: Figure, key: Sequence[Any], colours: dict[str, str]) -> None:
    """A legend at the top of a figure, in as many lines as it takes (`legend_lines`)."""
    for place, line in enumerate(legend_lines(key)):
        figure.legend(
            handles=line,
            loc="upper left",
            bbox_to_anchor=(0, 1 - place * LEGEND_LINE / figure.get_figheight()),
            ncols=len(line),
            frameon=False,
            fontsize=_FONT,
            labelcolor=colours["ink"],
            handlelength=_HANDLE,
            handleheight=0.9,
            handletextpad=_PAD,
            columnspacing=_SPACING,
            borderpad=_BORDER,
            borderaxespad=0.1,
        )


def halo(colours: dict[str, str]) -> list[Any]:
    """Keeps lines readable where they cross a bar or the grid."""
    return [withStroke(linewidth=2, foreground=colours["ground"])]


def ground(colours: dict[str, str]) -> dict[str, Any]:
    """Keeps letters readable before lines and grid; a halo would make an SVG of much text five times as large."""
    return {"facecolor": colours["ground"], "linewidth": 0, "pad": 0.6}


def dot(colours: dict[str, str]) -> dict[str, Any]:
    ground, ink = colours["ground"], colours["ink"]
    return {"color": ground, "linestyle": "", "marker": "o", "markersize": 2.8, "markeredgecolor": ink, "markeredgewidth": 0.6}


def _save(figure: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "videothinker", "svg.fonttype": "path", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, facecolor=figure.get_facecolor(), **options)
    return buffer.getvalue()


def percent_text(value: float | None) -> str:
    return "nothing to count" if value is None else f"{100 * value:.1f} %"
