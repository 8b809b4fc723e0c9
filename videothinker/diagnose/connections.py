"""Connections to a server that another thread can end, and whose answers neither redirect nor outgrow their bounds."""

import socket
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection, IncompleteRead
from typing import Any


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves an answer that redirects as the error it then is."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _Line(HTTPConnection):
    """A connection that hands out a second handle of its socket, by which another thread can end it."""

    connected: Callable[[socket.socket], None]

    def connect(self) -> None:
        super().connect()
        self.connected(self.sock.dup())  # TLS takes the socket itself over, but not what it is connected to


class _SafeLine(HTTPSConnection, _Line):
    """The same with TLS, whose handshake comes after `_Line.connect` in this order of classes."""


class _Http(urllib.request.HTTPHandler):
    def __init__(self, connected: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._connected = connected

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_lines(_Line, self._connected), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, connected: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._connected = connected

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_lines(_SafeLine, self._connected), req)


def opener(connected: Callable[[socket.socket], None]) -> urllib.request.OpenerDirector:
    """Opens requests, follows no redirect, and hands every connection's socket to `connected`, for `hang_up`."""
    return urllib.request.build_opener(_NoRedirects, _Http(connected), _Https(connected))


def _lines(kind: type[_Line], connected: Callable[[socket.socket], None]) -> Callable[..., _Line]:
    """Makes connections that tell `connected` of their sockets."""

    def make(*arguments: Any, **options: Any) -> _Line:
        line = kind(*arguments, **options)
        line.connected = connected
        return line

    return make


def hang_up(line: socket.socket) -> None:
    """End a connection, also while another thread reads from it."""
    with suppress(OSError):  # it has ended by itself
        line.shutdown(socket.SHUT_RDWR)


def read(response: Any, n_bytes: int) -> bytes:
    """At most so many bytes of a body, whatever length its header claims.

    Raises:
        OSError, HTTPException: it ends early.
    """
    parts, n_read = [], 0
    while n_read < n_bytes and (part := response.read(min(2**16, n_bytes - n_read))):
        parts.append(part)
        n_read += len(part)
    left = getattr(response, "length", None)
    if n_read < n_bytes and left:
        raise IncompleteRead(b"", left)
    return b"".join(parts)
