"""Draw a committed study's pages and figures again from its results.json, after the design of the pages has changed.

    .venv/bin/python reports/redraw.py reports/study-world

No number changes: what was measured, and when, is read from results.json. What needs the single steps of the trainings, which
results.json leaves out, is kept as it was drawn: the figures of curves, and the tables of runs and of cost, which report.md
has. Only files that the folder holds already are written, and the tables that the page links to.
"""

import argparse
import re
from pathlib import Path

from videothinker import store
from videothinker.records.study_results import RESULTS, Results
from videothinker.reports.drawing import Drawing
from videothinker.reports.study import FromSteps, study_pages
from videothinker.reports.tables import Table

_CURVES = re.compile(
    r"^!\[(?P<alt>Curves by step\. (?P<caption>.*) Values of the first run .*)\]\(figure-(?P<name>.*)\.svg\)$", re.MULTILINE
)
"""A figure of curves in report.md, whose words hold its caption."""
_TABLE = r"^\*\*(?P<caption>{begin}.*)\*\*\n\n(?P<lines>(?:\|.*\n)+)"
"""A table in report.md: its caption in bold, and its lines."""


def kept(folder: Path) -> FromSteps:
    """What an earlier drawing in `folder` holds of the trainings' steps."""
    text = (folder / "report.md").read_text()
    curves = []
    for figure in _CURVES.finditer(text):
        stem = f"figure-{figure['name']}"
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.stem in (stem, f"{stem}-dark")}
        curves.append(Drawing(figure["name"], figure["caption"], figure["alt"], files))
    return FromSteps(curves, _table("runs", "Every run ", text), _table("cost", "GPU minutes", text))


def _table(name: str, begin: str, text: str) -> Table:
    """The table of report.md whose caption begins so."""
    found = re.search(_TABLE.format(begin=begin), text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"report.md has no table that begins with {begin!r}")
    head, _, *rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in found["lines"].splitlines()]
    return Table(name, found["caption"], head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with the results.json and the report of a study")
    folder = parser.parse_args().folder
    pages = study_pages(store.read_json(folder / RESULTS, Results), kept(folder))
    for name, content in pages.items():
        if (folder / name).is_file() or name.startswith("tables/"):
            store.write_bytes(folder / name, content)


if __name__ == "__main__":
    main()
