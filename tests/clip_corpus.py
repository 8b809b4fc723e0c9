"""Odd clips, made on the spot: what people feed a decoder, and what was seen to make one put another frame in place.

Every frame shows its own number, as eight fields of light and dark, so that a frame that stands in another's place is noticed
exactly. `KINDS` names what must come of each clip: these frames, or a refusal.
"""

import functools
import io
import random
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
N = 40
WIDTH, HEIGHT = 96, 64


class Kind(NamedTuple):
    """One sort of clip."""

    name: str
    """Of the file."""
    make: Callable[[Path], None]
    frames: tuple[int, ...] | None
    """Numbers of the frames that it has; None where every decoder must refuse it."""
    plain: bool = False
    """decord must read it as well, and alike; of other clips it may refuse any."""
    show: Callable[[Picture], Picture] = lambda picture: picture
    """What a viewer sees of a frame as drawn."""
    size: tuple[int, int] = (WIDTH, HEIGHT)
    fps: float | None = 25.0


def draw(number: int, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """A frame whose number stands in it: bit k of it makes the k-th of 4 x 2 fields light."""
    y, x = np.mgrid[:height, :width]
    light = number >> ((2 * y // height) * 4 + 4 * x // width) & 1
    grain = 10 * np.sin(x / 5 + number / 3) + 10 * np.cos(y / 4 - number / 4)
    grey = 40 + 160 * light
    return np.stack([grey + grain, grey, grey - grain], -1).clip(0, 255).astype(np.uint8)


def noisy(number: int, width: int, height: int) -> Picture:
    """The same with noise, so that a clip has bytes worth damaging."""
    noise = np.random.default_rng(number).normal(0, 8, (height, width, 1))
    return (draw(number, width, height) + noise).clip(0, 255).astype(np.uint8)


@functools.cache
def drawn(kind: Kind) -> Picture:
    """All frames that a clip of this kind can show, by number."""
    last = max(kind.frames or (47,))
    return np.stack([kind.show(draw(i, *kind.size)) for i in range(last + 1)])


def number_of(frame: Picture, kind: Kind) -> tuple[int, float]:
    """The number of the drawn frame that is closest to this one, and how far it is off: mean difference per pixel, 0 to 255."""
    off = np.abs(drawn(kind).astype(np.int16) - frame).mean((1, 2, 3))
    return int(off.argmin()), float(off.min())


def film(
    path: Path,
    *,
    codec: str = "libx264",
    n: int = N,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixels: str = "yuv420p",
    rate: int = 25,
    group: int | None = None,
    b_frames: int | None = None,
    times: Sequence[int] | None = None,
    ratio: Fraction | None = None,
    colours: tuple[int, int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    picture: Callable[[int, int, int], Picture] = draw,
) -> None:
    """Encode `n` frames. times: of each frame in 1/50 s. colours: colour space and range, by FFmpeg's numbers."""
    with av.open(str(path), "w", options=container or {}) as file:
        file.metadata.update(tags or {})
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = file.add_stream(codec, rate=rate, options=quiet | (options or {}))
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        context = stream.codec_context
        if group:
            context.gop_size = group
        if b_frames is not None:
            context.max_b_frames = b_frames
        if ratio:
            context.sample_aspect_ratio = ratio
        if times:
            context.time_base = Fraction(1, 50)
        if colours:
            context.colorspace, context.color_range = colours
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(picture(i, *size), format="rgb24")
            if colours:
                frame = frame.reformat(format=pixels, dst_colorspace=colours[0], dst_color_range=colours[1])
            if times:
                frame.pts, frame.time_base = times[i], Fraction(1, 50)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def repeated(path: Path, source: Path, n_times: int) -> None:
    """A long clip in no time: the packets of `source`, which begins with a key frame, over and over."""
    with av.open(str(source)) as original, av.open(str(path), "w") as copy:
        stream = original.streams.video[0]
        target = copy.add_stream_from_template(stream)
        packets = [
            (bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in original.demux(stream) if packet.size
        ]
        length = int(len(packets) / (stream.average_rate * stream.time_base))
        for number in range(n_times):
            for data, pts, dts, is_key in packets:
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.time_base = pts + number * length, dts + number * length, stream.time_base
                packet.is_keyframe, packet.stream = is_key, target
                copy.mux(packet)


def made(**options: object) -> Callable[[Path], None]:
    return lambda path: film(path, **options)  # type: ignore[arg-type]


def copied(first_s: float, *, whole: bool = True, options: dict[str, str] | None = None) -> Callable[[Path], None]:
    """A cut without encoding, as `ffmpeg -ss ... -c copy` makes it: the clip begins at `first_s`.

    whole: the packets begin at the key frame before it, which an edit list then hides; else right there, without a key frame.
    """

    def make(path: Path) -> None:
        source = path.with_suffix(".source.mp4")
        film(source, n=48, group=16)
        with av.open(str(source)) as original, av.open(str(path), "w", options=options or {}) as copy:
            stream = original.streams.video[0]
            target = copy.add_stream_from_template(stream)
            shift = int(first_s / stream.time_base)
            packets = [packet for packet in original.demux(stream) if packet.size]
            by_then = [i for i, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= shift]
            start = by_then[-1] if whole else next(i for i, packet in enumerate(packets) if packet.pts >= shift)
            for packet in packets[start:]:
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = target
                copy.mux(packet)

    return make


def patched(make: Callable[[Path], None], patch: Callable[[bytearray], None]) -> Callable[[Path], None]:
    """A clip with some of its bytes changed."""

    def patch_it(path: Path) -> None:
        make(path)
        data = bytearray(path.read_bytes())
        patch(data)
        path.write_bytes(data)

    return patch_it


def cut(make: Callable[[Path], None], share: float) -> Callable[[Path], None]:
    """A clip of which the end is missing."""

    def cut_it(path: Path) -> None:
        make(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return cut_it


def damaged(make: Callable[[Path], None], seed: int, *, zeros: bool, n_bytes: int = 16) -> Callable[[Path], None]:
    """A clip of which some bytes of its pictures are zeros, as a bad sector or a torn download leaves them, or anything."""

    def damage(data: bytearray) -> None:
        start = data.find(b"mdat") + 8 if b"mdat" in data else len(data) // 20
        end = data.rfind(b"moov") if data.rfind(b"moov") > start else len(data)
        at = random.Random(seed).randrange(start, end - n_bytes - 8)
        data[at : at + n_bytes] = bytes(n_bytes) if zeros else random.Random(seed).randbytes(n_bytes)

    return patched(make, damage)


def matrix(*numbers: float) -> Callable[[bytearray], None]:
    """Let an mp4 be shown turned: the first two columns of its track's matrix, row by row (ISO 14496-12, 8.3.2)."""

    def patch(data: bytearray) -> None:
        at = data.find(b"tkhd") + 4 + 40
        a, b, c, d = (int(number * 65536) for number in numbers)
        struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)

    return patch


def number_at(tag: bytes, offset: int, value: int, *, order: str = ">") -> Callable[[bytearray], None]:
    """Overwrite a 32-bit number that stands `offset` bytes behind a box's name."""

    def patch(data: bytearray) -> None:
        struct.pack_into(f"{order}I", data, data.find(tag) + 4 + offset, value)

    return patch


def halve_edit(data: bytearray) -> None:
    at = data.find(b"elst") + 12
    struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] // 2)


def bad_brand(data: bytearray) -> None:
    at = data.find(b"ftyp") + 4
    data[at : at + 4] = b"\xff\xfe\xa9\xb5"


def bad_title(data: bytearray) -> None:
    at = data.find(b"a title of a clip")
    data[at : at + 4] = b"\xff\xfe\xa9\xb5"


def hide_frame(number: int) -> Callable[[bytearray], None]:
    """Make a VP8 frame one that is not shown: clear the bit that says so in the first byte of its packet."""

    def patch(data: bytearray) -> None:
        with av.open(io.BytesIO(bytes(data))) as file:
            packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
        data[data.find(packets[number])] &= ~0x10

    return patch


def two_streams(*, one_is_default: bool) -> Callable[[Path], None]:
    """A small grey film in front of the real one."""

    def make(path: Path) -> None:
        with av.open(str(path), "w") as file:
            streams = [file.add_stream("libx264", rate=25) for _ in range(2)]
            for stream, size in zip(streams, ((32, 32), (WIDTH, HEIGHT)), strict=True):
                (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
                stream.disposition = 0
            streams[1].disposition = int(one_is_default)
            for i in range(N):
                for stream, picture in zip(streams, (np.full((32, 32, 3), 90, np.uint8), draw(i)), strict=True):
                    file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            for stream in streams:
                file.mux(stream.encode())

    return make


def with_cover(path: Path) -> None:
    """A film with a cover picture, as music players and film shops add it."""
    with av.open(str(path), "w") as file:
        film_, cover = file.add_stream("libx264", rate=25), file.add_stream("mjpeg", rate=1)
        film_.width, film_.height, film_.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        cover.width, cover.height, cover.pix_fmt = 320, 320, "yuvj420p"
        cover.disposition = 0x400  # an attached picture
        file.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((320, 320, 3), 200, np.uint8), format="rgb24")))
        for i in range(N):
            file.mux(film_.encode(av.VideoFrame.from_ndarray(draw(i), format="rgb24")))
        for stream in (film_, cover):
            file.mux(stream.encode())


def with_sound(path: Path) -> None:
    """A film with silence beside it, of the same length."""
    with av.open(str(path), "w") as file:
        video, audio = file.add_stream("libx264", rate=25), file.add_stream("aac", rate=48000)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(N):
            file.mux(video.encode(av.VideoFrame.from_ndarray(draw(i), format="rgb24")))
            file.mux(audio.encode(silence(i)))
        for stream in (video, audio):
            file.mux(stream.encode())


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as file:
        audio = file.add_stream("aac", rate=48000)
        for i in range(N):
            file.mux(audio.encode(silence(i)))
        file.mux(audio.encode())


def silence(i: int) -> av.AudioFrame:
    """The i-th twenty-fifth of a second of it."""
    frame = av.AudioFrame.from_ndarray(np.zeros((2, 1920), np.float32), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = 48000, 1920 * i
    return frame


def without_frames(path: Path) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        file.start_encoding()


def two_sizes(path: Path) -> None:
    """One H.264 stream after another, of another size, as a camera that is turned writes them."""
    parts = [path.with_suffix(f".{i}.h264") for i in range(2)]
    film(parts[0], n=20)
    film(parts[1], n=20, size=(64, 48))
    path.write_bytes(b"".join(part.read_bytes() for part in parts))


def playlist(path: Path) -> None:
    """A text that makes FFmpeg read another file."""
    film(path.with_name("other.mp4"))
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


def written(data: bytes) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(data), None)[1]


_ALL = tuple(range(N))
_RANDOM = random.Random(0).randbytes(20_000)
_VP = {"b": "1M", "deadline": "realtime", "cpu-used": "8"}
_UNEVEN = [2 * i + i * i // 5 for i in range(24)]  # at 50 per second
_FAST = {"movflags": "faststart"}  # the index is in front, and survives a cut
_open = made(n=48, options={"x264-params": "keyint=12:min-keyint=12:open-gop=1:bframes=3:scenecut=0"})
_refresh = made(n=48, options={"x264-params": "keyint=12:intra-refresh=1:scenecut=0:bframes=0"})
_h264, _m4, _m4b = made(), made(codec="mpeg4", b_frames=0), made(codec="mpeg4", b_frames=2)
_vp8, _vp9 = made(codec="libvpx", options=_VP), made(codec="libvpx-vp9", options=_VP)


def _size(width: int, height: int, name: str, *, plain: bool = True, **options: object) -> Kind:
    return Kind(name, made(size=(width, height), n=12, **options), tuple(range(12)), plain, size=(width, height))


KINDS = [
    # What decord must read as well, and alike.
    Kind("h264.mp4", _h264, _ALL, True),
    Kind("h264-groups-of-8.mp4", made(group=8), _ALL, True),
    Kind("h264-without-b-frames.mp4", made(b_frames=0), _ALL, True),
    Kind("h264.mov", _h264, _ALL, True),
    Kind("h264.mkv", _h264, _ALL, True),
    Kind("hevc.mp4", made(codec="libx265", options={"x265-params": "log-level=none:keyint=12:open-gop=0"}), _ALL, True),
    Kind("vp8.webm", _vp8, _ALL, True),
    Kind("vp9.webm", _vp9, _ALL, True),
    Kind("mpeg4.mp4", _m4, _ALL, True),
    Kind("bt709.mp4", made(colours=(1, 1)), _ALL, True),
    Kind("full-range.mp4", made(colours=(6, 2), pixels="yuvj420p"), _ALL, True),
    Kind("one-frame.mp4", made(n=1), (0,), True),
    Kind("two-frames.mp4", made(n=2), (0, 1), True),
    Kind("with-sound.mp4", with_sound, _ALL, True),
    Kind("non-square-pixels.mp4", made(ratio=Fraction(2, 1)), _ALL, True),
    Kind("bad-brand.mp4", patched(_h264, bad_brand), _ALL, True),
    Kind("bad-title.mp4", patched(made(tags={"title": "a title of a clip"}), bad_title), _ALL, True),
    Kind("uneven.mp4", made(n=24, times=_UNEVEN), tuple(range(24)), True, fps=None),
    Kind("uneven.mkv", made(n=24, times=_UNEVEN), tuple(range(24)), True, fps=None),
    _size(98, 66, "98x66.mp4"),
    _size(35, 27, "35x27.webm", codec="libvpx-vp9", options=_VP),
    _size(3216, 16, "3216x16.mp4"),
    # What decord may refuse, and mostly would misread.
    _size(16, 16, "16x16.mp4", plain=False),
    _size(16, 3216, "16x3216.mp4", plain=False),
    Kind("edit-list.mp4", copied(0.4), tuple(range(10, 48))),
    Kind("edit-list-later.mp4", copied(0.9), tuple(range(23, 48))),
    Kind("edit-list-shortened.mp4", patched(_h264, halve_edit), tuple(range(N // 2))),
    Kind("begins-late.mp4", copied(0.4, options={"use_editlist": "0", "avoid_negative_ts": "disabled"}), tuple(range(48))),
    Kind("begins-before-0.mkv", copied(0.4, options={"avoid_negative_ts": "disabled"}), tuple(range(48))),
    Kind("fragments.mp4", copied(0.0, options={"movflags": "frag_keyframe+empty_moov"}), tuple(range(48))),
    Kind("mpeg4-b-frames.mp4", _m4b, _ALL),
    Kind("mpeg4-b-frames.avi", _m4b, _ALL),
    Kind("mpeg4.avi", _m4, _ALL),
    Kind("h264.avi", _h264, _ALL),
    Kind("mjpeg.avi", made(codec="mjpeg", pixels="yuvj420p"), _ALL),
    Kind("mpeg1.mpg", made(codec="mpeg1video", options={"b": "3M"}), _ALL),
    Kind("mpeg2.mpg", made(codec="mpeg2video", b_frames=2, options={"b": "3M"}), _ALL),
    Kind("h264.ts", _h264, _ALL),
    Kind("open-groups.ts", _open, tuple(range(48))),
    Kind("open-groups.mp4", _open, tuple(range(48))),
    Kind("open-groups-hevc.mp4", made(codec="libx265", options={"x265-params": "log-level=none:keyint=12"}), _ALL),
    Kind("intra-refresh.ts", _refresh, tuple(range(48))),
    Kind("intra-refresh.mp4", _refresh, tuple(range(48))),
    Kind("wmv2.asf", made(codec="wmv2", options={"b": "2M"}), _ALL),
    Kind("flv1.flv", made(codec="flv", options={"b": "2M"}), _ALL),
    Kind("ffv1.mkv", made(codec="ffv1"), _ALL),
    Kind("av1.mp4", made(codec="libsvtav1", options={"preset": "12"}), _ALL),
    Kind("ten-bits.mp4", made(pixels="yuv420p10le"), _ALL),
    Kind("444.mp4", made(pixels="yuv444p"), _ALL),
    Kind("hidden-frame.webm", patched(_vp8, hide_frame(7)), tuple(i for i in _ALL if i != 7), fps=None),
    Kind("two-streams.mkv", two_streams(one_is_default=True), _ALL),
    Kind("with-cover.mp4", with_cover, _ALL),
    Kind("turned-90.mp4", patched(_h264, matrix(0, 1, -1, 0)), _ALL, show=lambda p: np.rot90(p, -1)),
    Kind("turned-180.mp4", patched(_h264, matrix(-1, 0, 0, -1)), _ALL, show=lambda p: np.rot90(p, 2)),
    Kind("turned-270.mp4", patched(_h264, matrix(0, -1, 1, 0)), _ALL, show=lambda p: np.rot90(p, 1)),
    Kind("mirrored.mp4", patched(_h264, matrix(-1, 0, 0, 1)), _ALL, show=np.fliplr),
    # What everybody must refuse.
    Kind("turned-45.mp4", patched(_h264, matrix(0.7, 0.7, -0.7, 0.7)), None),
    Kind("no-key-frame.mp4", copied(0.2, whole=False), None),
    Kind("no-key-frame.mkv", copied(0.2, whole=False), None),
    Kind("two-sizes.h264", two_sizes, None),
    Kind("claims-more.avi", patched(_m4, number_at(b"strh", 4 + 32, N + 3, order="<")), None),
    Kind("rate-absurd.mp4", patched(_h264, number_at(b"mdhd", 12, 2**31 - 1)), None),
    Kind("rate-tiny.mp4", patched(_h264, number_at(b"mdhd", 12, 1)), None),
    Kind("two-equal-streams.mkv", two_streams(one_is_default=False), None),
    Kind("sound-only.mp4", sound_only, None),
    Kind("no-frames.mp4", without_frames, None),
    Kind("empty.mp4", written(b""), None),
    Kind("text.mp4", written(b"this is not a video\n" * 99), None),
    Kind("text.txt", written(b"this is not a video\n" * 99), None),
    Kind("playlist.mp4", playlist, None),
    Kind("picture.mp4", lambda path: Image.fromarray(draw(0)).save(path, format="png"), None),
    Kind("random.mp4", written(_RANDOM), None),
    Kind("zeros.mp4", written(bytes(20_000)), None),
    Kind("folder.mp4", lambda path: path.mkdir(), None),
    Kind("absent.mp4", lambda path: None, None),
    *(
        Kind(f"cut-{share}{suffix}", cut(made(container=_FAST if suffix == ".mp4" else None), share), None)
        for suffix in (".mp4", ".mov", ".mkv", ".avi")
        for share in (0.9, 0.5, 0.1)
    ),
    Kind("cut-0.8.webm", cut(_vp9, 0.8), None),
    Kind("cut-fragments.mp4", cut(copied(0.0, options={"movflags": "frag_keyframe+empty_moov"}), 0.9), None),
]
"""Some ninety kinds. Damaged bytes come on top: see `damaged`."""
