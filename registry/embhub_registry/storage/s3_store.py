"""An object store as this registry uses it: few calls, each bounded in time, and errors that name no key.

The text of an error may hold what was signed, and by which key: of it only the status and the store's code are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from embhub.errors import ConfigError
from embhub_registry.database.call_times import CallTimes
from embhub_registry.storage import s3_place
from embhub_registry.storage.blobs import BlobStoreError
from embhub_registry.storage.s3_place import S3Place

CONNECT_SECONDS = 3
REQUEST_SECONDS = 8
RETRIES = 4
RETRY_SECONDS = 10  # after which no further try begins
_LISTED = 1000
_STATUS = re.compile(r"status code: (\d{3})\b")
_KIND = re.compile(r"kind: (Connect|Timeout|Interrupted|Decode)\b")
_KINDS = {
    "Connect": "it cannot be reached", "Timeout": "it timed out", "Interrupted": "its answer broke off",
    "Decode": "its answer broke off",
}  # fmt: skip
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_HINT = "try again in a moment; its operator looks after the object store"


class RefusedConditionError(BlobStoreError):
    """The store knows no conditional writes."""


@dataclass(frozen=True)
class Held:
    """What the store says of an object, by its own clock."""

    key: str
    size: int
    written: datetime


class ObjectStore:
    """Objects of one place, by keys below its prefix.

    Args:
        place: Bucket and prefix.
    """

    def __init__(self, place: S3Place) -> None:
        try:
            import obstore  # a registry in a folder needs none
            from obstore.store import S3Store
        except ImportError as error:
            raise ConfigError(
                "a registry whose objects are in S3 needs the package obstore", "pip install obstore"
            ) from error
        self._obstore: Any = obstore
        self.calls = CallTimes("object store")
        self.place, self.endpoint = place, s3_place.endpoint()
        chosen: Any = {"endpoint": self.endpoint} if self.endpoint else {}
        http = self.endpoint.startswith("http://")
        retry: Any = {
            "max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS),
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
        }  # fmt: skip
        with self._told("open it"):
            self._store: Any = S3Store(
                place.bucket, prefix=place.prefix, config=chosen, retry_config=retry,
                client_options={
                    "allow_http": http, "timeout": f"{REQUEST_SECONDS}s", "connect_timeout": f"{CONNECT_SECONDS}s",
                },
            )  # fmt: skip

    def create(self, key: str, data: bytes) -> bool:
        """Store an object under a key that is free; False where it is taken, whoever was first."""
        try:
            with self.calls.timed("put"), self._told("store an object"):
                self._store.put(key, data, mode="create", use_multipart=False)
        except _TakenError:
            return False
        return True

    def overwrite(self, key: str, data: bytes) -> None:
        """Store an object, whatever was there."""
        with self.calls.timed("put"), self._told("store an object"):
            self._store.put(key, data, use_multipart=False)

    def read(self, key: str, *, limit: int) -> bytes | None:
        """The bytes under a key, at most one more than `limit` of them; None where there is none."""
        try:
            with self.calls.timed("get"), self._told("read an object", absent=True):
                found = self._store.get(key)
                if found.meta["size"] > limit:
                    return bytes(self._store.get_range(key, start=0, end=limit + 1))
                return bytes(found.bytes())
        except _AbsentError:
            return None

    def read_tagged(self, key: str) -> tuple[bytes, str] | None:
        """The bytes under a key and their tag, for `replace`; None where there is none."""
        try:
            with self.calls.timed("get"), self._told("read an object", absent=True):
                found = self._store.get(key)
                return bytes(found.bytes()), str(found.meta["e_tag"] or "")
        except _AbsentError:
            return None

    def replace(self, key: str, data: bytes, *, tag: str) -> bool:
        """Store an object in place of the one with this tag; False where another is there by now.

        Raises:
            RefusedConditionError: the store does not know the condition.
        """
        try:
            with self.calls.timed("put"), self._told("store an object", absent=True):
                self._store.put(key, data, mode={"e_tag": tag}, use_multipart=False)
        except (_TakenError, _AbsentError):
            return False
        return True

    def head(self, key: str) -> Held | None:
        """What the store says of an object; None where there is none."""
        try:
            with self.calls.timed("head"), self._told("look for an object", absent=True):
                return _held(self._store.head(key))
        except _AbsentError:
            return None

    def delete(self, key: str) -> None:
        """Remove an object; nothing to do where there is none."""
        try:
            with self.calls.timed("delete"), self._told("remove an object", absent=True):
                self._store.delete(key)
        except _AbsentError:
            return

    def list(self, prefix: str) -> Iterator[Held]:
        """Every object under a prefix that ends with a slash; a page at a time."""
        with self._told("list its objects"):
            pages = iter(self._store.list(prefix.rstrip("/") or None, chunk_size=_LISTED))
        while True:
            with self.calls.timed("list"), self._told("list its objects"):
                page = next(pages, None)
            if page is None:
                return
            yield from (_held(meta) for meta in page)

    def sign(self, key: str, *, lifetime: timedelta) -> str:
        """An address that gives the object to anybody for a while. It is computed here, without asking the store."""
        with self._told("sign an address"):
            return str(self._obstore.sign(self._store, "GET", key, lifetime))

    @contextmanager
    def _told(self, what: str, *, absent: bool = False) -> Iterator[None]:
        """Turn the library's errors into ours, without its text.

        Raises:
            BlobStoreError: the store failed or refused.
        """
        from obstore import exceptions as known

        try:
            yield
        except (FileNotFoundError, known.NotFoundError) as error:
            if absent and "NoSuchBucket" not in str(error):
                raise _AbsentError from None
            self.calls.failed("no such bucket")
            raise BlobStoreError(f"the object store {self.place} could not {what}: no such bucket", _HINT) from None
        except (known.AlreadyExistsError, known.PreconditionError):
            raise _TakenError from None
        except (known.BaseError, OSError, ValueError) as error:
            said = _reason(str(error))
            self.calls.failed(_kind(said))
            kind = RefusedConditionError if said.startswith("501") else BlobStoreError
            raise kind(f"the object store {self.place} could not {what}: {said}", _HINT) from None


class _AbsentError(Exception):
    """No such key."""


class _TakenError(Exception):
    """The key is taken."""


def _held(meta: Any) -> Held:
    return Held(str(meta["path"]), int(meta["size"]), meta["last_modified"])


def _kind(said: str) -> str:
    """One of few words for a reason: the first digit of a status, or how the connection failed."""
    if said[:1].isdigit():
        return f"{said[0]}xx"
    return said if said in (*_KINDS.values(), "no such bucket") else "other"


def _reason(text: str) -> str:
    """Status and code of the store's answer, or that there was none; nothing else of what it said."""
    status, code = _STATUS.search(text), _CODE.search(text)
    if code is not None and code[1] == "NoSuchBucket":
        return "no such bucket"
    if status is not None:
        return status[1] + (f" ({code[1]})" if code else "")
    if kind := _KIND.search(text):
        return _KINDS[kind[1]]
    return "there are no credentials for it" if "credential" in text.lower() else "it failed"
