"""Ask a checkpoint behind an OpenAI-compatible server (vLLM, SGLang, LMDeploy, `transformers serve`): clips in, replies out.

A clip goes out whole as `video_url`, and the server chooses its frames. With `--frames N`, the frames that a local checkpoint
would be shown go out as one lossless clip at the rate that keeps their times (`lossless`), or with `--send images` as N images,
of which most models do not know when each of them was. Either way the clip is first decoded here, so that one which cannot be
read is a decode_error and not the server's guess. Of several servers, one gets all questions about a clip, whose vision and
prefix it may keep.

An answer that the server owes is never made up. What ends other than by itself or at the token limit is no reply: the question
stays owed and is asked again by the next run. After the last retry the run stops, and it resumes where it stopped.
"""

import base64
import io
import mimetypes
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from videothinker.answers import Style
from videothinker.clips import ClipCache, ClipReader, Tally
from videothinker.curated import Curated
from videothinker.diagnose.answerer import RawReply, by_clip, check_clips, showings
from videothinker.diagnose.endpoint_replies import NoReply, Replies, Request, abilities, check_stops
from videothinker.diagnose.fed import REQUESTS
from videothinker.diagnose.frame_choice import frame_rule
from videothinker.diagnose.frame_rules import FrameRule, choose
from videothinker.diagnose.lossless import alone, encode
from videothinker.diagnose.prompt_length import Kind, PromptCheck, PromptLengths, lengths_at_hand
from videothinker.diagnose.prompts import put_by
from videothinker.diagnose.protocols.base import Prompt
from videothinker.diagnose.server import PATIENT, Bounds, Server
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import Backend, Clip, ClipError, Frames
from videothinker.progress import silent
from videothinker.records import Question

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
    if settings.max_pixels and _frames(settings) is None:
        raise VtError("--max-pixels with --endpoint needs --frames too: a clip that is sent whole is sized by the server")
    check_whole(curated, settings)
    if len(set(urls)) < len(urls):
        raise VtError(f"--endpoint {max(urls, key=list(urls).count)}: is given twice")
    servers = _reached([Server(url, bounds) for url in urls], warn)
    logprobs = settings.prompt is Style.TWICE and _give_logprobs(servers, ref, settings, bounds)
    return Endpoint(servers, Replies(ref, settings, logprobs=logprobs), ref, curated, settings, cache, warn)


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


def _frames(settings: DiagnosisSettings) -> FrameRule | None:
    """The rule by which frames are chosen here; None where the clip is sent whole, for the server to choose."""
    return frame_rule(settings) or (FrameRule("floor", settings.n_frames) if settings.n_frames else None)


def check_whole(curated: Curated, settings: DiagnosisSettings) -> None:
    """Check that all questions are about whole files, as they are, where the server chooses the frames: that is what is sent.

    Raises:
        VtError: clips are to be damaged, or a question is about a part of a clip or a folder of frames.
    """
    if _frames(settings) is not None:
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

_ALL_FRAMES: dict[str, Any] = {
    "media_io_kwargs": {"video": {"video_backend": "opencv", "num_frames": -1, "fps": -1}},
    "mm_processor_kwargs": {"do_sample_frames": False},
}
"""Asks vLLM for all frames of a clip, by its loader that does not round their number, and its processor not to choose again."""
_AS_CLIP = " (frames go out as one clip; --send images is for servers that take images alone)"
_AS_VLLMS_CLIP = (
    " (frames go out as one clip, all of which vLLM is asked to show; 0.32 takes that where it was started with"
    " --trust-request-mm-kwargs)"
)


class _Media(NamedTuple):
    """How a clip goes out."""

    parts: list[dict[str, Any]]
    """Of the message."""
    kind: Kind | None
    """What the server is meant to see of it, for the length of the prompt; None for images."""


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
        self._frames = _frames(settings)
        self._decoder: str | None = None
        self._tally = Tally()
        self._sent: Counter[tuple[int | None, int, int]] = Counter()  # (frames, height, width): clips
        self._prompt_tokens: list[int] = []
        self._n_requests: list[int] = []
        self._lengths: PromptLengths | None = None
        self._check = PromptCheck(warn)
        self._live = list(servers)
        self._lock = threading.Lock()

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """One answer per question, each as soon as a server gives it.

        Raises:
            VtError: the last server refuses a request, or does not answer one after all tries; or, once all are asked, some
                got no reply and are owed.
        """
        asked = by_clip(self._curated, questions)
        self._lengths = lengths_at_hand(self._ref, questions, self._settings)
        n_at_once = self._settings.batch_size or N_AT_ONCE
        self._live = list(self._servers)
        for server in self._servers:
            server.stopped.clear()
        waiting: set[Future[RawReply | _Owed]] = set()
        owed: list[_Owed] = []
        threads = {server: ThreadPoolExecutor(n_at_once, thread_name_prefix="endpoint") for server in self._servers}
        try:
            with ClipReader(
                sample=self._sample,
                backend=cast(Backend, self._settings.decoder),
                cache=self._cache,
                tally=self._tally,
            ) as reader:
                self._decoder = reader.decoding.backend
                for number, (footage, clip) in enumerate(reader.read(asked)):
                    if isinstance(clip, ClipError):
                        yield from (RawReply(question_id=q.question_id, reply=None, error=str(clip)) for q in asked[footage])
                        continue
                    server = self._server(number)
                    for shown, about in showings(clip, asked[footage], self._settings, self._curated):
                        media = self._media(footage, shown)
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
        sent = sorted(self._sent.items(), key=lambda item: (item[0][0] or 0, *item[0][1:]))
        return {
            "endpoint": ", ".join(sorted(server.url for server in self._servers)),
            "sent": "video" if self._frames is None else self._settings.send,
            "decoder": self._decoder,
            "clips": self._tally.told(),
            "fed": [
                {"n_clips": n, "frames": frames, "height": height, "width": width, "video_tokens": None}
                for (frames, height, width), n in sent
            ],
            "prompt_tokens": [min(self._prompt_tokens), max(self._prompt_tokens)] if self._prompt_tokens else None,
            "prompt_length": self._check.told(),
            REQUESTS: sum(self._n_requests),
        }

    def _server(self, number: int) -> Server:
        """The server for the clip of this number: they take turns, as long as they answer."""
        with self._lock:
            live = self._live or self._servers  # where all are lost, the next request says why
            return live[number % len(live)]

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

    def _media(self, footage: Footage, clip: Clip) -> _Media:
        """How the clip goes out."""
        if self._frames is None:
            height, width = clip.frames.shape[1:3]
            self._sent[None, height, width] += 1
            chosen = tuple(self._lengths.frames.indices(clip.fps, clip.n_total)) if self._lengths else ()
            kind = Kind(len(chosen) or None, height, width, clip.fps, clip.n_total, chosen)
            return _Media([_video(mimetypes.guess_type(footage.path)[0] or "video/mp4", footage.path.read_bytes())], kind)
        images = [_image(frame, self._settings.max_pixels) for frame in clip.frames]
        height, width = images[0].height, images[0].width
        self._sent[len(images), height, width] += 1
        if self._settings.send == "images":
            urls = [_data_url("image/png", _png(image)) for image in images]
            return _Media([{"type": "image_url", "image_url": {"url": url}} for url in urls], None)
        sent = alone(clip._replace(frames=np.stack([np.asarray(image) for image in images])))
        kind = Kind(len(images), height, width, sent.fps, sent.n_total, sent.indices)
        return _Media([_video("video/mp4", encode(sent))], kind)

    def _ask(self, server: Server, question: Question, media: _Media) -> RawReply | _Owed:
        prompt = self._put(question)
        as_clip = self._frames is not None and self._settings.send == "clip"
        hint = (_BEGUN if prompt.prefill else "") + ((_AS_VLLMS_CLIP if server.is_vllm else _AS_CLIP) if as_clip else "")
        more = _ALL_FRAMES if as_clip and server.is_vllm else {}
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

    def _count(self, question: Question, prompt: Prompt, media: _Media, n_tokens: int) -> None:
        """Take in how long a server says that a prompt was."""
        self._prompt_tokens.append(n_tokens)
        if media.kind is not None:
            n_bytes = sum(len(text.encode()) for text in (prompt.system or "", prompt.user, prompt.prefill))
            n_meant = self._lengths.of(media.kind, question.question_id) if self._lengths else None
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


def _video(kind: str, content: bytes) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": _data_url(kind, content)}}


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _image(frame: Frames, max_pixels: int | None) -> Image.Image:
    """One (h, w, 3) frame, scaled down to `max_pixels` where it has more."""
    image = Image.fromarray(frame)
    scale = 1.0 if max_pixels is None else (max_pixels / (image.width * image.height)) ** 0.5
    if scale >= 1:
        return image
    return image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))), Image.Resampling.BICUBIC)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # lossless: a frame is what a local checkpoint would see
    return buffer.getvalue()
