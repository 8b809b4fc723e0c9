"""What `vt train` prints of a training's steps, and of what its replies answered."""

from typing import TYPE_CHECKING

from videothinker.cli.console import out

if TYPE_CHECKING:
    from videothinker.recipes.training import AnsweredTwice
    from videothinker.records.training import StepRecord


def step_line(step: "StepRecord") -> str:
    """One line of a step: its rewards, divergence, length and time."""
    fired = ("questions with a bonus", step.ordered_share)
    shown = [("reward", step.reward), *step.rewards.items(), fired, ("kl", step.kl), ("length", step.length)]
    parts = [f"{name} {value:.3g}" for name, value in shown if value is not None]
    return f"step {step.step}: {', '.join(parts)}, {step.seconds or 0:.1f} s"


def say_answered(found: "AnsweredTwice | None") -> None:
    """The table of what the last replies of a training answered, by category; nothing where there are none."""
    from rich import box
    from rich.table import Table

    from videothinker.train.process import is_main

    if found is None or not is_main():
        return
    out.print(f"replies of steps {found.first_step} to {found.last_step}:")
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("questions", no_wrap=True)
    for name in ("replies", "first right", "second right", "fixed", "broken", "fallback", "blank thought", "tokens"):
        table.add_column(name, justify="right")
    for name, shares, n_tokens in found.rows:
        values = [*shares[1:]]
        cells = ["-" if value is None else f"{value:.1%}" for value in values]
        table.add_row(name, f"{shares.n:,}", *cells, "-" if n_tokens is None else f"{n_tokens:.0f}")
    out.print(table)
