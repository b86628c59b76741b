"""One address has so many connections, whether it sends a whole head or half of one; others are served meanwhile.

Each address of 127.0.0.0/8 is this machine's, so one test has many callers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from embhub.errors import RegistryError
from embhub_registry import app, serving
from embhub_registry.database import DatabaseBusyError, DatabaseUnavailableError, StorageFullError
from embhub_registry.operation.opening import open_folder
from embhub_registry.people.rate_limits import RateLimiter, site_of
from embhub_registry.storage import configuration
from embhub_registry.wire.limits.connection_limiter import MOST_OF_ONE, LimitingSocket
from tests.support.servers import init_registry
from tests.support.threads import serving as running

FREE = "127.0.0.9"
HALF = b"GET / HTTP/1.1\r\nX: "
CALLERS = ("10.42.7.9", "2001:db8:0:1::7", "fd00::1", "10.43.7.9", "2001:db8::7")
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[uvicorn.Server]:
    registry = open_folder(init_registry(tmp_path_factory.mktemp("lines")).folder)
    with running(app.build(registry), is_exempt=lambda host: host == FREE) as server:
        yield server
    registry.close()


def connect(server: uvicorn.Server, address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.config.port), timeout=10, source_address=(address, 0))


def ask(server: uvicorn.Server, address: str) -> int:
    """The status of a request of this address; 0 where the connection ends without one."""
    with connect(server, address) as line, contextlib.suppress(ConnectionError):
        line.sendall(WHOLE)
        answer = line.recv(100)
        return int(answer.split()[1]) if answer else 0
    return 0


def wait_for(server: uvicorn.Server, address: str, status: int) -> bool:
    deadline = time.monotonic() + 8
    while ask(server, address) != status:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_half_heads_of_one_address_take_its_own_places_alone(server: uvicorn.Server) -> None:
    with ExitStack() as lines:
        held = [lines.enter_context(connect(server, "127.0.0.2")) for _ in range(MOST_OF_ONE)]
        for line in held:
            line.sendall(HALF)
        assert wait_for(server, "127.0.0.3", 200), "others are served"
        with connect(server, "127.0.0.2") as refused:
            assert refused.recv(200).startswith(b"HTTP/1.1 429 ") and refused.recv(200) == b""
        held.pop().close()
        assert wait_for(server, "127.0.0.2", 200), "a place that is left is free again"
    assert wait_for(server, "127.0.0.2", 200)


def test_five_hundred_of_one_address_leave_the_server_to_others(server: uvicorn.Server) -> None:
    """As many as would fill it (`MAX_CONNECTIONS`), all kept open as far as they are."""
    with ExitStack() as lines:
        for _ in range(serving.MAX_CONNECTIONS):
            line = lines.enter_context(connect(server, "127.0.0.2"))
            with contextlib.suppress(ConnectionError):
                line.sendall(HALF)
        assert wait_for(server, "127.0.0.3", 200)
        assert len(server.server_state.connections) <= MOST_OF_ONE + 2


def test_a_proxy_is_not_counted(server: uvicorn.Server) -> None:
    with ExitStack() as lines:
        for _ in range(MOST_OF_ONE + 20):
            lines.enter_context(connect(server, FREE)).sendall(HALF)
        assert wait_for(server, FREE, 200)


def test_places_are_counted_exactly() -> None:
    listening = LimitingSocket(socket.AF_INET, socket.SOCK_STREAM, 0, most=2)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.setblocking(False)
    here = listening.getsockname()
    with listening, ExitStack() as lines:
        callers = [lines.enter_context(socket.create_connection(here, source_address=("127.0.0.2", 0))) for _ in "abc"]
        other = lines.enter_context(socket.create_connection(here, source_address=("127.0.0.3", 0)))
        taken = [listening.accept()[0] for _ in "abc"]
        assert [line.getpeername()[0] for line in taken] == ["127.0.0.2", "127.0.0.2", "127.0.0.3"]
        assert listening.open == {"127.0.0.2": 2, "127.0.0.3": 1} and b" 429 " in callers[2].recv(100)
        with pytest.raises(BlockingIOError):
            listening.accept()
        for line in (*taken, *taken):
            line.close()
        assert listening.open == {} and other.recv(1) == b""


def test_who_is_exempt_of_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = open_folder(init_registry(tmp_path).folder)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.88.0.1, 10.88.0.2")
    is_exempt = serving._exempted(app.build(registry))
    hosts = ("127.0.0.1", "::1", "10.88.0.1", "10.88.0.2", "10.88.0.3", "203.0.113.5")
    assert [is_exempt(host) for host in hosts] == [True] * 4 + [False] * 2
    assert site_of("2001:db8::1") == site_of("2001:db8::2") != site_of("2001:db8:0:1::1")
    registry.close()


@pytest.mark.parametrize(
    ("setting", "believed"),
    [
        ("10.42.0.0/16, 2001:db8:0:1::/64, fd00:0::1", {"10.42.7.9", "2001:db8:0:1::7", "fd00::1"}),
        ("10.42.0.1/16, *, 10.43.7.9", {"10.43.7.9"}),  # the first is no network: bits of a host are set
        ("", set()),
        ("*", set(CALLERS)),
    ],
)
def test_whose_forwarded_header_is_believed_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, believed: set[str]
) -> None:
    """uvicorn believes some callers what they say of theirs: those are proxies, and may have any number."""
    registry = open_folder(init_registry(tmp_path).folder)
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", setting)
    is_exempt = serving._exempted(app.build(registry))
    assert {host for host in CALLERS if is_exempt(host)} == believed
    assert {host for host in CALLERS if asyncio.run(client_of(host, setting)) != host} == believed
    registry.close()


async def client_of(host: str, setting: str) -> str:
    """Who a request of `host` is from, after uvicorn has read its headers."""
    scope: Any = {
        "type": "http",
        "scheme": "http",
        "client": (host, 1),
        "headers": [(b"x-forwarded-for", b"192.0.2.1")],
    }

    async def application(*_: Any) -> None:
        pass

    unused: Any = None
    await ProxyHeadersMiddleware(application, setting)(scope, unused, unused)
    return str(scope["client"][0])


@pytest.mark.parametrize("error", [DatabaseBusyError, DatabaseUnavailableError, StorageFullError])
def test_connections_are_taken_while_the_database_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[RegistryError]
) -> None:
    """Who is exempt is read from it as a connection is taken; an error there would close it without an answer."""
    registry = open_folder(init_registry(tmp_path).folder)
    configuration.write(registry, "rate.exempt", "127.0.0.9")
    now = [0.0]
    monkeypatch.setattr(serving, "is_this_machine", lambda _: False)  # callers of other machines
    read, unread = app.build(registry), app.build(registry)
    read.state.pace = RateLimiter(registry, lambda: now[0])
    assert serving._exempted(read)("127.0.0.9")

    def away() -> None:
        raise error("away")

    with running(read, is_exempt=serving._exempted(read)) as server, monkeypatch.context() as patch:
        now[0] += 60
        patch.setattr(registry.database, "connection", away)
        assert ask(server, "127.0.0.2") == 200
        assert serving._exempted(read)("127.0.0.9") and not serving._exempted(read)("127.0.0.2")
        assert not serving._exempted(unread)("127.0.0.9")
    registry.close()


CROWDED = """
import asyncio, os, resource, sys
from embhub_registry.serving import listen
from embhub_registry.storage import logs
from embhub_registry.wire.limits.slow_heads import TimingLoop

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

async def main():
    loop = asyncio.get_running_loop()
    listening = listen("127.0.0.1", 0, is_exempt=lambda _: True)
    async with await loop.create_server(Echo, sock=listening, backlog=512):
        most = len(os.listdir("/proc/self/fd")) + 8
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        print(listening.getsockname()[1], flush=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        await loop.run_in_executor(None, sys.stdin.readline)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)

logs.configure()
with asyncio.Runner(loop_factory=TimingLoop) as runner:
    runner.run(main())
"""
"""Its standard input is read in another thread, so that thread exists before the limit counts."""


def test_without_file_descriptors_callers_are_turned_away_and_the_server_rests() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CROWDED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None
    port = int(child.stdout.readline())
    with ExitStack() as lines:
        held = [lines.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(40)]
        for line in held:
            with contextlib.suppress(ConnectionError):
                line.sendall(b"hello")
        answers = [_first(line) for line in held]
        time.sleep(1)
    assert answers.count(b"hello") >= 4
    assert sum(answer.startswith(b"HTTP/1.1 503 ") or not answer for answer in answers) >= 20
    deadline = time.monotonic() + 10
    while _echo(port) != b"hello":
        assert time.monotonic() < deadline, "it goes on when there is room again"
    spent, said = child.communicate("\n", timeout=20)
    assert float(spent) < 0.5, "seconds of CPU time"
    assert [json.loads(line)["event"] for line in said.splitlines()] == ["cannot accept"]


def _first(line: socket.socket) -> bytes:
    """What comes first; nothing where the connection was reset, because it had been sent what nobody read."""
    try:
        return line.recv(200)
    except ConnectionError:
        return b""


def _echo(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(b"hello")
        return _first(line)
