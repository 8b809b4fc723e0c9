"""What all pages share: how numbers are written, and the templates."""

import base64
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup

from videothinker.printable import escaped
from videothinker.records import Estimate
from videothinker.reports.tables import DASH, MINUS, Table, markdown_text, table_files


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


SIGNIFICANT = 0.05
"""Changes whose p-value after Holm's correction is below this have an asterisk."""


def asterisk(p_holm: float | None) -> str:
    """What stands behind a change: " *" if it is significant, otherwise nothing."""
    return " *" if p_holm is not None and p_holm < SIGNIFICANT else ""


def ticked(chosen: Sequence[str]) -> str:
    """Letters in words: "A", "A and C", "A, B and C"; "no option" for ()."""
    *first, last = chosen or ("no option",)
    return f"{', '.join(first)} and {last}" if first else last


def letters(chosen: Sequence[str] | None) -> str:
    """An answer in words: ("A", "C") is "A, C", () is "none", and None, where nothing could be read, is "unreadable"."""
    return "unreadable" if chosen is None else ", ".join(chosen) or "none"


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested dict in order, with keys such as "outer.inner", and "outer.1.inner" in a list of dicts."""
    for key, value in settings.items():
        if isinstance(value, list | tuple) and value and all(isinstance(each, Mapping) for each in value):
            yield from leaves({str(place): each for place, each in enumerate(value, 1)}, f"{prefix}{key}.")
        elif isinstance(value, Mapping) and value:
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


def packed_json(value: Any) -> str:
    """JSON for a script of a page that reads much: compressed with zlib, as base64. `unpack.js` reads it.

    Replies take about a quarter of their size so.
    """
    return base64.b64encode(zlib.compress(_json(value))).decode()


def script_json(value: Any) -> Markup:
    """JSON for a `<script type="application/json">`: no text in it ends the element, opens a comment or hides."""
    return Markup(_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", _json(value).decode()))


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair, which UTF-8 cannot hold and an escape can
        return json.dumps(value).encode()


_IN_JSON = re.compile("[<\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def report(template: str, *, data: Mapping[str, Any] | None = None, **context: Any) -> dict[str, bytes]:
    """A report by file name: report.html and report.md from `templates/`, and all tables of the context as LaTeX and CSV.

    data: what the browser of questions works on, for a page that has one.
    """
    browsed = {} if data is None else {"data": data}
    return {
        "report.html": render(f"{template}.html", has_table_files=True, **browsed, **context),
        "report.md": render(f"{template}.md", **context),
        **table_files(_tables_in(context)),
    }


def _tables_in(context: Any) -> Iterator[Table]:
    """The tables anywhere in a template's context."""
    if isinstance(context, Table):
        if context.rows:
            yield context
    elif isinstance(context, Mapping):
        for value in context.values():
            yield from _tables_in(value)
    elif isinstance(context, list | tuple):
        for value in context:
            yield from _tables_in(value)


def render(template: str, *, has_table_files: bool = False, **context: Any) -> bytes:
    """A page from `templates/`. HTML is escaped, and text in Markdown kept to its line; what is marked as safe is neither.

    has_table_files: whether the files of its tables lie beside it.
    """
    environment = _MARKDOWN if template.endswith(".md") else _HTML
    shown = environment.get_template(template).render(has_table_files=has_table_files, **context)
    return (shown.strip() + "\n").encode()


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
    "packed_json": packed_json,
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
