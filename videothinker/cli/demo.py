"""`vt demo`: the whole tour on a generated world, with the very commands that a user runs."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from videothinker.cli.console import out as console
from videothinker.cli.console import warn
from videothinker.records import Rule

EPILOG = """[bold]Examples[/bold]

  vt demo

  vt demo --out tour --scenes 200

  vt demo --train
"""

SEED = 1
"""Of the demo's world. Any seed will do; it is fixed so that two people who talk about the demo see the same pages."""

SIZE = "360x240"
"""Of the clips: smaller than CLEVRER's 480x320, so that 180 of them take half a minute."""

DEV_SHARE = 0.5
"""Half of the scenes are held out: a tenth, the usual share, would be six scenes."""

TINY = Path(__file__).parents[2] / "data" / "tiny"
"""The tiny checkpoint of the repository; an installed package has none."""

MAX_NEW_TOKENS = 96
"""The tiny checkpoint's longest thoughts have some sixty."""

_SOLVERS = tuple(f"solver:{name}" for name in ("observer", "gold", "prior", "random"))


def demo(
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where everything goes; the same folder again goes on.")
    ] = Path("demo"),
    scenes: Annotated[int, typer.Option(min=20, help="Scenes of the world.")] = 60,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Also take the tiny model a few steps through all three trainings.")
    ] = False,
) -> None:
    """Make a world, curate it, diagnose the built-in solvers and a tiny model, and draw both reports.

    Needs no GPU, no weights and no data. Each step is printed as the command that you would type, and is that command.
    """
    from videothinker.cli import curate, diagnose, world

    world_dir, curated, runs = folder / "world", folder / "curated", folder / "runs"
    _step("A world in CLEVRER's format, in which the truth about every counterfactual is known and filmed")
    _command(f"vt world make {world_dir} --scenes {scenes} --seed {SEED} --size {SIZE} --counterfactual-videos")
    world.make(world_dir, scenes=scenes, seed=SEED, size=SIZE, counterfactual_videos=True)

    _step("Which questions can be answered from what was seen, and which need the counterfactual?")
    annotations, questions, videos = world_dir / "annotation_train", world_dir / "train.json", world_dir / "video_train"
    _command(
        f"vt curate clevrer --annotations {annotations} --questions {questions} --videos {videos} "
        f"--rule oracle --dev-share {DEV_SHARE:g} --out {curated}"
    )
    curate.clevrer(annotations, questions, curated, videos=videos, rule=Rule.ORACLE, dev_share=DEV_SHARE)
    _command(f"vt curate check {curated}")
    curate.check(curated)

    models = [*_SOLVERS]
    if _has_tiny():
        models.append(f"tiny={_shown(TINY)}")
        if train:
            models += _train(curated, folder)
    _step("What is watching worth? The observer sees everything and thinks nothing")
    _command(
        f"vt diagnose {' '.join(f'--model {model}' for model in models)} --data {curated} "
        f"--max-new-tokens {MAX_NEW_TOKENS} --out {runs}"
    )
    diagnose.diagnose(models, curated, runs, max_new_tokens=MAX_NEW_TOKENS)

    _step("Look")
    console.print(f"  the bias, explained on examples      [bold]{curated / 'report.html'}[/bold]", soft_wrap=True)
    console.print(f"  the diagnosis, question by question  [bold]{runs / 'report.html'}[/bold]", soft_wrap=True)
    console.print(_NEXT.format(curated=curated, runs=runs), soft_wrap=True)
    if shutil.which("vt") is None:  # run by `make demo`
        console.print(f"  ([bold]vt[/bold] is {_shown(Path(sys.executable).with_name('vt'))})", soft_wrap=True)


def _has_tiny() -> bool:
    """Can the tiny checkpoint be asked? If not, says what is missing."""
    from importlib.util import find_spec

    if find_spec("torch") is None or find_spec("transformers") is None:
        warn("without the packages for checkpoints the tiny model is left out: pip install 'videothinker[models]'")
        return False
    if not TINY.is_dir():
        warn("the tiny model lies in the repository's data/tiny, and this is no checkout: it is left out")
        return False
    return True


def _train(curated: Path, folder: Path) -> list[str]:
    """A few steps of each training from the tiny checkpoint; the models for the diagnosis."""
    from videothinker.cli.train import train_stage
    from videothinker.curated import open_curated
    from videothinker.train.run import FinishedError
    from videothinker.train.stages import Stage, tiny_stage

    _step("A few steps of each training: enough to see it run, far too few to change what the model does")
    models = []
    for stage in (Stage.BIAS, Stage.CDPO, Stage.GRPO):
        out = folder / stage.value
        bias = str(folder / Stage.BIAS.value) if stage is Stage.CDPO else None
        extra = f" --bias-model {bias} --force" if bias else ""  # forced: six steps make no shortcut model
        _command(
            f"vt train {stage.value} --config configs/{stage.value}-tiny.toml --data {curated} --model {_shown(TINY)}{extra} "
            f"--out {out}"
        )
        try:
            train_stage(tiny_stage(stage), open_curated(curated), start=str(TINY), folder=out, bias_model=bias)
        except FinishedError:
            console.print(f"{stage.value}: is trained already", style="dim")
        models.append(f"{stage.value}={out}")
    return models


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
