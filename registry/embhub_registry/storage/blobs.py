"""Content-addressed, immutable objects: what a store of them does, a folder (`folder_blobs`) or S3 (`s3_blobs`)."""

from __future__ import annotations

import hashlib
import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from embhub.errors import RegistryError

DIGEST = re.compile("[0-9a-f]{64}")
CACHE_BYTES = 64_000_000


class MissingBlobError(LookupError):
    """The store lost an object that the database names."""


class DamagedBlobError(MissingBlobError):
    """What the store gave are not the bytes that were stored; nobody gets them."""


class BlobStoreError(RegistryError):
    """The object store does not answer, or refuses. What was asked for may be there: it is not lost by this.

    Code that takes a lost object for granted must let this one pass.
    """


@contextmanager
def damage_passes(blobs: BlobStore) -> Iterator[None]:
    """For code that keeps what it concludes from a lost object: an object store may give the right bytes next time.

    A damaged file of a folder stays one: it is as good as lost.

    Raises:
        BlobStoreError: in place of a damaged object of an object store.
    """
    try:
        yield
    except DamagedBlobError as error:
        if not blobs.waits:
            raise
        raise BlobStoreError(
            f"the object store gave other bytes than were stored as {error.args[0]}", "`check` says whether it lasts"
        ) from None


@dataclass(frozen=True)
class Stray:
    """Something in the store that is no object: half a write, or a thing that somebody else put there."""

    text: str
    path: Path | None = None
    key: str = ""


class BlobStore(ABC):
    """`put` returns once an object is durable; `get` keeps objects in memory, of which it checked the digest.

    Attributes:
        location: The folder, or the place in S3.
        waits: Whether reading may take as long as a network does: then it is no work for the event loop.
        grace: How long an object is kept after it was written, because another server may be about to name it.
        is_transactional: Whether `put` and `delete` belong to this thread's transaction, where it has one.
        shares_lock: Whether `Registry.storing` is what keeps a removal apart from a commit that brings the same bytes.
    """

    location: object
    waits = False
    grace = timedelta(0)
    shares_lock = True
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
            BlobStoreError: the object store does not take it now.
        """

    def get(self, digest: str) -> bytes:
        """The bytes of an object, from memory where they are.

        Raises:
            MissingBlobError: it is not there.
            DamagedBlobError: it holds other bytes.
            BlobStoreError: the object store does not answer.
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
            BlobStoreError: the object store does not answer.
        """

    @abstractmethod
    def delete(self, digest: str) -> None:
        """Remove an object that nothing refers to any more. The caller sees to it that nobody brings it again."""

    @abstractmethod
    def removing(self, digest: str) -> AbstractContextManager[bool]:
        """Keep writers of an object off while it may be removed; False where it may not be, being too young."""

    @abstractmethod
    def verify(self, digest: str, size: int) -> str | None:
        """What is wrong with a stored object; None when it is whole.

        Raises:
            BlobStoreError: the object store does not answer.
        """

    @abstractmethod
    def stored(self) -> Iterator[str]:
        """The digests of all objects in the store."""

    @abstractmethod
    def strays(self) -> Iterator[Stray]:
        """What lies in the store and is no object."""

    @abstractmethod
    def discard(self, stray: Stray) -> bool:
        """Remove what is no object; False where that is not ours to remove."""

    @abstractmethod
    def place(self, digest: str) -> str:
        """Where an object lies, in words."""

    def began(self) -> float:
        """A mark of time for `is_late`."""
        return 0.0

    def is_late(self, began: float) -> bool:
        """Whether an object that was stored at `began` might be gone before a commit names it."""
        del began
        return False

    def problem(self) -> str | None:
        """Why the store cannot be worked with now; None where it can."""
        return None

    def presigned(self, digest: str, *, lifetime: timedelta) -> str | None:
        """An address that gives anybody this object for its `lifetime`; None where there is none, or not yet.

        This process read the object whole before, and its digest matched. Nobody compares what the store gives under
        the address: where the object was changed since, a reader gets the changed bytes, and has to check the digest.
        """
        del digest, lifetime
        return None


def sha256(data: bytes) -> str:
    """The digest that names an object."""
    return hashlib.sha256(data).hexdigest()


def git_oid(data: bytes) -> str:
    """The id that git gives a file with these bytes; stock clients compare it to skip unchanged files."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
