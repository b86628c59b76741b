"""A registry that lies, and a middleman: what a test tells them to, over real sockets on loopback.

`serve()` is a liar with one release of its own; `stand_between(url)` is a proxy in front of a real registry, which
passes on everything but its lies.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "c0ffee" + "0" * 34
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"}
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request; `registry` is the liar that it belongs to."""

    server: _Server
    body: bytes
    raw_requestline: bytes
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as told, else as an honest registry would."""
        registry = self.server.registry
        length = int(self.headers.get("Content-Length", 0))
        self.body = self.rfile.read(length) if length else b""
        path = urlsplit(self.path).path
        registry.requests.append((self.command, path, dict(self.headers), self.body))
        for part, answer in registry.lies.items():
            if part in path:
                answer(self)
                return
        registry.answer_honestly(self, path)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def send(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in {"content_length": str(len(body)), "content_type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


class _Server(ThreadingHTTPServer):
    registry: Registry
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up on an endless answer is what the tests want."""


class Registry:
    """Files of one repository, a trust export, and lies by a part of the path."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.repository = "radboud/prostate-cspca"
        self.files: Mapping[str, bytes] = {}
        self.export = b""
        self.commit = COMMIT
        self.sizes: dict[str, int] = {}
        self.lies: dict[str, Answer] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    def answer_honestly(self, handler: Handler, path: str) -> None:
        """The routes that a client needs to fetch."""
        if path == "/embhub/v1/trust" and self.export:
            handler.send(200, self.export)
        elif path.startswith(f"/api/models/{self.repository}") and self.files:
            siblings = [
                {"rfilename": name, "size": self.sizes.get(name, len(data))} for name, data in self.files.items()
            ]
            document = {"id": self.repository, "sha": self.commit, "siblings": siblings}
            handler.send(200, json.dumps(document).encode())
        elif (name := path.partition(f"/{self.repository}/resolve/{self.commit}/")[2]) in self.files:
            handler.send(200, self.files[name], content_type="application/octet-stream")
        else:
            handler.send(404, b'{"error": "no such repository"}', X_Error_Code="RepoNotFound")


class Middleman(Registry):
    """Passes every request on to `upstream`, and every answer back, but for its lies."""

    def __init__(self, url: str, upstream: str) -> None:
        super().__init__(url)
        self.upstream = upstream

    def ask(self, handler: Handler, path: str | None = None) -> Received:
        """What the real registry answers to the request, or to the same with another path."""
        parts = urlsplit(self.upstream)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _HOP_BY_HOP}
        connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
        try:
            connection.request(handler.command, path or handler.path, body=handler.body or None, headers=headers)
            answer = connection.getresponse()
            return Received(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def answer_honestly(self, handler: Handler, path: str) -> None:
        """The real registry's answer, unchanged."""
        self.ask(handler).pass_on(handler)


@dataclass(frozen=True)
class Received:
    """A whole answer of the real registry."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def pass_on(self, handler: Handler) -> None:
        """Send it to the client."""
        handler.send_response(self.status)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(self.body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(self.body)


def ask(handler: Handler, path: str | None = None) -> Received:
    """What the registry behind a middleman answers."""
    registry = handler.server.registry
    assert isinstance(registry, Middleman)
    return registry.ask(handler, path)


def edited(change: Callable[[bytes], bytes], **headers: str) -> Answer:
    """The real answer with another body, and other headers."""

    def answer(handler: Handler) -> None:
        real = ask(handler)
        Received(real.status, {**real.headers, **headers}, change(real.body)).pass_on(handler)

    return answer


def instead(path: str) -> Answer:
    """The real answer for another path, under the commit that was asked for."""

    def answer(handler: Handler) -> None:
        real = ask(handler, path)
        kept = {name: value for name, value in real.headers.items() if name.lower() != "x-repo-commit"}
        Received(real.status, kept, real.body).pass_on(handler)

    return answer


def rerouted(old: str, new: str) -> Answer:
    """The real answer for the same path with one part replaced."""
    return lambda handler: ask(handler, handler.path.replace(old, new)).pass_on(handler)


def raw(data: bytes) -> Answer:
    """Bytes on the socket, whatever they are, and the end of the connection."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return answer


def drip(chunk: bytes, *, pause: float = 0.0, first: bytes = CHUNKED, framed: bool = True) -> Answer:
    """`first`, then one chunk after another for as long as the client takes it."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(first)
        with suppress(OSError):
            while True:
                handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" if framed else chunk)
                time.sleep(pause)

    return answer


@contextmanager
def serve() -> Iterator[Registry]:
    """A liar on a free port, gone afterwards."""
    with _serving(Registry) as registry:
        yield registry


@contextmanager
def stand_between(upstream: str) -> Iterator[Middleman]:
    """A middleman on a free port, in front of the registry at `upstream`."""
    with _serving(lambda url: Middleman(url, upstream)) as registry:
        assert isinstance(registry, Middleman)
        yield registry


@contextmanager
def _serving(make: Callable[[str], Registry]) -> Iterator[Registry]:
    server = _Server(("127.0.0.1", 0), Handler)
    server.registry = make(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
