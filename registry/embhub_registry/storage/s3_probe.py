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
    try:
        store.delete(key)
        left = store.head(key) is not None
    except BlobStoreError as error:
        raise ConfigError(error.message, "give these keys the right to delete (DeleteObject)") from None
    if left:
        raise ConfigError(f"the object store {store.place} does not delete", "see its operator")
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
        taken = next(iter(store.list(OBJECTS)), None) is not None
        if not taken and not store.create(OWNER, written(owner)):
            taken = store.read(OWNER, limit=1000) != written(owner)  # ours, where its answer got lost
    except BlobStoreError as error:
        raise ConfigError(error.message, "check the bucket and its keys") from None
    if taken:
        raise ConfigError(f"{store.place} is in use by a registry", "choose another prefix, for each has its own")


def read_owner(store: ObjectStore, owner: str) -> tuple[str, str]:
    """The token that the owner's mark holds, "" for the one of `init`, and the tag of the mark.

    Raises:
        ConfigError: it has another owner or none, or the store does not answer.
    """
    try:
        found = store.read_tagged(OWNER)
    except BlobStoreError as error:
        raise ConfigError(error.message, "check AWS_ENDPOINT_URL, the keys, and that the bucket exists") from None
    try:
        mark = json.loads(found[0]) if found is not None else None
    except ValueError:
        mark = None
    if found is None or not isinstance(mark, dict) or mark.get("registry") != owner:
        whose = "holds no registry's objects" if found is None else "belongs to another registry"
        raise ConfigError(f"{store.place} {whose}", "check --blobs and the AWS variables")
    return str(mark.get("token", "")), found[1]


def renew(store: ObjectStore, owner: str, token: str, *, tag: str) -> bool:
    """Write a new token in place of the mark with this tag; False where another is there by now.

    A store without If-Match gets it after a comparison.

    Raises:
        BlobStoreError: the store does not answer.
    """
    data = written(owner, token)
    try:
        done = store.replace(OWNER, data, tag=tag)
    except RefusedConditionError:
        found = store.read_tagged(OWNER)
        done = found is not None and found[1] == tag
        if done:
            store.overwrite(OWNER, data)
    return done or store.read(OWNER, limit=1000) == data  # ours, where its answer got lost


def release(store: ObjectStore) -> None:
    """Empty a place that was claimed for a registry that did not come to be.

    Raises:
        BlobStoreError: the store does not answer.
    """
    for held in store.list(OBJECTS):
        store.delete(held.key)
    store.delete(OWNER)


def written(owner: str, token: str = "") -> bytes:
    """The owner's mark."""
    return json.dumps({"schema": "embhub.blobs/1", "registry": owner} | ({"token": token} if token else {})).encode()
