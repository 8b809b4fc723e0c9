"""What all pages share: how numbers are written, tables that are shown as HTML and as Markdown, and the templates."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import msgspec
from markupsafe import Markup

from videothinker.printable import escaped
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

    def markdown(self) -> Markup:
        """The table in Markdown, its caption above it in bold; marked as safe, since its cells are."""
        head = "| " + " | ".join(map(_cell, self.columns)) + " |"
        rule = "|" + "|".join(" ---: " if number else " :--- " for number in self.is_numeric) + "|"
        body = ["| " + " | ".join(map(_cell, row)) + " |" for row in self.rows]
        return Markup("\n".join([f"**{markdown_text(self.caption)}**", "", head, rule, *body]))


_NUMBER = re.compile(rf"(< |[+{MINUS}±])?\d[\d,.]*(\u00a0%)?( \[.*\])?( \*)?$|{DASH}?$")


def _cell(text: str) -> str:
    return markdown_text(text).replace("|", "\\|")


_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=\()")
"""What begins an element, an entity, or the address of a link or picture."""
_BLOCK = re.compile(r"(?:#{1,6}|[-+*])(?=\s|$)|>|```|~~~|---|===|\|")
"""What begins a heading, list, quotation, block of code, rule or table at the start of a line."""


def markdown_text(text: str) -> str:
    """Any text for Markdown, in one line: it can begin no element, link, picture or block, and hides no control character.

    Emphasis and code stay as they are, which change no more than how the text looks.
    """
    plain = escaped(" ".join(text.replace("\\", "\\\\").splitlines()))
    plain = _MARKUP.sub(lambda found: f"\\{found[0]}", plain)
    return f"\\{plain}" if _BLOCK.match(plain) else plain


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
    """JSON for a `<script type="application/json">`: no text in it ends the element, opens a comment or hides."""
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, which UTF-8 cannot hold and an escape can
        text = json.dumps(value)
    return Markup(_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


_IN_JSON = re.compile("[<\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def render(template: str, **context: Any) -> bytes:
    """A page from `templates/`. HTML is escaped, and text in Markdown kept to its line; what is marked as safe is neither."""
    environment = _MARKDOWN if template.endswith(".md") else _HTML
    return (environment.get_template(template).render(**context).strip() + "\n").encode()


def _in_html(value: Any) -> Any:
    """What a template shows, with escapes for characters that a page cannot hold or nobody can see."""
    if not isinstance(value, str) or (shown := escaped(value)) == value:
        return value
    return Markup(shown) if isinstance(value, Markup) else shown


def _in_markdown(value: Any) -> Any:
    return markdown_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_FILTERS: dict[str, Any] = {
    "count": count,
    "percent": percent,
    "estimate": estimate,
    "points": points,
    "p_value": p_value,
    "letters": letters,
    "ticked": ticked,
    "script_json": script_json,
}


def _environment(shown: Callable[[Any], Any], *, escape: bool) -> jinja2.Environment:
    """Templates in which every value passes through `shown`."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("videothinker.reports"),
        autoescape=escape,
        finalize=shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(_FILTERS)
    return made


_HTML = _environment(_in_html, escape=True)
_MARKDOWN = _environment(_in_markdown, escape=False)
