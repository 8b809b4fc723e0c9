"""`vt world`: generate scenes in CLEVRER's format, with the exact counterfactuals that CLEVRER cannot give."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videothinker.cli import options, output
from videothinker.cli.console import notes, out, progress_bar
from videothinker.errors import VtError

if TYPE_CHECKING:
    from videothinker.world.make import World

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Make worlds in CLEVRER's format in which every counterfactual is known exactly.",
)

_EXAMPLES = """
[bold]Examples[/bold]

  vt world make world --scenes 60 --seed 1

  vt world make train --scenes 10000 --seed 1 --preset balanced --no-videos --workers 8

  vt world make heldout --scenes 1000 --seed 1 --first-scene 10000 --counterfactual-videos

[bold]Then[/bold]

  vt curate clevrer --annotations world/annotation_train --questions world/train.json --videos world/video_train
  --rule oracle --out curated
"""


@app.command(epilog=_EXAMPLES)
def make(
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="New folder for the world; repeating the command finishes a killed run.")
    ],
    scenes: Annotated[int, typer.Option(help="Number of scenes.")],
    seed: Annotated[int, typer.Option(help="Decides every scene; the same seed gives the same bytes.")],
    preset: Annotated[
        str,
        typer.Option(
            help="How counterfactual questions are chosen: [bold]clevrer[/bold] (mixed as in the real release, 55 % "
            "observational under the oracle rule), [bold]clevrer74[/bold] (74 % observational under any-option; the default "
            "before there was clevrer), [bold]balanced[/bold] (half and half under the oracle rule), [bold]inferential[/bold] "
            "(all inferential under the oracle rule). The scenes and films of a seed are the same under every preset."
        ),
    ] = "clevrer",
    videos: Annotated[
        bool, typer.Option("--videos/--no-videos", help="Draw the clips; labels and solvers do not need them.")
    ] = True,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the clips in pixels.")] = "480x320",
    counterfactual_videos: Annotated[
        bool,
        typer.Option(
            "--counterfactual-videos", help="For each question also film what would have happened: video_00000.without_2.mp4."
        ),
    ] = False,
    only_asked: Annotated[
        bool,
        typer.Option(
            "--only-asked", help="Film only scenes with a counterfactual question: about half of them under preset clevrer."
        ),
    ] = False,
    film_frames: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Film N evenly spread frames, a divisor of 128: those that a model is shown with --frames N. 16 take a third "
            "of the time.",
        ),
    ] = 128,
    first_scene: Annotated[
        int, typer.Option(help="Index of the first scene. Ranges of one seed that do not overlap share no scene.")
    ] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes. Default: one per CPU.", show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """Simulate scenes, ask all four types of questions about them, and film them."""
    import time

    from videothinker.pool import n_cores
    from videothinker.world.make import WorldSettings, make_world

    output.choose(json)
    width, height = _size(size)
    settings = WorldSettings(
        n_scenes=scenes,
        seed=seed,
        first_scene=first_scene,
        preset=preset,
        videos=videos,
        width=width,
        height=height,
        counterfactual_videos=counterfactual_videos,
        only_asked=only_asked,
        film_frames=film_frames,
    )
    n_workers = workers or min(n_cores(), scenes)
    start = time.monotonic()
    doing = "simulating and filming" if videos else "simulating"  # each process films a scene as soon as it is simulated
    with progress_bar(doing, scenes, "scenes") as progress:
        world = make_world(folder, settings, workers=n_workers, progress=progress)
    show_world(folder, world, time.monotonic() - start)
    output.show(world)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise VtError(f"--size {text}: expected width x height in pixels, e.g. 480x320")
    return int(width), int(height)


def show_world(folder: Path, world: "World", seconds: float) -> None:
    """Print what a world holds, and the command that comes next."""
    from rich.markup import escape
    from rich.table import Table

    n_counterfactual = world.n_questions["counterfactual"]
    table = Table(
        title=f"{escape(str(folder))}: {world.settings['preset']}, seed {world.settings['seed']}", title_justify="left"
    )
    table.add_column("")
    table.add_column("number", justify="right")
    table.add_row("scenes", f"{world.n_scenes:,}")
    table.add_row("collisions per scene", f"{world.n_collisions / world.n_scenes:.1f}")
    for kind, n in world.n_questions.items():
        table.add_row(f"{kind} questions", f"{n:,}")
    for rule, n in world.observational.items():
        share = f"  ({n / n_counterfactual:.1%})" if n_counterfactual else ""
        table.add_row(f"  observational, {rule} rule", f"{n:,}{share}")
    table.add_row("clips", f"{world.n_clips:,}")
    if world.n_counterfactual_clips:
        table.add_row("counterfactual clips", f"{world.n_counterfactual_clips:,}")
    out.print(table)
    notes.print(f"done in {seconds:.1f} s", style="dim")
    videos = f" --videos {folder / 'video_train'}" if world.n_clips else ""
    out.print(
        f"next: vt curate clevrer --annotations {folder / 'annotation_train'} --questions {folder / 'train.json'}{videos}"
        " --rule oracle --out CURATED",
        soft_wrap=True,
        markup=False,
    )
