"""What a clip holds, told by its packets alone: how many frames, in which order, at which times. Nothing is decoded here.

The packets decide which frames there are, whichever decoder is asked for them later: what a decoder says of its own accord is
wrong too often (decord counts frames that an edit list cuts off and then repeats the last one in their place). A clip whose
packets fall short of what its container promises is refused here.

Every call into PyAV goes through `ask` or `each`, so that whatever it raises of a clip becomes that clip's `ClipError`.
"""

import functools
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

T = TypeVar("T")

Frames = NDArray[np.uint8]
"""(n, height, width, 3) RGB."""


class ClipError(Exception):
    """A clip cannot be read; the message names the file and says why. Costs that clip's questions, never a run."""

    def __init__(self, message: str) -> None:
        # A file's name need not be UTF-8, but what goes into a result file must.
        super().__init__(message.encode("utf-8", "backslashreplace").decode())


RAISED = (
    av.error.FFmpegError,  # what FFmpeg itself reports
    ArithmeticError,  # OverflowError of a number in the file that does not fit, ZeroDivisionError of a rate
    LookupError,
    MemoryError,  # an absurd frame size
    OSError,
    RuntimeError,
    ValueError,  # UnicodeDecodeError of a tag, a pixel format without conversion, an embedded null in a path
)
"""What PyAV, decord and torchcodec are known to raise about a file. Anything else is a bug and keeps its traceback."""

_CONTAINERS = "mov,matroska,avi,mpeg,mpegts,flv,asf,gif,ogg,ivf,nut,mxf,dv,rm,h264,hevc,m4v,mpegvideo,mjpeg,obu,yuv4mpegpipe"
_OPTIONS = {
    # Without these FFmpeg shows a text file as a film of its letters, and a playlist as the films that it names.
    "format_whitelist": _CONTAINERS,
    "protocol_whitelist": "file",
}
# A tag that is not UTF-8 is no reason to refuse the pixels. From 19 on PyAV has no such argument and never raises over one.
_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

_RATES = (0.01, 1000.0)  # frames per second that a clip can have
_MP4, _MATROSKA = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"  # FFmpeg's names of the two kinds of containers
_PLAIN_PIXELS = ("yuv420p", "yuvj420p")
_MESSAGE_LENGTH = 200


class Packets(NamedTuple):
    """The packets of the video stream in decoding order, as arrays: those of two hours take 2 MB so, and 30 MB as objects."""

    time: NDArray[np.int64]
    """When each one's frame is shown, in units of the stream's time base; `NO_TIME` where the container does not say."""
    is_key: NDArray[np.bool_]
    """Decoding can begin here."""
    is_shown: NDArray[np.bool_]
    """False for what an edit list cuts off and for a frame that only serves others."""

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.time)


NO_TIME = -(2**63)


class Contents(NamedTuple):
    """The frames of a clip."""

    fps: float
    """Frames per second: the container's where its timestamps bear it out, else their average."""
    n_total: int
    """Number of frames that are shown."""
    packets: Packets
    times: NDArray[np.int64] | None
    """The frames' timestamps, increasing; None where they cannot tell the frames apart, so that only counting can."""
    codec: str
    doubt: str
    """What makes this clip one that other decoders than PyAV were seen to misread; empty if there is nothing."""
    tick_s: float
    """Unit of timestamps."""
    begin_s: float
    """The timestamp, in seconds, at which the clip begins: that of its earliest stream, and never after its first frame."""
    header_fps: float
    """Frames per second by the container; 0 where it does not say."""
    has_index: bool
    """The container has a table of its key frames, by which a player jumps."""

    def seconds(self) -> NDArray[np.float64]:
        """When each frame is shown, in seconds from the clip's beginning: by its timestamp, else by counting frames."""
        if self.times is None:
            return np.arange(self.n_total, dtype=np.float64) / self.fps
        return self.times.astype(np.float64) * self.tick_s - self.begin_s

    def rate(self, first: int, n: int) -> float:
        """Frames per second of the `n` frames from `first` on, by the rule for `fps`; the clip's own for a single frame."""
        if self.times is None or n < 2:
            return self.fps
        return _rate(self.header_fps, self.tick_s, self.times[first : first + n])


def survey(path: Path) -> Contents:
    """Read all packets of a clip's video stream; the last few clips are remembered, as long as their files stay as they are.

    Raises:
        ClipError: missing, empty, not a video, without frames, cut short, or with an absurd frame rate.
    """
    try:
        stat = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise ClipError(f"{path}: cannot be read ({said(error)})") from error
    if stat.st_size == 0:
        raise ClipError(f"{path}: is an empty file")
    return _survey(path, (stat.st_size, stat.st_mtime_ns, stat.st_ino))


@functools.lru_cache(maxsize=4)
def _survey(path: Path, state: tuple[int, int, int]) -> Contents:
    """state: tells the file from a later one of the same name."""
    container, stream = open_video(path)
    with container:
        told = ask(path, "opened", _told, container, stream)
        packets, end_s = _packets(path, container, stream, told)
    _check_whole(path, told, packets.number, end_s)
    times = _times(told, packets)
    fps, n_total = _rate(told.fps, told.tick_s, times), int(packets.is_shown.sum())
    if not n_total or not _RATES[0] <= fps <= _RATES[1]:
        raise ClipError(f"{path}: has {n_total} frames at {fps:g} per second")
    begin_s = 0.0 if times is None else float(times[0]) * told.tick_s
    if told.begin_s is not None:
        begin_s = min(begin_s, told.begin_s)
    has_index = told.container in (_MP4, _MATROSKA)
    doubt = _doubt(told, packets, times)
    return Contents(fps, n_total, packets, times, told.codec, doubt, told.tick_s, begin_s, told.fps, has_index)


class _Told(NamedTuple):
    """What a container's header says."""

    container: str
    codec: str
    pixels: str
    n_streams: int
    """Video streams, covers and thumbnails among them."""
    n_frames: int
    """0 where it does not say."""
    fps: float
    """0 where it does not say."""
    tick_s: float
    """The unit of timestamps."""
    duration_s: float
    """Of the longest stream; 0 where it does not say or is a mere estimate."""
    begin_s: float | None
    """The earliest timestamp of all streams, which players show as second 0; None where it does not say."""
    reorders: bool
    """Some frames are shown in another order than they are decoded in."""


def _told(container: InputContainer, stream: VideoStream) -> _Told:
    name = container.format.name
    # Only Matroska writes the length without the number of frames; elsewhere FFmpeg may have guessed it from the bit rate.
    exact = name == _MATROSKA and container.duration
    return _Told(
        container=name,
        codec=stream.codec_context.name,
        pixels=str(stream.codec_context.pix_fmt),
        n_streams=len(container.streams.video),
        n_frames=stream.frames,
        fps=float(stream.average_rate or stream.guessed_rate or 0),
        tick_s=float(stream.time_base or 0),
        duration_s=container.duration / av.time_base if exact and container.duration else 0.0,
        begin_s=None if container.start_time is None else container.start_time / av.time_base,
        reorders=bool(stream.codec_context.has_b_frames),
    )


def _packets(path: Path, container: InputContainer, stream: VideoStream, told: _Told) -> tuple[Packets, float]:
    """The video stream's packets, and the second at which the last packet of any stream that was read ends."""
    times, keys, shown = array("q"), bytearray(), bytearray()
    end_s = 0.0
    streams = container.streams if told.duration_s else (stream,)  # a length is the longest stream's
    for packet in each(path, "read", container.demux(*streams)):
        if not packet.size:  # the end of a stream
            continue
        if packet.pts is not None and packet.time_base:
            end_s = max(end_s, (packet.pts + (packet.duration or 0)) * float(packet.time_base))
        if packet.stream_index != stream.index:
            continue
        if packet.is_corrupt:
            raise ClipError(f"{path}: its packet {len(times)} is damaged or cut short")
        # VP8's first byte has a bit for "show this frame" (RFC 6386, section 9.1); hidden ones only serve as reference.
        hidden = told.codec == "vp8" and not memoryview(packet)[0] >> 4 & 1
        times.append(NO_TIME if packet.pts is None else packet.pts)
        keys.append(packet.is_keyframe)
        shown.append(not (packet.is_discard or hidden))
    return Packets(np.array(times, np.int64), np.array(keys, np.bool_), np.array(shown, np.bool_)), end_s


def _check_whole(path: Path, told: _Told, n_packets: int, end_s: float) -> None:
    """Refuse a clip of fewer packets than its header promises."""
    if n_packets < told.n_frames:
        n_there = n_packets
        if told.container == _MP4:  # an edit list leaves out what lies behind its end, which is no damage
            container, stream = open_video(path, ignore_editlist="1")
            with container:
                n_there = sum(packet.size > 0 for packet in each(path, "read", container.demux(stream)))
        if n_there < told.n_frames:
            raise ClipError(f"{path}: has {n_there} of its {told.n_frames} frames; it is cut short")
    slack = max(0.05, 1.5 / told.fps if told.fps else 0.0)  # the last frame's own length is not always counted
    if end_s < told.duration_s - slack:
        raise ClipError(f"{path}: ends after {end_s:.2f} of its {told.duration_s:.2f} s; it is cut short")


def _times(told: _Told, packets: Packets) -> NDArray[np.int64] | None:
    """The timestamps in the order in which frames are shown, if each frame has one of its own."""
    if told.container == "avi" or not told.tick_s:  # AVI has none: those that FFmpeg makes up for its packets are off
        return None
    times = np.sort(packets.time[packets.is_shown])
    is_told = len(times) > 0 and times[0] != NO_TIME and bool((np.diff(times) > 0).all())
    return times if is_told else None


def _rate(told_fps: float, tick_s: float, times: NDArray[np.int64] | None) -> float:
    """The header's frame rate if it puts the last frame within one frame of its timestamp, else the average of timestamps."""
    if times is None or len(times) < 2:
        return told_fps
    span_s = float(times[-1] - times[0]) * tick_s
    if told_fps and abs((len(times) - 1) / told_fps - span_s) <= 1 / told_fps:
        return told_fps
    return (len(times) - 1) / span_s


def _doubt(told: _Told, packets: Packets, times: NDArray[np.int64] | None) -> str:
    """Why only PyAV should read this clip; tests/test_decoders.py shows what decord does with some of them."""
    if told.container not in (_MP4, _MATROSKA):
        return f"is a file of the kind {told.container.split(',')[0]}"
    if told.n_streams > 1:
        return f"has {told.n_streams} video streams"
    if told.pixels not in _PLAIN_PIXELS:
        return f"has pixels of the kind {told.pixels}"
    if not packets.is_shown.all() or packets.number < told.n_frames:
        return "has frames that are not shown (an edit list cuts them off, or they only serve others)"
    if times is None:
        return "has frames without a timestamp of their own"
    if not packets.is_key[0] or packets.time[0] != times[0]:
        return "does not begin with a key frame"
    if times[0] != 0:
        return f"begins at {times[0] * told.tick_s:g} s and not at 0"
    if told.codec == "mpeg4" and told.reorders:
        return "has B-frames in MPEG-4 part 2"
    if _has_open_groups(packets):
        return "has frames that are decoded after a key frame and shown before it"
    return ""


def _has_open_groups(packets: Packets) -> bool:
    """Some frame is decoded after a key frame and shown before it."""
    key = np.maximum.accumulate(np.where(packets.is_key, np.arange(packets.number), 0))  # the last one by each packet
    key_time = packets.time[key]
    return bool((~packets.is_key & packets.is_key[key] & (packets.time != NO_TIME) & (packets.time < key_time)).any())


def length(path: Path) -> float | None:
    """Seconds that a clip lasts, as its container's header says; None where that does not say, or the clip cannot be opened.

    Reads no packets, so it costs milliseconds and is no proof that the clip is whole.
    """
    try:
        container, _ = open_video(path)
    except ClipError:
        return None
    with container:
        return None if container.duration is None else container.duration / av.time_base


def open_video(path: Path, **options: str) -> tuple[InputContainer, VideoStream]:
    """The container, for the caller to close, and its video stream, which decodes on one thread.

    A cover picture is not a video stream. Of several streams it is the one that is marked as default: guessing by size or
    order, as decoders do, gives each of them another one. One thread, because several processes read clips side by side.

    Raises:
        ClipError: it cannot be opened, has no video, or several video streams of equal standing.
    """
    container = ask(path, "opened as a video", av.open, str(path), options=_OPTIONS | options, **_TAGS)
    films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if len(films) > 1:
        films = [stream for stream in films if stream.disposition & Disposition.default] or films
    if len(films) == 1 and films[0].codec_context is not None:
        films[0].codec_context.thread_count = 1
        return container, films[0]
    container.close()
    if len(films) > 1:
        raise ClipError(f"{path}: has {len(films)} video streams, and none of them is marked as the one to show")
    raise ClipError(f"{path}: has no video stream that can be decoded")


def ask(path: Path, doing: str, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What a decoder's `function` returns; what it raises about the file is a `ClipError`: "... cannot be {doing} (why)"."""
    try:
        return function(*arguments, **named)
    except RAISED as error:
        raise ClipError(f"{path}: cannot be {doing} ({said(error)})") from error


def each(path: Path, doing: str, items: Iterable[T]) -> Iterator[T]:
    """`items` one after another; what fetching one raises is a `ClipError`, what the loop's body raises is not."""
    left = iter(items)
    while (item := ask(path, doing, next, left, None)) is not None:
        yield item


def said(error: BaseException) -> str:
    """What a decoder said, in one bounded line that can be printed: without its C++ stack trace or a file's stray bytes."""
    text = getattr(error, "strerror", None) or str(error)
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return "".join(c if c.isprintable() else "?" for c in line[:_MESSAGE_LENGTH])
