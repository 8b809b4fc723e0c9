"""How evaluators choose frames of a clip, each as a pure function of the clip's length and rate.

Which frames are shown moves scores, and no two evaluators choose alike. These are their choices by name; what a checkpoint's
own processor does is `frame_choice`'s. Of a part of a clip, length and rate are the part's, and indices count from its first
frame. Every rule gives increasing indices, and all frames of a clip that has no more than asked for.
"""

from collections.abc import Callable
from typing import NamedTuple

from videothinker.frames import clip_indices

LEAST_FRAMES = 4
"""Fewest frames that the rule "fps" takes of a clip that has them (FPS_MIN_FRAMES of qwen-vl-utils 0.0.14)."""
_FACTOR = 2  # frames come in pairs (FRAME_FACTOR there)


class FrameRule(NamedTuple):
    """A rule with its numbers."""

    name: str
    """One of `RULES`."""
    n_frames: int
    """Frames to take; with the rule "fps" the most that are taken."""
    fps: float | None = None
    """Frames to take per second; with the rule "fps" alone."""


def choose(rule: FrameRule, fps: float, n_total: int) -> tuple[int, ...]:
    """The frames that the rule takes of a clip.

    fps: frames per second of the clip, or of the part that counts. n_total: its number of frames, at least 1.
    """
    return RULES[rule.name](rule, fps, n_total)


def floor_spacing(rule: FrameRule, fps: float, n_total: int) -> tuple[int, ...]:
    """Frame i of n is frame floor(i T / n) of T: begins with the first, leaves out the end. Ours, and Qwen's processors'."""
    return clip_indices(n_total, rule.n_frames)


def linspace(rule: FrameRule, fps: float, n_total: int) -> tuple[int, ...]:
    """Frame i of n is frame i (T - 1) / (n - 1) of T, rounded, halves to even: begins with the first and ends with the last.

    As qwen-vl-utils, and with it Video-R1 and VideoThinker, take a given number of frames. They work it out in float32, so that
    a half may be rounded the other way there.
    """
    return _linspace(rule.n_frames, n_total)


def midpoints(rule: FrameRule, fps: float, n_total: int) -> tuple[int, ...]:
    """Middles of n equal segments of 0 to T - 1, each s = (T - 1) / n long: floor(s / 2 + round(i s)), as MVBench has it."""
    n = rule.n_frames
    if n >= n_total:
        return tuple(range(n_total))
    # In halves of an nth, so that nothing is lost to floating point: i s is i (T - 1) / n, and round takes halves to even.
    return tuple((n_total - 1 + 2 * n * _rounded(i * (n_total - 1), n)) // (2 * n) for i in range(n))


def inside(rule: FrameRule, fps: float, n_total: int) -> tuple[int, ...]:
    """Frame i of n, counted from 1, is frame floor(i T / (n + 1)) of T: leaves out both ends, as VLMEvalKit does."""
    n = rule.n_frames
    return tuple(range(n_total)) if n >= n_total else tuple(i * n_total // (n + 1) for i in range(1, n + 1))


def per_second(rule: FrameRule, fps: float, n_total: int) -> tuple[int, ...]:
    """As many frames a second as the rule says, at least 4 and at most `rule.n_frames`, an even number; spread by `linspace`.

    As qwen-vl-utils 0.0.14 counts them: T / fps * rate, brought into these bounds and under T, then down to an even number.
    """
    assert rule.fps is not None
    most = rule.n_frames // _FACTOR * _FACTOR
    wanted = min(max(n_total / fps * rule.fps, LEAST_FRAMES), most, n_total)
    return _linspace(int(wanted // _FACTOR) * _FACTOR or n_total, n_total)


def _linspace(n: int, n_total: int) -> tuple[int, ...]:
    if n >= n_total:
        return tuple(range(n_total))
    return tuple(_rounded(i * (n_total - 1), max(1, n - 1)) for i in range(n))


def _rounded(over: int, under: int) -> int:
    """over / under to the nearest whole number, halves to the even one."""
    whole, rest = divmod(over, under)
    return whole + (2 * rest > under or (2 * rest == under and whole % 2 == 1))


RULES: dict[str, Callable[[FrameRule, float, int], tuple[int, ...]]] = {
    "floor": floor_spacing,
    "linspace": linspace,
    "midpoints": midpoints,
    "inside": inside,
    "fps": per_second,
}
"""The rules by name."""
