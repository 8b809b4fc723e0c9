"""The settings of a diagnosis: everything that changes a number in its report, with its bounds, as run.json holds it."""

from collections.abc import Collection
from typing import Any

import msgspec

from videothinker.answers import Style
from videothinker.damage import Damage
from videothinker.diagnose.engines import ENGINES
from videothinker.diagnose.frame_rules import RULES
from videothinker.diagnose.protocols import PROTOCOLS
from videothinker.errors import VtError
from videothinker.models.text_positions import TextPositions
from videothinker.records.prompt import Template

FREE = ("batch_size", "engine")
"""Settings that may differ when a run is resumed: they change how fast replies come, and not what they say."""

LATER: dict[str, Any] = {
    **{"protocol": "ours", "top_p": 1.0, "frame_rule": None, "fps": None},
    **{"text_positions": None, "revision": None, "preset": None, "template": None},
    **{"damage": None, "prefill": "", "send": "clip", "stop_at": None},
}
"""Settings that earlier versions did not write down, with the value that says what they did."""

SEND = ("clip", "images")
"""How frames that are chosen here go to a server."""

_NAMED: dict[str, Collection[str]] = {
    "protocol": PROTOCOLS,
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "attention": ("auto", "flash_attention_2", "sdpa", "eager"),
    "engine": ENGINES,
    "decoder": ("auto", "decord", "torchcodec", "pyav"),
    "send": SEND,
}
"""Settings whose value is one of a few names."""


class DiagnosisSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How every checkpoint of one `vt diagnose` is asked. Built-in solvers heed `split` and `seed` alone.

    Raises on construction:
        VtError: values are out of bounds; one line names all of them.
    """

    split: str
    """Split of the curated folder whose questions are asked."""
    protocol: str = "ours"
    """Whose way of asking and reading, one of `protocols.PROTOCOLS`. What it sets of the settings below stands in them."""
    prompt: Style | None = Style.COT
    """How the model is asked to lay out its reply, in our words; None asks in the protocol's own."""
    template: Template | None = None
    """The prompt of a file, whose style is then `prompt`; None asks as `prompt` says."""
    n_frames: int | None = None
    """Frames of each clip. None leaves them to the checkpoint's own processor or, if it does not sample by itself, means 32
    (paper, evaluation set-up)."""
    frame_rule: str | None = None
    """How frames are chosen, one of `frame_rules.RULES`; None is the spacing of the checkpoint's own processor."""
    fps: float | None = None
    """Frames per second of a clip, of which `n_frames` are taken at most (else 768); only with `frame_rule` "fps"."""
    max_pixels: int | None = None
    """Largest number of pixels of one frame. None leaves it to the checkpoint's own processor or, if it does not sample by
    itself, means 256*28*28 (paper)."""
    batch_size: int | None = None
    """Questions that are answered at once. None is what memory allows with the engine graphs, and 32 otherwise. It may differ
    when a run is resumed, because a smaller one cures running out of memory."""
    temperature: float = 0.0
    """0 is greedy decoding."""
    top_p: float = 1.0
    """A draw is among the likeliest tokens alone, whose chances at the temperature sum to this (nucleus sampling); 1 is all."""
    seed: int = 42
    max_new_tokens: int = 1024
    """Longest reply; one that reaches it is `truncated` (1,024 in the paper's evaluator)."""
    dtype: str = "auto"
    """Type of the weights: "auto" (bfloat16 on a GPU, float32 on a CPU), "bfloat16", "float16" or "float32"."""
    attention: str = "auto"
    """transformers' attention implementation: "flash_attention_2", "sdpa", "eager", or "auto", which is
    the first where it is installed and fits the weights, and otherwise "sdpa"."""
    engine: str = "auto"
    """What writes the replies, one of `engines.ENGINES`. Replies are the same up to the rounding of logits, so it may differ
    when a run is resumed."""
    text_positions: TextPositions | None = None
    """The rule by which the text behind a clip goes on, where they differ for an architecture (Qwen2.5-VL). None: the one that
    the checkpoint was trained with, which run.json then says."""
    revision: str | None = None
    """Commit, tag or branch of a checkpoint on the hub; None: its newest."""
    preset: str | None = None
    """The name in `presets.PRESETS` whose settings were taken where no others were chosen."""
    damage: Damage | None = None
    """How every clip is damaged before it is sized and shown; None shows clips as they are. The order of shuffled frames is
    drawn from `seed`."""
    stop_at: float | None = None
    """In the style "twice" the confidence, 0 to 1, from which a reply ends right behind its first answer (`stopping`); None
    writes every reply to its end."""
    prefill: str = ""
    """How every reply is made to begin, where the protocol does not say so itself; not part of what is kept as a reply."""
    send: str = "clip"
    """How a server is sent the frames that are chosen here: as one lossless "clip" with their times, or as "images"."""
    decoder: str = "auto"
    """Backend that reads the clips, see `frames.read_clip`."""

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value!r}, expected {expected}"
            for name, value, good, expected in (
                ("n_frames", self.n_frames, self.n_frames is None or 1 <= self.n_frames <= 768, "1 to 768"),
                ("frame_rule", self.frame_rule, self.frame_rule in (None, *RULES), _listed(RULES)),
                ("fps", self.fps, self.fps is None or 0.01 <= self.fps <= 1000, "0.01 to 1000"),
                (
                    "fps",
                    self.fps,
                    (self.frame_rule == "fps") == (self.fps is not None),
                    "a number with frame_rule fps, else none",
                ),
                ("n_frames", self.n_frames, self.frame_rule != "fps" or self.n_frames != 1, "2 or more with frame_rule fps"),
                ("max_pixels", self.max_pixels, self.max_pixels is None or self.max_pixels >= 28 * 28, "784 (28*28) or more"),
                ("batch_size", self.batch_size, self.batch_size is None or self.batch_size >= 1, "1 or more"),
                ("temperature", self.temperature, 0 <= self.temperature <= 2, "0 to 2"),
                ("top_p", self.top_p, 0 < self.top_p <= 1, "more than 0, at most 1"),
                ("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "1 or more"),
                ("stop_at", self.stop_at, self.stop_at is None or 0 <= self.stop_at <= 1, "0 to 1"),
                (
                    "stop_at",
                    self.stop_at,
                    self.stop_at is None or self.prompt is Style.TWICE,
                    "none unless prompt is twice, where there is a first answer to stop behind (--prompt twice)",
                ),
                *(
                    (name, getattr(self, name), getattr(self, name) in allowed, _listed(allowed))
                    for name, allowed in _NAMED.items()
                ),
            )
            if not good
        ]
        if wrong:
            raise VtError("; ".join(wrong))


def _listed(names: Collection[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
