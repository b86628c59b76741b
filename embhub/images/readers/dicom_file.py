"""A DICOM file opened with bounds: its header without pixels, or whole where it is small enough.

Files without preamble or meta group are taken for what their first elements look like (pydicom's guess). What pydicom
would read or inflate without a limit is limited here before it does.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from embhub.errors import EmbhubError, UsageError
from embhub.images.readers.quiet import quiet
from embhub.project import how_to_install

MAX_HEADER = 32_000_000
"""Bytes that are read before the pixels begin; values of over a megabyte are skipped and count nothing."""
MAX_INFLATED = 512_000_000
"""Bytes of a deflated data set, pixels included, and of a file that is read whole."""

_LONG_VALUE = 1_000_000
_PIECE = 65_536
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DIRECTORY = "1.2.840.10008.1.3.10"
_IMPLICIT, _EXPLICIT, _BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


class NoPictureError(UsageError):
    """A DICOM file without pixels: a report, a directory, a plan. To be left out, not to stop at."""


class _Bounded:
    """A file that refuses to be read on after so many bytes: a million tiny elements would fill the memory.

    It refuses to be read to its end as well: pydicom does that to inflate what it finds, without a limit.
    """

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file, self._left = file, limit

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            raise UsageError("deflated elsewhere")
        if size > self._left:
            size = self._left + 1
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise UsageError("too much header")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def read_header(path: Path, where: str) -> Any:
    """The data set up to its pixels, as pydicom's `Dataset`; `where` names the file in errors.

    Raises:
        NoPictureError: there are no pixels in it.
        UsageError: not DICOM, damaged, or a header beyond `MAX_HEADER`; or the extra `dicom` is not installed.
    """
    pydicom = _library()
    try:
        with quiet(), path.open("rb") as file:
            if _transfer_syntax(file) == _DEFLATED:
                return _check(_inflate_header(file), where)
            bounded = _Bounded(file, MAX_HEADER)
            header = pydicom.dcmread(bounded, force=True, stop_before_pixels=True, defer_size=_LONG_VALUE)
            _read_sequences(header, bounded)
            _settle_syntax(header)
            return _check(header, where)
    except EmbhubError as error:
        if error.message == "too much header":
            raise UsageError(
                f"{where} has over {MAX_HEADER:,} bytes of header", "leave it out, or write its frames as files"
            ) from None
        if error.message == "deflated elsewhere":
            raise UsageError(f"{where} is deflated and does not say where", "store it uncompressed") from None
        raise
    except OSError as error:
        reason = error.strerror or "damaged or incomplete"
        raise UsageError(f"{where} cannot be read: {reason}", "replace the file or leave it out") from None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # pydicom raises whatever a damaged header makes it stumble on, and cites it
        raise UsageError(f"{where} is no DICOM file, or a damaged one", "replace the file or leave it out") from None


def open_pixels(path: Path, where: str, *, size: int) -> Any:
    """What `pydicom.pixels.pixel_array` takes: the path, or a whole data set that it could not read in parts.

    `size` is how many bytes the pixels have by the header: no more than those and a header are inflated.
    """
    with path.open("rb") as file:
        syntax = _transfer_syntax(file)
        if syntax == _DEFLATED:
            return _inflate(file, where, limit=min(MAX_INFLATED, MAX_HEADER + size))
        if syntax:
            return path
    if path.stat().st_size > MAX_INFLATED:
        raise UsageError(f"{where} has no meta information and over {MAX_INFLATED:,} bytes", "write it as a DICOM file")
    with quiet():
        whole = _library().dcmread(path, force=True)
    _settle_syntax(whole)
    return whole


def _library() -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise UsageError("reading DICOM needs pydicom", how_to_install("dicom")) from error
    return pydicom


def _transfer_syntax(file: IO[bytes]) -> str:
    """Of the meta group at the file's beginning, "" where there is none; the file is back at its start."""
    head = file.read(4096)
    file.seek(0)
    if head[128:132] != b"DICM":
        return ""
    place = head.find(b"\x02\x00\x10\x00UI", 132)
    if place < 0:
        return ""
    length = int.from_bytes(head[place + 6 : place + 8], "little")
    return head[place + 8 : place + 8 + length].rstrip(b"\0 ").decode("ascii", "replace")


def _inflate_header(file: IO[bytes]) -> Any:
    """As much of a deflated data set as a header may have, read up to its pixels."""
    data, more = _unpack(file, MAX_HEADER)
    bounded = _Bounded(io.BytesIO(data), MAX_HEADER)
    header = _parse(bounded, stop=_at_pixels, defer=_LONG_VALUE)
    if more and bounded.tell() >= len(data):
        raise UsageError("too much header")
    _read_sequences(header, bounded)
    return header


def _inflate(file: IO[bytes], where: str, *, limit: int) -> Any:
    data, more = _unpack(file, limit)
    if more:
        raise UsageError(f"{where} unpacks to over {limit:,} bytes", "leave it out, or store it uncompressed")
    return _parse(io.BytesIO(data), stop=None, defer=None)


def _unpack(file: IO[bytes], limit: int) -> tuple[bytes, bool]:
    """PS3.5 A.5: everything behind the meta group is one deflated stream; whether there is more of it than `limit`."""
    head = file.read(144)
    if head[132:138] != b"\x02\x00\x00\x00UL":
        raise UsageError("deflated elsewhere")
    file.seek(144 + int.from_bytes(head[140:144], "little"))
    inflater, data = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    while packed := file.read(_PIECE):
        data += inflater.decompress(packed, limit + 1 - len(data))
        if len(data) > limit:
            return bytes(data[:limit]), True
    return bytes(data), False


def _parse(buffer: Any, *, stop: Callable[[int, str | None, int], bool] | None, defer: int | None) -> Any:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    found = read_dataset(buffer, False, True, stop_when=stop, defer_size=defer)
    whole = FileDataset("", found, file_meta=FileMetaDataset(), is_implicit_VR=False, is_little_endian=True)
    whole.file_meta.TransferSyntaxUID = UID(_EXPLICIT)  # which is what it is, now
    return whole


def _read_sequences(header: Any, file: _Bounded) -> None:
    """What was passed over for its length is a value or a sequence; frames say in those where they lie."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    for tag in list(header.keys()):
        raw = header.get_item(tag, keep_deferred=True)
        if raw.value is not None or not getattr(raw, "length", 0):
            continue
        if raw.VR == "SQ" or (raw.VR is None and dictionary_has_tag(raw.tag) and dictionary_VR(raw.tag) == "SQ"):
            file.seek(raw.value_tell)
            header[raw.tag] = raw._replace(value=file.read(raw.length))


def _at_pixels(tag: int, _: str | None, __: int) -> bool:
    return int(tag) in (0x7FE00008, 0x7FE00009, 0x7FE00010)


def _settle_syntax(data: Any) -> None:
    """Where the file does not say how it is written, what it was read as."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    if getattr(data, "file_meta", None) is None:
        data.file_meta = FileMetaDataset()
    if not data.file_meta.get("TransferSyntaxUID"):
        implicit, little = data.original_encoding
        data.file_meta.TransferSyntaxUID = UID(_IMPLICIT if implicit else _EXPLICIT if little else _BIG)


def _check(header: Any, where: str) -> Any:
    from pydicom.uid import UID

    directory = str(header.file_meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY
    name = UID(str(header.get("SOPClassUID", ""))).name
    if directory or (name.endswith("Storage") and not name.endswith(("Image Storage", "Volume Storage"))):
        raise NoPictureError(f"{where} is a DICOM file without a picture", "leave it out")
    if "Rows" not in header or "Columns" not in header:
        raise UsageError(f"{where} is no DICOM file, or a damaged one", "replace the file or leave it out")
    return header
