"""`vt train`: the bias model, CDPO, the GRPO baseline, and replies that answer twice."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videothinker.cli import options, output, train_curves
from videothinker.cli.console import notes, out, progress_bar, warn
from videothinker.cli.push import prepared
from videothinker.cli.train_display import say_answered, step_line
from videothinker.records import Rule
from videothinker.shipped import config_file

if TYPE_CHECKING:
    from videothinker.curated import Curated
    from videothinker.recipes.pushing import Pushed
    from videothinker.recipes.training import AnsweredTwice
    from videothinker.records.training import GateVerdict, Matched, StepRecord
    from videothinker.train.run import Outcome
    from videothinker.train.stages import StageConfig

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Train the shortcut (bias), train away from it (cdpo), train the plain baseline (grpo), or answers before and after"
    " thinking (auto).",
)
app.command(epilog=train_curves.EPILOG)(train_curves.curves)

Config = Annotated[
    Path,
    typer.Option("--config", metavar="FILE|NAME", help="TOML, or a name that vt config list shows.", callback=config_file),
]
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder that vt curate wrote.")]
Model = Annotated[str, typer.Option("--model", metavar="REF", help="Checkpoint to train: a folder or a hub id.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The same one with the same settings is resumed.")]
Videos = Annotated[
    Path | None, typer.Option("--videos", metavar="DIR", help="Where the clips are, if not where curation found them.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. optimizer.steps=100. Repeatable."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Load everything, take one step, say memory, tokens and time; keep nothing.")
]
Force = Annotated[bool, typer.Option("--force", help="Go on although the bias model has not passed its gate.")]
TheRule = Annotated[
    Rule | None, typer.Option("--rule", help="Whose observational questions are taken; default the curated folder's own rule.")
]
RuleOfWhere = Annotated[
    Rule | None, typer.Option("--rule", help="Whose category --where means; default the curated folder's own rule.")
]
Labels = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Labels from elsewhere, such as a probe's; the first file's categories count. Repeatable.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="EXPR", help="""Train where this SQL is true, e.g. "category = 'inferential'"."""),
]

_LAUNCH = """
[bold]Several GPUs or machines[/bold]

  accelerate launch --config_file configs/accelerate/ddp.yaml -m videothinker train {stage} ...

[bold]What lies in OUT[/bold]

  a checkpoint (for LoRA an adapter), run.json, metrics.jsonl, curves.html, completions.parquet, checkpoint-N/ to resume
  from{more}
"""

_CHOICE = """
[bold]On chosen questions[/bold]

  ... --where "category = 'inferential'"                  a column of questions.parquet, or the labels' category

  ... --labels probe.parquet --where "blind < 0.5"        or a further column of a label file
"""

_BIAS = """[bold]Examples[/bold]

  vt train bias --config configs/bias-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/bias

  vt train bias --config configs/bias-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out x --dry-run

[bold]Without a collision log[/bold]

  ... --labels probe.parquet                              observational by what a probe has found
""" + _LAUNCH.format(stage="bias", more=", gate.json")

_CDPO = (
    """[bold]Examples[/bold]

  vt train cdpo --config configs/cdpo-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --bias-model runs/bias
  --out runs/cdpo

[bold]The ablations of the paper[/bold]

  ... --set objective.direction=attract

  ... --set objective.reference=start          repels from its own start: measured here, that ends about where GRPO does

  ... --set objective.repulsion=0.03

[bold]Without a bias model[/bold]

  ... --set objective.reference=self --set objective.reference_clip=blank       repels from itself with nothing to see
"""
    + _CHOICE
    + _LAUNCH.format(stage="cdpo", more="")
)

_GRPO = (
    """[bold]Examples[/bold]

  vt train grpo --config configs/grpo-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/grpo

  vt train grpo --config configs/grpo-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/grpo-7
  --set seed=7
"""
    + _CHOICE
    + _LAUNCH.format(stage="grpo", more="")
)


_AUTO = (
    """[bold]Examples[/bold]

  vt train auto --config configs/auto-3b.toml --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/auto

[bold]Both papers in one run[/bold]

  ... --bias-model runs/bias --set objective.repulsion=0.01

[bold]The comparisons of the paper: answers alone, and thinking alone[/bold]

  vt train grpo ... --set data.prompt=direct

  vt train grpo ... --set data.prompt=cot
"""
    + _CHOICE
    + _LAUNCH.format(stage="auto", more="")
)


@app.command(epilog=_BIAS)
def bias(
    config: Config,
    data: Data,
    model: Model,
    out: Out,
    videos: Videos = None,
    rule: TheRule = None,
    labels: Labels = None,
    where: Where = None,
    set_: Set = None,
    dry_run: DryRun = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Gate by one greedy look, without intervals. The default samples as training does.")
    ] = False,
    push_to_hub: options.PushToHub = None,
    json: options.Json = False,
) -> None:
    """Stage 1: GRPO on the observational questions alone makes a [bold]shortcut model[/bold].

    Then diagnoses it and its start on the dev split, sampled as in training, and writes to OUT/gate.json whether it may serve
    as a bias model: yes, no, or undecided.
    """
    from videothinker.curated import open_curated
    from videothinker.recipes import training
    from videothinker.train.stages import Stage, load_stage

    output.choose(json)
    upload = prepared(push_to_hub)
    settings = load_stage(Stage.BIAS, config, _overrides(set_, where))
    curated = open_curated(data, videos, label_files=labels or ())
    if dry_run:
        _say_record(train_stage(settings, curated, start=model, folder=out, rule=rule, dry_run=True))
        return
    made = training.train_bias(settings, curated, start=model, out=out, rule=rule, fast=fast, **_display(settings))
    _say_trained(settings, made.outcome, out)
    if made.verdict is not None:
        _say_judged(made.verdict, out)
    pushed = upload(out, out / "gate" / ("greedy" if fast else "sampled"))
    _say_record(made.outcome, made.verdict, pushed=pushed)


@app.command(epilog=_CDPO)
def cdpo(
    config: Config,
    data: Data,
    model: Model,
    out: Out,
    bias_model: Annotated[
        str | None,
        typer.Option(
            "--bias-model",
            metavar="REF",
            help="What vt train bias wrote: frozen, and repelled from; not with objective.reference start or self.",
        ),
    ] = None,
    videos: Videos = None,
    rule: RuleOfWhere = None,
    labels: Labels = None,
    where: Where = None,
    set_: Set = None,
    dry_run: DryRun = False,
    force: Force = False,
    push_to_hub: options.PushToHub = None,
    json: options.Json = False,
) -> None:
    """Stage 2: GRPO on all questions, [bold]repelled[/bold] from the frozen bias model."""
    from videothinker.curated import open_curated
    from videothinker.train.stages import Reference, Stage, load_stage

    output.choose(json)
    upload = prepared(push_to_hub)
    settings = load_stage(Stage.CDPO, config, _overrides(set_, where))
    gated = bias_model is not None and settings.objective.reference is Reference.BIAS and not force
    if bias_model is not None and gated:
        _require_gate(bias_model)
    curated = open_curated(data, videos, label_files=labels or ())
    outcome = train_stage(settings, curated, start=model, folder=out, bias_model=bias_model, rule=rule, dry_run=dry_run)
    _say_record(outcome, pushed=None if dry_run else upload(out, None))


@app.command(epilog=_GRPO)
def grpo(
    config: Config,
    data: Data,
    model: Model,
    out: Out,
    videos: Videos = None,
    rule: RuleOfWhere = None,
    labels: Labels = None,
    where: Where = None,
    set_: Set = None,
    dry_run: DryRun = False,
    push_to_hub: options.PushToHub = None,
    json: options.Json = False,
) -> None:
    """The baseline: stage 2 without repulsion."""
    from videothinker.curated import open_curated
    from videothinker.train.stages import Stage, load_stage

    output.choose(json)
    upload = prepared(push_to_hub)
    settings = load_stage(Stage.GRPO, config, _overrides(set_, where))
    curated = open_curated(data, videos, label_files=labels or ())
    outcome = train_stage(settings, curated, start=model, folder=out, rule=rule, dry_run=dry_run)
    _say_record(outcome, pushed=None if dry_run else upload(out, None))


@app.command(epilog=_AUTO)
def auto(
    config: Config,
    data: Data,
    model: Model,
    out: Out,
    bias_model: Annotated[
        str | None,
        typer.Option("--bias-model", metavar="REF", help="Repel from this checkpoint too; set objective.repulsion with it."),
    ] = None,
    videos: Videos = None,
    rule: RuleOfWhere = None,
    labels: Labels = None,
    where: Where = None,
    set_: Set = None,
    dry_run: DryRun = False,
    force: Force = False,
    push_to_hub: options.PushToHub = None,
    json: options.Json = False,
) -> None:
    """VideoAuto-R1: GRPO on replies that [bold]answer, think and answer again[/bold], kept near the start.

    Ends with a table by category: how often the first and the second answer were right, and what thinking fixed and broke.
    """
    from videothinker.curated import open_curated
    from videothinker.recipes import training
    from videothinker.train.stages import Stage, load_stage

    output.choose(json)
    upload = prepared(push_to_hub)
    settings = load_stage(Stage.AUTO, config, _overrides(set_, where))
    if bias_model is not None and not force:
        _require_gate(bias_model)
    curated = open_curated(data, videos, label_files=labels or ())
    outcome = train_stage(settings, curated, start=model, folder=out, bias_model=bias_model, rule=rule, dry_run=dry_run)
    answered = None if dry_run else training.answered_twice(out, settings, curated, rule)
    say_answered(answered)
    _say_record(outcome, answered=answered, pushed=None if dry_run else upload(out, None))


def _overrides(set_: list[str] | None, where: str | None) -> list[str]:
    """What the command line says of the settings; --where is one of them, `data.where`."""
    return [*(set_ or []), *([] if where is None else [f"data.where={json.dumps(where, ensure_ascii=False)}"])]


def _require_gate(bias_model: str) -> None:
    """Raise VtError unless the bias model passed its gate; say so where that was a fast look."""
    from videothinker.train.gate import require_pass

    if require_pass(bias_model).fast:
        warn(f"{bias_model}: its gate was passed at one greedy look; vt train bias without --fast judges it as it samples")


def train_stage(
    settings: "StageConfig",
    curated: "Curated",
    *,
    start: str,
    folder: Path,
    bias_model: str | None = None,
    rule: Rule | None = None,
    dry_run: bool = False,
) -> "Outcome":
    """Train one stage with a progress bar, and print what it came to. Only the main process prints."""
    from videothinker.recipes import training

    outcome = training.train(
        settings, curated, start=start, out=folder, bias=bias_model, rule=rule, dry_run=dry_run, **_display(settings)
    )
    _say_trained(settings, outcome, None if dry_run else folder)
    return outcome


def _display(settings: "StageConfig") -> dict[str, Any]:
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

    return {"report": report, "warn": warn, "matched": matched, "bars": progress_bar}


def _say_trained(settings: "StageConfig", outcome: "Outcome", folder: Path | None) -> None:
    """folder: None if nothing was kept."""
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


def _say_record(
    outcome: "Outcome",
    gate: "GateVerdict | None" = None,
    answered: "AnsweredTwice | None" = None,
    pushed: "Pushed | None" = None,
) -> None:
    from videothinker.train.process import is_main

    if is_main():
        more = {"answered": answered and output.answered_record(answered), "pushed": pushed and pushed._asdict()}
        output.show({"already": outcome.already, "result": outcome.result, "gate": gate} | more)


def _say_judged(verdict: "GateVerdict", folder: Path) -> None:
    from videothinker.records.training import Judged

    what = (verdict.verdict or (Judged.SHORTCUT if verdict.passed else Judged.NO_SHORTCUT)).value
    if verdict.passed:
        out.print(f"[green]gate passed[/green]: {what}; go on with vt train cdpo --bias-model {folder}", soft_wrap=True)
    else:
        warn(f"gate not passed: {what}: {'; '.join(verdict.reasons)}; vt train cdpo will refuse {folder} unless --force")
