"""Objects in a folder of the registry's own: what a registry has where nobody chose otherwise."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from embhub.durable import sync
from embhub_registry.database import StorageFullError
from embhub_registry.storage.stores.blobs import (
    CACHE_BYTES,
    DIGEST,
    BlobStore,
    DamagedBlobError,
    MissingBlobError,
    Stray,
    sha256,
)

LONG = 256_000  # bytes that are hashed in 0.2 ms: of more, hashing is no work for the event loop
SETTLED = 2.0  # seconds: a file system may not tell two changes apart that are closer to each other than this
MOST_CHECKED = 100_000  # files
_TEMPORARY = "incoming"

_Identity = tuple[int, ...]
"""Of a file with its content: device, inode, size in bytes, and in ns when content and inode were changed."""


class FolderBlobs(BlobStore):
    """`put` returns once bytes, name and folder are durable.

    A file's bytes are hashed when this process reads it for the first time, and again where it is another file since.
    What a disk changes without the file system's knowledge is found by `verify` alone, once a file was checked.
    """

    def __init__(self, folder: Path, *, cache_bytes: int = CACHE_BYTES) -> None:
        super().__init__(cache_bytes=cache_bytes)
        self.folder = self.location = folder
        self._checked: OrderedDict[str, _Identity] = OrderedDict()

    def put(self, data: bytes, *, durable: bool = True) -> str:
        """Store `data`; returns its SHA-256 in hex. Storing the same bytes twice is one object; damage is healed.

        A caller that stores many and syncs them after, all at once, passes `durable=False`.

        Raises:
            StorageFullError: nothing is left behind.
        """
        digest = sha256(data)
        target = self.path(digest)
        with contextlib.suppress(MissingBlobError):
            self.read(digest)
            return digest
        temporary: str | None = None
        try:
            incoming = self.folder / _TEMPORARY
            incoming.mkdir(parents=True, exist_ok=True)
            if not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                if durable:
                    sync(self.folder)
            handle, temporary = tempfile.mkstemp(dir=incoming)
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            Path(temporary).chmod(0o640)
            Path(temporary).replace(target)  # same name, same bytes: a race between two writers has no loser
            temporary = None
            if durable:
                sync(target.parent)
        except OSError as error:
            what = "the registry's disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror)
            raise StorageFullError(
                f"the registry could not store this: {what}", "inform the registry's operator"
            ) from error
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
        return digest

    def read(self, digest: str) -> bytes:
        """The bytes of an object from the disk.

        Raises:
            MissingBlobError: the file is not there.
            DamagedBlobError: it holds other bytes.
        """
        try:
            with self.path(digest).open("rb", buffering=0) as stream:
                before = _identity(os.fstat(stream.fileno()))
                data = stream.readall()
                after = _identity(os.fstat(stream.fileno()))
        except OSError as error:
            raise MissingBlobError(digest) from error
        if before != after or not self._is_checked(digest, after):
            if sha256(data) != digest:
                raise DamagedBlobError(digest)
            if before == after:
                self._note(digest, after)
        return data

    def at_once(self, digest: str) -> bytes | None:
        """The bytes of an object from memory, or from a file that is short or was checked; else None.

        Raises:
            MissingBlobError: the file is not there.
            DamagedBlobError: it holds other bytes.
        """
        if (held := self.remembered(digest)) is not None:
            return held
        try:
            found = self.path(digest).stat()
        except OSError as error:
            raise MissingBlobError(digest) from error
        if found.st_size > LONG and not self._is_checked(digest, _identity(found)):
            return None
        return self.get(digest)

    def _is_checked(self, digest: str, identity: _Identity) -> bool:
        with self._guard:
            return self._checked.get(digest) == identity

    def _note(self, digest: str, identity: _Identity) -> None:
        if time.time() - max(identity[-2:]) / 1e9 < SETTLED:
            return  # another change of this very moment would leave the same times
        with self._guard:
            self._checked[digest] = identity
            self._checked.move_to_end(digest)
            while len(self._checked) > MOST_CHECKED:
                self._checked.popitem(last=False)

    def path(self, digest: str) -> Path:
        """Where an object lies: two levels keep folders small."""
        return self.folder / digest[:2] / digest

    def size(self, digest: str) -> int:
        """How many bytes an object has; 0 where it is not there."""
        try:
            return self.path(digest).stat().st_size
        except OSError:
            return 0

    def place(self, digest: str) -> str:
        """The file of an object."""
        return str(self.path(digest))

    def delete(self, digest: str) -> None:
        """Remove an object that nothing refers to any more."""
        self._forget(digest)
        with self._guard:
            self._checked.pop(digest, None)
        self.path(digest).unlink(missing_ok=True)

    def verify(self, digest: str, size: int) -> str | None:
        """What is wrong with a stored object, read from disk; None when it is whole."""
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            return f"blob {digest} cannot be read: {error.strerror}"
        if sha256(data) != digest:
            return f"blob {digest} holds other bytes than its name says"
        return None if len(data) == size else f"blob {digest} has {len(data)} bytes, the database says {size}"

    def stored(self) -> Iterator[str]:
        """The digests of all objects on disk."""
        for file in self.folder.glob("??/*"):
            if self._is_object(file):
                yield file.name

    def strays(self) -> Iterator[Stray]:
        """Temporary files of writes that never finished, then what lies among the objects and is none."""
        for file in sorted((self.folder / _TEMPORARY).glob("*")):
            yield Stray(f"unfinished write {file}", file)
        for file in sorted(file for file in self.folder.glob("??/*") if not self._is_object(file)):
            yield Stray(f"{file} is no blob", file)

    def _is_object(self, file: Path) -> bool:
        name = file.name
        return bool(DIGEST.fullmatch(name)) and file == self.path(name) and file.is_file() and not file.is_symlink()


def _identity(found: os.stat_result) -> _Identity:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def discard_file(stray: Stray) -> bool:
    """Remove a file; False for a folder that somebody put there: not ours to empty.

    Raises:
        OSError: it cannot be removed.
    """
    if not (stray.path.is_symlink() or stray.path.is_file()):
        return False
    stray.path.unlink()
    return True
