"""How `vt diagnose --views` and reports on its runs tell on a terminal what damaged clips change."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.markup import escape

from videothinker.cli.console import Printable
from videothinker.cli.console import out as console

if TYPE_CHECKING:
    from videothinker.records import ViewEffects


def show_views(effects: "ViewEffects") -> None:
    """Print what every view costs over all questions, and whether hiding the evidence matters; nothing if none was asked."""
    _show({"": effects}, several=False)


def show_views_of_sets(effects: "Mapping[str, ViewEffects]") -> None:
    """The same of several data sets, by name, in one table."""
    _show(effects, several=True)


def _show(effects: "Mapping[str, ViewEffects]", *, several: bool) -> None:
    from rich import box
    from rich.table import Table

    from videothinker.reports.page import estimate, points
    from videothinker.reports.view_effects import consistency

    wide = console if console.is_terminal else Printable(highlight=False, width=160, stderr=console.stderr)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = ("checkpoint", "view", "axis", "n", "as it is", "damaged", "lost, points", "answers that stay", "unread")
    for column in (*(["data set"] if several else []), *columns):
        table.add_column(column, overflow="fold")
    for name, of_set in effects.items():
        for effect in of_set.views:
            row = effect.by_category["all"]
            who = [*([escape(name)] if several else []), escape(effect.run), effect.view, effect.axis]
            shares = (estimate(row.normal), estimate(row.under), points(row.gap), estimate(consistency(row.changed)))
            table.add_row(*who, f"{row.n_questions:,}", *shares, f"{row.n_unread:,}")
    if table.row_count:
        wide.print(table)
    for name, of_set in effects.items():
        for each in of_set.evidence:
            change = each.by_category["all"]
            whose = f"{escape(name)}: " if several else ""
            console.print(
                f"{whose}[bold]{escape(each.run)}[/bold]: of {change.n_questions:,} answers, hiding the evidence changes "
                f"{estimate(change.evidence)}, hiding as many other frames {estimate(change.elsewhere)}: "
                f"{points(change.difference)} points",
                soft_wrap=True,
            )
