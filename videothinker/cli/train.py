"""`vt train`: one command per stage. Each loads its config, opens its questions, trains and prints what came of it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from videothinker.cli import options, output, train_curves, train_help, train_options
from videothinker.cli.console import warn
from videothinker.cli.push import prepared
from videothinker.cli.train_display import display, say_answered, say_judged, say_record, say_trained
from videothinker.records import Rule

if TYPE_CHECKING:
    from videothinker.curated import Curated
    from videothinker.train.run import Outcome
    from videothinker.train.stages import StageConfig

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Train the shortcut (bias), train away from it (cdpo), train the plain baseline (grpo), or answers before and after"
    " thinking (auto).",
)
app.command(epilog=train_curves.EPILOG)(train_curves.curves)


@app.command(epilog=train_help.BIAS)
def bias(
    config: train_options.Config,
    data: train_options.Data,
    model: train_options.Model,
    out: train_options.Out,
    videos: train_options.Videos = None,
    rule: train_options.TheRule = None,
    labels: train_options.Labels = None,
    where: train_options.Where = None,
    set_: train_options.Set = None,
    dry_run: train_options.DryRun = False,
    fast: train_options.Fast = False,
    push_to_hub: options.PushToHub = None,
    json: options.Json = False,
) -> None:
    """Stage 1: GRPO on the observational questions alone makes a [bold]shortcut model[/bold].

    Then diagnoses it and its start on the dev split, sampled as in training, and writes to OUT/gate.json whether it may serve
    as a bias model: yes, no, or undecided.
    """
    from videothinker.recipes import training

    output.choose(json)
    upload = prepared(push_to_hub)
    settings = _settings("bias", config, set_, where)
    curated = _curated(data, videos, labels)
    if dry_run:
        say_record(train_stage(settings, curated, start=model, folder=out, rule=rule, dry_run=True))
        return
    made = training.train_bias(settings, curated, start=model, out=out, rule=rule, fast=fast, **display(settings))
    say_trained(settings, made.outcome, out)
    if made.verdict is not None:
        say_judged(made.verdict, out)
    pushed = upload(out, out / "gate" / ("greedy" if fast else "sampled"))
    say_record(made.outcome, made.verdict, pushed=pushed)


@app.command(epilog=train_help.CDPO)
def cdpo(
    config: train_options.Config,
    data: train_options.Data,
    model: train_options.Model,
    out: train_options.Out,
    bias_model: train_options.BiasModel = None,
    videos: train_options.Videos = None,
    rule: train_options.RuleOfWhere = None,
    labels: train_options.Labels = None,
    where: train_options.Where = None,
    set_: train_options.Set = None,
    dry_run: train_options.DryRun = False,
    force: train_options.Force = False,
    push_to_hub: options.PushToHub = None,
    json: options.Json = False,
) -> None:
    """Stage 2: GRPO on all questions, [bold]repelled[/bold] from the frozen bias model."""
    from videothinker.train.objective import Reference

    output.choose(json)
    upload = prepared(push_to_hub)
    settings = _settings("cdpo", config, set_, where)
    gated = bias_model is not None and settings.objective.reference is Reference.BIAS and not force
    if bias_model is not None and gated:
        _require_gate(bias_model)
    curated = _curated(data, videos, labels)
    outcome = train_stage(settings, curated, start=model, folder=out, bias_model=bias_model, rule=rule, dry_run=dry_run)
    say_record(outcome, pushed=None if dry_run else upload(out, None))


@app.command(epilog=train_help.GRPO)
def grpo(
    config: train_options.Config,
    data: train_options.Data,
    model: train_options.Model,
    out: train_options.Out,
    videos: train_options.Videos = None,
    rule: train_options.RuleOfWhere = None,
    labels: train_options.Labels = None,
    where: train_options.Where = None,
    set_: train_options.Set = None,
    dry_run: train_options.DryRun = False,
    push_to_hub: options.PushToHub = None,
    json: options.Json = False,
) -> None:
    """The baseline: stage 2 without repulsion."""
    output.choose(json)
    upload = prepared(push_to_hub)
    settings = _settings("grpo", config, set_, where)
    curated = _curated(data, videos, labels)
    outcome = train_stage(settings, curated, start=model, folder=out, rule=rule, dry_run=dry_run)
    say_record(outcome, pushed=None if dry_run else upload(out, None))


@app.command(epilog=train_help.AUTO)
def auto(
    config: train_options.Config,
    data: train_options.Data,
    model: train_options.Model,
    out: train_options.Out,
    bias_model: train_options.BiasModelToo = None,
    videos: train_options.Videos = None,
    rule: train_options.RuleOfWhere = None,
    labels: train_options.Labels = None,
    where: train_options.Where = None,
    set_: train_options.Set = None,
    dry_run: train_options.DryRun = False,
    force: train_options.Force = False,
    push_to_hub: options.PushToHub = None,
    json: options.Json = False,
) -> None:
    """VideoAuto-R1: GRPO on replies that [bold]answer, think and answer again[/bold], kept near the start.

    Ends with a table by category: how often the first and the second answer were right, and what thinking fixed and broke.
    """
    from videothinker.recipes import training

    output.choose(json)
    upload = prepared(push_to_hub)
    settings = _settings("auto", config, set_, where)
    if bias_model is not None and not force:
        _require_gate(bias_model)
    curated = _curated(data, videos, labels)
    outcome = train_stage(settings, curated, start=model, folder=out, bias_model=bias_model, rule=rule, dry_run=dry_run)
    answered = None if dry_run else training.answered_twice(out, settings, curated, rule)
    say_answered(answered)
    say_record(outcome, answered=answered, pushed=None if dry_run else upload(out, None))


def _settings(stage: str, config: Path, set_: list[str] | None, where: str | None) -> "StageConfig":
    """A stage's settings, by its name: the file's, and what the command line says. --where is one of them, `data.where`."""
    from videothinker.train.stage_files import load_stage
    from videothinker.train.stages import Stage

    chosen = [] if where is None else [f"data.where={json.dumps(where, ensure_ascii=False)}"]
    return load_stage(Stage(stage), config, [*(set_ or []), *chosen])


def _curated(data: Path, videos: Path | None, labels: list[Path] | None) -> "Curated":
    from videothinker.curated import open_curated

    return open_curated(data, videos, label_files=labels or ())


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
        settings, curated, start=start, out=folder, bias=bias_model, rule=rule, dry_run=dry_run, **display(settings)
    )
    say_trained(settings, outcome, None if dry_run else folder)
    return outcome
