"""`vt clips`: decoded frames, kept for training and diagnosis."""

from pathlib import Path
from typing import Annotated, cast

import typer

from videothinker.cli.console import out, progress_bar, warn

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Decode clips ahead, once for all trainings and diagnoses."
)

_EXAMPLES = """[bold]Examples[/bold]

What a diagnosis with --frames 16 --max-pixels 18816 will read, and a training with the same data.n_frames and data.max_pixels:

  vt clips warm --data curated --frames 16 --max-pixels 18816

Two folders, in a cache that is large enough for both:

  VIDEOTHINKER_CACHE_GB=40 vt clips warm --data curated --data heldout --frames 16 --max-pixels 18816
"""


@app.command(epilog=_EXAMPLES)
def warm(
    data: Annotated[list[Path], typer.Option(metavar="DIR", help="Folder that vt curate clevrer wrote. Repeat for several.")],
    frames: Annotated[int, typer.Option(metavar="N", min=1, help="Evenly spread frames of each clip.")],
    max_pixels: Annotated[
        int | None,
        typer.Option(metavar="N", min=784, help="Pixels a frame; larger ones are shrunk towards it. Default: none are."),
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the clips are, if not where curation found them.")
    ] = None,
    decoder: Annotated[
        str, typer.Option(help="What reads the clips: auto (which is pyav), pyav, decord or torchcodec.")
    ] = "auto",
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Decoding processes; default one a core.")] = None,
) -> None:
    """Decode every clip that a curated folder's questions name, of all splits, into the cache on disk.

    A diagnosis or training with the same frames, pixels and decoder then decodes nothing. What is there already is kept.
    A clip that cannot be read is counted and named; it stops nothing. A cache that cannot be written stops everything.

    The cache is $VIDEOTHINKER_CACHE, else ~/.cache/videothinker, and holds $VIDEOTHINKER_CACHE_GB gibibytes, else 8.
    """
    from videothinker.clips import default_cache
    from videothinker.clips import warm as fill
    from videothinker.curated import open_curated
    from videothinker.errors import VtError
    from videothinker.frames import Backend

    if decoder not in ("auto", "decord", "torchcodec", "pyav"):
        raise VtError(f"--decoder is {decoder!r}, expected auto, decord, torchcodec or pyav")
    paths: dict[Path, None] = {}
    for folder in data:
        curated = open_curated(folder, videos)
        if curated.videos_root is None:
            raise VtError(f"{folder}: was curated without clips; give their folder with --videos")
        for split in curated.manifest.splits:
            paths |= dict.fromkeys(curated.videos_root / question.video for question in curated.questions(split))
    cache = default_cache()
    with progress_bar("decoding", len(paths), "clips") as progress:
        done = fill(
            paths,
            n_frames=frames,
            max_pixels=max_pixels,
            cache=cache,
            backend=cast(Backend, decoder),
            n_workers=workers,
            progress=progress,
        )
    for error in list(done.lost.values())[:5]:
        warn(error)
    if len(done.lost) > 5:
        warn(f"... and {len(done.lost) - 5:,} more clips that cannot be read")
    n_kept = done.n_clips - len(done.lost)
    out.print(f"{n_kept:,} of {done.n_clips:,} clips kept, {done.n_bytes / 2**30:.1f} GiB in {cache.folder}", soft_wrap=True)
