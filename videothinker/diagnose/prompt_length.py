"""How many tokens a prompt should have, and whether a server's count agrees: the surest sign that it saw the frames meant.

Servers choose and size frames again when they are let, and say nothing of it: vLLM was seen to take 16 of 32 frames that were
given.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from videothinker.diagnose.frame_choice import FrameChoice, image_size
from videothinker.diagnose.prompts import put_by, texts_of
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.frames import Clip
from videothinker.models.text_positions import architecture
from videothinker.records import Question
from videothinker.records.question import Kind as Shows

_KINDS = 256
"""Kinds of clips of which the length is worked out: it takes the processor a tenth of a second each."""


class Kind(NamedTuple):
    """Clips whose prompts differ in the question alone."""

    n_frames: int | None
    """None where it is not known how many the server takes."""
    height: int
    width: int
    fps: float
    n_total: int
    indices: tuple[int, ...] = ()

    def __str__(self) -> str:
        frames = "frames" if self.n_frames is None else f"{self.n_frames} frames"
        return f"{frames} of {self.width}x{self.height}"


class Still(NamedTuple):
    """Images whose prompts differ in the question alone, or, without a size, prompts of words alone."""

    height: int = 0
    width: int = 0
    is_sized: bool = False
    """Whether the server is told how large an image may be; else its processor's own bounds hold."""

    def __str__(self) -> str:
        return f"an image of {self.width}x{self.height}" if self.width else "words alone"


class _Seen(NamedTuple):
    """What the processor makes of clips or images of one kind."""

    n_more: int
    """Tokens that one adds to a prompt's text."""
    fed: tuple[int, int, int, int | None]
    """Frames, height, width and the tokens of what is shown."""


class PromptLengths:
    """What a checkpoint's own processor makes of clips, images and questions, for a server of that checkpoint."""

    def __init__(
        self,
        processor: Any,
        model_type: str,
        questions: Sequence[Question],
        settings: DiagnosisSettings,
        *,
        texts: Mapping[str, str] | None = None,
        sized: bool = False,
    ) -> None:
        """texts: the prompts by question id, where they are written already. sized: frames are sized as the settings say, and
        not, as at servers, by the processor's own bounds."""
        self._processor, self._sized = processor, sized
        self.frames = FrameChoice(processor.video_processor, model_type, settings)
        """The frames that the checkpoint takes of a clip that is left to it."""
        texts = texts or texts_of(processor, questions, put_by(settings))
        self._n_text = {key: len(ids) for key, ids in zip(texts, self._ids(list(texts.values())), strict=True)}
        self._examples = {one.kind: one.question_id for one in questions}
        self._texts = {name: texts[name] for name in self._examples.values()}
        self._of_kind: dict[Kind | Still, _Seen | None] = {}
        self._lock = threading.Lock()

    def of(self, kind: Kind | Still, question_id: str) -> int | None:
        """Tokens of the whole prompt; None for a clip of one kind too many."""
        seen = self._seen(kind)
        return None if seen is None else self._n_text[question_id] + seen.n_more

    def fed(self, kind: Kind | Still) -> tuple[int, int, int, int | None]:
        """Frames, height and width as the processor sizes them, and tokens of what is shown; of one kind too many what is
        known."""
        seen = self._seen(kind)
        n_frames = len(kind.indices) if isinstance(kind, Kind) else 1
        return (n_frames, kind.height, kind.width, None) if seen is None else seen.fed

    def _seen(self, kind: Kind | Still) -> "_Seen | None":
        with self._lock:  # threads ask, and a tokenizer serves one at a time
            if kind not in self._of_kind:
                self._of_kind[kind] = self._see(kind) if len(self._of_kind) < _KINDS else None
            return self._of_kind[kind]

    def _see(self, kind: Kind | Still) -> "_Seen":
        return self._clip(kind) if isinstance(kind, Kind) else self._still(kind)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = self._processor.tokenizer(texts)["input_ids"]
        return found

    def _clip(self, kind: Kind) -> "_Seen":
        """What the processor makes of a clip in a prompt, in whose text it is a placeholder."""
        import torch

        n, height, width = len(kind.indices), kind.height, kind.width
        blank = np.broadcast_to(np.uint8(0), (n, height, width, 3))
        frames = torch.zeros(1, dtype=torch.uint8).expand(n, 3, height, width)
        example = self._examples[Shows.CLIP]
        inputs = self._processor(
            text=[self._texts[example]],
            videos=[frames],
            video_metadata=[Clip(blank, kind.indices, kind.fps, kind.n_total).metadata()],
            do_sample_frames=False,
            return_tensors="pt",
            **(self.frames.sizes(n) if self._sized else {}),
        )
        if "video_grid_thw" in inputs:
            patch = self._processor.video_processor.patch_size
            height, width = (int(size) * patch for size in inputs["video_grid_thw"][0, 1:])
        return self._counted(inputs, example, (n, height, width), "video_token")

    def _still(self, kind: Still) -> "_Seen":
        """The same of an image, or of no more than words."""
        import torch

        if not kind.width:
            return _Seen(0, (0, 0, 0, 0))
        example, height, width = self._examples[Shows.IMAGE], kind.height, kind.width
        image = torch.zeros(1, dtype=torch.uint8).expand(3, height, width)
        sizes = {"images_kwargs": image_size(self._processor)} if kind.is_sized else {}
        inputs = self._processor(text=[self._texts[example]], images=[image], return_tensors="pt", **sizes)
        if "image_grid_thw" in inputs:
            patch = self._processor.image_processor.patch_size
            height, width = (int(size) * patch for size in inputs["image_grid_thw"][0, 1:])
        return self._counted(inputs, example, (1, height, width), "image_token")

    def _counted(self, inputs: Any, example: str, fed: tuple[int, int, int], token: str) -> "_Seen":
        ids = inputs["input_ids"][0].tolist()
        mark = getattr(self._processor, token, None)
        n_tokens = ids.count(self._processor.tokenizer.convert_tokens_to_ids(mark)) if mark else None
        return _Seen(len(ids) - self._n_text[example], (*fed, n_tokens))


def lengths_at_hand(ref: str, questions: Sequence[Question], settings: DiagnosisSettings) -> PromptLengths | None:
    """The lengths for a server whose name for the model is a folder here; None where it is not, or transformers is missing."""
    if not Path(ref).is_dir() or find_spec("transformers") is None:
        return None
    from videothinker.models.load import load_processor

    return PromptLengths(load_processor(ref), architecture(ref) or "", questions, settings)


class PromptCheck:
    """Compares a server's counts with what was meant, and says once per kind of clip that they differ.

    Where what was meant is not known, the counts of one kind are held against one another: a clip takes as many tokens whatever
    is asked about it, and a text has one at least and no more than bytes.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn, self._lock = warn, threading.Lock()
        self._n_compared = self._n_differing = 0
        self._told: set[Kind | Still] = set()
        self._between: dict[Kind | Still, tuple[int, int]] = {}

    def note(self, kind: Kind | Still, question_id: str, n_counted: int, *, n_meant: int | None, n_bytes: int) -> None:
        """Take in a server's count for one prompt. n_bytes: of the texts in it that are not the same for all questions."""
        with self._lock:
            least, most = self._between.get(kind, (0, n_counted))
            least, most = max(least, n_counted - n_bytes), min(most, n_counted)
            self._between[kind] = least, most
            self._n_compared += n_meant is not None
            if n_meant is not None and n_meant != n_counted:
                self._n_differing += 1
                self._tell(kind, f"counts {n_counted:,} prompt tokens for question {question_id} where {n_meant:,} were meant")
            elif n_meant is None and least > most:
                self._n_differing += 1
                self._tell(
                    kind, f"counts from {most:,} to {least + n_bytes:,} prompt tokens, more apart than the questions are"
                )

    def told(self) -> dict[str, int]:
        """Prompts whose count could be `compared`, and how many of all are known to `differ`."""
        with self._lock:
            return {"compared": self._n_compared, "differ": self._n_differing}

    def _tell(self, kind: Kind | Still, what: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._warn(
                f"the server {what} ({kind}): it has chosen or sized what is shown otherwise than was meant, or puts "
                "the question in other words; what it replies is about that"
            )
