"""The tables of all pages: one record, written as HTML (`templates/macros.html`), Markdown, LaTeX and CSV.

A cell is the text that a reader sees. LaTeX sets the same text; CSV takes its numbers apart, so that a program can read them.
"""

import csv
import io
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from videothinker.printable import escaped

DASH = "\u2013"
"""Stands for a number that does not exist, such as a mean over nothing, which is never 0."""
MINUS = "\u2212"
FOLDER = "tables"
"""Folder of a page's tables as LaTeX and CSV, beside the page."""


def name_by_facet(facet: str, dataset: str | None = None) -> str:
    """The name of the table of a facet's values, and of a data set's in a page on several.

    Both are named by users. Two of them never share a table's name, and so never a file: where a sign has to give way that no
    name of a file should have, or the two could have been cut elsewhere, a checksum stands behind.
    """
    wanted = f"by-{facet}" if dataset is None else f"{dataset}-by-{facet}"
    name = re.sub(r"[^\w-]+", "-", wanted)
    if name == wanted and wanted.count("by-") == 1:
        return name
    return f"{name}-{zlib.crc32(repr((dataset, facet)).encode(errors='backslashreplace')):08x}"


class AsText(NamedTuple):
    """A table in one of the formats that can be copied from a page."""

    format: str
    """ "LaTeX", "CSV" or "Markdown"."""
    file: str | None
    """Where it lies, relative to the page; None for Markdown, of which report.md holds all."""
    text: str


class Table(NamedTuple):
    """One table, whose first column names the rows."""

    name: str
    """Name for style, anchor and files, unique in its page."""
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    """Cells as text, one for each column."""
    parts: tuple[int, ...] = ()
    """Rows at which a new part of the table begins: they are set apart by a line."""

    @property
    def is_numeric(self) -> tuple[bool, ...]:
        """For each column whether it holds only numbers or nothing, so that it is set to the right."""
        return tuple(
            index > 0 and all(_NUMBER.fullmatch(cell) for cell in column) for index, column in enumerate(self._cells())
        )

    @property
    def file_stem(self) -> str:
        """The name of the table's files, without suffix: its letters, digits and hyphens."""
        return re.sub(r"[^\w-]+", "-", self.name)

    def as_text(self) -> list[AsText]:
        """The table in every format that can be copied."""
        stem = f"{FOLDER}/{self.file_stem}"
        return [
            AsText("LaTeX", f"{stem}.tex", self.latex()),
            AsText("CSV", f"{stem}.csv", self.csv()),
            AsText("Markdown", None, str(self.markdown()) + "\n"),
        ]

    def markdown(self) -> Markup:
        """The table in Markdown, its caption above it in bold; marked as safe, since its cells are."""
        head = "| " + " | ".join(map(_markdown_cell, self.columns)) + " |"
        rule = "|" + "|".join(" ---: " if number else " :--- " for number in self.is_numeric) + "|"
        body = ["| " + " | ".join(map(_markdown_cell, row)) + " |" for row in self.rows]
        return Markup("\n".join([f"**{markdown_text(self.caption)}**", "", head, rule, *body]))

    def latex(self) -> str:
        """The table in LaTeX, for the package booktabs."""
        lines = [_latex_row(row) for row in self.rows]
        for start in self.parts:
            lines[start] = "\\midrule\n" + lines[start]
        return "\n".join(
            [
                "% \\usepackage{booktabs}",
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{latex_text(self.caption)}}}",
                rf"\label{{tab:{self.file_stem}}}",
                rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in self.is_numeric)}}}",
                r"\toprule",
                _latex_row(self.columns),
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def csv(self) -> str:
        """The table in CSV, its numbers as a program reads them: "1234.5", with "-" for less than 0.

        An interval becomes the columns "X low" and "X high", an asterisk the column "X significant" (yes or no); a column of
        percentages says so in its head, and a number that does not exist is empty. What is no number stays as it is.
        """
        columns = [
            _numbers(escaped(head), cells) if number else [tuple(map(escaped, (head, *cells)))]
            for head, number, cells in zip(self.columns, self.is_numeric, self._cells(), strict=True)
        ]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(zip(*(one for found in columns for one in found), strict=True))
        return text.getvalue()

    def _cells(self) -> list[tuple[str, ...]]:
        """The cells of each column."""
        return list(zip(*self.rows, strict=True)) if self.rows else [()] * len(self.columns)


def table_files(tables: Iterable[Table]) -> dict[str, bytes]:
    """The tables as LaTeX and CSV, by file name relative to their page."""
    texts = [one for table in tables for one in table.as_text() if one.file is not None]
    return {one.file: one.text.encode() for one in texts if one.file is not None}


# ---- numbers -----------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(
    rf"(?P<below>< )?(?P<value>[+{MINUS}±]?\d[\d,.]*)(?P<percent>\u00a0%)?"
    rf"(?: \[(?P<low>[+{MINUS}]?\d[\d,.]*), (?P<high>[+{MINUS}]?\d[\d,.]*)\])?(?P<star> \*)?|{DASH}?"
)
"""A number as `page` writes one: "12,345", "74.0 % [73.4, 74.6]", "+1.5 [+0.1, +2.9] *", "< 0.001", or a dash for none."""


def _numbers(head: str, cells: Sequence[str]) -> list[tuple[str, ...]]:
    """A column of numbers as one or more columns of CSV, each with its head."""
    found = [_NUMBER.fullmatch(cell) for cell in cells]
    parts = [{} if one is None else one.groupdict(default="") for one in found]
    if any(part["percent"] for part in parts):
        head += " (%)"
    below = ["<" if part["below"] else "" for part in parts]
    columns = [(head, *(sign + _plain(part["value"]) for sign, part in zip(below, parts, strict=True)))]
    if any(part["low"] for part in parts):
        columns += [(f"{head} {end}", *(_plain(part[end]) for part in parts)) for end in ("low", "high")]
    if any(part["star"] for part in parts):
        columns.append((f"{head} significant", *("yes" if part["star"] else "no" if part["value"] else "" for part in parts)))
    return columns


def _plain(number: str) -> str:
    return number.replace(",", "").replace(MINUS, "-").lstrip("+±")


# ---- text --------------------------------------------------------------------------------------------------------------

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


def _markdown_cell(text: str) -> str:
    return markdown_text(text).replace("|", "\\|")


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "\u00a0": "~",
    MINUS: "$-$",
    DASH: "--",
    "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$",
    "\u2026": r"\ldots{}",
}


def _latex_row(cells: Sequence[str]) -> str:
    text = " & ".join(map(latex_text, cells))
    return ("{}" if text.startswith(("[", "*")) else "") + text + r" \\"  # [ and * would be taken for those of \\ or \toprule


_QUOTE = re.compile(r'(?<![^\s(\[{])"')
"""A straight quotation mark that opens: at the start, or after a space or bracket."""


def latex_text(text: str) -> str:
    """Any text for LaTeX, in one line: no character of it is taken for an order, and quotation marks open and close."""
    plain = escaped(" ".join(text.splitlines()))
    opened = _QUOTE.sub("\u201c", plain).replace('"', "\u201d")
    written = "".join(_LATEX.get(sign, sign) for sign in opened)
    return written.replace("\u201c", "``").replace("\u201d", "''")
