"""Ask a checkpoint that transformers loads: clips in, replies out.

Each clip is decoded, sized and seen by the vision tower once for all of its questions, many clips in a call; the questions are
answered in batches, whichever clip they are about. A clip that cannot be read costs its own questions and nothing else. What
was really fed (frames, their size, video tokens) is counted as it happens, for `describe`.

Replies are written by one of two engines: `models.decoder` (CUDA graphs) for a Qwen2.5-VL, transformers' `generate` for any
other model. Greedy replies are the same up to the rounding of logits, and sampled ones draw on the same noise.
"""

import hashlib
import inspect
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)
from transformers import __version__ as transformers_version
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import is_flash_attn_2_available, logging

from videothinker import mcq
from videothinker.clips import ClipCache, ClipReader, default_workers
from videothinker.curated import Curated
from videothinker.diagnose.answerer import Answer
from videothinker.diagnose.settings import Settings
from videothinker.errors import VtError, missing_extra
from videothinker.frames import Backend, Clip, ClipError, clip_indices
from videothinker.models.decoder import Choice, Decoder, can_decode
from videothinker.models.noise import hashed_noise, seed_words
from videothinker.models.sharpen import sharpen
from videothinker.models.vision import SeenClip, batch_windows, quicken_vision, see
from videothinker.records import CuratedQuestion

N_FRAMES, MAX_PIXELS = 32, 256 * 28 * 28
"""What a checkpoint is fed whose processor does not sample frames by itself (paper, evaluation set-up)."""

ADAPTER = "adapter_config.json"

_CLIPS_AT_ONCE = 64
"""Clips that are sized and seen together: launching kernels takes longer than running them for one clip."""
_FRAME_BYTES = 2**29
"""What the frames of clips read ahead may take; of large frames, fewer clips are read ahead and sized together."""
_PATCHES = 98_304
"""Patches that the vision tower sees in one call: eight clips of 32 frames of 308 x 476."""

BATCH, LARGEST_BATCH = 32, 1024
"""Questions at once where none are set: with transformers, and at most with graphs, where memory decides."""

_TESTED = ("qwen2_5_vl", "qwen3_vl")
"""Architectures that are tested to give the plain loop's replies when vision features are shared; others are fed pixels."""
_PIXELS_PER_VIDEO = ("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")
"""Architectures whose processor's `longest_edge` bounds a video's pixels and not a frame's."""


def open_checkpoint(
    ref: str,
    *,
    curated: Curated,
    settings: Settings,
    cache: ClipCache | None = None,
    clip_time_limit_s: float = 60.0,
    trust_remote_code: bool = False,
) -> "Checkpoint":
    """The checkpoint in a local folder or of a hub id, on this process's GPU if there is one; a LoRA folder on its base.

    Only safetensors are loaded. `trust_remote_code` runs Python that comes with the checkpoint.

    Raises:
        VtError: there is no such checkpoint, it is not a video-language model, or the data has no clips.
    """
    if curated.videos_root is None:
        raise VtError(f"{curated.folder}: was curated without clips, which {ref} has to see; give their folder with --videos")
    logging.disable_progress_bar()
    loaded = _load(ref, settings, trust_remote_code)
    return Checkpoint(loaded, curated=curated, settings=settings, cache=cache, clip_time_limit_s=clip_time_limit_s)


class Loaded(NamedTuple):
    """A model in memory with its processor."""

    model: Any
    processor: Any
    ref: str
    adapter: bool
    """A LoRA folder, merged into its base."""


class _Shown(NamedTuple):
    """One clip's frames on the model's device."""

    frames: torch.Tensor
    """(n, 3, height, width) uint8"""
    metadata: dict[str, Any]

    @property
    def kind(self) -> tuple[Any, ...]:
        """Clips of one kind differ in their pixels alone."""
        times = self.metadata
        return *self.frames.shape, *times["frames_indices"], times["fps"], times["total_num_frames"]


class _Words(NamedTuple):
    """The questions' prompts as tokens, as far as they stand behind the clip."""

    example: str
    """One whole prompt."""
    ends: dict[str, list[int]]
    """By question id."""
    example_end: list[int]


class _Form(NamedTuple):
    """What the processor makes of a clip's size and timing, whatever its pixels show and its question asks."""

    ids: list[int]
    """Tokens up to the text after the clip, its placeholders included."""
    marks: dict[str, list[int]]
    """Other values of these tokens, such as mm_token_type_ids; text has 0."""
    tensors: dict[str, Any]
    """The processor's other output, for one row; with pixels only where the model is fed them for every question."""
    fed: tuple[int, int, int, int]
    """Frames, height, width, video tokens."""


class _Vision(NamedTuple):
    """What the vision tower makes of one clip."""

    features: torch.Tensor
    """(video tokens, hidden)"""
    deepstack: tuple[torch.Tensor, ...] = ()
    """Qwen3-VL: the same for each of some layers."""


class _Row(NamedTuple):
    """One question, ready for the model."""

    question_id: str
    ids: list[int]
    form: _Form
    vision: _Vision | None
    """Where the architecture takes that in place of pixels."""


class Checkpoint:
    """An `Answerer`: a loaded model and the clips it is to see. Answers come batch by batch.

    batch_size starts as the settings', or what memory allows once a clip was seen, and halves whenever memory runs out.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        curated: Curated,
        settings: Settings,
        cache: ClipCache | None = None,
        clip_time_limit_s: float = 60.0,
    ) -> None:
        self.model, self.processor = loaded.model, loaded.processor
        self.batch_size = settings.batch_size
        self.seconds: dict[str, float] = dict.fromkeys(("clips", "prepare", "generate"), 0.0)
        """Where the time went: waiting for "clips", "prepare" (words, sizing, vision tower), "generate"."""
        self._loaded, self._curated, self._settings = loaded, curated, settings
        self._feed = _Feed(self.processor.video_processor, self.model.config.model_type, settings)
        self._cache, self._clip_time_limit_s = cache, clip_time_limit_s
        self._decoder: str | None = None
        self._fed: Counter[tuple[int, int, int, int]] = Counter()  # clips by their form's `fed`
        self._forms: dict[Any, _Form | None] = {}
        self._most_patches = _PATCHES
        self._uploads: Any = None
        if self.model.device.type == "cuda":
            self._uploads = torch.cuda.Stream(self.model.device)  # type: ignore[no-untyped-call]
        self._eos = _ids(self.model.generation_config.eos_token_id) or _ids(self.processor.tokenizer.eos_token_id)
        self._pad = _ids(self.processor.tokenizer.pad_token_id) or self._eos[:1]
        config = self.model.config
        self._placeholders = [i for name in ("image_token_id", "video_token_id") for i in _ids(getattr(config, name, None))]
        takes_vision = "mm_encoder_outputs" in inspect.signature(self.model.forward).parameters
        self._shares_vision = takes_vision and config.model_type in _TESTED
        self._graphs, self._n_decoded = self._writer(), 0
        # The checkpoint's own generation settings (Qwen2.5-VL: repetition penalty 1.05) would differ from checkpoint to
        # checkpoint, and fill what a call leaves open. A sampled placeholder would stand for a clip that is not there. And a
        # cache of fixed size: growing one by a token means new GPU memory for every layer at every token.
        sdpa = config._attn_implementation == "sdpa"
        fixed = sdpa and self.model.device.type == "cuda" and config.model_type in _TESTED
        self.model.generation_config = GenerationConfig(
            eos_token_id=self._eos,
            pad_token_id=self._pad[0],
            suppress_tokens=self._placeholders or None,
            **({"cache_implementation": "static", "disable_compile": True} if fixed else {}),
        )

    def answer(self, questions: Sequence[CuratedQuestion]) -> Iterator[Answer]:
        """One answer a question; those about one clip come together, in the order in which clips first appear."""
        by_clip: dict[Path, list[CuratedQuestion]] = {}
        for question in questions:
            path = self._curated.clip(question)
            assert path is not None  # open_checkpoint has refused a folder without clips
            by_clip.setdefault(path, []).append(question)
        with self._clock("prepare"):
            words = self._words(questions)
        rows: list[_Row] = []
        at_once = min(_CLIPS_AT_ONCE, max(1, _FRAME_BYTES // self._feed.n_bytes))
        with ClipReader(
            sample=self._feed.indices,
            backend=cast(Backend, self._settings.decoder),
            max_pixels=self._feed.max_pixels,
            cache=self._cache,
            ahead=max(8, 2 * at_once),
            time_limit_s=self._clip_time_limit_s,
        ) as reader:
            self._decoder = reader.decoding.backend
            clips = reader.map(self._show, by_clip)
            while group := self._next(clips, at_once):
                for path, clip in group:
                    if isinstance(clip, ClipError):
                        yield from (Answer(question_id=q.question_id, reply=None, error=str(clip)) for q in by_clip[path])
                shown = [(clip, by_clip[path]) for path, clip in group if not isinstance(clip, ClipError)]
                rows += self._rows(shown, words)
                while len(rows) >= (size := self._size(rows, len(questions))):
                    batch, rows = rows[:size], rows[size:]
                    yield from self._answers(batch)
            yield from self._answers(rows)

    def describe(self) -> dict[str, Any]:
        """What was fed and with what: `fed` has a line for every kind of clip, `n_clips` of `frames` x `height` x `width`."""
        model = self.model
        fed = [
            {"n_clips": n, "frames": frames, "height": height, "width": width, "video_tokens": tokens}
            for (frames, height, width, tokens), n in sorted(self._fed.items())
        ]
        return {
            "architecture": type(model).__name__,
            "n_parameters": sum(weight.numel() for weight in model.parameters()),
            "adapter": self._loaded.adapter,
            "device": "cpu" if model.device.type == "cpu" else torch.cuda.get_device_name(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "attention": model.config._attn_implementation,
            "decoder": self._decoder,
            "sampling": self._feed.describe(),
            "fed": fed,
            "batch_size": self.batch_size,
            "engine": "transformers" if self._graphs is None else "graphs" if model.device.type == "cuda" else "eager",
            "seconds": {phase: round(seconds, 2) for phase, seconds in self.seconds.items()},
        }

    @contextmanager
    def _clock(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - start

    def _writer(self) -> Decoder | None:
        """What writes replies with CUDA graphs; None where transformers does."""
        engine, model = self._settings.engine, self.model
        fits = can_decode(model) and model.config._attn_implementation == "sdpa" and self._shares_vision
        if engine == "graphs" and not fits:
            raise VtError(
                f"--engine graphs: writes the replies of Qwen2.5-VL with SDPA only, and {self._loaded.ref} is a "
                f"{type(model).__name__} with {model.config._attn_implementation}; leave it out"
            )
        if not fits or engine == "transformers" or (engine == "auto" and model.device.type == "cpu"):
            return None
        return Decoder(model, eos=self._eos, pad=self._pad[0], suppress=self._placeholders)

    def _next(self, clips: Iterator[tuple[Path, _Shown | ClipError]], n: int) -> list[tuple[Path, _Shown | ClipError]]:
        with self._clock("clips"):
            return list(islice(clips, n))

    def _show(self, clip: Clip) -> _Shown:
        """The clip on the model's device. Runs in the reader's threads, so on a GPU in a stream beside the model's."""
        frames = torch.from_numpy(clip.frames)
        if self._uploads is not None:
            with torch.cuda.stream(self._uploads):
                frames = frames.to(self.model.device)
        return _Shown(frames.permute(0, 3, 1, 2), clip.metadata())

    def _words(self, questions: Sequence[CuratedQuestion]) -> _Words | None:
        """All prompts, tokenized in one call; None where a prompt is not the same up to its clip for all questions."""
        video_token = getattr(self.processor, "video_token", None)
        texts = self._chats(questions)
        if not video_token or not all(video_token in text for text in texts):
            return None
        befores, _, ends = zip(*(text.rpartition(video_token) for text in texts), strict=True)
        if len(set(befores)) > 1:
            return None
        ids = self._tokenize(ends)
        by_id = {question.question_id: end for question, end in zip(questions, ids, strict=True)}
        return _Words(texts[0], by_id, ids[0])

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of every text, by as many threads as there are cores to share: one takes seconds for 10,000 prompts."""
        tokenizer = self.processor.tokenizer
        first: list[list[int]] = tokenizer(texts[:1], add_special_tokens=False)["input_ids"]  # sets it to pad and cut nothing
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            rest: list[list[int]] = tokenizer(texts[1:], add_special_tokens=False)["input_ids"] if texts[1:] else []
            return first + rest

        def encode(some: Sequence[str]) -> list[list[int]]:
            return [encoding.ids for encoding in backend.encode_batch(list(some), add_special_tokens=False)]

        with ThreadPoolExecutor(default_workers()) as threads:
            parts = threads.map(encode, (texts[start : start + 256] for start in range(0, len(texts), 256)))
            return [ids for part in parts for ids in part]

    def _chats(self, questions: Sequence[CuratedQuestion]) -> list[str]:
        """Every question in the chat template, which is filled in twice only: it takes longer than anything else here."""
        prompts = [mcq.render_prompt(question.problem, question.options, self._settings.prompt) for question in questions]
        around = self._chat(prompts[0]).split(prompts[0])
        if len(around) == 2 and prompts[-1].join(around) == self._chat(prompts[-1]):
            return [prompt.join(around) for prompt in prompts]
        return [self._chat(prompt) for prompt in prompts]

    def _chat(self, prompt: str) -> str:
        content = [{"type": "video"}, {"type": "text", "text": prompt}]
        text: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return text

    def _rows(self, clips: Sequence[tuple[_Shown, Sequence[CuratedQuestion]]], words: _Words | None) -> list[_Row]:
        """The clips' questions as the model takes them; clips of one kind are sized and seen together."""
        rows: list[_Row] = []
        with self._clock("prepare"), torch.inference_mode():
            kinds: dict[tuple[Any, ...], list[tuple[_Shown, Sequence[CuratedQuestion]]]] = {}
            for shown, questions in clips:
                if shown.frames.is_cuda:
                    shown.frames.record_stream(torch.cuda.current_stream(shown.frames.device))
                kinds.setdefault(shown.kind, []).append((shown, questions))
            for alike in kinds.values():
                form = self._form(alike[0][0], words) if self._shares_vision and words is not None else None
                if form is None or words is None:
                    for shown, questions in alike:
                        rows += self._rows_of_one(shown, questions, words)
                    continue
                visions = self._see(self._patches([shown for shown, _ in alike]), form)
                self._fed[form.fed] += len(alike)
                for vision, (_, questions) in zip(visions, alike, strict=True):
                    rows += [_Row(q.question_id, form.ids + words.ends[q.question_id], form, vision) for q in questions]
        return rows

    def _form(self, shown: _Shown, words: _Words) -> _Form | None:
        """What all clips of this kind have in common; None where the question is not simply the end of the tokens."""
        if shown.kind not in self._forms:
            inputs = self._process(words.example, shown)
            del inputs["pixel_values_videos"]
            self._forms[shown.kind] = self._split(inputs, words.example_end, shown)
        return self._forms[shown.kind]

    def _rows_of_one(self, shown: _Shown, questions: Sequence[CuratedQuestion], words: _Words | None) -> list[_Row]:
        """One clip's questions, the plainer way: through the whole processor, once if the end of the tokens can be swapped."""
        text = self._chats(questions[:1])[0]
        inputs = self._process(text, shown)
        pixels = inputs.pop("pixel_values_videos") if self._shares_vision else None
        form = None if words is None else self._split(inputs, words.ends[questions[0].question_id], shown)
        if form is not None and words is not None:
            pairs = [(form, words.ends[question.question_id]) for question in questions]
        else:
            again = [self._process(text, shown) for text in self._chats(questions[1:])] if questions[1:] else []
            whole = [self._split(each, [], shown) for each in (inputs, *again)]
            pairs = [(each, []) for each in whole if each is not None]
            for each, _ in pairs:
                if pixels is not None:
                    each.tensors.pop("pixel_values_videos", None)
        self._fed[pairs[0][0].fed] += 1
        vision = None if pixels is None else self._see([pixels], pairs[0][0])[0]
        return [
            _Row(question.question_id, form.ids + end, form, vision)
            for question, (form, end) in zip(questions, pairs, strict=True)
        ]

    def _process(self, text: str, shown: _Shown) -> dict[str, Any]:
        """The processor's output for one question."""
        inputs = self.processor(
            text=[text],
            videos=[shown.frames],
            video_metadata=[shown.metadata],
            do_sample_frames=False,
            return_tensors="pt",
            **self._feed.sizes(len(shown.frames)),
        )
        inputs.pop("video_metadata", None)
        return dict(inputs)

    def _patches(self, alike: Sequence[_Shown]) -> list[torch.Tensor]:
        """Pixels of clips of one kind, sized and cut into patches by the processor's own code, all in one call."""
        inputs = self.processor.video_processor(
            videos=[shown.frames for shown in alike],
            video_metadata=[shown.metadata for shown in alike],
            do_sample_frames=False,
            return_tensors="pt",
            **self._feed.sizes(len(alike[0].frames)),
        )
        pixels: torch.Tensor = inputs["pixel_values_videos"]
        return list(pixels.to(self.model.device).chunk(len(alike)))

    def _split(self, inputs: Mapping[str, Any], end: list[int], shown: _Shown) -> _Form | None:
        """The processor's output without its last tokens, `end`; None where it does not end so."""
        ids: list[int] = inputs["input_ids"][0].tolist()
        kept = len(ids) - len(end)
        if ids[kept:] != end:
            return None
        marks, tensors = {}, {}
        for key, value in inputs.items():
            if isinstance(value, torch.Tensor) and value.shape == (1, len(ids)):
                marks[key] = value[0, :kept].tolist()
            else:
                tensors[key] = value
        del marks["input_ids"]
        return _Form(ids[:kept], marks, tensors, self._size_of(shown, inputs))

    def _size_of(self, shown: _Shown, inputs: Mapping[str, Any]) -> tuple[int, int, int, int]:
        if "video_grid_thw" in inputs:
            patch = self.processor.video_processor.patch_size
            height, width = (int(n) * patch for n in inputs["video_grid_thw"][0, 1:])
        else:
            pixels = inputs["pixel_values_videos"] if "pixel_values_videos" in inputs else inputs["pixel_values"]
            height, width = pixels.shape[-2:]
        video = _ids(getattr(self.model.config, "video_token_id", None)) or self._placeholders
        n_tokens = sum(int((inputs["input_ids"] == token).sum()) for token in video)
        return len(shown.frames), height, width, n_tokens

    def _see(self, patches: Sequence[torch.Tensor], form: _Form) -> list[_Vision]:
        """Let the vision tower see clips of one form, as many at once as memory allows."""
        seen: list[_Vision] = []
        while len(seen) < len(patches):
            some = patches[len(seen) : len(seen) + max(1, self._most_patches // len(patches[0]))]
            try:
                seen += self._see_at_once(some, form)
            except torch.OutOfMemoryError:
                if len(some) == 1:
                    raise self._no_memory() from None
                self._most_patches = len(some) // 2 * len(patches[0])
                self._free()
        return seen

    def _see_at_once(self, patches: Sequence[torch.Tensor], form: _Form) -> list[_Vision]:
        grid = form.tensors["video_grid_thw"]
        if can_decode(self.model):
            t, h, w = grid[0].tolist()
            clips = see(self.model, patches, [(t, h, w)] * len(patches), [0.0] * len(patches))
            return [_Vision(clip.features) for clip in clips]
        pixels, device = torch.cat(list(patches)), self.model.device
        output = self.model.base_model.get_video_features(pixels, grid.to(device).repeat(len(patches), 1), return_dict=True)
        layers = getattr(output, "deepstack_features", None) or []
        return [_Vision(each, tuple(layer[i] for layer in layers)) for i, each in enumerate(output.pooler_output)]

    def _size(self, rows: Sequence[_Row], n_questions: int) -> int:
        """Questions at once; where none are set, what memory allows, evenly spread over as few batches as that makes."""
        if self.batch_size is None:
            if not rows:
                return BATCH
            most = BATCH if self._graphs is None else self._room(max(len(row.ids) for row in rows))
            self.batch_size = math.ceil(n_questions / math.ceil(n_questions / most))
        return self.batch_size

    def _room(self, n_tokens: int) -> int:
        """Questions of so many tokens whose keys and values fill a sixteenth of the memory, which other processes may share."""
        config, device = self.model.config.get_text_config(), self.model.device
        if device.type == "cpu":
            return BATCH
        heads, width = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
        per_token: int = 2 * config.num_hidden_layers * heads * width * self.model.dtype.itemsize
        budget = int(torch.cuda.get_device_properties(device).total_memory) // 16
        return max(8, min(LARGEST_BATCH, budget // (per_token * (n_tokens + self._settings.max_new_tokens))))

    def _answers(self, rows: Sequence[_Row]) -> Iterator[Answer]:
        """Answer all rows, `batch_size` at a time."""
        while rows:
            batch = rows[: self.batch_size]
            with self._clock("generate"):
                replies = self._reply(batch)
            if replies is None:  # out of memory, and freed by now
                if len(batch) == 1:
                    raise self._no_memory()
                self.batch_size = len(batch) // 2
                self._free()
                continue
            for row, ids in zip(batch, replies, strict=True):
                reply, truncated = self._read_out(ids)
                yield Answer(question_id=row.question_id, reply=reply, truncated=truncated)
            rows = rows[len(batch) :]

    def _no_memory(self) -> VtError:
        return VtError(
            f"{self._loaded.ref}: {self.model.device} runs out of memory with a single question; lower --frames or --max-pixels"
        )

    def _free(self) -> None:
        if self._graphs is not None:
            self._graphs.forget()
        torch.cuda.empty_cache()

    def _reply(self, rows: Sequence[_Row]) -> list[list[int]] | None:
        """Tokens of every row's reply; None when the device is out of memory."""
        try:
            return self._generate(rows) if self._graphs is None else self._decode(self._graphs, rows)
        except torch.OutOfMemoryError:
            return None

    def _decode(self, decoder: Decoder, rows: Sequence[_Row]) -> list[list[int]]:
        # The last, smaller batch is filled up: capturing a graph of its size would take longer.
        n_more = self._n_decoded - len(rows) if self._n_decoded == self.batch_size else 0
        self._n_decoded = len(rows) + n_more
        prompts = [*range(len(rows)), *[0] * n_more]
        seeds = [self._seed(rows[i]) for i in prompts] if self._settings.temperature > 0 else None
        replies = decoder.reply(
            [row.ids for row in rows],
            [_seen_clip(row) for row in rows],
            max_new_tokens=self._settings.max_new_tokens,
            rows=prompts,
            choice=Choice(self._settings.temperature, seeds),
        )
        return replies[: len(rows)]

    @torch.inference_mode()
    def _generate(self, rows: Sequence[_Row]) -> list[list[int]]:
        settings = self._settings
        sampling = LogitsProcessorList()
        if settings.temperature > 0:
            sampling.append(_Race(settings.temperature, [self._seed(row) for row in rows]))
        inputs = self._collate(rows)
        ids = self.model.generate(**inputs, do_sample=False, max_new_tokens=settings.max_new_tokens, logits_processor=sampling)
        replies: list[list[int]] = ids[:, inputs["input_ids"].shape[1] :].tolist()
        return replies

    def _seed(self, row: _Row) -> int:
        return reply_seed(self._settings.seed, row.question_id)

    def _read_out(self, ids: list[int]) -> tuple[str, bool]:
        """A reply's text, and whether it was cut at the token limit."""
        end = next((i for i, token in enumerate(ids) if token in self._eos), None)
        return self.processor.tokenizer.decode(ids[:end], skip_special_tokens=True), end is None

    def _collate(self, rows: Sequence[_Row]) -> dict[str, Any]:
        """Rows as one batch: what has a value a token is padded on the left, the rest put one after the other."""
        device, form = self.model.device, rows[0].form
        n_tokens = max(len(row.ids) for row in rows)

        def padded(values: Sequence[int], fill: int) -> list[int]:
            return [fill] * (n_tokens - len(values)) + list(values)

        batch: dict[str, Any] = {"input_ids": torch.tensor([padded(row.ids, self._pad[0]) for row in rows], device=device)}
        for key in form.marks:
            of_end = int(key == "attention_mask")  # any other mark is that of text, 0
            marks = [row.form.marks[key] + [of_end] * (len(row.ids) - len(row.form.ids)) for row in rows]
            batch[key] = torch.tensor([padded(values, 0) for values in marks], device=device)
        for key in form.tensors:
            parts = [row.form.tensors[key] for row in rows]
            whole = isinstance(parts[0], torch.Tensor)
            batch[key] = torch.cat(parts).to(device) if whole else [x for part in parts for x in part]
        visions = [row.vision for row in rows if row.vision is not None]
        if visions:
            output = BaseModelOutputWithPooling(pooler_output=tuple(vision.features for vision in visions))
            if visions[0].deepstack:
                output.deepstack_features = list(zip(*(vision.deepstack for vision in visions), strict=True))
            batch["mm_encoder_outputs"] = {"video": output}
        return batch


def reply_seed(seed: int, question_id: str) -> int:
    """The seed, 0 to 2**63 - 1, of all draws for one question: a hash, so a reply depends neither on batch nor on engine."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{question_id}".encode()).digest()[:8]) >> 1


def _seen_clip(row: _Row) -> SeenClip:
    assert row.vision is not None  # the decoder is used only where vision is shared
    t, h, w = row.form.tensors["video_grid_thw"][0].tolist()
    return SeenClip(row.vision.features, (t, h, w), float(row.form.tensors["second_per_grid_ts"][0]))


def _ids(value: int | Sequence[int] | None) -> list[int]:
    """Token ids as configurations give them: one, several or none."""
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)


class _Race(LogitsProcessor):  # type: ignore[misc]
    """Turns the greedy choice into a sample at a temperature, by the noise that `models.decoder.Decoder` draws on.

    The least of exponential times with rates softmax(logits / temperature) is each token's with its probability.
    """

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        self._temperature, self._words, self._step = temperature, seed_words(seeds), 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, V) logits -> (B, V) scores whose largest is a sample."""
        self._words = self._words.to(scores.device)
        step = torch.tensor([self._step], device=scores.device)
        self._step += 1
        return scores.float() / self._temperature - hashed_noise(self._words, step, scores.shape[1]).log()


class _Feed:
    """Which frames a checkpoint is fed and how large they are."""

    def __init__(self, video_processor: Any, model_type: str, settings: Settings) -> None:
        self._processor = video_processor
        self._own = bool(
            video_processor.do_sample_frames and (video_processor.num_frames or getattr(video_processor, "fps", None))
        )
        self._n_frames = settings.n_frames or (None if self._own else N_FRAMES)
        by_pixels = "longest_edge" in dict(video_processor.size or {})
        if settings.max_pixels and not by_pixels:
            raise VtError(
                f"--max-pixels {settings.max_pixels}: {type(video_processor).__name__} sizes frames to "
                f"{dict(video_processor.size or {})} whatever they were; leave it out"
            )
        self._cap = settings.max_pixels or (None if self._own or not by_pixels else MAX_PIXELS)
        self._per_video = model_type in _PIXELS_PER_VIDEO
        self.max_pixels = self._cap or (None if self._per_video or not by_pixels else int(video_processor.size["longest_edge"]))
        """Most pixels that the processor keeps of a frame, as far as known: larger frames need not be held at full size."""
        n_frames = self._n_frames or video_processor.num_frames or N_FRAMES
        self.n_bytes = n_frames * 3 * 4 * (self.max_pixels or MAX_PIXELS)
        """What a clip's frames may take in memory, where they are shrunk; roughly, where the processor decides by itself."""
        self._indices: dict[tuple[float, int], Sequence[int]] = {}

    def indices(self, fps: float, n_total: int) -> Sequence[int]:
        """The frames of a clip of `n_total` frames: the processor's own choice, at the number that is set."""
        if (fps, n_total) not in self._indices:
            self._indices[fps, n_total] = self._choose(fps, n_total)
        return self._indices[fps, n_total]

    def _choose(self, fps: float, n_total: int) -> Sequence[int]:
        from transformers.video_utils import VideoMetadata

        n_frames: int | None = self._n_frames or self._processor.num_frames
        if n_frames is not None and n_frames >= n_total:
            return range(n_total)
        if n_frames is not None and n_frames % getattr(self._processor, "temporal_patch_size", 1):
            return clip_indices(n_total, n_frames)  # Qwen's processors would round to whole pairs of frames
        metadata = VideoMetadata(total_num_frames=n_total, fps=fps, duration=n_total / fps)
        chosen = [int(i) for i in self._processor.sample_frames(metadata, num_frames=n_frames)]
        return sorted(set(chosen))[:n_frames]  # transformers' arange in float32 can give one too many

    def sizes(self, n_frames: int) -> dict[str, Any]:
        """What the processor is told about frame sizes."""
        if self._cap is None:
            return {}
        longest = self._cap * (n_frames if self._per_video else 1)
        shortest = min(int(self._processor.size["shortest_edge"]), longest)
        return {"size": {"shortest_edge": shortest, "longest_edge": longest}, "cap_pixels_per_frame": False}

    def describe(self) -> dict[str, Any]:
        """Whose choice the frames were: None is the checkpoint's own."""
        return {"processor": type(self._processor).__name__, "n_frames": self._n_frames, "max_pixels": self._cap}


def _load(ref: str, settings: Settings, trust_remote_code: bool) -> Loaded:
    if not Path(ref).is_dir() and not re.fullmatch(r"[\w.-]+/[\w.-]+", ref):  # else the hub is asked for a misspelt folder
        raise VtError(f"{ref}: is neither a folder nor a hub id such as Qwen/Qwen2.5-VL-3B-Instruct")
    base, adapter = _base(ref)
    common = {"trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(base, **common)
    except (OSError, ValueError) as error:
        raise VtError(f"{ref}: is no checkpoint that transformers can load: {_first_line(error)}") from error
    if config.model_type == "qwen2_5_vl" and _version(transformers_version) < (5, 18):
        raise VtError(
            f"{ref}: transformers {transformers_version} gives all frames of Qwen2.5-VL the same time; "
            f"install transformers 5.18 or later"
        )
    cuda = torch.cuda.is_available()
    dtype = settings.dtype if settings.dtype != "auto" else "bfloat16" if cuda else "float32"
    half = dtype in ("bfloat16", "float16")
    attention = settings.attention
    if attention == "auto":
        attention = "flash_attention_2" if cuda and half and is_flash_attn_2_available() else "sdpa"
    try:
        processor = AutoProcessor.from_pretrained(base, **common)
        model = AutoModelForImageTextToText.from_pretrained(
            base, dtype=getattr(torch, dtype), attn_implementation=attention, use_safetensors=True, **common
        )
    except (OSError, ValueError, ImportError) as error:
        raise VtError(f"{ref}: cannot be loaded as a video-language model: {_first_line(error)}") from error
    if getattr(processor, "video_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise VtError(f"{ref}: its {type(processor).__name__} takes no video; expected a video-language model")
    if adapter:
        model = _merge(model, ref)
    if can_decode(model):
        quicken_vision(model)
    else:
        batch_windows(model)
    sharpen(model)
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
    try:
        model = model.to(device)
    except torch.OutOfMemoryError as error:
        raise VtError(
            f"{ref}: does not fit into the memory of {device}; serve it on several GPUs and use --endpoint"
        ) from error
    return Loaded(model.eval(), processor, ref, adapter)


def _base(ref: str) -> tuple[str, bool]:
    """What to load first: the checkpoint itself, or the base that a LoRA adapter names."""
    from transformers.utils.peft_utils import find_adapter_config_file

    if Path(ref).is_dir():
        found = Path(ref) / ADAPTER if (Path(ref) / ADAPTER).is_file() else None
    else:
        try:
            hub = find_adapter_config_file(ref)
        except (OSError, ValueError) as error:
            raise VtError(f"{ref}: is neither a folder here nor a checkpoint on the hub: {_first_line(error)}") from error
        found = None if hub is None else Path(hub)
    if found is None:
        return ref, False
    base = msgspec.json.decode(found.read_bytes()).get("base_model_name_or_path")
    if not base:
        raise VtError(f"{ref}: {ADAPTER} does not say which checkpoint it adapts (base_model_name_or_path)")
    return base, True


def _merge(model: Any, ref: str) -> Any:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise missing_extra("peft", "train", f"the LoRA adapter {ref}") from error
    return PeftModel.from_pretrained(model, ref).merge_and_unload()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int("".join(digits)) for is_digit, digits in groupby(text, str.isdigit) if is_digit)[:2]


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
