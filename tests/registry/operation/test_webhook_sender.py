"""What a webhook's address may be, and what the registry does there: no address inside, no redirect, bounded time."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import webhook_sender
from embhub_registry.operation.webhook_sender import SendingError, is_public, post
from embhub_registry.people import webhooks
from tests.support.receivers import Receiver, receiver

LOCAL = ("127.0.0.1",)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1", "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1",
        "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::", "2002:a00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "fec0::1", "2001:db8::1", "x", "",
    ],
)  # fmt: skip
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_public_addresses() -> None:
    assert all(map(is_public, ("8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8")))


@given(st.ip_addresses(v=4))
def test_an_address_in_disguise_counts_as_itself(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for disguised in (f"::ffff:{address}", str(ipaddress.IPv6Address(int(ipaddress.ip_address("64:ff9b::")) + number))):
        assert is_public(disguised) == is_public(str(address))


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "ftp://example.org/", "http://example.org/", "https://", "https:///x", "https://user@example.org/",
        "https://user:password@example.org/", "https://example.org/#x", "https://example.org:99999/", "https://[::1",
        "https://example.org/\r\nX: y", "https://example.org/ x", "https://exämple.org/", "javascript:alert(1)",
        "https://example.org\\@evil.example/", "https://example.org:0/", "https://example.org/" + "x" * 600,
    ],
)  # fmt: skip
def test_addresses_that_no_webhook_has(url: str) -> None:
    with pytest.raises(RequestDeniedError):
        webhooks.check_url(url, allowed=())


def test_plain_http_goes_to_allowed_hosts_alone() -> None:
    assert webhooks.check_url("http://ci.lan/x", allowed=("ci.lan",)) == "http://ci.lan/x"
    with pytest.raises(SendingError, match="plain http"):
        post("http://127.0.0.1:1/", b"", {})


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_loopback_by_any_name_is_refused_before_anything_is_sent(hook: Receiver, host: str) -> None:
    port = hook.url.rsplit(":", 1)[1].partition("/")[0]
    with pytest.raises(SendingError, match=r"inside a network|has no address"):
        post(f"https://{host}:{port}/", b"{}", {})
    assert hook.got == []


def test_one_address_inside_among_public_ones_is_enough() -> None:
    with pytest.raises(SendingError, match="inside a network"):
        post("https://hook.example/", b"{}", {}, resolver=lambda _host, _port: ["8.8.8.8", "10.0.0.1"])


def test_the_address_that_was_checked_is_the_one_that_is_used(hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means something else at its second look-up (DNS rebinding) is not looked up a second time."""
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["192.0.2.7"] if len(asked) == 1 else ["127.0.0.1"]

    tried: list[str] = []

    def connect(address: tuple[str, int], _timeout: float) -> None:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(webhook_sender, "is_public", lambda _: True)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(SendingError, match="refused the connection"):
        post("https://hook.example/", b"{}", {}, resolver=rebinding)
    assert tried == ["192.0.2.7"] and asked == ["hook.example"]


def test_redirects_are_not_followed(hook: Receiver) -> None:
    with receiver() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            hook.status, hook.headers = status, {"Location": elsewhere.url}
            with pytest.raises(SendingError, match=f"status {status}"):
                post(hook.url, b"{}", {}, allowed=LOCAL)
        assert elsewhere.got == [] and len(hook.got) == 5


def test_a_receiver_that_drips_is_cut(hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sender, "SECONDS_IN_ALL", 0.5)
    hook.answer, hook.seconds = b"x" * 100, 0.1
    started = time.monotonic()
    try:
        post(hook.url, b"{}", {}, allowed=LOCAL)
    except SendingError as error:
        assert "connection failed" in error.reason
    assert time.monotonic() - started < 3


def test_an_endless_answer_is_not_read(hook: Receiver) -> None:
    hook.headers, hook.answer = {"Content-Length": "999999999"}, b"x" * 20_000
    assert post(hook.url, b"{}", {}, allowed=LOCAL) == 200


def test_a_certificate_of_nobody_is_refused(hook: Receiver) -> None:
    with pytest.raises(SendingError):
        post(hook.url.replace("http:", "https:"), b"{}", {}, allowed=LOCAL)
    assert hook.got == []
