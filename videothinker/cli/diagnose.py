"""`vt diagnose`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from videothinker import shards
from videothinker.cli import options, output
from videothinker.cli.asked import said_prompt, trained_prompts
from videothinker.cli.console import notes, progress_bar, quiet_unless, show_shard, warn
from videothinker.cli.console import out as console
from videothinker.cli.diagnosis_display import show_report
from videothinker.cli.sbatch import print_array_job
from videothinker.diagnose.protocols import OURS
from videothinker.diagnose.views import damaging_views
from videothinker.errors import VtError

if TYPE_CHECKING:
    from videothinker.diagnose.layers import Layer
    from videothinker.diagnose.presets import Preset
    from videothinker.diagnose.run import SetToAsk

EPILOG = """[bold]Examples[/bold]

Solvers alone, no weights, no clips: what watching is worth on your data.

  vt diagnose --data curated --model solver:observer --model solver:gold --out runs

Two checkpoints on the held-out scenes, side by side:

  vt diagnose --data curated --model base=Qwen/Qwen2.5-VL-3B-Instruct --model ours=runs/cdpo --out runs/dev

A published checkpoint, asked as its authors feed it; --list-presets shows all:

  vt diagnose --data curated --preset videorft-3b --out runs/published

A benchmark as its own evaluator asks and reads it, and read as everyone else does:

  vt diagnose --data mvbench --protocol official --model Qwen/Qwen2.5-VL-3B-Instruct --out runs/mvbench

In words of your own, which --show-prompt prints as the model gets them:

  vt diagnose --data curated --model runs/cdpo --out runs/mine --prompt configs/prompts/observe-first.jinja --show-prompt

A first look at 200 questions, on a server that speaks the OpenAI protocol:

  vt diagnose --data curated --model Qwen2.5-VL-3B-Instruct --endpoint http://localhost:8000/v1 --limit 200 --out runs/look

On two servers that serve the same, shown 16 frames that are chosen here:

  vt diagnose --data curated --model NAME --endpoint http://a:8000/v1 --endpoint http://b:8000/v1 --frames 16 --out runs/two

The paper's table: each checkpoint is loaded once, and its score on every data set stands in one report:

  vt diagnose --data clevrer --data mmvu --data mvbench --model base=REF --model ours=runs/cdpo --out runs/table

All GPUs of a machine, each with its share of the clips; kill it and go on with any number of them:

  torchrun --nproc-per-node 8 -m videothinker diagnose --data curated --model runs/cdpo --out runs/dev

Is the clip needed, is its order, and do answers come from where the evidence is? Each view is asked beside the clip as it is:

  vt diagnose --data curated --model runs/cdpo --views blind,shuffled,mirrored,evidence,elsewhere --out runs/views

One of 16 machines that share a folder, and then all together; the second line prints a Slurm script that does both:

  vt diagnose --data curated --model runs/cdpo --out runs/dev --shard 3/16   # then vt merge runs/dev

  vt diagnose --data curated --model runs/cdpo --out runs/dev --print-sbatch 16 > dev.sbatch
"""


def diagnose(
    data: options.Data,
    out: options.RunDir,
    model: options.Models = None,
    preset: options.PresetName = None,
    list_presets: options.ListPresets = False,
    videos: options.Videos = None,
    split: options.Splits = None,
    limit: options.Limit = None,
    labels: options.Labels = None,
    resume: options.Resume = True,
    protocol: options.Protocol = OURS,
    list_protocols: options.ListProtocols = False,
    prompt: options.Prompt = None,
    show_prompt: options.ShowPrompt = False,
    frames: options.Frames = None,
    max_pixels: options.MaxPixels = None,
    batch_size: options.BatchSize = None,
    engine: options.Engine = "auto",
    engine_python: options.EnginePython = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_new_tokens: options.MaxNewTokens = None,
    stop_at: options.StopAt = None,
    seed: options.Seed = 42,
    text_positions: options.Positions = None,
    revision: options.Revision = None,
    dtype: options.Dtype = "auto",
    attention: options.Attention = "auto",
    decoder: options.Decoder = "auto",
    clip_cache: options.ClipCache = True,
    trust_remote_code: options.TrustRemoteCode = False,
    baseline: options.Baseline = None,
    report: options.DrawReport = True,
    endpoint: options.Endpoints = None,
    send: options.Send = "clip",
    views: options.Views = None,
    shard: options.ShardOf = None,
    print_sbatch: options.PrintSbatch = None,
    json: options.Json = False,
) -> None:
    """Accuracy by category: does a checkpoint [bold]reason[/bold], or does it just [bold]look[/bold]?

    Appends a line a question to OUT/NAME/predictions.jsonl and draws OUT/report.html; with several data sets
    to OUT/DATASET/NAME/predictions.jsonl, and OUT/report.html is a table of all.
    Kill it anywhere and run it again: only what is missing is asked. A shard writes into OUT/shards/I-of-N/.

    Chance, the blind prior and the observer, who only watches, are rows of every report.
    """
    from videothinker.curated import open_curated
    from videothinker.diagnose import layers, merge, run, runs, solvers, view_runs, vllm_child
    from videothinker.diagnose.served import said_of
    from videothinker.diagnose.settings import DiagnosisSettings
    from videothinker.diagnose.stop_sweep import stop_named
    from videothinker.diagnose.workers import worker
    from videothinker.prompts import template
    from videothinker.recipes import benchmarks, diagnosis

    output.choose(json)
    shown = [] if views is None else damaging_views(views)
    if shown and (shard or print_sbatch):
        raise VtError(f"--views {views}: is not asked in shards; leave out --shard and --print-sbatch, or ask on one machine")
    if engine_python is not None:
        vllm_child.use(engine_python)
    mine = None if shard is None else shards.parse(shard)
    models, published = _asked(model or [], preset)
    folders = run.data_names(data)
    clips, splits = (
        run.of_each(given or [], list(folders), option) for given, option in ((videos, "--videos"), (split, "--split"))
    )
    label_files = run.label_files(labels or [], list(folders))
    curated = {
        name: open_curated(each, Path(clips[name]) if name in clips else None, label_files=label_files.get(name, ()))
        for name, each in folders.items()
    }
    several = len(curated) > 1
    benchmarks.check_out(out, several=several)
    stop = None if stop_at is None else stop_named(stop_at)
    asked = {name: splits.get(name) or each.default_split() for name, each in curated.items()}
    endpoints = endpoint or []
    whole_clips = bool(endpoints) and not frames
    names = run.model_names(models)
    trained = trained_prompts(names, revision, served=bool(endpoints))
    said = said_prompt(prompt, protocol)
    below = {
        name: [
            layers.protocol_layer(protocol, each.questions(asked[name]), whole_clips=whole_clips),
            *([layers.preset_layer(published, whole_clips=whole_clips)] if published else []),
        ]
        for name, each in curated.items()
    }
    explicit = layers.command_line(
        [layer for each in below.values() for layer in each],  # a protocol need not set the frames of every data set
        n_frames=frames,
        max_pixels=max_pixels,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
    )
    if said is not None:
        if prompt is not None and said.asked is not None and said.asked.template is not None:
            for name, each in curated.items():
                template.check(said.asked.template, each.questions(asked[name]), prompt)
        explicit = explicit._replace(values={**explicit.values, **layers.prompt_values(said.asked)})
    saved = {} if said is not None else {name: layers.saved_layer(names[name], each) for name, each in trained.items()}
    sources = layers.Sources({name: [explicit, *each] for name, each in below.items()}, saved)

    # Where all checkpoints are asked in the prompts of their training, what is shared is for solvers at most, which never stop.
    shares = not saved or any(name not in saved and not ref.startswith(solvers.PREFIX) for name, ref in names.items())

    def settings(split: str, given: "Sequence[Layer]", stop: float | None) -> DiagnosisSettings:
        return DiagnosisSettings(
            split=split,
            protocol=protocol,
            **layers.values(given),
            batch_size=batch_size,
            stop_at=stop,
            engine=engine,
            seed=seed,
            text_positions=text_positions,
            revision=revision or (published.revision if published and not model else None),
            preset=preset,
            dtype=dtype,
            attention=attention,
            decoder=decoder,
            send=send,
        )

    into = out if mine is None else mine.folder(out)
    sets = [
        run.SetToAsk(
            each,
            settings(asked[name], sources.by_set[name], stop if shares else None),
            into / name if several else into,
            {one: settings(asked[name], given, stop) for one, given in sources.by_model(name).items()},
        )
        for name, each in curated.items()
    ]
    otherwise = (
        [] if said is None else [layers.asked_otherwise(names[name], each, said.asked) for name, each in trained.items()]
    )
    if show_prompt:
        for told in filter(None, otherwise):
            warn(told)
        for data_set in sets:
            _show_prompts(names, data_set, served=bool(endpoints))
        return
    if baseline is not None and not several:
        raise VtError(f"--baseline {baseline}: is for several data sets; with one, the report compares all pairs")
    if baseline is not None:
        benchmarks.check_baseline(out, baseline, list(names))
    if print_sbatch is not None:
        solved = all(ref.startswith(solvers.PREFIX) for ref in names.values())
        print_array_job(print_sbatch, shard=shard, merged=out, n_gpus=0 if solved or endpoints else 1)
        return
    if mine is not None:
        shards.check_number(out, mine)
    with worker() as me:
        jobs = run.plan_sets(
            names,
            sets,
            endpoints=endpoints,
            served=said_of(endpoints, names.values()),
            limit=limit,
            resume=resume,
            rank=me.rank,
            warn=warn,
            shard=mine,
        )
        if mine is not None:
            merge.check_beside(jobs, out, mine)
        if shown:
            jobs = view_runs.plan(jobs, shown, resume=resume, rank=me.rank, warn=warn)
        if me.rank == 0:
            for told in filter(None, otherwise):
                warn(told)
            for line in sources.told(names):
                notes.print(line, soft_wrap=True, markup=False, highlight=False)
        if me.rank == 0 and (kept := sum(len(job.wanted) - len(job.owed) for job in jobs)):
            notes.print(f"{kept:,} of {sum(len(job.wanted) for job in jobs):,} questions are answered already")
        diagnosis.ask(
            jobs,
            endpoints=endpoints,
            clip_cache=clip_cache,
            trust_remote_code=trust_remote_code,
            worker=me,
            bars=partial(quiet_unless, me.rank == 0),
            warn=warn,
        )
    if me.rank == 0 and mine is not None:
        n_answered = sum(len(job.wanted) for job in jobs)
        show_shard(mine, f"{n_answered:,} questions", out, [job.folder.relative_to(into) for job in jobs])
    if me.rank != 0 or mine is not None or not report:
        return
    if several:
        from videothinker.cli.benchmarks_display import show_benchmarks

        found = benchmarks.load_beside(jobs, curated, out)
        table = benchmarks.report(found, curated, out, baseline=baseline, bars=progress_bar)
        show_benchmarks(table)
        output.show(output.benchmarks_record(table))
    else:
        (one,) = curated.values()
        beside = runs.folders_beside([job.folder for job in jobs if job.view is None], out)
        drawn = diagnosis.report(runs.load_runs(beside, one), one, out, bars=progress_bar)
        show_report(drawn)
        output.show(output.report_record(drawn))


def _show_prompts(names: "Mapping[str, str]", asked: "SetToAsk", *, served: bool) -> None:
    """Print the first question as each model gets it."""
    from videothinker.recipes.diagnosis import shown_prompts

    for shown in shown_prompts(names, asked, served=served):
        console.print(f"[bold]{escape(shown.name)}[/bold], {escape(shown.told)}", soft_wrap=True, highlight=False)
        console.print(shown.text, soft_wrap=True, markup=False, highlight=False)


def _asked(models: list[str], name: str | None) -> "tuple[list[str], Preset | None]":
    """The models to ask, and the preset.

    Raises:
        VtError: there is neither model nor preset, there is no such preset, or it is not for these models.
    """
    if name is None:
        if not models:
            raise VtError("whom to ask? give --model [NAME=]REF, or --preset NAME (vt diagnose --list-presets shows them)")
        return models, None
    from videothinker.diagnose import presets, run

    preset = presets.find(name)
    for ref in run.model_names(models).values():
        presets.check_fits(preset, ref)
    return models or [f"{preset.name}={preset.ref}"], preset
