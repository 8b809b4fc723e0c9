"""What decoders make of odd and damaged clips, and what a clip costs: the tables of docs/reliability.md.

    python benchmarks/frames.py

- every kind of tests/clip_corpus.py with every decoder that can be loaded: the right frames, or refused;
- clips with 16 bytes of their pictures overwritten: how many are refused, and how many of the others look wrong;
- processor time for 16 of 128 frames of 480x320, as a ratio to decord without any of our checks;
- processor time for 32 frames of a film of hours, and for what is known of it, as ratios to decoding all of it.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from clip_corpus import KINDS, Kind, damaged, film, made, noisy, number_of, repeated

from videothinker import demux
from videothinker.footage import Footage
from videothinker.frames import Backend, Clip, ClipError, available, clip_indices, read_clip

SIZE = (192, 128)
REALTIME = {"b": "1M", "deadline": "realtime", "cpu-used": "8"}
DAMAGED = {
    "H.264": ("clip.mp4", made(picture=noisy, size=SIZE, group=12)),
    "MPEG-4 part 2": ("clip.mp4", made(codec="mpeg4", b_frames=0, options={"b": "1M"}, picture=noisy, size=SIZE)),
    "MPEG-2": ("clip.mpg", made(codec="mpeg2video", options={"b": "2M"}, picture=noisy, size=SIZE)),
    "AV1": ("clip.mp4", made(codec="libsvtav1", options={"preset": "12"}, picture=noisy, size=SIZE)),
    "HEVC": ("clip.mp4", made(codec="libx265", picture=noisy, size=SIZE)),
    "VP8": ("clip.webm", made(codec="libvpx", options=REALTIME, picture=noisy, size=SIZE)),
    "VP9": ("clip.webm", made(codec="libvpx-vp9", options=REALTIME, picture=noisy, size=SIZE)),
}


def outcome(path: Path, kind: Kind, backend: Backend) -> str:
    """One word, or WRONG, which never happened."""
    try:
        clip = read_clip(path, backend=backend)
    except ClipError:
        return "refused"
    right = tuple(number_of(frame, kind)[0] for frame in clip.frames) == kind.frames
    return "right" if right else "WRONG"


def corpus(folder: Path, n: int | None) -> None:
    backends = available()
    print(f"| clip | {' | '.join(backends)} |\n|{'---|' * (len(backends) + 1)}")
    for kind in KINDS[:n]:
        path = folder / kind.name
        kind.make(path)
        print(f"| {kind.name} | {' | '.join(outcome(path, kind, backend) for backend in backends)} |", flush=True)


def looks_wrong(clip: Clip, whole: Clip) -> bool:
    """More than 1 % of some frame's pixels are off by more than 12 of 255."""
    off = np.abs(clip.frames.astype(np.int16) - whole.frames).max(-1) > 12
    return bool(off.mean((1, 2)).max() > 0.01)


def damage(folder: Path, n: int, n_codecs: int | None) -> None:
    columns = "codec | 16 zeros: refused | looks right | wrong | 16 random bytes: refused | looks right | wrong"
    print(f"\n| {columns} |\n|{'---|' * 7}")
    for codec, (name, make) in list(DAMAGED.items())[:n_codecs]:
        path = folder / f"whole-{name}"
        make(path)
        whole, data = read_clip(path), path.read_bytes()
        row = [codec]
        for zeros in (True, False):
            found = Counter[str]()
            for seed in range(n):
                damaged(lambda path, data=data: path.write_bytes(data), seed, zeros=zeros)(folder / name)
                try:
                    found["wrong" if looks_wrong(read_clip(folder / name), whole) else "right"] += 1
                except ClipError:
                    found["refused"] += 1
            row += [str(found[word]) for word in ("refused", "right", "wrong")]
        print(f"| {' | '.join(row)} |", flush=True)


def cost(folder: Path, n: int) -> None:
    path = folder / "clevrer.mp4"
    film(path, n=128, size=(480, 320), picture=noisy, group=12)
    indices = clip_indices(128, 16)
    ways: dict[str, Callable[[], object]] = {"pyav": lambda: read_clip(path, indices=indices, backend="pyav")}
    if "decord" in available():
        import decord

        ways["decord, checked"] = lambda: read_clip(path, indices=indices, backend="decord")
        ways["decord, as it is"] = lambda: decord.VideoReader(str(path), num_threads=1).get_batch(list(indices)).asnumpy()
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(n):  # in turns, so that a busy machine is busy for all of them
        for way, read in ways.items():
            start = time.process_time()
            read()
            seconds[way].append(time.process_time() - start)
    base = min(seconds[list(ways)[-1]])
    print(f"\n| decoder | processor time per clip | ratio |\n|{'---|' * 3}")
    for way, measured in seconds.items():
        print(f"| {way} | {1e3 * min(measured):.0f} ms | {min(measured) / base:.2f} |")


def long_film(folder: Path, hours: float) -> None:
    """24 frames a second of 480x320, a key frame every 10 s; the same 10 s over and over."""
    rate, group = 24, 240
    source, path = folder / "ten-seconds.mp4", folder / "film.mp4"
    film(source, n=group, size=(480, 320), rate=rate, group=group)
    repeated(path, source, max(1, int(hours * 360)))
    began = time.process_time()
    n_read = len(read_clip(source).frames)
    whole = (time.process_time() - began) / n_read  # a frame
    rows: dict[str, Callable[[], object]] = {
        "packets (once per clip)": lambda: demux.survey(path),
        "32 frames of all": lambda: read_clip(path, n_frames=32),
        "32 frames of the last minute": lambda: read_clip(Footage(path, hours * 3600 - 60), n_frames=32),
    }
    print(
        f"\n| of a film of {hours:g} h, {path.stat().st_size / 2**20:.0f} MiB | time | share of decoding all |\n|{'---|' * 3}"
    )
    for what, read in rows.items():
        began = time.process_time()
        read()
        spent = time.process_time() - began
        print(f"| {what} | {spent:.2f} s | {spent / (whole * demux.survey(path).n_total):.2%} |", flush=True)
    packets = demux.survey(path).packets
    print(f"\n{packets.number:,} packets take {sum(each.nbytes for each in packets) / 2**20:.1f} MiB of memory.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damaged", type=int, default=200, help="damaged clips per codec")
    parser.add_argument("--repeats", type=int, default=20, help="readings per decoder, of which the quickest counts")
    parser.add_argument("--first", type=int, help="only so many kinds of clips and codecs, the first ones; default: all")
    parser.add_argument("--hours", type=float, default=2.0, help="length of the long film")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus(Path(folder), arguments.first)
        damage(Path(folder), arguments.damaged, arguments.first)
        cost(Path(folder), arguments.repeats)
        long_film(Path(folder), arguments.hours)


if __name__ == "__main__":
    main()
