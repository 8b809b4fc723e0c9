"""`vt curate`: turn a data set's files into questions, labels and splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videothinker import shards
from videothinker.cli import options, output
from videothinker.cli.agree import AGREE_EPILOG, agree
from videothinker.cli.console import progress_bar, show_shard
from videothinker.cli.curate_display import show_check, show_clevrer, show_list, show_set
from videothinker.cli.probe import AUDIT_EPILOG, PROBE_EPILOG, audit, probe
from videothinker.cli.sbatch import print_array_job
from videothinker.curate.datasets import DATASETS, Dataset, dataset_named
from videothinker.errors import VtError
from videothinker.records import Rule

if TYPE_CHECKING:
    from videothinker.curate.export import Export
    from videothinker.curate.question_set import Settings as SetSettings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Turn a data set into questions with splits, and label those of CLEVRER as observational or inferential.",
)

_EXAMPLES = """
[bold]Examples[/bold]

  vt curate clevrer --annotations annotation_train --questions train.json --videos video_train --out curated

  vt curate clevrer --annotations annotation_validation.zip --questions validation.json --split validation --out validation

[bold]A training set like the paper's[/bold], 2,000 questions, 74 % of them observational:

  vt curate clevrer --annotations annotation_train --questions train.json --videos video_train --out curated
  --observational-share 0.74 --train-size 2000

[bold]One of 8 machines that share a folder[/bold], and then all together:

  vt curate clevrer --annotations annotation_train --questions train.json --videos video_train --out curated --shard 3/8

  vt merge curated

[bold]What lies in OUT[/bold]

  questions.parquet     every question that can be used; diagnosis, training and reports read these

  labels/log.parquet    its category under all three rules, with the reason and the observer's answer

  labels.parquet        the same in one table, for notebooks

  unresolved.jsonl      every question that could not be labelled, with the reason

  train.json, dev.json  Video-R1 records; train_observational.json and train_inferential.json are the parts of train.json

  train.trl.jsonl ...   with --export: SPLIT.trl.jsonl, SPLIT.ms-swift.jsonl, .easyr1.jsonl, .verl.jsonl

  dataset/              with --save-dataset: the same rows for datasets.load_from_disk

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
        Path, typer.Option("--out", metavar="OUT", help="Folder to write; repeating the command makes the same data again.")
    ],
    videos: Annotated[Path | None, typer.Option(help="Folder of the clips; without it only labels are made.")] = None,
    rule: Annotated[
        Rule,
        typer.Option(
            help="What makes a question observational. [bold]oracle[/bold]: an observer who only watched answers the question "
            "right. [bold]any-option[/bold]: some option's collision is seen in the video (the paper's sentence). "
            "[bold]correct-option[/bold]: some option's collision is seen in the video and still happens without the object. "
            "All three are always computed; this one decides `category`."
        ),
    ] = Rule.ORACLE,
    dev_share: Annotated[
        float | None, typer.Option(help="Share of the scenes that become the split dev. Default: 0.1.", show_default=False)
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Put every scene into this one split (for validation.json).")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Decides which scenes are dev and which questions the training set takes first.")
    ] = 42,
    strict: Annotated[
        bool, typer.Option("--strict/--no-strict", help="Stop if any question cannot be labelled or any clip is missing.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that read annotations. Default: one per CPU.", show_default=False)
    ] = None,
    observational_share: Annotated[
        float | None,
        typer.Option(metavar="F", help="Share of observational questions in the training set; the paper's is 0.74."),
    ] = None,
    train_size: Annotated[int | None, typer.Option(metavar="N", help="Questions in the training set. Default: all.")] = None,
    save_dataset: Annotated[bool, typer.Option("--save-dataset", help="Also save the rows as a datasets.DatasetDict.")] = False,
    export: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIST",
            help="Also write rows for these trainers: trl,ms-swift,easyr1,verl. May be given again.",
            show_default=False,
        ),
    ] = None,
    shard: options.ShardOf = None,
    print_sbatch: options.PrintSbatch = None,
    json: options.Json = False,
) -> None:
    """Read CLEVRER, label its counterfactual questions under three rules, and split them."""
    from videothinker.curate.datasets.clevrer.settings import Settings
    from videothinker.recipes.curation import curate_clevrer, curate_clevrer_shard

    output.choose(json)
    if split is not None and dev_share is not None:
        raise VtError(f"--dev-share {dev_share:g} with --split {split}: every scene goes into {split}; give one of the two")
    settings = Settings(
        rule=rule,
        seed=seed,
        dev_share=0.1 if dev_share is None else dev_share,
        split=split,
        train_size=train_size,
        observational_share=observational_share,
        exports=_exports(export or []),
        save_dataset=save_dataset,
    )
    if print_sbatch is not None:
        print_array_job(print_sbatch, shard=shard, merged=folder, n_gpus=0)
        return
    if shard is not None:
        mine = shards.parse(shard)
        n_scenes = curate_clevrer_shard(
            annotations, questions, folder, settings, mine, videos=videos, strict=strict, workers=workers, bars=progress_bar
        )
        show_shard(mine, f"{n_scenes:,} scenes", folder, [Path()])
        return
    release = curate_clevrer(
        annotations, questions, folder, settings, videos=videos, strict=strict, workers=workers, bars=progress_bar
    )
    show_clevrer(release, folder)
    output.show(release.curation.manifest)


_From = Annotated[
    Path,
    typer.Option(
        "--from",
        metavar="PATH",
        help="What to read: a release's folder, one of its files, a Video-R1-style file, or hub:OWNER/NAME; vt curate list "
        "says what each data set needs.",
    ),
]
_Out = Annotated[
    Path, typer.Option("--out", metavar="OUT", help="Folder to write; repeating the command makes the same data again.")
]
_Videos = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the clips. Default: the release's own beside what is read; without clips only questions are written.",
        show_default=False,
    ),
]
_DevShare = Annotated[
    float | None,
    typer.Option(help="Share of the clips that become dev; the others become train. Default: one split.", show_default=False),
]
_Split = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the one split. Default: the data set's own.")]
_Seed = Annotated[int, typer.Option(help="Decides which clips are dev.")]
_Strict = Annotated[
    bool,
    typer.Option(
        "--strict/--no-strict",
        help="Stop if any question cannot be used, any clip is missing, or the numbers are not the published ones.",
    ),
]


def _curate_set(
    ctx: typer.Context,
    source: _From,
    folder: _Out,
    videos: _Videos = None,
    variant: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another way to ask this set; see below. Default: its makers' way.")
    ] = None,
    dev_share: _DevShare = None,
    split: _Split = None,
    seed: _Seed = 42,
    strict: _Strict = False,
    json: options.Json = False,
) -> None:
    from videothinker.curate.question_set import Settings

    output.choose(json)
    name = ctx.info_name or ""
    split = _one_split(name, split, dev_share)
    settings = Settings(dataset=name, seed=seed, dev_share=dev_share, split=split, variant=variant)
    _curate_into(source, folder, settings, videos, strict)


def _curate_records(
    source: _From,
    folder: _Out,
    videos: Annotated[Path | None, typer.Option(help="Folder of the clips; without it only questions are written.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MEANING=COLUMN",
            help="Which column of a table is what: question, options (one column of lists, or several as options=a,b,c), "
            "answer, video, and perhaps id, start, end, fps, group, facet:NAME. May be given again.",
            show_default=False,
        ),
    ] = None,
    dev_share: _DevShare = None,
    split: _Split = None,
    seed: _Seed = 42,
    strict: _Strict = False,
    json: options.Json = False,
) -> None:
    from videothinker.curate.question_set import Settings

    output.choose(json)
    split = _one_split("records", split, dev_share)
    settings = Settings(
        dataset="records", seed=seed, dev_share=dev_share, split=split, columns=tuple(column) if column else None
    )
    _curate_into(source, folder, settings, videos, strict)


def _one_split(name: str, split: str | None, dev_share: float | None) -> str:
    if split is not None and dev_share is not None:
        raise VtError(f"--dev-share {dev_share:g} with --split {split}: every clip goes into {split}; give one of the two")
    return split or dataset_named(name).split


def _curate_into(source: Path, folder: Path, settings: "SetSettings", videos: Path | None, strict: bool) -> None:
    """Curate any set but CLEVRER, and print what came of it on one screen."""
    from videothinker.recipes.curation import curate_set

    counted = curate_set(source, folder, settings, videos=videos, strict=strict, bars=progress_bar)
    show_set(counted, folder)
    output.show(counted.curation.manifest)


_COLUMNS_HELP = """

[bold]A table with columns of its own[/bold] (csv, tsv, parquet, json, jsonl)

  vt curate records --from quiz.csv --videos clips --out quiz --column question=prompt --column options=a,b,c
  --column answer=gold --column video=file --column facet:topic=topic

  answer is letters ("B", "A,C", "none"), the text of an option, or yes or no where there are no options. answer_letter and
  answer_text allow one of these readings only. answer_index=label:0 is the number of an option where the first is 0, and
  answer_index=label:1 where it is 1."""


def _set_epilog(name: str) -> str:
    dataset = dataset_named(name)
    source = f"{dataset.name} --out {name}" if dataset.parts else f"FILE --videos clips --out {name}"
    variants = "".join(f"\n\n  {variant}: {told}" for variant, told in dataset.variants.items())
    return (
        f"[bold]Example[/bold]\n\n  vt curate {name} --from {source}"
        + (f"\n\n  vt curate {name} --from hub --out {name}   # loads {dataset.hub}" if dataset.hub else "")
        + (f"\n\n[bold]Variants[/bold]{variants}" if variants else "")
        + (_COLUMNS_HELP if name == "records" else "")
        + "\n\n[bold]What lies in OUT[/bold]\n\n  questions.parquet, unresolved.jsonl, SPLIT.json (Video-R1 rows), report.html,"
        " report.md, manifest.json"
    )


for _name in DATASETS:
    _command = _curate_records if _name == "records" else _curate_set
    app.command(_name, help=f"Read {dataset_named(_name).name}: {dataset_named(_name).what}.", epilog=_set_epilog(_name))(
        _command
    )


app.command("probe", epilog=PROBE_EPILOG)(probe)
app.command("agree", epilog=AGREE_EPILOG)(agree)
app.command("audit", epilog=AUDIT_EPILOG)(audit)


@app.command("list", epilog="[bold]Example[/bold]\n\n  vt curate list")
def list_(
    json: options.Json = False,
) -> None:
    """List the data sets that can be curated, with what each needs, where it comes from, its size and its licence."""
    from videothinker.curate.datasets.clevrer import ABOUT

    known: dict[str, Dataset] = {"clevrer": ABOUT} | {name: dataset_named(name) for name in DATASETS}
    output.choose(json)
    output.show({name: {key: getattr(one, key) for key in _TOLD} for name, one in known.items()})
    if not json:
        show_list(known)


_TOLD = ("what", "needs", "origin", "size", "licence", "split", "n_published", "hub", "variants")


@app.command(epilog="[bold]Example[/bold]\n\n  vt curate check curated")
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `vt curate` wrote.")],
    json: options.Json = False,
) -> None:
    """Prove that the gold answer of every question earns 1.0, and that no question is lost between the files."""
    from videothinker.curate.check import check_folder

    output.choose(json)
    checked = check_folder(folder)
    show_check(checked, folder)
    output.show(checked._asdict())


def _exports(lists: Sequence[str]) -> "tuple[Export, ...]":
    """The trainers that `--export` names, once or several times, each with commas between them or not."""
    from videothinker.curate.export import Export

    wanted = sorted({name.strip() for names in lists for name in names.split(",") if name.strip()})
    unknown = [name for name in wanted if name not in list(Export)]
    if unknown:
        raise VtError(f"--export {unknown[0]}: expected some of {','.join(Export)}")
    return tuple(map(Export, wanted))
