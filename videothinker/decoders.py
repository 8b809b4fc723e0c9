"""The decoders: each turns the packets of a clip into the frames that were asked for, or says why it cannot.

PyAV decodes every clip. A frame is known by its timestamp, which the packets have told beforehand (`demux.survey`), or by
counting all frames where a container has none; so a frame that the decoder leaves out is noticed and never becomes the next.
FFmpeg is told to stop at damage instead of painting over it, and `nal.has_hole` looks for zeros. That finds most damage in
H.264, MPEG-2, MPEG-4 part 2 and AV1, in HEVC only zeros, and hardly any in VP8 and VP9: docs/reliability.md has the counts.

decord and torchcodec get a clip only after PyAV has decoded the same frames without complaint, and only if it is of a kind on
which they were tested. They are there for comparison: they cost more than PyAV alone.
"""

import struct
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from videothinker.demux import NO_TIME, RAISED, ClipError, Contents, Frames, Packets, ask, each, open_video, said
from videothinker.nal import has_hole

Decode = Callable[[Path, Contents, tuple[int, ...]], Iterator[Frames]]
"""The frames with these indices (increasing), a few at a time. Raises ClipError."""

TESTED = {"decord": ("h264", "hevc", "mpeg4", "vp8", "vp9"), "torchcodec": ("h264",)}
"""Codecs with which a decoder other than PyAV gave PyAV's frames; see tests/test_decoders.py."""

_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}
_UPRIGHT = (1, 0, 0, 1)
_BLOCK = 16  # frames held at full size at a time
_FURTHER = (1, 2, 4, 8)  # key frames in front of the one behind which decoding failed
_FAR = 200  # packets; what lies nearer is read and passed over, which costs less than a jump


def pyav(path: Path, contents: Contents, wanted: tuple[int, ...]) -> Iterator[Frames]:
    """See `Decode`. Frames come upright: turned and mirrored as the container says that they are to be shown."""
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()  # sets up its conversion once, not for every frame
    convert = partial(reformatter.reformat, format="rgb24", **_one_thread())
    for frame in _checked(path, contents, wanted):
        matrix = _matrix(path, frame)
        picture: Any = ask(path, "converted", convert, frame)
        yield _turned(ask(path, "converted", picture.to_ndarray), matrix)[None]


def _one_thread() -> dict[str, Any]:
    """How a conversion is told to take one thread: PyAV before 17 takes no more, a later one up to one per core."""
    import av

    return {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


def decord(path: Path, contents: Contents, wanted: tuple[int, ...]) -> Iterator[Frames]:
    """See `Decode`."""
    import decord as package

    _clear(path, contents, wanted, "decord")
    package.logging.set_level(package.logging.FATAL)  # what is wrong with a file is in the error, not also on stderr
    try:
        reader = package.VideoReader(str(path), num_threads=1)
        _check_count(path, contents, len(reader), "decord")
        for start in range(0, len(wanted), _BLOCK):
            yield reader.get_batch(list(wanted[start : start + _BLOCK])).asnumpy()
    except (*RAISED, package.DECORDError) as error:
        raise ClipError(f"{path}: cannot be decoded by decord ({said(error)})") from error


def torchcodec(path: Path, contents: Contents, wanted: tuple[int, ...]) -> Iterator[Frames]:
    """See `Decode`."""
    from torchcodec.decoders import VideoDecoder

    _clear(path, contents, wanted, "torchcodec")
    reader = ask(path, "opened", VideoDecoder, str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    _check_count(path, contents, int(reader.metadata.num_frames or 0), "torchcodec")
    for start in range(0, len(wanted), _BLOCK):
        batch = ask(path, "decoded", reader.get_frames_at, list(wanted[start : start + _BLOCK]))
        yield batch.data.numpy()


def _clear(path: Path, contents: Contents, wanted: tuple[int, ...], name: str) -> None:
    """Refuse what decoder `name` may misread, and what PyAV finds to be damaged, which the others do not report."""
    doubt = contents.doubt
    if not doubt and contents.codec not in TESTED[name]:
        doubt = f"is coded in {contents.codec}"
    if not doubt:
        keys: list[tuple[int, ...]] = [(number,) for number in np.flatnonzero(contents.packets.is_key).tolist()]
        if sum(1 for _ in _sound(path, contents, keys)) != len(keys):
            doubt = "has key frames at which decoding cannot begin"
    if not doubt and {_matrix(path, frame) for frame in _checked(path, contents, wanted)} != {_UPRIGHT}:
        doubt = "is to be shown turned or mirrored"
    if doubt:
        raise ClipError(f"{path}: {doubt}, for which {name} is not known to give the right frames; read it with pyav")


def _check_count(path: Path, contents: Contents, n_found: int, name: str) -> None:
    if n_found != contents.n_total:
        raise ClipError(f"{path}: {name} finds {n_found} of its {contents.n_total} frames; read it with pyav")


def _checked(path: Path, contents: Contents, wanted: tuple[int, ...]) -> Iterator[Any]:
    """The wanted frames as PyAV's, each certainly the one that was asked for."""
    if contents.times is None:
        yield from _counted(path, contents, set(wanted))
    else:
        yield from _Search(path, contents, wanted).frames()


class _Search:
    """Finds frames of a clip with timestamps. What decodes without complaint is taken; else the clip is trusted less."""

    def __init__(self, path: Path, contents: Contents, wanted: tuple[int, ...]) -> None:
        assert contents.times is not None
        self._path, self._contents, self._times = path, contents, contents.times
        self._wanted = wanted
        self._left = deque(wanted)

    def frames(self) -> Iterator[Any]:
        """The wanted frames, in order.

        Raises:
            ClipError: some cannot be decoded.
        """
        failure: ClipError
        for jumps, n_back in self._levels():
            try:
                yield from self._at_level(jumps, n_back)
                return
            except ClipError as error:
                failure = error
        raise failure

    def _levels(self) -> Iterator[tuple[bool, int]]:
        """How far the clip is trusted: its table and its marks of key frames, then the marks alone, then neither.

        Gives whether to jump, and how many key frames to begin in front of the nearest one. Tables can be wrong, and not all
        that is marked as a key frame is one, as in H.264 with intra refresh.
        """
        groups = self._needed(self._wanted)
        if self._contents.has_index and _far_apart(groups):
            yield True, 0
        yield False, 0
        if self._needed(self._wanted, n_back=(all_keys := self._contents.packets.number)) != groups:
            yield False, all_keys

    def _at_level(self, jumps: bool, n_back: int) -> Iterator[Any]:
        """The frames that are left, with a detour for each at which decoding fails."""
        while True:
            targets = tuple(self._left) or self._wanted[-1:]
            groups = self._needed(targets, n_back=n_back)
            try:
                yield from self._due(targets, groups, jumps)
                return
            except ClipError as error:
                failure = error
            yield from self._detour(groups, jumps, n_back, failure)
            if not self._left:
                return

    def _due(self, targets: tuple[int, ...], groups: list[tuple[int, ...]], jumps: bool) -> Iterator[Any]:
        """The frames that come out of decoding these groups of packets, of those that are left.

        Raises:
            ClipError: decoding fails, or a target is still left when it has come to its end.
        """
        left = self._left
        for frame in _sound(self._path, self._contents, groups, jumps=jumps and _far_apart(groups)):
            if left and frame.pts == self._times[left[0]]:
                left.popleft()
                yield frame
        if left and left[0] in targets:
            raise ClipError(
                f"{self._path}: its frame {left[0]} of {self._contents.n_total} could not be decoded; it is damaged"
            )

    def _detour(self, failed: list[tuple[int, ...]], jumps: bool, n_back: int, failure: ClipError) -> Iterator[Any]:
        """The frame at which decoding has failed, by beginning with a key frame in front of where that began.

        Decoders stumble behind a key frame whose leading frames are left out, in open groups, and behind another one they do
        not. What fails with more of the clip in front of it already is damaged.

        Raises:
            ClipError: that fails as well.
        """
        target = (self._left[0] if self._left else self._wanted[-1],)
        number = self._needed(target, n_back=n_back)[0][-1]
        began = max(group[0] for group in failed if group[0] <= number)
        for further in _FURTHER:
            groups = self._needed(target, n_back=n_back + further)
            if groups[0][0] >= began:
                continue
            began = groups[0][0]
            try:
                yield from self._due(target, groups, jumps)
                return
            except ClipError as error:
                failure = error
        raise failure

    def _needed(self, wanted: tuple[int, ...], *, n_back: int = 0) -> list[tuple[int, ...]]:
        return needed(self._path, self._contents, wanted, n_back=n_back)


def _far_apart(groups: list[tuple[int, ...]]) -> bool:
    ends = [0, *(group[-1] for group in groups)]
    return any(group[0] - end > _FAR for group, end in zip(groups, ends, strict=False))


def _counted(path: Path, contents: Contents, wanted: set[int]) -> Iterator[Any]:
    """The wanted frames of a clip without timestamps: if as many come out as there are packets, the i-th is frame i."""
    n_found = 0
    for frame in _sound(path, contents, [tuple(range(contents.packets.number))]):
        if n_found in wanted:
            yield frame
        n_found += 1
    if n_found != contents.n_total:  # which ones are missing, nobody knows
        raise ClipError(f"{path}: {n_found} of its {contents.n_total} frames could be decoded; it is damaged or cut short")


def _sound(path: Path, contents: Contents, groups: list[tuple[int, ...]], *, jumps: bool = False) -> Iterator[Any]:
    """What comes out of the decoder for these packets, none of it marked as damaged and all of one size."""
    size = None
    for frame in _decoded(path, contents, groups, jumps=jumps):
        if frame.is_corrupt:
            raise ClipError(f"{path}: the decoder marks one of its frames as damaged")
        if size not in (None, (frame.width, frame.height)):
            raise ClipError(f"{path}: its frames change their size")
        size = frame.width, frame.height
        yield frame


def _decoded(path: Path, contents: Contents, groups: list[tuple[int, ...]], *, jumps: bool = False) -> Iterator[Any]:
    """What comes out of the decoder for these packets, by their numbers; it starts anew with each group."""
    container, stream = open_video(path)
    with container:
        context = stream.codec_context
        context.options = _STRICT
        codec, header = context.name, bytes(context.extradata or b"")
        for number, packet, is_last in _fetched(path, contents, container, stream, groups, jumps=jumps):
            if has_hole(codec, header, bytes(packet)):
                raise ClipError(f"{path}: its packet {number} has zeros where {codec} allows none; it is damaged")
            yield from ask(path, "decoded", context.decode, packet)
            if is_last:
                yield from ask(path, "decoded", context.decode, None)  # those that wait for their turn to be shown
                context.flush_buffers()


def _fetched(
    path: Path, contents: Contents, container: Any, stream: Any, groups: list[tuple[int, ...]], *, jumps: bool
) -> Iterator[tuple[int, Any, bool]]:
    """The packets of these groups: number, packet, and whether it is the last one of its group.

    jumps: use the container's table of key frames to get to a group that is far ahead.
    """
    ahead: Iterator[tuple[int, Any]] = enumerate(_packets(path, container, stream))
    at = 0
    for group in groups:
        if jumps and group[0] - at > _FAR:
            ahead = _from_key(path, contents, container, stream, group[0])
        members = iter(group)
        wanted = next(members)
        for number, packet in ahead:
            if number < wanted:
                continue
            if jumps and (NO_TIME if packet.pts is None else packet.pts) != contents.packets.time[number]:
                raise ClipError(f"{path}: its packet {number} is another one after a jump")
            at = number
            following = next(members, None)
            yield number, packet, following is None
            if following is None:
                break
            wanted = following


def _packets(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """The packets from where the container stands, without the empty one that marks the end."""
    return (packet for packet in each(path, "decoded", container.demux(stream)) if packet.size)


def _from_key(path: Path, contents: Contents, container: Any, stream: Any, number: int) -> Iterator[tuple[int, Any]]:
    """The packets from packet `number`, a key frame, or from another key frame in front of it.

    Raises:
        ClipError: the container does not lead there.
    """
    times = contents.packets.time
    ask(path, "decoded", container.seek, int(times[number]), stream=stream)
    packets = _packets(path, container, stream)
    first = next(packets, None)
    found = np.flatnonzero(contents.packets.is_key & (times == (None if first is None else first.pts)))
    if first is None or len(found) != 1 or found[0] > number:
        raise ClipError(f"{path}: a jump to packet {number} does not lead there")
    yield int(found[0]), first
    yield from enumerate(packets, int(found[0]) + 1)


def needed(path: Path, contents: Contents, wanted: tuple[int, ...], *, n_back: int = 0) -> list[tuple[int, ...]]:
    """Numbers of the packets that have to be decoded for the wanted frames, in groups that each begin with a key frame.

    A frame needs all packets from the last key frame that is neither decoded nor shown after it: what is decoded after a key
    frame but shown before it (B-frames of an open group) may refer to frames in front of that key frame. For the same reason
    such frames are left out where a group begins with their key frame: they could only be decoded wrongly.

    contents: with timestamps.
    n_back: so many key frames further in front, as far as there are any, for a clip in which the nearest ones do not serve.

    Raises:
        ClipError: a wanted frame has no key frame in front of it.
    """
    packets, times = contents.packets, contents.times
    assert times is not None
    shown = np.flatnonzero(packets.is_shown)
    number_of = shown[np.argsort(packets.time[shown], kind="stable")]  # of each frame's packet
    keys = np.flatnonzero(packets.is_key)
    spans = []
    for index in wanted:
        number = int(number_of[index])
        before = keys[: np.searchsorted(keys, number, side="right")]
        before = before[(packets.time[before] != NO_TIME) & (packets.time[before] <= times[index])]
        if not len(before):
            raise ClipError(f"{path}: its frame {index} has no key frame in front of it; the clip's beginning is missing")
        spans.append(range(int(before[max(0, len(before) - 1 - n_back)]), number + 1))
    return [_without_leaders(packets, span) for span in _joined(spans)]


def _without_leaders(packets: Packets, span: range) -> tuple[int, ...]:
    """The packets of a span that begins with a key frame, but for those whose frames are shown before that key frame."""
    time, key_time = packets.time[span.start : span.stop], packets.time[span.start]
    stays = (time == NO_TIME) | (time >= key_time)
    return tuple((np.flatnonzero(stays) + span.start).tolist())


def _joined(spans: list[range]) -> list[range]:
    """Spans that touch or overlap become one."""
    joined: list[range] = []
    for span in sorted(spans, key=lambda span: (span.start, span.stop)):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, span.stop))
        else:
            joined.append(span)
    return joined


def _matrix(path: Path, frame: Any) -> tuple[int, int, int, int]:
    """How a frame is to be shown: (a, b, c, d) of x' = a x + c y and y' = b x + d y, with y downwards.

    Raises:
        ClipError: it is to be shown at an odd angle or another size.
    """
    from av.sidedata.sidedata import Type

    data = ask(path, "decoded", lambda: frame.side_data.get(Type.DISPLAYMATRIX))
    if data is None:
        return _UPRIGHT
    # Nine int32, row by row, the first two columns in units of 1/65536 (libavutil/display.h).
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    matrix = a / 65536, b / 65536, c / 65536, d / 65536
    if sorted(map(abs, matrix)) != [0, 0, 1, 1] or abs(matrix[0]) != abs(matrix[3]):
        raise ClipError(f"{path}: is to be shown turned or scaled by the matrix {matrix}, expected quarter turns")
    return int(matrix[0]), int(matrix[1]), int(matrix[2]), int(matrix[3])


def _turned(rgb: Frames, matrix: tuple[int, int, int, int]) -> Frames:
    """One frame, (height, width, 3), as it is to be shown."""
    a, b, c, d = matrix
    if a == 0:  # x' = c y and y' = b x: rows become columns
        rgb, a, d = rgb.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(rgb[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1])
