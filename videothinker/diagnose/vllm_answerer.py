"""Ask a checkpoint in vLLM: clips in, replies out, with the frames, sizes, words and settings of the other engines.

vLLM has its own vision tower, so it is fed frames where other engines are fed features. It is told which frames of the clip
they are and when they were shown, and not to choose among them again; the length of each prompt is held against what our own
processor makes of the same frames, and a difference ends the run.
"""

import os
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from videothinker import store
from videothinker.clips import ClipCache, ClipReader, Tally, default_cache
from videothinker.curated import Curated
from videothinker.diagnose import vllm_stages
from videothinker.diagnose.answerer import RawReply, by_clip, check_clips, read_image, showings, unread
from videothinker.diagnose.fed import PROMPT_TOKENS, told_of_stills
from videothinker.diagnose.frame_choice import image_size
from videothinker.diagnose.prompt_length import Kind, PromptLengths, Still
from videothinker.diagnose.prompts import put_by, texts_of
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.stopping import Gate
from videothinker.diagnose.vllm_child import Writer, open_writer
from videothinker.diagnose.vllm_chunks import N_AT_ONCE, Asked, Chunk, one_ahead
from videothinker.diagnose.vllm_worker import Job, Written
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import Backend, Clip, ClipError
from videothinker.models.text_positions import AFFECTED, TextPositions, is_affected, known_rule
from videothinker.records import Question
from videothinker.records.question import Kind as Shows


class Served(NamedTuple):
    """A checkpoint in vLLM, and what is known of it here."""

    ref: str
    writer: Writer
    config: Any
    processor: Any
    adapter: bool
    """True for a LoRA folder, which was merged into its base and written down for vLLM to load."""

    @property
    def text_positions(self) -> TextPositions | None:
        """vLLM's rule; None for an architecture of which all rules make the same."""
        return TextPositions.ORIGINAL if self.config.model_type in AFFECTED else None


def check(ref: str, settings: DiagnosisSettings) -> None:
    """Check what can be known before anything is loaded.

    Raises:
        VtError: the checkpoint is to be asked under a rule of text positions that vLLM does not have, with an attention
            implementation of transformers, or by several processes.
    """
    if settings.attention != "auto":
        raise VtError(f"--attention {settings.attention}: names one of transformers', and vLLM chooses its own; leave it out")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise VtError("--engine vllm: is one process; leave out torchrun, and share the work among machines with --shard")
    rule = settings.text_positions or known_rule(ref, settings.revision)
    if rule is TextPositions.TRANSFORMERS and is_affected(ref):
        raise VtError(
            f"{ref}: is asked under text positions '{rule}', and vLLM has '{TextPositions.ORIGINAL}'; choose another --engine, "
            f"or ask it otherwise than it was trained with --text-positions {TextPositions.ORIGINAL}"
        )


def open_served(ref: str, settings: DiagnosisSettings, *, trust_remote_code: bool = False) -> Served:
    """Load a folder's or hub id's checkpoint into vLLM; a LoRA folder is merged into its base first.

    Raises:
        VtError: it cannot be loaded, vLLM is not there or cannot serve it, or has no such rule of text positions.
    """
    from videothinker.models.checkpoint import download, is_adapter
    from videothinker.models.read import read_config, read_eos, read_processor
    from videothinker.models.ref import local_folder

    check(ref, settings)
    where = local_folder(ref) or (ref if trust_remote_code else download(ref, settings.revision))
    adapter = isinstance(where, Path) and is_adapter(ref, where)
    if adapter:
        where = _merged(ref)
    revision = None if isinstance(where, Path) else settings.revision
    config = read_config(ref, where, trust_remote_code=trust_remote_code, revision=revision)
    processor = read_processor(ref, where, trust_remote_code=trust_remote_code, revision=revision)
    check(ref, settings)  # once more: of what is downloaded now, the rule is known
    placeholders = (getattr(config, f"{kind}_token_id", None) for kind in ("image", "video"))
    options = {
        "model": str(where),
        "revision": revision,
        "trust_remote_code": trust_remote_code,
        "dtype": settings.dtype,
        "eos": read_eos(where, config, processor.tokenizer),
        "placeholders": [token for token in placeholders if token is not None],
    }
    return Served(ref, open_writer(ref, options), config, processor, adapter)


_MERGES = 2
"""Counted up when adapters are merged otherwise, so that what an earlier version has kept is not served."""


def _merged(ref: str) -> Path:
    """The folder of an adapter's base with the adapter merged into it, which is kept beside the cache of clips."""
    import torch

    from videothinker.fingerprint import fingerprint
    from videothinker.models.checkpoint import find_checkpoint, load_full, load_processor

    checkpoint = find_checkpoint(ref)
    weights = [fingerprint(folder) for folder in (checkpoint.folder, checkpoint.full)]
    folder = default_cache().folder.parent / "merged" / store.sha256_json([_MERGES, *weights])[:16]
    if folder.is_dir():
        return folder

    def fill(into: Path) -> None:
        load_full(checkpoint, torch.float32, "sdpa").save_pretrained(into)
        load_processor(checkpoint).save_pretrained(into)

    folder.parent.mkdir(parents=True, exist_ok=True)
    store.write_folder(folder, fill)
    return folder


def job(question_id: str, text: str, clip: Clip, sizes: dict[str, Any], settings: DiagnosisSettings) -> Job:
    """One question about a clip as vLLM is given it. text: the whole prompt. sizes: the processor's arguments on the size of
    frames."""
    return _job(question_id, text, settings, **_of_clip(clip), processor=sizes)


def _of_clip(clip: Clip) -> dict[str, Any]:
    told = clip.metadata()
    metadata = {key: told[key] for key in ("fps", "duration", "total_num_frames", "frames_indices")}
    return {"frames": clip.frames, "metadata": metadata}


def _job(question_id: str, text: str, settings: DiagnosisSettings, **shown: Any) -> Job:
    """One question. shown: what of the job says what it shows."""
    from videothinker.diagnose.engines.base import reply_seed

    return {
        "prompt": text,
        **shown,
        "seed": reply_seed(settings.seed, question_id),
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_new_tokens": settings.max_new_tokens,
    }


class VllmAnswerer:
    """An `Answerer`: a checkpoint in vLLM, and the clips it is to see.

    Raises on construction:
        VtError: the data has no clips.
    """

    def __init__(
        self, served: Served, *, curated: Curated, settings: DiagnosisSettings, cache: ClipCache | None = None
    ) -> None:
        check_clips(curated, served.ref)
        self.served = served
        self._curated, self._settings, self._cache = curated, settings, cache
        self._tally, self._decoder = Tally(), ""
        self._fed: Counter[tuple[int, int, int, int | None]] = Counter()  # (frames, height, width, video tokens): clips
        self._images: Counter[tuple[int, int, int | None]] = Counter()  # (height, width, tokens): images
        self._n_texts = self._n_prompt_tokens = self._n_compared = 0
        self._seconds = dict.fromkeys(("clips", "generate"), 0.0)

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """One answer per question; those about one clip come together, in the order in which clips first appear.

        Raises:
            VtError: a prompt is not as long as it was meant, or vLLM ended.
        """
        texts = texts_of(self.served.processor, questions, put_by(self._settings))
        lengths = PromptLengths(
            self.served.processor, self.served.config.model_type, questions, self._settings, texts=texts, sized=True
        )
        most = self._settings.batch_size or N_AT_ONCE
        with closing(one_ahead(self._found(questions, texts, lengths), len(questions), most)) as chunks:
            while True:
                with self._clock("clips"):
                    chunk = next(chunks, None)
                if chunk is None:
                    break
                yield from (one for one in chunk if isinstance(one, RawReply))
                yield from self._answers([one for one in chunk if isinstance(one, Asked)], lengths)

    def _found(self, questions: Sequence[Question], texts: Mapping[str, str], lengths: PromptLengths) -> Generator[Chunk]:
        """Questions that show the same, and the replies that say of what cannot be read why there are none.

        Runs in a thread beside vLLM; what was fed is counted when it is asked.
        """
        of = {kind: [question for question in questions if question.kind is kind] for kind in Shows}
        yield from self._about_clips(by_clip(self._curated, of[Shows.CLIP]), texts, lengths)
        yield from self._about_images(by_clip(self._curated, of[Shows.IMAGE]), texts, lengths)
        for each in of[Shows.TEXT]:
            yield self._alike(Still(), [each], texts, lengths)

    def _about_clips(
        self, asked: Mapping[Footage, list[Question]], texts: Mapping[str, str], lengths: PromptLengths
    ) -> Iterator[Chunk]:
        if not asked:
            return
        with ClipReader(
            sample=lengths.frames.indices,
            backend=cast(Backend, self._settings.decoder),
            max_pixels=lengths.frames.max_pixels,
            cache=self._cache,
            tally=self._tally,
        ) as reader:
            self._decoder = reader.decoding.backend
            for footage, clip in reader.read(asked):
                if isinstance(clip, ClipError):
                    yield list(unread(asked[footage], clip))
                    continue
                for shown, about in showings(clip, asked[footage], self._settings, self._curated):
                    sizes = lengths.frames.sizes(len(shown.frames))
                    kind = _kind(shown, self.served.config.model_type)
                    yield self._alike(kind, about, texts, lengths, **_of_clip(shown), processor=sizes)

    def _about_images(
        self, asked: Mapping[Footage, list[Question]], texts: Mapping[str, str], lengths: PromptLengths
    ) -> Iterator[Chunk]:
        size = image_size(self.served.processor) if asked else {}
        for footage, about in asked.items():
            try:
                pixels = read_image(footage, self._settings)
            except ClipError as error:
                yield list(unread(about, error))
                continue
            height, width, _ = pixels.shape
            yield self._alike(Still(height, width, is_sized=True), about, texts, lengths, image=pixels, processor=size)

    def _alike(
        self, kind: Kind | Still, about: Sequence[Question], texts: Mapping[str, str], lengths: PromptLengths, **shown: Any
    ) -> Chunk:
        """Questions that show the same. shown: what of their jobs says what that is."""
        fed = lengths.fed(kind)
        return [
            Asked(each, kind, _job(each.question_id, texts[each.question_id], self._settings, **shown), None if i else fed)
            for i, each in enumerate(about)
        ]

    def describe(self) -> dict[str, Any]:
        """What was fed and by what means, with the names of `CheckpointAnswerer.describe`.

        `seconds`: in "clips" vLLM had nothing to write and waited for the clips of a chunk, the first one's at least, and in
        "generate" it wrote. Clips that were read while it wrote take no time of their own.
        """
        served = self.served
        told = served.writer.describe()
        fed = sorted(self._fed.items(), key=lambda item: (*item[0][:3], item[0][3] or 0))
        return {
            "engine": "vllm",
            "versions": told["versions"],
            "architecture": (served.config.architectures or [type(served.config).__name__])[0],
            "adapter": served.adapter,
            "device": told["device"],
            "dtype": told["dtype"],
            "text_positions": served.text_positions,
            "decoder": self._decoder,
            "clips": self._tally.told(),
            "fed": [
                {"n_clips": n, "frames": frames, "height": height, "width": width, "video_tokens": tokens}
                for (frames, height, width, tokens), n in fed
            ],
            **told_of_stills(self._images, self._n_texts),
            "batch_size": self._settings.batch_size or N_AT_ONCE,
            PROMPT_TOKENS: self._n_prompt_tokens,
            "prompt_length": {"compared": self._n_compared, "differ": 0},
            "seconds": {phase: round(seconds, 2) for phase, seconds in self._seconds.items()},
        }

    @contextmanager
    def _clock(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[what] += time.perf_counter() - start

    def _answers(self, asked: Sequence[Asked], lengths: PromptLengths) -> Iterator[RawReply]:
        from videothinker.diagnose.engines.base import gate_of

        if not asked:
            return
        self._count(asked)
        gate = gate_of(self.served.processor, self._settings)
        with self._clock("generate"):
            written = vllm_stages.write(self.served.writer, [each.job for each in asked], gate)
        for (question, kind, *_), each in zip(asked, written, strict=True):
            self._check_length(question, kind, each["n_prompt"], lengths.of(kind, question.question_id))
            self._n_prompt_tokens += each["n_prompt"]
            yield self._read_out(question, each, gate)

    def _count(self, asked: Sequence[Asked]) -> None:
        for question, _, _, fed in asked:
            if question.kind is Shows.TEXT:
                self._n_texts += 1
            elif fed is not None and question.kind is Shows.IMAGE:
                self._images[fed[1:]] += 1
            elif fed is not None:
                self._fed[fed] += 1

    def _check_length(self, question: Question, kind: Kind | Still, n_counted: int, n_meant: int | None) -> None:
        if n_meant is not None and n_meant != n_counted:
            raise VtError(
                f"{self.served.ref}: vLLM made {n_counted:,} tokens of the prompt of question {question.question_id}, and "
                f"{n_meant:,} were meant ({kind}), so it was not shown the frames that were chosen; choose another --engine"
            )
        self._n_compared += n_meant is not None

    def _read_out(self, question: Question, written: Written, gate: Gate) -> RawReply:
        from videothinker.diagnose.engines.base import read_out
        from videothinker.diagnose.reply import Reply

        reply = gate.cut(Reply(written["tokens"], written["logprobs"], written["cut"]))
        return read_out(question.question_id, reply, gate, self._settings)


def _kind(clip: Clip, model_type: str) -> Kind:
    """What a prompt's length depends on: sizes, and for architectures that write times into it, those too."""
    n, height, width, _ = clip.frames.shape
    if model_type in AFFECTED:
        return Kind(n, height, width, 1.0, n, tuple(range(n)))
    return Kind(n, height, width, clip.fps, clip.n_total, clip.indices)
