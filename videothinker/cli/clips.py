"""`vt clips`: decode frames and keep them for training and diagnosis."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from videothinker.cli import options, output
from videothinker.cli.console import out, progress_bar, warn
from videothinker.cli.sbatch import print_array_job

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Decode clips in advance, once for all trainings and diagnoses."
)

_EXAMPLES = """[bold]Examples[/bold]

For a diagnosis with --frames 16 --max-pixels 18816, and a training with the same data.n_frames and data.max_pixels:

  vt clips warm --data curated --frames 16 --max-pixels 18816

For a diagnosis by a protocol that takes 2 frames a second, at most 32:

  vt clips warm --data curated --frames 32 --frame-rule fps --fps 2

For two folders, with a cache that is large enough for both:

  VIDEOTHINKER_CACHE_GB=40 vt clips warm --data curated --data heldout --frames 16 --max-pixels 18816

One of four machines that share a folder, each with every fourth clip:

  VIDEOTHINKER_CACHE=/shared/cache vt clips warm --data curated --frames 16 --max-pixels 18816 --shard 3/4
"""


@app.command(epilog=_EXAMPLES)
def warm(
    data: Annotated[list[Path], typer.Option(metavar="DIR", help="Folder that vt curate wrote. Repeat for several.")],
    frames: Annotated[int, typer.Option(metavar="N", min=1, help="Frames to keep of each clip; with --fps at most so many.")],
    frame_rule: Annotated[
        str,
        typer.Option(metavar="NAME", help="How they are spread: floor (as in training), linspace, midpoints, inside, fps."),
    ] = "floor",
    fps: Annotated[
        float | None, typer.Option(metavar="F", min=0.01, help="Frames to keep of each second, with --frame-rule fps.")
    ] = None,
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
    shard: options.ShardOf = None,
    print_sbatch: options.PrintSbatch = None,
    json: options.Json = False,
) -> None:
    """Decode every clip, or part of one, that the questions of curated folders name, in all splits, into the cache on disk.

    A diagnosis or training with the same frames, pixels and decoder then decodes nothing. What is there already is kept. A clip
    that cannot be read is counted and named, and the others are decoded all the same. A cache that cannot be written ends it.

    Shards fill one cache, which has to lie where all machines see it; there is nothing to merge.

    The cache is $VIDEOTHINKER_CACHE (default: ~/.cache/videothinker) and holds $VIDEOTHINKER_CACHE_GB gibibytes (default: 8).
    """
    from videothinker.clips import default_cache
    from videothinker.clips import warm as fill
    from videothinker.curated import open_curated
    from videothinker.diagnose.frame_rules import RULES, FrameRule, choose
    from videothinker.errors import VtError
    from videothinker.footage import Footage
    from videothinker.frames import Backend
    from videothinker.shards import Shard, parse

    output.choose(json)
    if decoder not in get_args(Backend):
        raise VtError(f"--decoder is {decoder!r}, expected one of {', '.join(get_args(Backend))}")
    if frame_rule not in RULES:
        raise VtError(f"--frame-rule is {frame_rule!r}, expected one of {', '.join(RULES)}")
    if (frame_rule == "fps") != (fps is not None) or (fps is not None and frames < 2):
        raise VtError("--frame-rule fps and --fps F go together, with --frames 2 or more")
    rule = FrameRule(frame_rule, frames, fps)
    mine = Shard(1, 1) if shard is None else parse(shard)
    footages: dict[Footage, None] = {}
    for folder in data:
        curated = open_curated(folder, videos)
        if curated.videos_root is None:
            raise VtError(f"{folder}: was curated without clips; give their folder with --videos")
        for split in curated.manifest.splits:
            footages |= dict.fromkeys(clip for question in curated.questions(split) if (clip := curated.clip(question)))
    cache = default_cache()
    if print_sbatch is not None:
        print_array_job(print_sbatch, shard=shard, merged=None, n_gpus=0)
        return
    files = {path: place for place, path in enumerate(dict.fromkeys(footage.path for footage in footages))}
    ours = [footage for footage in footages if mine.has(files[footage.path])]
    with progress_bar("decoding", len(ours), "clips") as progress:
        done = fill(
            ours,
            sample=lambda fps, n_total: choose(rule, fps, n_total),
            max_pixels=max_pixels,
            cache=cache,
            backend=cast(Backend, decoder),
            n_workers=workers,
            n_all=len(footages),
            progress=progress,
        )
    for error in list(done.lost.values())[:5]:
        warn(error)
    if len(done.lost) > 5:
        warn(f"... and {len(done.lost) - 5:,} more clips that cannot be read")
    n_kept = done.n_clips - len(done.lost)
    what = "" if shard is None else f"shard {mine}: "
    size = f"{done.n_bytes / 2**30:,.1f} GiB" if done.n_bytes >= 2**30 else f"{done.n_bytes / 2**20:.1f} MiB"
    out.print(f"{what}{n_kept:,} of {done.n_clips:,} clips kept, {size} in {cache.folder}", soft_wrap=True)
    lost = {str(footage.path): reason for footage, reason in done.lost.items()}
    output.show({"n_clips": done.n_clips, "n_kept": n_kept, "n_bytes": done.n_bytes, "lost": lost, "cache": cache.folder})
