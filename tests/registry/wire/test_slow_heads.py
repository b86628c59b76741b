"""Heads and idle connections have their time; requests are answered in their order, and nothing out of a body."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from embhub_registry import app
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage import logs
from embhub_registry.wire.limits import slow_heads
from embhub_registry.wire.limits.slow_heads import TimedConnection
from tests.support.servers import init_registry
from tests.support.threads import serving

SLOW_SECONDS = 2.5  # longer than a head or a pause may last here
LARGE = 200_000


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """What the application was asked for by `/slow` and `/large`, in this order."""
    return []


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, asked: list[str]) -> Iterator[int]:
    async def slow(request: Request) -> Response:
        asked.append(request.url.path)
        await asyncio.sleep(SLOW_SECONDS)
        return Response(b"late")

    async def large(request: Request) -> Response:
        asked.append(request.url.path)
        return Response(bytes(LARGE))

    registry = open_folder(init_registry(tmp_path_factory.mktemp("connections")).folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slow_heads, "HEAD_SECONDS", 0.8)
        application = app.build(registry)
        application.router.routes[:0] = [Route("/slow", slow, methods=["GET", "POST"]), Route("/large", large)]
        with serving(application) as server:
            yield server.config.port
    registry.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=15)


def ask(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


def read(line: socket.socket) -> bytes:
    """One answer, and no byte of the next."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += some(line, 1)
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    body = b""
    while len(body) < int(length[1]):
        body += some(line, int(length[1]) - len(body))
    return head + body


def some(line: socket.socket, most: int) -> bytes:
    data = line.recv(most)
    assert data, "the connection ended"
    return data


def rest(line: socket.socket) -> tuple[bytes, float]:
    """What comes until the server ends the connection, and the seconds that takes."""
    started, got = time.monotonic(), b""
    with contextlib.suppress(ConnectionError):
        while part := line.recv(65536):
            got += part
    return got, time.monotonic() - started


def drip(line: socket.socket) -> float:
    """Send a header byte by byte until the connection ends; returns how long that took, 8 s at most."""
    started = time.monotonic()
    with contextlib.suppress(OSError):
        line.sendall(b"X: ")
        while time.monotonic() - started < 8:
            line.sendall(b"a")
            time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.parametrize("before", [b"", ask("GET", "/healthz")], ids=["first", "after an answer"])
def test_a_head_that_is_sent_slowly_is_cut(port: int, before: bytes) -> None:
    with connect(port) as line:
        if before:
            line.sendall(before)
            read(line)
        took: list[float] = []
        line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        thread = threading.Thread(target=lambda: took.append(drip(line)))
        thread.start()
        with connect(port) as other:
            other.sendall(ask("GET", "/healthz"))
            assert read(other).startswith(b"HTTP/1.1 200 OK")
        thread.join(timeout=10)
    assert took and 0.5 < took[0] < 3


def test_a_head_that_began_during_an_answer_is_cut(port: int) -> None:
    with connect(port) as line:
        line.sendall(ask("GET", "/slow") + b"GET / HTTP/1.1\r\n")
        assert read(line).endswith(b"late")
        assert 0.5 < drip(line) < 3


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    with connect(port) as line:
        assert 0.5 < rest(line)[1] < 3


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_may_take_longer_than_a_head(port: int, method: str) -> None:
    request = ask(method, "/slow", *(["Content-Length: 0"] if method == "POST" else []))
    with connect(port) as line:
        for _ in range(2):
            line.sendall(request)
            assert read(line).endswith(b"late")
        assert 0.5 < rest(line)[1] < 3, "and then the connection is idle"


def test_a_body_may_come_longer_than_a_head(port: int) -> None:
    body = b"x" * 40
    with connect(port) as line:
        line.sendall(ask("POST", "/slow", f"Content-Length: {len(body)}"))
        for byte in body:
            line.sendall(bytes([byte]))
            time.sleep(0.04)
        assert read(line).endswith(b"late")


def test_a_connection_that_goes_on_asking_is_not_idle(port: int) -> None:
    with connect(port) as line:
        for _ in range(8):
            line.sendall(ask("GET", "/healthz"))
            assert read(line).startswith(b"HTTP/1.1 200 OK")
            time.sleep(0.4)
        assert rest(line)[1] < 3


def test_what_stands_in_a_body_is_no_request(port: int, asked: list[str]) -> None:
    asked.clear()
    hidden = ask("GET", "/large")
    heads = [
        b"POST /api/validate-yaml HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(hidden),
        b"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(hidden),
        b"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(hidden),
        b"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
    ]
    for head in heads:
        with connect(port) as line:
            line.sendall(head)
            time.sleep(0.1)  # what follows comes by itself, and looks like a head
            with contextlib.suppress(OSError):
                line.sendall(hidden)
            line.shutdown(socket.SHUT_WR)
            assert rest(line)[0].count(b"HTTP/1.1 ") <= 1
        assert asked == [], head


def test_requests_sent_ahead_are_answered_in_their_order(port: int) -> None:
    slow, quick = ask("GET", "/slow"), ask("GET", "/healthz")
    for first in (slow, quick + slow):
        with connect(port) as line:
            line.sendall(first)
            time.sleep(0.2)
            line.sendall(quick)
            if first != slow:
                assert b"late" not in read(line)
            assert read(line).endswith(b"late")
            assert b"late" not in read(line)


def test_each_of_requests_sent_ahead_has_its_own_id_in_the_log(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn begins the second within the first one's context."""
    out = io.StringIO()
    monkeypatch.setattr(logs._OUTPUT, "file", out)
    with connect(port) as line:
        line.sendall(ask("GET", "/healthz", "X-Request-Id: one") + ask("GET", "/healthz", "X-Request-Id: two"))
        for name in (b"one", b"two"):
            assert b"x-request-id: " + name in read(line)
        line.sendall(ask("GET", "/healthz"))  # by its answer, the lines of the others are written
        read(line)
    pairs = [json.loads(row, object_pairs_hook=list) for row in out.getvalue().splitlines()]
    ids = [[value for name, value in row if name == "id"] for row in pairs]
    mine = [row for row in ids if {"one", "two"} & set(row)]  # the requests of earlier tests may end meanwhile
    assert mine == [["one"], ["two"]]


def test_answers_that_nobody_takes_do_not_pile_up(port: int, asked: list[str]) -> None:
    asked.clear()
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(5)
        line.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):
            for _ in range(200):
                line.sendall(ask("GET", "/large"))
                time.sleep(0.005)
    assert 0 < len(asked) * LARGE < 12_000_000, "what the kernel took, and one more"


def test_nothing_is_left_of_a_connection_that_was_reset() -> None:
    """A timer would keep what it is about in memory."""

    async def hello(_: Request) -> Response:
        return Response(b"hello")

    def connections() -> int:
        gc.collect()
        return sum(isinstance(found, TimedConnection) for found in gc.get_objects())

    before = connections()
    with serving(Starlette(routes=[Route("/", hello)]), idle_seconds=60) as server:
        for _ in range(10):
            with connect(server.config.port) as line:
                line.sendall(ask("GET", "/"))
                read(line)
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deadline = time.monotonic() + 5
        while connections() > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert connections() <= before
