"""Online garbage collection of an object store: what no commit names, and has not been written for a while."""

from __future__ import annotations

from datetime import timedelta

from embhub_registry.database import accounts, repositories, tombstones
from embhub_registry.database.clock import now, stamp
from embhub_registry.storage import blob_places
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.s3_blobs import OBJECTS, S3Blobs

SWEPT = "swept"  # a setting: when the last one ended
EVERY = timedelta(hours=1)


def find(registry: Registry) -> dict[str, int]:
    """What uploads left that crashed or lost a race between servers, and is old: bytes of each object by its digest.

    Where one process alone stores, as in a folder, there is nothing to sweep: `check --repair` removes leftovers.

    Raises:
        BlobStoreError: the store does not answer.
    """
    blobs = registry.blobs
    if not isinstance(blobs, S3Blobs) or blobs.shares_lock:
        return {}
    present = blobs.present()
    old = {
        held.key.removeprefix(OBJECTS): held.size for held in blobs.held() if present - held.written >= blobs.grace
    }  # fmt: skip
    return {digest: size for digest, size in old.items() if not _is_needed(registry, digest)}


def sweep(registry: Registry) -> dict[str, int]:
    """Remove what `find` finds; returns what went. It may run beside any number of writers.

    Raises:
        ConfigError: the place is another registry's.
        BlobStoreError: the store does not answer.
    """
    blobs = registry.blobs
    if not isinstance(blobs, S3Blobs) or blobs.shares_lock:
        return {}
    blob_places.renew_owner(blobs, registry.database)
    blobs.clear_marks()
    removed = {}
    for digest, size in find(registry).items():
        with blobs.removing(digest) as removable:
            if removable and not _is_needed(registry, digest):
                blobs.delete(digest)
                removed[digest] = size
    with registry.database.writing() as writing:
        accounts.write_setting(writing, SWEPT, stamp())
    if removed:
        registry.audit_log.write("swept", objects=len(removed))
    return removed


def sweep_if_due(registry: Registry) -> dict[str, int]:
    """The same where the last one was an hour ago, whichever process did it; a new registry's first comes after one.

    Where none is due, the owner's token is renewed, so that a copy is noticed within the hour.

    Raises:
        ConfigError: the place is another registry's.
        BlobStoreError: the store does not answer.
    """
    if not isinstance(registry.blobs, S3Blobs) or registry.blobs.shares_lock:
        return {}
    last = registry.setting(SWEPT)
    if last and last <= stamp(now() - EVERY):
        return sweep(registry)
    blob_places.renew_owner(registry.blobs, registry.database)
    if not last:
        with registry.database.writing() as db:
            accounts.write_setting(db, SWEPT, stamp())
    return {}


def _is_needed(registry: Registry, digest: str) -> bool:
    """Whether a commit names it, or a deleted release keeps it for its time."""
    db = registry.database.connection()
    return repositories.blob_is_known(db, digest) or tombstones.is_listed(db, digest)
