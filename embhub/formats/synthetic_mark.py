"""The metadata that says that a computer generated an image: XMP with the IPTC property DigitalSourceType. Pure.

In a PNG it is the first chunk behind the header, an `iTXt` with the keyword that XMP has there (XMP specification,
part 3). The values are of the IPTC vocabulary (https://cv.iptc.org/newscodes/digitalsourcetype/). What others wrote is
read with bounds and without an XML parser: it is searched for the property, nothing else of it is interpreted.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

GENERATED: Final = "trainedAlgorithmicMedia"
COMPOSITE: Final = "compositeWithTrainedAlgorithmicMedia"
SYNTHETIC_TYPES = frozenset({GENERATED, COMPOSITE, "algorithmicMedia", "compositeSynthetic", "virtualRecording"})
"""Those of IPTC's values that say that no camera and no scanner made all of the pixels."""
SourceType = Literal["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OURS = "https://embhub.org/ns/image/1/"
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_HEADER_END = 33
"""Of a PNG: signature and IHDR, which is 25 bytes."""
_KEYWORD = b"XML:com.adobe.xmp"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MOST_XMP, _MOST_PARTS, _MOST_EMBEDDINGS = 1_000_000, 10_000, 16
_TYPE = re.compile(rb"DigitalSourceType[\s\w:/#.=\"'<>-]{0,200}?/digitalsourcetype/([A-Za-z]{1,60})")
_DIGESTS = re.compile(
    rb":Embeddings(?:\s{0,8}=\s{0,8}[\"']|>)\s{0,8}([0-9a-f]{64}(?: [0-9a-f]{64}){0,15})\s{0,8}[\"'<]"
)
_BASE = re.compile(rb":Base(?:\s{0,8}=\s{0,8}[\"']|>)\s{0,8}([0-9a-f]{64})\s{0,8}[\"'<]")
_MANIFEST_TYPE = re.compile(rb"/digitalsourcetype/(" + b"|".join(sorted(t.encode() for t in SYNTHETIC_TYPES)) + b")")
"""In the CBOR of a C2PA manifest, where a letter may follow that belongs to the next value."""
_LINE = re.compile(r"embhub (embedding|base) ([0-9a-f]{64})")


@dataclass(frozen=True)
class Declared:
    """What a file says of itself; anybody may have written it.

    `source_type` is the value of DigitalSourceType, `embeddings` and `base` are SHA-256 digests in hexadecimal;
    `manifest` is whether there is a C2PA manifest, `manifest_type` the first source type of synthetic images in it;
    nobody has checked its signature.
    """

    source_type: str | None = None
    embeddings: tuple[str, ...] = ()
    base: str | None = None
    manifest: bool = False
    manifest_type: str | None = None

    @property
    def synthetic(self) -> bool:
        """Whether it says that it is synthetic."""
        return self.source_type in SYNTHETIC_TYPES or self.manifest_type is not None


def packet(source_type: SourceType = GENERATED, *, embeddings: Sequence[str] = (), base: str | None = None) -> bytes:
    """XMP of an image; with neither embeddings nor base always the same bytes."""
    origin = f' embhub:Embeddings="{" ".join(embeddings[:_MOST_EMBEDDINGS])}"' if embeddings else ""
    origin += f' embhub:Base="{base}"' if base else ""
    ours = f' xmlns:embhub="{_OURS}"' if origin else ""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{_IPTC}"{ours}'
        f' Iptc4xmpExt:DigitalSourceType="{_VOCABULARY}{source_type}"{origin}/></rdf:RDF></x:xmpmeta>'
    ).encode("ascii")


def text_body(xmp: bytes) -> bytes:
    """The body of the `iTXt` chunk that holds an XMP packet."""
    return _KEYWORD + b"\0\0\0\0\0" + xmp


SHEET_BODY = text_body(packet())
"""Of the one chunk besides pixels that a sheet of samples has: constant, so that it carries no message."""


def mark_png(
    png: bytes, source_type: SourceType = GENERATED, *, embeddings: Sequence[str] = (), base: str | None = None
) -> bytes:
    """A PNG that says how it was made; the chunk stands behind the header."""
    kind, body = b"iTXt", text_body(packet(source_type, embeddings=embeddings, base=base))
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:_HEADER_END] + chunk + png[_HEADER_END:]


def write_text(embeddings: Sequence[str], base: str | None) -> str:
    """Where images come from, for a field of plain text such as a comment: digests alone."""
    said = [f"embhub embedding {one}" for one in embeddings[:_MOST_EMBEDDINGS]]
    return "; ".join([*said, *([f"embhub base {base}"] if base else [])])


def read_text(text: str) -> Declared:
    """The digests of what `write_text` wrote."""
    parts = [part.strip() for part in text.split(";")[: _MOST_EMBEDDINGS + 2]]
    found = [hit for part in parts if (hit := _LINE.fullmatch(part))]
    bases = [hit[2] for hit in found if hit[1] == "base"]
    return Declared(None, tuple(hit[2] for hit in found if hit[1] == "embedding"), bases[0] if bases else None)


def read(data: bytes) -> Declared:
    """What a PNG or a JPEG file says of itself; nothing where it is another file or a damaged one. Never raises."""
    found = Declared()
    parts = _png_parts(data) if data.startswith(_PNG) else _jpeg_parts(data) if data.startswith(_JPEG) else iter(())
    for kind, body in parts:
        if kind == "c2pa":
            said = _MANIFEST_TYPE.search(body)
            named = found.manifest_type or (said[1].decode("ascii") if said else None)
            found = replace(found, manifest=True, manifest_type=named)
        elif found.source_type is None:
            found = _search(body, found)
    return found


def _search(xmp: bytes, found: Declared) -> Declared:
    said = _TYPE.search(xmp)
    if said is None:
        return found
    digests, base = _DIGESTS.search(xmp), _BASE.search(xmp)
    return replace(
        found,
        source_type=said[1].decode("ascii"),
        embeddings=tuple(digests[1].decode("ascii").split()) if digests else (),
        base=base[1].decode("ascii") if base else None,
    )


def _png_parts(data: bytes) -> Iterator[tuple[str, bytes]]:
    place = len(_PNG)
    for _ in range(_MOST_PARTS):
        if len(data) - place < 12:
            return
        (length,) = struct.unpack_from(">I", data, place)
        kind, end = data[place + 4 : place + 8], place + 12 + length
        if end > len(data):
            return
        if kind == b"caBX":
            yield "c2pa", data[place + 8 : end - 4]
        elif kind == b"iTXt" and length < _MOST_XMP:
            body = data[place + 8 : end - 4]
            if body.startswith(_KEYWORD + b"\0"):
                yield "xmp", _unpack(body[len(_KEYWORD) + 1 :])
        place = end


def _unpack(rest: bytes) -> bytes:
    """The text behind the keyword: flag and method of its compression, language, translated keyword, text."""
    if rest[:1] != b"\1":
        return rest[2:]
    text = rest[2:].split(b"\0", 2)
    try:
        return zlib.decompressobj().decompress(text[-1], _MOST_XMP)
    except zlib.error:
        return b""


def _jpeg_parts(data: bytes) -> Iterator[tuple[str, bytes]]:
    place, manifest = 2, False
    for _ in range(_MOST_PARTS):
        if data[place : place + 1] != b"\xff" or len(data) - place < 4:
            return
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDA or length < 2:  # pixels begin
            return
        body = data[place + 4 : place + 2 + length]
        if marker == 0xE1 and body.startswith(_JPEG_XMP):
            yield "xmp", body[len(_JPEG_XMP) :]
        elif marker == 0xEB and body.startswith(b"JP"):  # JUMBF; a manifest may go on in the next segment
            manifest = manifest or b"c2pa" in body[:64]
            if manifest:
                yield "c2pa", body
        place += 2 + length


__all__ = ["COMPOSITE", "GENERATED", "SHEET_BODY", "SYNTHETIC_TYPES", "Declared", "SourceType", "mark_png", "packet",
           "read", "read_text", "text_body", "write_text"]  # fmt: skip
