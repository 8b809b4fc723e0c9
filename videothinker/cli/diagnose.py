"""`vt diagnose`, and the table and pages that it shares with `vt report`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.markup import escape

from videothinker import prompts
from videothinker.cli.console import Printable, err, progress_bar, quiet_unless, warn
from videothinker.cli.console import out as console
from videothinker.diagnose.engines import ENGINES
from videothinker.diagnose.protocols import OURS, PROTOCOLS
from videothinker.errors import VtError
from videothinker.models.text_positions import TextPositions

if TYPE_CHECKING:
    from rich.table import Table

    from videothinker.diagnose.layers import Layer
    from videothinker.diagnose.presets import Preset
    from videothinker.diagnose.run import SetToAsk
    from videothinker.diagnose.runs import Run
    from videothinker.recipes.diagnosis import Report
    from videothinker.records import Estimate, Metrics

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        metavar="[NAME=]FILE",
        help="Also break down by labels from elsewhere, such as a probe's; the first file's categories come first. Repeatable.",
    ),
]
_DASH = "\u2013"
_ASKING = "How the checkpoints are asked"
_CAPTION = """\
\u00b1: the longer side of the 95 % interval, clustered by scene.
gap: observational minus inferential.
reliance: inferential answers that are the observer's.
unread: no answer found; cut: at the token limit; lost: clip could not be read.
"""
_UNLABELLED = """\
\u00b1: the longer side of the 95 % interval, clustered by clip.
chance: what a random answer of each question's form is worth.
unread: no answer found; cut: at the token limit; lost: clip could not be read.
"""


def _list_protocols(wanted: bool) -> None:
    """Print every protocol with its source and faults, and stop, if that is wanted."""
    if not wanted:
        return
    from videothinker.diagnose.protocols import all_protocols

    for each in all_protocols():
        known = "any question set" if each.benchmarks is None else ", ".join(each.benchmarks)
        console.print(f"[bold]{each.name}[/bold]: {escape(PROTOCOLS[each.name])}", soft_wrap=True)
        console.print(f"  from {escape(each.source)}; for {escape(known)}", soft_wrap=True)
        for fault in each.faults:
            console.print(f"  - {escape(fault)}", style="dim", soft_wrap=True)
    raise typer.Exit


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

The paper's table: each checkpoint is loaded once, and its score on every data set stands in one report:

  vt diagnose --data clevrer --data mmvu --data mvbench --model base=REF --model ours=runs/cdpo --out runs/table

All GPUs of a machine, each with its share of the clips; kill it and go on with any number of them:

  torchrun --nproc-per-node 8 -m videothinker diagnose --data curated --model runs/cdpo --out runs/dev
"""


def _list_presets(wanted: bool) -> None:
    """Print the presets and end, if that is wanted."""
    if not wanted:
        return
    from rich import box
    from rich.table import Table

    from videothinker.diagnose.presets import PRESETS

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("preset", "checkpoint", "frames", "pixels", "tokens", "prompt", "protocol"):
        table.add_column(column, overflow="fold")
    for each in PRESETS:
        pinned = "not pinned" if each.revision is None else f"revision {each.revision[:12]}"
        positions = "" if each.text_positions is None else f"; text positions {each.text_positions.value}"
        told = (
            f"{each.ref} ({each.architecture}, {pinned}{positions})\n[dim]{escape(each.note)}; by {escape(each.source)}[/dim]"
        )
        limits = ("its own" if n is None else f"{n:,}" for n in (each.n_frames, each.max_pixels, each.max_new_tokens))
        table.add_row(f"[bold]{each.name}[/bold]", told, *limits, each.prompt.value, each.protocol)
    wide = console if console.is_terminal else Printable(highlight=False, width=160)
    wide.print(table)
    console.print(
        "protocol: whose way of asking and reading the published numbers rest on; --protocol with that name asks and reads so.",
        style="dim",
        soft_wrap=True,
    )
    raise typer.Exit


def diagnose(
    data: Annotated[
        list[str], typer.Option(metavar="[NAME=]DIR", help="Folder that vt curate wrote. Repeat for several, in one table.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Run folder; the same one with the same settings is resumed.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]REF",
            help="A checkpoint folder, a hub id, or solver:observer, gold, prior, random, none. Repeat for several.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A published checkpoint and how to ask it; with --model, how to ask that one."),
    ] = None,
    list_presets: Annotated[
        bool, typer.Option("--list-presets", callback=_list_presets, is_eager=True, help="Show the presets and end.")
    ] = False,
    videos: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DIR", help="Where the clips are, of all data sets or of one, if not where curation found them."
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]SPLIT", help="Split to ask, of all data sets or of one; default dev, else the only one."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Ask N questions of each data set only, of every kind its share.")
    ] = None,
    labels: Labels = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on where a run stopped, or ask everything anew.")
    ] = True,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Whose way of asking and reading: " + ", ".join(PROTOCOLS) + ". Options given beside it win.",
            rich_help_panel=_ASKING,
        ),
    ] = OURS,
    list_protocols: Annotated[
        bool,
        typer.Option(
            "--list-protocols",
            help="Say what every protocol is and what it does wrong, and stop.",
            is_eager=True,
            callback=_list_protocols,
            rich_help_panel=_ASKING,
        ),
    ] = False,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help=f"{', '.join(prompts.NAMES)}, protocol (its own words), or a template's file; default what a checkpoint was "
            "trained with, else the protocol's or preset's, else cot.",
            rich_help_panel=_ASKING,
        ),
    ] = None,
    show_prompt: Annotated[
        bool,
        typer.Option(
            "--show-prompt",
            help="Print the first question as each model would get it, and end; nothing is loaded or written.",
            rich_help_panel=_ASKING,
        ),
    ] = False,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Frames a clip; default the protocol's, else the checkpoint's own, else 32. 0: not the protocol's.",
            rich_help_panel=_ASKING,
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Pixels a frame; default the protocol's, else the checkpoint's own, else 200704. 0: not the protocol's.",
            rich_help_panel=_ASKING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Questions at once, halved when memory runs out; default 32, with graphs what memory allows.",
            rich_help_panel=_ASKING,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="What writes replies. " + "; ".join(f"{name}: {what}" for name, what in ENGINES.items()) + ".",
            rich_help_panel=_ASKING,
        ),
    ] = "auto",
    temperature: Annotated[
        float | None, typer.Option(help="0, the default, decodes greedily; more than 0 samples.", rich_help_panel=_ASKING)
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P", help="Sample among the likeliest tokens alone, which sum to P; default 1.", rich_help_panel=_ASKING
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Length of the longest reply, in tokens; default 1024.", rich_help_panel=_ASKING),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of sampling and of solver:random.", rich_help_panel=_ASKING)] = 42,
    text_positions: Annotated[
        TextPositions | None,
        typer.Option(
            help="Where the text behind a clip goes on: behind its time (original), or as transformers 5.3 and later have it; "
            "default the rule that the checkpoint was trained with.",
            rich_help_panel=_ASKING,
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REV", help="Commit, tag or branch of a checkpoint on the hub.", rich_help_panel=_ASKING),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Type of the weights: auto, bfloat16, float16 or float32.", rich_help_panel=_ASKING)
    ] = "auto",
    attention: Annotated[
        str, typer.Option(help="Attention to use: auto, flash_attention_2, sdpa or eager.", rich_help_panel=_ASKING)
    ] = "auto",
    decoder: Annotated[
        str, typer.Option(help="What reads the clips: auto, decord, torchcodec or pyav.", rich_help_panel=_ASKING)
    ] = "auto",
    clip_cache: Annotated[
        bool,
        typer.Option(
            "--clip-cache/--no-clip-cache",
            help="Keep decoded frames for the next checkpoint, as vt clips warm does.",
            rich_help_panel=_ASKING,
        ),
    ] = True,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python that comes with a checkpoint.", rich_help_panel=_ASKING)
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With several data sets: the checkpoint that changes count from; default the first."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Draw report.html, or leave that to vt report or vt study.")
    ] = True,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Ask an OpenAI-compatible server; REF is the name it serves.", rich_help_panel=_ASKING
        ),
    ] = None,
) -> None:
    """Accuracy by category: does a checkpoint [bold]reason[/bold], or does it just [bold]look[/bold]?

    Appends a line a question to OUT/NAME/predictions.jsonl and draws OUT/report.html; with several data sets
    to OUT/DATASET/NAME/predictions.jsonl, and OUT/report.html is a table of all.
    Kill it anywhere and run it again: only what is missing is asked.

    Chance, the blind prior and the observer, who only watches, are rows of every report.
    """
    from videothinker.curated import open_curated
    from videothinker.diagnose import layers, run, runs
    from videothinker.diagnose.settings import DiagnosisSettings
    from videothinker.diagnose.workers import worker
    from videothinker.prompts import template
    from videothinker.recipes import benchmarks, diagnosis

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
    asked = {name: splits.get(name) or each.default_split() for name, each in curated.items()}
    whole_clips = endpoint is not None and not frames
    names = run.model_names(models)
    trained = _trained_prompts(names, revision, served=endpoint is not None)
    said = _said_prompt(prompt, protocol)
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

    def settings(split: str, given: "Sequence[Layer]") -> DiagnosisSettings:
        return DiagnosisSettings(
            split=split,
            protocol=protocol,
            **layers.values(given),
            batch_size=batch_size,
            engine=engine,
            seed=seed,
            text_positions=text_positions,
            revision=revision or (published.revision if published and not model else None),
            preset=preset,
            dtype=dtype,
            attention=attention,
            decoder=decoder,
        )

    sets = [
        run.SetToAsk(
            each,
            settings(asked[name], sources.by_set[name]),
            out / name if several else out,
            {one: settings(asked[name], given) for one, given in sources.by_model(name).items()},
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
            _show_prompts(names, data_set, endpoint)
        return
    if baseline is not None and not several:
        raise VtError(f"--baseline {baseline}: is for several data sets; with one, the report compares all pairs")
    if baseline is not None:
        benchmarks.check_baseline(out, baseline, list(names))
    with worker() as me:
        jobs = run.plan_sets(names, sets, endpoint=endpoint, limit=limit, resume=resume, rank=me.rank, warn=warn)
        if me.rank == 0:
            for told in filter(None, otherwise):
                warn(told)
            for line in sources.told(names):
                err.print(line, soft_wrap=True, markup=False, highlight=False)
        if me.rank == 0 and (kept := sum(len(job.wanted) - len(job.owed) for job in jobs)):
            err.print(f"{kept:,} of {sum(len(job.wanted) for job in jobs):,} questions are answered already")
        diagnosis.ask(
            jobs,
            endpoint=endpoint,
            clip_cache=clip_cache,
            trust_remote_code=trust_remote_code,
            worker=me,
            bars=partial(quiet_unless, me.rank == 0),
        )
    if me.rank != 0 or not report:
        return
    if several:
        from videothinker.cli.benchmarks_display import show_benchmarks

        found = benchmarks.load_beside(jobs, curated, out)
        show_benchmarks(benchmarks.report(found, curated, out, baseline=baseline, bars=progress_bar))
    else:
        (one,) = curated.values()
        show_report(diagnosis.report(runs.load_runs(runs.folders_beside(jobs, out), one), one, out, bars=progress_bar))


class _Said(NamedTuple):
    """What --prompt says, where it is given."""

    asked: "prompts.Asked | None"
    """None: in the protocol's words."""


_IN_PROTOCOLS_WORDS = "protocol"


def _said_prompt(named: str | None, protocol: str) -> _Said | None:
    """What --prompt says; None if it is not given."""
    if named is None:
        return None
    if named == _IN_PROTOCOLS_WORDS:
        if protocol == OURS:
            raise VtError(f"--prompt {named}: whose words? name one with --protocol, or choose {', '.join(prompts.NAMES)}")
        return _Said(None)
    return _Said(prompts.find(named))


def _trained_prompts(names: "Mapping[str, str]", revision: str | None, *, served: bool) -> "dict[str, prompts.Asked]":
    """How those of the models were asked in training of which it is known; a server's only where its name is a folder here."""
    from videothinker.diagnose.openers import kind_of
    from videothinker.models.saved_prompt import known_prompt

    known = {}
    for name, ref in names.items():
        kind = kind_of(ref, endpoint=served)
        if kind != "solver" and (kind == "checkpoint" or Path(ref).is_dir()):
            known[name] = known_prompt(ref, revision)
    return {name: asked for name, asked in known.items() if asked is not None}


def _show_prompts(names: "Mapping[str, str]", asked: "SetToAsk", endpoint: str | None) -> None:
    """Print the first question as each model gets it."""
    from videothinker.recipes.diagnosis import shown_prompts

    for shown in shown_prompts(names, asked, endpoint=endpoint):
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


def show_report(report: "Report") -> None:
    """Print a report's table and verdicts, and say where its pages are."""

    from videothinker.diagnose.runs import prompts as prompts_of
    from videothinker.diagnose.verdict import verdict
    from videothinker.observers.log import OBSERVER_FLOOR

    rule = report.runs[0].labels.rule
    rows = [*report.references, *report.runs]
    by = "these questions have no labels" if rule is None else f"by category under the rule {rule}"
    console.print(f"answers exactly right, %, {by}", soft_wrap=True)
    wide = console if console.is_terminal else Printable(highlight=False, width=160)  # no terminal: a file has room
    wide.print(diagnosis_table(rows))
    console.print(_CAPTION if rule else _UNLABELLED, style="dim", soft_wrap=True)
    if told := prompts_of(report.runs):
        console.print(
            "asked with the prompts: " + "; ".join(f"{name} {words}" for name, words in told), soft_wrap=True, markup=False
        )
    observer = next((each for each in report.references if each.name == "observer"), None)
    watched = None if observer is None else observer.metrics.observational.per_question.value
    if watched is not None and watched < OBSERVER_FLOOR:
        warn(
            f"by the rule {rule}, watching answers only {100 * watched:.0f} % of the observational questions, so the gap says "
            f"little about the shortcut; score the same replies again with `vt report ... --rule oracle`"
        )
    for each in report.runs:
        pool = each.metrics.all
        if pool.n_decode_error:
            asked = pool.n_questions + pool.n_decode_error
            warn(f"{each.name}: {pool.n_decode_error:,} of {asked:,} questions left out: clip not readable; run again")
        console.print(f"[bold]{escape(each.name)}[/bold]: {verdict(each.metrics)}", soft_wrap=True)
    console.print(f"report: [bold]{escape(str(report.folder / 'report.html'))}[/bold]", soft_wrap=True)


def show_readings(report: "Report") -> None:
    """Print how every protocol reads the same replies."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for column in ("checkpoint", "questions of", "read by"):
        table.add_column(column, overflow="fold")
    for column in ("right", "unread", "guessed", "right\nunread", "left\nout", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in report.readings:
        numbers = (row.n_unread, row.n_guessed, row.n_right_unread, row.n_left_out, row.n_questions)
        who = map(escape, (row.run, row.source, row.protocol))
        table.add_row(*who, percent(row.per_question), *(f"{n:,}" for n in numbers))
    console.print("one set of replies, read in different ways; report.html lists those that change", soft_wrap=True)
    wide = console if console.is_terminal else Printable(highlight=False, width=160)
    wide.print(table)


def diagnosis_table(rows: "Sequence[Run]") -> "Table":
    """The runs in lines, references dimmed and first.

    Columns: accuracy by category, gap and shortcut reliance with their 95 % intervals; counts of what could not be read.
    Without labels: accuracy on all questions, and chance.
    """
    from rich import box
    from rich.table import Table

    solvers = {each.record.model for each in rows if not each.reference}
    rows = [each for each in rows if not (each.reference and each.record.model in solvers)]
    partial = {each.name: each.record.partial for each in rows if each.record.partial}
    asked = {name: f"{part.asked:,} of {part.of:,} questions" for name, part in partial.items()}
    alike = len(asked) == sum(not each.reference for each in rows) and len(set(asked.values())) == 1
    told = next(iter(asked.values())) if alike else ", ".join(f"{name} {part}" for name, part in asked.items())
    table = Table(
        title=escape(f"partial: {told}") if asked else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("checkpoint", overflow="fold")
    labelled = any(each.metrics.rule is not None for each in rows)
    by_category = ("observa-\ntional", "inferential", "gap", "reliance")
    for column in (*(by_category if labelled else ("right", "chance")), "unread/\ncut/lost", "n"):  # 80 columns for all
        table.add_column(column, justify="right", no_wrap=True)
    for number, each in enumerate(rows):
        pool = each.metrics.all
        table.add_row(
            escape(each.name),
            *_scores(each.metrics, labelled),
            "" if each.reference else f"{pool.n_unparsed}/{pool.n_truncated}/{pool.n_decode_error}",
            f"{pool.n_questions:,}",
            style="dim" if each.reference else None,
            end_section=each.reference and not rows[min(number + 1, len(rows) - 1)].reference,
        )
    return table


def _scores(metrics: "Metrics", labelled: bool) -> list[str]:
    """The cells that say how well a run did."""
    if not labelled:
        chance = metrics.chance
        return [percent(metrics.all.per_question), _DASH if chance is None else f"{100 * chance:.1f}"]
    pools = (metrics.observational, metrics.inferential)
    return [
        *(percent(pool.per_question) for pool in pools),
        percent(metrics.gap, signed=True),
        percent(metrics.shortcut_reliance),
    ]


def percent(value: "Estimate", *, signed: bool = False) -> str:
    """ "84.1 ±5.8": in percent, with the longer side of the 95 % interval; the pages have both ends."""
    if value.value is None:
        return _DASH
    middle = f"{100 * value.value:{'+' if signed else ''}.1f}"
    if value.ci95 is None:
        return middle
    low, high = value.ci95
    return f"{middle} \u00b1{100 * max(value.value - low, high - value.value):.1f}"
