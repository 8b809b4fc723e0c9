"""Ask a checkpoint on this machine: clips in, replies out.

Each clip is decoded, sized and seen by the vision tower once for all of its questions, many clips at a time; the questions are
answered in batches of several clips, those about one clip in the same batch, where engines let what they share of their prompts
pass once. A clip that cannot be read costs its own questions and nothing else.

`frame_choice` says which frames are fed, `prompts` writes the questions, `feed` turns both into rows, and one of the `engines`
writes the replies. Greedy replies of all engines are the same up to the rounding of logits, and sampled ones draw on the same
noise.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

import torch

from videothinker.clips import ClipCache, ClipReader, Tally
from videothinker.curated import Curated
from videothinker.diagnose.answerer import RawReply, RawScores, by_clip, check_clips, showings
from videothinker.diagnose.engines.base import BATCH, Begun, Engine, Row, gate_of, open_engine, read_out
from videothinker.diagnose.engines.packed import Ends
from videothinker.diagnose.fed import PROMPT_TOKENS
from videothinker.diagnose.feed import ClipQuestions, QuestionFeed, no_memory
from videothinker.diagnose.prompts import put_by, write_prompts
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.stills import StillFeed
from videothinker.footage import Footage
from videothinker.frames import Backend, Clip, ClipError
from videothinker.records import Question
from videothinker.records.question import Kind

T = TypeVar("T")

_CLIPS_AT_ONCE = 64
"""Clips that are sized and seen together: launching kernels takes longer than running them for one clip."""
_FRAME_BYTES = 2**29
"""Most bytes that the frames of clips sized together may take, if they are more than one. So many are read ahead twice over."""
_AHEAD_BYTES = 2**32
"""Bytes of frames up to which eight clips are read ahead, so that decoding processes have work where few are sized together."""
_Read = tuple[Footage, list[ClipQuestions] | ClipError]
"""A clip as it is shown to the questions about it, or why it could not be read."""


def open_checkpoint(
    ref: str,
    *,
    curated: Curated,
    settings: DiagnosisSettings,
    cache: ClipCache | None = None,
    trust_remote_code: bool = False,
) -> "CheckpointAnswerer":
    """Load the checkpoint in a local folder or of a hub id onto this process's GPU, if it has one; a LoRA folder with its base.

    Only safetensors are loaded. `trust_remote_code` runs Python that comes with the checkpoint.

    Raises:
        VtError: there is no such checkpoint, it is not a video-language model, or the data has no clips.
    """
    check_clips(curated, ref)
    engine = open_engine(ref, settings, trust_remote_code=trust_remote_code)
    return CheckpointAnswerer(engine, curated=curated, settings=settings, cache=cache)


class CheckpointAnswerer:
    """An `Answerer`: an engine with its checkpoint, and the clips it is to see. Answers come batch by batch.

    batch_size starts as the settings', or what memory allows once a clip was seen, and halves whenever memory runs out.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        curated: Curated,
        settings: DiagnosisSettings,
        cache: ClipCache | None = None,
    ) -> None:
        self.engine, self.loaded = engine, engine.loaded
        self.feed = QuestionFeed(engine.loaded, settings, free=engine.free)
        self.stills = StillFeed(engine.loaded, settings, curated)
        self.batch_size = settings.batch_size
        self.seconds: dict[str, float] = dict.fromkeys(("clips", "prepare", "generate"), 0.0)
        """Where the time went: waiting for "clips", "prepare" (words, sizing, vision tower), "generate"."""
        self._curated, self._settings = curated, settings
        self._gate = gate_of(engine.loaded.processor, settings)
        self._cache = cache
        self._most: int | None = None  # questions per batch that may not be exceeded, once known
        self._n_prompt_tokens = 0
        self._begun: list[Begun] = []  # fewer than a batch, between two batches
        self._tally = Tally()
        self._clip_backend: str | None = None  # what really reads clips, once known

    def about(self, curated: Curated, settings: DiagnosisSettings) -> "CheckpointAnswerer":
        """The same checkpoint, as it is loaded, for another data set; what was fed is counted anew.

        settings: may differ from the first ones, but for `openers.OF_LOADING`.

        Raises:
            VtError: the data has no clips.
        """
        check_clips(curated, self.loaded.ref)
        return CheckpointAnswerer(self.engine.at(settings), curated=curated, settings=settings, cache=self._cache)

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """One answer per question; those about one clip come together, in the order in which clips first appear.

        Raises:
            VtError: the device has no memory for even one question.
        """
        self._begun = []
        yield from self._about_clips([one for one in questions if one.kind is Kind.CLIP])
        for kind in (Kind.IMAGE, Kind.TEXT):  # kinds are not mixed in a batch: a model takes one of pixels alike
            yield from self._about_stills([one for one in questions if one.kind is kind])

    def _about_stills(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """One answer per question, all about images or all about nothing."""
        rows: list[Row] = []
        with self._clock("prepare"):
            found = list(self.stills.rows(questions, put_by(self._settings)))
        for each in found:
            if isinstance(each, RawReply):
                yield each
            else:
                rows.append(each)
        while rows:
            self._size(rows, len(questions))
            batch, rows = self._cut(rows)
            yield from self._answers(batch)
        yield from self._rest()

    def _about_clips(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """One answer per question, all about clips."""
        if not questions:
            return
        rows: list[Row] = []
        for lost, ready in self._fed(questions):
            yield from (RawReply(question_id=question.question_id, reply=None, error=str(why)) for question, why in lost)
            rows += ready
            while rows and len(rows) >= self._size(rows, len(questions)):
                batch, rows = self._cut(rows)
                yield from self._answers(batch)
        yield from self._answers(rows)
        yield from self._rest()

    def score(self, questions: Sequence[Question], replies: Mapping[str, Sequence[str]]) -> Iterator[RawScores]:
        """How likely the checkpoint is to write certain replies: one `RawScores` per question, in the order of `answer`.

        replies: by question_id, two beginnings of replies or more, none of which another begins with. What all of them begin
        with is given to the checkpoint, and for each one the log-probabilities of its further tokens are summed.

        Raises:
            VtError: the device has no memory for even one reply.
        """
        tokenize = partial(self.loaded.processor.tokenizer, add_special_tokens=False)
        self.batch_size = self.batch_size or min(BATCH, self.engine.n_at_once(0))
        for lost, ready in self._fed(questions):
            yield from (RawScores(question.question_id, None, str(why)) for question, why in lost)
            rows, ends = [], []
            for row in ready:
                opening, of_row = _opened(tokenize(list(replies[row.question_id]))["input_ids"])
                rows.append(row._replace(ids=row.ids + opening))
                ends.append(of_row)
            scores = self._in_batches(rows, partial(self._score, rows, ends))
            yield from (RawScores(row.question_id, found, None) for row, found in zip(rows, scores, strict=True))

    def _score(self, rows: Sequence[Row], ends: Sequence[Ends], some: slice) -> list[list[float]]:
        return self.engine.score(rows[some], ends[some])

    def _fed(self, questions: Sequence[Question]) -> Iterator[tuple[list[tuple[Question, ClipError]], list[Row]]]:
        """The questions as rows, some clips at a time, beside those whose clip could not be read, and why."""
        asked = by_clip(self._curated, questions)
        with self._clock("prepare"):
            prompts = write_prompts(self.loaded.processor, questions, put_by(self._settings))
        n_ways = max(map(len, asked.values()), default=1) if (damage := self._settings.damage) and damage.is_mask else 1
        n_bytes = self.feed.frames.n_bytes * n_ways
        at_once = min(_CLIPS_AT_ONCE, max(1, _FRAME_BYTES // n_bytes))
        with ClipReader(
            sample=self.feed.frames.indices,
            backend=cast(Backend, self._settings.decoder),
            max_pixels=self.feed.frames.max_pixels,
            cache=self._cache,
            ahead=max(2 * at_once, min(8, _AHEAD_BYTES // n_bytes)),
            tally=self._tally,
        ) as reader:
            self._clip_backend = reader.decoding.backend
            clips = reader.map(lambda footage, clip: self._show(clip, asked[footage]), asked)
            while group := self._next(clips, at_once):
                lost = [(q, clip) for footage, clip in group if isinstance(clip, ClipError) for q in asked[footage]]
                shown = [each for _, clip in group if not isinstance(clip, ClipError) for each in clip]
                with self._clock("prepare"):
                    rows = self.feed.rows(shown, prompts)
                yield lost, rows

    def describe(self) -> dict[str, Any]:
        """What was fed and by what means. `fed` has an entry per kind of clip: `n_clips` of `frames` x `height` x `width`.

        `clips` counts where they came from, see `Tally.told`; a part's frames are numbered and timed from its own beginning.
        """
        fed = [
            {"n_clips": n, "frames": frames, "height": height, "width": width, "video_tokens": tokens}
            for (frames, height, width, tokens), n in sorted(self.feed.fed.items())
        ]
        return {
            **self.loaded.describe(),
            "decoder": self._clip_backend,
            "sampling": self.feed.frames.describe(),
            "clips": self._tally.told(),
            "fed": fed,
            **self.stills.describe(),
            "batch_size": self.batch_size,
            PROMPT_TOKENS: self._n_prompt_tokens,
            **self.engine.describe(),
            "seconds": {phase: round(seconds, 2) for phase, seconds in self.seconds.items()},
        }

    def _show(self, clip: Clip, questions: Sequence[Question]) -> list[ClipQuestions]:
        """The clip on the model's device with its questions, once for each way in which it is shown to some of them."""
        ways = showings(clip, questions, self._settings, self._curated)
        return [(self.feed.show(shown), about) for shown, about in ways]

    @contextmanager
    def _clock(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - start

    def _next(self, clips: Iterator[_Read], n: int) -> list[_Read]:
        with self._clock("clips"):
            return list(islice(clips, n))

    def _size(self, rows: Sequence[Row], n_questions: int) -> int:
        """The number of questions per batch. Without a setting it is at most the engine's number.

        The questions are spread evenly over as few batches as that allows, so that the last batch is not a small one.
        """
        if self.batch_size is None:
            self._most = self.engine.n_at_once(max(len(row.ids) for row in rows))
            self.batch_size = math.ceil(n_questions / math.ceil(n_questions / self._most))
        return self.batch_size

    def _cut(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """The next batch and what is left: about `batch_size` rows, and if possible all of each clip's.

        Where the size is not the user's the batch grows up to the engine's number, else it shrinks, until it ends with a clip.
        """
        size = min(self.batch_size or len(rows), len(rows))
        most = min(max(size, self._most or 0), len(rows))
        ends = [n for n in range(1, most + 1) if n == len(rows) or not _share(rows[n - 1], rows[n])]
        n = next((end for end in ends if end >= size), ends[-1] if ends else size)
        return rows[:n], rows[n:]

    def _answers(self, rows: Sequence[Row]) -> Iterator[RawReply]:
        """Answer all rows, but for those that go on behind a stop: they wait until they fill a batch of their own.

        So nobody pays for rows that have ended. `_rest` answers what is left of them.
        """
        write = self.engine.reply if self._settings.stop_at is None else self.engine.begin
        for row, each in zip(rows, self._in_batches(rows, lambda some: list(write(rows[some]))), strict=True):
            self._n_prompt_tokens += len(row.ids)
            if not isinstance(each, Begun):
                yield read_out(row.question_id, each, self._gate, self._settings)
                continue
            self._begun.append(each)
            if len(self._begun) >= (self.batch_size or BATCH):
                yield from self._rest()

    def _rest(self) -> Iterator[RawReply]:
        """Go on with the replies that were begun, each of which holds its keys and values until then."""
        begun, self._begun = self._begun, []
        rows = [each.row for each in begun]
        for row, reply in zip(rows, self._in_batches(rows, lambda some: self.engine.go_on(begun[some])), strict=True):
            yield read_out(row.question_id, reply, self._gate, self._settings)

    def _in_batches(self, rows: Sequence[Row], of_some: Callable[[slice], list[T]]) -> Iterator[T]:
        """What `of_some` gives for all rows, about `batch_size` at a time, and half as many whenever memory runs out."""
        done = 0
        while done < len(rows):
            batch, _ = self._cut(list(rows[done:]))
            with self._clock("generate"):
                found = _unless_full(of_some, slice(done, done + len(batch)))
            if found is None:
                if len(batch) == 1:
                    raise no_memory(self.loaded)
                self.batch_size = self._most = len(batch) // 2
                self.engine.free()
                continue
            yield from found
            done += len(batch)


def _opened(replies: Sequence[list[int]]) -> tuple[list[int], list[list[int]]]:
    """The tokens that all replies begin with, and what is left of each."""
    n = next(i for i, tokens in enumerate(zip(*replies, strict=False)) if len(set(tokens)) > 1)
    return replies[0][:n], [reply[n:] for reply in replies]


def _unless_full(of_some: Callable[[slice], list[T]], some: slice) -> list[T] | None:
    """What `of_some` gives; None when the device is out of memory.

    The error ends here, and with it the traceback, which would hold on to the tensors of the failed batch.
    """
    try:
        return of_some(some)
    except torch.OutOfMemoryError:
        return None


def _share(row: Row, other: Row) -> bool:
    """Whether two rows are about one clip, of which the model is given what was seen once."""
    return row.vision is not None and row.vision is other.vision
