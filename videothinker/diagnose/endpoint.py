"""Ask a checkpoint behind an OpenAI-compatible server (vLLM, SGLang, LMDeploy, `transformers serve`): clips in, replies out.

A clip goes out whole as `video_url`, and the server chooses its frames. With `--frames N` it goes out as N images, the frames
that a local checkpoint would be shown, but then most models no longer know when each of them was. Either way the clip is first
decoded here, so that one which cannot be read is a decode_error and not the server's guess.

An answer that the server owes is never made up. What ends other than by itself or at the token limit is no reply: the question
stays owed and is asked again by the next run. After the last retry the run stops, and it resumes where it stopped.
"""

import base64
import io
import mimetypes
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, cast

from PIL import Image

from videothinker.clips import ClipCache, ClipReader, Tally
from videothinker.curated import Curated
from videothinker.diagnose.answerer import RawReply, by_clip, check_clips, shown_as
from videothinker.diagnose.frame_choice import frame_rule
from videothinker.diagnose.frame_rules import FrameRule, choose
from videothinker.diagnose.prompts import put_by
from videothinker.diagnose.protocols.base import Prompt
from videothinker.diagnose.server import PATIENT, Bounds, Server
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import Backend, Clip, ClipError, Frames
from videothinker.records import Question

N_AT_ONCE = 32
"""Requests at a time where no batch size is set."""

_REPLIES = ("stop", "length")
"""Finish reasons that end a reply. Any other (content_filter, abort, none at all) says that there is no whole one."""


def open_endpoint(
    url: str,
    ref: str,
    *,
    curated: Curated,
    settings: DiagnosisSettings,
    cache: ClipCache | None = None,
    bounds: Bounds = PATIENT,
) -> "Endpoint":
    """The model that the server at `url` ("http://host:8000/v1") serves under the name `ref`.

    As many requests are open at a time as `settings.batch_size` says, or 32. One that fails in a way that may pass is
    sent again, with pauses of 1, 2, 4, ... seconds, or as long as the server's Retry-After says, within `bounds`.

    Raises:
        VtError: nothing answers there, the data has no clips, or a setting cannot be had from a server.
    """
    check_clips(curated, ref)
    if settings.max_pixels and _frames(settings) is None:
        raise VtError("--max-pixels with --endpoint needs --frames too: a clip that is sent whole is sized by the server")
    if settings.damage and _frames(settings) is None:
        raise VtError(f"a {settings.damage} clip with --endpoint needs --frames: a clip that is sent whole cannot be damaged")
    check_whole(curated, settings)
    server = Server(url, bounds)
    server.reach()
    return Endpoint(server, ref, curated, settings, cache)


def _frames(settings: DiagnosisSettings) -> FrameRule | None:
    """The rule by which frames are chosen here and sent as images; None where the clip is sent for the server to choose."""
    return frame_rule(settings) or (FrameRule("floor", settings.n_frames) if settings.n_frames else None)


def check_whole(curated: Curated, settings: DiagnosisSettings) -> None:
    """Check that all questions are about whole files where the server chooses the frames, because that is what is sent.

    Raises:
        VtError: one is about a part of a clip, or about a folder of frames.
    """
    if _frames(settings) is not None:
        return
    for question in curated.questions(settings.split):
        footage = curated.clip(question)
        if footage is not None and (footage.is_part or footage.is_folder):
            what = "a folder of frames" if footage.is_folder else "a part of its clip"
            raise VtError(
                f"--endpoint needs --frames for these questions: {question.question_id} is about {what} ({footage}), and a clip"
                " that is sent for the server to choose its frames is sent whole"
            )


_GO_ON = {"add_generation_prompt": False, "continue_final_message": True}
"""Asks a server to go on with the assistant's last message. vLLM and SGLang know it; it is no part of OpenAI's protocol."""
_BEGUN = " (the protocol begins the reply for the model, which not every server can)"


def _messages(prompt: Prompt, media: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation: the system text and the beginning of the reply only where the prompt has them."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": [*media, {"type": "text", "text": prompt.user}]}]
    if prompt.system is not None:
        messages.insert(0, {"role": "system", "content": prompt.system})
    if prompt.prefill:
        messages.append({"role": "assistant", "content": prompt.prefill})
    return messages


class _Owed(NamedTuple):
    """What came instead of a reply."""

    question_id: str
    why: str


class Endpoint:
    """An `Answerer`: a server's model and the clips it is sent. Answers come as the server gives them."""

    def __init__(
        self,
        server: Server,
        ref: str,
        curated: Curated,
        settings: DiagnosisSettings,
        cache: ClipCache | None,
    ) -> None:
        self._server, self._ref, self._curated, self._settings = server, ref, curated, settings
        self._cache, self._put = cache, put_by(settings)
        self._frames = _frames(settings)
        self._decoder: str | None = None
        self._tally = Tally()
        self._sent: Counter[tuple[int | None, int, int]] = Counter()  # (frames, height, width): clips
        self._prompt_tokens: list[int] = []

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """One answer per question, each as soon as the server gives it.

        Raises:
            VtError: the server refuses a request, or does not answer one after all tries; or, once all are asked, some
                got no reply and are owed.
        """
        asked = by_clip(self._curated, questions)
        n_at_once = self._settings.batch_size or N_AT_ONCE
        self._server.stopped.clear()
        waiting: set[Future[RawReply | _Owed]] = set()
        owed: list[_Owed] = []
        threads = ThreadPoolExecutor(n_at_once, thread_name_prefix="endpoint")
        try:
            with ClipReader(
                sample=self._sample,
                backend=cast(Backend, self._settings.decoder),
                cache=self._cache,
                tally=self._tally,
            ) as reader:
                self._decoder = reader.decoding.backend
                for footage, clip in reader.read(asked):
                    if isinstance(clip, ClipError):
                        yield from (RawReply(question_id=q.question_id, reply=None, error=str(clip)) for q in asked[footage])
                        continue
                    media = self._media(footage, shown_as(clip, self._settings))
                    waiting |= {threads.submit(self._ask, question, media) for question in asked[footage]}
                    while len(waiting) > 2 * n_at_once:  # so that no more clips than that wait in memory
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        yield from _replies(done, owed)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from _replies(done, owed)
        finally:
            self._server.stop()
            threads.shutdown(wait=False, cancel_futures=True)
        if owed:
            raise self._left_owing(owed, len(questions))

    def describe(self) -> dict[str, Any]:
        """What was sent, whole clips (`frames` is None, the server chose) or images, and the prompts' tokens by its count."""
        sent = sorted(self._sent.items(), key=lambda item: (item[0][0] or 0, *item[0][1:]))
        return {
            "endpoint": self._server.url,
            "sent": "video" if self._frames is None else "images",
            "decoder": self._decoder,
            "clips": self._tally.told(),
            "fed": [
                {"n_clips": n, "frames": frames, "height": height, "width": width, "video_tokens": None}
                for (frames, height, width), n in sent
            ],
            "prompt_tokens": [min(self._prompt_tokens), max(self._prompt_tokens)] if self._prompt_tokens else None,
        }

    def _sample(self, fps: float, n_total: int) -> Sequence[int]:
        """The frames to decode. Of a clip that is sent whole it is the last one, which can be read only if all of it can."""
        return [n_total - 1] if self._frames is None else choose(self._frames, fps, n_total)

    def _media(self, footage: Footage, clip: Clip) -> list[dict[str, Any]]:
        """The message's parts that show the clip."""
        if self._frames is None:
            self._sent[None, *clip.frames.shape[1:3]] += 1
            path = footage.path
            return [
                {
                    "type": "video_url",
                    "video_url": {"url": _data_url(mimetypes.guess_type(path)[0] or "video/mp4", path.read_bytes())},
                }
            ]
        images = [_image(frame, self._settings.max_pixels) for frame in clip.frames]
        self._sent[len(images), images[0].height, images[0].width] += 1
        return [{"type": "image_url", "image_url": {"url": _data_url("image/png", _png(image))}} for image in images]

    def _ask(self, question: Question, media: list[dict[str, Any]]) -> RawReply | _Owed:
        settings = self._settings
        prompt = self._put(question)
        reply = self._server.post(
            {
                "model": self._ref,
                "messages": _messages(prompt, media),
                "max_tokens": settings.max_new_tokens,
                "temperature": settings.temperature,
                **({"top_p": settings.top_p} if settings.top_p < 1 else {}),
                "seed": settings.seed,
                **(_GO_ON if prompt.prefill else {}),
            },
            what=f"question {question.question_id}" + (_BEGUN if prompt.prefill else ""),
        )
        choice = reply.choices[0]
        thought = choice.message.thought  # a server that parses reasoning takes it out of the text
        if choice.finish_reason not in _REPLIES:
            return _Owed(question.question_id, self._server.said(choice.finish_reason or "", 40) or "no finish reason")
        if choice.finish_reason == "stop" and choice.message.content is None and not thought:
            return _Owed(question.question_id, "stop without a text")
        self._prompt_tokens += [reply.usage.prompt_tokens] if reply.usage else []
        text = (f"<think>{thought}</think>" if thought else "") + (choice.message.content or "")
        return RawReply(
            question_id=question.question_id,
            reply=self._server.without_key(text),
            truncated=choice.finish_reason == "length",
            n_tokens=reply.usage.completion_tokens if reply.usage else None,
        )

    def _left_owing(self, owed: Sequence[_Owed], n_questions: int) -> VtError:
        """The error that counts what came instead of replies, by reason."""
        reasons = sorted(Counter(one.why for one in owed).items(), key=lambda reason: (-reason[1], reason[0]))
        named = ", ".join(f"{n} {why}" for why, n in reasons[:5]) + (", ..." if len(reasons) > 5 else "")
        return VtError(
            f"--endpoint {self._server.url}: gave no reply to {len(owed)} of {n_questions} questions ({named}), "
            f"{owed[0].question_id} among them; what is answered is kept, run again to ask them again"
        )


def _replies(done: Iterable[Future[RawReply | _Owed]], owed: list[_Owed]) -> Iterator[RawReply]:
    """The replies among what has come; what is none is added to `owed`."""
    for future in done:
        came = future.result()
        if isinstance(came, _Owed):
            owed.append(came)
        else:
            yield came


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
