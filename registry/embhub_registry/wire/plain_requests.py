"""Heads of requests that can be read in one way only: what is plain here, every parser of HTTP takes for the same.

A head is plain where it came whole and alone, asks by GET or HEAD in HTTP/1.1, announces no body and changes nothing
about its connection, names no header twice, and is of printable ASCII. Whatever is not plain is uvicorn's to judge.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

MAX_BYTES = 8_000
MAX_HEADERS = 50
MAX_NAME = 100
_PRINTABLE = bytes(range(0x20, 0x7F))
_NAME = re.compile(rb"[A-Za-z0-9_-]+")
# Of these follows a body, another protocol, or the end of the connection.
_FRAMING = frozenset(
    [b"content-length", b"transfer-encoding", b"upgrade", b"expect", b"trailer", b"te", b"http2-settings"]
)  # fmt: skip


class PlainRequest(NamedTuple):
    """What a plain head says; names of headers are in lower case."""

    method: str
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]


def read(data: bytes) -> PlainRequest | None:
    """The request that these bytes are, all of them; None where they are anything else."""
    if len(data) > MAX_BYTES or not data.endswith(b"\r\n\r\n"):
        return None
    first, *lines = data[:-4].split(b"\r\n")
    if data.translate(None, _PRINTABLE) != b"\r\n" * (len(lines) + 2) or len(lines) > MAX_HEADERS:
        return None
    headers = {}
    for line in lines:
        said, _, value = line.partition(b":")
        name = _name(said)
        if name is None or not line[len(said) :]:
            return None
        headers[name] = value.strip(b" ")
    if len(headers) < len(lines) or not _FRAMING.isdisjoint(headers):
        return None
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return _of_line(first, headers)


def _of_line(line: bytes, headers: dict[bytes, bytes]) -> PlainRequest | None:
    words = line.split(b" ")
    if len(words) != 3 or words[0] not in (b"GET", b"HEAD") or words[2] != b"HTTP/1.1":
        return None
    path, _, query = words[1].partition(b"?")
    if not path.startswith(b"/") or b"#" in words[1]:
        return None
    return PlainRequest(words[0].decode("ascii"), path, query, headers)


@lru_cache(maxsize=1_000)
def _name(said: bytes) -> bytes | None:
    """A header's name in lower case; None where it is not plain. Names repeat, so each is looked at once."""
    return said.lower() if len(said) <= MAX_NAME and _NAME.fullmatch(said) else None
