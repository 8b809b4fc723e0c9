"""Replies by `models.decoder`: one captured CUDA graph per token, for a Qwen2.5-VL with SDPA."""

from collections.abc import Sequence
from typing import Any

import torch

from videothinker.diagnose.engines.base import BATCH, Begun, Row, gate_of, in_stages, load_for, reply_seed, up_to_end
from videothinker.diagnose.engines.packed import Ends
from videothinker.diagnose.engines.transformers import TransformersEngine
from videothinker.diagnose.fed import PASSED
from videothinker.diagnose.reply import Reply
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.stopping import Watch
from videothinker.errors import VtError
from videothinker.models import decoder
from videothinker.models.decoder import Decoder, TokenChoice, Written, can_decode
from videothinker.models.load import Loaded
from videothinker.models.vision import SeenClip, see

LARGEST_BATCH = 1024
"""Most rows at once where memory decides."""


def open_engine(ref: str, settings: DiagnosisSettings, *, trust_remote_code: bool = False) -> "GraphsEngine":
    """Load the checkpoint for this engine.

    Raises:
        VtError: the checkpoint cannot be loaded, or is not one that this engine serves.
    """
    loaded = load_for(ref, settings, trust_remote_code=trust_remote_code)
    return GraphsEngine(loaded, settings)


def serves(loaded: Loaded) -> bool:
    """Whether this engine can write the model's replies, on whatever device."""
    return can_decode(loaded.model) and loaded.attention == "sdpa" and loaded.shares_vision


class GraphsEngine:
    """An `Engine`. Without a GPU it runs the same steps one kernel at a time.

    Raises on construction:
        VtError: the model is not one that this engine serves.
    """

    def __init__(self, loaded: Loaded, settings: DiagnosisSettings) -> None:
        if not serves(loaded):
            raise VtError(
                f"--engine graphs: writes the replies of Qwen2.5-VL with SDPA only, and {loaded.ref} is a "
                f"{type(loaded.model).__name__} with {loaded.attention}; leave it out"
            )
        self.loaded, self._settings = loaded, settings
        self._gate = gate_of(loaded.processor, settings)
        self._decoder = Decoder(loaded.model, eos=loaded.eos, pad=loaded.pad, suppress=loaded.placeholders)
        self._n_before = 0  # rows of the batch before, for which there is a graph

    def reply(self, rows: Sequence[Row]) -> list[Reply]:
        """One reply per row.

        A batch smaller than the one before, as the last one often is, is filled up with copies of its first row, because
        capturing a graph of its own size would take longer.
        """
        if self._gate.at is not None:
            return in_stages(self, rows)
        written = self._decoder.write(**self._prompts(rows))
        return [up_to_end(*reply, self.loaded.eos) for reply in written[: len(rows)]]

    def begin(self, rows: Sequence[Row]) -> list[Reply | Begun]:
        """One reply per row, those that are not sure enough of their first answer as far as that."""
        prompts = self._prompts(rows)
        found = self._decoder.begin(**prompts, watch=Watch(self._gate, len(prompts["rows"])))[: len(rows)]
        return [
            Begun(row, each) if isinstance(each, decoder.Begun) else self._cut(each)
            for row, each in zip(rows, found, strict=True)
        ]

    def go_on(self, begun: Sequence[Begun]) -> list[Reply]:
        """The whole replies of those that were begun, which a batch of a graph's size is filled up with as in `reply`."""
        if not begun:
            return []
        size = max(self._n_before, len(begun)) if self.loaded.device.type == "cuda" else len(begun)
        filled = [*begun, *[begun[0]] * (size - len(begun))]
        written = self._decoder.go_on(
            [each.held for each in filled],
            max_new_tokens=self._settings.max_new_tokens,
            watch=Watch(self._gate, len(filled)),
            choice=self._choice([each.row for each in filled]),
        )
        return [self._cut(each) for each in written[: len(begun)]]

    def _prompts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The decoder's arguments for prompts, filled up to the largest batch so far."""
        self._n_before = max(self._n_before, len(rows))
        prompts = [*range(len(rows)), *[0] * (self._n_before - len(rows))]
        return {
            "prompt_ids": [row.ids for row in rows],
            "clips": [_seen_clip(self.loaded.model, row) for row in rows],
            "rows": prompts,
            "max_new_tokens": self._settings.max_new_tokens,
            "choice": self._choice([rows[i] for i in prompts]),
        }

    def _choice(self, rows: Sequence[Row]) -> TokenChoice:
        settings = self._settings
        seeds = [reply_seed(settings.seed, row.question_id) for row in rows] if settings.temperature > 0 else None
        return TokenChoice(settings.temperature, seeds, settings.top_p)

    def _cut(self, written: Written) -> Reply:
        return self._gate.cut(up_to_end(*written, self.loaded.eos))

    def score(self, rows: Sequence[Row], ends: Sequence[Ends]) -> list[list[float]]:
        """Log-probabilities of continuations, by transformers' own model: for one pass no graph is worth its capture."""
        return TransformersEngine(self.loaded, self._settings).score(rows, ends)

    def n_at_once(self, n_tokens: int) -> int:
        """Rows whose keys and values fill a sixteenth of the GPU's memory, which other processes may share."""
        config, device = self.loaded.model.config.get_text_config(), self.loaded.device
        if device.type == "cpu":
            return BATCH
        heads, width = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
        # A key and a value per layer and head, for the prompt and for the reply.
        per_token: int = 2 * config.num_hidden_layers * heads * width * self.loaded.model.dtype.itemsize
        budget = int(torch.cuda.get_device_properties(device).total_memory) // 16
        return max(8, min(LARGEST_BATCH, budget // (per_token * (n_tokens + self._settings.max_new_tokens))))

    def at(self, settings: DiagnosisSettings) -> "GraphsEngine":
        """The same checkpoint at other settings, with graphs of its own."""
        self.free()
        return GraphsEngine(self.loaded, settings)

    def free(self) -> None:
        """Give back the decoder's caches and graphs."""
        self._n_before = 0
        self._decoder.forget()
        torch.cuda.empty_cache()

    def describe(self) -> dict[str, Any]:
        """`engine`: "graphs", or "eager" where the steps run without a GPU; and the tokens that passed."""
        engine = "graphs" if self.loaded.device.type == "cuda" else "eager"
        return {"engine": engine, PASSED: self._decoder.n_passed}


def _seen_clip(model: Any, row: Row) -> SeenClip:
    if row.vision is None:  # an image or nothing (`stills`): `serves` asks for a model that shares the vision of clips
        tensors = row.start.tensors
        if "pixel_values" not in tensors:
            return SeenClip(torch.zeros(0, model.config.get_text_config().hidden_size, device=model.device), (0, 0, 0), 0.0)
        t, h, w = tensors["image_grid_thw"][0].tolist()
        with torch.inference_mode():
            return see(model, [tensors["pixel_values"].to(model.device)], [(t, h, w)], [0.0])[0]
    t, h, w = row.start.tensors["video_grid_thw"][0].tolist()
    return SeenClip(row.vision.features, (t, h, w), float(row.start.tensors["second_per_grid_ts"][0]))
