"""A registry that lies: serves a release over the Hub's wire on loopback, and whatever else a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "c0ffee" + "0" * 34
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request; `registry` is the liar that it belongs to."""

    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as told, else as an honest registry would."""
        registry = self.server.registry
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length) if length else b""
        path = urlsplit(self.path).path
        registry.requests.append((self.command, path, dict(self.headers), body))
        for part, answer in registry.lies.items():
            if part in path:
                answer(self)
                return
        registry.answer_honestly(self, path)

    do_POST = do_HEAD = do_DELETE = do_GET

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
            document = {"id": self.repository, "sha": COMMIT, "siblings": siblings}
            handler.send(200, json.dumps(document).encode())
        elif (name := path.partition(f"/{self.repository}/resolve/{COMMIT}/")[2]) in self.files:
            handler.send(200, self.files[name], content_type="application/octet-stream")
        else:
            handler.send(404, b'{"error": "no such repository"}', X_Error_Code="RepoNotFound")


@contextmanager
def serve() -> Iterator[Registry]:
    """A liar on a free port, gone afterwards."""
    server = _Server(("127.0.0.1", 0), Handler)
    server.registry = Registry(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
