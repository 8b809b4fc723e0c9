"""The table of the questions that a curation could not use."""

from collections.abc import Sequence

from videothinker.records.manifest import Unresolved
from videothinker.reports.page import count
from videothinker.reports.tables import Table


def unresolved_table(unresolved: Sequence[Unresolved], n_listed: int) -> Table:
    """The first `n_listed` of them, each with its file and what was wrong."""
    cut = f", the first {count(n_listed)}; all are in unresolved.jsonl" if len(unresolved) > n_listed else ""
    return Table(
        "unresolved",
        f"Questions that could not be used{cut}.",
        ("Question", "File", "Reason"),
        [(one.question_id, one.file, one.reason) for one in unresolved[:n_listed]],
    )
