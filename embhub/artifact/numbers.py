"""The digest of an embedding's numbers alone: what stays when its header is written anew. Pure, and without numpy.

SHA-256 over a line for the format, then for each tensor in the order of their names a line of JSON, `["name",[rows,
width]]`, and its values by rows as little-endian IEEE 754 float32. Every float16 and bfloat16 is a float32 exactly, so
that the same numbers have one digest in every number type; a negative zero counts as zero.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping

from embhub.formats.tensors import Tensor

_FORMAT = b"embhub numbers 1\n"
_OTHER_NAMES = {"t5": "t5xxl"}  # two names that loaders have for one tensor


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and values in lower-case hex."""
    hashed = hashlib.sha256(_FORMAT)
    for name, tensor in sorted((_OTHER_NAMES.get(name, name), tensor) for name, tensor in tensors.items()):
        hashed.update(json.dumps([name, list(tensor.shape)], separators=(",", ":")).encode() + b"\n")
        hashed.update(_as_float32(tensor))
    return hashed.hexdigest()


def _as_float32(tensor: Tensor) -> bytes:
    raw = tensor.raw
    count = tensor.shape[0] * tensor.shape[1]
    if tensor.dtype == "bfloat16":  # the upper half of a float32
        wide = bytearray(4 * count)
        wide[2::4], wide[3::4] = raw[0::2], raw[1::2]
        raw = bytes(wide)
    read = struct.unpack(f"<{count}{'e' if tensor.dtype == 'float16' else 'f'}", raw)
    return struct.pack(f"<{count}f", *(value + 0.0 for value in read))  # -0.0 + 0.0 is 0.0
