"""One SQLite file: a connection a thread, transactions, numbered migrations."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from embhub.errors import ConfigError, RegistryError

Connection = sqlite3.Connection
Row = sqlite3.Row


class StorageFull(RegistryError):
    """The disk that holds the registry is full; nothing was stored."""


class Busy(RegistryError):
    """Another writer held the database for too long; the call may be repeated."""


class Database:
    """`WAL` lets readers go on while one writer commits; with `FULL` an acknowledged commit survives power loss."""

    def __init__(self, path: Path, *, patience: float = 10.0) -> None:
        self.path = path
        self._patience = patience
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._guard = threading.Lock()

    def connection(self) -> sqlite3.Connection:
        """The calling thread's connection, opened at its first use.

        Raises:
            ConfigError: the file cannot be opened.
        """
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is not None:
            return found
        try:
            opened = sqlite3.connect(
                self.path, timeout=self._patience, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            opened.row_factory = sqlite3.Row
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("PRAGMA synchronous = FULL")
            opened.execute("PRAGMA foreign_keys = ON")
            opened.execute("PRAGMA trusted_schema = OFF")
        except sqlite3.Error as error:
            raise ConfigError(
                f"cannot open the registry's database {self.path}: {error}", "check the folder's owner and free space"
            ) from error
        self._local.connection = opened
        with self._guard:
            self._all.append(opened)
        return opened

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: everything in the block, or nothing.

        Raises:
            StorageFull, Busy: nothing was written.
        """
        connection = self.connection()
        with translated():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def migrate(self) -> int:
        """Bring the schema to this release's version; returns that version.

        Raises:
            ConfigError: the database was written by a newer release.
        """
        known = sorted(
            (
                item
                for item in resources.files("embhub_registry").joinpath("migrations").iterdir()
                if item.name.endswith(".sql")
            ),
            key=lambda item: item.name,
        )
        with self.writing() as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            newest = int(known[-1].name.split("_")[0])
            if version > newest:
                raise ConfigError(
                    f"{self.path} has schema {version}, this program knows {newest}", "use the newer embhub-registry"
                )
            for item in known:
                number = int(item.name.split("_")[0])
                if number > version:
                    for statement in split_statements(item.read_text(encoding="utf-8")):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {number}")
        return newest

    def problems(self) -> list[str]:
        """What SQLite itself finds wrong with the file; empty when clean."""
        connection = self.connection()
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            found += [f"foreign key: {tuple(row)}" for row in connection.execute("PRAGMA foreign_key_check")]
        except sqlite3.DatabaseError as error:
            return [f"database: {error}"]
        return found

    def close(self) -> None:
        """Close every thread's connection; the last one folds the write-ahead log into the file."""
        with self._guard:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._local = threading.local()


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's operational errors as ours; a constraint that fails stays what it is."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise StorageFull(
                f"the registry could not store this: {text}", "tell the operator to free space"
            ) from error
        if "locked" in text or "busy" in text:
            raise Busy("the registry is busy with other writers", "try again in a moment") from error
        if "readonly" in text:
            raise StorageFull(
                "the registry's folder is read-only", "tell the operator to remount it for writing"
            ) from error
        raise


def split_statements(script: str) -> list[str]:
    """The statements of a migration: `executescript` would commit the transaction that surrounds them."""
    statements, buffer = [], ""
    for line in script.splitlines(keepends=True):
        buffer += line
        if sqlite3.complete_statement(buffer):
            statements.append(buffer)
            buffer = ""
    if buffer.strip():
        statements.append(buffer)
    return statements
