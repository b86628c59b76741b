"""Objects in S3, for any number of processes at once.

An object's key is its digest. It is stored by a conditional write, and never half. What a removal and a writer of the
same bytes do to each other is kept apart without the database (docs/adr/0035-blobs-in-an-object-store.md):

- A removal first stores a mark of its own under `removing/DIGEST/`, and takes it away once the object is gone.
- It removes only what was last written longer ago than the grace, by the store's own clock: mark against object.
- A writer renews what is there already. It is done once it saw no mark, and then the object; else it begins anew.
- A commit that has not named its objects within half the grace stores them again.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from embhub_registry.storage.blobs import (
    CACHE_BYTES,
    DIGEST,
    BlobStore,
    BlobStoreError,
    DamagedBlobError,
    MissingBlobError,
    Stray,
    sha256,
)
from embhub_registry.storage.s3_place import S3Place
from embhub_registry.storage.s3_store import Held, ObjectStore

OBJECTS, MARKS, PROBES, OWNER = "blobs/", "removing/", "probe/", "owner.json"
LARGEST = 16_000_000  # bytes of an object: as a backup has it
STALE = timedelta(minutes=20)  # of a mark: what was signed a quarter of an hour ago, a store refuses
PATIENCE = 5.0  # seconds for a removal of the same bytes to end
MOST_KNOWN = 1_000_000  # digests that this process read whole
_PAUSE = 0.05


class S3Blobs(BlobStore):
    """Objects below one prefix of a bucket.

    Args:
        place: Bucket, prefix and grace.
        cache_bytes: Of objects in memory.
        store: How the bucket is reached; by default as the AWS variables say.
    """

    waits = True

    def __init__(self, place: S3Place, *, cache_bytes: int = CACHE_BYTES, store: ObjectStore | None = None) -> None:
        super().__init__(cache_bytes=cache_bytes)
        self.location: S3Place = place
        self.store = store or ObjectStore(place)
        self.grace = place.grace
        self.shares_lock = not place.grace
        self._removals: dict[str, float] = {}
        self._young: dict[str, float] = {}  # until when there is no use in another look
        self._known: OrderedDict[str, None] = OrderedDict()

    def put(self, data: bytes, *, durable: bool = True) -> str:
        """Store `data`; returns its SHA-256 in hex. Storing the same bytes twice is one object.

        What is stored was not read yet: `presigned` gives no address to it before that.

        Args:
            data: All of the object.
            durable: False where nobody else uses the place yet, as in a restore: then no removal is looked for.

        Raises:
            BlobStoreError: it was not stored for certain, or somebody is removing the same bytes.
        """
        digest = sha256(data)
        deadline = time.monotonic() + PATIENCE
        while True:
            if not self.store.create(OBJECTS + digest, data):
                self.store.overwrite(OBJECTS + digest, data)  # its age begins anew; damage is healed by the way
            self._forget(digest)
            if not durable or self._stays(digest):
                return digest
            if time.monotonic() > deadline:
                raise BlobStoreError("these bytes are being removed at this moment", "send them again in a moment")
            time.sleep(_PAUSE)

    def _stays(self, digest: str) -> bool:
        """Whether no removal is under way, and none took away what was written just now: asked in this order."""
        if not self.grace:
            return True
        marks = list(self.store.list(f"{MARKS}{digest}/"))
        held = self.store.head(OBJECTS + digest)  # its time is the store's present
        return held is not None and all(held.written - mark.written >= STALE for mark in marks)

    def read(self, digest: str) -> bytes:
        """The bytes of an object from the store, their digest checked at every reading.

        Raises:
            MissingBlobError: it is not there.
            DamagedBlobError: the store gave other bytes, twice.
            BlobStoreError: the store does not answer.
        """
        for _ in range(2):
            data = self.store.read(OBJECTS + digest, limit=LARGEST)
            if data is None:
                raise MissingBlobError(digest)
            if sha256(data) == digest:
                self._note(digest)
                return data
        raise DamagedBlobError(digest)

    def delete(self, digest: str) -> None:
        """Remove an object. Only within `removing`, or where no other process stores.

        Raises:
            BlobStoreError: the store does not answer, or the mark was made too long ago.
        """
        began = self._removals.get(digest)
        if began is not None and self.began() - began > STALE.total_seconds() / 2:
            raise BlobStoreError("a removal took too long and was given up", "it is tried again")
        self._forget(digest)
        self.store.delete(OBJECTS + digest)

    @contextmanager
    def removing(self, digest: str) -> Iterator[bool]:
        """Mark an object while it may be removed; False where it was written within the grace.

        A removal whose end is unknown leaves its mark: no writer relies on the object before the mark is stale.

        Raises:
            BlobStoreError: the store does not answer.
        """
        if not self.grace:
            yield True
            return
        if self._young.get(digest, 0.0) > self.began():
            yield False
            return
        mark = f"{MARKS}{digest}/{secrets.token_hex(16)}"
        self._removals[digest] = self.began()
        try:
            self.store.overwrite(mark, b"")
            marked, held = self.store.head(mark), self.store.head(OBJECTS + digest)
            yield marked is not None and (held is None or self._is_old(digest, marked.written - held.written))
        finally:
            self._removals.pop(digest, None)
        with contextlib.suppress(BlobStoreError):  # it goes stale
            self.store.delete(mark)

    def _is_old(self, digest: str, age: timedelta) -> bool:
        self._young.pop(digest, None)
        if age < self.grace:
            self._young[digest] = self.began() + (self.grace - age).total_seconds()
        return age >= self.grace

    def clear_marks(self) -> None:
        """Take away marks and probes whose processes ended long ago.

        Raises:
            BlobStoreError: the store does not answer.
        """
        present = self.present()
        for prefix in (MARKS, PROBES):
            for held in self.store.list(prefix):
                if present - held.written > 2 * STALE:
                    self.store.delete(held.key)

    def present(self) -> datetime:
        """The time by the store's clock.

        Raises:
            BlobStoreError: the store does not answer.
        """
        key = PROBES + secrets.token_hex(16)
        self.store.overwrite(key, b"")
        held = self.store.head(key)
        self.store.delete(key)
        if held is None:
            raise BlobStoreError("the object store lost what was stored just now", "see its operator")
        return held.written

    def verify(self, digest: str, size: int) -> str | None:
        """What is wrong with a stored object, read from the store; None when it is whole.

        Raises:
            BlobStoreError: the store does not answer.
        """
        try:
            data = self.read(digest)
        except DamagedBlobError:
            return f"blob {digest} holds other bytes than its name says"
        except MissingBlobError:
            return f"blob {digest} cannot be read: it is not in {self.location}"
        return None if len(data) == size else f"blob {digest} has {len(data)} bytes, the database says {size}"

    def size(self, digest: str) -> int:
        """How many bytes an object has; 0 where it is not there.

        Raises:
            BlobStoreError: the store does not answer.
        """
        held = self.store.head(OBJECTS + digest)
        return 0 if held is None else held.size

    def stored(self) -> Iterator[str]:
        """The digests of all objects below the prefix."""
        for held in self.held():
            yield held.key.removeprefix(OBJECTS)

    def held(self) -> Iterator[Held]:
        """All objects, with the time of their last write."""
        for held in self.store.list(OBJECTS):
            if DIGEST.fullmatch(held.key.removeprefix(OBJECTS)):
                yield held

    def strays(self) -> Iterator[Stray]:
        """Marks and probes that nobody took away, then what lies among the objects and is none."""
        for prefix in (MARKS, PROBES):
            for held in self.store.list(prefix):
                yield Stray(f"unfinished write {self.location}/{held.key}", key=held.key)
        for held in self.store.list(OBJECTS):
            if not DIGEST.fullmatch(held.key.removeprefix(OBJECTS)):
                yield Stray(f"{self.location}/{held.key} is no blob", key=held.key)

    def discard(self, stray: Stray) -> bool:
        """Remove what is no object.

        Raises:
            BlobStoreError: the store does not answer.
        """
        self.store.delete(stray.key)
        return True

    def place(self, digest: str) -> str:
        """The address of an object."""
        return f"{self.location}/{OBJECTS}{digest}"

    def began(self) -> float:
        """Seconds on a clock that goes on while the machine is suspended, where the system has one."""
        clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return time.clock_gettime(clock)

    def is_late(self, began: float) -> bool:
        """Whether half the grace has gone by since `began`: what was stored then is stored again."""
        return bool(self.grace) and self.began() - began > self.grace.total_seconds() / 2

    def problem(self) -> str | None:
        """Why the store cannot be worked with now; None where it answers and knows its owner."""
        try:
            return None if self.store.head(OWNER) is not None else "lost its owner's mark"
        except BlobStoreError:
            return "does not answer"

    def presigned(self, digest: str, *, lifetime: timedelta) -> str | None:
        """An address that gives anybody this object for its `lifetime`; None before this process read it whole.

        It was read since this process last stored it, and its digest matched. What is changed in the store afterwards,
        by whomever, is given out under the address until that ends.
        """
        with self._guard:
            if digest not in self._known:
                return None
        return self.store.sign(OBJECTS + digest, lifetime=lifetime)

    def _forget(self, digest: str) -> None:
        super()._forget(digest)
        with self._guard:
            self._known.pop(digest, None)

    def _note(self, digest: str) -> None:
        with self._guard:
            self._known[digest] = None
            self._known.move_to_end(digest)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
