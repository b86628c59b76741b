"""Pickles of torch, read by its restricted unpickler alone, from memory that was measured first.

`weights_only` builds tensors and plain containers and runs no code, but it can be made to fill the memory: a few bytes
ask for `bytearray(10**11)` or for a storage of that size, `_codecs.encode` doubles a text as often as it is told, and a
zip archive may unfold. So the archive is unpacked here, within bounds, and packed again for torch, which then reads
only what was measured; and the pickle's own words are looked through before it is built.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Container, Mapping
from typing import Any

import torch

from embhub.errors import ArtifactError

LARGEST = 16_000_000
"""Bytes of a file that is read: other programs leave an optimizer's state beside the rows."""
MOST_WORDS = 20_000
"""Opcodes of a pickle: an embedding's has some hundred."""
MOST_MEMBERS = 200

_CALLS = {
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch.nn.parameter Parameter",
    "torch Size",
    "torch device",
    "collections OrderedDict",
}
"""What a pickle of tensors asks for by name, and nothing that makes something large out of something small."""
_HOLDER = b"ctorch.nn.modules.container\nParameterDict\n"
_IN_HOLDER = {"torch.nn.modules.container ParameterDict", "__builtin__ set"}
"""In which the original Textual Inversion program leaves its vectors, and what else such a module asks for."""
_TYPES = re.compile(r"torch (?:[A-Z][A-Za-z0-9]*Storage|b?float[0-9a-z_]*|u?int[0-9]+|bool|half|double|long)")
_MAGIC = (
    0x1950A86A20F9469CFC6C  # opens torch's format from before it was a zip archive, whose first of five pickles it is
)
_PICKLES = 5
_REFUSED = "do not open it with other programs either; ask its author for a safetensors file"
_AGAIN = "fetch the file again"
# What torch's reader raises on damaged input, as found by fuzzing it; anything else would be a fault of this program.
_DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
    OverflowError, MemoryError, struct.error,
)  # fmt: skip


def is_pickle(data: bytes) -> bool:
    """A zip archive, as torch writes, or a bare pickle of protocol 2 or later."""
    return data[:2] == b"PK" or data[:1] == b"\x80"


def load(data: bytes, name: str) -> Any:
    """The content of a pickle: tensors, texts, numbers and plain containers.

    Raises:
        ArtifactError: it asks for more than tensors, it is damaged, or it would unfold beyond LARGEST.
    """
    data = _measure_zip(data, name) if data[:2] == b"PK" else _measure_bare(data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on pickle protocols
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise ArtifactError(f"{name} is damaged", _AGAIN) from error


def pack(members: Mapping[str, bytes]) -> bytes:
    """A zip archive as torch reads it: nothing compressed, no times; the same members give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return stream.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """The members of an archive that torch wrote; raises ValueError where it is larger than its own file.

    Raises:
        ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError: damaged, or not torch's.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = archive.infolist()
        if len(found) > MOST_MEMBERS or len({item.filename for item in found}) != len(found):
            raise ValueError("more members than an embedding has, or one twice")
        if any(item.compress_type != zipfile.ZIP_STORED or item.flag_bits & 1 for item in found):
            raise ValueError("compressed or encrypted members, which torch does not write")
        if sum(item.file_size for item in found) > LARGEST:
            raise ValueError("its members are larger than the file")
        return {item.filename: archive.read(item) for item in found}


def _measure_zip(data: bytes, name: str) -> bytes:
    try:
        members = unpack(data)
    except (ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ArtifactError(f"{name} is damaged, or no archive as torch writes it: {error}", _AGAIN) from error
    pickles = [member for member in members if member.endswith("/data.pkl")]
    if len(pickles) != 1 or any(member.endswith("/constants.pkl") for member in members):
        raise ArtifactError(f"{name} is an archive of another kind", "use .pt, .bin or .safetensors")
    program = members[pickles[0]]
    _look_through(io.BytesIO(program), name, names=_IN_HOLDER if _HOLDER in program else ())
    return pack({**members, pickles[0]: _as_plain(program)})


def _as_plain(program: bytes) -> bytes:
    """A pickle with a plain dictionary in place of `ParameterDict`, whose attributes it gets; no module is built."""
    if _HOLDER not in program:
        return program
    parts, done = [], 0
    for opcode, argument, place in pickletools.genops(program):
        if opcode.name == "GLOBAL" and argument in _IN_HOLDER:
            old, new = len(argument) + 2, b"ccollections\nOrderedDict\n"
        elif opcode.name == "NEWOBJ":
            old, new = 1, b"R"
        else:
            continue
        parts += [program[done:place], new]
        done = (place or 0) + old  # of bytes a place is known
    return b"".join([*parts, program[done:]])


def _measure_bare(data: bytes, name: str) -> bytes:
    stream = io.BytesIO(data)
    for number in range(_PICKLES):
        words = _look_through(stream, name, numbers={_MAGIC} if number == 0 else ())
        if number == 0 and _MAGIC not in words:
            raise ArtifactError(f"{name} is a plain pickle, not one of tensors", _REFUSED)
    return data


def _look_through(stream: io.BytesIO, name: str, numbers: Container[int] = (), names: Container[str] = ()) -> list[Any]:
    """The arguments of one pickle's opcodes; refuses any name but tensors' and any number above LARGEST."""
    words = []
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            words.append(argument)
            if len(words) > MOST_WORDS:
                raise ArtifactError(f"{name} is a pickle of more than {MOST_WORDS:,} steps", "it is no embedding")
            asks = opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4") or (
                opcode.name == "GLOBAL"
                and argument not in _CALLS
                and argument not in names
                and not _TYPES.fullmatch(str(argument))
            )
            if asks:
                raise ArtifactError(
                    f"{name} is a pickle that asks for more than tensors; nothing of it was run", _REFUSED
                )
            if isinstance(argument, int) and argument > LARGEST and argument not in numbers:
                raise ArtifactError(f"{name} holds the number {_show(argument)}; no embedding needs it", _REFUSED)
    except (ValueError, LookupError, struct.error, OverflowError, MemoryError) as error:
        raise ArtifactError(f"{name} is damaged", _AGAIN) from error
    return words


def _show(number: int) -> str:
    return f"{number:,}" if number < 1 << 64 else "2**64 or more"
