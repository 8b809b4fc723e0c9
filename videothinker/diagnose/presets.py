"""Published checkpoints with the way to ask them: `vt diagnose --preset NAME`.

A preset names its model, so that it stands in place of `--model`; with `--model PATH` it lends its settings to weights of one's
own. What is given on the command line comes before it. To add one, add a record to `PRESETS`; docs/diagnose.md has the table.

Everything here is what the sources say. No weights were ever loaded by us: tests run each preset from end to end on a tiny
model of its architecture. A revision is None where none could be verified, so whoever needs the same bytes again pins one with
--revision; run.json has the weights' hash of what lies in a folder.
"""

import difflib
from typing import Any, NamedTuple

from videothinker.answers import Style
from videothinker.errors import VtError
from videothinker.models.text_positions import TextPositions, architecture

QWEN_2_5, QWEN_3, ONE_VISION = "qwen2_5_vl", "qwen3_vl", "llava_onevision"
_PAPER_PIXELS = 256 * 28 * 28
"""Of a frame, in the evaluations of Video-R1, VideoRFT and VideoThinker."""


class Preset(NamedTuple):
    """A published checkpoint, and the settings to ask it with."""

    name: str
    ref: str
    """Its id on the hub."""
    architecture: str
    """`model_type` of its configuration."""
    protocol: str
    """Whose way of asking and reading its published numbers rest on: one of the names of `--protocol`."""
    prompt: Style
    """The style of our own prompt that fits what it was trained to write."""
    source: str
    """Where these facts stand."""
    revision: str | None = None
    """Commit on the hub; None: not pinned."""
    n_frames: int | None = None
    """Frames of a clip; None leaves them to its own processor."""
    max_pixels: int | None = None
    """Most pixels of a frame; None leaves them to its own processor."""
    max_new_tokens: int = 1024
    text_positions: TextPositions | None = None
    """The rule that it was trained with; None for an architecture of which both rules make the same."""
    note: str = ""
    """What to know of its template, processor or evaluator."""

    def settings(self) -> dict[str, Any]:
        """What it sets of how a model is asked, by the names of `DiagnosisSettings`."""
        limits = {"n_frames": self.n_frames, "max_pixels": self.max_pixels, "max_new_tokens": self.max_new_tokens}
        return {"prompt": self.prompt} | {name: value for name, value in limits.items() if value is not None}


_SYSTEM = "its template adds the system text 'You are a helpful assistant.'"
_R1 = "trained to write <think></think><answer></answer>; decoded by its authors at temperature 0.01, top-p 0.001"
_AUTO = (
    "writes box, think, box after its authors' system text, which their protocol gives; they stop early where the first box is"
)

PRESETS: tuple[Preset, ...] = (
    Preset(
        "qwen2.5-vl-3b",
        "Qwen/Qwen2.5-VL-3B-Instruct",
        QWEN_2_5,
        "ours",
        Style.COT,
        "VideoThinker, arXiv 2605.01324, evaluation set-up",
        n_frames=32,
        max_pixels=_PAPER_PIXELS,
        text_positions=TextPositions.ORIGINAL,
        note=_SYSTEM,
    ),
    Preset(
        "qwen2.5-vl-7b",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        QWEN_2_5,
        "ours",
        Style.COT,
        "VideoThinker, arXiv 2605.01324, evaluation set-up",
        n_frames=32,
        max_pixels=_PAPER_PIXELS,
        text_positions=TextPositions.ORIGINAL,
        note=_SYSTEM,
    ),
    Preset(
        "videorft-3b",
        "QiWang98/VideoRFT-3B",
        QWEN_2_5,
        "video-r1",
        Style.COT,
        "QiWang98/VideoRFT at bba6099, README",
        n_frames=32,
        max_pixels=_PAPER_PIXELS,
        text_positions=TextPositions.ORIGINAL,
        note=_R1,
    ),
    Preset(
        "video-r1-7b",
        "Video-R1/Video-R1-7B",
        QWEN_2_5,
        "video-r1",
        Style.COT,
        "tulerfeng/Video-R1 at 59d65c3, README",
        n_frames=32,
        max_pixels=_PAPER_PIXELS,
        text_positions=TextPositions.ORIGINAL,
        note=f"{_R1}; some evaluators take the processor of Qwen/Qwen2.5-VL-7B-Instruct: copy that if its own does not load",
    ),
    Preset(
        "videothinker-r1-3b",
        "Falconss1/VideoThinker-R1-3B",
        QWEN_2_5,
        "videothinker",
        Style.COT,
        "falonss703/VideoThinker at 5c95a05, README and src/eval/eval_bench.py",
        n_frames=32,
        max_pixels=_PAPER_PIXELS,
        text_positions=TextPositions.ORIGINAL,
        note=_R1,
    ),
    Preset(
        "videothinker-r1-bias-3b",
        "Falconss1/VideoThinker-R1-Bias-3B",
        QWEN_2_5,
        "videothinker",
        Style.COT,
        "falonss703/VideoThinker at 5c95a05",
        n_frames=32,
        max_pixels=_PAPER_PIXELS,
        text_positions=TextPositions.ORIGINAL,
        note="the bias model that the one above was repelled from; also good for vt train cdpo --bias-model",
    ),
    Preset(
        "video-utr-7b",
        "Kangheng/Video-UTR-7b",
        ONE_VISION,
        "lmms-eval",
        Style.DIRECT,
        "linkangheng/Video-UTR at 243ed20, README and training script (frames_upbound 32)",
        n_frames=32,
        note="every frame is 384 x 384, and its prompt says nothing of time",
    ),
    Preset(
        "videoauto-r1-7b",
        "IVUL-KAUST/VideoAuto-R1-Qwen2.5-VL-7B",
        QWEN_2_5,
        "videoauto-r1",
        Style.COT,
        "IVUL-KAUST/VideoAuto-R1 at f7d91a3, evaluation scripts",
        n_frames=64,
        max_pixels=512 * 28 * 28,
        max_new_tokens=4096,
        text_positions=TextPositions.ORIGINAL,
        note=f"{_AUTO} sure at 0.97; 16,384 video tokens in all: for long clips --frames 256 --max-pixels 100352",
    ),
    Preset(
        "videoauto-r1-8b",
        "IVUL-KAUST/VideoAuto-R1-Qwen3-VL-8B",
        QWEN_3,
        "videoauto-r1",
        Style.COT,
        "IVUL-KAUST/VideoAuto-R1 at f7d91a3, demo and evaluation scripts",
        n_frames=64,
        max_new_tokens=4096,
        note=f"{_AUTO} sure at 0.98; 128,000 video tokens in all: for long clips --frames 768, the most that is taken here",
    ),
    Preset(
        "qwen3-vl-4b",
        "Qwen/Qwen3-VL-4B-Instruct",
        QWEN_3,
        "ours",
        Style.COT,
        "transformers' Qwen3VLVideoProcessor",
        note="its processor takes 2 frames a second, 4 to 768 of them, within a number of pixels for the whole clip",
    ),
    Preset(
        "qwen3-vl-8b",
        "Qwen/Qwen3-VL-8B-Instruct",
        QWEN_3,
        "ours",
        Style.COT,
        "transformers' Qwen3VLVideoProcessor",
        note="its processor takes 2 frames a second, 4 to 768 of them, within a number of pixels for the whole clip",
    ),
)


def find(name: str) -> Preset:
    """The preset of that name.

    Raises:
        VtError: there is none.
    """
    found = next((preset for preset in PRESETS if preset.name == name), None)
    if found is None:
        near = difflib.get_close_matches(name, [preset.name for preset in PRESETS], n=1, cutoff=0.5)
        meant = f"is {near[0]} meant? " if near else ""
        raise VtError(f"--preset {name}: there is none of that name; {meant}vt diagnose --list-presets shows them all")
    return found


def check_fits(preset: Preset, ref: str) -> None:
    """Check that a preset's settings are for weights of one's own.

    Raises:
        VtError: they are of another architecture, as far as that is known without loading them.
    """
    kind = architecture(ref)
    if kind is not None and kind != preset.architecture:
        raise VtError(f"{ref}: is a {kind}, and --preset {preset.name} is for a {preset.architecture}; choose one that fits")
