"""Six attacks on a real registry, and what they cost others: `python -m bench.abuse [--quick]`.

Each attack comes from one address, in a process of its own, against the server alone and behind nginx as shipped.
Somebody else meanwhile lists, reads a page, asks who they are and commits, and every request is timed. The registry has
150 repositories whose front matter takes 198 kB each. Milliseconds are medians of the requests that were answered with
200, before the attack and during it; "failed" counts the others. Memory is the server's resident memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import machine
from bench.load import running
from embhub.client.wire.hub import Hub
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories
from embhub_registry.storage.folder import Registry
from tests.support.nginx import HOST, Proxy, proxy_before
from tests.support.releases import REPOSITORY, SITE, make_release
from tests.support.servers import free_port, running_registry

SECONDS, QUIET, PAUSE = 5.0, 3.0, 1.0
LARGE_CARDS = 150


@dataclass(frozen=True)
class Door:
    """How an attacker, and how another user, reaches a server."""

    attack: Callable[[], socket.socket]
    use: Callable[[], socket.socket]
    host: str
    pid: int


@dataclass(frozen=True)
class Row:
    """One attack on one server: what others saw."""

    attack: str
    way: str
    quiet: float
    under: float | None
    failed: int
    asked: int
    memory: tuple[float, float]


@dataclass(frozen=True)
class Tokens:
    """Of the attackers, and of the user who is measured."""

    readers: list[str]
    mallory: str
    anna: str


# The attacks: each works until its process is ended.


def slow_readers(door: Door, _: Tokens) -> None:
    """Ask for much and read nothing."""
    lines = []
    for _number in range(12):
        line = door.attack()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(_head(door, "GET", "/api/models?limit=1000&full=true"))
        lines.append(line)
    time.sleep(3600)


def half_heads(door: Door, _: Tokens) -> None:
    """Hold 500 connections, those that end renewed."""
    lines: list[socket.socket] = []
    while True:
        while len(lines) < 500:
            with contextlib.suppress(OSError):
                line = door.attack()
                line.sendall(_head(door, "GET", "/")[:-4])
                line.setblocking(False)
                lines.append(line)
        time.sleep(0.2)
        lines = [line for line in lines if not _ended(line)]


def half_commits(door: Door, tokens: Tokens) -> None:
    """Hold as many commits under way as there are places, with accounts that may not write."""
    lines: list[tuple[socket.socket, str]] = []
    waiting = tokens.readers * 8
    while True:
        for token in waiting:
            with contextlib.suppress(OSError):
                line = door.attack()
                path = f"/api/models/{REPOSITORY}/commit/main"
                line.sendall(_head(door, "POST", path, token, length=500) + b"{")
                line.setblocking(False)
                lines.append((line, token))
        time.sleep(0.2)
        waiting = [token for line, token in lines if _ended(line)]
        lines = [pair for pair in lines if pair[0].fileno() >= 0]


def yaml_flood(door: Door, _: Tokens) -> None:
    """Documents that take long to parse for their size."""
    body = json.dumps({"content": "---\na: [" + "a," * 9_900 + "]\n---\n"}).encode()
    request = _head(door, "POST", "/api/validate-yaml", length=len(body)) + body
    _in_threads(4, lambda: _exchange(door.attack, request))


def blank_lines(door: Door, tokens: Tokens) -> None:
    """A commit of nothing, at length."""
    body = b" \n" * 2_990_000
    request = _head(door, "POST", "/api/models/evil/one/commit/main", tokens.mallory, length=len(body)) + body
    _in_threads(2, lambda: _exchange(door.attack, request))


def bogus_tokens(door: Door, _: Tokens) -> None:
    """A header that took callers out of the limit of their address."""
    request = _head(door, "GET", "/api/nothing", "x")
    _in_threads(8, lambda: _exchange(door.attack, request))


ATTACKS: Mapping[str, Callable[[Door, Tokens], None]] = {
    "slow readers": slow_readers,
    "half heads": half_heads,
    "half-sent commits": half_commits,
    "YAML flood": yaml_flood,
    "blank lines": blank_lines,
    "bogus tokens": bogus_tokens,
}


def measure(*, seconds: float = SECONDS) -> list[Row]:
    """Every attack on the server alone and behind nginx, each on a copy of one registry."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tokens = _furnish(root)
        for name, attack in ATTACKS.items():
            place = root / name.replace(" ", "-")
            for way in ("alone", "behind nginx"):
                home = place / way.replace(" ", "-")
                shutil.copytree(root / "registry", home)
                with ExitStack() as stack:
                    door = stack.enter_context(_served(home))
                    if way == "behind nginx":
                        door = stack.enter_context(_behind_nginx(door, place / "proxy"))
                    rows.append(_row(name, attack, way, door, tokens, seconds=seconds))
                shutil.rmtree(home)
                print(render(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def render(rows: list[Row]) -> str:
    """The table."""
    lines = [
        "| attack | server | ms without | ms under attack | ratio | failed | MB before, highest |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        under, factor = ("-", "-") if row.under is None else (f"{row.under:.0f}", f"{row.under / row.quiet:.1f}")
        lines.append(
            f"| {row.attack} | {row.way} | {row.quiet:.0f} | {under} | {factor} | {row.failed} of {row.asked} "
            f"| {row.memory[0]:.0f}, {row.memory[1]:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.abuse", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter attacks: figures are rough")
    asked = parser.parse_args()
    print(machine.table())
    print(render(measure(seconds=3.0 if asked.quick else SECONDS)))


def _row(
    name: str, attack: Callable[[Door, Tokens], None], way: str, door: Door, tokens: Tokens, *, seconds: float
) -> Row:
    _use(door, tokens, seconds=1.0)
    quiet, _ = _use(door, tokens, seconds=QUIET)
    start, highest = _resident(door.pid), [0.0]
    attacker = multiprocessing.get_context("fork").Process(target=attack, args=(door, tokens), daemon=True)
    attacker.start()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            highest[0] = max(highest[0], _resident(door.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(PAUSE)
    under, failed = _use(door, tokens, seconds=seconds)
    over.set()
    watcher.join()
    attacker.kill()
    attacker.join()
    return Row(
        name, way, 1000 * median(quiet), 1000 * median(under) if under else None, failed, failed + len(under),
        (start, highest[0]),
    )  # fmt: skip


def _use(door: Door, tokens: Tokens, *, seconds: float) -> tuple[list[float], int]:
    """What an honest user does; how long each request took that was answered with 200, and how many were not."""
    taken, failed, until, turn = list[float](), 0, time.monotonic() + seconds, 0
    while time.monotonic() < until:
        word = "".join(chr(97 + int(digit)) for digit in str(time.time_ns()))  # numbers would look like patients'
        header = {"key": "header", "value": {"summary": "An edit"}}
        text = {"key": "file", "value": {"path": "README.md", "content": f"# {word}", "encoding": "utf-8"}}
        commit = b"\n".join(json.dumps(line).encode() for line in (header, text))
        requests = (
            _head(door, "GET", "/api/models?limit=3"),
            _head(door, "GET", f"/{REPOSITORY}"),
            _head(door, "GET", "/api/whoami-v2", tokens.anna),
            _head(door, "POST", "/api/models/anna/own/commit/main", tokens.anna, length=len(commit)) + commit,
        )
        started = time.monotonic()
        status = _exchange(door.use, requests[turn % len(requests)])
        if status == 200:
            taken.append(time.monotonic() - started)
        else:
            failed += 1
        turn += 1
        time.sleep(0.02)
    return taken, failed


def _head(door: Door, method: str, path: str, token: str | None = None, *, length: int = 0) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {door.host}", "Connection: close"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"Content-Length: {length}", "Content-Type: application/json"] if length else []
    return "\r\n".join([*lines, "", ""]).encode()


def _exchange(connect: Callable[[], socket.socket], request: bytes) -> int:
    """Send a request on a connection of its own and read all of the answer; its status, 0 where there is none."""
    got = b""
    with contextlib.suppress(OSError), connect() as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(request)
        while part := line.recv(65536):
            got = (got + part)[:100]
    return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else 0


def _in_threads(count: int, work: Callable[[], object]) -> None:
    def again() -> None:
        while True:
            work()

    threads = [threading.Thread(target=again, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(3600)


def _ended(line: socket.socket) -> bool:
    try:
        ended = bool(line.recv(65536)) or True
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        ended = True
    line.close()
    return ended


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


def _furnish(root: Path) -> Tokens:
    """A registry with a release, the accounts of everybody here, and many large cards."""
    namespace = REPOSITORY.partition("/")[0]
    with running_registry(root) as registry:
        registry.add_key(SITE, namespace=namespace)
        Hub(registry.url, token=registry.add_user("alice", namespace=namespace)).push(make_release(), REPOSITORY)
        readers = [registry.add_user(f"reader{n}", namespace="lumc", role="reader") for n in range(3)]
        tokens = Tokens(
            readers, registry.add_user("mallory", namespace="evil"), registry.add_user("anna", namespace="anna")
        )
        for token, name in ((tokens.mallory, "one"), (tokens.anna, "own")):
            made = registry.request("POST", "/api/repos/create", token=token, json_body={"name": name})
            assert made.status == 200, made.body
        with registry.opened() as opened:
            _fill(opened)
    return tokens


def _fill(registry: Registry) -> None:
    front = {"license": "mit", "notes": "n" * 198_000}
    with registry.database.writing() as db:
        accounts.write_setting(db, "hosts.allowed", HOST)
        for number in range(LARGE_CARDS):
            made = repositories.add(db, "evil", f"r{number}", private=False, now="2026-01-01T00:00:00Z")
            repositories.describe(db, made, {"front_matter": front, "release": None}, tags=(), text=f"evil/r{number}")


@contextmanager
def _served(home: Path) -> Iterator[Door]:
    """A server that attackers reach by this machine's address, as one caller; others by loopback."""
    own = _own_address()
    with ExitStack() as stack:
        pid, port = _start(stack, home)
        yield Door(
            lambda: socket.create_connection((own, port), timeout=30),
            lambda: socket.create_connection(("127.0.0.1", port), timeout=30),
            f"127.0.0.1:{port}",
            pid,
        )


def _start(stack: ExitStack, home: Path) -> tuple[int, int]:
    """The server's process and port; a port that an earlier attack's connection still uses is not free everywhere."""
    words = [sys.executable, "-m", "embhub_registry", "--dir", str(home), "serve", "--host", "0.0.0.0"]
    for _ in range(10):
        port = free_port()
        with contextlib.suppress(RuntimeError):
            return stack.enter_context(running([*words, "--port", str(port)], port)).pid, port
    raise RuntimeError("the registry does not start")


@contextmanager
def _behind_nginx(registry: Door, folder: Path) -> Iterator[Door]:
    """The same behind nginx; the attacker's address is 127.0.0.2, everybody else's 127.0.0.1."""
    with proxy_before(f"http://{registry.host}", folder) as proxy:

        def connect(source: str) -> socket.socket:
            plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=30, source_address=(source, 0))
            return _secured(proxy, plain)

        yield Door(lambda: connect("127.0.0.2"), lambda: connect("127.0.0.1"), HOST, registry.pid)


def _secured(proxy: Proxy, plain: socket.socket) -> socket.socket:
    return proxy.context.wrap_socket(plain, server_hostname=HOST)


def _own_address() -> str:
    """An address of this machine that is not loopback: a caller from there is nobody special to a registry."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        found = str(probe.getsockname()[0])
    if found.startswith("127."):
        raise SystemExit("this machine has no address but loopback, where nobody is limited")
    return found


if __name__ == "__main__":
    main()
