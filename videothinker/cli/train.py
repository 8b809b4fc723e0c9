"""`vt train`: the bias model, CDPO, and the GRPO baseline."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videothinker.cli.console import err, out, progress_bar, warn
from videothinker.records import Rule, no_progress

if TYPE_CHECKING:
    from videothinker.curated import Curated
    from videothinker.steps import StepRecord
    from videothinker.train.gate import Measured, Verdict
    from videothinker.train.run import Summary
    from videothinker.train.stages import StageConfig

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Train the shortcut (bias), train away from it (cdpo), or train the plain baseline (grpo).",
)

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="TOML; configs/ has one a stage and model size.")]
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder that vt curate clevrer wrote.")]
Model = Annotated[str, typer.Option("--model", metavar="REF", help="Checkpoint to train: a folder or a hub id.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The same one with the same settings is resumed.")]
Videos = Annotated[
    Path | None, typer.Option("--videos", metavar="DIR", help="Where the clips are, if not where curation found them.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. optimizer.steps=100. Repeatable."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Load all, take one step, say memory, tokens and time; keep nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Go on although the bias model has not passed its gate.")]
Labels = Annotated[Rule | None, typer.Option("--rule", help="Whose categories count; default the curated folder's own.")]

_LAUNCH = """
[bold]Several GPUs or machines[/bold]

  accelerate launch --config_file configs/accelerate/ddp.yaml -m videothinker train {stage} ...

[bold]What lies in OUT[/bold]

  a checkpoint (for LoRA an adapter), run.json, metrics.jsonl, completions.parquet, checkpoint-N/ to resume from{more}
"""

_BIAS = """[bold]Examples[/bold]

  vt train bias --config configs/bias-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/bias

  vt train bias --config configs/bias-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out x --dry-run
""" + _LAUNCH.format(stage="bias", more=", gate.json")

_CDPO = """[bold]Examples[/bold]

  vt train cdpo --config configs/cdpo-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --bias-model runs/bias
  --out runs/cdpo

[bold]The ablations of the paper[/bold]

  ... --set objective.direction=attract

  ... --set objective.reference=start          repels from its own start, and collapses

  ... --set objective.repulsion=0.03
""" + _LAUNCH.format(stage="cdpo", more="")

_GRPO = """[bold]Examples[/bold]

  vt train grpo --config configs/grpo-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/grpo

  vt train grpo --config configs/grpo-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/grpo-7
  --set seed=7
""" + _LAUNCH.format(stage="grpo", more="")


@app.command(epilog=_BIAS)
def bias(
    config: Config,
    data: Data,
    model: Model,
    out: Out,
    videos: Videos = None,
    rule: Labels = None,
    set_: Set = None,
    dry_run: DryRun = False,
) -> None:
    """Stage 1: GRPO on the observational questions alone makes a [bold]shortcut model[/bold].

    Then diagnoses it and its start on the dev split, and writes to OUT/gate.json whether it may serve as a bias model.
    """
    from videothinker.curated import open_curated
    from videothinker.train.gate import GATE
    from videothinker.train.run import FinishedError
    from videothinker.train.stages import Stage, load_stage

    settings, curated = load_stage(Stage.BIAS, config, set_ or []), open_curated(data, videos)
    try:
        train_stage(settings, curated, start=model, folder=out, rule=rule, dry_run=dry_run)
    except FinishedError:
        if (out / GATE).is_file():
            raise  # else it was killed before its gate, which is still owed
    if not dry_run and _is_main():
        _say(pass_gate(settings, curated, start=model, folder=out, rule=rule), out)


@app.command(epilog=_CDPO)
def cdpo(
    config: Config,
    data: Data,
    model: Model,
    out: Out,
    bias_model: Annotated[
        str | None, typer.Option("--bias-model", metavar="REF", help="What vt train bias wrote: frozen, and repelled from.")
    ] = None,
    videos: Videos = None,
    rule: Labels = None,
    set_: Set = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Stage 2: GRPO on all questions, [bold]repelled[/bold] from the frozen bias model."""
    from videothinker.curated import open_curated
    from videothinker.train.gate import require_pass
    from videothinker.train.stages import Reference, Stage, load_stage

    settings = load_stage(Stage.CDPO, config, set_ or [])
    if bias_model is not None and settings.objective.reference is Reference.BIAS and not force:
        require_pass(bias_model)
    train_stage(
        settings, open_curated(data, videos), start=model, folder=out, bias_model=bias_model, rule=rule, dry_run=dry_run
    )


@app.command(epilog=_GRPO)
def grpo(
    config: Config,
    data: Data,
    model: Model,
    out: Out,
    videos: Videos = None,
    rule: Labels = None,
    set_: Set = None,
    dry_run: DryRun = False,
) -> None:
    """The baseline: stage 2 without repulsion."""
    from videothinker.curated import open_curated
    from videothinker.train.stages import Stage, load_stage

    settings = load_stage(Stage.GRPO, config, set_ or [])
    train_stage(settings, open_curated(data, videos), start=model, folder=out, rule=rule, dry_run=dry_run)


def train_stage(
    settings: "StageConfig",
    curated: "Curated",
    *,
    start: str,
    folder: Path,
    bias_model: str | None = None,
    rule: Rule | None = None,
    dry_run: bool = False,
) -> "Summary":
    """Train one stage with a progress bar, and print what it came to. Only the main process prints."""
    from videothinker.train import run

    steps = settings.optimizer.steps
    bar = progress_bar(f"training {settings.stage.value}", steps, "steps") if _is_main() else nullcontext(no_progress)
    with bar as progress:

        def report(row: "StepRecord") -> None:
            progress(settings.saving.log_every)
            if row.step % max(1, steps // 20) < settings.saving.log_every:
                err.print(_line(row))

        summary = run.train(
            settings,
            data=curated,
            start=start,
            bias=bias_model,
            out=folder,
            rule=rule,
            dry_run=dry_run,
            report=report,
            warn=warn if _is_main() else lambda _: None,
        )
    if _is_main():
        gib, plural = summary.peak_bytes / 2**30, "s" * (summary.steps != 1)
        out.print(
            f"[bold]{settings.stage.value}[/bold]: {summary.steps} step{plural}, {summary.seconds_per_step:.2f} s and"
            f" {summary.tokens_per_step:,.0f} tokens each, peak memory {gib:.1f} GiB,"
            f" {summary.trainable:,} of {summary.parameters:,} parameters trained" + ("" if dry_run else f"; in {folder}"),
            soft_wrap=True,
        )
    return summary


def pass_gate(settings: "StageConfig", curated: "Curated", *, start: str, folder: Path, rule: Rule | None = None) -> "Verdict":
    """Diagnose the bias model in `folder` and its start on the dev split, fed as in training; write and return the verdict."""
    from videothinker import store
    from videothinker.diagnose import run, runs
    from videothinker.diagnose.settings import Settings
    from videothinker.train.gate import GATE, judge

    asked = Settings(
        split=curated.default_split(),
        prompt=settings.data.prompt,
        n_frames=settings.data.n_frames,
        max_pixels=settings.data.max_pixels,
        max_new_tokens=settings.rollouts.max_new_tokens,
        seed=settings.seed,
    )
    jobs = run.plan({"start": start, "bias": str(folder)}, curated, asked, folder / "gate")
    with progress_bar("checking the bias model", sum(len(job.owed) for job in jobs), "questions") as progress:
        run.diagnose(jobs, run.open_answerer, progress=progress)
    found = [_measured(each.metrics) for each in runs.load_runs([job.folder for job in jobs], curated, rule)]
    verdict = judge(found[0], found[1], settings.gate, split=asked.split, rule=rule or curated.manifest.rule)
    store.write_json(folder / GATE, verdict)
    return verdict


def _measured(metrics: Any) -> "Measured":
    from videothinker.train.gate import Measured

    return Measured(
        observational=metrics.observational.per_question.value,
        inferential=metrics.inferential.per_question.value,
        shortcut_reliance=metrics.shortcut_reliance.value,
        n_observational=metrics.observational.n_questions,
        n_inferential=metrics.inferential.n_questions,
    )


def _say(verdict: "Verdict", folder: Path) -> None:
    if verdict.passed:
        out.print(
            f"[green]gate passed[/green]: a shortcut model; go on with vt train cdpo --bias-model {folder}", soft_wrap=True
        )
    else:
        warn(f"gate not passed: {'; '.join(verdict.reasons)}; vt train cdpo will refuse {folder} unless --force")


def _line(row: "StepRecord") -> str:
    shown = [("reward", row.reward), *row.rewards.items(), ("kl", row.kl), ("length", row.length)]
    parts = [f"{name} {value:.3g}" for name, value in shown if value is not None]
    return f"step {row.step}: {', '.join(parts)}, {row.seconds or 0:.1f} s"


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"
