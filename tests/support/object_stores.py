"""An object store for tests: moto's server in a process of its own, and a proxy before it that fails when told to."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import pytest

from embhub_registry.storage import s3_place
from embhub_registry.storage.s3_blobs import S3Blobs
from tests.support.servers import environment, free_port

SECONDS = 60.0
SECRET = "a-secret-that-no-log-may-hold"
KEY_ID = "AKIDFORTESTSONLY0000"
Fault = Literal["", "slow", "500", "503", "half", "short", "other", "reset", "lost", "ignore", "refuse", "denied"]
METHODS = ("GET", "PUT", "HEAD", "DELETE")
CHOSEN = os.environ.get("EMBHUB_TEST_BLOBS") == "s3"
needs_folder = pytest.mark.skipif(CHOSEN, reason="it is about the files of a folder")


def variables(endpoint: str) -> dict[str, str]:
    """The AWS variables that lead to a store on loopback."""
    return {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1", "NO_PROXY": "127.0.0.1,localhost",
    }  # fmt: skip


@dataclass(frozen=True)
class RunningStore:
    """A store that answers at `url`; what is in it ends with its process."""

    url: str
    pid: int

    def make_bucket(self) -> str:
        """A new bucket; its name."""
        name = f"test-{uuid.uuid4().hex[:20]}"
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=SECONDS):
            return name


@contextmanager
def running_store() -> Iterator[RunningStore]:
    """moto's server until the block ends."""
    port = free_port()
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    try:
        _wait(process, port)
        yield RunningStore(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "moto's server ended"
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            line.request("GET", "/moto-api/")
            line.getresponse().read()
            return
        except OSError:
            time.sleep(0.1)
        finally:
            line.close()
    raise AssertionError("moto's server did not start")


@dataclass
class FaultyProxy:
    """Passes requests on to a store; while `fault` is set, `times` of those whose method is in `methods` meet it.

    Attributes:
        url: Where it listens.
        fault: `slow` answers after `delay` seconds, `500` and `503` are errors, `half` breaks off within the body,
            `short` is half a body said to be whole, `other` has another byte, `reset` closes without an answer, `lost`
            the same after the store did what was asked; `ignore` takes the condition off a request, `refuse` answers
            501 to one that has it; `denied` answers 403.
        times: How many requests are left that meet it.
        methods: Which do.
        delay: Seconds that `slow` takes.
        seen: Method and path of every request.
    """

    url: str
    fault: Fault = ""
    times: int = 1_000_000
    methods: tuple[str, ...] = METHODS
    delay: float = 30.0
    seen: list[tuple[str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def meets(self, method: str) -> Fault:
        """The fault that this request meets."""
        if not self.fault or method not in self.methods or self.times <= 0:
            return ""
        self.times -= 1
        return self.fault

    def set(self, fault: Fault, *, times: int = 1_000_000, methods: tuple[str, ...] = METHODS) -> None:
        """Begin to fail, or to work again (`""`)."""
        self.times, self.methods, self.fault = times, methods, fault


@contextmanager
def faulty_proxy(store: str) -> Iterator[FaultyProxy]:
    """A proxy before the store at this address, in a thread, until the block ends."""
    proxy = FaultyProxy("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            proxy.seen.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            _serve(self, proxy, store, body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that was killed, say
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.ended.set()
            server.shutdown()
            thread.join(timeout=20)


def _serve(handler: BaseHTTPRequestHandler, proxy: FaultyProxy, store: str, body: bytes) -> None:
    conditional = "If-None-Match" in handler.headers or "If-Match" in handler.headers
    fault = proxy.meets(handler.command)
    if fault == "slow":
        proxy.ended.wait(proxy.delay)
    if fault in ("500", "503", "denied") or (fault == "refuse" and conditional):
        status = {"500": 500, "503": 503, "refuse": 501, "denied": 403}[fault]
        code = {
            "500": "InternalError", "503": "SlowDown", "refuse": "NotImplemented", "denied": "AccessDenied",
        }[fault]  # fmt: skip
        said = f"<Error><Code>{code}</Code><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>"
        _answer(handler, status, {}, said.encode())
        return
    if fault in ("slow", "reset"):
        handler.close_connection = True
        return
    if fault == "lost":
        _forward(handler, store, body, without="")
        handler.close_connection = True
        return
    status, headers, data = _forward(handler, store, body, without="If-None-Match" if fault == "ignore" else "")
    if handler.command == "GET" and "/blobs/" in handler.path and status in (200, 206):
        if fault == "half":
            _answer(handler, status, headers, data, sent=len(data) // 2)
            return
        data = {"short": data[: len(data) // 2], "other": b"X" + data[1:]}.get(fault, data)
    _answer(handler, status, headers, data)


def _forward(
    handler: BaseHTTPRequestHandler, store: str, body: bytes, *, without: str
) -> tuple[int, dict[str, str], bytes]:
    line = http.client.HTTPConnection(store.removeprefix("http://"), timeout=SECONDS)
    try:
        kept = {
            name: value
            for name, value in handler.headers.items()
            if name.lower() not in (without.lower(), "connection")
        }
        line.request(handler.command, handler.path, body=body or None, headers=kept)
        answer = line.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        line.close()


def _answer(
    handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], data: bytes, *, sent: int | None = None
) -> None:
    handler.send_response_only(status)
    length = headers.get("Content-Length") if handler.command == "HEAD" else str(len(data))
    for name, value in headers.items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            handler.send_header(name, value)
    handler.send_header("Content-Length", length or "0")
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(data[:sent])
    if sent is not None:
        handler.wfile.flush()
        handler.close_connection = True


def open_place(bucket: str, *, prefix: str = "hub", grace: float = 3600) -> S3Blobs:
    """The objects of a place, as the AWS variables lead there."""
    return S3Blobs(s3_place.parse(f"s3://{bucket}/{prefix}?grace={grace}"))
