"""Heads of requests that can be read in one way only: what is plain here, every parser of HTTP takes for the same.

A head is plain where it came whole and alone, asks by GET or HEAD in HTTP/1.1, announces no body and changes nothing
about its connection, names no header twice, and is of printable ASCII. Whatever is not plain is uvicorn's to judge.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_BYTES = 8_000
MAX_HEADERS = 50
# No two parts of this can take the same byte, so it takes time in proportion to the head's length.
_HEAD = re.compile(rb"(GET|HEAD) (/[!\"$->@-~]*)(?:\?([!\"$-~]*))? HTTP/1\.1\r\n((?:[A-Za-z0-9_-]+:[ -~]*\r\n)+)\r\n")
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
    if len(data) > MAX_BYTES or (match := _HEAD.fullmatch(data)) is None:
        return None
    lines = match[4].split(b"\r\n")[:-1]
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip(b" ")
    if len(lines) > MAX_HEADERS or len(headers) < len(lines) or not _FRAMING.isdisjoint(headers):
        return None
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return PlainRequest(match[1].decode("ascii"), match[2], match[3] or b"", headers)
