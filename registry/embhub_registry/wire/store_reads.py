"""Reading objects for callers: at once from memory or a disk, and by few threads from a database.

A long file whose digest this process has not checked yet is read by a thread, too: hashing takes its time.

A database that hangs holds up those who want bytes from it. It must not hold every thread of the process, for lists,
pushes and health need some, too.
"""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool

from embhub_registry.database import DatabaseBusyError
from embhub_registry.storage.stores.blobs import BlobStore

AT_ONCE = 16
MOST_WAITING = 1_000  # readers of a large consortium, all at once; each that waits holds no bytes


class StoreReads:
    """What one process reads from its store for callers.

    Args:
        at_once: Threads that may wait for the store.
        most_waiting: Callers that may wait for one of these threads; more are refused.
    """

    def __init__(self, *, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._most = at_once + most_waiting
        self._under_way = 0

    async def read(self, blobs: BlobStore, digest: str) -> bytes:
        """The bytes of an object.

        Raises:
            MissingBlobError: it is not there.
            DamagedBlobError: it holds other bytes than were stored.
            DatabaseUnavailableError: the database does not answer. DatabaseBusyError: too many wait for it.
        """
        if (found := blobs.at_once(digest)) is not None:
            return found
        if not blobs.waits:
            return await run_in_threadpool(blobs.get, digest)
        if self._under_way >= self._most:
            raise DatabaseBusyError("too many wait for files", "try again in a moment")
        self._under_way += 1
        try:
            async with self._places:
                return await run_in_threadpool(blobs.get, digest)
        finally:
            self._under_way -= 1
