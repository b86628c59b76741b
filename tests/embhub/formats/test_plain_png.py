"""A plain PNG is pixels and one constant mark: whatever is hidden before, between or behind them is refused."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from embhub.formats import synthetic_mark
from embhub.formats.plain_png import SIGNATURE, NotPlainPngError, Size, check


def encode(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return synthetic_mark.mark_png(buffer.getvalue())


def chunk(kind: bytes, body: bytes = b"", *, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)
    )


def header(width: int = 16, height: int = 16, *rest: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *(rest or (8, 0, 0, 0, 0))))


PIXELS = zlib.compress(bytes(17 * 16))
MARK = chunk(b"iTXt", synthetic_mark.SHEET_BODY)
START = SIGNATURE + header() + MARK
PLAIN = START + chunk(b"IDAT", PIXELS) + chunk(b"IEND")
OTHER = chunk(b"iTXt", synthetic_mark.text_body(synthetic_mark.packet(base="ab" * 32)))
BEHIND = len(SIGNATURE + header())


def text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "patient 7")
    return info


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_pillow_writes_of_bare_pixels_is_plain(mode: str) -> None:
    assert check(encode(Image.effect_noise((300, 200), 50).convert(mode))) == Size(300, 200)


def test_pixels_may_come_in_parts() -> None:
    parts = chunk(b"IDAT", PIXELS[:5]) + chunk(b"IDAT", PIXELS[5:])
    assert check(SIGNATURE + header() + MARK + parts + chunk(b"IEND")) == Size(16, 16) == check(PLAIN)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no PNG"),
        (b"GIF89a", "no PNG"),
        (SIGNATURE, "more than"),
        (PLAIN + b"\0", "cut short"),
        (PLAIN[:-1], "cut short"),
        (PLAIN + chunk(b"IDAT", b"more"), "more than"),
        (PLAIN + PLAIN, "cut short|more than|checksum"),
        (SIGNATURE + header() + chunk(b"tEXt", b"a\0b") + PLAIN[BEHIND:], "more than"),
        (START + chunk(b"eXIf", b"MM") + PLAIN[BEHIND:], "more than"),
        (SIGNATURE + header() + header() + PLAIN[BEHIND:], "more than"),
        (START + chunk(b"IEND"), "more than"),
        (PLAIN.replace(MARK, b""), "does not say"),
        (PLAIN.replace(MARK, MARK + MARK), "another one"),
        (PLAIN.replace(MARK, b"")[:-12] + MARK + chunk(b"IEND"), "does not say"),
        (PLAIN.replace(MARK, OTHER), "another one"),
        (PLAIN.replace(MARK, chunk(b"iTXt", synthetic_mark.SHEET_BODY + b" ")), "another one"),
        (START + chunk(b"IDAT", PIXELS, crc=1) + chunk(b"IEND"), "checksum"),
        (START + chunk(b"IDAT", PIXELS) + chunk(b"IEND", b"x"), "malformed"),
        (SIGNATURE + chunk(b"IHDR", b"x") + MARK + chunk(b"IDAT", PIXELS) + chunk(b"IEND"), "malformed"),
        (START + chunk(b"IDAT", PIXELS + b"hidden") + chunk(b"IEND"), "fewer or more"),
        (START + chunk(b"IDAT", zlib.compress(bytes(17 * 16 + 1))) + chunk(b"IEND"), "fewer or more"),
        (START + chunk(b"IDAT", zlib.compress(bytes(17 * 16 - 1))) + chunk(b"IEND"), "fewer or more"),
        (START + chunk(b"IDAT", PIXELS[:-4]) + chunk(b"IEND"), "fewer or more"),
        (START + chunk(b"IDAT", b"no stream") + chunk(b"IEND"), "unpacked"),
        (START + chunk(b"IDAT", zlib.compress(b"\5" * 17 * 16)) + chunk(b"IEND"), "unpacked"),
        (SIGNATURE + header(15, 16) + PLAIN[BEHIND:], "15 x 16"),
        (SIGNATURE + header(2049, 16) + PLAIN[BEHIND:], "2049 x 16"),
        (SIGNATURE + header(2**31, 2**31) + PLAIN[BEHIND:], "a side is"),
        (encode(Image.new("RGBA", (20, 20))), "8-bit grey or RGB"),
        (encode(Image.new("P", (20, 20))), "more than"),
        (encode(Image.new("I;16", (20, 20))), "8-bit grey or RGB"),
        (encode(Image.new("L", (20, 20)), pnginfo=text()), "more than"),
        (encode(Image.new("L", (20, 20)), dpi=(72, 72)), "more than"),
        (SIGNATURE + header(16, 16, 8, 0, 0, 0, 1) + PLAIN[BEHIND:], "interlacing"),
    ],
)  # fmt: skip
def test_anything_else_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(NotPlainPngError, match=reason):
        check(data)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = START + chunk(b"IDAT", zlib.compress(bytes(50_000_000), 9)) + chunk(b"IEND")
    tracemalloc.start()
    try:
        with pytest.raises(NotPlainPngError, match="fewer or more"):
            check(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200), st.integers(0, len(PLAIN)))
def test_bytes_of_any_kind_are_refused_or_read(extra: bytes, place: int) -> None:
    for data in (extra, PLAIN[:place] + extra, PLAIN[:place] + extra + PLAIN[place + len(extra) :]):
        try:
            check(data)
        except NotPlainPngError:
            continue


@given(st.integers(0, len(MARK) - 1), st.integers(1, 255))
def test_no_byte_of_the_mark_can_be_another(place: int, change: int) -> None:
    """Checksum corrected or not: there is one mark, so that its presence carries no message."""
    changed = bytearray(MARK)
    changed[place] ^= change
    corrected = chunk(bytes(changed[4:8]), bytes(changed[8:-4]))
    for mark in {bytes(changed), corrected} - {MARK}:
        with pytest.raises(NotPlainPngError):
            check(PLAIN.replace(MARK, mark))
