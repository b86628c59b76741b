"""Where a registry's objects are: in its folder, or where `--blobs` said when it was made."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embhub.errors import ConfigError
from embhub_registry.database import Connection, accounts
from embhub_registry.storage import s3_place
from embhub_registry.storage.blobs import BlobStore, BlobStoreError
from embhub_registry.storage.folder_blobs import FolderBlobs

PLACE, OWNER = "blobs", "blobs_owner"  # settings: the address of an object store, and whose mark it holds
IN_FOLDER = "blobs"


@dataclass(frozen=True)
class Noted:
    """What the database says of the place; `url` is "" for the folder."""

    url: str
    owner: str

    def write(self, db: Connection) -> None:
        """Note it in a registry's database."""
        accounts.write_setting(db, PLACE, self.url)
        accounts.write_setting(db, OWNER, self.owner)


def noted(db: Connection) -> Noted:
    """What `init` or `restore` noted."""
    return Noted(accounts.read_setting(db, PLACE) or "", accounts.read_setting(db, OWNER) or "")


def chosen(url: str | None) -> str:
    """The address for a new registry; "" for its folder."""
    return url or ""


def open_blobs(folder: Path, url: str) -> BlobStore:
    """The store of a registry; asks nobody.

    Raises:
        ConfigError: the address or the AWS variables cannot be used.
    """
    if not url:
        return FolderBlobs(folder / IN_FOLDER)
    from embhub_registry.storage.s3_blobs import S3Blobs  # a registry in a folder needs none of it

    return S3Blobs(s3_place.parse(url))


def compare(db: Connection, url: str | None) -> None:
    """Refuse an address that is not where the objects are.

    Raises:
        ConfigError: they are elsewhere, or the address cannot be read.
    """
    if not url:
        return
    there = noted(db).url
    if not there or str(s3_place.parse(url)) != str(s3_place.parse(there)):
        told = s3_place.parse(there) if there else "its folder"
        raise ConfigError(
            f"this registry keeps its objects in {told}, not where --blobs says",
            "leave --blobs out; to move them: `backup`, then `restore` with --blobs into a new folder",
        )


@contextmanager
def made(folder: Path, url: str | None) -> Iterator[Noted]:
    """A new place for objects, tried and claimed; given up again where the block fails.

    Raises:
        ConfigError: the object store cannot hold a registry, or the place is another's.
    """
    address = chosen(url)
    blobs = open_blobs(folder, address)
    if isinstance(blobs, FolderBlobs):
        yield Noted("", "")
        return
    from embhub_registry.storage import s3_probe
    from embhub_registry.storage.s3_blobs import S3Blobs

    assert isinstance(blobs, S3Blobs)  # noqa: S101  # there are two kinds
    owner = secrets.token_hex(16)
    s3_probe.probe(blobs)
    s3_probe.claim(blobs.store, owner)
    try:
        yield Noted(address, owner)
    except BaseException:
        with contextlib.suppress(BlobStoreError):
            s3_probe.release(blobs.store)
        raise


def check_at_start(blobs: BlobStore, owner: str) -> None:
    """Try the store before it is relied on.

    Raises:
        ConfigError: it cannot be reached, is another registry's, or has no conditional writes.
    """
    if isinstance(blobs, FolderBlobs):
        return
    check_owner(blobs, owner)
    from embhub_registry.storage import s3_probe
    from embhub_registry.storage.s3_blobs import S3Blobs

    if isinstance(blobs, S3Blobs):
        s3_probe.probe(blobs)


def check_owner(blobs: BlobStore, owner: str) -> None:
    """Refuse to remove anything from a place that is not this registry's.

    Raises:
        ConfigError: it cannot be reached, or is another registry's.
    """
    if isinstance(blobs, FolderBlobs):
        return
    from embhub_registry.storage import s3_probe
    from embhub_registry.storage.s3_blobs import S3Blobs

    if isinstance(blobs, S3Blobs):
        s3_probe.check_owner(blobs.store, owner)
