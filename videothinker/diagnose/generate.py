"""Ask a checkpoint that transformers loads: clips in, replies out.

Each clip is decoded, sized and seen by the vision tower once, for all of its questions; the questions are answered in batches,
whichever clip they are about. A clip that cannot be read costs its own questions and nothing else. What was really fed (frames,
their size, video tokens) is counted as it happens, for `describe`.
"""

import hashlib
import inspect
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
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
from videothinker.clips import ClipCache, ClipReader
from videothinker.curated import Curated
from videothinker.diagnose.answerer import Answer
from videothinker.diagnose.settings import Settings
from videothinker.errors import VtError, missing_extra
from videothinker.frames import Backend, Clip, ClipError, clip_indices
from videothinker.records import CuratedQuestion
from videothinker.vision import batch_windows

N_FRAMES, MAX_PIXELS = 32, 256 * 28 * 28
"""What a checkpoint is fed whose processor does not sample frames by itself (paper, evaluation set-up)."""

ADAPTER = "adapter_config.json"

_CLIPS_AT_ONCE = 8
"""Clips that the vision tower sees in one call: launching its kernels takes longer than running them for one clip."""

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


class _Vision(NamedTuple):
    """What the vision tower makes of one clip."""

    features: torch.Tensor
    """(video tokens, hidden)"""
    deepstack: tuple[torch.Tensor, ...]
    """Qwen3-VL: the same for each of some layers; else ()."""


class _Scene(msgspec.Struct):
    """One clip, ready for the model."""

    tensors: dict[str, Any]
    """The processor's output that does not depend on the question, for one row."""
    vision: _Vision | None = None
    """Once seen, where the architecture takes that in place of pixels, which `tensors` then has no longer."""


class _Row(NamedTuple):
    """One question, ready for the model."""

    question_id: str
    scene: _Scene
    tokens: dict[str, torch.Tensor]
    """input_ids, attention_mask and whatever else has one value a token, each (n_tokens,)."""


class Checkpoint:
    """An `Answerer`: a loaded model and the clips it is to see. Answers come batch by batch.

    batch_size starts as the settings' and halves whenever the device runs out of memory.
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
        """Where the time went: waiting for "clips", "prepare" (the processor), "generate" (vision tower and replies)."""
        self._loaded, self._curated, self._settings = loaded, curated, settings
        self._feed = _Feed(self.processor.video_processor, self.model.config.model_type, settings)
        self._cache, self._clip_time_limit_s = cache, clip_time_limit_s
        self._decoder: str | None = None
        self._fed: Counter[tuple[int, int, int, int]] = Counter()  # (frames, height, width, video tokens): clips
        self._eos = _ids(self.model.generation_config.eos_token_id) or _ids(self.processor.tokenizer.eos_token_id)
        self._pad = _ids(self.processor.tokenizer.pad_token_id) or self._eos[:1]
        config = self.model.config
        self._placeholders = [i for name in ("image_token_id", "video_token_id") for i in _ids(getattr(config, name, None))]
        takes_vision = "mm_encoder_outputs" in inspect.signature(self.model.forward).parameters
        self._shares_vision = takes_vision and config.model_type in _TESTED
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
        rows: list[_Row] = []
        with ClipReader(
            sample=self._feed.indices,
            backend=cast(Backend, self._settings.decoder),
            max_pixels=self._feed.max_pixels,
            cache=self._cache,
            ahead=max(8, self.batch_size // 2),  # the next batch's clips, at two questions a clip
            time_limit_s=self._clip_time_limit_s,
        ) as reader:
            self._decoder = reader.decoding.backend
            clips = reader.read(by_clip)
            while (item := self._next(clips)) is not None:
                path, clip = item
                if isinstance(clip, ClipError):
                    yield from (Answer(question_id=q.question_id, reply=None, error=str(clip)) for q in by_clip[path])
                    continue
                rows += self._rows(clip, by_clip[path])
                while len(rows) >= self.batch_size:
                    batch, rows = rows[: self.batch_size], rows[self.batch_size :]
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
        }

    @contextmanager
    def _clock(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - start

    def _next(self, clips: Iterator[tuple[Path, Clip | ClipError]]) -> tuple[Path, Clip | ClipError] | None:
        with self._clock("clips"):
            return next(clips, None)

    def _rows(self, clip: Clip, questions: Sequence[CuratedQuestion]) -> list[_Row]:
        """The clip's questions as the model takes them; the clip itself is processed once."""
        with self._clock("prepare"), torch.inference_mode():
            return self._prepare(clip, questions)

    def _prepare(self, clip: Clip, questions: Sequence[CuratedQuestion]) -> list[_Row]:
        texts = [self._chat(question) for question in questions]
        first = self._process(texts[0], clip)
        n_tokens = first["input_ids"].shape[1]
        tokens = {key: value[0] for key, value in first.items() if _per_token(value, n_tokens)}
        scene = _Scene({key: value for key, value in first.items() if key not in tokens})
        self._count(clip, first)
        rows = [_Row(questions[0].question_id, scene, tokens)]
        for question, text in zip(questions[1:], texts[1:], strict=True):
            swapped = self._swap(tokens, texts[0], text)
            if swapped is None:
                again = self._process(text, clip)
                swapped = {key: again[key][0] for key in tokens}
            rows.append(_Row(question.question_id, scene, swapped))
        return rows

    def _chat(self, question: CuratedQuestion) -> str:
        prompt = mcq.render_prompt(question.problem, question.options, self._settings.prompt)
        content = [{"type": "video"}, {"type": "text", "text": prompt}]
        text: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return text

    def _process(self, text: str, clip: Clip) -> dict[str, Any]:
        """The processor's output for one question, on the model's device."""
        inputs = self.processor(
            text=[text],
            videos=[torch.from_numpy(clip.frames).permute(0, 3, 1, 2).to(self.model.device)],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            return_tensors="pt",
            **self._feed.sizes(len(clip.indices)),
        )
        inputs.pop("video_metadata", None)
        return dict(inputs.to(self.model.device))

    def _swap(self, tokens: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor] | None:
        """The tokens with the text after the clip exchanged; None where that is not simply the end of the tokens."""
        video_token = getattr(self.processor, "video_token", None)
        if not video_token or video_token not in old:
            return None
        (before, _, old_end), (new_before, _, new_end) = old.rpartition(video_token), new.rpartition(video_token)
        n_old, ids = len(self._tokenize(old_end)), self._tokenize(new_end)
        kept = tokens["input_ids"].shape[0] - n_old
        if before != new_before or tokens["input_ids"][kept:].tolist() != self._tokenize(old_end):
            return None
        end = torch.tensor(ids, device=self.model.device)
        fresh = {"input_ids": end, "attention_mask": torch.ones_like(end)}  # any other mark is that of text, 0
        return {key: torch.cat([value[:kept], fresh.get(key, torch.zeros_like(end))]) for key, value in tokens.items()}

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _see(self, scenes: Sequence[_Scene]) -> None:
        """Let the vision tower see the clips that it has not seen yet, several at once."""
        fresh = [scene for scene in {id(scene): scene for scene in scenes}.values() if scene.vision is None]
        for start in range(0, len(fresh), _CLIPS_AT_ONCE):
            some = fresh[start : start + _CLIPS_AT_ONCE]
            seen = self.model.base_model.get_video_features(
                torch.cat([scene.tensors["pixel_values_videos"] for scene in some]),
                torch.cat([scene.tensors["video_grid_thw"] for scene in some]),
                return_dict=True,
            )
            layers = getattr(seen, "deepstack_features", None) or []
            for i, scene in enumerate(some):
                scene.vision = _Vision(seen.pooler_output[i].clone(), tuple(layer[i].clone() for layer in layers))
                del scene.tensors["pixel_values_videos"]

    def _count(self, clip: Clip, inputs: dict[str, Any]) -> None:
        if "video_grid_thw" in inputs:
            patch = self.processor.video_processor.patch_size
            height, width = (int(n) * patch for n in inputs["video_grid_thw"][0, 1:])
        else:
            pixels = inputs["pixel_values_videos"] if "pixel_values_videos" in inputs else inputs["pixel_values"]
            height, width = pixels.shape[-2:]
        video = _ids(getattr(self.model.config, "video_token_id", None)) or self._placeholders
        n_tokens = sum(int((inputs["input_ids"] == token).sum()) for token in video)
        self._fed[len(clip.indices), height, width, n_tokens] += 1

    def _answers(self, rows: Sequence[_Row]) -> Iterator[Answer]:
        """Answer all rows, `batch_size` at a time."""
        while rows:
            batch = rows[: self.batch_size]
            with self._clock("generate"):
                replies = self._generate(batch)
            if replies is None:  # out of memory, and freed by now
                if len(batch) == 1:
                    raise VtError(
                        f"{self._loaded.ref}: {self.model.device} runs out of memory with a single question; "
                        f"lower --frames or --max-pixels"
                    )
                self.batch_size = len(batch) // 2
                torch.cuda.empty_cache()
                continue
            for row, (reply, truncated) in zip(batch, replies, strict=True):
                yield Answer(question_id=row.question_id, reply=reply, truncated=truncated)
            rows = rows[len(batch) :]

    @torch.inference_mode()
    def _generate(self, rows: Sequence[_Row]) -> list[tuple[str, bool]] | None:
        """(reply, cut at the token limit) of every row; None when the device is out of memory."""
        settings = self._settings
        sampling = LogitsProcessorList()
        if settings.temperature > 0:
            sampling.append(_Gumbel(settings.temperature, settings.seed, [row.question_id for row in rows]))
        try:
            if self._shares_vision:
                self._see([row.scene for row in rows])
            inputs = self._collate(rows)
            ids = self.model.generate(
                **inputs, do_sample=False, max_new_tokens=settings.max_new_tokens, logits_processor=sampling
            )
        except torch.OutOfMemoryError:
            return None
        new = ids[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._read_out(reply) for reply in new]

    def _read_out(self, ids: list[int]) -> tuple[str, bool]:
        end = next((i for i, token in enumerate(ids) if token in self._eos), None)
        return self.processor.tokenizer.decode(ids[:end], skip_special_tokens=True), end is None

    def _collate(self, rows: Sequence[_Row]) -> dict[str, Any]:
        """Rows as one batch: what has a value a token is padded on the left, the rest put one after the other."""
        n_tokens = max(len(row.tokens["input_ids"]) for row in rows)
        batch: dict[str, Any] = {}
        for key in rows[0].tokens:
            fill = self._pad[0] if key == "input_ids" else 0
            values = [row.tokens[key] for row in rows]
            batch[key] = torch.stack([torch.nn.functional.pad(v, (n_tokens - len(v), 0), value=fill) for v in values])
        for key in rows[0].scene.tensors:
            parts = [row.scene.tensors[key] for row in rows]
            batch[key] = torch.cat(parts) if isinstance(parts[0], torch.Tensor) else [x for part in parts for x in part]
        if self._shares_vision:
            visions = [cast(_Vision, row.scene.vision) for row in rows]
            output = BaseModelOutputWithPooling(pooler_output=tuple(vision.features for vision in visions))
            if visions[0].deepstack:
                output.deepstack_features = list(zip(*(vision.deepstack for vision in visions), strict=True))
            batch["mm_encoder_outputs"] = {"video": output}
        return batch


def _per_token(value: Any, n_tokens: int) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == (1, n_tokens)


def _ids(value: int | Sequence[int] | None) -> list[int]:
    """Token ids as configurations give them: one, several or none."""
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)


class _Gumbel(LogitsProcessor):  # type: ignore[misc]
    """Turns the greedy choice into a sample at a temperature (the Gumbel-max trick).

    Every row draws from a generator of its own, seeded by question: its noise does not depend on the batch it is in.
    """

    def __init__(self, temperature: float, seed: int, question_ids: Sequence[str]) -> None:
        digests = [hashlib.sha256(f"{seed}:{question_id}".encode()).digest() for question_id in question_ids]
        self._temperature = temperature
        self._seeds = [int.from_bytes(digest[:8]) >> 1 for digest in digests]
        self._generators: list[torch.Generator] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, V) logits -> (B, V) logits whose largest is a sample."""
        if not self._generators:
            self._generators = [torch.Generator(scores.device).manual_seed(seed) for seed in self._seeds]
        noise = torch.stack(
            [torch.empty(scores.shape[1], device=scores.device).exponential_(generator=g) for g in self._generators]
        )
        return scores.float() / self._temperature - noise.log()


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

    def indices(self, fps: float, n_total: int) -> Sequence[int]:
        """The frames of a clip of `n_total` frames: the processor's own choice, at the number that is set."""
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
    batch_windows(model)
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
