"""The safetensors container, checked byte by byte before anything else reads it.

Stricter than the format asks (https://huggingface.co/docs/safetensors): an embedding is a few small matrices, so what a
small matrix does not need is refused: duplicate keys, gaps, overlaps, trailing bytes, other types, NaN and infinity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from embhub.errors import ArtifactError
from embhub.formats import strict_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_BYTES = 1_000_000
MAX_HEADER = 100_000
MAX_ROWS = 64
MAX_WIDTH = 8192
TALL, TALL_WIDTH = ".lora_B.weight", 4  # the second matrix of an adapter: a row for each output, a column for each rank
DTYPES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {"F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2)}
)

_REBUILD = "ask the publisher for an intact file, or write it again with `embhub train` or `embhub import`"


class FileTooLargeError(ArtifactError):
    """The file exceeds what an embedding may weigh."""


class PickleFileError(ArtifactError):
    """A pickle or zip archive: loading it would run code, so embhub does not."""


class NotSafetensorsError(ArtifactError):
    """The bytes are something else: a pointer file, a web page, a text."""


class TruncatedFileError(ArtifactError):
    """The file ends before what its header promises."""


class TrailingBytesError(ArtifactError):
    """Bytes after the last tensor: nothing reads them, so nothing vouches for them."""


class MalformedHeaderError(ArtifactError):
    """The header is not the JSON that safetensors asks for."""


class BadOffsetsError(ArtifactError):
    """Tensors overlap, leave gaps, or do not fill their range."""


class BadTensorTypeError(ArtifactError):
    """A number type other than F32, F16 or BF16."""


class BadTensorShapeError(ArtifactError):
    """Not a matrix of 1 to 64 rows and 1 to 8192 columns."""


class NotFiniteError(ArtifactError):
    """NaN or infinity among the numbers."""


@dataclass(frozen=True)
class Tensor:
    """One matrix of finite numbers: its bytes as stored, `shape` (rows, width), and `dtype` as stored."""

    raw: bytes
    shape: tuple[int, int]
    dtype: str

    @cached_property
    def values(self) -> NDArray[Any]:
        """The numbers (rows, width), read-only, BF16 widened to float32.

        numpy is imported here and not before: who verifies a file asks for its digest and its shape.
        """
        import numpy as np

        wide = self.dtype == "bfloat16"
        size = len(self.raw) // (self.shape[0] * self.shape[1])
        flat = widen_bfloat16(self.raw) if wide else np.frombuffer(self.raw, dtype=f"<f{size}")
        values = flat.reshape(self.shape)
        values.flags.writeable = False
        return values


@dataclass(frozen=True)
class TensorFile:
    """What a file holds: tensors by name in the order of their names, and the header's `__metadata__`."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]


def parse(data: bytes) -> TensorFile:
    """Read a safetensors file of small matrices.

    Raises:
        ArtifactError: one of this module's subclasses, naming what is wrong.
    """
    check_size(len(data))
    check_kind(data[:64])
    header, body = _split(data)
    metadata = _read_metadata(header.pop("__metadata__", {}))
    if not header:
        raise MalformedHeaderError("the file holds no tensor", _REBUILD)
    ranges: list[tuple[int, int, str]] = []
    tensors: dict[str, Tensor] = {}
    for name in sorted(header):
        begin, end, kind, shape = _read_entry(name, header[name])
        if end > len(body):
            raise TruncatedFileError(f"tensor {_show(name)} ends at byte {end} of {len(body)}", _REBUILD)
        ranges.append((begin, end, name))
        raw = bytes(body[begin:end])
        if not _is_finite(raw, kind):
            raise NotFiniteError(
                f"tensor {_show(name)} holds NaN or infinity", "train again with a lower learning rate"
            )
        tensors[name] = Tensor(raw, shape, DTYPES[kind][0])
    _check_ranges(sorted(ranges), len(body))
    return TensorFile(MappingProxyType(tensors), MappingProxyType(metadata))


def serialize(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Write float16 or float32 matrices: header keys sorted and padded to 8 bytes, tensors in the order of their names.

    The same input gives the same bytes. Nothing is checked here: `parse` what comes out.
    """
    kinds = {stored: kind for kind, (stored, _) in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name in sorted(tensors):
        array = tensors[name]
        header[name] = {
            "dtype": kinds[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + serialize_body(tensors)


def serialize_body(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The numbers alone, little-endian, tensors in the order of their names."""
    import numpy as np

    ordered = (np.ascontiguousarray(tensors[name]) for name in sorted(tensors))
    return b"".join(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in ordered)


def widen_bfloat16(raw: bytes) -> NDArray[np.float32]:
    """BF16 as float32 (a bfloat16 is the upper half of a float32); numpy has no such type."""
    import numpy as np

    return (np.frombuffer(raw, dtype="<u2").astype(np.uint32) << 16).view(np.float32)


def check_size(size: int) -> None:
    """Raise FileTooLargeError above MAX_BYTES."""
    if size > MAX_BYTES:
        raise FileTooLargeError(
            f"the file is {size:,} bytes; an embedding has at most {MAX_BYTES:,}",
            "is this a whole model? Otherwise use fewer vectors, or float16",
        )


def check_kind(start: bytes) -> None:
    """Name what people put under a safetensors name by mistake, from the first bytes."""
    if start[3:9] == b"\0\0\0\0\0{":
        return  # a header of under 16 MB, whose length may by chance begin like another kind of file (640: a pickle)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) or (len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5):
        what = "zip archive, as torch.save writes" if start.startswith(b"PK") else "pickle"
        raise PickleFileError(
            f"the file is a {what}, not safetensors", "convert it with `embhub import FILE --out NEW.safetensors`"
        )
    if start.startswith(b"version https://git-lfs"):
        raise NotSafetensorsError(
            "the file is a Git LFS pointer, not the embedding", "fetch the real file with `git lfs pull`"
        )
    if start.lstrip()[:1] == b"<":
        raise NotSafetensorsError(
            "the file is a web page, not the embedding", "download it again; was a login asked for?"
        )


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    if len(data) < 10:
        raise TruncatedFileError(f"the file has only {len(data)} bytes", _REBUILD)
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise MalformedHeaderError(f"the header claims {length:,} bytes; at most {MAX_HEADER:,} are read", _REBUILD)
    if 8 + length > len(data):
        raise TruncatedFileError(f"the header claims {length:,} bytes of {len(data) - 8:,}", _REBUILD)
    raw = data[8 : 8 + length]
    if not raw.startswith(b"{"):
        raise MalformedHeaderError("the header does not start with {", _REBUILD)
    try:
        header = strict_json.read_object(raw, limit=MAX_HEADER)
    except strict_json.JsonError as error:
        raise MalformedHeaderError(f"the header cannot be read: {error}", _REBUILD) from error
    return header, memoryview(data)[8 + length :]


def _read_metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise MalformedHeaderError("__metadata__ is not a list of texts", _REBUILD)
    return value


def _read_entry(name: str, entry: Any) -> tuple[int, int, str, tuple[int, int]]:
    shown = _show(name)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise MalformedHeaderError(f"tensor {shown} does not have exactly dtype, shape and data_offsets", _REBUILD)
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise BadTensorTypeError(
            f"tensor {shown} has the type {_show(kind)}; F32, F16 and BF16 are read", "save it as float16"
        )
    if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
        raise MalformedHeaderError(f"shape or offsets of tensor {shown} are not whole numbers", _REBUILD)
    rows, width = (MAX_WIDTH, TALL_WIDTH) if name.endswith(TALL) else (MAX_ROWS, MAX_WIDTH)
    if len(shape) != 2 or not 1 <= shape[0] <= rows or not 1 <= shape[1] <= width:
        raise BadTensorShapeError(
            f"tensor {shown} has the shape {_show(shape)}",
            f"it is a matrix of 1 to {rows} rows and 1 to {width} columns",
        )
    begin, end = offsets
    if end - begin != shape[0] * shape[1] * DTYPES[kind][1]:
        raise BadOffsetsError(f"the offsets of tensor {shown} do not fit its shape and type", _REBUILD)
    return begin, end, kind, (shape[0], shape[1])


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_ranges(ranges: list[tuple[int, int, str]], size: int) -> None:
    expected = 0
    for begin, end, name in ranges:
        if begin != expected:
            problem = "overlaps the tensor before it" if begin < expected else "leaves a gap before it"
            raise BadOffsetsError(f"tensor {_show(name)} {problem}", _REBUILD)
        expected = end
    if expected != size:
        raise TrailingBytesError(f"{size - expected:,} bytes follow the last tensor", _REBUILD)


def _is_finite(raw: bytes, kind: str) -> bool:
    """Whether no number has all bits of its exponent set, which are in its two upper bytes: IEEE 754, little-endian."""
    width = DTYPES[kind][1]
    exponent = 0x7C00 if kind == "F16" else 0x7F80
    upper = set(zip(raw[width - 2 :: width], raw[width - 1 :: width], strict=True))
    return all((high << 8 | low) & exponent != exponent for low, high in upper)


def _show(value: Any) -> str:
    """What a stranger wrote, fit for one line of a terminal."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
