"""`vt curate`: labels and splits of CLEVRER's counterfactual questions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videothinker.cli.console import out, progress_bar, warn
from videothinker.errors import VtError
from videothinker.records import Category, Rule

if TYPE_CHECKING:
    from videothinker.curate.build import Curation
    from videothinker.curate.export import Export

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Label counterfactual questions, observational or inferential, and split them for training and diagnosis.",
)

_EXAMPLES = """
[bold]Examples[/bold]

  vt curate clevrer --annotations annotation_train --questions train.json --videos video_train --rule oracle --out curated

  vt curate clevrer --annotations annotation_validation.zip --questions validation.json --split validation --out validation

[bold]The paper's training set[/bold], 2,000 questions, 74 % of them observational:

  vt curate clevrer --annotations annotation_train --questions train.json --videos video_train --out curated
  --observational-share 0.74 --train-size 2000

[bold]What lies in OUT[/bold]

  labels.parquet        every labelled question; its category under all three rules, gold, observer, split

  unresolved.jsonl      every question that could not be labelled, with the reason

  train.json, dev.json  Video-R1 records; train_observational.json and train_inferential.json are the parts of train.json

  train.trl.jsonl ...   with --export: SPLIT.trl.jsonl, SPLIT.ms-swift.jsonl, SPLIT.easyr1.jsonl

  dataset/              with --save-dataset: for datasets.load_from_disk

  scenes.jsonl          objects and collision log of every scene with a label

  report.html           what was curated, with figures; report.md for a terminal

  manifest.json         counts, shares, settings, hashes of the inputs; written last

[bold]Then[/bold]

  vt curate check curated

  vt diagnose --model solver:observer --data curated --out runs
"""


@app.command(epilog=_EXAMPLES)
def clevrer(
    annotations: Annotated[
        Path, typer.Option(help="Annotations: a folder, nested or flat, or the released zip (read without unpacking).")
    ],
    questions: Annotated[Path, typer.Option(help="train.json or validation.json.")],
    folder: Annotated[
        Path, typer.Option("--out", metavar="OUT", help="Folder to write; the same command again redoes the same data.")
    ],
    videos: Annotated[Path | None, typer.Option(help="Folder of the clips; without it only labels are made.")] = None,
    rule: Annotated[
        Rule,
        typer.Option(
            help="When a question is observational: [bold]any-option[/bold] some option's collision is in the video (the "
            "paper's sentence), [bold]correct-option[/bold] one that still happens without the object is, [bold]oracle[/bold] "
            "whoever only watched answers it right. All three are always computed; this one decides `category`."
        ),
    ] = Rule.ANY_OPTION,
    dev_share: Annotated[
        float | None, typer.Option(help="Share of the scenes that become the split dev; default 0.1.", show_default=False)
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Put every scene into this one split (for validation.json).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which scenes are dev and which questions come first.")] = 42,
    strict: Annotated[
        bool, typer.Option("--strict/--no-strict", help="Stop if any question cannot be labelled or any clip is missing.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that read annotations; default: one a CPU.", show_default=False)
    ] = None,
    observational_share: Annotated[
        float | None,
        typer.Option(metavar="F", help="Share of observational questions in the training set; the paper's is 0.74."),
    ] = None,
    train_size: Annotated[int | None, typer.Option(metavar="N", help="Questions in the training set; default: all.")] = None,
    save_dataset: Annotated[bool, typer.Option("--save-dataset", help="Also save a datasets.DatasetDict.")] = False,
    export: Annotated[
        str, typer.Option(metavar="LIST", help="Also write rows for these trainers: trl,ms-swift,easyr1.", show_default=False)
    ] = "",
) -> None:
    """Read CLEVRER, label its counterfactual questions under three rules, and split them."""
    import os

    from videothinker.curate.build import check_out, curate, write
    from videothinker.curate.clevrer import find_annotations
    from videothinker.curate.settings import Settings
    from videothinker.reports.curation import curation_pages, n_films

    if split is not None and dev_share is not None:
        raise VtError(f"--dev-share {dev_share:g} with --split {split}: every scene goes into {split}; give one of the two")
    settings = Settings(
        rule=rule,
        seed=seed,
        dev_share=0.1 if dev_share is None else dev_share,
        split=split,
        train_size=train_size,
        observational_share=observational_share,
        exports=_exports(export),
        save_dataset=save_dataset,
    )
    settings.check()
    check_out(folder, settings, questions)
    found = find_annotations(annotations)
    with progress_bar("reading annotations", len(found.files), "files") as progress:
        curation = curate(
            found,
            questions,
            videos,
            folder,
            settings,
            strict=strict,
            workers=workers or os.cpu_count() or 1,
            progress=progress,
        )
    pages = {}
    if curation.labels.height:
        with progress_bar("drawing the report", n_films(curation), "clips") as progress:
            pages = curation_pages(curation, out=folder, progress=progress)
    write(curation, folder, pages)
    _summarize(curation, folder)


@app.command(epilog="[bold]Example[/bold]\n\n  vt curate check curated")
def check(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `vt curate clevrer` wrote.")]) -> None:
    """Prove that the gold answer of every question earns 1.0, and that no question is lost between the files."""
    from videothinker.curate.check import check_folder

    result = check_folder(folder)
    if result.problems:
        more = f" (and {len(result.problems) - 1} more)" if len(result.problems) > 1 else ""
        raise VtError(f"{folder}: {result.problems[0]}{more}; make the folder again with `vt curate clevrer`")
    out.print(f"gold answers   {result.n_graded:,} questions in the split files, each earns 1.0")
    out.print(f"counts         {result.n_read:,} read = {result.n_labelled:,} labelled + {result.n_unresolved:,} unresolved")
    out.print("files          manifest, labels, splits and scenes agree")


def _exports(names: str) -> "tuple[Export, ...]":
    from videothinker.curate.export import Export

    wanted = sorted({name.strip() for name in names.split(",") if name.strip()})
    unknown = [name for name in wanted if name not in list(Export)]
    if unknown:
        raise VtError(f"--export {unknown[0]}: expected some of {','.join(Export)}")
    return tuple(map(Export, wanted))


def _summarize(curation: "Curation", folder: Path) -> None:
    """What was curated, in one screen: counts, the three rules side by side, warnings, where to go on."""
    from rich.markup import escape
    from rich.table import Table

    manifest = curation.manifest
    asked = manifest["questions"]
    n_labelled = asked["n_labelled"]
    out.print(
        f"[bold]{asked['n_read']:,}[/bold] counterfactual questions = [bold]{n_labelled:,}[/bold] labelled "
        f"+ [bold]{asked['n_unresolved']:,}[/bold] unresolved, in {len(curation.scenes):,} scenes"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rule")
    for heading in (*Category, "observer on obs.", "on inf."):
        table.add_column(heading, justify="right")
    for rule in Rule:
        observer = manifest["observer"][rule]
        counts = [f"{n:,} {n / n_labelled:6.1%}" if (n := observer[kind]["n_questions"]) else _DASH for kind in Category]
        chosen = rule == manifest["rule"]
        cells = (f"{rule} *" if chosen else rule, *counts, *(_percent(observer[kind]["exact"]) for kind in Category))
        table.add_row(*cells, style="bold" if chosen else None)
    out.print()
    out.print(table)
    out.print("* decides the category; observer: answered exactly right by watching alone", style="dim")
    out.print()
    for line in _split_lines(manifest):
        out.print(line)
    if (paper := manifest["paper"]) is not None:
        out.print(_paper_line(paper))
    for warning in manifest["warnings"]:
        warn(warning)
    name = escape(str(folder))
    if not manifest["splits"]:
        out.print(f"\nno question was labelled; [bold]{name}/unresolved.jsonl[/bold] says why", soft_wrap=True)
        return
    split = "dev" if "dev" in manifest["splits"] else next(iter(manifest["splits"]))
    out.print(f"\n[bold]{name}[/bold]: open {name}/report.html, then", soft_wrap=True)
    out.print(f"  vt curate check {name}", soft_wrap=True)
    out.print(f"  vt diagnose --model solver:observer --data {name} --split {split} --out runs", soft_wrap=True)


_DASH = "\u2013"


def _percent(share: float | None) -> str:
    return _DASH if share is None else f"{share:.1%}"


def _split_lines(manifest: dict[str, Any]) -> list[str]:
    splits = ", ".join(f"{split} {n:,}" for split, n in manifest["splits"].items()) or "none"
    training = manifest["training_set"]
    lines = [f"splits         {splits}"]
    if "train" in manifest["splits"]:
        parts = " + ".join(f"{training[kind]:,} {kind}" for kind in Category)
        left = f", {training['left_out']:,} left out" if training["left_out"] else ""
        lines.append(f"training set   {training['n_questions']:,} = {parts}{left}")
    return lines


def _paper_line(paper: dict[str, Any]) -> str:
    n = paper["n_questions"]
    found = ", ".join(f"{rule} {part['found']:,} ({part['difference']:+,})" for rule, part in paper["observational"].items())
    observational = next(iter(paper["observational"].values()))["paper"]
    return f"the paper      {observational:,} of {n['paper']:,} observational; here of {n['labelled']:,}: {found}"
