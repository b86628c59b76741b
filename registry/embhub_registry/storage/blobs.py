"""Content-addressed, immutable objects in a folder; the only module that knows where bytes lie."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from embhub.durable import sync
from embhub_registry.database import StorageFullError

_TEMPORARY = "incoming"
_DIGEST = re.compile("[0-9a-f]{64}")


class MissingBlobError(LookupError):
    """The store lost an object that the database names."""


class Blobs:
    """`put` returns once bytes, name and folder are durable; `get` keeps small objects in memory."""

    def __init__(self, folder: Path, *, cache_bytes: int = 64_000_000) -> None:
        self.folder = folder
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._held = 0
        self._guard = threading.Lock()

    def put(self, data: bytes, *, durable: bool = True) -> str:
        """Store `data`; returns its SHA-256 in hex. Storing the same bytes twice is one object.

        Who stores many and syncs them after, all at once, says so by `durable=False`.

        Raises:
            StorageFullError: nothing is left behind.
        """
        digest = hashlib.sha256(data).hexdigest()
        target = self.path(digest)
        if target.is_file() and target.stat().st_size == len(data):
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

    def get(self, digest: str) -> bytes:
        """The bytes of an object, from memory where they are.

        Raises:
            MissingBlobError: the file is not there.
        """
        with self._guard:
            data = self._cache.get(digest)
            if data is not None:
                self._cache.move_to_end(digest)
                return data
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            raise MissingBlobError(digest) from error
        with self._guard:
            if digest not in self._cache:
                self._cache[digest] = data
                self._held += len(data)
            while self._held > self._cache_bytes:
                self._held -= len(self._cache.popitem(last=False)[1])
        return data

    def path(self, digest: str) -> Path:
        """Where an object lies: two levels keep folders small."""
        return self.folder / digest[:2] / digest

    def delete(self, digest: str) -> None:
        """Remove an object that nothing refers to any more."""
        with self._guard:
            self._held -= len(self._cache.pop(digest, b""))
        self.path(digest).unlink(missing_ok=True)

    def verify(self, digest: str, size: int) -> str | None:
        """What is wrong with a stored object, read from disk; None when it is whole."""
        try:
            data = self.path(digest).read_bytes()
        except OSError as error:
            return f"blob {digest} cannot be read: {error.strerror}"
        if hashlib.sha256(data).hexdigest() != digest:
            return f"blob {digest} holds other bytes than its name says"
        return None if len(data) == size else f"blob {digest} has {len(data)} bytes, the database says {size}"

    def stored(self) -> Iterator[str]:
        """The digests of all objects on disk."""
        for file in self.folder.glob("??/*"):
            if self._is_object(file):
                yield file.name

    def strangers(self) -> list[Path]:
        """What lies among the objects and is none."""
        return sorted(file for file in self.folder.glob("??/*") if not self._is_object(file))

    def _is_object(self, file: Path) -> bool:
        name = file.name
        return bool(_DIGEST.fullmatch(name)) and file == self.path(name) and file.is_file() and not file.is_symlink()

    def left_over(self) -> list[Path]:
        """Temporary files of writes that never finished."""
        return sorted((self.folder / _TEMPORARY).glob("*"))


def git_oid(data: bytes) -> str:
    """The id that git gives a file with these bytes; stock clients compare it to skip unchanged files."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
