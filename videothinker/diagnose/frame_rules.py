"""Rules by which other evaluators choose frames. A clip of fewer frames than a rule asks for gives all it has, each once."""

from collections.abc import Callable, Sequence

from videothinker.frames import clip_indices

FEWEST = 4
"""Least number of frames by a rate, as in Qwen's loader."""


def frames_by_rate(fps: float, max_frames: int | None, clip_fps: float, n_total: int) -> int:
    """How many frames a rate asks for of a clip: an even number, 4 to `max_frames`, where there are so many."""
    most = min(n_total if max_frames is None else max_frames, n_total)
    return max(1, int(min(max(n_total / clip_fps * fps, FEWEST), most)) // 2 * 2)


def linspace(n_total: int, n: int) -> list[int]:
    """From the first to the last frame, both included, rounded to the nearest (Qwen's loader)."""
    return [round(i * (n_total - 1) / (n - 1)) for i in range(n)] if n > 1 else [0]


def midpoints(n_total: int, n: int) -> list[int]:
    """The middle of each of n segments between the first and the last frame (MVBench)."""
    segment = (n_total - 1) / n
    return [int(segment / 2 + round(segment * i)) for i in range(n)]


def inside(n_total: int, n: int) -> list[int]:
    """n frames between the first and the last, which are left out (VLMEvalKit)."""
    return [i * n_total // (n + 1) for i in range(1, n + 1)]


def floor(n_total: int, n: int) -> list[int]:
    """Every (n_total / n)-th frame from the first on."""
    return list(clip_indices(n_total, n))


RULES: dict[str, Callable[[int, int], Sequence[int]]] = {
    "linspace": linspace,
    "midpoints": midpoints,
    "floor": floor,
    "inside": inside,
    "fps": linspace,
}
"""(frames of the clip, frames to take) -> which, by name; "fps" takes as many as a rate asks for."""


def choose(rule: str, n: int, n_total: int) -> Sequence[int]:
    """The frames that the rule takes, increasing, each once."""
    return range(n_total) if n >= n_total else sorted(set(RULES[rule](n_total, n)))
