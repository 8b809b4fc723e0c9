"""`vt clips`: decode frames and keep them for training and diagnosis."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from videothinker.cli.console import out, progress_bar, warn

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Decode clips in advance, once for all trainings and diagnoses."
)

_EXAMPLES = """[bold]Examples[/bold]

For a diagnosis with --frames 16 --max-pixels 18816, and a training with the same data.n_frames and data.max_pixels:

  vt clips warm --data curated --frames 16 --max-pixels 18816

For two folders, with a cache that is large enough for both:

  VIDEOTHINKER_CACHE_GB=40 vt clips warm --data curated --data heldout --frames 16 --max-pixels 18816
"""


@app.command(epilog=_EXAMPLES)
def warm(
    data: Annotated[list[Path], typer.Option(metavar="DIR", help="Folder that vt curate wrote. Repeat for several.")],
    frames: Annotated[int, typer.Option(metavar="N", min=1, help="Frames to keep of each clip, evenly spread.")],
    max_pixels: Annotated[
        int | None,
        typer.Option(metavar="N", min=784, help="Shrink frames with more pixels to about this many. Default: never shrink."),
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the clips are, if not where curation found them.")
    ] = None,
    decoder: Annotated[
        str, typer.Option(help="What reads the clips: auto (which is pyav), pyav, decord or torchcodec.")
    ] = "auto",
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Decoding processes. Default: one per core.")] = None,
) -> None:
    """Decode every clip, or part of one, that the questions of curated folders name, in all splits, into the cache on disk.

    A diagnosis or training with the same frames, pixels and decoder then decodes nothing. What is there already is kept. A clip
    that cannot be read is counted and named, and the others are decoded all the same. A cache that cannot be written ends it.

    The cache is $VIDEOTHINKER_CACHE (default: ~/.cache/videothinker) and holds $VIDEOTHINKER_CACHE_GB gibibytes (default: 8).
    """
    from videothinker.clips import default_cache
    from videothinker.clips import warm as fill
    from videothinker.curated import open_curated
    from videothinker.errors import VtError
    from videothinker.footage import Footage
    from videothinker.frames import Backend

    if decoder not in get_args(Backend):
        raise VtError(f"--decoder is {decoder!r}, expected one of {', '.join(get_args(Backend))}")
    footages: dict[Footage, None] = {}
    for folder in data:
        curated = open_curated(folder, videos)
        if curated.videos_root is None:
            raise VtError(f"{folder}: was curated without clips; give their folder with --videos")
        for split in curated.manifest.splits:
            footages |= dict.fromkeys(clip for question in curated.questions(split) if (clip := curated.clip(question)))
    cache = default_cache()
    with progress_bar("decoding", len(footages), "clips") as progress:
        done = fill(
            footages,
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
