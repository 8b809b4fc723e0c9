"""Ask a checkpoint behind an OpenAI-compatible server (vLLM, SGLang, LMDeploy, `transformers serve`): clips in, replies out.

A clip goes out whole as `video_url`, and the server chooses its frames. With `--frames N` it goes out as N images, the frames
that a local checkpoint would be shown, but then most models no longer know when each of them was. Either way the clip is first
decoded here, so that one which cannot be read is a decode_error and not the server's guess.

An answer that the server owes is never made up: after the last retry the run stops, and it resumes where it stopped.
"""

import base64
import io
import mimetypes
import os
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast

import msgspec
from PIL import Image

from videothinker import answers
from videothinker.clips import ClipCache, ClipReader
from videothinker.curated import Curated
from videothinker.diagnose.answerer import RawReply, by_clip, check_clips
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.frames import Backend, Clip, ClipError, Frames, clip_indices
from videothinker.records import Question

API_KEY = ("VIDEOTHINKER_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the server's key. The first that is set counts."""

N_AT_ONCE = 32
"""Requests at a time where no batch size is set."""

REQUEST_TIME_LIMIT_S = 600.0
"""Longest that a server may take for one reply."""

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})  # HTTP codes that may pass by themselves


def open_endpoint(
    url: str,
    ref: str,
    *,
    curated: Curated,
    settings: DiagnosisSettings,
    cache: ClipCache | None = None,
    n_tries: int = 6,
) -> "Endpoint":
    """The model that the server at `url` ("http://host:8000/v1") serves under the name `ref`.

    As many requests are open at a time as `settings.batch_size` says, or 32. One that fails in a way that may pass is sent up
    to `n_tries` times, with pauses of 1, 2, 4, ... seconds, or as long as the server's Retry-After says.

    Raises:
        VtError: nothing answers there, the data has no clips, or a setting cannot be had from a server.
    """
    check_clips(curated, ref)
    if settings.max_pixels and not settings.n_frames:
        raise VtError("--max-pixels with --endpoint needs --frames too: a clip that is sent whole is sized by the server")
    if not url.startswith(("http://", "https://")):
        raise VtError(f"--endpoint {url}: is no address of a server, expected something like http://localhost:8000/v1")
    server = _Server(url.rstrip("/"), REQUEST_TIME_LIMIT_S, n_tries)
    server.reach()
    return Endpoint(server, ref, curated, settings, cache)


class Endpoint:
    """An `Answerer`: a server's model and the clips it is sent. Answers come as the server gives them."""

    def __init__(
        self,
        server: "_Server",
        ref: str,
        curated: Curated,
        settings: DiagnosisSettings,
        cache: ClipCache | None,
    ) -> None:
        self._server, self._ref, self._curated, self._settings = server, ref, curated, settings
        self._cache = cache
        self._decoder: str | None = None
        self._sent: Counter[tuple[int | None, int, int]] = Counter()  # (frames, height, width): clips
        self._prompt_tokens: list[int] = []

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """One answer per question, each as soon as the server gives it.

        Raises:
            VtError: the server refuses a request, or does not answer one after all tries.
        """
        asked = by_clip(self._curated, questions)
        n_at_once = self._settings.batch_size or N_AT_ONCE
        self._server.stopped.clear()
        waiting: set[Future[RawReply]] = set()
        threads = ThreadPoolExecutor(n_at_once, thread_name_prefix="endpoint")
        try:
            with ClipReader(
                sample=self._sample,
                backend=cast(Backend, self._settings.decoder),
                cache=self._cache,
            ) as reader:
                self._decoder = reader.decoding.backend
                for path, clip in reader.read(asked):
                    if isinstance(clip, ClipError):
                        yield from (RawReply(question_id=q.question_id, reply=None, error=str(clip)) for q in asked[path])
                        continue
                    media = self._media(path, clip)
                    waiting |= {threads.submit(self._ask, question, media) for question in asked[path]}
                    while len(waiting) > 2 * n_at_once:  # so that no more clips than that wait in memory
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            self._server.stopped.set()
            threads.shutdown(wait=False, cancel_futures=True)

    def describe(self) -> dict[str, Any]:
        """What was sent, whole clips (`frames` is None, the server chose) or images, and the prompts' tokens by its count."""
        sent = sorted(self._sent.items(), key=lambda item: (item[0][0] or 0, *item[0][1:]))
        return {
            "endpoint": self._server.url,
            "sent": "images" if self._settings.n_frames else "video",
            "decoder": self._decoder,
            "fed": [
                {"n_clips": n, "frames": frames, "height": height, "width": width, "video_tokens": None}
                for (frames, height, width), n in sent
            ],
            "prompt_tokens": [min(self._prompt_tokens), max(self._prompt_tokens)] if self._prompt_tokens else None,
        }

    def _sample(self, fps: float, n_total: int) -> Sequence[int]:
        """The frames to decode. Of a clip that is sent whole it is the last one, which can be read only if all of it can."""
        return clip_indices(n_total, self._settings.n_frames) if self._settings.n_frames else [n_total - 1]

    def _media(self, path: Path, clip: Clip) -> list[dict[str, Any]]:
        """The message's parts that show the clip."""
        if not self._settings.n_frames:
            self._sent[None, *clip.frames.shape[1:3]] += 1
            return [
                {
                    "type": "video_url",
                    "video_url": {"url": _data_url(mimetypes.guess_type(path)[0] or "video/mp4", path.read_bytes())},
                }
            ]
        images = [_image(frame, self._settings.max_pixels) for frame in clip.frames]
        self._sent[len(images), images[0].height, images[0].width] += 1
        return [{"type": "image_url", "image_url": {"url": _data_url("image/png", _png(image))}} for image in images]

    def _ask(self, question: Question, media: list[dict[str, Any]]) -> RawReply:
        settings = self._settings
        text = answers.render(question, settings.prompt)
        reply = self._server.post(
            {
                "model": self._ref,
                "messages": [{"role": "user", "content": [*media, {"type": "text", "text": text}]}],
                "max_tokens": settings.max_new_tokens,
                "temperature": settings.temperature,
                "seed": settings.seed,
            },
            what=f"question {question.question_id}",
        )
        self._prompt_tokens += [reply.usage.prompt_tokens] if reply.usage else []
        choice = reply.choices[0]
        thought = choice.message.reasoning_content  # a server that parses reasoning takes it out of the text
        text = (f"<think>{thought}</think>" if thought else "") + (choice.message.content or "")
        return RawReply(
            question_id=question.question_id,
            reply=text,
            truncated=choice.finish_reason == "length",
            n_tokens=reply.usage.completion_tokens if reply.usage else None,
        )


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Alternative(msgspec.Struct):
    """One of the replies to a request; only one is asked for."""

    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int | None = None


class _Completion(msgspec.Struct):
    """The part of a chat completion that is read."""

    choices: list[_Alternative]
    usage: _Usage | None = None


class _Server:
    """The server's address, and how patiently it is asked."""

    def __init__(self, url: str, time_limit_s: float, n_tries: int) -> None:
        self.url = url
        self._time_limit_s, self._n_tries = time_limit_s, n_tries
        key = next((os.environ[name] for name in API_KEY if os.environ.get(name)), None)
        self.stopped = threading.Event()
        """Set when nobody waits for replies any more; requests are then not tried again."""
        self._failure: VtError | None = None
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}

    def reach(self) -> None:
        """Check that something answers.

        Raises:
            VtError: nothing does.
        """
        try:
            urllib.request.urlopen(urllib.request.Request(f"{self.url}/models", headers=self._headers), timeout=30).close()
        except urllib.error.HTTPError:
            return  # not every server lists its models
        except (OSError, HTTPException) as error:
            raise VtError(f"--endpoint {self.url}: no server answers there ({_reason(error)}); is it started?") from error

    def post(self, body: dict[str, Any], what: str) -> _Completion:
        """The server's chat completion for a request, which `what` names in messages.

        Raises:
            VtError: the request is refused, or not answered after all tries. Later requests then fail without being sent.
        """
        if self._failure is None:
            try:
                return self._post(body, what)
            except VtError as error:
                self._failure = self._failure or error
                self.stopped.set()
        raise self._failure

    def _post(self, body: dict[str, Any], what: str) -> _Completion:
        data = msgspec.json.encode(body)
        for attempt in range(1, self._n_tries + 1):
            request = urllib.request.Request(f"{self.url}/chat/completions", data, self._headers)
            pause = 2.0 ** (attempt - 1)
            try:
                with urllib.request.urlopen(request, timeout=self._time_limit_s) as response:
                    reply = msgspec.json.decode(response.read(), type=_Completion)
                if reply.choices:
                    return reply
                problem = "a reply without choices"
            except urllib.error.HTTPError as error:
                problem = f"HTTP {error.code}: {_said(error)}"
                if error.code not in _AGAIN:
                    raise VtError(f"--endpoint {self.url}: refuses {what} with {problem}") from error
                wanted = error.headers.get("Retry-After") or ""
                pause = float(wanted) if wanted.isdecimal() else pause
            except (OSError, HTTPException) as error:  # refused, reset, timed out, cut off
                problem = _reason(error)
            except msgspec.MsgspecError as error:
                raise VtError(f"--endpoint {self.url}: answers {what} with what is no chat completion: {error}") from error
            if attempt < self._n_tries and self.stopped.wait(pause):
                break
        raise VtError(
            f"--endpoint {self.url}: gave no answer to {what} in {self._n_tries} tries, the last time {problem}; "
            f"what is answered is kept, run again to go on"
        )


def _said(error: urllib.error.HTTPError) -> str:
    """The server's own words, as one line."""
    return " ".join(error.read(600).decode(errors="replace").split()) or str(error.reason)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(error).__name__


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
