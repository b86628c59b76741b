"""Which fields of an image file hold words: their names only, and only names that a standard gives.

A PNG's text may stand under any key that its writer chose, a person's name included. Keys that no standard knows are
counted as `another text`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image, TiffTags

OTHER = "another text"
_PNG_KEYS = frozenset(
    ["Title", "Author", "Description", "Copyright", "Software", "Disclaimer", "Warning", "Source", "Comment"]
) | {"XML:com.adobe.xmp", "Creation Time", "Raw profile type exif", "Raw profile type iptc", "Raw profile type xmp"}
_INFO = {"comment": "comment", "xmp": "XMP", "photoshop": "IPTC or Photoshop"}
_FOLDERS = {ExifTags.IFD.Exif: "", ExifTags.IFD.GPSInfo: "GPS position"}
_WORDS_IN_BYTES = frozenset(
    {"UserComment", "MakerNote", "XMP", "XPTitle", "XPComment", "XPAuthor", "XPKeywords", "XPSubject"}
)
_PROFILE_OR_TABLES = frozenset({347, 34675})  # of a TIFF, in bytes: how to decode it, and its colours
_JPEG_PARTS = frozenset({"APP0", "APP1", "APP2", "APP13", "APP14", "COM"})  # JFIF, Exif and XMP, colours, IPTC, Adobe
_LAYOUT = frozenset({"ExifVersion", "FlashPixVersion", "ComponentsConfiguration", "InteropIndex", "InteropVersion"})


def text_fields(image: Image.Image) -> frozenset[str]:
    """Names of the fields of an opened image that hold text, position or a maker's notes. Never raises."""
    try:
        return frozenset(_fields(image))
    except Exception:  # noqa: BLE001  # metadata is whatever someone wrote; pixels were read already
        return frozenset({"metadata that cannot be read"})


def _fields(image: Image.Image) -> Iterator[str]:
    for key, value in getattr(image, "text", {}).items():
        if value:
            yield key if key in _PNG_KEYS else OTHER
    if getattr(image, "private_chunks", ()) or set(getattr(image, "app", ())) - _JPEG_PARTS:
        yield OTHER
    for key, name in _INFO.items():
        if image.info.get(key):
            yield name
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None:
        yield from _named({tag: tags[tag] for tag in tags}, tiff=True)
    exif = image.getexif()
    yield from _named(dict(exif))
    for folder, name in _FOLDERS.items():
        if values := exif.get_ifd(folder):
            yield from [name] if name else _named(values)


def _named(values: dict[int, Any], *, tiff: bool = False) -> Iterator[str]:
    for tag, value in values.items():
        name = ExifTags.TAGS.get(tag, "") or (TiffTags.lookup(tag).name if tiff else "")
        known = bool(name) and name != "unknown"
        if known and name in _LAYOUT:
            continue
        if isinstance(value, str) and value.strip(" \0"):
            yield name if known else OTHER
        elif isinstance(value, bytes) and value.strip(b" \0"):
            if name in _WORDS_IN_BYTES:
                yield name
            elif tiff and tag not in _PROFILE_OR_TABLES:  # whoever wrote it may have put anything there
                yield name if known else OTHER
