"""One request to an OpenAI-compatible server, with bounds on size, time, tries and depth, and a key that stays here.

Redirects are not followed: a request that is redirected loses its body, and the key would go to whom the answer names.
Nothing is unpacked: requests ask for plain bytes.
"""

import os
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, NamedTuple

import msgspec

from videothinker.diagnose.completions import DECODER, Completion
from videothinker.diagnose.connections import hang_up, opener, read
from videothinker.errors import VtError
from videothinker.printable import printable
from videothinker.records import Served

API_KEY = ("VIDEOTHINKER_API_KEY", "OPENAI_API_KEY")
"""Environment variables that may hold the server's key. The first that is set counts."""

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})  # HTTP codes that may pass by themselves
_N_ALIKE = 3
"""Times that a server which has not replied yet may answer a request with HTTP 500 in the same words: what it cannot do at all
is not waited for, and what may pass (no memory for a moment) still gets 3 s. One that has replied gets all tries: many servers
say the same few words of every failure, and to wait half a minute once costs less than a run that ends for want of it."""
_SAID_CHARACTERS = 600  # of a server's words in a message
_SAID_BYTES = 2**16  # that are read of them
_MODELS_BYTES = 2**20  # of a list of models, which may be long
_SECRET_CHARACTERS = 8  # a shorter key ("EMPTY") is no secret, and replies may hold the word


class Bounds(NamedTuple):
    """How much a server may ask of us."""

    n_tries: int = 6
    """Times that one request is sent."""
    seconds: float = 600.0
    """For one try, from connecting to the last byte."""
    total_seconds: float = 1800.0
    """For all tries of one request, pauses included."""
    pause_seconds: float = 60.0
    """Longest pause between two tries, whatever Retry-After says."""
    n_bytes: int = 16 * 2**20
    """Of one answer's body."""


PATIENT = Bounds()
"""For a real server."""


class _Model(msgspec.Struct):
    id: str | None = None
    owned_by: str | None = None
    root: str | None = None


class _Models(msgspec.Struct):
    """The part of a list of models that is read."""

    data: list[_Model]


class _NoChoicesError(Exception):
    """A completion that holds no reply, which may pass."""


class _RefusedError(Exception):
    """An answer with an HTTP code that is no success."""

    def __init__(self, code: int, words: str, retry_after: float | None) -> None:
        super().__init__(code)
        self.code, self.words, self.retry_after = code, words, retry_after

    @property
    def looks_lasting(self) -> bool:
        """Whether the server says of itself that it has failed, and not that it can be asked later."""
        return self.code == 500 and self.retry_after is None


class Server:
    """The server's address and key, and how patiently it is asked.

    Raises:
        VtError: the address or the key cannot be used.
    """

    def __init__(self, url: str, bounds: Bounds) -> None:
        check_address(url)
        self.url = url.rstrip("/")
        self._bounds = bounds
        self._key = _key()
        self.stopped = threading.Event()
        """Set when nobody waits for replies any more; requests are then not tried again."""
        self._models: list[_Model] = []
        self._failure: VtError | None = None
        self._has_replied = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def is_vllm(self) -> bool:
        """Whether it is vLLM, which takes more with a request than others do; known once it was reached."""
        return any(model.owned_by == "vllm" for model in self._models)

    def served(self, ref: str) -> Served | None:
        """What it says of the model that it serves as `ref`, once it was reached; None where it says nothing."""
        for model in self._models:
            if model.id == ref and (model.owned_by or model.root):
                by, root = (word and self.said(word) for word in (model.owned_by, model.root))
                return Served(by=by, root=root)
        return None

    def reach(self) -> None:
        """Check that something answers, and find out which models it serves.

        Raises:
            VtError: nothing does.
        """
        try:
            with self._request("models", None, min(30.0, self._bounds.seconds)) as response:
                self._models = _models(read(response, _MODELS_BYTES))
        except _RefusedError:
            return  # not every server lists its models
        except (OSError, HTTPException) as error:
            raise VtError(f"--endpoint {self.url}: no server answers there ({self._reason(error)}); is it started?") from None

    def post(self, body: dict[str, Any], what: str, hint: str = "") -> Completion:
        """The chat completion, with at least one choice.

        what: is asked, for messages. hint: in brackets behind it where the server has answered with an error, which it may
        explain; a server that is not there explains itself.

        Raises:
            VtError: the request is refused, or not answered after all tries. Later requests then fail without being sent.
        """
        if self._failure is None:
            try:
                return self._post(body, what, hint)
            except VtError as error:
                self._failure = self._failure or error
                self.stopped.set()
        raise self._failure

    def stop(self) -> None:
        """Let no request begin again, and end those that are under way."""
        self.stopped.set()
        with self._lock:
            for line in self._open:
                hang_up(line)

    def without_key(self, text: str) -> str:
        """The text with [key] where the key was, as it is or as an address would spell it."""
        if self._key and len(self._key) >= _SECRET_CHARACTERS:
            for spelled in (self._key, urllib.parse.quote(self._key, safe=""), self._key.replace("/", "\\/")):
                text = text.replace(spelled, "[key]")
        return text

    def said(self, text: str, n_characters: int = _SAID_CHARACTERS) -> str:
        """A server's words as one short line, without control characters and without the key."""
        # In this order: stripping could put a key together, and cutting could leave half of one.
        return " ".join(self.without_key(printable(text))[:n_characters].split())

    def _post(self, body: dict[str, Any], what: str, hint: str) -> Completion:
        data = msgspec.json.encode(body)
        bounds, began = self._bounds, time.monotonic()
        problem, n_tried, n_alike, told = "it was out of time", 0, 0, what
        while n_tried < bounds.n_tries and (left := bounds.total_seconds - (time.monotonic() - began)) > 0:
            n_tried += 1
            pause = 2.0 ** (n_tried - 1)
            try:
                reply = self._decode(self._fetch(data, min(left, bounds.seconds)), what)
                self._has_replied = True
                return reply
            except _RefusedError as error:
                before, problem, told = problem, f"HTTP {error.code}: {error.words}", what + hint
                n_alike = n_alike + 1 if problem == before else 1
                if error.code not in _AGAIN:
                    raise VtError(f"--endpoint {self.url}: refuses {told} with {problem}") from None
                if n_alike == _N_ALIKE and error.looks_lasting and not self._has_replied:
                    break
                pause = pause if error.retry_after is None else error.retry_after
            except (OSError, HTTPException) as error:  # refused, reset, timed out, cut off
                problem, told = self._reason(error), what
            except _NoChoicesError:
                problem, told = "a reply without choices", what
            if n_tried < bounds.n_tries and self.stopped.wait(min(pause, bounds.pause_seconds)):
                break
        raise VtError(
            f"--endpoint {self.url}: gave no answer to {told} in {n_tried} tries, the last time {problem}; "
            f"what is answered is kept, run again to go on"
        )

    def _fetch(self, data: bytes, seconds: float) -> bytes:
        """The body of the answer to one try."""
        with self._request("chat/completions", data, seconds) as response:
            encoding = response.headers.get("Content-Encoding") or "identity"
            if encoding.lower() != "identity":
                raise VtError(f"--endpoint {self.url}: packs answers as {self.said(encoding, 20)}, which was not asked for")
            body = read(response, self._bounds.n_bytes + 1)
        if len(body) > self._bounds.n_bytes:
            raise VtError(f"--endpoint {self.url}: answers with more than {self._bounds.n_bytes:,} bytes")
        return body

    def _decode(self, body: bytes, what: str) -> Completion:
        try:
            reply = DECODER.decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            problem = "it is nested too deeply" if isinstance(error, RecursionError) else self.said(str(error))
            raise VtError(f"--endpoint {self.url}: answers {what} with what is no chat completion: {problem}") from None
        if not reply.choices:
            raise _NoChoicesError
        return reply

    @contextmanager
    def _request(self, path: str, data: bytes | None, seconds: float) -> Iterator[Any]:
        """An open answer, which is hung up on after so many seconds in all, or when `stop` is called."""
        lines: list[socket.socket] = []
        late = threading.Event()

        def connected(line: socket.socket) -> None:
            with self._lock:
                lines.append(line)
                self._open.add(line)

        def time_is_up() -> None:
            late.set()
            with self._lock:
                for line in lines:
                    hang_up(line)

        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self._key}"} if self._key else {})}
        request = urllib.request.Request(f"{self.url}/{path}", data, headers)
        timer = threading.Timer(seconds, time_is_up)
        timer.daemon = True
        timer.start()
        try:
            with opener(connected).open(request, timeout=seconds) as response:
                yield response
            if late.is_set() or self.stopped.is_set():  # a body of unknown length just ends when it is hung up on
                raise ConnectionAbortedError("hung up")
        except urllib.error.HTTPError as error:  # read here, where the time is bounded too
            raise _RefusedError(error.code, self._words(error), _retry_after(error.headers.get("Retry-After") or "")) from None
        except (OSError, HTTPException):
            if late.is_set():
                raise TimeoutError(f"not all of it came within {seconds:.6g} s") from None
            raise
        finally:
            timer.cancel()
            with self._lock:
                for line in lines:
                    self._open.discard(line)
                    line.close()

    def _words(self, error: urllib.error.HTTPError) -> str:
        """What the server says with an error: where it redirects to, its body, or its reason."""
        if 300 <= error.code < 400:
            location = urllib.parse.urlsplit(error.headers.get("Location") or "")
            place = f"{location.scheme}://{location.netloc.rpartition('@')[2]}{location.path}"  # no name, no query
            return self.said(f"it redirects to {place}, and redirects are not followed; give the address that answers itself")
        try:
            text = read(error, _SAID_BYTES).decode(errors="replace")
        except (OSError, HTTPException):
            text = ""
        if len(text) >= _SAID_BYTES and self._key:
            text = text[: -len(self._key)]  # the cut may have left a part of the key
        return self.said(text) or self.said(str(error.reason))

    def _reason(self, error: Exception) -> str:
        reason = getattr(error, "reason", None) or error
        return self.said(str(reason)) or type(error).__name__


def _models(body: bytes) -> list[_Model]:
    """A server's list of models; of one that cannot be read, none."""
    try:
        return msgspec.json.decode(body, type=_Models).data
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return []


def _retry_after(text: str) -> float | None:
    """Seconds from now, by a Retry-After header with a number or a date; None for what is neither."""
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp())


def check_address(url: str) -> None:
    """Check that an address can be asked, and holds nothing that must not be written down.

    Raises:
        VtError: it is no address, or several, or has a name, a password or a query in it; these are not repeated.
    """
    shown = printable(url).split("?")[0].split("#")[0].rpartition("@")[2]
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if "@" in url or "?" in url or "#" in url:
        raise VtError(
            f"--endpoint {shown}: has a user name, a key or a query in it, which would be written down; "
            f"give the bare address, and a key in the environment as {API_KEY[0]}"
        )
    if re.search(r"[,;\s]https?://", url):
        raise VtError(f"--endpoint {shown}: is more than one address; repeat --endpoint for each")
    if not usable or printable(url) != url or any(c.isspace() for c in url):
        raise VtError(f"--endpoint {shown}: is no address of a server, expected something like http://localhost:8000/v1")


def _key() -> str | None:
    """The key of the environment, without white space around it.

    Raises:
        VtError: it cannot be sent in a header.
    """
    name = next((name for name in API_KEY if os.environ.get(name, "").strip()), None)
    if name is None:
        return None
    key = os.environ[name].strip()
    if not (key.isascii() and key.isprintable()):
        raise VtError(f"{name}: holds characters that no key has, such as a line end; set it again")
    return key
