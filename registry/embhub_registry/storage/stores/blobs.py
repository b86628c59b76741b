"""Content-addressed, immutable objects: what a store of them does.

It is a folder beside SQLite (`folder_blobs`), and a table of PostgreSQL (`database_blobs`).
"""

from __future__ import annotations

import hashlib
import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DIGEST = re.compile("[0-9a-f]{64}")
CACHE_BYTES = 64_000_000


class MissingBlobError(LookupError):
    """The store lost an object that the database names."""


class DamagedBlobError(MissingBlobError):
    """What the store gave are not the bytes that were stored; nobody gets them."""


@dataclass(frozen=True)
class Stray:
    """A file among the objects that is none: half a write, or a thing that somebody else put there."""

    text: str
    path: Path


class BlobStore(ABC):
    """`put` returns once an object is durable; `get` keeps objects in memory, of which it checked the digest.

    Attributes:
        location: The folder, or the name of the database.
        waits: Whether reading may take as long as a network does: then it is no work for the event loop.
        is_transactional: Whether `put` and `delete` belong to this thread's transaction, where it has one.
    """

    location: object
    waits = False
    is_transactional = False

    def __init__(self, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._held = 0
        self._guard = threading.Lock()

    @abstractmethod
    def size(self, digest: str) -> int:
        """How many bytes an object has; 0 where it is not there."""

    @abstractmethod
    def put(self, data: bytes, *, durable: bool = True) -> str:
        """Store `data`; returns its SHA-256 in hex. Storing the same bytes twice is one object.

        A caller that stores many and syncs them after, all at once, passes `durable=False`.

        Raises:
            StorageFullError: nothing is left behind.
        """

    def get(self, digest: str) -> bytes:
        """The bytes of an object, from memory where they are.

        Raises:
            MissingBlobError: it is not there.
            DamagedBlobError: it holds other bytes.
        """
        if (held := self.remembered(digest)) is not None:
            return held
        data = self.read(digest)
        with self._guard:
            if digest not in self._cache:
                self._cache[digest] = data
                self._held += len(data)
            while self._held > self._cache_bytes:
                self._held -= len(self._cache.popitem(last=False)[1])
        return data

    def remembered(self, digest: str) -> bytes | None:
        """The bytes of an object where they are in memory."""
        with self._guard:
            data = self._cache.get(digest)
            if data is not None:
                self._cache.move_to_end(digest)
            return data

    def at_once(self, digest: str) -> bytes | None:
        """The bytes of an object where the event loop may read them; None where `get` is work for a thread.

        Raises:
            MissingBlobError: it is not there, or holds other bytes.
        """
        return self.remembered(digest)

    def _forget(self, digest: str) -> None:
        with self._guard:
            self._held -= len(self._cache.pop(digest, b""))

    @abstractmethod
    def read(self, digest: str) -> bytes:
        """The bytes of an object from the store itself, which were compared with its digest.

        Raises:
            MissingBlobError: it is not there.
            DamagedBlobError: it holds other bytes.
        """

    @abstractmethod
    def delete(self, digest: str) -> None:
        """Remove an object that nothing refers to any more. The caller sees to it that nobody brings it again."""

    @abstractmethod
    def verify(self, digest: str, size: int) -> str | None:
        """What is wrong with a stored object; None when it is whole."""

    @abstractmethod
    def stored(self) -> Iterator[str]:
        """The digests of all objects in the store."""

    @abstractmethod
    def strays(self) -> Iterator[Stray]:
        """What lies in the store and is no object."""

    @abstractmethod
    def place(self, digest: str) -> str:
        """Where an object lies, in words."""


def sha256(data: bytes) -> str:
    """The digest that names an object."""
    return hashlib.sha256(data).hexdigest()


def git_oid(data: bytes) -> str:
    """The id that git gives a file with these bytes; stock clients compare it to skip unchanged files."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
