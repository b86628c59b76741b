"""A registry behind nginx, with the configuration that we ship: what it hands on, and whom it turns away.

The times are the shipped ones, so the slow clients run side by side and take about a quarter of a minute.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embhub.release.files import EMBEDDING
from embhub_registry.storage import configuration
from tests.support import pushes, releases
from tests.support.nginx import HOST, Authority, Proxy, needs_nginx, proxy_before
from tests.support.servers import RunningRegistry, start_registry

pytestmark = needs_nginx
GET = f"GET /healthz HTTP/1.1\r\nHost: {HOST}\r\n".encode()
POST = f"POST /api/validate-yaml HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n".encode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    registry = start_registry(tmp_path_factory.mktemp("behind"))
    with registry.opened() as opened:
        configuration.write(opened, "hosts.allowed", HOST)
    yield registry
    registry.stop()


@pytest.fixture
def proxy(served: RunningRegistry, tmp_path: Path) -> Iterator[Proxy]:
    """Each test's own, so that no test uses up another's limits."""
    with proxy_before(served.url, tmp_path) as running:
        yield running


def ask(proxy: Proxy, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    line = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=proxy.context, timeout=20)
    line.sock = proxy.connect()
    line.request("GET", path, headers={"Host": HOST, **headers})
    answer = line.getresponse()
    body = answer.read()
    line.close()
    return answer.status, answer.headers, body


def ends(line: socket.socket) -> bytes:
    """Everything until the connection ends."""
    got = b""
    with contextlib.suppress(OSError):
        while part := line.recv(65536):
            got += part
    return got


def status_of(answer: bytes) -> int:
    """Of an HTTP/1.1 answer; 0 where there is none."""
    return int(answer.split(maxsplit=2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_what_is_handed_on(served: RunningRegistry, proxy: Proxy) -> None:
    status, headers, _ = ask(proxy, "/healthz")
    assert status == 200 and "max-age" in headers["Strict-Transport-Security"]
    assert ask(proxy, "/metrics")[0] == 404, "monitoring is not for the world"
    token = served.add_user("alice", namespace="radboud")
    body = {"name": "one", "type": "model"}
    assert served.request("POST", "/api/repos/create", token=token, json_body=body).status == 200
    tag = {"tag": "a/b"}
    made = served.request("POST", "/api/models/radboud/one/tag/main", token=token, json_body=tag)
    assert made.status == 200, made.body
    assert ask(proxy, "/api/models/radboud/one/revision/a%2Fb")[0] == 200, "an encoded slash arrives as one"
    assert ask(proxy, "/api/models?limit=0")[0] == 400
    ask(proxy, "/api/whoami-v2", Authorization="Bearer hf_emb_wrong", **{"X-Forwarded-For": "203.0.113.9"})
    deadline = time.monotonic() + 20
    while "/api/whoami-v2" not in served.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "/api/whoami-v2" in served.log.read_text(), "the last request is in the log"
    assert '"client": "127.0.0.1"' in served.log.read_text() and "203.0.113.9" not in served.log.read_text(), (
        "the proxy says who calls, the caller does not"
    )


def test_no_login_link_is_in_the_log_of_nginx(proxy: Proxy, tmp_path: Path) -> None:
    for path in ("/login/link/hf_emb_secret?x", "/healthz?last"):
        ask(proxy, path)
    deadline, log = time.monotonic() + 20, tmp_path / "access.log"
    while "/healthz?last" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "/healthz?last" in log.read_text() and "hf_emb_secret" not in log.read_text()


def sends(proxy: Proxy, first: bytes, *, every: float | None) -> tuple[int, float]:
    """Send `first`, then a byte `every` so many seconds or nothing; what was answered, and after how long."""
    with proxy.connect(timeout=45) as line:
        started = time.monotonic()
        line.sendall(first)
        over = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError, ValueError):
                while every is not None and not over.wait(every):
                    line.sendall(b"a")

        thread = threading.Thread(target=drip)
        thread.start()
        answer = ends(line)
        took = time.monotonic() - started
        over.set()
        thread.join()
    return status_of(answer), took


def test_slow_clients_are_cut_off_while_others_are_served(proxy: Proxy) -> None:
    slow: dict[str, tuple[bytes, float | None]] = {
        "nothing": (b"", None),
        "a head that stops": (GET + b"X-A: ", None),
        "a head by the byte": (GET + b"X-A: ", 0.5),
        "a body that stops": (POST + b"Content-Length: 1000\r\n\r\n{", None),
        "a body by the byte": (POST + b"Content-Length: 1000\r\n\r\n{", 0.5),
        "chunks by the byte": (POST + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n", 0.5),
    }
    with ThreadPoolExecutor(len(slow)) as pool:
        asked = {name: pool.submit(sends, proxy, first, every=every) for name, (first, every) in slow.items()}
        time.sleep(5)
        assert ask(proxy, "/healthz")[0] == 200
        found = {name: future.result() for name, future in asked.items()}
    for name, (status, took) in found.items():
        assert 13 < took < 25, (name, took)
        assert status in (0, 408), (name, status)
    assert found["a body by the byte"][0] == 408, "the registry's deadline is for the whole of it"
    assert ask(proxy, "/healthz")[0] == 200


def reads(proxy: Proxy, address: str, paths: list[str], *, ready: threading.Barrier) -> list[int]:
    """What a reader of this address is answered, one request after the other on one connection."""
    line = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=proxy.context, timeout=60)
    plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=60, source_address=(address, 0))
    line.sock = proxy.context.wrap_socket(plain, server_hostname=HOST)
    ready.wait(timeout=60)
    statuses = []
    for path in paths:
        line.request("GET", path, headers={"Host": HOST, "Accept": "text/html"})
        answer = line.getresponse()
        answer.read()
        statuses.append(answer.status)
    line.close()
    return statuses


@pytest.mark.slow
def test_two_hundred_readers_at_once_are_all_answered(served: RunningRegistry, proxy: Proxy) -> None:
    """A page, a file and a search, each of them from an address of its own, and nothing is answered from a cache."""
    served.add_key(releases.SITE, namespace="radboud")
    rosa = served.add_user("rosa", namespace="radboud")
    assert pushes.create(served, "prostate-cspca", token=rosa).status == 200
    assert pushes.commit(served, releases.REPOSITORY, releases.make_release().files, token=rosa).status == 200
    paths = [f"/{releases.REPOSITORY}", f"/{releases.REPOSITORY}/resolve/main/{EMBEDDING}", "/?q=cspca"]
    ready = threading.Barrier(200)
    with ThreadPoolExecutor(200) as pool:
        asked = [pool.submit(reads, proxy, f"127.0.1.{n + 1}", paths, ready=ready) for n in range(200)]
        assert [future.result() for future in asked] == [[200, 200, 200]] * 200


def holds(proxy: Proxy, count: int) -> list[socket.socket]:
    """Connections with a request under way each: its body does not come."""
    lines: list[socket.socket] = []
    for _ in range(count):
        line = proxy.connect()
        line.sendall(POST + b"Content-Length: 10\r\n\r\n{")
        lines.append(line)
    return lines


def test_one_address_has_so_many_requests_under_way(proxy: Proxy) -> None:
    held = holds(proxy, 64)
    try:
        wait_until(lambda: ask(proxy, "/healthz")[0] == 429)
        held.pop().close()
        wait_until(lambda: ask(proxy, "/healthz")[0] == 200)
    finally:
        for line in held:
            line.close()


def wait_until(state: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 8
    while not state():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_one_address_may_make_so_many_requests_at_once(proxy: Proxy) -> None:
    with proxy.connect() as line:
        count = 900  # fewer than nginx answers on one connection
        line.sendall(b"".join([GET + b"\r\n"] * (count - 1)) + GET + b"Connection: close\r\n\r\n")
        started = time.monotonic()
        answer = ends(line)
        took = time.monotonic() - started
    served, refused = answer.count(b"HTTP/1.1 200 "), answer.count(b"HTTP/1.1 429 ")
    assert served + refused == count and 400 <= served <= 402 + 100 * took and refused > 0, (served, refused, took)


@pytest.mark.thorough
def test_half_heads_by_the_hundred_keep_nobody_out(proxy: Proxy) -> None:
    """As many as the registry alone would take in all, of one address, half of them before TLS was agreed on."""
    with contextlib.ExitStack() as lines:
        for number in range(500):
            if number % 2:
                lines.enter_context(proxy.connect()).sendall(GET + b"X-A: ")
            else:
                lines.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=20))
        for _ in range(5):
            assert ask(proxy, "/api/models")[0] == 200


def test_a_strangers_name_is_refused(proxy: Proxy) -> None:
    assert ask(proxy, "/api/models", Host="evil.example")[0] == 421
    assert ask(proxy, "/api/models", Host=f"{HOST}:443")[0] == 200


def test_mutual_tls_lets_in_who_has_a_certificate_of_the_authority(served: RunningRegistry, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other").issue("mallory", tmp_path)
    member = Authority(tmp_path / "site").issue("radboud", tmp_path)
    with proxy_before(served.url, tmp_path / "site", snippet="nginx-client-certificates.conf") as proxy:
        for shown, status in ((member, 200), (stranger, 400), (None, 400)):
            context = ssl.create_default_context(cafile=str(tmp_path / "site/fullchain.pem"))
            if shown is not None:
                context.load_cert_chain(*shown)
            assert ask(Proxy(proxy.port, proxy.pid, context), "/api/models")[0] == status
        statuses = served.log.read_text().count('"path": "/api/models"')
        with contextlib.suppress(OSError):
            ask(Proxy(proxy.port, proxy.pid, proxy.context), "/api/models")
        assert served.log.read_text().count('"path": "/api/models"') == statuses, "the registry is not asked"


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (GET + b"X-Long: " + b"a" * 9_000 + b"\r\n\r\n", {400}),
        (f"GET /{'a' * 9_000} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode(), {414}),
        (GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 4000) for n in range(12)) + b"\r\n", {400}),
        (GET + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n", {431}),
        (POST + b"Content-Length: 9000000\r\n\r\n", {413}),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    ],
    ids=["a long header", "a long address", "many long headers", "many headers", "a large body", "two lengths"],
)
def test_what_says_too_much_is_refused(proxy: Proxy, request_: bytes, statuses: set[int]) -> None:
    with proxy.connect(timeout=5) as line:
        line.sendall(request_)
        assert status_of(line.recv(65536)) in statuses
    assert ask(proxy, "/healthz")[0] == 200


def test_honest_clients_notice_nothing(proxy: Proxy) -> None:
    """A body as large as a commit may be, in pieces; a head with long headers; a file."""
    with proxy.connect() as line:
        body = b'{"content": "---\\nlicense: mit\\n---\\n# x"}'
        line.sendall(POST + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
        for start in range(0, len(body), 7):
            line.sendall(body[start : start + 7])
            time.sleep(0.05)
        assert status_of(ends(line)) == 200
    assert ask(proxy, "/healthz", **{f"X-{n}": "a" * 3000 for n in range(5)})[0] == 200
    with proxy.connect() as line:  # nobody's commit: refused once it was sent, in words
        large = b"a" * 5_000_000
        head = f"POST /api/models/lumc/one/commit/main HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
        line.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(large))
        with contextlib.suppress(OSError):
            line.sendall(large)
        answer = ends(line)
    assert status_of(answer) == 401 and b"remedy" in answer
