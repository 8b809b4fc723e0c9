"""A server for tests: what it answers is up to the test, and it remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[[dict[str, Any], int], tuple[int, dict[str, str], Any]]
"""(request, how many times this one came before) -> HTTP code, headers, body."""


def completion(text: str | None, finish: str = "stop", **message: Any) -> tuple[int, dict[str, str], Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return 200, {}, {"id": "x", "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


class Fake(ThreadingHTTPServer):
    """A server whose `behave` says what it answers; it remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.behave: Behaviour = lambda body, n: completion("<answer>A</answer>")
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.models: Any = None
        self.n_now = self.n_most = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def texts(self) -> list[str]:
        return [body["messages"][0]["content"][-1]["text"] for body in self.bodies]


class Handler(BaseHTTPRequestHandler):
    server: Fake

    def do_GET(self) -> None:
        models = self.server.models
        self.reply(*((404, {}, {"error": "no list of models"}) if models is None else (200, {}, models)))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            before = sum(body == other for other in server.bodies)
            server.bodies.append(body)
            server.headers.append(dict(self.headers))
            server.n_now += 1
            server.n_most = max(server.n_most, server.n_now)
        answer = server.behave(body, before)
        with server.lock:
            server.n_now -= 1
        self.reply(*answer)

    def reply(self, code: int, headers: dict[str, str], body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Fake]:
    fake = Fake()
    threading.Thread(target=fake.serve_forever, daemon=True).start()
    yield fake
    fake.shutdown()
    fake.server_close()
