"""Ask a checkpoint behind an OpenAI-compatible server (vLLM, SGLang, LMDeploy, `transformers serve`): clips in, replies out.

`endpoint_media` says how clips and images go out. A clip is first decoded here in any case, so that one which cannot be read is
a decode_error and not the server's guess. Of several servers, one gets all questions about a clip, whose vision and prefix it
may keep.

An answer that the server owes is never made up. What ends other than by itself or at the token limit is no reply: the question
stays owed and is asked again by the next run. After the last retry the run stops, and it resumes where it stopped.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any, NamedTuple, cast

from videothinker.answers import Style
from videothinker.clips import ClipCache, ClipReader, Tally
from videothinker.curated import Curated
from videothinker.diagnose.answerer import RawReply, by_clip, check_clips, read_image, showings, unread
from videothinker.diagnose.endpoint_media import WORDS, Media, Sent, chosen_here
from videothinker.diagnose.endpoint_replies import NoReply, Replies, Request, abilities, check_stops
from videothinker.diagnose.fed import ENDPOINT, REQUESTS
from videothinker.diagnose.frame_rules import choose
from videothinker.diagnose.prompt_length import PromptCheck, lengths_at_hand
from videothinker.diagnose.prompts import put_by
from videothinker.diagnose.protocols.base import Prompt
from videothinker.diagnose.server import PATIENT, Bounds, Server
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import Backend, ClipError
from videothinker.models.text_positions import placeholders
from videothinker.progress import silent
from videothinker.records import Question
from videothinker.records.question import Kind as Shows

N_AT_ONCE = 32
"""Requests at a time where no batch size is set."""


def open_endpoint(
    urls: Sequence[str],
    ref: str,
    *,
    curated: Curated,
    settings: DiagnosisSettings,
    cache: ClipCache | None = None,
    bounds: Bounds = PATIENT,
    warn: Callable[[str], None] = silent,
) -> "Endpoint":
    """The model that the servers at `urls` ("http://host:8000/v1") serve under the name `ref`.

    As many requests are open at a time at each as `settings.batch_size` says, or 32. One that fails in a way that may pass is
    sent again, with pauses of 1, 2, 4, ... seconds, or as long as the server's Retry-After says, within `bounds`. warn: told in
    one line of a server that is lost while others go on, and of prompts that are not as long as they were meant.

    Raises:
        VtError: nothing answers there, the data has no clips, or a setting cannot be had from a server.
    """
    check_clips(curated, ref)
    if settings.max_pixels and chosen_here(settings) is None:
        raise VtError("--max-pixels with --endpoint needs --frames too: a clip that is sent whole is sized by the server")
    check_whole(curated, settings)
    asked = [Server(url, bounds) for url in urls]
    if twice := next((url for url, n in Counter(server.url for server in asked).items() if n > 1), None):
        raise VtError(f"--endpoint {twice}: is given twice")
    servers = _reached(asked, warn)
    logprobs = settings.prompt is Style.TWICE and _give_logprobs(servers, ref, settings, bounds)
    replies = Replies(ref, settings, logprobs=logprobs, placeholders=placeholders(ref))
    return Endpoint(servers, replies, ref, curated, settings, cache, warn)


def _reached(servers: Sequence[Server], warn: Callable[[str], None]) -> list[Server]:
    """The servers that answer. `warn` is told of each that does not, so that a run which has lost one can go on by the command
    that began it.

    Raises:
        VtError: none answers.
    """
    found, missing = [], []
    for server in servers:
        try:
            server.reach()
            found.append(server)
        except VtError as error:
            missing.append(error)
    if not found:
        raise missing[0]
    for reason in missing:
        warn(f"{reason}; it is left out, and all clips go to {len(found)} other(s)")
    return found


def _give_logprobs(servers: Sequence[Server], ref: str, settings: DiagnosisSettings, bounds: Bounds) -> bool:
    """Whether all servers tell how likely their tokens were.

    Raises:
        VtError: replies are to be stopped, and one of the servers cannot do what that needs.
    """
    found = {server.url: abilities(server.url, ref, bounds) for server in servers}
    if settings.stop_at is not None:
        for url, can in found.items():
            check_stops(url, can)
    return all(can.logprobs for can in found.values())


def check_whole(curated: Curated, settings: DiagnosisSettings) -> None:
    """Check that all questions are about whole files, as they are, where the server chooses the frames: that is what is sent.

    Raises:
        VtError: clips are to be damaged, or a question is about a part of a clip or a folder of frames.
    """
    if chosen_here(settings) is not None:
        return
    if settings.damage:
        raise VtError(f"a {settings.damage} clip with --endpoint needs --frames: a clip that is sent whole cannot be damaged")
    for question in curated.questions(settings.split):
        footage = curated.clip(question)
        if footage is not None and (footage.is_part or footage.is_folder):
            what = "a folder of frames" if footage.is_folder else "a part of its clip"
            raise VtError(
                f"--endpoint needs --frames for these questions: {question.question_id} is about {what} ({footage}), and a clip"
                " that is sent for the server to choose its frames is sent whole"
            )


_BEGUN = " (the protocol begins the reply for the model, which not every server can)"


class _Ready(NamedTuple):
    """Questions that show the same, and the server that is asked them."""

    server: Server
    media: Media
    questions: list[Question]


class _Owed(NamedTuple):
    """What came instead of a reply."""

    question_id: str
    why: str


class Endpoint:
    """An `Answerer`: the servers of a model and the clips they are sent. Answers come as the servers give them."""

    def __init__(
        self,
        servers: Sequence[Server],
        replies: Replies,
        ref: str,
        curated: Curated,
        settings: DiagnosisSettings,
        cache: ClipCache | None,
        warn: Callable[[str], None],
    ) -> None:
        self._servers, self._ref, self._curated, self._settings = servers, ref, curated, settings
        self._replies = replies
        self._cache, self._put, self._warn = cache, put_by(settings), warn
        self._frames = chosen_here(settings)
        self._decoder: str | None = None
        self._tally = Tally()
        self._sent = Sent(settings)
        self._turns = itertools.count()
        self._prompt_tokens: list[int] = []
        self._n_requests: list[int] = []
        self._check = PromptCheck(warn)
        self._live = list(servers)
        self._lock = threading.Lock()

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """One answer per question, each as soon as a server gives it.

        Raises:
            VtError: the last server refuses a request, or does not answer one after all tries; or, once all are asked, some
                got no reply and are owed.
        """
        self._sent.lengths = lengths_at_hand(self._ref, questions, self._settings)
        n_at_once = self._settings.batch_size or N_AT_ONCE
        self._live = list(self._servers)
        for server in self._servers:
            server.stopped.clear()
        waiting: set[Future[RawReply | _Owed]] = set()
        owed: list[_Owed] = []
        threads = {server: ThreadPoolExecutor(n_at_once, thread_name_prefix="endpoint") for server in self._servers}
        try:
            with closing(self._ready(questions)) as ready:
                for each in ready:
                    if isinstance(each, RawReply):
                        yield each
                        continue
                    server, media, about = each
                    waiting |= {threads[server].submit(self._ask, server, question, media) for question in about}
                    while len(waiting) > 2 * n_at_once * len(threads):  # so that no more clips than that wait in memory
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        yield from _replies(done, owed)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from _replies(done, owed)
        finally:
            for server, pool in threads.items():
                server.stop()
                pool.shutdown(wait=False, cancel_futures=True)
        if owed:
            raise self._left_owing(owed, len(questions))

    def describe(self) -> dict[str, Any]:
        """What was sent, whole clips (`frames` is None, the server chose), clips of chosen frames or images, and the prompts'
        tokens by the servers' count."""
        return {
            ENDPOINT: ", ".join(sorted(server.url for server in self._servers)),
            "decoder": self._decoder,
            "clips": self._tally.told(),
            **self._sent.describe(),
            "prompt_tokens": [min(self._prompt_tokens), max(self._prompt_tokens)] if self._prompt_tokens else None,
            "prompt_length": self._check.told(),
            REQUESTS: sum(self._n_requests),
        }

    def _ready(self, questions: Sequence[Question]) -> Generator[_Ready | RawReply]:
        """What is to be sent, and the replies that say of what cannot be read why there are none."""
        of = {kind: [question for question in questions if question.kind is kind] for kind in Shows}
        yield from self._clips(by_clip(self._curated, of[Shows.CLIP]))
        yield from self._images(by_clip(self._curated, of[Shows.IMAGE]))
        for question in of[Shows.TEXT]:
            self._sent.n_texts += 1
            yield _Ready(self._server(), WORDS, [question])

    def _clips(self, asked: Mapping[Footage, list[Question]]) -> Iterator[_Ready | RawReply]:
        if not asked:
            return
        with ClipReader(
            sample=self._sample,
            backend=cast(Backend, self._settings.decoder),
            cache=self._cache,
            tally=self._tally,
        ) as reader:
            self._decoder = reader.decoding.backend
            for footage, clip in reader.read(asked):
                if isinstance(clip, ClipError):
                    yield from unread(asked[footage], clip)
                    continue
                server = self._server()
                for shown, about in showings(clip, asked[footage], self._settings, self._curated):
                    yield _Ready(server, self._sent.clip(footage, shown), about)

    def _images(self, asked: Mapping[Footage, list[Question]]) -> Iterator[_Ready | RawReply]:
        for footage, about in asked.items():
            try:
                pixels = read_image(footage, self._settings)
            except ClipError as error:
                yield from unread(about, error)
                continue
            server = self._server()
            yield _Ready(server, self._sent.image(pixels, to_vllm=server.is_vllm), about)

    def _server(self) -> Server:
        """The server for the next clip: they take turns, as long as they answer."""
        with self._lock:
            live = self._live or self._servers  # where all are lost, the next request says why
            return live[next(self._turns) % len(live)]

    def _lose(self, server: Server, error: VtError) -> bool:
        """Leave out a server that has failed; whether another is left to go on with."""
        with self._lock:
            told = server not in self._live
            self._live = [each for each in self._live if each is not server]
            if self._live and not told:
                self._warn(f"{error}; it is left out, and clips that were not sent yet go to {len(self._live)} other(s)")
            return bool(self._live)

    def _sample(self, fps: float, n_total: int) -> Sequence[int]:
        """The frames to decode. Of a clip that is sent whole it is the last one, which can be read only if all of it can."""
        return [n_total - 1] if self._frames is None else choose(self._frames, fps, n_total)

    def _ask(self, server: Server, question: Question, media: Media) -> RawReply | _Owed:
        prompt = self._put(question)
        hint = (_BEGUN if prompt.prefill else "") + (media.vllm_hint if server.is_vllm else media.hint)
        more = media.to_vllm if server.is_vllm else {}
        try:
            came = self._replies.ask(Request(server, prompt, media.parts, more, f"question {question.question_id}", hint))
        except VtError as error:
            if not self._lose(server, error):
                raise
            return _Owed(question.question_id, "sent to a server that was lost")
        if isinstance(came, NoReply):
            return _Owed(question.question_id, came.why)
        self._n_requests.append(came.n_requests)
        if came.n_prompt is not None:
            self._count(question, prompt, media, came.n_prompt)
        return RawReply(
            question_id=question.question_id,
            reply=server.without_key(came.text),
            truncated=came.cut,
            n_tokens=came.n_tokens,
            logprob=sum(came.logprobs) / len(came.logprobs) if came.logprobs else None,
            first=came.first,
            stopped=came.stopped,
        )

    def _count(self, question: Question, prompt: Prompt, media: Media, n_tokens: int) -> None:
        """Take in how long a server says that a prompt was."""
        self._prompt_tokens.append(n_tokens)
        if media.kind is not None:
            n_bytes = sum(len(text.encode()) for text in (prompt.system or "", prompt.user, prompt.prefill))
            lengths = self._sent.lengths
            n_meant = lengths.of(media.kind, question.question_id) if lengths else None
            self._check.note(media.kind, question.question_id, n_tokens, n_meant=n_meant, n_bytes=n_bytes)

    def _left_owing(self, owed: Sequence[_Owed], n_questions: int) -> VtError:
        """The error that counts what came instead of replies, by reason."""
        reasons = sorted(Counter(one.why for one in owed).items(), key=lambda reason: (-reason[1], reason[0]))
        named = ", ".join(f"{n} {why}" for why, n in reasons[:5]) + (", ..." if len(reasons) > 5 else "")
        return VtError(
            f"--endpoint {', '.join(server.url for server in self._servers)}: gave no reply to {len(owed)} of {n_questions} "
            f"questions ({named}), {owed[0].question_id} among them; what is answered is kept, run again to ask them again"
        )


def _replies(done: Iterable[Future[RawReply | _Owed]], owed: list[_Owed]) -> Iterator[RawReply]:
    """The replies among what has come; what is none is added to `owed`."""
    for future in done:
        came = future.result()
        if isinstance(came, _Owed):
            owed.append(came)
        else:
            yield came
