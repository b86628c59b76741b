"""Objects in the registry's PostgreSQL database: stored in the transaction that names them, and removed in one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from embhub_registry.database import Database
from embhub_registry.database.releases import file_contents
from embhub_registry.storage.stores.blobs import (
    CACHE_BYTES,
    BlobStore,
    DamagedBlobError,
    MissingBlobError,
    Stray,
    sha256,
)


class DatabaseBlobs(BlobStore):
    """What is said of a removal and a commit of the same bytes stands in `database.file_contents`."""

    waits = True
    is_transactional = True

    def __init__(self, database: Database, *, cache_bytes: int = CACHE_BYTES) -> None:
        super().__init__(cache_bytes=cache_bytes)
        self.location = database.name
        self._database = database

    def put(self, data: bytes, *, durable: bool = True) -> str:
        """Store `data`; returns its SHA-256 in hex. Within a transaction of this thread it is part of that.

        Storing the same bytes twice is one object; damage is healed.

        Raises:
            StorageFullError, DatabaseBusyError, DatabaseUnavailableError: nothing is left behind.
        """
        del durable
        digest = sha256(data)
        file_contents.put(self._database.connection(), digest, data)
        return digest

    def read(self, digest: str) -> bytes:
        """The bytes of an object from the database.

        Raises:
            MissingBlobError: it is not there.
            DamagedBlobError: it holds other bytes.
            DatabaseUnavailableError: the database does not answer.
        """
        data = file_contents.read(self._database.connection(), digest)
        if data is None:
            raise MissingBlobError(digest)
        if sha256(data) != digest:
            raise DamagedBlobError(digest)
        return data

    def size(self, digest: str) -> int:
        """How many bytes an object has; 0 where it is not there."""
        return file_contents.size(self._database.connection(), digest)

    def delete(self, digest: str) -> None:
        """Remove an object, within the transaction of this thread where there is one; what is named stays."""
        db = self._database.connection()
        with contextlib.nullcontext(db) if db.in_transaction else self._database.writing() as writing:
            file_contents.remove(writing, digest)
        self._forget(digest)

    def verify(self, digest: str, size: int) -> str | None:
        """What is wrong with a stored object; None when it is whole."""
        try:
            data = self.read(digest)
        except DamagedBlobError:
            return f"blob {digest} holds other bytes than its name says"
        except MissingBlobError:
            return f"blob {digest} cannot be read: it is not in {self.location}"
        return None if len(data) == size else f"blob {digest} has {len(data)} bytes, the database says {size}"

    def stored(self) -> Iterator[str]:
        """The digests of all objects."""
        return file_contents.digests(self._database.connection())

    def strays(self) -> Iterator[Stray]:
        """None: a table holds nothing else."""
        return iter(())

    def place(self, digest: str) -> str:
        """The row of an object."""
        return f"file_content {digest} of {self.location}"
