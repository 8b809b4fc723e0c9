"""Film strips: which frames, how many bytes, and what happens to a clip that cannot be read."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image
from report_factory import write_clip

from videothinker.footage import Footage
from videothinker.reports.strips import N_FRAMES, Strips, strip_frames


@pytest.mark.parametrize(
    ("collisions", "n_total", "frames"),
    [
        ([], 128, (0, 18, 36, 54, 72, 90, 108, 127)),
        ([46, 46, 80], 128, (0, 23, 46, 63, 80, 95, 111, 127)),
        ([0, 127], 128, (0, 18, 36, 54, 72, 90, 108, 127)),
        ([10, 20, 30, 40, 50, 60, 70, 80], 128, (0, 10, 20, 30, 40, 50, 60, 127)),
        ([], 3, (0, 1, 2)),
    ],
)
def test_a_strip_shows_first_last_collisions_and_fills_the_longest_gaps(
    collisions: list[int], n_total: int, frames: tuple[int, ...]
) -> None:
    chosen = strip_frames(collisions, n_total)
    assert chosen[0] == 0
    assert chosen[-1] == n_total - 1
    assert len(chosen) == min(N_FRAMES, n_total)
    assert set(collisions[: N_FRAMES - 2]) <= set(chosen)
    assert chosen == frames


def test_strips_are_small_jpegs_of_the_right_frames(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4")
    uris = Strips().read(Footage(tmp_path / "clip.mp4"), (0, 120))
    assert uris is not None
    first, last = (Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in uris)
    assert first.format == "JPEG"
    assert first.getpixel((10, 34))[0] > 170  # the red square is at the left, then at x = 60 to 80
    assert last.getpixel((70, 34))[0] > 170
    assert last.getpixel((10, 34))[0] < 170


def test_a_film_of_every_eighth_frame_shows_what_is_on_the_screen_at_each_moment(tmp_path: Path) -> None:
    """Frames 0 to 7 of the log are the film's first, and 120 to 127 its sixteenth and last."""
    write_clip(tmp_path / "short.mp4", every=8)
    strips = Strips()
    uris = strips.read(Footage(tmp_path / "short.mp4"), (0, 7, 8, 120, 127))
    assert uris is not None
    assert strips.n_unreadable == 0
    assert uris[0] == uris[1] != uris[2]
    assert uris[2] != uris[3] == uris[4]
    assert strips.read(Footage(tmp_path / "short.mp4"), (0, 128)) is None  # after its end


def test_the_budget_ends_and_a_broken_clip_is_counted(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    strips = Strips(budget=10)
    assert strips.read(Footage(tmp_path / "broken.mp4"), (0,)) is None
    assert strips.n_unreadable == 1
    assert strips.read(Footage(tmp_path / "clip.mp4"), (0,)) is not None
    assert strips.read(Footage(tmp_path / "clip.mp4"), (0,)) is None
    assert strips.n_unreadable == 1
