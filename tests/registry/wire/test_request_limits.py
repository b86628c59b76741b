"""What the registry bounds without a proxy: heads, bodies, answers that nobody takes. Real sockets, short times.

Slow heads and idle connections: `test_slow_heads.py`. What the proxy bounds: `test_behind_nginx.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from embhub_registry import app
from embhub_registry import serving as registry_serving
from embhub_registry.operation.opening import open_folder
from embhub_registry.wire.limits import bodies, request_limits, slow_heads
from tests.support.servers import init_registry
from tests.support.threads import serving

TIMES = {"BODY_SECONDS": 0.8, "REST_SECONDS": 0.5}
DOCUMENTED = {name: getattr(request_limits, name) for name in TIMES}
DOCUMENTED["ANSWER_SECONDS"] = registry_serving.ANSWER_SECONDS
MAIN = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /api/validate-yaml HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[uvicorn.Server]:
    """A server whose times are short; the documented ones are checked below."""
    registry = open_folder(init_registry(tmp_path_factory.mktemp("lines")).folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, seconds in TIMES.items():
            patch.setattr(request_limits, name, seconds)
        patch.setattr(registry_serving, "ANSWER_SECONDS", 0.7)
        application = app.build(registry)
        application.router.routes.insert(0, Route("/large", large_answer))
        with serving(application) as server:
            yield server
    registry.close()


@pytest.fixture
def port(server: uvicorn.Server) -> int:
    return server.config.port


async def large_answer(request: Request) -> Response:
    return Response(b"x" * 30_000_000)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=15)


def drip(line: socket.socket, data: bytes, *, pause: float = 0.05) -> float:
    """Send byte by byte, without end, until the line is cut; returns how long that took."""
    started = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - started < 10:
            for byte in data:
                line.sendall(bytes([byte]))
                time.sleep(pause)
    return time.monotonic() - started


def ends(line: socket.socket) -> bytes:
    """Everything until the end of the line."""
    got = b""
    with contextlib.suppress(ConnectionError):
        while part := line.recv(65536):
            got += part
    return got


def is_served(port: int) -> bool:
    with connect(port) as line:
        line.sendall(MAIN + b"Connection: close\r\n\r\n")
        return b" 200 " in ends(line)


@pytest.mark.parametrize(
    "slow",
    [
        POST + b"Content-Length: 1000\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n",
        b"POST /api/models/a/b/commit/main HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n",
        MAIN + b"Content-Length: 1000000\r\n\r\n",
    ],
    ids=["body", "chunks", "body after a 401", "body after a 200"],
)
def test_a_slow_line_is_cut_while_others_are_served(port: int, slow: bytes) -> None:
    with connect(port) as line:
        line.sendall(slow)
        cut: list[float] = []
        thread = threading.Thread(target=lambda: cut.append(drip(line, b"a" * 100)))
        thread.start()
        assert is_served(port)
        thread.join(timeout=12)
    assert cut and 0.3 < cut[0] < 6
    assert is_served(port)


def test_a_hundred_unfinished_heads_hold_nobody_back(port: int) -> None:
    lines = [connect(port) for _ in range(100)]
    try:
        for line in lines:
            line.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert is_served(port)
    finally:
        for line in lines:
            line.close()


def test_an_answer_is_seen_before_an_unread_body_ends_the_connection(port: int) -> None:
    """Whoever sends on while it is refused reads why, and the connection serves nobody else."""
    with connect(port) as line:
        line.sendall(b"POST /api/models/a/b/commit/main HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3000000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(30):
                line.sendall(b"a" * 100_000)
                time.sleep(0.005)
        answer = ends(line)
    assert answer.startswith(b"HTTP/1.1 401 ") and b"connection: close" in answer and b"remedy" in answer


def test_an_idle_connection_is_closed(port: int) -> None:
    with connect(port) as line:
        line.sendall(MAIN + b"\r\n")
        started = time.monotonic()
        assert ends(line).count(b" 200 OK") == 1
    assert 0.5 < time.monotonic() - started < 4


@pytest.mark.parametrize("read", [0, 100])
def test_an_answer_that_nobody_takes_is_dropped(server: uvicorn.Server, port: int, read: int) -> None:
    wait_for(lambda: not server.server_state.connections)
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(15)
        line.connect(("127.0.0.1", port))
        line.sendall(b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        line.recv(read + 1)
        assert len(server.server_state.connections) == 1
        assert is_served(port)
        wait_for(lambda: not server.server_state.connections)  # the kernel ended it: TCP_USER_TIMEOUT


def wait_for(state: Callable[[], bool]) -> None:
    """Until it is so; not longer than all times here together."""
    deadline = time.monotonic() + 8
    while not state():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "request_",
    [
        MAIN + b"X-Long: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        MAIN + b"".join(b"X-%d: a\r\n" % number for number in range(200)) + b"\r\n",
        MAIN + b"a" * 40_000 + b": b\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 400_000 + b"\r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: " + b"x" * 400_000 + b"\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-T: y\r\n" * 200 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\naaaaaa",
        POST + b"Content-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX : a\r\n\r\n",
    ],
    ids=[
        *("value", "address", "many headers", "name", "chunk extension", "trailer", "trailers", "TLS"),
        *("length and chunks", "two lengths", "negative length", "space before the colon"),
    ],
)
def test_what_says_too_much_or_nonsense_is_refused(port: int, request_: bytes) -> None:
    refusals = [b"431"] if request_.startswith((MAIN, b"GET /aaa")) else [b"400"]
    with connect(port) as line:
        with contextlib.suppress(OSError):
            line.sendall(request_)
        started = time.monotonic()
        answer = ends(line)
    assert time.monotonic() - started < 6
    assert answer == b"" or answer.split()[1] in refusals
    assert is_served(port)


def test_a_head_has_a_hundred_headers(port: int) -> None:
    head = MAIN + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 200) for number in range(90))
    with connect(port) as line:
        line.sendall(head + b"Connection: close\r\n\r\n")
        assert b" 200 OK" in ends(line)
    head = MAIN + b"".join(b"X-%d: a\r\n" % number for number in range(100))
    with connect(port) as line:
        line.sendall(head + b"\r\n")
        answer = ends(line)
    assert answer.startswith(b"HTTP/1.1 431 ") and b"at most 100 headers" in answer
    with connect(port) as line:
        line.sendall((MAIN + b"\r\n") * 20 + MAIN + b"Connection: close\r\n\r\n")
        assert ends(line).count(b" 200 OK") == 21


def test_the_times_are_the_documented_ones() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/hostile-input.md").read_text()
    rows = [
        ("a small body", bodies.SECONDS_SMALL),
        ("a commit", bodies.SECONDS),
        ("any body, whichever code reads it", DOCUMENTED["BODY_SECONDS"]),
        ("the rest of a body after its answer", DOCUMENTED["REST_SECONDS"]),
        ("an answer that is not read", DOCUMENTED["ANSWER_SECONDS"]),
        ("a connection between two requests", registry_serving.IDLE_SECONDS),
        (
            "a head: the first from the connection's start, a later one from its first byte, to its last",
            slow_heads.HEAD_SECONDS,
        ),
    ]
    for what, seconds in rows:
        assert f"| {what} | {seconds:.0f} s |" in page


@pytest.mark.parametrize("finished", [True, False], ids=["body read", "body unread"])
@pytest.mark.parametrize("size", [0, 1, request_limits.PIECE_BYTES, request_limits.PIECE_BYTES + 1, 3_000_000])
def test_a_large_answer_is_handed_on_in_pieces(size: int, finished: bool) -> None:
    """The server copies what it cannot send yet: of an answer to who does not read, that is one piece."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        answer = request_limits._Answer(request_limits.BoundedBody(receive, announced=not finished), send)
        await answer.send({"type": "http.response.start", "status": 200, "headers": []})
        await answer.send({"type": "http.response.body", "body": bytes(range(256)) * (size // 256 + 1)})

    asyncio.run(run())
    bodies_sent = [message.get("body", b"") for message in sent[1:]]
    assert b"".join(bodies_sent) == bytes(range(256)) * (size // 256 + 1)
    assert max(map(len, bodies_sent)) <= request_limits.PIECE_BYTES
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(sent) - 2) + [False]
