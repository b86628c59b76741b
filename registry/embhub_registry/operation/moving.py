"""`storage move`: a registry's database from its folder to a server, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from embhub.durable import sync
from embhub.errors import UsageError
from embhub_registry.database import Database, accounts, is_server
from embhub_registry.database.clock import stamp
from embhub_registry.storage import audit_holder, database_place
from embhub_registry.storage.folder import MOVED, Registry

if TYPE_CHECKING:
    from embhub_registry.database.moving import Content
    from embhub_registry.database.postgresql import PostgresqlDatabase
    from embhub_registry.database.sqlite import SqliteDatabase

KEPT = "registry.db.moved"
HERE = "sqlite"


def move(registry: Registry, to: str) -> dict[str, Any]:
    """Copy every row in one transaction, compare both sides, and use the new place from now on.

    `to` is the address of a PostgreSQL server, or `sqlite` for a file in the folder. What was left is not used any
    more: a file is renamed, a database on a server is marked. Blobs, keys and the audit log stay in the folder.

    Raises:
        UsageError: it is there already, or the target is not empty. Nothing was changed.
        ConfigError: a server or a command uses the registry.
        RegistryError: what arrived is not what was sent. Nothing was changed.
    """
    from embhub_registry.database import moving
    from embhub_registry.database.postgresql import PostgresqlDatabase
    from embhub_registry.database.sqlite import SqliteDatabase

    source, folder, kept = registry.database, registry.folder, [KEPT]
    with registry.alone("move"):
        if to == HERE:
            if not isinstance(source, PostgresqlDatabase):
                raise UsageError(f"the database is in {folder} already", "give the address of a server")
            done = _bring_back(source, folder)
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
                    done = moving.to_server(source, target)
                    database_place.note(folder, to)
            finally:
                target.close()
            kept = _leave_file(source, folder)
    moved = Registry(folder, database=None if to == HERE else to)  # with its password, where it has one
    try:
        rows = sum(content.rows for content in done.values())
        moved.audit_log.write("moved", before=source.name, now=moved.database.name, tables=len(done), rows=rows)
        contents = {name: {"rows": content.rows, "sha256": content.digest} for name, content in done.items()}
        return {
            "from": source.name, "to": moved.database.name, "rows": rows, "tables": contents,
            "kept": [] if to == HERE else kept,
        }  # fmt: skip
    finally:
        moved.close()


def _leave_file(source: SqliteDatabase, folder: Path) -> list[str]:
    """Rename the file, with its write-ahead log where somebody still reads from it; the names that they have now."""
    from embhub_registry.database import moving

    log_is_needed = moving.keep_log(source)
    source.close()
    source.path.rename(folder / KEPT)
    kept = [KEPT]
    log = source.path.with_name(f"{source.path.name}-wal")
    if log_is_needed and log.exists():
        log.rename(folder / f"{KEPT}-wal")
        kept.append(f"{KEPT}-wal")
    moving.remove_logs(source.path)
    sync(folder)
    return kept


def _bring_back(source: PostgresqlDatabase, folder: Path) -> dict[str, Content]:
    from embhub_registry.database import moving

    with source.writing() as db:  # others wait, and are refused then: what is copied is the last word
        moving.stay_idle(db)
        done = source.dump(folder / database_place.FILE)
        accounts.write_setting(db, MOVED, stamp())
        moving.mark_left(db)
    database_place.note(folder, None)  # before that commit the server may still be written
    return done
