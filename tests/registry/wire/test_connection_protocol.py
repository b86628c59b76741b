"""Before uvicorn: heads and idle connections have their time; nothing is answered out of turn or out of a body."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from embhub.release.files import EMBEDDING
from embhub_registry import app
from embhub_registry.database import repositories
from embhub_registry.operation import background_tasks
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry
from embhub_registry.wire import connection_protocol, server_loop
from embhub_registry.wire.connection_protocol import ConnectionProtocol, Ends, Write
from embhub_registry.wire.immediate_answers import ImmediateAnswers
from embhub_registry.wire.plain_requests import PlainRequest
from tests.support import pushes, releases
from tests.support.servers import init_registry
from tests.support.threads import serving

NAME = "radboud/prostate-cspca"
INFO = f"/api/models/{NAME}"
SLOW_SECONDS = 2.5  # longer than a head or a pause may last here
CHANGING = re.compile(rb"(?m)^(date|x-request-id): .*$")


@dataclass
class Served:
    """A server in a thread of this process, and what it answered at once."""

    application: Starlette
    beside: Registry
    port: int
    token: str
    file: str
    immediate: list[str]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def warm(self, *requests: bytes) -> None:
        """Have the application's answers to these kept."""
        for request in requests:
            with self.connect() as line:
                for _ in range(2):
                    line.sendall(request)
                    read(line, request)
        self.immediate.clear()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = init_registry(tmp_path_factory.mktemp("connections"))
    running.add_key(releases.SITE, namespace="radboud")
    alice, lea = running.add_user("alice", namespace="radboud"), running.add_user("lea", namespace="lumc")
    registry, beside = open_folder(running.folder), open_folder(running.folder)
    immediate: list[str] = []
    answer = ImmediateAnswers.answer

    def noting(self: ImmediateAnswers, request: PlainRequest, ends: Ends, write: Write) -> bool:
        def writing(parts: list[bytes]) -> None:
            immediate.append(request.path.decode())
            write(parts)

        return answer(self, request, ends, writing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection_protocol, "HEAD_SECONDS", 0.8)
        patch.setattr(background_tasks, "SECONDS", 3600.0)
        patch.setattr(ImmediateAnswers, "answer", noting)
        application = app.build(registry)
        application.router.routes.insert(0, Route("/slow", slow_answer, methods=["GET", "POST"]))
        with serving(application) as server:
            running.url = f"http://127.0.0.1:{server.config.port}"
            assert pushes.create(running, "prostate-cspca", token=alice).status == 200
            assert pushes.commit(running, NAME, releases.make_release().files, token=alice).status == 200
            sha = repositories.find_ref(beside.database.connection(), 1, "main")
            file = f"/{NAME}/resolve/{sha}/{EMBEDDING}"
            yield Served(application, beside, server.config.port, lea, file, immediate)
    beside.close()
    registry.close()


async def slow_answer(request: Request) -> Response:
    await asyncio.sleep(SLOW_SECONDS)
    return Response(b"late")


def ask(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


def read(line: socket.socket, request: bytes) -> bytes:
    """One whole answer, its date and id taken out."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += some(line)
    head, end, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    while len(body) < int(length[1]) and not request.startswith(b"HEAD"):
        body += some(line)
    return CHANGING.sub(rb"\1", head) + end + body


def some(line: socket.socket) -> bytes:
    data = line.recv(1 << 20)
    assert data, "the connection ended"
    return data


def ends_after(line: socket.socket) -> float:
    """Seconds until the server ends the connection."""
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while line.recv(65536):
            pass
    return time.monotonic() - started


def drip(line: socket.socket, data: bytes) -> float:
    """Send byte by byte until the connection ends; returns how long that took."""
    started = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - started < 8:
            for byte in data:
                line.sendall(bytes([byte]))
                time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.parametrize("before", [b"", ask("GET", INFO)], ids=["first", "after an answer"])
def test_a_head_that_is_sent_slowly_is_cut(served: Served, before: bytes) -> None:
    with served.connect() as line:
        if before:
            line.sendall(before)
            read(line, before)
        took: list[float] = []
        line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        thread = threading.Thread(target=lambda: took.append(drip(line, b"X: " + b"a" * 10_000)))
        thread.start()
        with served.connect() as other:
            other.sendall(ask("GET", "/healthz"))
            assert read(other, b"GET").startswith(b"HTTP/1.1 200 OK")
        thread.join(timeout=10)
    assert took and 0.5 < took[0] < 3


def test_a_connection_that_says_nothing_is_closed(served: Served) -> None:
    with served.connect() as line:
        assert 0.5 < ends_after(line) < 3


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_may_take_longer_than_a_head(served: Served, method: str) -> None:
    request = ask(method, "/slow", *(["Content-Length: 0"] if method == "POST" else []))
    with served.connect() as line:
        for _ in range(2):
            line.sendall(request)
            assert read(line, request).endswith(b"late")
        assert 0.5 < ends_after(line) < 3, "and then the connection is idle"


def test_a_connection_that_is_answered_at_once_is_not_idle(served: Served) -> None:
    request = ask("GET", INFO)
    served.warm(request)
    with served.connect() as line:
        for _ in range(8):
            line.sendall(request)
            read(line, request)
            time.sleep(0.4)
        assert served.immediate == [INFO] * 8
        assert ends_after(line) < 3


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize("what", ["GET file", "HEAD file", "GET info", "HEAD info", "GET page", "HEAD main"])
def test_an_immediate_answer_is_the_applications_byte_for_byte(served: Served, what: str, signed_in: bool) -> None:
    method, kind = what.split()
    main = served.file.replace(served.file.split("/")[4], "main")
    path = {"file": served.file, "info": INFO, "page": f"/{NAME}", "main": main}[kind]
    token = [f"Authorization: Bearer {served.token}"] if signed_in else []
    plain, other = ask(method, path, *token), ask(method, path, *token, "TE: trailers")
    served.warm(plain)
    with served.connect() as line:
        line.sendall(plain)
        immediate = read(line, plain)
        assert served.immediate == [path]
        line.sendall(other)
        assert read(line, other) == immediate and served.immediate == [path]
        line.sendall(plain)
        assert read(line, plain) == immediate and served.immediate == [path], "the rest of the line is uvicorn's"


def test_what_stands_in_a_body_is_no_request(served: Served) -> None:
    """The reader in front and the one behind must not differ about where a request ends (request smuggling)."""
    hidden = ask("GET", INFO)
    served.warm(hidden)
    heads = [
        b"POST /api/validate-yaml HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(hidden),
        b"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(hidden),
        b"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(hidden),
        b"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        b"GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ]
    for head in heads:
        with served.connect() as line:
            line.sendall(head)
            time.sleep(0.1)  # what follows comes by itself, and looks like a head
            with contextlib.suppress(OSError):
                line.sendall(hidden)
            line.shutdown(socket.SHUT_WR)
            ends_after(line)
        assert served.immediate == [], head


def test_requests_sent_ahead_are_answered_in_their_order(served: Served) -> None:
    slow, quick = ask("GET", "/slow"), ask("GET", INFO)
    served.warm(quick)
    for first in (slow, quick + slow):
        with served.connect() as line:
            line.sendall(first)
            time.sleep(0.2)
            line.sendall(quick)  # it would be answered at once, were it its turn
            if first != slow:
                assert INFO.rsplit("/", 1)[1].encode() in read_one(line)
            assert read_one(line).endswith(b"late")
            assert INFO.rsplit("/", 1)[1].encode() in read_one(line)
    assert served.immediate == []


def read_one(line: socket.socket) -> bytes:
    """One answer, and no byte of the next."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += line.recv(1)
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    body = b""
    while len(body) < int(length[1]):
        body += line.recv(int(length[1]) - len(body))
    return head + body


def test_answers_that_nobody_takes_do_not_pile_up(served: Served) -> None:
    request = ask("GET", served.file)
    served.warm(request)
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(5)
        line.connect(("127.0.0.1", served.port))
        with contextlib.suppress(OSError):
            for _ in range(200):
                line.sendall(request)
                time.sleep(0.005)
    size = len(releases.make_release().files[EMBEDDING])
    assert len(served.immediate) * size < 12_000_000, "what the kernel took, and one more"


def test_a_caller_behind_a_proxy_is_who_the_proxy_names(served: Served) -> None:
    request = ask("GET", INFO, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
    served.warm(request)
    for lines, expected in (
        (["X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"], 1),
        (["X-Forwarded-For: 192.0.2.7:80", "X-Forwarded-Proto: https"], 0),
        (["X-Forwarded-For: 192.0.2.7, 192.0.2.8", "X-Forwarded-Proto: https"], 0),
        (["X-Forwarded-For: unknown", "X-Forwarded-Proto: https"], 0),
        (["X-Forwarded-For: ", "X-Forwarded-Proto: https"], 0),
        (["X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: wss"], 0),
    ):
        served.immediate.clear()
        with served.connect() as line:
            line.sendall(ask("GET", INFO, *lines))
            assert read(line, request).startswith(b"HTTP/1.1 200 OK")
        assert len(served.immediate) == expected, lines


def test_whose_word_is_believed_is_the_same_before_uvicorn_and_in_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ImmediateAnswers(served.application, is_proxy=lambda host: host == "192.0.2.1")
    headers = {b"host": b"127.0.0.1", b"x-forwarded-for": b"192.0.2.7", b"x-forwarded-proto": b"https"}
    request = PlainRequest("GET", INFO.encode(), b"", headers)
    for client, expected in (("192.0.2.1", (("192.0.2.7", 0), "https")), ("192.0.2.2", (("192.0.2.2", 5), "http"))):
        scope = answers._scope(request, Ends((client, 5), ("127.0.0.1", 80)))
        assert scope is not None and (scope["client"], scope["scheme"]) == expected


def test_a_registry_that_was_closed_is_closed_at_once(served: Served) -> None:
    plain, signed_in = ask("GET", INFO), ask("GET", INFO, f"Authorization: Bearer {served.token}")
    served.warm(plain, signed_in)
    configuration.write(served.beside, "read.anonymous", "no")
    try:
        with served.connect() as line:
            for _ in range(3):
                line.sendall(plain)
                assert read(line, plain).startswith(b"HTTP/1.1 401")
        with served.connect() as line:
            for _ in range(3):
                line.sendall(signed_in)
                answer = read(line, signed_in)
                assert answer.startswith(b"HTTP/1.1 200") and b"private" in answer
        assert served.immediate == []
    finally:
        configuration.write(served.beside, "read.anonymous", "yes")


def test_whatever_fails_before_the_answer_is_the_applications_to_say(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask("GET", INFO)
    served.warm(request)

    def failing(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(ImmediateAnswers, "_forget_old", failing)
    with served.connect() as line:
        line.sendall(request)
        assert read(line, request).startswith(b"HTTP/1.1 200")
    assert served.immediate == []


def test_nothing_is_left_of_a_connection_that_was_reset(served: Served) -> None:
    """uvicorn's timers are long here, and each would keep what it is about in memory."""

    def connections() -> int:
        gc.collect()
        return sum(isinstance(found, ConnectionProtocol) for found in gc.get_objects())

    before = connections()
    for _ in range(10):
        with served.connect() as line:
            line.sendall(ask("GET", "/healthz"))
            read(line, b"GET")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deadline = time.monotonic() + 5
    while connections() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert connections() <= before


def test_a_server_out_of_file_descriptors_rests_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_loop, "REST_SECONDS", 0.05)
    tries = 0

    class Exhausted(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise OSError(24, "Too many open files")
            return super().accept()

    async def run() -> bytes:
        with Exhausted() as listening:
            listening.setblocking(False)
            listening.bind(("127.0.0.1", 0))
            server = await asyncio.get_running_loop().create_server(Echo, sock=listening)
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"hello")
            got = await reader.read(5)
            writer.close()
            server.close()
            await server.wait_closed()
            return got

    with asyncio.Runner(loop_factory=server_loop.ServerLoop) as runner:
        assert runner.run(run()) == b"hello" and tries > 1


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]  # of a stream
