"""Size of a compressed picture as its own bytes say, before a decoder makes room for it."""

from __future__ import annotations

_START_OF_CODESTREAM = b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  "
_SKIPPED = {
    0xC4,
    0xCC,
    0xDB,
    0xDD,
    0xF8,
    0xFE,
    *range(0xE0, 0xF0),
}  # tables, LSE of JPEG-LS, APPn, COM: with lengths
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 (T.81 B.2.2), and that of JPEG-LS (T.87)
_MOST_COMPONENTS = 4


def size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, JPEG-LS or JPEG 2000 codestream.

    None where it tells none in the way of the standards: decoders look for it further, and find what hides there.
    """
    return _of_jpeg(data) if data[:2] == b"\xff\xd8" else _of_jpeg2000(data, _codestream(data))


def unpacks_beyond(data: bytes, most: int) -> bool:
    """Whether a segment of a frame in RLE (PS3.5 G) unpacks to more than `most` bytes: two bytes can stand for 128."""
    count = int.from_bytes(data[:4], "little")
    if not 1 <= count <= 15:
        return True
    offsets = [int.from_bytes(data[4 * place : 4 * place + 4], "little") for place in range(1, count + 1)]
    ends = [*offsets[1:], len(data)]
    return any(_unpacked(data[start:end], most) > most for start, end in zip(offsets, ends, strict=True))


def _unpacked(segment: bytes, most: int) -> int:
    """Bytes that a segment unpacks to, counted as far as just above `most`."""
    at, total = 0, 0
    while at < len(segment) and total <= most:
        head = segment[at]
        if head == 128:
            at += 1
        elif head > 128:
            at, total = at + 2, total + 257 - head
        else:
            at, total = at + head + 2, total + head + 1
    return total


def _codestream(data: bytes) -> int:
    """Where a JPEG 2000 codestream begins: at once, or in the first box that holds one (T.800 I.4)."""
    at = 0
    while data[:8] == _JP2 and at + 16 <= len(data) and data[at + 4 : at + 8] != b"jp2c":
        length = int.from_bytes(data[at : at + 4], "big")
        at += length if length >= 8 else len(data)  # longer than 4 GB, or to the end
    return at + 8 if at else 0


def _of_jpeg2000(data: bytes, start: int) -> tuple[int, int] | None:
    if data[start : start + 4] != _START_OF_CODESTREAM or len(data) < start + 42:
        return None
    numbers = [int.from_bytes(data[at : at + 4], "big") for at in range(start + 8, start + 24, 4)]
    components = int.from_bytes(data[start + 40 : start + 42], "big")
    return (numbers[0] - numbers[2], numbers[1] - numbers[3]) if components <= _MOST_COMPONENTS else None


def _of_jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
        elif marker in _SKIPPED and length >= 2:
            at += 2 + length
        elif marker in _FRAMES and data[at + 9] <= _MOST_COMPONENTS:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        else:
            return None
    return None
