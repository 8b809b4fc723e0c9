"""`vt demo`: the whole tour on a generated world, with the very commands that a user runs."""

from pathlib import Path
from typing import Annotated

import typer

from videothinker.cli.console import out as console
from videothinker.records import Rule

EPILOG = """[bold]Examples[/bold]

  vt demo

  vt demo --out tour --scenes 200
"""

SEED = 1
"""Of the demo's world. Any seed will do; it is fixed so that two people who talk about the demo see the same pages."""

SIZE = "360x240"
"""Of the clips: smaller than CLEVRER's 480x320, so that 180 of them take half a minute."""

DEV_SHARE = 0.5
"""Half of the scenes are held out: a tenth, the usual share, would be six scenes."""

_SOLVERS = ("observer", "gold", "prior", "random")


def demo(
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where everything goes; the same folder again goes on.")
    ] = Path("demo"),
    scenes: Annotated[int, typer.Option(min=20, help="Scenes of the world.")] = 60,
) -> None:
    """Make a world, curate it, diagnose the built-in solvers, and draw both reports.

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

    _step("What is watching worth? The observer sees everything and thinks nothing")
    _command(f"vt diagnose {' '.join(f'--model solver:{name}' for name in _SOLVERS)} --data {curated} --out {runs}")
    diagnose.diagnose([f"solver:{name}" for name in _SOLVERS], curated, runs)

    _step("Look")
    console.print(f"  the bias, explained on examples   [bold]{curated / 'report.html'}[/bold]", soft_wrap=True)
    console.print(f"  the diagnosis, question by question [bold]{runs / 'report.html'}[/bold]", soft_wrap=True)
    console.print(_NEXT.format(curated=curated, runs=runs), soft_wrap=True)


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
