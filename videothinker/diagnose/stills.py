"""Questions about one image, or about nothing, as a checkpoint takes them: one at a time, through its whole processor.

They have no frames to choose and no clip to share, so they pass beside the clips' feed (`feed.py`) and in batches of their own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from videothinker.curated import Curated
from videothinker.diagnose.answerer import RawReply, read_image
from videothinker.diagnose.engines.base import PromptStart, Row
from videothinker.diagnose.fed import told_of_stills
from videothinker.diagnose.frame_choice import image_size
from videothinker.diagnose.prompts import SHOWS, Put
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.frames import ClipError
from videothinker.models.chat import chat
from videothinker.models.load import Loaded
from videothinker.records import Question
from videothinker.records.question import Kind


class StillFeed:
    """Prepares such questions for one loaded checkpoint; `fed` counts the images by height, width and tokens."""

    def __init__(self, loaded: Loaded, settings: DiagnosisSettings, curated: Curated) -> None:
        self._loaded, self._settings, self._curated = loaded, settings, curated
        self.fed: Counter[tuple[int, int, int | None]] = Counter()
        self.n_texts = 0

    def rows(self, questions: Sequence[Question], put: Put) -> Iterator[Row | RawReply]:
        """A row for each question, or the reply that says why its image cannot be read.

        Raises:
            VtError: the checkpoint's chat template leaves the image out.
        """
        for question in questions:
            try:
                yield self._row(question, put)
            except ClipError as error:
                yield RawReply(question_id=question.question_id, reply=None, error=str(error))

    def _row(self, question: Question, put: Put) -> Row:
        processor, prompt = self._loaded.processor, put(question)
        image = self._image(question) if question.kind is Kind.IMAGE else None
        text = chat(processor, prompt.user, system=prompt.system, prefill=prompt.prefill, shows=SHOWS[question.kind])
        inputs = processor(text=[text], return_tensors="pt", **({} if image is None else {"images": [image], **self._size()}))
        ids: list[int] = inputs["input_ids"][0].tolist()
        marks, tensors = {}, {}
        for key, value in inputs.items():
            if isinstance(value, torch.Tensor) and value.shape == (1, len(ids)):
                marks[key] = value[0].tolist()
            else:
                tensors[key] = value
        del marks["input_ids"]
        if image is None:
            self.n_texts += 1
        else:
            self._count(question, ids, tensors)
        return Row(question.question_id, ids, PromptStart(ids, marks, tensors, (0, 0, 0, 0)), None)

    def _image(self, question: Question) -> torch.Tensor:
        """(3, height, width) uint8."""
        footage = self._curated.clip(question)
        if footage is None:
            raise VtError(f"{self._curated.folder}: was curated without images; give their folder with --videos")
        return torch.from_numpy(read_image(footage, self._settings)).permute(2, 0, 1)

    def _size(self) -> dict[str, Any]:
        return {"images_kwargs": image_size(self._loaded.processor)}

    def _count(self, question: Question, ids: Sequence[int], tensors: dict[str, Any]) -> None:
        token = getattr(self._loaded.model.config, "image_token_id", None)
        n_tokens = 0 if token is None else list(ids).count(token)
        if not n_tokens or "image_grid_thw" not in tensors:
            raise VtError(
                f"{self._loaded.ref}: its prompt about the image of question {question.question_id} has no image in it;"
                " questions about images are asked of Qwen's models"
            )
        patch = self._loaded.processor.image_processor.patch_size
        _, height, width = (int(n) * patch for n in tensors["image_grid_thw"][0])
        self.fed[height, width, n_tokens] += 1

    def describe(self) -> dict[str, Any]:
        """For run.json: `images` by their size, and the number of `texts`; nothing where there were none."""
        return told_of_stills(self.fed, self.n_texts)
