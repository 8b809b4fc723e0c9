"""Parts of clips and folders of frames: whoever reads one gets what cutting it out beforehand would give, times included."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clip_corpus import KINDS, WIDTH, Kind, Picture, draw, film, number_of, repeated, silence
from PIL import Image

from videothinker import decoders, demux
from videothinker.footage import Footage
from videothinker.frames import Backend, ClipError, available, clip_indices, probe, read_clip

CORPUS = {kind.name: kind for kind in KINDS}
SIZE = (48, 32)


def later(first: int) -> Callable[[int, int, int], Picture]:
    """What a film shows that begins with the frame of this number."""
    return lambda i, width, height: draw(first + i, width, height)


def lossless(path: Path, first: int, n: int, rate: int = 25) -> Path:
    """Frames `first` to `first + n` of one and the same film, without loss, each by itself."""
    film(path, codec="ffv1", n=n, size=SIZE, rate=rate, picture=later(first))
    return path


def folder_of(clip: Path, folder: Path, name: str = "{:05}.png", first: int = 1) -> Path:
    """All frames of a clip as pictures."""
    folder.mkdir()
    for number, frame in enumerate(read_clip(clip).frames, first):
        Image.fromarray(frame).save(folder / name.format(number))
    return folder


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("n_frames", [4, None])
def test_a_part_is_what_cutting_it_out_beforehand_gives(tmp_path: Path, kind: str, n_frames: int | None) -> None:
    whole, cut = lossless(tmp_path / "whole.mkv", 0, 40), lossless(tmp_path / "cut.mkv", 10, 11)
    path, fps = (whole, None) if kind == "file" else (folder_of(whole, tmp_path / "frames"), 25.0)
    part = read_clip(Footage(path, 0.4, 0.84, fps), n_frames=n_frames)
    expected = read_clip(cut, n_frames=n_frames)
    np.testing.assert_array_equal(part.frames, expected.frames)
    assert part[1:] == expected[1:]
    assert part.metadata() == expected.metadata()
    assert part.metadata()["duration"] == 0.44


@pytest.mark.parametrize(
    ("start", "end", "expected"),  # of 40 frames, at 0, 0.04, ..., 1.56 s; the last one ends at 1.6 s
    [
        (0.4, 0.8, (10, 10)),  # a frame at the beginning counts, one at the end does not
        (0.401, 0.8, (11, 9)),
        (0.4, 0.801, (10, 11)),
        (None, 0.04, (0, 1)),
        (1.56, None, (39, 1)),
        (0.4, 1.6, (10, 30)),
        (0.1 + 0.02, 0.1 + 0.2 - 0.1 + 0.2, (3, 7)),  # 0.12 and 0.4000000000000001: the same microseconds as 0.12 and 0.4
    ],
)
def test_which_frames_a_part_has_by_hand(
    tmp_path: Path, start: float | None, end: float | None, expected: tuple[int, int]
) -> None:
    path = lossless(tmp_path / "clip.mkv", 0, 40)
    extent = probe(Footage(path, start, end))
    assert (extent.first, extent.n_total, extent.fps, extent.past_end_s) == (*expected, 25.0, 0.0)


def test_an_end_a_little_past_the_clips_end_means_the_clips_end(tmp_path: Path) -> None:
    path = lossless(tmp_path / "clip.mkv", 0, 40)
    assert probe(Footage(path, 0.4, 1.63)) == (25.0, 30, 10, 0.0)  # less than a frame: nothing to tell
    assert probe(Footage(path, 0.4, 2.6)) == pytest.approx((25.0, 30, 10, 1.0))
    with pytest.raises(ClipError, match=r"clip\.mkv: its part ends at 2\.7 s, and the clip at 1\.600 s, more than a second"):
        probe(Footage(path, 0.4, 2.7))


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (1.6, None, r"its part begins at 1\.6 s, and the clip ends at 1\.600 s"),
        (7.0, 9.0, r"its part begins at 7 s, and the clip ends at 1\.600 s"),
        (0.41, 0.43, r"shows no frame from 0\.41 s to before 0\.43 s \(25 per second\)"),
        (-1.0, None, r"its part begins at -1 s"),
        (0.8, 0.4, r"its part ends at 0\.4 s, expected more than its beginning at 0\.8 s"),
    ],
)
def test_a_part_without_frames_is_refused_in_one_line(tmp_path: Path, start: float, end: float | None, said: str) -> None:
    path = lossless(tmp_path / "clip.mkv", 0, 40)
    with pytest.raises(ClipError, match=said) as refusal:
        read_clip(Footage(path, start, end), n_frames=4)
    assert str(refusal.value).startswith(f"{path}: ")
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("h264.mp4", range(10, 20)),
        ("vp9.webm", range(10, 20)),
        ("turned-90.mp4", range(10, 20)),
        ("with-sound.mp4", range(10, 20)),
        ("mpeg4.avi", range(10, 20)),  # counted, because AVI has no timestamps
        ("begins-late.mp4", range(10, 20)),
        ("edit-list.mp4", range(20, 30)),  # its first frame is number 10
        ("uneven.mp4", range(7, 10)),  # at 2 i + i^2 // 5 fiftieths of a second: 19, 23, 28, 34, 40 for 6 to 10
        ("hidden-frame.webm", range(10, 20)),
    ],
)
def test_parts_of_all_kinds_of_clips(tmp_path: Path, name: str, expected: range) -> None:
    kind: Kind = CORPUS[name]
    kind.make(tmp_path / name)
    clip = read_clip(Footage(tmp_path / name, 0.4, 0.8))
    assert [number_of(frame, kind)[0] for frame in clip.frames] == list(expected)
    assert clip.indices == tuple(range(len(expected)))


def test_the_rate_of_an_uneven_part_is_its_own(tmp_path: Path) -> None:
    """Frames 7 to 10 at 23, 28, 34 and 40 fiftieths of a second: 3 frames in 17/50 s."""
    CORPUS["uneven.mp4"].make(tmp_path / "uneven.mp4")
    assert probe(Footage(tmp_path / "uneven.mp4", 0.4, 0.82)).fps == pytest.approx(3 / 0.34)


def test_time_begins_with_the_sound_where_that_comes_first(tmp_path: Path) -> None:
    """As in players: a picture that begins 0.2 s after the sound shows its frame 5 at 0.4 s."""
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as file:
        video, audio = file.add_stream("libx264", rate=25), file.add_stream("aac", rate=48000)
        video.width, video.height, video.pix_fmt = WIDTH, 64, "yuv420p"
        for i in range(40):
            frame = av.VideoFrame.from_ndarray(draw(i), format="rgb24")
            frame.pts, frame.time_base = 5 + i, Fraction(1, 25)
            file.mux(video.encode(frame))
            file.mux(audio.encode(silence(i)))
        for stream in (video, audio):
            file.mux(stream.encode())
    clip = read_clip(Footage(path, 0.4, 0.8))
    assert [number_of(frame, CORPUS["with-sound.mp4"])[0] for frame in clip.frames] == list(range(5, 15))


def test_it_says_which_part_it_is() -> None:
    path = Path("clips/a.mp4")
    assert str(Footage(path)) == "clips/a.mp4"
    assert str(Footage(path, 3.1, 9.8)) == "clips/a.mp4 [3.1 s, 9.8 s)"
    assert str(Footage(path, None, 9.0)) == "clips/a.mp4 [0 s, 9 s)"
    assert str(Footage(path, 0.5)) == "clips/a.mp4 [0.5 s, end)"


# ---- folders of frames ----


def test_a_folder_of_frames_is_the_clip_that_it_was(tmp_path: Path) -> None:
    """Numbers count, not the order of letters; files that begin with a dot do not."""
    clip = lossless(tmp_path / "clip.mkv", 0, 12, rate=3)
    folder = folder_of(clip, tmp_path / "frames", name="shot2_{}.PNG", first=95)  # 95 to 106
    (folder / ".DS_Store").write_bytes(b"of a Mac")
    found, expected = read_clip(Footage(folder, fps=3.0), n_frames=4), read_clip(clip, n_frames=4)
    np.testing.assert_array_equal(found.frames, expected.frames)
    assert found[1:] == expected[1:]
    part = probe(Footage(folder, 1.0, 2.0, 3.0))  # frames at 1, 4/3 and 5/3 s
    assert (part.first, part.n_total) == (3, 3)
    assert (probe(Footage(folder, 1.0, 4.5, 3.0)).n_total, probe(Footage(folder, 1.0, 4.5, 3.0)).past_end_s) == (9, 0.5)


def test_pictures_are_shown_upright_and_in_plain_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(draw(3, *SIZE))
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned a quarter clockwise
    (tmp_path / "f").mkdir()
    picture.save(tmp_path / "f" / "1.png", exif=exif)
    picture.rotate(-90, expand=True).convert("RGBA").save(tmp_path / "f" / "2.png")
    frames = read_clip(Footage(tmp_path / "f", fps=3.0)).frames
    np.testing.assert_array_equal(frames[0], frames[1])
    assert frames.shape == (2, SIZE[0], SIZE[1], 3)


def odd(folder: Path, odd_one: str) -> None:
    """A folder of three frames in which something is not as it should be."""
    folder.mkdir()
    for number in (1, 2, 3):
        Image.fromarray(draw(number, *SIZE)).save(folder / f"{number:03}.png")
    match odd_one:
        case "foreign":
            (folder / "notes.txt").write_text("x")
        case "unnumbered":
            (folder / "cover.png").touch()
        case "subfolder":
            (folder / "001").mkdir()
        case "gap":
            (folder / "002.png").unlink()
        case "twice":
            (folder / "3.png").touch()
        case "another":
            (folder / "b004.png").touch()
        case "size":
            Image.fromarray(draw(3, 50, 40)).save(folder / "003.png")
        case "cut":
            (folder / "003.png").write_bytes((folder / "003.png").read_bytes()[:200])
        case "text":
            (folder / "003.png").write_text("x")
        case "deep":
            Image.fromarray(np.zeros((32, 48), np.uint16)).save(folder / "003.png")
        case "empty":
            for path in folder.iterdir():
                path.unlink()


@pytest.mark.parametrize(
    ("odd_one", "said"),
    [
        ("foreign", r"holds 'notes\.txt', expected only pictures with a number at the end, such as 00001\.jpg"),
        ("unnumbered", r"holds 'cover\.png', expected only"),
        ("subfolder", r"holds '001', expected only"),
        ("gap", r"lacks the picture of number 2, between '001\.png' and '003\.png'"),
        ("twice", r"holds '003\.png' and '3\.png', two pictures of one number"),
        ("another", r"holds '001\.png' and 'b004\.png', expected the frames of one clip"),
        ("size", r"003\.png: has 50 x 40 pixels, the frames before it 48 x 32"),
        ("cut", r"003\.png: cannot be read as a picture"),
        ("text", r"003\.png: cannot be read as a picture"),
        ("deep", r"003\.png: has pixels of the kind I;16, expected 8 bits"),
        ("empty", r"holds no picture"),
    ],
)
def test_a_doubtful_folder_is_refused_in_one_line(tmp_path: Path, odd_one: str, said: str) -> None:
    odd(tmp_path / "f", odd_one)
    with pytest.raises(ClipError, match=said) as refusal:
        read_clip(Footage(tmp_path / "f", fps=3.0))
    assert str(refusal.value).startswith(str(tmp_path / "f"))
    assert str(refusal.value).isprintable()


def test_a_folder_needs_a_rate_and_a_file_has_its_own(tmp_path: Path) -> None:
    odd(tmp_path / "f", "nothing")
    lossless(tmp_path / "clip.mkv", 0, 3)
    with pytest.raises(ClipError, match=r"f: is a folder, expected a file; a folder of frames needs its frames per second"):
        read_clip(tmp_path / "f")
    with pytest.raises(ClipError, match=r"clip\.mkv: is a file, expected a folder of frames, as its frames per second"):
        read_clip(Footage(tmp_path / "clip.mkv", fps=3.0))
    with pytest.raises(ClipError, match=r"gone: cannot be read as a folder of frames \(No such file or directory\)"):
        read_clip(Footage(tmp_path / "gone", fps=3.0))
    here = [Footage(tmp_path / "f", fps=3.0), Footage(tmp_path / "clip.mkv"), Footage(tmp_path / "clip.mkv", 0.0, 0.1)]
    there = [Footage(tmp_path / "f"), Footage(tmp_path / "clip.mkv", fps=3.0), Footage(tmp_path / "gone", fps=3.0)]
    assert [one.is_there() for one in here + there] == [True] * 3 + [False] * 3


def test_a_changed_folder_is_told_from_what_it_was(tmp_path: Path) -> None:
    odd(tmp_path / "f", "nothing")
    footage = Footage(tmp_path / "f", fps=3.0)
    before = footage.state()
    assert footage.state() == before
    Image.fromarray(draw(9, *SIZE)).save(tmp_path / "f" / "002.png")
    assert footage.state() not in (before, None)
    assert Footage(tmp_path / "gone", fps=3.0).state() is None


# ---- hours ----

GROUP, N_GROUPS = 24, 250


@pytest.fixture(scope="module", params=["clip.mp4", "clip.mkv"])
def long_clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6,000 frames at 1 per second, the same 24 over and over."""
    folder = tmp_path_factory.mktemp("long")
    film(folder / "group.mp4", n=GROUP, size=SIZE, rate=1, group=GROUP, b_frames=2)
    repeated(folder / request.param, folder / "group.mp4", N_GROUPS)
    return Path(folder / request.param)


def counting(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Packets that are read while frames are decoded, and those that the decoder is given."""
    counts = {"read": 0, "decoded": 0}
    packets, has_hole = decoders._packets, decoders.has_hole

    def read(*arguments: object) -> Iterator[object]:
        for packet in packets(*arguments):
            counts["read"] += 1
            yield packet

    def decoded(*arguments: object) -> bool:
        counts["decoded"] += 1
        return has_hole(*arguments)

    monkeypatch.setattr(decoders, "_packets", read)
    monkeypatch.setattr(decoders, "has_hole", decoded)
    return counts


def test_of_a_long_clip_only_what_is_sampled_is_decoded(long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = counting(monkeypatch)
    indices = clip_indices(GROUP * N_GROUPS, 7)  # every 857th: frame 17 of a group, frame 10, 3, ...
    clip = read_clip(long_clip, indices=indices)
    assert (clip.n_total, clip.fps) == (6000, 1.0)
    assert counts["decoded"] <= 7 * GROUP
    assert counts["read"] <= 8 * GROUP  # and the rest of the 6,000 is jumped over
    group = read_clip(long_clip.with_name("group.mp4")).frames
    np.testing.assert_array_equal(clip.frames, group[[index % GROUP for index in indices]])
    part = read_clip(Footage(long_clip, 5000.0, 5010.0), n_frames=5)
    np.testing.assert_array_equal(part.frames, group[[(5000 + i) % GROUP for i in (0, 2, 4, 6, 8)]])


def test_a_table_of_key_frames_that_leads_astray_costs_time_alone(long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_clip(long_clip, indices=[3, 3001, 5990])
    right = decoders._from_key

    def astray(path: Path, contents: demux.Contents, container: object, stream: object, number: int) -> Iterator[object]:
        for there, packet in right(path, contents, container, stream, number - 10 * GROUP):
            yield there + 10 * GROUP, packet

    monkeypatch.setattr(decoders, "_from_key", astray)
    counts = counting(monkeypatch)
    np.testing.assert_array_equal(read_clip(long_clip, indices=[3, 3001, 5990]).frames, expected.frames)
    assert counts["read"] > 5990


def test_a_long_clip_with_open_groups_is_not_decoded_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg stumbles behind some key frames whose leading frames are left out; one further in front does."""
    film(tmp_path / "part.mp4", n=480, size=SIZE, rate=1, options={"x264-params": "keyint=24:open-gop=1:bframes=3:scenecut=0"})
    repeated(tmp_path / "clip.mp4", tmp_path / "part.mp4", 12)
    expected = read_clip(tmp_path / "part.mp4").frames
    counts = counting(monkeypatch)
    clip = read_clip(tmp_path / "clip.mp4", n_frames=7)
    np.testing.assert_array_equal(clip.frames, expected[[index % 480 for index in clip.indices]])
    assert counts["decoded"] < 480


@pytest.mark.parametrize("backend", available())
def test_every_decoder_reads_the_part(tmp_path: Path, backend: Backend) -> None:
    CORPUS["h264.mp4"].make(tmp_path / "clip.mp4")
    clip = read_clip(Footage(tmp_path / "clip.mp4", 0.4, 0.8), n_frames=5, backend=backend)
    assert [number_of(frame, CORPUS["h264.mp4"])[0] for frame in clip.frames] == [10, 12, 14, 16, 18]
    assert clip.indices == (0, 2, 4, 6, 8)


def test_what_is_known_of_a_long_clip_is_ten_bytes_a_packet(long_clip: Path) -> None:
    contents = demux.survey(long_clip)
    assert sum(values.nbytes for values in contents.packets) == 10 * GROUP * N_GROUPS
    assert demux.survey(long_clip) is contents  # and it is read once
