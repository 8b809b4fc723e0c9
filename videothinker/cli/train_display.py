"""What `vt train` prints: steps while they are taken, what they came to, the gate's verdict, and what the replies answered."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from videothinker.cli import output
from videothinker.cli.console import notes, out, progress_bar, warn

if TYPE_CHECKING:
    from videothinker.recipes.pushing import Pushed
    from videothinker.recipes.training import AnsweredTwice
    from videothinker.records.training import GateVerdict, Matched, StepRecord
    from videothinker.train.run import Outcome
    from videothinker.train.stages import StageConfig


def step_line(step: "StepRecord") -> str:
    """One line of a step: its rewards, divergence, length and time."""
    fired = ("questions with a bonus", step.ordered_share)
    shown = [("reward", step.reward), *step.rewards.items(), fired, ("kl", step.kl), ("length", step.length)]
    parts = [f"{name} {value:.3g}" for name, value in shown if value is not None]
    return f"step {step.step}: {', '.join(parts)}, {step.seconds or 0:.1f} s"


def display(settings: "StageConfig") -> dict[str, Any]:
    """What a recipe tells its steps, warnings and progress to; nothing in processes other than the main one."""
    from videothinker.train.process import is_main

    if not is_main():
        return {}
    steps = settings.optimizer.steps

    def report(step: "StepRecord") -> None:
        if step.step % max(1, steps // 20) < settings.saving.log_every:
            notes.print(step_line(step))

    def matched(found: "Matched") -> None:
        unknown = f" ({found.n_unknown:,} of them because it is unknown of them)" if found.n_unknown else ""
        n_out = found.n_questions - len(found.ids)
        out.print(
            f"where {settings.data.where}: {len(found.ids):,} of {found.n_questions:,} questions of split"
            f" {settings.data.split} are kept, {n_out:,} left out{unknown}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )

    def tell(line: str) -> None:
        out.print(line, soft_wrap=True, markup=False, highlight=False)

    return {"report": report, "warn": warn, "matched": matched, "tell": tell, "bars": progress_bar}


def say_trained(settings: "StageConfig", outcome: "Outcome", folder: Path | None) -> None:
    """Print what a training came to; only the main process does. folder: None if nothing was kept."""
    from videothinker.train.process import is_main

    if not is_main():
        return
    result, name = outcome.result, f"[bold]{settings.stage.value}[/bold]"
    steps = f"{result.steps} step{'s' * (result.steps != 1)}"
    if outcome.already:
        out.print(f"{name}: finished already, {steps}{_where(folder)}", soft_wrap=True)
        return
    out.print(
        f"{name}: {steps}, {result.seconds_per_step:.2f} s and {result.tokens_per_step:,.0f} tokens each, peak memory"
        f" {result.peak_bytes / 2**30:.1f} GiB, {result.trainable:,} of {result.parameters:,} parameters trained"
        + _where(folder),
        soft_wrap=True,
    )


def _where(folder: Path | None) -> str:
    return "" if folder is None else f"; in {folder}, curves in {folder / 'curves.html'}"


def say_record(
    outcome: "Outcome",
    gate: "GateVerdict | None" = None,
    answered: "AnsweredTwice | None" = None,
    pushed: "Pushed | None" = None,
) -> None:
    """Print what `--json` prints of a training; only the main process does."""
    from videothinker.train.process import is_main

    if is_main():
        more = {"answered": answered and output.answered_record(answered), "pushed": pushed and pushed._asdict()}
        output.show({"already": outcome.already, "result": outcome.result, "gate": gate} | more)


def say_judged(verdict: "GateVerdict", folder: Path) -> None:
    """Print whether the bias model in `folder` has passed its gate, and what that means for the next stage."""
    from videothinker.records.training import Judged

    what = (verdict.verdict or (Judged.SHORTCUT if verdict.passed else Judged.NO_SHORTCUT)).value
    if verdict.passed:
        out.print(f"[green]gate passed[/green]: {what}; go on with vt train cdpo --bias-model {folder}", soft_wrap=True)
    else:
        warn(f"gate not passed: {what}: {'; '.join(verdict.reasons)}; vt train cdpo will refuse {folder} unless --force")


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
