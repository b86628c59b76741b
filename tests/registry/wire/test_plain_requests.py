"""A head is plain only where h11, the strictest reader that we know, takes it for the same, and for a whole request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from embhub_registry.wire import plain_requests
from tests.fuzz.targets import read_head

HOST = b"Host: hub\r\n"
LINE = b"GET /a/b?x=%2F&y HTTP/1.1\r\n"
PIECES = [
    b"GET ", b"HEAD ", b"POST ", b"/", b"/a", b"?", b"#", b"%2F", b" ", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n",
    b"\r", b"Host: hub", b"Host", b":", b"X: a", b"x:  b ", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"\t",
    b"\0", b"\xe9", b"Connection: close", b"Connection: keep-alive", b"Authorization: Bearer x", b"\r\n\r\n",
    b"abc", b'"', b",",
]  # fmt: skip


def test_what_is_plain() -> None:
    said = plain_requests.read(LINE + HOST + b"ACCEPT:  a, b \r\nX-Empty:\r\nConnection: Keep-Alive\r\n\r\n")
    assert said is not None and (said.method, said.path, said.query) == ("GET", b"/a/b", b"x=%2F&y")
    assert said.headers == {b"host": b"hub", b"accept": b"a, b", b"x-empty": b"", b"connection": b"Keep-Alive"}
    said = plain_requests.read(b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert said is not None and (said.method, said.path, said.query) == ("HEAD", b"/", b"")


@pytest.mark.parametrize(
    "data",
    [
        LINE + HOST,
        LINE + HOST + b"\r\n" + LINE + HOST + b"\r\n",
        LINE + HOST + b"\r\nabc",
        b"\r\n" + LINE + HOST + b"\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
        b"GET http://hub/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /#a HTTP/1.1\r\n" + HOST + b"\r\n",
        LINE.replace(b"\r", b"") + HOST + b"\r\n",
        LINE + HOST + b"X: a\n\r\n",
        LINE + HOST + b"X: a\r\n b\r\n\r\n",
        LINE + HOST + b"X : a\r\n\r\n",
        LINE + HOST + b"X: a\0b\r\n\r\n",
        LINE + HOST + b"X: \xe9\r\n\r\n",
        LINE + HOST + b"X: a\r\nx: b\r\n\r\n",
        LINE + HOST + b"Host: hub\r\n\r\n",
        LINE + HOST + b"Content-Length: 0\r\n\r\n",
        LINE + HOST + b"Content-Length: 3\r\n\r\nabc",
        LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        LINE + HOST + b"Expect: 100-continue\r\n\r\n",
        LINE + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
        LINE + HOST + b"Upgrade: websocket\r\n\r\n",
        LINE + HOST + b"Connection: close\r\n\r\n",
        LINE + HOST + b"Connection: keep-alive, close\r\n\r\n",
        LINE + HOST + b"X: " + b"a" * plain_requests.MAX_BYTES + b"\r\n\r\n",
        LINE + HOST + b"".join(b"X-%d: a\r\n" % number for number in range(plain_requests.MAX_HEADERS)) + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
    ],
)
def test_what_is_not(data: bytes) -> None:
    assert plain_requests.read(data) is None


@given(some.lists(some.sampled_from(PIECES), max_size=9), some.sampled_from([b"", LINE, LINE + HOST]))
def test_h11_takes_a_plain_head_for_the_same(pieces: list[bytes], start: bytes) -> None:
    read_head(start + b"".join(pieces) + b"\r\n\r\n")
