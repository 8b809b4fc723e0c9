"""`vt pretrain`: pretrain a tiny model on the generated world. `vt train sft` is another name for it."""

import inspect
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videothinker.cli import options, output, train_options
from videothinker.cli.console import notes, out, progress_bar, quiet_unless
from videothinker.progress import once_begun

if TYPE_CHECKING:
    from videothinker.pretrain.record import CurvePoint

EPILOG = """[bold]Examples[/bold]

  vt pretrain --config configs/tiny-sft.toml --out runs/base --max-minutes 36

  vt pretrain --config configs/tiny-sft-cpu.toml --out try

[bold]Several GPUs[/bold]

  torchrun --nproc-per-node 4 -m videothinker pretrain --config configs/tiny-sft.toml --out runs/base --max-minutes 9

[bold]By steps, in pieces[/bold]: the same command goes on where the last one stopped

  vt pretrain --config configs/tiny-sft.toml --out runs/base --set optimizer.schedule=steps --set optimizer.steps=60000
  --max-minutes 9

[bold]From the weights of an earlier run[/bold], with the scenes that come next

  vt pretrain --config configs/tiny-sft-settle.toml --model runs/base --out runs/settled --set world.first_scene=200000
  --max-minutes 36

[bold]Further forms for a base[/bold]: the factual twin in words, answers given twice, and answers at once

  vt pretrain --config configs/pretrain-forms.toml --model data/study/base --out runs/base-forms --max-minutes 3

[bold]What lies in OUT[/bold]

  a checkpoint (at every saved step), metrics.jsonl, run.json, README.md; and until the run is finished state.pt, from which it
  is resumed
"""


def pretrain(
    context: typer.Context,
    config: train_options.Config,
    folder: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder to write. A run with the same settings that it holds is resumed."),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Curated folder to diagnose the result on. It is never trained on."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="REF", help="OUT of an earlier run to start from. Default: a fresh model.")
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            "--max-minutes", min=0.0, help="Save and stop after this time; with schedule minutes the length of the whole run."
        ),
    ] = None,
    set_: train_options.Set = None,
    json: options.Json = False,
) -> None:
    """Pretrain a tiny Qwen2.5-VL on the generated world: a base to measure reinforcement learning on.

    It learns two ways to think, about what is seen ("obs") and about what would happen ("cf"). Scenes are simulated and drawn
    while it trains, and every one is new.
    """
    from videothinker.curated import open_curated
    from videothinker.pretrain.settings import load_pretraining

    output.choose(json)
    settings = load_pretraining(config, set_ or [])
    curated = open_curated(data) if data else None
    is_main = os.environ.get("RANK", "0") == "0"
    bars = partial(quiet_unless, is_main)
    with once_begun(bars, "drawing the first scenes", "pretraining", settings.optimizer.steps, "steps") as progress:
        from videothinker.pretrain import run

        summary = run.pretrain(settings, out=folder, start=model, max_minutes=max_minutes, report=_reporter(progress))
    if not is_main:
        return
    if not summary.finished:
        out.print(
            f"stopped at step {summary.steps:,} of {settings.optimizer.steps:,}; the same command goes on from {folder}",
            soft_wrap=True,
        )
        output.show({"out": folder, "finished": False, "steps": summary.steps})
        return
    out.print(f"[bold]{context.info_name}[/bold]: {summary.steps:,} steps; in {folder}", soft_wrap=True)
    if summary.last is not None:
        out.print(_line(summary.last), soft_wrap=True)
    metrics = None
    if curated is not None:
        from videothinker.recipes.pretraining import diagnose_base

        metrics = diagnose_base(folder, curated, max_new_tokens=settings.evaluation.max_new_tokens, bars=progress_bar)
        for name in ("all", "observational", "inferential"):
            value = getattr(metrics, name).per_question.value
            out.print(f"{name}: {'-' if value is None else f'{value:.1%}'} of whole answers right", soft_wrap=True)
    output.show({"out": folder, "finished": True, "steps": summary.steps, "last": summary.last, "metrics": metrics})


ALIAS_HELP = f"The same command as [bold]vt pretrain[/bold].\n\n{inspect.getdoc(pretrain)}"
"""Help of `vt train sft`."""


def _reporter(progress: Callable[[int], None]) -> "Callable[[CurvePoint], None]":
    """Advance the bar at every point of the curve, and print those with scores."""
    done = 0

    def report(point: "CurvePoint") -> None:
        nonlocal done
        progress(point.step - done)
        done = point.step
        if point.unseen is not None:
            notes.print(_line(point), soft_wrap=True)

    return report


def _line(point: "CurvePoint") -> str:
    def scores(name: str, found: Any) -> str:
        text = f"{name} cf {found.counterfactual:.1%} obs {found.observed:.1%} as it comes {found.greedy:.1%}"
        if forms := found.forms:
            text += (
                f" twin {forms.twin:.1%} twice {forms.first:.1%} then {forms.second:.1%}"
                f" (laid out {forms.well_laid_out:.1%}, falls back {forms.falls_back:.1%}) direct {forms.direct:.1%}"
            )
        return text

    both = "; ".join(scores(name, found) for name, found in (("unseen", point.unseen), ("trained on", point.trained)) if found)
    return (
        f"step {point.step:,}: loss {point.loss:.3f}, objects named {point.named:.1%}, {point.seconds * 1000:.1f} ms;"
        f" whole answers right: {both}"
    )
