"""Formulas as MathML, which browsers draw by themselves: no script, no font and no server is needed."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
"""What pymdownx.arithmatex leaves of `$...$` (a span) and of `$$...$$` (a div)."""


def on_page_content(content: str, **_: Any) -> str:
    """Exchange every formula of a page."""
    return _FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    formula = convert(html.unescape(found[2]), display=display)
    formula = formula.replace("<mi>&#x000B1;</mi>", "<mo>&#x000B1;</mo>")  # plus or minus is an operator, with space around it
    return formula.replace("<mo>&#x0007C;</mo>", "<mi>&#x0007C;</mi>")  # bars of a set's size stand close, and do not grow
