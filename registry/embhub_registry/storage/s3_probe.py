"""Whether an object store can hold a registry: its conditional writes are tried, and the place has one owner.

Writers that come one after the other are tried, not a race: nothing here rests on who wins one. A removal's marks have
names of their own (`s3_blobs`), and a registry whose place another took at the same moment refuses to serve.
"""

from __future__ import annotations

import contextlib
import json
import secrets

from embhub.errors import ConfigError
from embhub_registry.storage.blobs import BlobStoreError
from embhub_registry.storage.s3_blobs import OBJECTS, OWNER, PROBES, S3Blobs
from embhub_registry.storage.s3_store import ObjectStore, RefusedConditionError

_ADVICE = (
    "use a store with conditional writes (If-None-Match): docs/how-to/blobs-in-an-object-store.md; or leave --blobs out"
)


def probe(blobs: S3Blobs) -> None:
    """Try what a registry relies on: of two writers of one key the first wins, and its bytes are what is read.

    Raises:
        ConfigError: the store cannot be reached, or does not do this.
    """
    store, key = blobs.store, PROBES + secrets.token_hex(16)
    try:
        store.create(key, b"first")  # where its answer got lost, a second try finds the key taken: not looked at
        again = store.create(key, b"second")
        found = store.read(key, limit=100)
    except RefusedConditionError as error:
        raise ConfigError(f"{error.message}: it refuses conditional writes", _ADVICE) from None
    except BlobStoreError as error:
        raise ConfigError(error.message, "check AWS_ENDPOINT_URL, the keys, and that the bucket exists") from None
    finally:
        with contextlib.suppress(BlobStoreError):
            store.delete(key)
    if again:
        raise ConfigError(
            f"the object store {store.place} ignores conditional writes: two writers of one key both won", _ADVICE
        )
    if found != b"first":
        raise ConfigError(f"the object store {store.place} gives other bytes than were stored", "see its operator")


def claim(store: ObjectStore, owner: str) -> None:
    """Make a place the registry's own, for one registry alone.

    Raises:
        ConfigError: it has another owner, holds something, or the store does not answer.
    """
    try:
        if next(iter(store.list(OBJECTS)), None) is not None or not store.create(OWNER, _written(owner)):
            raise ConfigError(f"{store.place} is in use by a registry", "choose another prefix, for each has its own")
    except BlobStoreError as error:
        raise ConfigError(error.message, "check the bucket and its keys") from None


def check_owner(store: ObjectStore, owner: str) -> None:
    """Refuse a place that is another registry's, whose objects would look like garbage.

    Raises:
        ConfigError: it has another owner or none, or the store does not answer.
    """
    try:
        found = store.read(OWNER, limit=1000)
    except BlobStoreError as error:
        raise ConfigError(error.message, "check AWS_ENDPOINT_URL, the keys, and that the bucket exists") from None
    if found != _written(owner):
        whose = "holds no registry's objects" if found is None else "belongs to another registry"
        raise ConfigError(f"{store.place} {whose}", "check --blobs and the AWS variables")


def release(store: ObjectStore) -> None:
    """Empty a place that was claimed for a registry that did not come to be.

    Raises:
        BlobStoreError: the store does not answer.
    """
    for held in store.list(OBJECTS):
        store.delete(held.key)
    store.delete(OWNER)


def _written(owner: str) -> bytes:
    return json.dumps({"schema": "embhub.blobs/1", "registry": owner}).encode()
