"""`--json`: a command's figures as one JSON document on standard output; its table goes to standard error."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videothinker.cli.console import out

if TYPE_CHECKING:
    from videothinker.recipes.benchmarks import BenchmarksReport
    from videothinker.recipes.diagnosis import Report
    from videothinker.recipes.training import AnsweredTwice


def choose(as_json: bool) -> None:
    """Say at the beginning of a command whether it prints a document. Tables and whatever else it prints follow that."""
    out.stderr = as_json


def show(record: object) -> None:
    """Print the document, where one is wanted; a command calls this once, at its end.

    record: what the command's table was drawn from: structs, named tuples as lists, dicts, paths. docs/json.md has the fields.
    """
    if not out.stderr:
        return
    import msgspec

    encoded = msgspec.json.encode(record, enc_hook=_plain)
    sys.stdout.write(msgspec.json.format(encoded, indent=2).decode() + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no JSON is known for {type(value).__name__}")


def report_record(report: "Report") -> dict[str, Any]:
    """The figures of a report on one data set."""
    return {
        "rule": report.runs[0].labels.rule,
        "runs": {each.name: each.metrics for each in report.runs},
        "references": {each.name: each.metrics for each in report.references},
        "comparisons": report.comparisons,
        "readings": report.readings,
        "views": report.views,
        "report": report.folder / "report.html",
    }


def benchmarks_record(report: "BenchmarksReport") -> dict[str, Any]:
    """The figures of a report on several data sets."""
    return {
        "summary": report.summary,
        "datasets": {name: report_record(each) for name, each in report.sets.items()},
        "report": report.folder / "report.html",
    }


def answered_record(found: "AnsweredTwice") -> dict[str, Any]:
    """First and second answers of a training's last replies, by category and over all."""
    return {
        "first_step": found.first_step,
        "last_step": found.last_step,
        "questions": {row.questions: row.shares._asdict() | {"n_tokens": row.n_tokens} for row in found.rows},
    }
