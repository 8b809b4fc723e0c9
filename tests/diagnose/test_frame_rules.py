"""Which frames evaluators take of a clip: every rule worked out by hand."""

from typing import Any

import pytest
from diagnose.asking import settings

from videothinker.diagnose.frame_choice import FrameChoice
from videothinker.diagnose.frame_rules import RULES, FrameRule, choose
from videothinker.errors import VtError


@pytest.mark.parametrize(
    ("rule", "fps", "n_total", "expected"),
    [
        (FrameRule("floor", 4), 25, 10, (0, 2, 5, 7)),
        (FrameRule("linspace", 4), 25, 10, (0, 3, 6, 9)),
        (FrameRule("linspace", 3), 25, 6, (0, 2, 5)),  # 2.5: halves go to the even number
        (FrameRule("linspace", 3), 25, 4, (0, 2, 3)),  # 1.5
        (FrameRule("linspace", 1), 25, 4, (0,)),
        # 127 / 15 = 8.47 apart: 8.5, 16.9, 25.4, 33.9, 42.3, 50.8, 59.3, 67.7, 76.2, 84.7, 93.1, 101.6, 110.1, 118.5
        (FrameRule("linspace", 16), 25, 128, (0, 8, 17, 25, 34, 42, 51, 59, 68, 76, 85, 93, 102, 110, 119, 127)),
        (FrameRule("midpoints", 4), 25, 9, (1, 3, 5, 7)),  # segments of 2
        # segments of 7.9375: 3.97 behind 0, 8, 16, 24, 32, 40, 48, 56, 64 (63.5), 71 (71.4), 79, 87, 95, 103, 111, 119
        (FrameRule("midpoints", 16), 25, 128, (3, 11, 19, 27, 35, 43, 51, 59, 67, 74, 82, 90, 98, 106, 114, 122)),
        (FrameRule("midpoints", 1), 25, 9, (4,)),
        (FrameRule("inside", 4), 25, 10, (2, 4, 6, 8)),
        (FrameRule("fps", 32, 2.0), 25, 128, (0, 14, 28, 42, 56, 71, 85, 99, 113, 127)),  # 10.24 frames: 10, 127 / 9 apart
        (FrameRule("fps", 32, 2.0), 30, 30, (0, 10, 19, 29)),  # a second: not 2 but the least, 4, 29 / 3 apart
        (FrameRule("fps", 32, 2.0), 1, 3, (0, 2)),  # 6, of 3 there are: 2, an even number
        (FrameRule("fps", 32, 2.0), 25, 1, (0,)),
        (FrameRule("fps", 7, 1.0), 1, 11, (0, 2, 4, 6, 8, 10)),  # 11 seconds, at most 7: 6
    ],
)
def test_frames_by_hand(rule: FrameRule, fps: float, n_total: int, expected: tuple[int, ...]) -> None:
    assert choose(rule, fps, n_total) == expected


@pytest.mark.parametrize("name", RULES)
def test_every_rule_gives_increasing_frames_of_the_clip_and_all_of_a_short_one(name: str) -> None:
    for n_frames in (2, 3, 16, 32):
        for n_total in (*range(1, 70), 128, 54_001):
            found = choose(FrameRule(name, n_frames, 2.0 if name == "fps" else None), 1.0, n_total)
            assert list(found) == sorted(set(found))
            assert 0 <= found[0] <= found[-1] < n_total
            if name != "fps":
                assert len(found) == min(n_frames, n_total)
            assert len(found) <= n_frames


class Processor:
    """A video processor that samples by itself."""

    do_sample_frames, num_frames, size = True, 16, {"shortest_edge": 784, "longest_edge": 200_704}

    def sample_frames(self, metadata: Any, **_: Any) -> None:
        raise AssertionError("the processor was asked")


def test_a_rule_overrules_the_processor() -> None:
    chosen = FrameChoice(Processor(), "qwen2_5_vl", settings(frame_rule="linspace", n_frames=3))
    assert chosen.indices(25.0, 6) == (0, 2, 5)
    assert chosen.describe() == {
        "processor": "Processor",
        "n_frames": 3,
        "frame_rule": "linspace",
        "fps": None,
        "max_pixels": None,
    }
    assert (
        FrameChoice(Processor(), "qwen2_5_vl", settings(frame_rule="midpoints")).indices(25.0, 9000)[0] == 140
    )  # 32: 8999 / 64
    by_rate = FrameChoice(Processor(), "qwen2_5_vl", settings(frame_rule="fps", fps=2.0))
    assert len(by_rate.indices(25.0, 25 * 60)) == 120
    assert len(by_rate.indices(25.0, 25 * 3600)) == 768
    assert (
        len(FrameChoice(Processor(), "qwen2_5_vl", settings(frame_rule="fps", fps=2.0, n_frames=32)).indices(25.0, 9000)) == 32
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"frame_rule": "spread"}, "frame_rule is 'spread', expected floor, linspace, midpoints, inside or fps"),
        ({"frame_rule": "fps"}, "fps is None, expected a number with frame_rule fps, else none"),
        ({"fps": 2.0}, "fps is 2.0, expected a number with frame_rule fps, else none"),
        ({"frame_rule": "fps", "fps": 0.0}, "fps is 0.0, expected 0.01 to 1000"),
        ({"frame_rule": "fps", "fps": 2.0, "n_frames": 1}, "n_frames is 1, expected 2 or more with frame_rule fps"),
    ],
)
def test_settings_of_a_rule_are_checked(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(VtError, match=said):
        settings(**wrong)
