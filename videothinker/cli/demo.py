"""`vt demo`: the whole tour on a generated world, with the very commands that a user runs."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from videothinker.cli.console import out as console
from videothinker.cli.console import warn
from videothinker.cli.diagnose import percent
from videothinker.errors import VtError
from videothinker.records import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from videothinker.diagnose.runs import Run
    from videothinker.reports.demo import Study

EPILOG = """[bold]Examples[/bold]

  vt demo

  vt demo --out tour --scenes 400

  vt demo --models my-models

  vt demo --train
"""

SEED = 2026
"""Of the demo's world: no study or pretraining draws its scenes from it. Fixed, so that two people who talk about the demo see
the same pages."""

DEV_SHARE = 0.8
"""Of the scenes are asked about; the others are there for the blind prior, and for --train."""

MAX_NEW_TOKENS = 96
"""The study's own limit; its models' longest thoughts have some seventy."""

BATCH_SIZE = 128
"""A model of 6 million parameters answers that many at once a fifth faster than 32, on two cores."""

ORDER = ("base", "grpo", "bias", "cdpo")
"""As in the study's figure; other checkpoints come after, by name."""

_REPOSITORY = Path(__file__).parents[2]
"""Checkpoints and the study's report lie in the repository alone; an installed package has none."""
MODELS = _REPOSITORY / "data" / "study"
STUDY = _REPOSITORY / "reports" / "study-world"

_SOLVERS = tuple(f"solver:{name}" for name in ("observer", "gold", "prior", "random"))


def demo(
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where everything goes; the same folder again goes on.")
    ] = Path("demo"),
    scenes: Annotated[int, typer.Option(min=20, help="Scenes of the world.")] = 120,
    models: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Other checkpoints than the repository's data/study: base/, and NAME.delta as vt checkpoint pack writes them.",
        ),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Also take the base a few steps through all three trainings.")
    ] = False,
) -> None:
    """Make fresh scenes, label their questions, and ask a study's checkpoints: base, GRPO, bias model and CDPO, side by side.

    Needs no GPU, no weights and no data. Each step is printed as the command that you would type, and is that command.
    """
    from videothinker.cli import curate, diagnose, world

    if models is not None and not (models / "base").is_dir():
        raise VtError(f"{models}: has no folder base; expected base/ and NAME.delta files, as in the repository's data/study")
    world_dir, curated, runs = folder / "world", folder / "curated", folder / "runs"
    _step("A world in CLEVRER's format, in which the truth about every counterfactual is known")
    _command(f"vt world make {world_dir} --scenes {scenes} --seed {SEED}")
    world.make(world_dir, scenes=scenes, seed=SEED)

    _step("Which questions can be answered from what was seen, and which need the counterfactual?")
    annotations, questions, videos = world_dir / "annotation_train", world_dir / "train.json", world_dir / "video_train"
    _command(
        f"vt curate clevrer --annotations {annotations} --questions {questions} --videos {videos} "
        f"--rule oracle --dev-share {DEV_SHARE:g} --out {curated}"
    )
    curate.clevrer(annotations, questions, curated, videos=videos, rule=Rule.ORACLE, dev_share=DEV_SHARE)
    _command(f"vt curate check {curated}")
    curate.check(curated)

    checkpoints = _checkpoints(models, folder / "models")
    if train and checkpoints:
        checkpoints |= _train(checkpoints["base"], curated, folder)
    refs = [f"{name}={_shown(path)}" for name, path in checkpoints.items()] or list(_SOLVERS)
    _step("What do they answer? Beside them the observer, who sees everything and thinks nothing")
    asked = " ".join(f"--model {ref}" for ref in refs)
    options = f"--max-new-tokens {MAX_NEW_TOKENS} --batch-size {BATCH_SIZE}"
    _command(f"vt diagnose {asked} --data {curated} {options} --out {runs}")
    diagnose.diagnose(refs, curated, runs, max_new_tokens=MAX_NEW_TOKENS, batch_size=BATCH_SIZE)
    _look(folder, curated, runs, [ref.partition("=")[0].removeprefix("solver:") for ref in refs], models)


def _checkpoints(models: Path | None, unpacked: Path) -> dict[str, Path]:
    """The checkpoints that can be asked here, by name, deltas unpacked. If there are none, says what is missing."""
    from importlib.util import find_spec

    if find_spec("torch") is None or find_spec("transformers") is None:
        warn("without the packages for checkpoints only solvers are asked: pip install 'videothinker[models]'")
        return {}
    models = models or MODELS
    if not (models / "base").is_dir():
        warn("the study's checkpoints lie in the repository's data/study, and this is no checkout: only solvers are asked")
        return {}
    from videothinker.models.delta import unpack

    _step("The checkpoints of a study: each is kept as what training has changed in the base")
    found = {"base": models / "base"}
    for file in sorted(models.glob("*.delta"), key=_place):
        _command(f"vt checkpoint unpack {_shown(file)} --base {_shown(models / 'base')} --out {unpacked / file.stem}")
        unpack(models / "base", file, unpacked / file.stem)
        found[file.stem] = unpacked / file.stem
    return found


def _place(file: Path) -> tuple[int, str]:
    return (ORDER.index(file.stem) if file.stem in ORDER else len(ORDER), file.stem)


def _train(start: Path, curated: Path, folder: Path) -> dict[str, Path]:
    """A few steps of each training from `start`; the checkpoints by name."""
    from videothinker.cli.train import train_stage
    from videothinker.curated import open_curated
    from videothinker.train.stages import Stage, tiny_stage

    _step("A few steps of each training: enough to see it run, far too few to change what the model does")
    trained: dict[str, Path] = {}
    for stage in (Stage.BIAS, Stage.CDPO, Stage.GRPO):
        name = f"{stage.value}-few-steps"
        out = folder / name
        bias = str(trained[Stage.BIAS.value]) if stage is Stage.CDPO else None
        extra = f" --bias-model {bias} --force" if bias else ""  # forced: six steps make no shortcut model
        _command(
            f"vt train {stage.value} --config configs/{stage.value}-tiny.toml --data {curated} --model {_shown(start)}{extra} "
            f"--out {out}"
        )
        train_stage(tiny_stage(stage), open_curated(curated), start=str(start), folder=out, bias_model=bias)
        trained[stage.value] = out
    return {out.name: out for out in trained.values()}


def _look(folder: Path, curated: Path, runs: Path, names: list[str], models: Path | None) -> None:
    """Write the page of the demo, and end with its table and what to open next."""
    from videothinker import store
    from videothinker.curated import open_curated
    from videothinker.diagnose.runs import load_runs, references
    from videothinker.reports.demo import demo_page, read_study, sample_words

    data = open_curated(curated)
    loaded = load_runs([runs / name for name in names], data)
    study = read_study(STUDY) if models is None and "base" in names else None
    source = _OTHERS if "base" not in names else _GIVEN if models else _STUDIED
    links = {
        "The bias, explained on examples": "curated/report.html",
        "The diagnosis, question by question": "runs/report.html",
    }
    if study:
        links["The study: claims, ablations, every run"] = Path(os.path.relpath(STUDY / "report.html", folder)).as_posix()
    page = demo_page([*references(loaded, data), *loaded], study, source=source, links=links)
    store.write_bytes(folder / "report.html", page)

    _step("Look")
    console.print(f"[bold]{sample_words(loaded)}[/bold]; answered exactly right, %, \u00b1 95 % by scene", soft_wrap=True)
    console.print(_table(loaded, study))
    console.print(f"  all of it on one page                [bold]{folder / 'report.html'}[/bold]", soft_wrap=True)
    console.print(f"  the bias, explained on examples      [bold]{curated / 'report.html'}[/bold]", soft_wrap=True)
    console.print(f"  the diagnosis, question by question  [bold]{runs / 'report.html'}[/bold]", soft_wrap=True)
    console.print(_NEXT.format(curated=curated, runs=runs), soft_wrap=True)
    if shutil.which("vt") is None:  # run by `make demo`
        console.print(f"  ([bold]vt[/bold] is {_shown(Path(sys.executable).with_name('vt'))})", soft_wrap=True)


_STUDIED = "The checkpoints are those of one seed of the study: tiny Qwen2.5-VLs that know nothing but this world."
_GIVEN = "The checkpoints are those of the folder that --models named."
_OTHERS = "Without the study's checkpoints, which the repository has in data/study, this shows the machinery alone."


def _table(runs: "Sequence[Run]", study: "Study | None") -> "Table":
    """The page's table for a terminal of 80 columns."""
    from rich import box
    from rich.table import Table

    from videothinker.reports.demo import MEASURES

    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("checkpoint", overflow="fold")
    for head in MEASURES.values():
        table.add_column(head.lower().replace(" ", "\n"), justify="right", no_wrap=True)
        if study:
            table.add_column("study", justify="right", no_wrap=True, style="dim")
    for run in runs:
        by, there = run.metrics, study.levels.get(run.name, {}) if study else {}
        cells = []
        for measure, value in zip(
            MEASURES, (by.observational.per_question, by.inferential.per_question, by.shortcut_reliance), strict=True
        ):
            cells.append(percent(value))
            if study:
                cells.append(percent(there[measure]).partition(" ")[0] if measure in there else "\u2013")
        table.add_row(escape(run.name), *cells)
    return table


def _shown(path: Path) -> str:
    """A path as one would type it here."""
    return os.path.relpath(path)


_NEXT = """
[bold]Next[/bold]
  your checkpoint on this world:
    vt diagnose --model ours=PATH_OR_HUB_ID --data {curated} --out {runs}
  real CLEVRER (data/README.md says where it is and how its folders lie):
    vt curate clevrer --annotations annotation_train --questions train.json --videos video_train --rule oracle --out clevrer
    vt diagnose --model ours=PATH_OR_HUB_ID --data clevrer --out runs"""


def _step(text: str) -> None:
    console.print(f"\n[bold]{text}[/bold]", soft_wrap=True)


def _command(text: str) -> None:
    console.print(f"$ {text}", style="dim", markup=False, soft_wrap=True)
