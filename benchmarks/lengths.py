"""How many questions per second a checkpoint answers, by the length of the clips: what a benchmark costs on this machine.

    python benchmarks/lengths.py                                       # on a CPU, a tiny model and short clips
    python benchmarks/lengths.py --shape 3b --seconds 5 15 60 180 600 2700 --tokens 1024 --out lengths.json     # on a GPU

Clips are made here: a scene that moves, 640 x 360 at 25 frames per second in H.264 with a keyframe every two seconds, as video
sites serve them. A short piece is encoded and its packets repeated, so an hour costs no more to make than a minute, and is as
dear to read as any. The checkpoint has random weights, and its replies are as long as is allowed: the most that a run can take.
Frames, pixels and engine are what `vt diagnose` takes without options. Clips are decoded, never taken from a cache.
"""

import argparse
import io
import json
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import results
import shapes
from asking import AUTO, ask, let_go
from rich.console import Console
from rich.table import Table

from videothinker.curate.question_set import Settings
from videothinker.curated import Curated, open_curated
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.recipes.curation import curate_set

WIDTH, HEIGHT, FPS = 640, 360, 25
PIECE_S = 4
"""Seconds that are encoded; longer clips repeat them."""
LIKE = {
    5: "CLEVRER, most of MVBench",
    15: "TempCompass",
    60: "MMVU, Video-MME short",
    180: "Video-Holmes",
    600: "Video-MME medium",
    2700: "Video-MME long",
}
"""Whose clips are about as long, in seconds."""
console = Console()


def piece(seconds: int) -> bytes:
    """A few seconds of a moving pattern with grain, encoded."""
    grain = np.random.default_rng(0).integers(0, 24, (HEIGHT, WIDTH, 1), np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        options = {"preset": "veryfast", "crf": "24", "bf": "0", "g": str(2 * FPS)}
        video = container.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(seconds * FPS):
            wave = 110 + 90 * np.sin((x + 5 * number) / 40) * np.cos((y - 3 * number) / 30)
            picture = np.clip(np.stack([wave, wave[::-1], wave[:, ::-1]], -1) + grain, 0, 255).astype(np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    return file.getvalue()


def write_long(path: Path, short: bytes, seconds: int) -> None:
    """A clip of so many seconds, made of the packets of `short`, which has `PIECE_S`, again and again."""
    with av.open(str(path), "w") as container:
        with av.open(io.BytesIO(short)) as source:
            video = container.add_stream_from_template(source.streams.video[0])
        for again in range(-(-seconds // PIECE_S)):
            with av.open(io.BytesIO(short)) as source:
                for packet in source.demux(video=0):
                    if packet.pts is None or again * PIECE_S + packet.pts * packet.time_base >= seconds:
                        continue
                    shift = round(again * PIECE_S / Fraction(packet.time_base))
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, video
                    container.mux(packet)


def made(folder: Path, seconds: int, n_clips: int, per_clip: int) -> Curated:
    """A curated folder with questions about clips of one length; every clip is a file of its own."""
    videos = folder / "videos"
    videos.mkdir(parents=True)
    short = piece(min(PIECE_S, seconds))
    rows = []
    for number in range(n_clips):
        write_long(videos / f"{number}.mp4", short, seconds)
        rows += [
            {
                "problem_id": f"{number}:{which}",
                "problem": f"What is seen in part {which} of the clip?",
                "options": ["A. A wave", "B. A ball", "C. A cup", "D. A cat"],
                "solution": "<answer>A</answer>",
                "path": f"{number}.mp4",
            }
            for which in range(per_clip)
        ]
    (folder / "rows.json").write_text(json.dumps(rows))
    curate_set(folder / "rows.json", folder / "curated", Settings(dataset="records", split="test"), videos=videos)
    return open_curated(folder / "curated")


def measure(
    ref: str, folder: Path, lengths: Sequence[int], n_clips: int, per_clip: int, settings: DiagnosisSettings
) -> list[dict[str, Any]]:
    """One row for each length, with the engine that `auto` takes here."""
    rows = []
    for seconds in lengths:
        curated = made(folder / str(seconds), seconds, n_clips, per_clip)
        (row,) = ask(AUTO, ref, curated, curated.questions("test"), settings, [settings.batch_size or n_clips * per_clip])
        rows.append({"clip_seconds": seconds, "like": LIKE.get(seconds, ""), **row})
        let_go()
    return rows


def table(options: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> Table:
    """A line for each length."""
    title = f"{options.shape}, {options.frames} frames, replies of {options.tokens} tokens, {results.device()}"
    shown = Table(title=title, title_justify="left")
    shown.add_column("clips of")
    shown.add_column("as in", overflow="fold")
    for head in ("engine", "questions/s", "s per 1,000", "waiting for clips"):
        shown.add_column(head, justify="right")
    for row in rows:
        share = row["seconds_by_stage"]["clips"] / row["seconds"]
        speed = row["questions_per_second"]
        shown.add_row(
            f"{row['clip_seconds']:,} s", row["like"], row["engine"], f"{speed:.2f}", f"{1000 / speed:,.0f}", f"{share:.0%}"
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=shapes.SHAPES, default="test", help="of the model, whose weights are random")
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 60], help="lengths of the clips")
    parser.add_argument("--clips", type=int, default=4, help="clips of each length")
    parser.add_argument("--per-clip", type=int, default=3, help="questions about each clip")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--max-pixels", type=int, help="of one frame; default 256*28*28 for 3b, else 25*28*28")
    parser.add_argument("--tokens", type=int, default=32, help="length of every reply")
    parser.add_argument("--batch-size", type=int, help="questions answered at once; default all of one length")
    parser.add_argument("--weights", type=Path, help="folder in which to keep the random weights, used again if they are there")
    parser.add_argument("--out", type=Path, help="also write the numbers to this JSON file")
    options = parser.parse_args()
    settings = DiagnosisSettings(
        split="test",
        n_frames=options.frames,
        max_pixels=options.max_pixels or (256 if options.shape == shapes.LARGE else 25) * 28 * 28,
        max_new_tokens=options.tokens,
        batch_size=options.batch_size,
    )
    with tempfile.TemporaryDirectory() as scratch:
        ref = str(shapes.build(options.weights or Path(scratch) / "model", options.shape))
        rows = measure(ref, Path(scratch), options.seconds, options.clips, options.per_clip, settings)
    options.max_pixels = settings.max_pixels
    console.print(table(options, rows))
    results.write_rows(options.out, options, rows, size=[WIDTH, HEIGHT])


if __name__ == "__main__":
    main()
