"""Online garbage collection of an object store: what no commit names, and has not been written for a while."""

from __future__ import annotations

from embhub_registry.database import repositories, tombstones
from embhub_registry.storage import blob_places
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.s3_blobs import OBJECTS, S3Blobs


def sweep(registry: Registry) -> int:
    """Remove what uploads left that crashed; returns how many objects went. It may run beside any number of writers.

    Where one process alone stores, as in a folder, there is nothing to sweep: `check --repair` removes leftovers.

    Raises:
        ConfigError: the place is another registry's.
        BlobStoreError: the store does not answer.
    """
    blobs, db = registry.blobs, registry.database.connection()
    if not isinstance(blobs, S3Blobs) or blobs.shares_lock:
        return 0
    blob_places.check_owner(blobs, blob_places.noted(db).owner)
    blobs.clear_marks()
    present, removed = blobs.present(), 0
    for held in blobs.held():
        digest = held.key.removeprefix(OBJECTS)
        if present - held.written >= blobs.location.grace and not _is_needed(registry, digest):
            with blobs.removing(digest) as removable:
                if removable and not _is_needed(registry, digest):
                    blobs.delete(digest)
                    removed += 1
    if removed:
        registry.audit_log.write("swept", objects=removed)
    return removed


def _is_needed(registry: Registry, digest: str) -> bool:
    """Whether a commit names it, or a deleted release keeps it for its time."""
    db = registry.database.connection()
    return repositories.blob_is_known(db, digest) or tombstones.is_listed(db, digest)
