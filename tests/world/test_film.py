"""Films: the same bytes each time, in CLEVRER's form, and showing what was drawn."""

from pathlib import Path

import av
import numpy as np
import pytest

from videothinker import frames
from videothinker.errors import VtError
from videothinker.world import camera, draw, film, simulate


@pytest.fixture(scope="module")
def scene() -> simulate.Simulation:
    return simulate.simulate(0, 0)


@pytest.fixture(scope="module")
def clip(scene: simulate.Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "videos" / "video_00000.mp4"
    film.write_clip(scene.factual, path)
    return path


def test_a_clip_has_the_form_of_clevrers(clip: Path) -> None:
    with av.open(str(clip)) as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height, stream.average_rate) == (480, 320, 25)
        times = [frame.time for frame in container.decode(stream)]
    assert times == pytest.approx([i / 25 for i in range(128)])


def test_the_same_roll_out_gives_the_same_bytes(scene: simulate.Simulation, clip: Path, tmp_path: Path) -> None:
    film.write_clip(scene.factual, tmp_path / "again.mp4")
    assert (tmp_path / "again.mp4").read_bytes() == clip.read_bytes()
    assert clip.stat().st_size < 100_000


def test_a_clip_shows_what_was_drawn(scene: simulate.Simulation, clip: Path) -> None:
    chosen = [0, 40, 90, 127]
    shown = frames.read_clip(clip, indices=chosen).frames.astype(int)
    drawn = np.moveaxis(draw.frames([scene.factual], indices=chosen)[0], 1, -1)
    apart = np.abs(shown - drawn)
    assert apart.mean() < 2
    assert apart.mean(axis=(0, 1, 2)) == pytest.approx([0, 0, 0], abs=2.5)  # no channel swapped, no range cut


def test_a_film_of_few_frames_is_the_whole_one_as_a_model_is_shown_it(
    scene: simulate.Simulation, clip: Path, tmp_path: Path
) -> None:
    """Sixteen frames are those that are chosen of 128, at the same times of a clip as long; only compression differs."""
    film.write_clip(scene.factual, tmp_path / "short.mp4", n_frames=16)
    short, whole = (frames.read_clip(path, n_frames=16) for path in (tmp_path / "short.mp4", clip))
    assert (len(short.frames), short.n_total, short.indices) == (16, 16, tuple(range(16)))
    assert [i / short.fps for i in short.indices] == pytest.approx([i / whole.fps for i in whole.indices])
    assert short.n_total / short.fps == pytest.approx(whole.n_total / whole.fps)
    drawn = np.moveaxis(draw.frames([scene.factual], indices=list(range(0, 128, 8)))[0], 1, -1)
    for shown in (short, whole):
        assert np.abs(shown.frames.astype(int) - drawn).mean() < 2


def test_the_film_of_what_would_have_happened_lacks_the_object_from_the_first_frame(
    scene: simulate.Simulation, clip: Path, tmp_path: Path
) -> None:
    gone = int(camera.in_view(scene.factual.location[0]).argmax())  # one that stands in the picture
    film.write_clip(scene.without[gone], tmp_path / "without.mp4")
    without, factual = (frames.read_clip(path, indices=[0]).frames[0].astype(int) for path in (tmp_path / "without.mp4", clip))
    column, row, _ = camera.project(scene.factual.location[0, gone])
    assert np.abs(without - factual)[int(row), int(column)].max() > 20
    assert np.ptp(without[int(row), int(column)]) < 12  # grey floor, or its shade


def test_an_odd_size_is_refused(scene: simulate.Simulation, tmp_path: Path) -> None:
    with pytest.raises(VtError, match="even width and height"):
        film.write_clip(scene.factual, tmp_path / "clip.mp4", width=85, height=56)
    assert list(tmp_path.iterdir()) == []


def test_a_clip_may_be_small(scene: simulate.Simulation, tmp_path: Path) -> None:
    film.write_clip(scene.factual, tmp_path / "clip.mp4", width=126, height=84)
    assert frames.read_clip(tmp_path / "clip.mp4", n_frames=4).frames.shape == (4, 84, 126, 3)
