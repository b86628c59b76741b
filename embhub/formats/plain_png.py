"""PNG files of pixels and one constant mark, that they are synthetic: no other text, no profile, no hidden end. Pure.

Portable Network Graphics, third edition (https://www.w3.org/TR/png-3/), of which 8 bits in grey or RGB without
interlacing are taken. What the pixels themselves hide nobody can see.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from embhub.formats import synthetic_mark

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST_SIDE, SMALLEST_SIDE = 2048, 16
_CHANNELS = {0: 1, 2: 3}  # colour types: grey, RGB
_HEADER = struct.Struct(">IIBBBBB")


class NotPlainPngError(Exception):
    """Not such a file; says why."""


@dataclass(frozen=True)
class Size:
    """Pixels of a picture."""

    width: int
    height: int


def check(data: bytes) -> Size:
    """The size of a plain PNG. Reads no more than its own pixels into memory, 12.6 MB at most.

    Raises:
        NotPlainPngError: another format, no mark or another one behind the header, a chunk besides it, IHDR, IDAT and
            IEND, a wrong checksum, bytes that are no pixels, or a side beyond the bounds.
    """
    chunks = _chunks(data)
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or kinds[-1:] != [b"IEND"] or set(kinds[1:-1]) - {b"iTXt"} != {b"IDAT"}:
        raise NotPlainPngError("it holds more than a header, pixels and an end")
    if kinds[1] != b"iTXt":
        raise NotPlainPngError("it does not say that it is synthetic")
    if kinds.count(b"iTXt") > 1 or chunks[1][1] != synthetic_mark.SHEET_BODY:
        raise NotPlainPngError("it holds more than the mark of synthetic images, or another one")
    header, end = chunks[0][1], chunks[-1][1]
    if len(header) != _HEADER.size or end:
        raise NotPlainPngError("its header or its end is malformed")
    width, height, depth, colour, compression, filtering, interlacing = _HEADER.unpack(header)
    if depth != 8 or colour not in _CHANNELS or compression or filtering or interlacing:
        raise NotPlainPngError("it is not 8-bit grey or RGB without interlacing")
    if not (SMALLEST_SIDE <= width <= LARGEST_SIDE and SMALLEST_SIDE <= height <= LARGEST_SIDE):
        raise NotPlainPngError(f"it has {width} x {height} pixels; a side is {SMALLEST_SIDE} to {LARGEST_SIDE}")
    _check_pixels(b"".join(body for kind, body in chunks if kind == b"IDAT"), 1 + width * _CHANNELS[colour], height)
    return Size(width, height)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    if not data.startswith(SIGNATURE):
        raise NotPlainPngError("it is no PNG file")
    found, place = [], len(SIGNATURE)
    while place < len(data):
        if len(data) - place < 12:
            raise NotPlainPngError("it is cut short")
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 12 + length
        if end > len(data):
            raise NotPlainPngError("it is cut short")
        kind, body = data[place + 4 : place + 8], data[place + 8 : end - 4]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", data, end - 4)[0]:
            raise NotPlainPngError("a checksum is wrong")
        found.append((kind, body))
        place = end
    return found


def _check_pixels(packed: bytes, line: int, height: int) -> None:
    """Exactly `height` lines of `line` bytes, each with a known filter, and not a byte behind them."""
    reader = zlib.decompressobj()
    try:
        pixels = reader.decompress(packed, line * height + 1)
    except zlib.error as error:
        raise NotPlainPngError("its pixels cannot be unpacked") from error
    if len(pixels) != line * height or not reader.eof or reader.unused_data or reader.unconsumed_tail:
        raise NotPlainPngError("its pixels are fewer or more than its size says")
    if max(pixels[::line]) > 4:
        raise NotPlainPngError("its pixels cannot be unpacked")
