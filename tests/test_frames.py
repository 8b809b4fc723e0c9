"""Frames: every decoder gives the same pixels, and a clip that is not whole is an error, never another frame."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from videothinker import frames
from videothinker.errors import VtError
from videothinker.frames import Backend, ClipError, clip_indices, probe, read_clip, shrink

CLEVRER = {"width": 480, "height": 320, "n": 128, "fps": 25}
BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(name not in frames.available(), reason=f"{name} cannot be loaded here"))
    for name in ("pyav", "decord", "torchcodec")
]


def draw(n: int, height: int, width: int) -> NDArray[np.uint8]:
    """Frames whose mean brightness says which they are: frame i has a field of grey 2i behind a moving bar."""
    out = np.empty((n, height, width, 3), np.uint8)
    for i in range(n):
        out[i] = 2 * i % 256
        out[i, :, (3 * i) % (width - 8) : (3 * i) % (width - 8) + 8] = (200, 40, 90)
    return out


def film(path: Path, *, width: int = 96, height: int = 64, n: int = 24, fps: int = 8, faststart: bool = False) -> Path:
    with av.open(str(path), "w", options={"movflags": "faststart"} if faststart else {}) as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in draw(n, height, width):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clevrer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("clip") / "video_00000.mp4", **CLEVRER)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sixteen_frames_of_a_clevrer_clip(clevrer: Path, backend: Backend) -> None:
    clip = read_clip(clevrer, n_frames=16, backend=backend)
    assert clip.indices == tuple(range(0, 128, 8))
    assert (clip.fps, clip.n_total) == (25.0, 128)
    assert clip.frames.shape == (16, 320, 480, 3)
    assert clip.frames.dtype == np.uint8
    wanted = draw(128, 320, 480)[list(clip.indices)]
    assert np.abs(clip.frames.mean((1, 2, 3)) - wanted.mean((1, 2, 3))).max() < 2  # the neighbouring frame would be 2 off
    assert probe(clevrer, backend) == (25.0, 128, 0, 0.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(480, 320), (98, 66)])
def test_every_decoder_gives_the_same_pixels(tmp_path: Path, backend: Backend, size: tuple[int, int]) -> None:
    path = film(tmp_path / "clip.mp4", width=size[0], height=size[1], n=40)
    indices = [0, 1, 7, 22, 39]
    expected = read_clip(path, indices=indices, backend="pyav")
    clip = read_clip(path, indices=indices, backend=backend)
    assert clip[1:] == expected[1:]
    np.testing.assert_array_equal(clip.frames, expected.frames)


def test_all_frames_and_at_most_all(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.mp4", n=10)
    assert read_clip(path, backend="pyav").indices == tuple(range(10))
    assert read_clip(path, n_frames=32, backend="pyav").indices == tuple(range(10))
    assert read_clip(path, n_frames=1, backend="pyav").indices == (0,)


@pytest.mark.parametrize(
    ("n_total", "n_frames", "expected"),
    [(10, 4, (0, 2, 5, 7)), (128, 3, (0, 42, 85)), (5, 9, (0, 1, 2, 3, 4)), (3, None, (0, 1, 2))],
)
def test_indices_by_hand(n_total: int, n_frames: int | None, expected: tuple[int, ...]) -> None:
    assert clip_indices(n_total, n_frames) == expected


def test_the_metadata_says_where_the_frames_lie(clevrer: Path) -> None:
    metadata = read_clip(clevrer, n_frames=16, backend="pyav").metadata()
    assert metadata["frames_indices"] == list(range(0, 128, 8))
    assert (metadata["fps"], metadata["total_num_frames"], metadata["duration"]) == (25.0, 128, 5.12)
    assert (metadata["width"], metadata["height"]) == (480, 320)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_truncated_clip_is_an_error(tmp_path: Path, backend: Backend, share: float) -> None:
    whole = film(tmp_path / "whole.mp4", **CLEVRER, faststart=True).read_bytes()  # its index survives the cut
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ClipError, match=r"cut\.mp4"):
        read_clip(cut, n_frames=16, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_clip_is_an_error_that_names_the_file(tmp_path: Path, backend: Backend) -> None:
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.touch()
    text.write_text("this is not a video\n" * 99)
    for path in (empty, text, tmp_path / "absent.mp4"):
        with pytest.raises(ClipError, match=path.name):
            read_clip(path, n_frames=4, backend=backend)
        with pytest.raises(ClipError, match=path.name):
            probe(path, backend)


@pytest.mark.parametrize("indices", [[], [-1], [0, 10], [3, 3], [5, 2]])
def test_indices_outside_or_out_of_order_are_an_error(tmp_path: Path, indices: list[int]) -> None:
    path = film(tmp_path / "clip.mp4", n=10)
    with pytest.raises(ClipError, match="has 10 frames"):
        read_clip(path, indices=indices, backend="pyav")


def test_pyav_is_the_default_whatever_else_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_loads", lambda package: True)
    assert frames.available() == ["pyav", "decord", "torchcodec"]
    assert frames.resolve("auto") == "pyav"
    assert frames.resolve("decord") == "decord"


def test_an_error_about_many_indices_stays_short(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.mp4", n=10)
    with pytest.raises(ClipError, match=r"asked for \[0, 1, 2, 3, 4, 5, \.\.\., 9997, 9998, 9999\]"):
        read_clip(path, indices=range(10_000))


def test_a_decoder_that_is_not_installed_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_loads", lambda package: package == "av")
    assert frames.available() == ["pyav"]
    assert frames.resolve("auto") == "pyav"
    with pytest.raises(VtError, match=r"\.\[models\]"):
        frames.resolve("decord")
    with pytest.raises(VtError, match="FFmpeg"):
        frames.resolve("torchcodec")


def test_shrink_averages_blocks_and_only_of_large_frames() -> None:
    block = np.array([[[[0, 0, 0], [4, 8, 255]], [[8, 8, 255], [12, 24, 255]]]], np.uint8)  # one 2 x 2 frame
    assert shrink(block, 1).tolist() == [[[[6, 10, 191]]]]  # (0+4+8+12)/4, (0+8+8+24)/4, 3*255/4 = 191.25
    assert shrink(block, 2) is block  # 4 pixels are not four times 2
    assert shrink(block, None) is block
    hd = np.zeros((1, 1080, 1920, 3), np.uint8)
    assert shrink(hd, 256 * 28 * 28).shape == (1, 360, 640, 3)  # k = floor(sqrt(10.3)) = 3
    clevrer = np.zeros((1, 320, 480, 3), np.uint8)
    assert shrink(clevrer, 128 * 28 * 28) is clevrer
