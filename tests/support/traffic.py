"""What a site sent, down to the last layer: recorded on the wire, unwrapped, searched for what must not be there."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import Image

from tests.support import hostile
from tests.support.hostile import Handler, Middleman

_RUN = re.compile(rb"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){8,}")
_DEPTH = 4


@contextmanager
def recorded(upstream: str) -> Iterator[tuple[Middleman, list[bytes]]]:
    """A proxy in front of a registry, and everything that was sent to it: request line, headers, body."""
    sent: list[bytes] = []

    def record(handler: Handler) -> None:
        headers = "".join(f"{name}: {value}\r\n" for name, value in handler.headers.items())
        sent.append(handler.raw_requestline + headers.encode() + b"\r\n" + handler.body)
        hostile.ask(handler).pass_on(handler)

    with hostile.stand_between(upstream) as middle:
        middle.lies = {"/": record}
        yield middle, sent


def layers(data: bytes, *, depth: int = _DEPTH) -> Iterator[bytes]:
    """The bytes themselves, and what they hold in base64, in hex, percent-encoded or compressed, again and again."""
    yield data
    if not depth:
        return
    inner = [unquote_to_bytes(data)] if b"%" in data else []
    inner += [found for run in _RUN.findall(data) for found in _decode(run)]
    inner += [binascii.unhexlify(run) for run in _HEX.findall(data)]
    for unpack in (gzip.decompress, zlib.decompress):
        try:
            inner.append(unpack(data))
        except (OSError, EOFError, zlib.error):
            continue
    for found in inner:
        if found != data:
            yield from layers(found, depth=depth - 1)


def _decode(run: bytes) -> Iterator[bytes]:
    """A run may begin inside another word, so each of the four alignments is tried."""
    body = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    for start in range(4):
        piece = body[start:]
        piece = piece[: len(piece) - (len(piece) % 4 == 1)]
        if len(piece) >= 8:
            yield base64.b64decode(piece + b"=" * (-len(piece) % 4))


def search(sent: Sequence[bytes], secrets: dict[str, bytes]) -> set[str]:
    """Names of the secrets that were sent, in whatever of these wrappings."""
    everything = b"\0".join(layer for message in sent for layer in layers(message))
    lower = everything.lower()
    return {name for name, secret in secrets.items() if any(needle in lower for needle in _spellings(secret))}


def _spellings(secret: bytes) -> set[bytes]:
    """Needles, all in lower case: as it is, as UTF-16, reversed in byte order."""
    plain = {secret, secret[::-1] if len(secret) in (8, 16, 32) else secret}
    with suppress(UnicodeDecodeError):
        plain.add(secret.decode("ascii").encode("utf-16-le"))
    return {needle.lower() for needle in plain}


def hashes_of(path: Path) -> dict[str, bytes]:
    """Digests of a picture: of the file and of its pixels as read, in grey and at small sizes; and its dHash."""
    with Image.open(path) as image:
        views = {"pixels": image.convert("RGB"), "grey": image.convert("L")}
        views |= {f"small{side}": image.convert("RGB").resize((side, side)) for side in (32, 64)}
        thumb = np.asarray(image.convert("L").resize((9, 8)), int)
    contents = {"file": path.read_bytes(), **{name: view.tobytes() for name, view in views.items()}}
    found = {
        f"{kind} of {name} of {path.name}": hashlib.new(kind, content).digest()
        for name, content in contents.items()
        for kind in ("sha256", "sha1", "md5")
    }
    found[f"dhash of {path.name}"] = np.packbits(thumb[:, 1:] > thumb[:, :-1]).tobytes()
    return found
