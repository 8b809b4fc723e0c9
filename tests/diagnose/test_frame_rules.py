"""Which frames other evaluators take, by hand."""

import pytest

from videothinker.diagnose.frame_rules import RULES, choose, frames_by_rate


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("linspace", [0, 3, 6, 9]),
        ("midpoints", [1, 3, 5, 8]),  # segments of 9 / 4: 1.125 + 0, 2, 4 (4.5 to even), 7 (6.75)
        ("floor", [0, 2, 5, 7]),
        ("inside", [2, 4, 6, 8]),
        ("fps", [0, 3, 6, 9]),
    ],
)
def test_four_of_ten_frames(rule: str, expected: list[int]) -> None:
    assert list(choose(rule, 4, 10)) == expected


def test_a_short_clip_gives_all_it_has() -> None:
    for rule in RULES:
        assert list(choose(rule, 16, 5)) == [0, 1, 2, 3, 4]
        assert list(choose(rule, 1, 5)) in ([0], [2])


@pytest.mark.parametrize(
    ("fps", "most", "clip_fps", "n_total", "expected"),
    [
        (2.0, 32, 25.0, 128, 10),  # a clip of CLEVRER: 5.12 s
        (2.0, 32, 25.0, 2500, 32),
        (2.0, 32, 25.0, 13, 4),  # half a second
        (2.0, 32, 25.0, 3, 2),  # an even number, of three
        (1.0, None, 30.0, 210, 6),  # 7 s
        (1.0, None, 30.0, 1, 1),
    ],
)
def test_frames_by_a_rate(fps: float, most: int | None, clip_fps: float, n_total: int, expected: int) -> None:
    assert frames_by_rate(fps, most, clip_fps, n_total) == expected
