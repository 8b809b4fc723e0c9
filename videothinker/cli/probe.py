"""`vt curate probe`: labels from what a checkpoint answers when it is asked with less to see or to think."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from videothinker import shards
from videothinker.cli import options, output
from videothinker.cli.asked import said_prompt, trained_prompts
from videothinker.cli.console import notes, progress_bar, show_shard, warn
from videothinker.cli.console import out as console
from videothinker.diagnose.protocols import OURS
from videothinker.diagnose.views import OF_PROBES

if TYPE_CHECKING:
    from videothinker.curated import Curated
    from videothinker.diagnose.layers import Layer
    from videothinker.records import ProbeSummary
    from videothinker.reports.probe import Grid

TEMPERATURE = 1.0
"""Of a probe's replies, where nothing else is said: samples of a greedy checkpoint would differ in their options alone."""

PROBE_EPILOG = """[bold]Examples[/bold]

Which counterfactual questions does a checkpoint answer from what happens in the clip as it is?

  vt curate probe --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out twin.parquet

Which questions of any set are answered without the clip, or from its first frame?

  vt curate probe --data mvbench --model REF --views normal,blind,frozen --by blind --out blind.parquet

In the words of a protocol, or in your own; the twin's text goes through them too:

  vt curate probe --data curated --model REF --prompt configs/prompts/observe-first.jinja --out mine.parquet

On one of 8 machines that share a folder; when all are done, the same without --shard writes the labels:

  vt curate probe --data curated --model Qwen/Qwen2.5-VL-3B-Instruct --out twin.parquet --shard 3/8

[bold]Views[/bold], and the axis on which an answer that is right all the same relies

  twin        observation: the question without its hypothetical, "what happens in the video?"

  described   observation: the question as it is, the reply made to begin with --prefill

  blind       language: grey frames; [bold]frozen[/bold] appearance: the first frame at all times

  shuffled    order: the frames in another order; [bold]reversed[/bold] order: from the last to the first

  mirrored    mirror: left and right exchanged

  direct      effort: no reasoning; [bold]normal[/bold] none: the question as it is

[bold]Then[/bold]

  vt train bias --labels twin.parquet ...

  vt curate agree --data curated twin.parquet other.parquet

  vt train grpo --labels twin.parquet --where "margin_blind < 0" ...

  vt train grpo --labels twin.parquet --where "blind < 0.5 and twin >= 0.75" ...
"""


def probe(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Folder that vt curate wrote.")],
    model: Annotated[str, typer.Option(metavar="REF", help="A checkpoint folder, a hub id, or a built-in solver.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The label file, FILE.parquet; the same one is resumed.")],
    views: Annotated[str, typer.Option(metavar="LIST", help=f"Some of {','.join(OF_PROBES)}.")] = "normal,twin",
    by: Annotated[
        str | None,
        typer.Option(metavar="VIEW", help="The view that decides the category; default twin, else the first but normal."),
    ] = None,
    samples: Annotated[
        int, typer.Option(metavar="N", help="Replies to each question and view; options move round from one to the next.")
    ] = 4,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="0 decodes greedily; then samples differ in their options alone. Default the protocol's, else 1.",
            show_default=False,
        ),
    ] = None,
    margins: Annotated[
        bool,
        typer.Option(
            "--margins/--no-margins",
            help="Also score every answer at once: how much likelier the gold one is than any other, under each view.",
        ),
    ] = True,
    observational_from: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of right replies from which a question is observational.")
    ] = 0.75,
    inferential_up_to: Annotated[
        float, typer.Option(metavar="SHARE", help="It is inferential where all but this share are wrong; between: unsure.")
    ] = 0.25,
    twin_column: Annotated[
        str | None, typer.Option(metavar="C", help="Column of questions.parquet with the twins' texts, in place of rules.")
    ] = None,
    prefill: Annotated[str, typer.Option(metavar="TEXT", help="How replies of the view described begin.")] = "",
    split: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="NAME", help="Split to ask; repeatable. Default: all.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Ask N questions only, of every kind its share.", show_default=False)
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Where the clips are, if not where curation found them.", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on where a probe stopped, or ask everything anew.")
    ] = True,
    protocol: options.Protocol = OURS,
    prompt: options.Prompt = None,
    frames: options.Frames = None,
    max_pixels: options.MaxPixels = None,
    batch_size: options.BatchSize = None,
    max_new_tokens: options.MaxNewTokens = None,
    seed: Annotated[int, typer.Option(help="Seed of sampling and of shuffled frames.", rich_help_panel=options.ASKING)] = 42,
    engine: options.Engine = "auto",
    endpoint: options.Endpoints = None,
    dtype: options.Dtype = "auto",
    clip_cache: options.ClipCache = True,
    trust_remote_code: options.TrustRemoteCode = False,
    shard: options.ShardOf = None,
    json: options.Json = False,
) -> None:
    """Label questions by a checkpoint's own replies: can they be answered by looking less?

    Every question is asked under each view, several times. Replies are kept beside FILE, so a killed probe goes on. FILE has a
    label and, for each view, the share of right replies and a margin; FILE's .html, .md and .json say how good labels are.
    """
    from videothinker.curated import open_curated
    from videothinker.diagnose import layers
    from videothinker.diagnose.settings import DiagnosisSettings
    from videothinker.diagnose.views import chosen_views
    from videothinker.observers.probe import Band
    from videothinker.recipes import probe as recipe

    output.choose(json)
    curated = open_curated(data, videos)
    probing = recipe.plan(
        curated,
        chosen_views(views, prefill),
        by=by,
        samples=samples,
        band=Band(observational_from, inferential_up_to),
        splits=split or (),
        twin_column=twin_column,
        limit=limit,
    )
    layered = _layers(
        curated,
        probing.splits,
        model,
        protocol,
        prompt,
        served=bool(endpoint),
        n_frames=frames,
        max_pixels=max_pixels,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
    )
    settings = DiagnosisSettings(
        split=",".join(probing.splits),
        protocol=protocol,
        **layers.values([*layered, layers.Layer("probes", {"temperature": TEMPERATURE})]),
        batch_size=batch_size,
        seed=seed,
        engine=engine,
        dtype=dtype,
        prefill=prefill,
    )
    mine = None if shard is None else shards.parse(shard)
    summary = recipe.probe(
        curated,
        model,
        settings,
        probing,
        out,
        endpoints=endpoint or [],
        clip_cache=clip_cache,
        trust_remote_code=trust_remote_code,
        resume=resume,
        shard=mine,
        margins=margins,
        bars=progress_bar,
        warn=warn,
    )
    if summary is not None:
        _show(summary, out)
        output.show(summary)
    elif mine is not None:
        show_shard(
            mine, "asked", recipe.replies_folder(out), [Path()], then="the same command without --shard writes the labels"
        )


def _layers(
    curated: "Curated",
    splits: Sequence[str],
    ref: str,
    protocol: str,
    prompt: str | None,
    *,
    served: bool,
    **given: int | float | None,
) -> "list[Layer]":
    """Whose settings hold, the most explicit first, as for `vt diagnose`; what is taken from where is told.

    given: options by their names in the settings, None for those that were not given.
    """
    from videothinker.diagnose import layers

    questions = [question for split in splits for question in curated.questions(split)]
    below = layers.protocol_layer(protocol, questions, whole_clips=served and not given["n_frames"])
    explicit = layers.command_line([below], **given)
    trained, said = trained_prompts({ref: ref}, None, served=served).get(ref), said_prompt(prompt, protocol)
    if said is None:
        found = [explicit, layers.saved_layer(ref, trained), below]
    else:
        found = [explicit._replace(values={**explicit.values, **layers.prompt_values(said.asked)}), below]
    otherwise = None if said is None else layers.asked_otherwise(ref, trained, said.asked)
    if otherwise is not None:
        warn(otherwise)
    if (line := layers.told(found)) is not None:
        notes.print(line, soft_wrap=True, markup=False, highlight=False)
    return found


def _show(summary: "ProbeSummary", labels: Path) -> None:
    from videothinker.reports.probe import grids, said

    print_grids(grids(summary))
    for line in said(summary):
        console.print(line, soft_wrap=True)
    name, page = escape(str(labels)), escape(str(labels.with_suffix(".html")))
    console.print(f"\n[bold]{name}[/bold]; {page} and .md have the same tables, and the page its questions", soft_wrap=True)


def print_grids(grids: "Sequence[Grid]") -> None:
    """Print small tables, one under the other."""
    from rich.table import Table

    for grid in grids:
        table = Table(
            box=None, pad_edge=False, header_style="bold", title=grid.caption, title_justify="left", title_style="dim"
        )
        for index, heading in enumerate(grid.headings):
            table.add_column(heading, justify="left" if index == 0 or heading == "axis" else "right", overflow="fold")
        for row in grid.rows:
            table.add_row(*map(escape, row))
        console.print(table)
        console.print()


AUDIT_EPILOG = """[bold]Examples[/bold]

  vt curate audit --data curated --labels twin.parquet --out sheet.html

  vt curate audit --read verdicts.json
"""


def audit(
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder that vt curate wrote.", show_default=False)] = None,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="Labels to judge.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(metavar="SHEET.html", help="The page to write.", show_default=False)] = None,
    read: Annotated[
        Path | None, typer.Option(metavar="VERDICTS.json", help="Read back what a page saved.", show_default=False)
    ] = None,
    questions: Annotated[int, typer.Option(metavar="N", help="Questions on the page, as many of each category.")] = 50,
    seed: Annotated[int, typer.Option(help="Decides which questions are drawn.")] = 42,
    json: options.Json = False,
) -> None:
    """Judge labels by eye: write a page of drawn questions, or read its verdicts back as a precision with its interval."""
    from videothinker.errors import VtError
    from videothinker.recipes import audit as recipe

    output.choose(json)
    if read is not None:
        if data or labels or out:
            raise VtError("--read: reads verdicts by itself; leave out --data, --labels and --out")
        _show_verdicts(read)
        return
    if data is None or labels is None or out is None:
        raise VtError("expected --data DIR, --labels FILE and --out SHEET.html, or --read VERDICTS.json")
    from videothinker.curated import open_curated

    n = recipe.write_sheet(open_curated(data), labels, out, n=questions, seed=seed)
    console.print(f"{n:,} questions in [bold]{escape(str(out))}[/bold]: open it, judge them, save, then", soft_wrap=True)
    console.print("  vt curate audit --read verdicts.json")
    output.show({"n_questions": n, "sheet": out})


def _show_verdicts(path: Path) -> None:
    from videothinker.recipes.audit import read_verdicts
    from videothinker.reports.page import estimate

    found, judged = read_verdicts(path)
    console.print(
        f"{escape(found.observer)}: {len(found.verdicts):,} of {found.n_drawn:,} drawn questions judged", soft_wrap=True
    )
    for one in judged:
        unclear = f", {one.n_unclear:,} could not be told" if one.n_unclear else ""
        console.print(f"precision {one.category.value}: {estimate(one.precision)} of {one.n_judged:,}{unclear}", soft_wrap=True)
    if n := sum(one.category == "unsure" for one in found.verdicts):
        console.print(f"unsure: {n:,} judged, which have no precision", soft_wrap=True)
    output.show(
        {
            "observer": found.observer,
            "n_drawn": found.n_drawn,
            "n_judged": len(found.verdicts),
            "n_unsure": n,
            "judged": [
                {key: getattr(one, key) for key in ("category", "precision", "n_judged", "n_unclear")} for one in judged
            ],
        }
    )
