"""Size of a compressed picture as its own bytes say, before a decoder makes room for it."""

from __future__ import annotations

_START_OF_CODESTREAM = b"\xff\x4f\xff\x51"
_BARE = {0xD8, 0x01, *range(0xD0, 0xD8)}  # JPEG's markers without a length
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 (T.81 B.2.2), and that of JPEG-LS (T.87)


def size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, JPEG-LS or JPEG 2000 codestream, None where it tells none."""
    start = data[:4096].find(_START_OF_CODESTREAM)
    if start >= 0:
        numbers = [int.from_bytes(data[at : at + 4], "big") for at in range(start + 8, start + 24, 4)]
        return (numbers[0] - numbers[2], numbers[1] - numbers[3]) if len(data) >= start + 24 else None
    return _of_jpeg(data) if data[:2] == b"\xff\xd8" else None


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


def _of_jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
