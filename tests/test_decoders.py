"""Odd and damaged clips: every decoder gives exactly the frames that were asked for, or refuses with one line."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from clip_corpus import KINDS, Kind, N, damaged, made, noisy, number_of

from videothinker import decoders, demux, frames
from videothinker.clips import ClipReader
from videothinker.demux import Contents, Packets
from videothinker.footage import Footage
from videothinker.frames import Backend, ClipError, clip_indices, read_clip
from videothinker.nal import has_hole

BACKENDS = frames.available()
READABLE = [kind for kind in KINDS if kind.frames is not None]
UNREADABLE = [kind for kind in KINDS if kind.frames is None]


def subsets(n: int) -> Iterator[tuple[int, ...]]:
    """All frames, some spread ones, the last one, and some at random."""
    yield tuple(range(n))
    yield clip_indices(n, 5)
    yield (n - 1,)
    for seed in range(4):
        yield tuple(sorted(random.Random(seed).sample(range(n), random.Random(seed).randint(1, n))))


@pytest.mark.parametrize("kind", READABLE, ids=lambda kind: kind.name)
def test_a_clip_gives_the_frames_asked_for(tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / kind.name
    kind.make(path)
    assert kind.frames is not None
    whole = read_clip(path, backend="pyav")
    found = [number_of(frame, kind) for frame in whole.frames]
    assert tuple(number for number, _ in found) == kind.frames
    assert max(off for _, off in found) < 12  # another frame is 20 off at least: one field in eight, 160 lighter or darker
    assert whole.n_total == len(kind.frames)
    if kind.fps is not None:
        assert whole.fps == kind.fps
    for indices in subsets(len(kind.frames)):
        clip = read_clip(path, indices=indices, backend="pyav")
        np.testing.assert_array_equal(clip.frames, whole.frames[list(indices)])
        assert clip[1:] == (indices, whole.fps, whole.n_total)


@pytest.mark.parametrize("backend", [backend for backend in BACKENDS if backend != "pyav"])
@pytest.mark.parametrize("kind", READABLE, ids=lambda kind: kind.name)
def test_other_decoders_agree_with_pyav_or_refuse(tmp_path: Path, kind: Kind, backend: Backend) -> None:
    path = tmp_path / kind.name
    kind.make(path)
    whole = read_clip(path, backend="pyav")
    for indices in subsets(whole.n_total):
        try:
            clip = read_clip(path, indices=indices, backend=backend)
        except ClipError:
            if kind.plain and backend == "decord":
                raise
            continue
        assert clip[1:] == (indices, whole.fps, whole.n_total)
        if all(side % 2 == 0 for side in kind.size):
            np.testing.assert_array_equal(clip.frames, whole.frames[list(indices)])
        else:  # colour has half the resolution, and what it is at an odd edge is a matter of opinion
            assert np.abs(clip.frames.astype(int) - whole.frames[list(indices)]).mean() < 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", UNREADABLE, ids=lambda kind: kind.name)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, kind: Kind, backend: Backend) -> None:
    path = tmp_path / kind.name
    kind.make(path)
    for n_frames in (None, 4):
        with pytest.raises(ClipError) as refusal:
            read_clip(path, n_frames=n_frames, backend=backend)
        message = str(refusal.value)
        assert message.startswith(f"{path}: ")
        assert message.isprintable()
        assert len(message) < len(str(path)) + 400


@pytest.mark.parametrize("backend", BACKENDS)
def test_odd_clips_cost_a_reader_nothing_but_themselves(tmp_path: Path, backend: Backend, capfd: pytest.CaptureFixture) -> None:
    for kind in KINDS:
        kind.make(tmp_path / kind.name)
    capfd.readouterr()
    with ClipReader(sample=lambda _, n: clip_indices(n, 4), backend=backend, n_workers=2, time_limit_s=60) as reader:
        found = dict(reader.read(Footage(tmp_path / kind.name) for kind in KINDS))
    for kind in KINDS:
        clip = found[Footage(tmp_path / kind.name)]
        if isinstance(clip, ClipError):
            assert kind.frames is None or (backend != "pyav" and not kind.plain), clip
            assert "its decoder died" not in str(clip)
            assert "longer than" not in str(clip)
        else:
            assert kind.frames is not None, kind.name
            wanted = [kind.frames[i] for i in clip_indices(len(kind.frames), 4)]
            assert [number_of(frame, kind)[0] for frame in clip.frames] == wanted
    assert "Traceback" not in capfd.readouterr().err


# At least this share of clips is refused of which 16 bytes are zeros, or random. What passes has wrong pixels, in HEVC, VP8 and
# VP9 without a sign of it: benchmarks/frames.py counts how many, and docs/reliability.md says so.
_DAMAGED = {
    "h264.mp4": (made(picture=noisy, size=(192, 128), group=12), 0.9, 0.3),
    "h264.ts": (made(picture=noisy, size=(192, 128), group=12), 0.6, 0.3),
    "mpeg4.mp4": (made(codec="mpeg4", b_frames=0, options={"b": "1M"}, picture=noisy, size=(192, 128)), 0.9, 0.9),
    "mpeg2.mpg": (made(codec="mpeg2video", options={"b": "2M"}, picture=noisy, size=(192, 128)), 0.7, 0.7),
    "av1.mp4": (made(codec="libsvtav1", options={"preset": "12"}, picture=noisy, size=(192, 128)), 0.7, 0.7),
    "hevc.mp4": (made(codec="libx265", picture=noisy, size=(192, 128)), 0.7, 0.0),
    "vp9.webm": (made(codec="libvpx-vp9", options={"deadline": "realtime"}, picture=noisy, size=(192, 128)), 0.0, 0.0),
}


@pytest.mark.parametrize("zeros", [True, False], ids=["zeros", "random"])
@pytest.mark.parametrize("name", _DAMAGED)
def test_most_damage_inside_a_clip_is_noticed_where_the_codec_allows_it(tmp_path: Path, name: str, zeros: bool) -> None:
    make, *shares = _DAMAGED[name]
    make(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    n_refused = 0
    for seed in range(12):
        path = tmp_path / f"{seed}-{name}"
        damaged(lambda path: (path.write_bytes(whole), None)[1], seed, zeros=zeros)(path)
        for backend in BACKENDS:
            try:
                clip = read_clip(path, backend=backend)
            except ClipError:
                n_refused += backend == "pyav"
                continue
            assert clip.frames.shape == (N, 128, 192, 3)
    assert n_refused >= shares[not zeros] * 12


AVC = b"\x01\x64\x00\x1f\xff"  # lengths of (0xff & 3) + 1 = 4 bytes
AVC_SHORT = b"\x01\x64\x00\x1f\xfd"  # of 2
HVC = b"\x01" + bytes(20) + b"\xfb"  # of 4


@pytest.mark.parametrize(
    ("codec", "header", "data", "expected"),
    [
        ("h264", AVC, "00000004 65888471", False),  # the zeros of a length are no hole
        ("h264", AVC, "00000008 65880000 00008471", True),
        ("h264", AVC, "00000006 65880000 0384", False),  # two zeros and the byte that breaks them up
        ("h264", AVC, "00000007 65888400 000000", False),  # at the end
        ("h264", AVC, "00000007 06050000 000080 00000002 6588", False),  # a camera's own data, then a picture
        ("h264", AVC, "00000002 6588 00000006 41000000 0071", True),  # the second slice
        ("h264", AVC_SHORT, "0006 65000000 0071", True),
        ("h264", AVC_SHORT, "0002 6588 0000 0002 4171", False),  # an empty unit between
        ("h264", b"", "00000001 658884 00000001 419a71", False),
        ("h264", b"", "00000001 65000000 000071 000001 419a71", True),
        ("hevc", HVC, "00000006 26010000 0071", True),
        ("hevc", HVC, "00000006 4e010000 0071", False),  # a message, type 39
        ("mpeg4", AVC, "00000006 65000000 0071", False),
        ("h264", AVC, "", False),
        ("h264", AVC, "0000", False),
        ("h264", AVC, "ffffffff 65000000 0071", True),  # a length beyond the packet
    ],
)
def test_holes_by_hand(codec: str, header: bytes, data: str, expected: bool) -> None:
    assert has_hole(codec, header, bytes.fromhex(data)) is expected


def n_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_converting_frames_starts_no_threads(tmp_path: Path) -> None:
    """Several processes read clips side by side; PyAV from 17 on would let each of them take every core for a conversion."""
    path = tmp_path / "clip.mp4"
    made()(path)
    some = decoders.pyav(path, demux.survey(path), (0, 1, 2))
    before = n_threads()
    next(some)
    assert n_threads() == before
    some.close()


class Packet(NamedTuple):
    time: int
    key: bool = False
    shown: bool = True


packet = Packet


def contents(*packets: Packet) -> Contents:
    time, key, shown = (np.array(values) for values in zip(*packets, strict=True))
    times = np.sort(time[shown])
    return Contents(25.0, len(times), Packets(time, key, shown), times, "h264", "", 0.04, 0.0, 25.0, False)


def test_packets_needed_by_hand() -> None:
    # Shown: 0 1 2 3 4 5 6. Decoded: I0 P2 B1, I5 with B3 and B4 leading it (an open group), then P6.
    clip = contents(packet(0, key=True), packet(2), packet(1), packet(5, key=True), packet(3), packet(4), packet(6))

    def needed(*wanted: int) -> list[tuple[int, ...]]:
        return decoders.needed(Path("clip"), clip, wanted)

    assert needed(0) == [(0,)]
    assert needed(1) == [(0, 1, 2)]
    assert needed(2) == [(0, 1)]
    assert needed(3) == [(0, 1, 2, 3, 4)]  # refers to P2, in front of the key frame that it is decoded after
    assert needed(5) == [(3,)]
    assert needed(6) == [(3, 6)]  # without B3 and B4, which lack P2
    assert needed(0, 6) == [(0,), (3, 6)]
    assert needed(2, 6) == [(0, 1), (3, 6)]
    assert needed(3, 6) == [(0, 1, 2, 3, 4, 5, 6)]
    assert needed(1, 5) == [(0, 1, 2, 3)]  # what touches is decoded in one go
    assert decoders.needed(Path("clip"), clip, (5, 6), n_back=1) == [(0, 1, 2, 3, 4, 5, 6)]
    assert decoders.needed(Path("clip"), clip, (6,), n_back=99) == [(0, 1, 2, 3, 4, 5, 6)]


def test_frames_that_an_edit_list_cuts_off_are_decoded_but_not_counted() -> None:
    clip = contents(packet(-2, key=True, shown=False), packet(-1, shown=False), packet(0), packet(1, key=True))
    assert clip.n_total == 2
    assert decoders.needed(Path("clip"), clip, (0,)) == [(0, 1, 2)]
    assert decoders.needed(Path("clip"), clip, (1,)) == [(3,)]


def test_a_frame_without_a_key_frame_in_front_is_refused() -> None:
    clip = contents(packet(0), packet(1), packet(2, key=True))
    with pytest.raises(ClipError, match="frame 1 has no key frame"):
        decoders.needed(Path("clip"), clip, (1, 2))
    assert decoders.needed(Path("clip"), clip, (2,)) == [(2,)]


def test_only_what_is_needed_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(n=48, options={"x264-params": "keyint=8:min-keyint=8:bframes=0:scenecut=0"})(tmp_path / "clip.mp4")
    counted: list[int] = []
    decoded = decoders._decoded

    def count(path: Path, contents: Contents, groups: list[tuple[int, ...]], *, jumps: bool) -> Iterator[object]:
        counted.append(sum(map(len, groups)))
        return decoded(path, contents, groups, jumps=jumps)

    monkeypatch.setattr(decoders, "_decoded", count)
    whole = read_clip(tmp_path / "clip.mp4")
    clip = read_clip(tmp_path / "clip.mp4", indices=[1, 33, 47])
    assert counted == [48, 2 + 2 + 8]
    np.testing.assert_array_equal(clip.frames, whole.frames[[1, 33, 47]])


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), [[1, 2, 3], [4, 5, 6]]),
        ((0, 1, -1, 0), [[4, 1], [5, 2], [6, 3]]),  # a quarter clockwise: the left column becomes the top row, from below
        ((-1, 0, 0, -1), [[6, 5, 4], [3, 2, 1]]),
        ((0, -1, 1, 0), [[3, 6], [2, 5], [1, 4]]),
        ((-1, 0, 0, 1), [[3, 2, 1], [6, 5, 4]]),
        ((1, 0, 0, -1), [[4, 5, 6], [1, 2, 3]]),
        ((0, 1, 1, 0), [[1, 4], [2, 5], [3, 6]]),
        ((0, -1, -1, 0), [[6, 3], [5, 2], [4, 1]]),
    ],
)
def test_turned_by_hand(matrix: tuple[int, int, int, int], shown: list[list[int]]) -> None:
    picture = np.repeat(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[:, :, None], 3, axis=2)
    assert decoders._turned(picture, matrix)[:, :, 0].tolist() == shown


@pytest.mark.parametrize(
    ("said", "times", "expected"),
    [
        (25.0, (0, 4, 8, 12), 25.0),
        (25.0, (0, 4, 8, 15), 25.0),  # the last one 0.03 s late: less than a frame
        (25.0, (0, 10, 20, 30), 10.0),  # 3 frames in 0.3 s
        (0.0, (0, 5, 10), 20.0),
        (25.0, (7,), 25.0),
        (25.0, None, 25.0),
    ],
)
def test_the_frame_rate_is_what_timestamps_bear_out(said: float, times: tuple[int, ...] | None, expected: float) -> None:
    assert demux._rate(said, 0.01, None if times is None else np.array(times)) == pytest.approx(expected)


@pytest.mark.parametrize("where", ["av.open", "av.video.reformatter.VideoReformatter"])
@pytest.mark.parametrize("error", [OverflowError, MemoryError, UnicodeError, ZeroDivisionError, LookupError, RuntimeError])
def test_whatever_a_binding_raises_about_a_clip_is_that_clips_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], where: str
) -> None:
    made(n=2)(tmp_path / "clip.mp4")

    class Failing:
        def __init__(self, *_: object, **__: object) -> None:
            if where == "av.open":
                self.reformat()

        def reformat(self, *_: object, **__: object) -> None:
            raise error("\x1b[31mno\x00\n" + 10_000 * "long")

    monkeypatch.setattr(where, Failing)
    with pytest.raises(ClipError, match=r"clip\.mp4: cannot be") as refusal:
        read_clip(tmp_path / "clip.mp4", backend="pyav")
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 400


def test_a_bug_of_ours_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(n=2)(tmp_path / "clip.mp4")
    monkeypatch.setattr(demux, "_told", lambda container, stream: None)
    with pytest.raises(AttributeError):
        read_clip(tmp_path / "clip.mp4", backend="pyav")


def test_a_clip_shorter_than_its_annotation_is_an_error(tmp_path: Path) -> None:
    made(n=20)(tmp_path / "clip.ts")
    assert read_clip(tmp_path / "clip.ts", n_frames=4, n_expected=20).n_total == 20
    with pytest.raises(ClipError, match="has 20 frames, expected 21"):
        read_clip(tmp_path / "clip.ts", n_frames=4, n_expected=21)
