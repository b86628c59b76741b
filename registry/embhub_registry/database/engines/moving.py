"""A whole registry from an SQLite file to a server, and back: every row, compared table by table before it counts.

Both sides have been through the same migrations. What tables there are, and in which order they refer to one another,
is read from the SQLite side, which each of these has.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from embhub.durable import sync
from embhub.errors import RegistryError, UsageError
from embhub_registry.database import schema
from embhub_registry.database.clock import stamp
from embhub_registry.database.connection import Connection, Database, StorageFullError
from embhub_registry.database.dialects import to_postgresql
from embhub_registry.database.engines.postgresql_connection import LEFT
from embhub_registry.database.engines.postgresql_errors import raise_translated
from embhub_registry.database.engines.sqlite import SqliteConnection, SqliteDatabase
from embhub_registry.database.releases import file_contents, placement

_BATCH = 1000
_OWN = "name NOT LIKE 'sqlite_%' AND name NOT LIKE 'search%' AND name <> 'migration'"


@dataclass(frozen=True)
class Table:
    """A table of both sides, its columns in order and those of its primary key."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def select(self) -> str:
        """Every row in the order of the key; which steps of a schema are rolling is for its own engine."""
        rows = f"{self.name} WHERE name NOT LIKE '{schema.MAY_STAY}%'" if self.name == "setting" else self.name
        return f"SELECT {', '.join(self.columns)} FROM {rows} ORDER BY {', '.join(self.key)}"  # noqa: S608  # the catalogue's own names


@dataclass(frozen=True)
class Content:
    """How many rows a table has, and SHA-256 over them."""

    rows: int
    digest: str


class _Reckoner:
    """Passes rows on and notes what went by."""

    def __init__(self) -> None:
        self._rows = 0
        self._hash = hashlib.sha256()

    def read(self, rows: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        for row in rows:
            self._rows += 1
            self._hash.update(b"".join(map(_encode, row)))
            yield row

    @property
    def content(self) -> Content:
        return Content(self._rows, self._hash.hexdigest())


def _encode(value: object) -> bytes:
    match value:
        case None:
            return b"N"
        case int():
            return b"I%d;" % value
        case float():
            return b"F%b;" % value.hex().encode()  # each bit of it
        case bytes():
            return b"B%d:%b" % (len(value), value)
        case str():
            data = value.encode()
            return b"T%d:%b" % (len(data), data)
    raise TypeError(type(value).__name__)


def to_server(source: SqliteDatabase, target: Database, files: Iterable[tuple[str, bytes]] = ()) -> dict[str, Content]:
    """Everything of a file to an empty schema of a server, in one transaction; returns what each table holds.

    The caller keeps others from writing to the file. `files` are those of the registry's folder, by digest.

    Raises:
        UsageError: the schema is not empty, or an earlier move left it.
        RegistryError: what arrived is not what was sent. In both cases nothing was changed.
    """
    here = source.connection()
    _refuse_left(target)
    with target.writing() as there:
        present = there.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LIMIT 1"
        ).fetchone()
        if present is not None:
            raise UsageError(
                f"{target.name} is not empty, it has a table {present[0]}: nothing was changed",
                "choose another database, or a schema of its own by ?options=-csearch_path%3DNAME",
            )
        stay_idle(there)
        schema.build(there)
        raw: psycopg.Connection[Any] = getattr(there, "raw")()  # noqa: B009  # the interface has no word for it
        try:
            done = _fill_server(here, raw)
            for digest, data in files:
                file_contents.put(there, digest, data)
            file_contents.compare(there)
            return done
        except psycopg.Error as error:
            raise_translated(error)


def _refuse_left(target: Database) -> None:
    there = target.connection()
    if there.execute(LEFT).fetchone()[0] is None:
        return
    name, moved = there.execute("SELECT quote_ident(current_schema()), moved FROM moved_away").fetchone()
    raise UsageError(
        f"{target.name} was left by `storage move` on {moved[:10]}: nothing was changed",
        f"what is in it is not used any more: `DROP SCHEMA {name} CASCADE; CREATE SCHEMA {name};`, then run this again",
    )


def _fill_server(here: SqliteConnection, raw: psycopg.Connection[Any]) -> dict[str, Content]:
    done = {}
    for table in _tables(here):
        raw.execute(f"ALTER TABLE {to_postgresql(table.name)} DISABLE TRIGGER USER")
        sent = _Reckoner()
        with (
            raw.cursor() as cursor,
            cursor.copy(to_postgresql(f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN")) as copy,
        ):
            for row in sent.read(_rows_here(here, table)):
                copy.write_row(row)
        raw.execute(f"ALTER TABLE {to_postgresql(table.name)} ENABLE TRIGGER USER")
        done[table.name] = _equal(table, sent, _rows_there(raw, table))
    for name, column in raw.execute(_IDENTITIES).fetchall():
        sequence = f"pg_get_serial_sequence('\"{name}\"', '{column}')"
        raw.execute(f'SELECT setval({sequence}, max({column})) FROM "{name}" HAVING max({column}) IS NOT NULL')  # noqa: S608  # the catalogue's own names
    return done


def dump(raw: psycopg.Connection[Any], path: Path) -> dict[str, Content]:
    """Everything of a server's schema, read in a transaction, as a new SQLite file; durable, mode 0600.

    Raises:
        RegistryError: what arrived is not what was sent.
        StorageFullError: nothing is left at `path`, or what was there before.
    """
    partial = path.with_name(f"{path.name}.partial")
    _remove(partial)
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        target = SqliteDatabase(partial)
        with closing(target):
            schema.migrate(target)
            with target.translated():
                done = _fill_file(target.connection(), raw)
            target.connection().execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        sync(partial)
        remove_logs(path)  # SQLite would replay one that an earlier file of this name left
        sync(path.parent)
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        raise StorageFullError(
            f"cannot write {partial}: {error.strerror}", "free space there, or make the folder writable"
        ) from error
    finally:
        _remove(partial)
    return done


def _fill_file(here: SqliteConnection, raw: psycopg.Connection[Any]) -> dict[str, Content]:
    done = {}
    triggers = here.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    here.execute("PRAGMA foreign_keys = OFF")
    here.execute("BEGIN IMMEDIATE")
    for trigger in triggers:
        here.execute(f"DROP TRIGGER {trigger['name']}")
    for table in _tables(here):
        sent = _Reckoner()
        marks = ", ".join("?" * len(table.columns))
        statement = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})"  # noqa: S608  # the catalogue's own names
        here.executemany(statement, sent.read(_rows_there(raw, table)))
        done[table.name] = _equal(table, sent, _rows_here(here, table))
    placement.index_words(here)
    for trigger in triggers:
        here.execute(trigger["sql"])
    if broken := here.execute("PRAGMA foreign_key_check").fetchall():
        raise RegistryError(f"{len(broken)} rows of the copy lack what they refer to", "run `check`")
    here.execute("COMMIT")
    here.execute("PRAGMA foreign_keys = ON")
    return done


def _equal(table: Table, sent: _Reckoner, arrived: Iterator[Sequence[Any]]) -> Content:
    found = _Reckoner()
    for _ in found.read(arrived):
        pass
    if found.content != sent.content:
        raise RegistryError(
            f"the table {table.name} did not arrive as it was sent: {sent.content.rows} rows were read, "
            f"{found.content.rows} arrived", "nothing was changed; run `check`",
        )  # fmt: skip
    return found.content


def _rows_here(here: SqliteConnection, table: Table) -> Iterator[Sequence[Any]]:
    for row in here.execute(table.select):
        yield tuple(row)


def _rows_there(raw: psycopg.Connection[Any], table: Table) -> Iterator[Sequence[Any]]:
    with raw.cursor("moving", row_factory=tuple_row) as cursor:
        cursor.itersize = _BATCH
        cursor.execute(to_postgresql(table.select))
        yield from cursor


def _tables(here: SqliteConnection) -> list[Table]:
    """Every table, each after those that it refers to."""
    names = [row[0] for row in here.execute(f"SELECT name FROM sqlite_schema WHERE type = 'table' AND {_OWN}")]  # noqa: S608  # constants
    needs = {
        name: {row["table"] for row in here.execute(f"PRAGMA foreign_key_list({name})")} - {name} for name in names
    }
    order: list[str] = []
    while len(order) < len(names):
        order += sorted(name for name in names if name not in order and needs[name] <= set(order))
    return [_table(here, name) for name in order]


def _table(here: SqliteConnection, name: str) -> Table:
    rows = here.execute(f"PRAGMA table_info({name})").fetchall()
    key = [row["name"] for row in sorted(rows, key=lambda row: row["pk"]) if row["pk"]]
    return Table(name, tuple(row["name"] for row in rows), tuple(key))


def stay_idle(db: Connection) -> None:
    """Let this transaction wait for as long as it takes: the server would end it, and let others write."""
    db.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def mark_left(db: Connection) -> None:
    """Keep every later transaction out of this schema, also of commands that opened it before (`postgresql` looks)."""
    db.execute("CREATE TABLE moved_away (moved TEXT)")
    db.execute("INSERT INTO moved_away (moved) VALUES (?)", (stamp(),))


def keep_log(source: SqliteDatabase) -> bool:
    """Before the file is left: fold its write-ahead log into it; whether that log is still needed.

    Others who read an earlier moment keep it in use.
    """
    busy = source.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return bool(busy)


def remove_logs(path: Path) -> None:
    """Remove what SQLite kept beside a file of this name."""
    for end in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    remove_logs(path)


_IDENTITIES = (
    "SELECT table_name, column_name FROM information_schema.columns"
    " WHERE table_schema = current_schema() AND is_identity = 'YES'"
)
