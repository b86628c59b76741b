"""Where a registry's objects are: in its folder, or where `--blobs` said when it was made."""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.errors import ConfigError
from embhub_registry.database import Connection, Database, accounts
from embhub_registry.database.dialects import SQLITE
from embhub_registry.storage import s3_place
from embhub_registry.storage.blobs import BlobStore, BlobStoreError
from embhub_registry.storage.database_blobs import DatabaseBlobs
from embhub_registry.storage.folder_blobs import FolderBlobs

if TYPE_CHECKING:
    from embhub_registry.storage.s3_blobs import S3Blobs

PLACE, OWNER = "blobs", "blobs_owner"  # settings: the address of an object store, and whose mark it holds
TOKENS = "blobs_tokens"  # a setting: what the mark may hold, which a copy does not know for long
SHARED = "shared"  # a setting: "yes" where any number of servers may serve at once
IN_FOLDER = "blobs"
IN_DATABASE = "database"  # in place of an address
_LOOKS, _RENEWALS, _PAUSE = 10, 20, 0.1
"""Each that fails means that another server of this registry renewed the token in between. The pause is in seconds."""


@dataclass(frozen=True)
class Noted:
    """What the database says of the place; `url` is "" for the folder."""

    url: str
    owner: str

    def write(self, db: Connection) -> None:
        """Note it in a registry's database. In a new place it has one server, until `storage share`."""
        accounts.write_setting(db, SHARED, "no")
        accounts.write_setting(db, PLACE, self.url)
        accounts.write_setting(db, OWNER, self.owner)
        accounts.write_setting(db, TOKENS, "")


def noted(db: Connection) -> Noted:
    """What `init` or `backup restore` noted."""
    return Noted(accounts.read_setting(db, PLACE) or "", accounts.read_setting(db, OWNER) or "")


def chosen(url: str | None) -> str:
    """The address for a new registry; "" for its folder."""
    return url or ""


def open_blobs(folder: Path, url: str, database: Database | None = None) -> BlobStore:
    """The store of a registry; asks nobody.

    Raises:
        ConfigError: the address or the AWS variables cannot be used.
    """
    if not url:
        return FolderBlobs(folder / IN_FOLDER)
    if url == IN_DATABASE:
        if database is None or database.dialect is SQLITE:
            raise ConfigError("files can be kept in a PostgreSQL database alone", "leave --blobs out")
        return DatabaseBlobs(database)
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
    if there == url == IN_DATABASE:
        return
    if there == IN_DATABASE or url == IN_DATABASE:
        raise ConfigError("this registry keeps its files elsewhere than --blobs says", "leave --blobs out")
    if not there or str(s3_place.parse(url)) != str(s3_place.parse(there)):
        told = s3_place.parse(there) if there else "its folder"
        raise ConfigError(
            f"this registry keeps its objects in {told}, not where --blobs says",
            "leave --blobs out; to move them: `backup make`, then `backup restore` with --blobs into a new folder",
        )


@contextmanager
def made(folder: Path, url: str | None, database: Database | None = None) -> Iterator[Noted]:
    """A new place for objects, tried and claimed; given up again where the block fails.

    Raises:
        ConfigError: the object store cannot hold a registry, or the place is another's.
    """
    address = chosen(url)
    blobs = open_blobs(folder, address, database)
    if isinstance(blobs, FolderBlobs | DatabaseBlobs):
        yield Noted(address, "")
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


def check_at_start(blobs: BlobStore, database: Database) -> None:
    """Try the store before it is relied on, and renew the token of its owner.

    Raises:
        ConfigError: it cannot be reached, is another's, has no conditional writes, or its keys may not delete.
    """
    check_owner(blobs, database)
    if isinstance(blobs, FolderBlobs):
        return
    from embhub_registry.storage import s3_probe
    from embhub_registry.storage.s3_blobs import S3Blobs

    if isinstance(blobs, S3Blobs):
        s3_probe.probe(blobs)
        renew_owner(blobs, database)


def check_owner(blobs: BlobStore, database: Database) -> None:
    """Refuse to remove anything from a place that is not this registry's, or that a copy of it took over.

    Raises:
        ConfigError: it cannot be reached, or is another's.
    """
    from embhub_registry.storage.s3_blobs import S3Blobs

    if isinstance(blobs, S3Blobs):
        _tag(blobs, database)


def renew_owner(blobs: S3Blobs, database: Database) -> None:
    """Write a new token into the place and the database, so that whoever copied them before is refused from now on.

    The database has the token before the store does: killed in between, both still fit.

    Raises:
        ConfigError: the place cannot be reached, or is another's.
        BlobStoreError: the store does not answer, or others renew it all the time.
    """
    for _ in range(_RENEWALS):
        tag = _tag(blobs, database)
        if _put_token(blobs, database, tag):
            return
        time.sleep(_PAUSE * random.random())  # noqa: S311  # or two would meet again and again
    raise BlobStoreError(f"{blobs.location} is being renewed by others", "try again in a moment")


def take_over(blobs: BlobStore, database: Database) -> None:
    """Make the place this database's again, after a copy of it renewed the token, or after an older one was recovered.

    Raises:
        ConfigError: the place is another registry's, in a folder, or cannot be reached.
        BlobStoreError: the store does not answer, or somebody renews it at this moment.
    """
    from embhub_registry.storage import s3_probe
    from embhub_registry.storage.s3_blobs import S3Blobs

    if not isinstance(blobs, S3Blobs):
        raise ConfigError("this registry keeps its objects in its folder", "there is nothing to take over")
    _, tag = s3_probe.read_owner(blobs.store, noted(database.connection()).owner)
    if not _put_token(blobs, database, tag):
        raise BlobStoreError(f"{blobs.location} was renewed at this moment", "stop the copy, then try again")


def _tag(blobs: S3Blobs, database: Database) -> str:
    """The tag of the owner's mark, which has a token of this database; looked at again where it was just renewed."""
    from embhub_registry.storage import s3_probe

    for attempt in range(_LOOKS):
        db = database.connection()
        token, tag = s3_probe.read_owner(blobs.store, noted(db).owner)
        if token in _tokens(db):  # after the mark: whoever renews it notes the token first
            return tag
        time.sleep(min(_PAUSE, 0.05 * attempt))
    raise ConfigError(
        f"{blobs.location} is used by a copy of this registry, or this database is an older one of it",
        "stop the other; on the one that is to continue: `embhub-registry storage take-blobs-over`; "
        "a copy needs a place of its own: `backup make`, then `backup restore` with --blobs",
    )  # fmt: skip


def _put_token(blobs: S3Blobs, database: Database, tag: str) -> bool:
    from embhub_registry.storage import s3_probe

    token = secrets.token_hex(16)
    with database.writing() as db:
        accounts.write_setting(db, TOKENS, " ".join([*_tokens(db), token]))
        owner = noted(db).owner
    if not s3_probe.renew(blobs.store, owner, token, tag=tag):
        return False
    with database.writing() as db:  # what others noted since stays
        known = _tokens(db)
        accounts.write_setting(db, TOKENS, " ".join(known[known.index(token) :] if token in known else [token]))
    return True


def _tokens(db: Connection) -> list[str]:
    """What the owner's mark may hold: one, and those that somebody is writing at this moment."""
    return (accounts.read_setting(db, TOKENS) or "").split(" ")
