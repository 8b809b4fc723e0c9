"""How `vt diagnose --views` tells on a terminal what damaged clips change."""

from typing import TYPE_CHECKING

from rich.markup import escape

from videothinker.cli.console import Printable
from videothinker.cli.console import out as console

if TYPE_CHECKING:
    from videothinker.records import ViewEffects


def show_views(effects: "ViewEffects") -> None:
    """Print what every view costs over all questions, and whether hiding the evidence matters; nothing if none was asked."""
    if not effects.views and not effects.evidence:
        return
    from rich import box
    from rich.table import Table

    from videothinker.reports.page import estimate, points
    from videothinker.reports.view_effects import consistency

    wide = console if console.is_terminal else Printable(highlight=False, width=160, stderr=console.stderr)
    if effects.views:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("checkpoint", "view", "axis", "n", "as it is", "damaged", "lost, points", "answers that stay", "unread"):
            table.add_column(column, overflow="fold")
        for effect in effects.views:
            row = effect.by_category["all"]
            shares = (estimate(row.normal), estimate(row.under), points(row.gap), estimate(consistency(row.changed)))
            table.add_row(escape(effect.run), effect.view, effect.axis, f"{row.n_questions:,}", *shares, f"{row.n_unread:,}")
        wide.print(table)
    for each in effects.evidence:
        change = each.by_category["all"]
        console.print(
            f"[bold]{escape(each.run)}[/bold]: of {change.n_questions:,} answers, hiding the evidence changes "
            f"{estimate(change.evidence)}, hiding as many other frames {estimate(change.elsewhere)}: "
            f"{points(change.difference)} points",
            soft_wrap=True,
        )
