"""The metadata of generated images: what is written is read back, and bytes of others never break the reader."""

from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from embhub.formats import synthetic_mark
from embhub.formats.synthetic_mark import COMPOSITE, GENERATED, Declared, mark_png, packet, read

A, B, BASE = "aa" * 32, "bb" * 32, "cc" * 32


def png(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((20, 20), 50).save(buffer, "PNG", **options)
    return buffer.getvalue()


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((20, 20), 50).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def test_what_is_written_is_read() -> None:
    assert read(mark_png(png())) == Declared(GENERATED)
    marked = mark_png(png(), COMPOSITE, embeddings=[A, B], base=BASE)
    assert read(marked) == Declared(COMPOSITE, (A, B), BASE) and read(marked).synthetic
    Image.open(io.BytesIO(marked)).load()


def test_pillow_finds_the_xmp() -> None:
    """Another reader than ours, which all Python programs have."""
    found = Image.open(io.BytesIO(mark_png(png(), embeddings=[A])))
    found.load()
    assert found.info["XML:com.adobe.xmp"].encode() == packet(embeddings=[A])


def test_an_image_that_says_nothing_is_not_known() -> None:
    for data in (png(), jpeg(), b"", b"GIF89a", png()[:40]):
        assert read(data) == Declared() and not read(data).synthetic


@pytest.mark.parametrize("kind", ["digitalCapture", "compositeCapture", "softwareImage"])
def test_a_camera_is_not_synthetic(kind: str) -> None:
    data = jpeg(xmp=packet().replace(GENERATED.encode(), kind.encode()))
    assert read(data).source_type == kind and not read(data).synthetic


def test_other_programs_write_it_otherwise() -> None:
    element = (
        b"<?xpacket begin='' id='x'?><rdf:Description rdf:about=''\n  xmlns:e='x'>\n <Iptc4xmpExt:DigitalSourceType"
        b">http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>"
        b"<embhub:Embeddings>" + A.encode() + b"</embhub:Embeddings>"
    )
    assert read(jpeg(xmp=element)) == Declared(GENERATED, (A,))
    packed = PngImagePlugin.PngInfo()
    packed.add_itxt("XML:com.adobe.xmp", element.decode(), zip=True)
    assert read(png(pnginfo=packed)) == Declared(GENERATED, (A,))


def test_a_bomb_of_text_is_not_unpacked() -> None:
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b" " * 50_000_000, 9)
    chunk = len(body).to_bytes(4, "big") + b"iTXt" + body + bytes(4)
    assert read(png()[:33] + chunk + png()[33:]) == Declared()


def test_a_manifest_is_seen_and_not_believed() -> None:
    chunk = bytes(3) + b"\4caBXjumb" + bytes(4)
    assert read(png()[:33] + chunk + png()[33:]) == Declared(manifest=True)


@pytest.mark.parametrize(("named", "synthetic"), [(GENERATED, True), (COMPOSITE, True), ("digitalCapture", False)])
def test_a_source_type_in_a_manifest_counts(named: str, synthetic: bool) -> None:
    """As CBOR has it: the letter behind it is the header of the next text."""
    url = b"qdigitalSourceTypexFhttp://cv.iptc.org/newscodes/digitalsourcetype/"
    body = b"jumbc2pa" + url + named.encode() + b"fothers"
    chunk = len(body).to_bytes(4, "big") + b"caBX" + body + bytes(4)
    expected = Declared(manifest=True, manifest_type=named if synthetic else None)
    assert read(png()[:33] + chunk + png()[33:]) == expected and expected.synthetic == synthetic
    begin, rest = b"JP\0\1\0\0\0\1\0\0\0\0jumbc2pa", b"JP\0\1\0\0\0\2" + body[8:]
    segments = b"".join(b"\xff\xeb" + (len(part) + 2).to_bytes(2, "big") + part for part in (begin, rest))
    assert read(jpeg()[:2] + segments + jpeg()[2:]) == expected


@given(st.binary(max_size=300), st.integers(0, 900))
def test_any_bytes_are_read_or_left(extra: bytes, place: int) -> None:
    for whole in (mark_png(png(), embeddings=[A], base=BASE), jpeg(xmp=packet())):
        for data in (extra, whole[:8] + extra, whole[:place] + extra + whole[place + len(extra) :], whole[:place]):
            said = read(data)
            assert all(len(one) == 64 for one in said.embeddings) and len(said.source_type or "") <= 60


@given(st.binary(max_size=400))
def test_any_text_of_xmp_is_read_or_left(text: bytes) -> None:
    for data in (text, packet()[:200] + text, b"DigitalSourceType" + text, b":Embeddings=" + text):
        read(synthetic_mark.mark_png(png()).replace(packet(), data))


def test_a_long_text_takes_no_time() -> None:
    """The expressions are bounded: nothing is gone back over."""
    read(jpeg(xmp=b"DigitalSourceType " * 3_000 + b":Embeddings=" * 100))
