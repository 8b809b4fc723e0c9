"""What all pages share: how numbers are written, tables that are shown as HTML and as Markdown, and the templates."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import msgspec
from markupsafe import Markup

from videothinker.records import Estimate

DASH = "\u2013"
"""Stands for a number that does not exist, such as a mean over nothing, which is never 0."""
MINUS = "\u2212"


class Table(NamedTuple):
    """One table, whose first column names the rows."""

    name: str
    """Name for style and anchor, unique in its page."""
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    """Cells as text, one for each column."""

    @property
    def is_numeric(self) -> tuple[bool, ...]:
        """For each column whether it holds only numbers or nothing, so that it is set to the right."""
        cells = zip(*self.rows, strict=True) if self.rows else [()] * len(self.columns)
        return tuple(index > 0 and all(_NUMBER.match(cell) for cell in column) for index, column in enumerate(cells))

    def markdown(self) -> str:
        """The table in Markdown, its caption above it in bold."""
        head = "| " + " | ".join(map(_cell, self.columns)) + " |"
        rule = "|" + "|".join(" ---: " if number else " :--- " for number in self.is_numeric) + "|"
        body = ["| " + " | ".join(map(_cell, row)) + " |" for row in self.rows]
        return "\n".join([f"**{self.caption}**", "", head, rule, *body])


_NUMBER = re.compile(rf"(< |[+{MINUS}±])?\d[\d,.]*(\u00a0%)?( \[.*\])?( \*)?$|{DASH}?$")


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def count(n: int | None) -> str:
    """A whole number as text: 18473 is "18,473"."""
    return DASH if n is None else f"{n:,}"


def percent(share: float | None) -> str:
    """A share as text: 0.74021 is "74.0 %", with a space that does not break."""
    return DASH if share is None else f"{100 * share:.1f}\u00a0%"


def estimate(value: Estimate) -> str:
    """A share with its interval, cut at 0 and 100: "74.0 % [73.4, 74.6]"; without brackets where there is no interval."""
    if value.value is None or value.ci95 is None:
        return percent(value.value)
    low, high = (100 * min(max(bound, 0.0), 1.0) for bound in value.ci95)
    return f"{percent(value.value)} [{low:.1f}, {high:.1f}]"


def points(value: Estimate) -> str:
    """A difference with its interval, signed, in percentage points: "+11.5 [+9.1, +13.9]"."""
    if value.value is None:
        return DASH
    middle = signed(value.value)
    return middle if value.ci95 is None else f"{middle} [{signed(value.ci95[0])}, {signed(value.ci95[1])}]"


def signed(difference: float) -> str:
    """A difference in percentage points: 0.115 is "+11.5". Below zero it has a true minus sign, and it is never "-0.0"."""
    number = round(100 * difference, 1)
    sign = "" if number == 0 else "+" if number > 0 else MINUS
    return f"{sign}{abs(number):.1f}"


def p_value(p: float | None) -> str:
    """A p-value with the digits that matter: "0.012", "< 0.001"."""
    if p is None:
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def ticked(chosen: Sequence[str]) -> str:
    """Letters in words: "A", "A and C", "A, B and C"; "no option" for ()."""
    *first, last = chosen or ("no option",)
    return f"{', '.join(first)} and {last}" if first else last


def letters(chosen: Sequence[str] | None) -> str:
    """An answer in words: ("A", "C") is "A, C", () is "none", and None, where nothing could be read, is "unreadable"."""
    return "unreadable" if chosen is None else ", ".join(chosen) or "none"


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested dict in order, with keys such as "outer.inner"."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def value_text(value: Any) -> str:
    """A setting's value as the text of a cell: a dash for None and what is empty, and of a long list its length."""
    if value is None or value in ([], (), {}, ""):
        return DASH
    if isinstance(value, list | tuple):
        return f"{len(value):,} entries" if len(value) > 20 else ", ".join(map(value_text, value))
    return str(value)


def script_json(value: Any) -> Markup:
    """JSON for a `<script type="application/json">`: no text in it can end the element or open a comment."""
    return Markup(msgspec.json.encode(value).decode().replace("<", "\\u003c"))


def render(template: str, **context: Any) -> bytes:
    """A page from `templates/`. HTML is escaped, Markdown is not."""
    return (_ENVIRONMENT.get_template(template).render(**context).strip() + "\n").encode()


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("videothinker.reports"),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    count=count,
    percent=percent,
    estimate=estimate,
    points=points,
    p_value=p_value,
    letters=letters,
    ticked=ticked,
    script_json=script_json,
)
