"""The format of a backup: a tar file that says first what it holds; read strictly, in bounded memory.

`backup.json`, its signature `backup.sig`, then the files it names, in its order and with its digests, then the objects
as `blobs/ab/abcdef…`, whose names are their digests. Plain files only, so `tar -t` lists it. Reading takes no other
kind of member: no link, no folder, no extension header (POSIX pax, GNU long names, sparse files), nothing after
the end.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.errors import RegistryError
from embhub.formats import strict_json

SCHEMA = "embhub.backup/2"
MANIFEST = "backup.json"
DATABASE = "registry.db"
KEYS = ("keys/root.pem", "keys/root.pub")
AUDIT_LOG = re.compile(r"audit(-\d{4}-\d{2})?\.jsonl", re.ASCII)
LARGEST_OBJECT = 16_000_000  # more than the largest commit body
_BLOCK = 512
_CHUNK = 1 << 20


class BadBackupError(RegistryError):
    """The file is no backup, not whole, or not what a registry wrote: nothing was restored."""

    def __init__(self, message: str, hint: str = "nothing was restored; take another backup file") -> None:
        super().__init__(message, hint)


class Part(BaseModel):
    """One file of the backup, in bytes, with its SHA-256."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a backup holds and of which registry; `blobs` and `blob_bytes` count the objects."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    schema_: Literal["embhub.backup/2"] = Field(alias="schema")
    made: str
    program: str
    name: str
    url: str
    root_fingerprint: str
    keyring_version: int
    files: dict[str, Part]
    blobs: int = Field(ge=0)
    blob_bytes: int = Field(ge=0)
    objects_sha256: str = Field(pattern="^[0-9a-f]{64}$")  # of a line `DIGEST SIZE` for each object, in their order


def parse_manifest(data: bytes) -> Manifest:
    """Read `backup.json`.

    Raises:
        BadBackupError: it is malformed, of another format, or names a file that no backup holds.
    """
    try:
        document = strict_json.read_object(data, limit=_CHUNK)
        if document.get("schema") not in (None, SCHEMA):
            raise BadBackupError(
                f"its format is {document['schema']!r}, this program reads {SCHEMA}", "use the release that wrote it"
            )
        manifest = Manifest.model_validate(document)
    except (strict_json.JsonError, ValidationError) as error:
        raise BadBackupError(f"its {MANIFEST} cannot be read: {str(error).splitlines()[0]}") from error
    strange = {name for name in manifest.files if name not in {DATABASE, *KEYS} and not AUDIT_LOG.fullmatch(name)}
    lacking = {DATABASE} - set(manifest.files)
    if strange or lacking:
        raise BadBackupError(f"its {MANIFEST} names {sorted(strange) or 'no ' + ' and no '.join(sorted(lacking))}")
    return manifest


def append(archive: tarfile.TarFile, name: str, source: BinaryIO, size: int) -> None:
    """Add one plain file; neither owner nor time of the original is kept."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    archive.addfile(info, source)


@dataclass(frozen=True)
class Member:
    """A file of a backup that is about to be read: its bytes come next in the stream."""

    name: str
    size: int


class Reader:
    """Members in their order; each must be taken with `copy` before the next."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def next(self) -> Member | None:
        """The next member, None after the last.

        Raises:
            BadBackupError: the file ends too early, or holds anything but plain files.
        """
        header = self._exactly(_BLOCK)
        if not any(header):
            self._check_end()
            return None
        try:
            info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise BadBackupError(f"it is no tar file, or a damaged one: {error}") from error
        if info.type != tarfile.REGTYPE or info.size < 0:
            raise BadBackupError(f"{info.name[:100]!r} is no plain file")
        return Member(info.name, info.size)

    def copy(self, member: Member, write: Callable[[bytes], object]) -> str:
        """Hand the member's bytes to `write`, a piece at a time; returns their SHA-256 in hex.

        Raises:
            BadBackupError: the file ends before the member does.
        """
        digest, left = hashlib.sha256(), member.size
        while left:
            piece = self._exactly(min(left, _CHUNK))
            digest.update(piece)
            write(piece)
            left -= len(piece)
        self._exactly(-member.size % _BLOCK)
        return digest.hexdigest()

    def read(self, member: Member, *, limit: int) -> bytes:
        """A small member's bytes.

        Raises:
            BadBackupError: it is larger than `limit`, or cut off.
        """
        if member.size > limit:
            raise BadBackupError(f"{member.name[:100]} has {member.size:,} bytes, at most {limit:,} are read")
        held = io.BytesIO()
        self.copy(member, held.write)
        return held.getvalue()

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise BadBackupError("it ends too early: it was cut off, or never finished")
        return data

    def _check_end(self) -> None:
        rest = self._stream.read(2 * tarfile.RECORDSIZE)
        if any(rest) or len(rest) < _BLOCK or len(rest) >= 2 * tarfile.RECORDSIZE:
            raise BadBackupError("it does not end where its last file does")


def object_name(digest: str) -> str:
    """Where an object lies in a backup."""
    return f"blobs/{digest[:2]}/{digest}"


def object_line(digest: str, size: int) -> bytes:
    """What an object adds to `objects_sha256`."""
    return f"{digest} {size}\n".encode()


def part_of(stream: BinaryIO, size: int) -> Part:
    """The first `size` bytes of an open file, which is left at its beginning."""
    digest, left = hashlib.sha256(), size
    while left and (piece := stream.read(min(left, _CHUNK))):
        digest.update(piece)
        left -= len(piece)
    stream.seek(0)
    return Part(size=size, sha256=digest.hexdigest())
