"""`storage move`: a registry's database and files from its folder to a server, and back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embhub.durable import sync
from embhub.errors import ConfigError, UsageError
from embhub_registry.database import Connection, Database, is_server
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import blob_rows
from embhub_registry.database.standing import tombstones
from embhub_registry.storage import database_place
from embhub_registry.storage.audit import audit_holder
from embhub_registry.storage.folder import BLOBS, MOVED, Registry
from embhub_registry.storage.stores.blobs import MissingBlobError
from embhub_registry.storage.stores.folder_blobs import FolderBlobs

if TYPE_CHECKING:
    from embhub_registry.database.engines.moving import Content
    from embhub_registry.database.engines.postgresql import PostgresqlDatabase
    from embhub_registry.database.engines.sqlite import SqliteDatabase

KEPT, KEPT_BLOBS = "registry.db.moved", "blobs.moved"
HERE = "sqlite"


class _Files:
    """The files of a registry on their way, each compared with its digest as it is read; `count` and `bytes` so far."""

    def __init__(self, registry: Registry) -> None:
        self._blobs = registry.blobs
        self.count = self.bytes = 0

    def read(self, db: Connection) -> Iterator[tuple[str, bytes]]:
        """Each that the database names, and those of deleted repositories that are kept for a while.

        Raises:
            ConfigError: one that is named is lost or damaged.
        """
        named = blob_rows.sizes(db)
        for digest in sorted(named.keys() | tombstones.kept(db)):
            try:
                data = self._blobs.read(digest)
            except MissingBlobError as error:
                if digest not in named:
                    continue
                raise ConfigError(f"the registry lost blob {digest}: nothing was moved", "run `check`") from error
            self.count, self.bytes = self.count + 1, self.bytes + len(data)
            yield digest, data

    def write(self, db: Connection, target: FolderBlobs) -> None:
        """The same into a folder, durable; what an earlier attempt left there is removed."""
        shutil.rmtree(target.folder, ignore_errors=True)
        target.folder.mkdir(exist_ok=True)
        for _, data in self.read(db):
            target.put(data, durable=False)
        for path in [*target.folder.rglob("*"), target.folder]:
            sync(path)


def move(registry: Registry, to: str) -> dict[str, Any]:
    """Copy every row and every file in one transaction, compare both sides, and use the new place from now on.

    `to` is the address of a PostgreSQL server, or `sqlite` for a file in the folder. What was left is not used any
    more: it is renamed in the folder, a database on a server is marked. Keys and the audit log stay in the folder.

    Raises:
        UsageError: it is there already, or the target is not empty. Nothing was changed.
        ConfigError: a server or a command uses the registry, or it lost one of its files.
        RegistryError: what arrived is not what was sent. Nothing was changed.
    """
    from embhub_registry.database.engines import moving
    from embhub_registry.database.engines.postgresql import PostgresqlDatabase
    from embhub_registry.database.engines.sqlite import SqliteDatabase

    source, folder, kept, files = registry.database, registry.folder, [KEPT], _Files(registry)
    with registry.alone("move"):
        if to == HERE:
            if not isinstance(source, PostgresqlDatabase):
                raise UsageError(f"the database is in {folder} already", "give the address of a server")
            done = _bring_back(source, files, folder)
        else:
            if not is_server(to) or not isinstance(source, SqliteDatabase):
                raise UsageError(
                    "move goes from the folder to a server, and back: nothing was changed",
                    "give --to postgresql://… or --to sqlite",
                )
            target = Database(to)
            assert isinstance(target, PostgresqlDatabase)  # noqa: S101  # `is_server` said so
            try:
                with source.writing() as db:  # commands that write wait, and then find the note
                    audit_holder.claim(folder, db)
                    done = moving.to_server(source, target, files.read(db))
                    database_place.note(folder, to)
            finally:
                target.close()
            kept = _leave_file(source, folder)
    moved = Registry(folder, database=None if to == HERE else to)  # with its password, where it has one
    try:
        rows = sum(content.rows for content in done.values())
        moved.audit_log.write(
            "moved", before=source.name, now=moved.database.name, tables=len(done), rows=rows, files=files.count
        )
        contents = {name: {"rows": content.rows, "sha256": content.digest} for name, content in done.items()}
        return {
            "from": source.name, "to": moved.database.name, "rows": rows, "tables": contents,
            "files": files.count, "file_bytes": files.bytes,
            "kept": [] if to == HERE else kept,
        }  # fmt: skip
    finally:
        moved.close()


def _leave_file(source: SqliteDatabase, folder: Path) -> list[str]:
    """Rename the database's file, with its write-ahead log where somebody still reads from it, and the folder of files.

    Returns the names that they have now.
    """
    from embhub_registry.database.engines import moving

    log_is_needed = moving.keep_log(source)
    source.close()
    source.path.rename(folder / KEPT)
    kept = [KEPT]
    log = source.path.with_name(f"{source.path.name}-wal")
    if log_is_needed and log.exists():
        log.rename(folder / f"{KEPT}-wal")
        kept.append(f"{KEPT}-wal")
    if (folder / BLOBS).exists():
        shutil.rmtree(folder / KEPT_BLOBS, ignore_errors=True)
        (folder / BLOBS).rename(folder / KEPT_BLOBS)
        kept.append(KEPT_BLOBS)
    moving.remove_logs(source.path)
    sync(folder)
    return kept


def _bring_back(source: PostgresqlDatabase, files: _Files, folder: Path) -> dict[str, Content]:
    from embhub_registry.database.engines import moving

    with source.writing() as db:  # others wait, and are refused then: what is copied is the last word
        moving.stay_idle(db)
        files.write(db, FolderBlobs(folder / BLOBS))
        done = source.dump(folder / database_place.FILE)
        accounts.write_setting(db, MOVED, stamp())
        moving.mark_left(db)
    database_place.note(folder, None)  # before that commit the server may still be written
    return done
