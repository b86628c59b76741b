"""What an address may be that somebody types, and what the registry does there: nothing inside, bounded time."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation.background.deliveries import post
from embhub_registry.storage.outgoing import INSIDE, SendingError, ask, check_url, connected, is_public
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
def test_addresses_that_nobody_may_type(url: str) -> None:
    with pytest.raises(RequestDeniedError):
        check_url(url, what="a webhook", allowed=())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9400", "[::ffff:127.0.0.1]", "169.254.169.254", "0", "localhost", "2130706433", "127.1",
        "x.localhost", "10.0.0.1", "LocalHost.", "x.localhost.", "127.0.0.1.", "[fe80::1%25eth0]",
    ],
)  # fmt: skip
def test_an_address_inside_is_refused_at_once_with_the_words_of_the_delivery(host: str) -> None:
    with pytest.raises(RequestDeniedError, match=INSIDE):
        check_url(f"https://{host}/", what="a webhook", allowed=())


def test_an_issuer_has_no_query_and_a_webhook_may() -> None:
    url = "https://ci.example.org/x?y=1"
    assert check_url(url, what="a webhook", allowed=()) == url
    with pytest.raises(RequestDeniedError, match="no query"):
        check_url(url, what="an issuer", allowed=(), query=False)


def test_plain_http_goes_to_allowed_hosts_alone() -> None:
    assert check_url("http://ci.lan/x", what="a webhook", allowed=("ci.lan",)) == "http://ci.lan/x"
    with pytest.raises(SendingError, match="plain http"):
        ask("test", "http://127.0.0.1:1/")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_loopback_by_any_name_is_refused_before_anything_is_sent(hook: Receiver, host: str) -> None:
    port = hook.url.rsplit(":", 1)[1].partition("/")[0]
    with pytest.raises(SendingError, match=r"inside a network|has no address"):
        ask("test", f"https://{host}:{port}/")
    assert hook.got == []


def test_one_address_inside_among_public_ones_is_enough() -> None:
    with pytest.raises(SendingError, match="inside a network"):
        ask("test", "https://hook.example/", resolver=lambda _host, _port: ["8.8.8.8", "10.0.0.1"])


def test_the_address_that_was_checked_is_the_one_that_is_used(hook: Receiver) -> None:
    """A name that means something else at its second look-up (DNS rebinding) is not looked up a second time."""
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.7"]

    url = hook.url.replace("127.0.0.1", "hook.example")
    assert ask("test", url, allowed=("hook.example",), resolver=rebinding).status == 200
    assert asked == ["hook.example"] and hook.got[0][0]["host"].startswith("hook.example:")


def test_redirects_are_not_followed(hook: Receiver) -> None:
    with receiver() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            hook.status, hook.headers = status, {"Location": elsewhere.url}
            with pytest.raises(SendingError, match=f"status {status}"):
                post(hook.url, b"{}", {}, allowed=LOCAL)
        assert elsewhere.got == [] and len(hook.got) == 5


def test_an_answer_that_drips_is_cut(hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connected, "__kwdefaults__", {**(connected.__kwdefaults__ or {}), "seconds": 0.5})
    hook.answer, hook.seconds = b"x" * 100, 0.1
    started = time.monotonic()
    with pytest.raises(SendingError, match="in time"):
        ask("test", hook.url, allowed=LOCAL)
    assert time.monotonic() - started < 5, "the whole answer takes ten seconds"


def test_a_look_up_that_hangs_is_not_waited_for() -> None:
    """And what it finds in the end is not used any more."""
    found = threading.Event()
    used: list[socket.socket] = []

    def hanging(_host: str, _port: int) -> list[str]:
        found.wait(10)
        return ["127.0.0.1"]

    with receiver() as made:
        port, allowed = int(made.url.rsplit(":", 1)[1].partition("/")[0]), ["x.example"]
        with pytest.raises(SendingError, match="in time"):
            connected("test", "x.example", port, used.append, seconds=0.3, allowed=allowed, resolver=hanging)
        found.set()
        for thread in threading.enumerate():
            if thread.name == "outgoing":
                thread.join(5)
        assert used == []
        connected("test", "x.example", port, used.append, seconds=3, allowed=allowed, resolver=there)
        assert len(used) == 1


def test_two_at_once_ask_one_host_and_another_host_is_not_delayed(hook: Receiver) -> None:
    def slow(_socket: socket.socket) -> None:
        time.sleep(1.0)

    port, other = int(hook.url.rsplit(":", 1)[1].partition("/")[0]), "other.example"
    with ThreadPoolExecutor(3) as pool:
        begun = []
        for seconds in (3, 3, 0.3):
            begun.append(pool.submit(connected, "test", "127.0.0.1", port, slow, allowed=LOCAL, seconds=seconds))
            time.sleep(0.1)
        assert connected("test", other, port, lambda _: 7, allowed=[other], seconds=0.3, resolver=there) == 7
        assert isinstance(begun[2].exception(), SendingError) and "others wait" in str(begun[2].exception())
        assert [one.result() for one in begun[:2]] == [None, None]


def there(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def test_an_endless_answer_is_not_read(hook: Receiver) -> None:
    hook.headers, hook.answer = {"Content-Length": "999999999"}, b"x" * 20_000
    assert len(ask("test", hook.url, allowed=LOCAL, most_bytes=5).body) == 6


def test_a_certificate_of_nobody_is_refused(hook: Receiver) -> None:
    with pytest.raises(SendingError):
        post(hook.url.replace("http:", "https:"), b"{}", {}, allowed=LOCAL)
    assert hook.got == []
