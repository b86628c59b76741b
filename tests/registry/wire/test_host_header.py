"""The registry answers to its own names and the machine's; a stranger's name, two names and none are refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from embhub.errors import RegistryError, UsageError
from embhub_registry.database import DatabaseBusyError, DatabaseUnavailableError, StorageFullError
from embhub_registry.storage import configuration, folder, settings
from embhub_registry.wire.host_header import REFRESH_SECONDS, AllowedHosts, host_of, is_loopback
from tests.support.servers import RunningRegistry, start_registry


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    running = start_registry(tmp_path_factory.mktemp("hosts"))
    with running.opened() as registry:
        configuration.write(registry, "hosts.allowed", "hub.intranet, 192.0.2.5")
    yield running
    running.stop()


def ask(served: RunningRegistry, head: str) -> int:
    """The status of what is answered to a whole head, as it was written."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return int(line.recv(100).split()[1])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:1", 200), ("127.9.9.9:80", 200), ("localhost", 200), ("LocalHost:443", 200),
        ("localhost.", 200), ("[::1]:8642", 200), ("[::1]", 200),
        ("[0:0::1]", 200), ("hub.intranet", 200), ("HUB.intranet:8443", 200),
        ("192.0.2.5:8642", 200), ("192.0.2.6", 421), ("evil.example", 421), ("evil.example:8642", 421),
        ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421), ("hub.intranet.evil.example", 421),
        ("xhub.intranet", 421), ("[2001:db8::1]", 421), ("null", 421), ("2130706433", 421), ("0x7f.1", 421),
        ("", 400), ("a b", 400), ("127.0.0.1@evil.example", 400), ("evil.example/127.0.0.1", 400), ("a:b", 400),
        ("127.0.0.1, evil.example", 400), ("[::1", 400), ("a:123456", 400),
    ],
)  # fmt: skip
def test_names(served: RunningRegistry, host: str, status: int) -> None:
    assert ask(served, f"GET /api/models HTTP/1.1\nHost: {host}") == status


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /api/models HTTP/1.1", 400),
        ("GET /api/models HTTP/1.0", 400),
        ("GET /api/models HTTP/1.1\nHost: 127.0.0.1\nHost: 127.0.0.1", 400),
        ("GET /api/models HTTP/1.1\nHost: 127.0.0.1\nHost: evil.example", 400),
        ("GET /api/models HTTP/1.0\nHost: 127.0.0.1\nHost: evil.example", 400),
        ("GET /api/models HTTP/1.0\nHost: 127.0.0.1", 200),
        ("GET /healthz HTTP/1.1\nHost: evil.example", 200),
        ("GET /readyz HTTP/1.0", 200),
        ("GET /metrics HTTP/1.1\nHost: evil.example", 421),
        ("GET /api/models HTTP/1.1\nHost: evil.example\nX-Forwarded-Host: localhost", 421),
        ("POST /api/validate-yaml HTTP/1.1\nHost: evil.example\nContent-Length: 100", 421),
    ],
)
def test_heads(served: RunningRegistry, head: str, status: int) -> None:
    assert ask(served, head) == status


def test_names_are_read_again(tmp_path: Path) -> None:
    made, now = folder.create(tmp_path / "r", name="T", url="https://Hub.Example.org:8443", audit="optional"), [0.0]
    hosts = AllowedHosts(made, lambda: now[0])
    assert "hub.example.org" in hosts and "other.example.org" not in hosts and "localhost" in hosts
    configuration.write(made, "hosts.allowed", "Other.Example.org.")
    now[0] += REFRESH_SECONDS
    assert "hub.example.org" in hosts and "other.example.org" in hosts
    made.close()


@pytest.mark.parametrize("error", [DatabaseBusyError, DatabaseUnavailableError, StorageFullError])
def test_names_stay_while_the_database_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[RegistryError]
) -> None:
    made, now = folder.create(tmp_path / "r", name="T", url="https://hub.example.org", audit="optional"), [0.0]

    def away() -> None:
        raise error("away")

    hosts, unread = AllowedHosts(made, lambda: now[0]), AllowedHosts(made, lambda: now[0])
    assert "hub.example.org" in hosts
    now[0] += REFRESH_SECONDS
    monkeypatch.setattr(made.database, "connection", away)
    assert "hub.example.org" in hosts and "other.example.org" not in hosts
    with pytest.raises(error):
        assert "hub.example.org" in unread
    monkeypatch.undo()
    made.close()


@pytest.mark.parametrize("text", ["https://a", "a:80", "a/b", "*", "[::1]", "a b@c", "1:2"])
def test_what_is_no_name_is_no_setting(text: str) -> None:
    with pytest.raises(UsageError, match="without scheme"):
        settings.parse("hosts.allowed", text)


@given(some.binary(max_size=60))
def test_any_bytes_are_a_name_or_none(header: bytes) -> None:
    name = host_of(header)
    assert name is None or (
        name == name.lower() and not set(name) & set("/@ []%") and isinstance(is_loopback(name), bool)
    )
