"""A server that misbehaves: replies stay owed, requests stay bounded, and the key stays here."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.diagnose.test_endpoint import Fake, ask, completion, server  # noqa: F401
from videothinker.curated import Curated
from videothinker.diagnose.server import Bounds, Server, _retry_after, check_address
from videothinker.errors import VtError

KEY = "sk-very-secret/4711"


def _read_request(line: socket.socket) -> None:
    """All of it: a line that is closed with unread bytes is reset, and what was written on it may be lost."""
    head, _, body = line.recv(65536).partition(b"\r\n\r\n")
    length = next((int(row.split(b":")[1]) for row in head.splitlines() if row.lower().startswith(b"content-length")), 0)
    while len(body) < length:
        body += line.recv(65536)


@contextmanager
def raw(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that reads a request and then writes what `answer` writes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    line, _ = listening.accept()
                except OSError:
                    return
                with line:
                    try:
                        _read_request(line)
                        answer(line)
                    except OSError:
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        listening.shutdown(socket.SHUT_RDWR)


def drip(line: socket.socket) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        line.sendall(b" ")
        threading.Event().wait(0.02)


def failure(url: str, bounds: Bounds) -> str:
    with pytest.raises(VtError) as caught:
        Server(url, bounds).post({}, "question 0")
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_other_finish_reasons_leave_questions_owed(server: Fake, colours: Curated) -> None:  # noqa: F811
    reasons = ["content_filter", "tool_calls", "er\x1b[2Jror", None, "stop", "length"]
    server.behave = lambda *_: completion("<answer>A</answer>", finish=reasons[(len(server.bodies) - 1) % 6])  # type: ignore[arg-type]
    with pytest.raises(
        VtError, match=r"no reply to 4 of 6 questions \(1 content_filter, 1 error, 1 no finish reason, 1 tool_calls\)"
    ):
        ask(server, colours, batch_size=1)
    assert len(server.bodies) == 6


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[" * 100_000, "no chat completion"),
        (b'{"choices": [], "x": ' + b"[" * 100_000, "no chat completion"),
        (b'{"choices": [{"message": {"content": ["a"]}}]}', "no chat completion"),
        (b" " * 5000, "more than 4,096 bytes"),
        (b'{"choices": []}', "without choices"),
    ],
)
def test_bodies_are_bounded(body: bytes, expected: str) -> None:
    def answer(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)

    bounds = Bounds(n_tries=1, n_bytes=4096 if body[:1] == b" " else 2**20)
    with raw(answer) as url:
        assert expected in failure(url, bounds)


def test_time_is_bounded() -> None:
    with raw(drip) as url:
        assert "within 0.2 s" in failure(url, Bounds(n_tries=1, seconds=0.2))


def test_redirects_are_not_followed_and_the_key_is_not_shown(
    server: Fake,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VIDEOTHINKER_API_KEY", KEY + "\n")
    server.behave = lambda *_: (307, {"Location": f"http://u:{KEY}@elsewhere/v1?key={KEY}"}, "")
    said = failure(server.url, Bounds(n_tries=2))
    assert "redirects" in said
    assert KEY not in said
    assert len(server.bodies) == 1
    server.behave = lambda *_: (401, {}, f"\x1b[2Jno: {server.headers[-1]['Authorization']} {KEY[:6]}\x1b[0m{KEY[6:]}".encode())
    said = failure(server.url, Bounds(n_tries=2))
    assert "HTTP 401: no: Bearer [key] [key]" in said
    assert KEY not in repr(vars(VtError(said)))


def test_waits_are_bounded(server: Fake) -> None:  # noqa: F811
    server.behave = lambda *_: (503, {"Retry-After": "9" * 500}, "busy")
    assert "in 2 tries" in failure(server.url, Bounds(n_tries=2, pause_seconds=0.01))
    assert (_retry_after("7"), _retry_after("soon"), _retry_after("Wed, 21 Oct 2015 07:28:00 GMT")) == (7.0, None, 0.0)


def at_once(monkeypatch: pytest.MonkeyPatch, asked: Server) -> list[float]:
    """The pauses between tries, in seconds, which then take no time."""
    pauses: list[float] = []
    monkeypatch.setattr(asked.stopped, "wait", lambda seconds: pauses.append(seconds))
    return pauses


@pytest.mark.parametrize(
    ("code", "headers", "words", "expected"),
    [
        (500, {}, "cannot read videos", [1, 2]),  # three times the same, from a server that has replied to nothing
        (500, {"Retry-After": "5"}, "warming up", [5, 5, 5, 5, 5]),  # it asks to be tried again
        (500, {}, "request {n} failed", [1, 2, 4, 8, 16]),
        (502, {}, "bad gateway", [1, 2, 4, 8, 16]),
        (503, {}, "busy", [1, 2, 4, 8, 16]),
        (504, {}, "too late", [1, 2, 4, 8, 16]),
        (429, {}, "too many", [1, 2, 4, 8, 16]),
    ],
)
def test_a_server_that_says_the_same_failure_again_and_has_never_replied_is_not_waited_for(
    server: Fake,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    headers: dict[str, str],
    words: str,
    expected: list[float],
) -> None:
    server.behave = lambda *_: (code, headers, words.format(n=len(server.bodies)))
    asked = Server(server.url, Bounds())
    pauses = at_once(monkeypatch, asked)
    with pytest.raises(VtError, match=rf"gave no answer to question 0 in {len(expected) + 1} tries, .* HTTP {code}"):
        asked.post({}, "question 0")
    assert pauses == expected


def test_a_server_that_has_replied_before_is_waited_for(
    server: Fake,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.behave = lambda *_: completion("A") if len(server.bodies) == 1 else (500, {}, "out of memory")
    asked = Server(server.url, Bounds())
    pauses = at_once(monkeypatch, asked)
    asked.post({}, "question 0")
    with pytest.raises(VtError, match="gave no answer to question 1 in 6 tries"):
        asked.post({}, "question 1")
    assert pauses == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("url", [f"http://u:{KEY}@h/v1", f"http://h/v1?key={KEY}", f"http://h/v1#{KEY}"])
def test_an_address_with_a_key_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(VtError, match="bare address") as caught:
        check_address(url)
    assert KEY not in str(caught.value)
    assert "4711" not in str(caught.value)


def test_several_addresses_in_one_are_refused_before_the_first_is_asked_at_a_path_that_names_the_second() -> None:
    for between in (",", ", ", ";", " "):
        with pytest.raises(VtError, match="is more than one address; repeat --endpoint for each"):
            check_address(f"http://a:8000/v1{between}http://b:8000/v1")
    check_address("http://a:8000/to/http://b:8000/v1")


def test_no_file_and_no_output_holds_the_key(server: Fake, colours: Curated, tmp_path: Path) -> None:  # noqa: F811
    def behave(*_: object) -> tuple[int, dict[str, str], object]:
        said = server.headers[-1]["Authorization"]
        return completion(f"{said} <answer>A</answer>") if len(server.bodies) < 3 else (403, {}, {"error": said})

    server.behave = behave
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "videothinker", "diagnose", "--model", "served", "--endpoint", server.url]
    command += ["--data", str(colours.folder), "--videos", str(colours.videos_root), "--out", str(out), "--batch-size", "1"]
    env = {**os.environ, "VIDEOTHINKER_API_KEY": KEY}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert result.returncode == 2, result.stderr
    assert "HTTP 403" in result.stderr
    assert KEY in server.headers[0]["Authorization"]
    assert "4711" not in result.stdout + result.stderr
    files = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert any(b"Bearer [key]" in file for file in files)
    assert not any(b"4711" in file for file in files)


def test_a_hint_on_how_it_was_asked_is_for_those_that_answer(server: Fake) -> None:  # noqa: F811
    def said(url: str) -> str:
        with pytest.raises(VtError) as caught:
            Server(url, Bounds(n_tries=1)).post({}, "question 0", " (as a clip)")
        return str(caught.value)

    server.behave = lambda *_: (400, {}, {"error": "no clips"})
    assert "refuses question 0 (as a clip) with HTTP 400" in said(server.url)
    server.behave = lambda *_: (503, {}, {"error": "no clips"})
    assert "no answer to question 0 (as a clip) in 1 tries, the last time HTTP 503" in said(server.url)
    with raw(lambda line: None) as url:
        assert "no answer to question 0 in 1 tries" in said(url)
